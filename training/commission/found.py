"""Found: everything that commissioning computed, before any of it is judged or put into words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from models.commissioned import Figure, Subgroup
from models.manifest import Manifest, Output, Range
from models.reference import Reference
from models.reference_made import reference_of
from training import bootstrap, fairness
from training.archive.scored import Row
from training.commission import figures, lines, thresholds
from training.commission.cases import Outcome, outcome_of
from training.commission.lines import Fitted
from training.commission.requirements import Requirements
from training.commission.thresholds import Tuned
from training.commission.truth import Truth


@dataclass(frozen=True)
class Stated:
    """One thing the manifest accepts (age, modality, view): how many cases state it, and how many of them lie outside."""

    what: str
    accepted: str
    stated: int
    outside: int


@dataclass(frozen=True)
class Found:
    """Of one release on one archive. ``outcomes``, ``tuned`` and ``fitted`` go by the name of the output."""

    manifest: Manifest
    manifest_sha256: str
    onnx_sha256: str
    rows: Sequence[Row]
    about: Mapping[str, Any]
    truth: Truth
    rule: Requirements
    sound: str  # "" when models.check passed here, else what is wrong
    outcomes: Mapping[str, Outcome]
    figures: tuple[Figure, ...]
    subgroups: tuple[Subgroup, ...]
    gaps: tuple[fairness.Gap, ...]
    tuned: Mapping[str, Tuned]
    fitted: Mapping[str, Fitted]
    population: tuple[Stated, ...]
    reference: Reference
    proposing: bool = True  # False: a local release, whose threshold and line are not sought again
    notes: tuple[str, ...] = field(default=())

    def of(self, status: str) -> int:
        """Count the cases scored, refused or failed."""
        return sum(row.status == status for row in self.rows)

    def reasons(self, status: str) -> dict[str, int]:
        """Return reason → count of the cases refused or failed, most frequent first."""
        return dict(Counter(row.reason or "unknown" for row in self.rows if row.status == status).most_common())

    @property
    def judged(self) -> list[Output]:
        """The outputs whose truth is known of at least one case."""
        return [output for output in self.manifest.outputs if output.name in self.outcomes]


def find(
    manifest: Manifest, hashes: tuple[str, str], rows: Sequence[Row], about: Mapping[str, Any], truth: Truth, rule: Requirements, *,
    sound: str = "", proposing: bool = True, resamples: int = bootstrap.RESAMPLES, notes: tuple[str, ...] = (),
    reference_rows: Sequence[Row] | None = None, checked_only: bool = False, say: Callable[[str], None] = lambda _: None,
) -> Found:
    """Compute everything. ``hashes``: sha256 of manifest.json and model.onnx. ``say`` hears what is being computed;
    ``reference_rows``: what the reference is made of, where that is not ``rows``; ``checked_only``: what a threshold does is
    measured on the persons that none is tuned on.
    """
    outcomes = {output.name: outcome_of(output, rows, truth) for output in manifest.outputs if output.kind == "probability"}
    outcomes = {name: one for name, one in outcomes.items() if one.n}
    persons = np.array([row.group for row in rows], dtype=np.str_)
    every: list[Figure] = [
        figures.rate("refused", np.array([row.status == "refused" for row in rows]), persons),
        figures.rate("failed", np.array([row.status == "failed" for row in rows]), persons),
    ]
    subgroups, gaps, tuned, fitted = [], [], {}, {}
    for name, outcome in outcomes.items():
        say(name)
        tuned_here = proposing and rule.threshold.target > 0 and outcome.output.shown_only_if is None and outcome.scored().n
        if tuned_here:
            tuned[name] = thresholds.tune(outcome, rule.threshold)
        threshold = outcome.output.threshold
        called_on = outcome.only(thresholds.check_part(outcome.persons)) if checked_only else outcome
        every += figures.figures_of(outcome, threshold, called_on=called_on, prevalence=truth.prevalences.get(name),
                                    resamples=resamples)
        proposed = tuned[name].value if name in tuned else None
        in_force = threshold if threshold is not None else proposed  # what is signed is the release as it is
        subgroups += figures.subgroups_of(called_on, in_force, rule.subgroups.few)
        scored = outcome.scored()
        if scored.n:
            gaps += _gaps(called_on.scored(), in_force, rule, min(resamples, 500))
        if outcome.output.shown_only_if is None and scored.positives and scored.negatives:
            fitted[name] = lines.fit(outcome, rule.calibration, min(resamples, lines.RESAMPLES),
                                     prevalence=truth.prevalences.get(name))
    if not proposing:  # the line was fitted elsewhere: measured, and no other proposed
        fitted = {name: _only_measured(one) for name, one in fitted.items()}
    return Found(
        manifest, *hashes, rows, about, truth, rule, sound, outcomes, tuple(every), tuple(subgroups), tuple(gaps), tuned, fitted,
        population_of(manifest, rows),
        reference_of(((row.status, row.statistics, row.values) for row in reference_rows or rows), manifest, "commissioning"),
        proposing, notes,
    )


def population_of(manifest: Manifest, rows: Sequence[Row]) -> tuple[Stated, ...]:
    """Compare what the archive states of its cases with what the manifest accepts."""
    accepts = manifest.accepts
    found = []
    for what, key, allowed in (("modality", "modality", accepts.modalities), ("view", "view", accepts.views),
                               ("part of the body", "body_part", accepts.body_parts)):
        if allowed:
            values = [str(row.attributes[key]).upper() for row in rows if row.attributes.get(key)]
            if values or key != "body_part":  # many archives keep no part of the body: the modality and view tell enough
                found.append(Stated(what, ", ".join(allowed), len(values), sum(value not in allowed for value in values)))
    if accepts.age_years != Range():
        ages = [float(age) for row in rows if isinstance(age := row.attributes.get("age_years"), int | float)]
        low, high = (accepts.age_years.low, accepts.age_years.high)
        words = f"{low:g}–{high:g}" if low is not None and high is not None else f"≥ {low:g}" if low is not None else f"≤ {high:g}"
        found.append(Stated("age", words, len(ages), sum(not accepts.age_years.holds(age) for age in ages)))
    return tuple(found)


def _gaps(scored: Outcome, threshold: float | None, rule: Requirements, resamples: int) -> list[fairness.Gap]:
    named = {by: names.tolist() for by, names in scored.groups.items() if len(set(names.tolist())) > 1}
    if not named:
        return []
    return fairness.gaps(scored.y, scored.p, scored.persons, named, output=scored.output.name, threshold=threshold,
                         tolerance=rule.tolerance(), resamples=resamples)


def _only_measured(one: Fitted) -> Fitted:
    return Fitted(one.output, "", 1.0, 0.0, one.before, (), one.crossed, one.right_before, repaired=False, events=one.events,
                  needed=one.needed, needed_to_fit=one.needed_to_fit, why=one.why)
