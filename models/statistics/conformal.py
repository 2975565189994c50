"""Prediction sets with a guarantee in finite samples: split conformal, one class at a time; and triage by two thresholds.

A set holds every answer that cannot be ruled out. Where calibration and new cases are exchangeable within a class, the
true answer is in the set with probability of at least 1 - alpha, whatever the model (Vovk 2005, Mondrian form;
doi:10.1007/b106715). At another hospital they are not exchangeable: calibrate there, and check the coverage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

Array = NDArray[np.float64]
Method = Literal["wilson", "exact"]


@dataclass(frozen=True)
class ClassLimits:
    """The largest nonconformity that still puts an answer into the set: q0 for "no" (score p), q1 for "yes" (score 1 - p).

    ``n0`` and ``n1`` are the calibration cases of each class. A limit is infinite where a class has too few of them: then
    its answer is in every set.
    """

    alpha: float
    q0: float
    q1: float
    n0: int
    n1: int


@dataclass(frozen=True)
class Coverage:
    """How often the truth was in the set: a share with its 95 % interval, and how surprising so low a share is.

    ``p_value`` is the chance of so few or fewer by the exact law of coverage over calibration and test together (None for
    cases that are not one a patient); small means that the guarantee does not carry over to these cases.
    """

    n: int
    covered: int
    share: float | None
    low: float | None
    high: float | None
    p_value: float | None


@dataclass(frozen=True)
class Triage:
    """Two thresholds: below ``low`` the event rate, at or above ``high`` the PPV, hold with the stated confidence.

    None where the calibration cases do not suffice; everybody between is for a person to judge. ``low`` is never above
    ``high``; where one threshold serves both statements they are the same.
    """

    low: float | None
    high: float | None
    largest_rate_below: float
    smallest_ppv_above: float
    confidence: float
    n: int


def rank(n: int, alpha: float) -> int:
    """Return k = ceil((n + 1)(1 - alpha)): the k-th smallest of n scores is the limit; k > n means no finite one.

    >>> rank(99, 0.1), rank(8, 0.1)
    (90, 9)
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, found {alpha}.")
    return int(np.ceil(round((n + 1) * (1 - alpha), 9)))  # 0.9 * 100 is 90.00000000000001 for a computer


def class_limits(truth: ArrayLike, probability: ArrayLike, alpha: float) -> ClassLimits:
    """Find the limits on calibration cases that the model did not learn from. Both arrays are (n,); truth is 0 or 1."""
    positive, p = np.asarray(truth) > 0.5, np.asarray(probability, dtype=np.float64)
    no, yes = p[~positive], 1 - p[positive]
    return ClassLimits(alpha, _limit(no, alpha), _limit(yes, alpha), len(no), len(yes))


def sets(probability: ArrayLike, limits: ClassLimits) -> NDArray[np.bool_]:
    """Return (n, 2): whether "no" and whether "yes" is in the set. Both: undecided. Neither: unlike either class."""
    p = np.asarray(probability, dtype=np.float64)
    return np.stack([p <= limits.q0, 1 - p <= limits.q1], axis=1)


def covered(truth: ArrayLike, probability: ArrayLike, limits: ClassLimits) -> NDArray[np.bool_]:
    """Return (n,): whether each case's truth is in its set."""
    positive = (np.asarray(truth) > 0.5).astype(int)
    return np.asarray(sets(probability, limits)[np.arange(len(positive)), positive])


def coverage(hits: ArrayLike, calibrated_on: int, alpha: float, *, method: Method = "exact", independent: bool = True) -> Coverage:
    """Judge the coverage of cases of one class, ``hits`` (n,), by limits found on ``calibrated_on`` cases of that class.

    ``independent``: one case a patient; else the interval is only a description and there is no p-value.
    """
    marks = np.asarray(hits, dtype=bool)
    n, k = len(marks), int(marks.sum())
    if not n:
        return Coverage(0, 0, None, None, None, None)
    low, high = stats.binomtest(k, n).proportion_ci(method=method)
    lawful = independent and rank(calibrated_on, alpha) <= calibrated_on
    chance = float(coverage_law(calibrated_on, n, alpha).cdf(k)) if lawful else None
    return Coverage(n, k, k / n, float(low), float(high), chance)


