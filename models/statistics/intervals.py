"""Intervals of shares and of their differences, in closed form. ``level`` is the confidence, 0.95 unless said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Interval = tuple[float, float]


@dataclass(frozen=True)
class Share:
    """A share with its interval: ``hits`` of ``n`` cases of ``persons`` persons. All are NaN but counts where n is 0.

    ``effective_n`` is what the cases are worth when those of one person resemble each other.
    """

    value: float
    low: float
    high: float
    hits: int
    n: int
    persons: int
    effective_n: float


def wilson(hits: float, n: float, *, level: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share (1927, doi:10.1080/01621459.1927.10502953); (NaN, NaN) of nothing.

    Holds its level near 0 and 1, where Wald's fails: Newcombe 1998,
    doi:10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E.

    >>> [round(end, 4) for end in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    if n <= 0:
        return float("nan"), float("nan")
    z = _z(level)
    share = hits / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(max(share * (1 - share), 0.0) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if hits <= 0 else max(middle - half, 0.0)  # exactly 0 and 1 at the ends, whatever the last digit
    return low, 1.0 if hits >= n else min(middle + half, 1.0)


def clopper_pearson(hits: int, n: int, *, level: float = 0.95) -> Interval:
    """Return the exact interval of a share (1934, doi:10.1093/biomet/26.4.404): never too narrow, often too wide."""
    if n <= 0:
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def difference(hits: float, n: float, other_hits: float, other_n: float, *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the difference of two independent shares with Newcombe's hybrid score interval (1998, method 10).

    doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I

    >>> [round(one, 4) for one in difference(56, 70, 48, 80)]
    [0.2, 0.0524, 0.3339]
    """
    if n <= 0 or other_n <= 0:
        return float("nan"), float("nan"), float("nan")
    first, second = hits / n, other_hits / other_n
    (low1, high1), (low2, high2) = wilson(hits, n, level=level), wilson(other_hits, other_n, level=level)
    gap = first - second
    return gap, gap - sqrt((first - low1) ** 2 + (high2 - second) ** 2), gap + sqrt((high1 - first) ** 2 + (second - low2) ** 2)


def share_of(flags: ArrayLike, persons: Sequence[str] | NDArray[np.str_], *, level: float = 0.95) -> Share:
    """Return the share of true flags, Wilson's interval on the cases' effective number.

    Several cases of one person count for less the more alike they are: the variance of the share is that of a ratio over
    persons (Rao and Scott 1992, doi:10.2307/2532311), and Wilson's formula gets the number of independent cases that would
    have that variance (Franco 2019, doi:10.1093/jssam/smy019). It is never more than the cases, nor, where all flags are
    equal and say nothing of likeness, than the persons.
    """
    marks = np.asarray(flags, dtype=np.float64)
    n = len(marks)
    if not n:
        return Share(float("nan"), float("nan"), float("nan"), 0, 0, 0, 0.0)
    _, place = np.unique(np.asarray(persons).astype(str), return_inverse=True)
    count = int(place.max()) + 1
    worth = effective_number(marks, place, count)
    value = float(marks.mean())
    low, high = wilson(value * worth, worth, level=level)
    if value in (0.0, 1.0):  # 0.999… of rounding must not move an end
        low, high = (0.0, high) if value == 0.0 else (low, 1.0)
    return Share(value, low, high, int(marks.sum()), n, count, worth)


def effective_number(marks: NDArray[np.float64], place: NDArray[np.intp], persons: int) -> float:
    """Return how many independent cases would know the share as well. ``place`` (n,) is the index of each case's person."""
    n, value = len(marks), float(marks.mean())
    if persons == n:
        return float(n)
    if value in (0.0, 1.0) or persons < 2:
        return float(persons)
    residual = np.bincount(place, weights=marks - value, minlength=persons)
    variance = persons / (persons - 1) * float((residual**2).sum()) / n**2
    return float(np.clip(value * (1 - value) / variance, 1.0, n)) if variance > 0 else float(n)


def _z(level: float) -> float:
    return float(stats.norm.ppf(0.5 + level / 2))
