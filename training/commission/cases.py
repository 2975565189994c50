"""Outcome: one output of a release on the cases whose truth is known, scored or not, as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.manifest import Output
from models.statistics.binary import chance_of, logit_of
from training.archive.scored import Row
from training.commission.truth import Truth

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
AGE_BANDS = ((0, 1), (1, 6), (6, 12), (12, 18), (18, 50), (50, 65), (65, 75), (75, 85), (85, 200))
GROUPED_BY = ("sex", "age", "view", "modality", "manufacturer", "device", "station", "institution", "site", "year")
NO_GROUP = frozenset({"age_years", "body_part", "split"})
MOST_GROUPS = 20  # an attribute with more values than this is no attribute to compare groups by


@dataclass(frozen=True)
class Outcome:
    """Arrays follow the cases (n,): truth ``y``; probability ``p`` and its ``logit``, NaN where none was given; ``persons``.

    ``status`` is scored, refused or failed. ``groups`` maps an attribute to each case's group, "" where it is not stated.
    """

    output: Output
    y: Array
    p: Array
    logit: Array
    persons: NDArray[np.str_]
    status: NDArray[np.str_]
    groups: dict[str, NDArray[np.str_]]

    @property
    def n(self) -> int:
        return len(self.y)

    @property
    def positives(self) -> int:
        return int(self.y.sum())

    @property
    def negatives(self) -> int:
        return self.n - self.positives

    def only(self, chosen: Flags) -> Outcome:
        """Return the chosen cases."""
        return replace(self, y=self.y[chosen], p=self.p[chosen], logit=self.logit[chosen], persons=self.persons[chosen],
                       status=self.status[chosen], groups={by: names[chosen] for by, names in self.groups.items()})

    def scored(self) -> Outcome:
        """Return the cases with a score."""
        return self.only(~np.isnan(self.p))


def outcome_of(output: Output, rows: Sequence[Row], truth: Truth) -> Outcome:
    """Return the cases of one output. Where it is shown only above another's threshold, cases below have no place here."""
    known = truth.known.get(output.name, {})
    kept = [row for row in rows if row.case in known
            and (output.shown_only_if is None or row.status != "scored" or output.name in row.values)]
    p = np.array([row.values.get(output.name, np.nan) if row.status == "scored" else np.nan for row in kept], dtype=np.float64)
    return Outcome(
        output, np.array([known[row.case] for row in kept], dtype=np.float64), p,
        np.where(np.isnan(p), np.nan, logit_of(np.nan_to_num(p, nan=0.5))), np.array([row.group for row in kept], dtype=np.str_),
        np.array([row.status for row in kept], dtype=np.str_), groups_of(kept),
    )


def sought_out(scored: Outcome, prevalence: float | None) -> float:
    """Return by how much the logits of these cases lie above practice, where ill people were sought out; 0 where none is stated.

    Choosing cases by their truth alone moves the intercept and nothing else (Prentice and Pyke 1979, doi:10.1093/biomet/66.3.403).
    """
    if prevalence is None or not scored.positives or not scored.negatives:
        return 0.0
    here, practice = logit_of([scored.positives / scored.n, prevalence]).tolist()
    return float(here - practice)


def shifted(scored: Outcome, by: float) -> Outcome:
    """Return the cases with what the model would say of them were they as frequent in practice as here."""
    return replace(scored, logit=scored.logit + by, p=chance_of(scored.logit + by)) if by else scored


def groups_of(rows: Sequence[Row]) -> dict[str, NDArray[np.str_]]:
    """Return the group of each case by every attribute that at least one case states."""
    others = sorted({key for row in rows for key in row.attributes} - {*GROUPED_BY, *NO_GROUP})
    found = {by: np.array([_group(row, by) for row in rows], dtype=np.str_) for by in (*GROUPED_BY, *others)}
    return {by: names for by, names in found.items() if (names != "").any() and len(set(names.tolist())) <= MOST_GROUPS}


def part_of(persons: Sequence[str] | NDArray[np.str_], what: str, parts: int) -> NDArray[np.intp]:
    """Return the part (0 … parts-1) of each case, by a hash of its person: a person is never in two, and always in the same."""
    digests = [hashlib.sha256(f"{what}\x1f{person}".encode()).digest() for person in persons]
    return np.array([int.from_bytes(one[:8], "big") % parts for one in digests], dtype=np.intp)


def _group(row: Row, by: str) -> str:
    if by == "age":
        age = row.attributes.get("age_years")
        if not isinstance(age, int | float):
            return ""
        return next((f"{low}–{high - 1}" if high < 200 else f"{low}+" for low, high in AGE_BANDS if low <= age < high), "")
    value = row.attributes.get(by)
    return "" if value is None else str(value)[:40]