def coverage_law(calibrated_on: int, n: int, alpha: float) -> stats.rv_frozen:
    """Return the law of the number covered among n new exchangeable cases: beta-binomial(n, k, m + 1 - k).

    m calibration cases without ties, k = rank(m, alpha): given the limit the coverage is Beta(k, m + 1 - k)
    (Vovk 2012, doi:10.1007/s10994-013-5355-6). With ties the coverage is larger.
    """
    k = rank(calibrated_on, alpha)
    return stats.betabinom(n, k, calibrated_on + 1 - k)


def triage(
    truth: ArrayLike, probability: ArrayLike, *, largest_rate_below: float, smallest_ppv_above: float, confidence: float = 0.95,
    steps: int = 200,
) -> Triage:
    """Find the two thresholds on calibration cases, one case a patient.

    Candidates are quantiles of the probability, looked at from the safest on, and the search ends with the first whose
    exact one-sided binomial bound does not hold: a fixed sequence, so each of the two statements holds with the confidence
    (Angelopoulos 2021, Learn then Test, arXiv:2110.01052; Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404).
    """
    positive, p = np.asarray(truth) > 0.5, np.asarray(probability, dtype=np.float64)
    grid = np.unique(np.quantile(p, np.linspace(0, 1, steps + 1))) if len(p) else np.empty(0)
    delta = 1 - confidence
    least_below, least_above = _least(largest_rate_below, delta), _least(1 - smallest_ppv_above, delta)
    order = np.argsort(p, kind="stable")
    events = np.concatenate([[0], np.cumsum(positive[order])])  # among so many of the lowest
    below = np.searchsorted(p[order], grid, side="left")
    above, failed_above = len(p) - below, (len(p) - below) - (events[-1] - events[below])
    low = _last(grid, below, events[below], largest_rate_below, least_below, delta)
    high = _last(grid[::-1], above[::-1], failed_above[::-1], 1 - smallest_ppv_above, least_above, delta)
    if low is not None and high is not None and high < low:  # both statements hold anywhere between: nobody is left over
        between = grid[(grid >= high) & (grid <= low)]
        low = high = float(between[len(between) // 2])
    return Triage(low, high, largest_rate_below, smallest_ppv_above, confidence, len(p))


def triaged(truth: ArrayLike, probability: ArrayLike, found: Triage) -> Mapping[str, Coverage]:
    """Return what the thresholds do on other cases: "below" (share without the event), "above" (PPV) with exact intervals."""
    positive, p = np.asarray(truth) > 0.5, np.asarray(probability, dtype=np.float64)
    below = p < (found.low if found.low is not None else -np.inf)
    above = p >= (found.high if found.high is not None else np.inf)
    return {name: _share(hits) for name, hits in (("below", ~positive[below]), ("above", positive[above]))}


def _share(hits: NDArray[np.bool_]) -> Coverage:
    n, k = len(hits), int(hits.sum())
    if not n:
        return Coverage(0, 0, None, None, None, None)
    low, high = stats.binomtest(k, n).proportion_ci(method="exact")
    return Coverage(n, k, k / n, float(low), float(high), None)


def _limit(scores: Array, alpha: float) -> float:
    k = rank(len(scores), alpha)
    return float(np.partition(scores, k - 1)[k - 1]) if k <= len(scores) else float("inf")


def _last(grid: Array, n: NDArray[np.int_], failures: NDArray[np.int_], share: float, least: int, delta: float) -> float | None:
    """Return the last of a fixed sequence of candidates before the first at which the bound does not hold."""
    tried = n >= least
    holds = _holds(failures[tried], n[tried], share, delta)
    kept = int(np.argmin(holds)) if not holds.all() else len(holds)
    return float(grid[tried][kept - 1]) if kept else None


def _least(share: float, delta: float) -> int:
    """Return how many cases a sequence starts with: so many that half the failures allowed still pass the bound.

    It depends on no outcome, so the sequence stays fixed; with fewer, one unlucky case would end it at its beginning.
    """
    if not 0 < share < 1:
        raise ValueError(f"A rate asked for must lie between 0 and 1, found {share}.")
    n = int(np.ceil(np.log(delta) / np.log(1 - share)))
    while not _holds(np.ceil(n * share / 2), n, share, delta):
        n += max(1, n // 50)
    return n


def _holds(failures: ArrayLike, n: ArrayLike, share: float, delta: float) -> NDArray[np.bool_]:
    """Tell whether the exact one-sided upper bound at confidence 1 - delta is no larger than ``share``.

    Clopper and Pearson's bound is at most the share where so few failures have a chance of at most delta under it.
    """
    return np.asarray(special.bdtr(np.asarray(failures, dtype=np.float64), n, share) <= delta)
