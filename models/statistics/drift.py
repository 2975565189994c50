"""Statistics of change over time, from counts and means alone: no single case is needed, so none must be kept.

Shapes: counts by bin, the last bin what is missing. Charts: Montgomery, Introduction to Statistical Quality Control; Laney p'
(Quality Engineering 14, 2002); cumulative sums of likelihood ratios (Steiner et al., Biostatistics 1, 2000).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

LEAST_EXPECTED = 5.0  # cases a bin must be expected to hold (Cochran 1954); bins that hold less join their neighbours
EWMA_WEIGHT = 0.2
SIGNIFICANT = 0.05
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """How two sets of counts differ. ``excess_psi`` is the PSI beyond what chance alone gives on average."""

    p: float
    psi: float
    excess_psi: float
    ks: float  # largest difference of the two distribution functions, by bin
    bins: int
    n: int


def change_of(reference: Sequence[float], seen: Sequence[float]) -> Change | None:
    """Compare counts by bin: chi-square test of homogeneity, population stability index (PSI), Kolmogorov-Smirnov distance.

    Bins join until each is expected to hold LEAST_EXPECTED of the smaller set. The PSI has 0.5 added to each count; under no
    change its mean is about (bins - 1)(1/n + 1/m) (Yurdakul and Naranjo, J. Risk Model Validation 14, 2020), which is taken off:
    on few cases a raw PSI of 0.25 is nothing. None where too few are there to say anything.
    """
    first, second = _joined(np.asarray(reference, dtype=np.float64), np.asarray(seen, dtype=np.float64))
    n, m = float(first.sum()), float(second.sum())
    if len(first) < 2 or min(n, m) < 2 * LEAST_EXPECTED:
        return None
    pooled = (first + second) / (n + m)
    statistic = float(((first - n * pooled) ** 2 / (n * pooled)).sum() + ((second - m * pooled) ** 2 / (m * pooled)).sum())
    p, q = (first + 0.5) / (n + 0.5 * len(first)), (second + 0.5) / (m + 0.5 * len(second))
    psi = float(((q - p) * np.log(q / p)).sum())
    return Change(
        p=float(special.chdtrc(len(first) - 1, statistic)), psi=psi, excess_psi=max(0.0, psi - (len(first) - 1) * (1 / n + 1 / m)),
        ks=float(np.abs(np.cumsum(first / n - second / m)).max()), bins=len(first), n=int(m),
    )


def _joined(first: Counts, second: Counts) -> tuple[Counts, Counts]:
    """Join neighbouring bins by what both sets together hold: that choice knows nothing of their difference."""
    left, right = first.tolist(), second.tolist()
    total, fewer = sum(left) + sum(right), min(sum(left), sum(right))
    groups: list[tuple[float, float]] = []
    one = other = 0.0
    for a, b in zip(left, right, strict=True):
        one, other = one + a, other + b
        if (one + other) * fewer >= LEAST_EXPECTED * total > 0:
            groups.append((one, other))
            one = other = 0.0
    if groups:
        groups[-1] = (groups[-1][0] + one, groups[-1][1] + other)
    return np.array([a for a, _ in groups]), np.array([b for _, b in groups])


def mmd(reference: NDArray[np.float64], reference_n: int, seen: NDArray[np.float64], n: int, trace: float,
        squared_trace: float) -> tuple[float, float]:
    """Return (squared maximum mean discrepancy beyond chance as a share of the reference's spread, p).

    ``reference`` and ``seen`` are means of random Fourier features; ``trace`` and ``squared_trace`` those of the features'
    covariance and its square. Under no change the squared distance is a weighted sum of chi-squares, taken for one chi-square of
    the same mean and variance (Satterthwaite). Gretton et al., JMLR 13, 2012.
    """
    if not n or trace <= 0 or squared_trace <= 0:
        return 0.0, 1.0
    chance = 1 / n + 1 / reference_n
    distance = float(((seen - reference) ** 2).sum())
    scale, freedom = chance * squared_trace / trace, trace**2 / squared_trace
    return max(0.0, distance - chance * trace) / trace, float(special.chdtrc(freedom, distance / scale))


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p-values: any below α with at most α chance that one of them is false (Scand. J. Statist. 6, 1979)."""
    adjusted, worst = {}, 0.0
    for place, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        worst = max(worst, min(1.0, (len(p) - place) * value))
        adjusted[name] = worst
    return adjusted


def benjamini_hochberg(p: Mapping[str, float]) -> dict[str, float]:
    """Return adjusted p-values for a false discovery rate (J. R. Statist. Soc. B 57, 1995): which streams a report lists."""
    adjusted, least = {}, 1.0
    for rank, (name, value) in sorted(enumerate(sorted(p.items(), key=lambda item: item[1]), 1), reverse=True):
        least = min(least, value * len(p) / rank)
        adjusted[name] = least
    return adjusted


def bound_of(hits: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return one-sided Clopper-Pearson bounds of a share, each at ``level``: between what a baseline of n may truly have been."""
    low = float(stats.beta.ppf(1 - level, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(level, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def cusum_limit(arl: float) -> float:
    """Return the limit of a cumulative sum of log likelihood ratios whose average run to a false alarm is ``arl`` steps or more.

    log(arl), after Lorden (Ann. Math. Statist. 42, 1971): a bound, so the true run is longer.
    """
    return log(arl)


def binomial_cusum(hits: Sequence[float], totals: Sequence[float], expected: float, odds_ratio: float,
                   dispersion: float = 1.0) -> list[float]:
    """Return the cumulative sum, one value a step, of log likelihood ratios of odds ``odds_ratio`` times those of ``expected``.

    ``dispersion`` ≥ 1 is by how much steps vary more than a binomial does; what they say counts for so much less.
    """
    at = min(max(expected, 1e-6), 1 - 1e-6)
    odds = odds_ratio * at / (1 - at)
    other = odds / (1 + odds)
    with_hit, without = log(other / at), log((1 - other) / (1 - at))
    path, total = [], 0.0
    for hit, n in zip(hits, totals, strict=True):
        total = max(0.0, total + (hit * with_hit + (n - hit) * without) / max(1.0, dispersion))
        path.append(total)
    return path


def dispersion_of(hits: Sequence[float], totals: Sequence[float]) -> float:
    """Return how much more the steps vary than a binomial would: Pearson's chi-square by its freedom; 1 unless it is significant.

    On few steps the quotient alone is mostly noise, and would deafen a chart for nothing.
    """
    known = [(hit, n) for hit, n in zip(hits, totals, strict=True) if n > 0]
    share = sum(hit for hit, _ in known) / max(1.0, sum(n for _, n in known))
    if len(known) < 2 or not 0 < share < 1:
        return 1.0
    square, freedom = sum((hit - n * share) ** 2 / (n * share * (1 - share)) for hit, n in known), len(known) - 1
    return max(1.0, square / freedom) if special.chdtrc(freedom, square) < SIGNIFICANT else 1.0


def laney_limits(hits: Sequence[float], totals: Sequence[float], centre: float, *, sigmas: float = 3.0) -> list[tuple[float, float]]:
    """Return (lower, upper) limits of each step's share: a p chart widened by how much neighbouring steps differ (Laney p')."""
    errors = [sqrt(centre * (1 - centre) / n) if n > 0 else inf for n in totals]
    z = [(hit / n - centre) / error for hit, n, error in zip(hits, totals, errors, strict=True) if n > 0 and error > 0]
    moving = np.abs(np.diff(z))
    widened = max(1.0, float(moving.mean()) / 1.128) if len(moving) >= 7 else 1.0  # 1.128: d2 of two
    return [(max(0.0, centre - sigmas * widened * error), min(1.0, centre + sigmas * widened * error)) for error in errors]


def shewhart_limits(mean: float, sd: float, totals: Sequence[float], reference_n: float, *,
                    sigmas: float = 3.0) -> list[tuple[float, float]]:
    """Return (lower, upper) limits of each step's mean, with what the reference's own mean may be off."""
    reaches = [sigmas * sd * sqrt(1 / n + 1 / reference_n) if n > 0 else inf for n in totals]
    return [(mean - reach, mean + reach) for reach in reaches]


def ewma(means: Sequence[float], start: float, weight: float = EWMA_WEIGHT) -> list[float]:
    """Return the exponentially weighted moving average, one value a step."""
    path, at = [], start
    for mean in means:
        at = (1 - weight) * at + weight * mean
        path.append(at)
    return path


def ewma_reach(sd: float, n: float, reference_n: float, *, sigmas: float = 3.1, weight: float = EWMA_WEIGHT) -> float:
    """Return how far the average may stray by chance: 3.1 standard errors for a run of some 800 steps (Lucas and Saccucci,
    Technometrics 32, 1990), and three more of the reference's own mean, whose error does not average out."""
    return sigmas * sd * sqrt(weight / (2 - weight) / n) + 3 * sd / sqrt(reference_n)
