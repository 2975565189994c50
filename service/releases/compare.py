"""A candidate against the release that serves, on the same cases: agreement from all of them, quality from those with a verdict.

The truth is what professionals said of the live result. They saw it, and never the candidate's: where both differ, that leans
towards the live one, and a finding that only the candidate saw is rarely looked for (verification bias). Every report says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.statistics.binary import brier, calibration_line, logit_of
from models.statistics.paired import Difference, Kappa, aurocs, kappa, over_persons, proportions
from service.store import shadows
from service.store.shadows import Pair
from service.store.store import Store
from service.words import marked

BIAS = marked("The truth is what professionals said when they had seen the live result and not the candidate's. Where the two differ "
              "that favours the live one, and findings of the candidate alone were looked for by nobody.")
LEAST = 2  # cases of each class, below which areas are not compared
RESAMPLES = 1000
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """One output on the cases whose truth is known. None: it cannot be said of so few, or of one class alone.

    ``sensitivity`` and ``specificity`` are at each release's own threshold; ``slope`` is that of each calibration (1 is right).
    """

    n: int
    positives: int
    persons: int
    auroc: Difference | None
    sensitivity: Difference | None
    specificity: Difference | None
    brier: Difference | None
    slope: Difference | None


@dataclass(frozen=True)
class Output:
    """One output of both. ``agreement``: whether they call the same cases, on all that both scored."""

    name: str
    agreement: Kappa | None
    judged: Judged


@dataclass(frozen=True)
class Comparison:
    """The whole of it. ``refused`` compares shares of all paired cases; times are medians of one case in seconds."""

    candidate: str
    live: str
    pairs: int
    both_scored: int
    failed: int
    refused: Difference | None
    seconds: float | None
    live_seconds: float | None
    outputs: tuple[Output, ...]

    @property
    def times(self) -> float | None:
        """How many times as long the candidate takes; None where it is not known."""
        return self.seconds / self.live_seconds if self.seconds is not None and self.live_seconds else None


def compare(store: Store, candidate: str, live: str, *, since: float = 0.0) -> Comparison:
    """Compare a candidate with a live release on every case that both have seen since a time."""
    return comparison(candidate, live, shadows.pairs(store, candidate, live, since=since))


def comparison(candidate: str, live: str, pairs: Sequence[Pair]) -> Comparison:
    """Compare on cases that are at hand."""
    answered = [one for one in pairs if one.status != "failed"]
    both = [one for one in answered if one.status == "scored" and one.live_said.get("status") == "scored"]
    names = dict.fromkeys(name for one in both for name in one.live_said["findings"] if _has(one, name))  # the main one first
    refused = proportions([one.live_said.get("status") == "refused" for one in answered],
                          [one.status == "refused" for one in answered], [one.person for one in answered]) if answered else None
    seconds = [one.seconds for one in both]
    live_seconds = [float(one.live_said.get("seconds") or 0.0) for one in both]
    outputs = tuple(_output(name, [one for one in both if _has(one, name)]) for name in names)
    return Comparison(
        candidate, live, len(pairs), len(both), len(pairs) - len(answered), refused, median(seconds) if seconds else None,
        median(live_seconds) if live_seconds and all(live_seconds) else None, outputs,
    )


def _output(name: str, both: Sequence[Pair]) -> Output:
    called = [(_called(one.live_said, name), _called(one.said, name)) for one in both]
    known = [(first, second) for first, second in called if first is not None and second is not None]
    agreement = kappa([one for one, _ in known], [other for _, other in known]) if known else None
    return Output(name, agreement, _judged(name, [one for one in both if name in one.truth]))


def _judged(name: str, pairs: Sequence[Pair]) -> Judged:
    truth = np.array([one.truth[name] for one in pairs], dtype=bool)
    persons = [one.person for one in pairs]
    first, second = (np.array([_value(said, name) for said in told]) for told in
                     ([one.live_said for one in pairs], [one.said for one in pairs]))
    n, positives = len(truth), int(truth.sum())
    enough = _persons(persons, truth) >= LEAST and _persons(persons, ~truth) >= LEAST
    calls = np.array([(_called(one.live_said, name), _called(one.said, name)) for one in pairs], dtype=object).reshape(n, 2)
    has_calls = n > 0 and not (calls == None).any()  # noqa: E711  element by element
    return Judged(
        n, positives, len(set(persons)), aurocs(truth, first, second, persons) if enough else None,
        _shares(calls, truth, persons, there=True) if has_calls else None,
        _shares(calls, truth, persons, there=False) if has_calls else None,
        over_persons(persons, lambda at: brier(truth[at], first[at]), lambda at: brier(truth[at], second[at]),
                     resamples=RESAMPLES) if n else None,
        _slopes(truth, first, second, persons) if enough else None,
    )


def _shares(calls: NDArray[Any], truth: NDArray[np.bool_], persons: Sequence[str], *, there: bool) -> Difference | None:
    """Compare the shares of the ill that were called so, or of the well that were not."""
    mine, whose = calls[truth == there].astype(bool), [one for one, ill in zip(persons, truth, strict=True) if ill == there]
    return proportions(mine[:, 0] == there, mine[:, 1] == there, whose) if len(mine) else None


def _slopes(truth: NDArray[np.bool_], first: NDArray[Any], second: NDArray[Any], persons: Sequence[str]) -> Difference | None:
    logits = logit_of(first), logit_of(second)
    found = over_persons(persons, lambda at: calibration_line(truth[at], logits[0][at]).slope,
                         lambda at: calibration_line(truth[at], logits[1][at]).slope, resamples=RESAMPLES // 4)
    return found if isfinite(found.first) and isfinite(found.second) else None


def _persons(persons: Sequence[str], mine: NDArray[np.bool_]) -> int:
    return len({one for one, its in zip(persons, mine, strict=True) if its})


def _has(pair: Pair, name: str) -> bool:
    return all(isinstance(said["findings"].get(name, {}).get("value"), float | int) and 0 <= said["findings"][name]["value"] <= 1
               for said in (pair.said, pair.live_said))


def _value(said: Json, name: str) -> float:
    return float(said["findings"][name]["value"])


def _called(said: Json, name: str) -> bool | None:
    found = said["findings"].get(name, {}).get("above_threshold")
    return found if isinstance(found, bool) else None
