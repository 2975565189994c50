"""Two models on the same cases: how far they differ, with 95 % intervals that know the cases are the same.

Everywhere ``first`` is the model that serves and ``second`` the candidate; a difference is second minus first. Arrays have one
axis, the cases. Cases of one person are no independent cases: ``over_persons`` draws persons, ``aurocs`` sums over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Z_95 = 1.959963984540054
RESAMPLES = 2000
SEED = 20140901
Floats = NDArray[np.float64]
Places = NDArray[np.intp]


@dataclass(frozen=True)
class Difference:
    """A figure of both, and their difference with its interval. ``p`` is two-sided, None where there is no test. ``n``: cases."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float | None
    n: int


@dataclass(frozen=True)
class Discordant:
    """Cases in which one of two was right alone."""

    first_only: int
    second_only: int
    n: int
    p: float

    @property
    def difference(self) -> float:
        """The share of second minus the share of first; NaN of no cases."""
        return (self.second_only - self.first_only) / self.n if self.n else float("nan")


@dataclass(frozen=True)
class Kappa:
    """Agreement beyond chance, with its interval; NaN where both always say the same one thing. ``agreed``: share of all cases."""

    value: float
    low: float
    high: float
    agreed: float
    n: int


def mcnemar(first_only: int, second_only: int, n: int) -> Discordant:
    """Test whether two shares of the same ``n`` cases differ: McNemar's exact test with the mid-p value, two-sided.

    Fagerland, Lydersen, Laake (2013), https://doi.org/10.1186/1471-2288-13-91: it keeps its level and is less timid than the
    exact test. Without a discordant case p is 1.

    >>> round(mcnemar(7, 1, 21).p, 3)
    0.039
    """
    if min(first_only, second_only) < 0 or first_only + second_only > n:
        raise ValueError(f"Discordant cases must be 0 or more and no more than the {n} cases, found {first_only} and {second_only}.")
    discordant, fewer = first_only + second_only, min(first_only, second_only)
    p = min(1.0, 2 * stats.binom.cdf(fewer, discordant, 0.5) - stats.binom.pmf(fewer, discordant, 0.5)) if discordant else 1.0
    return Discordant(first_only, second_only, n, float(p))


def proportions(first: ArrayLike, second: ArrayLike, persons: Sequence[str] | None = None) -> Difference:
    """Compare two shares of the same cases, given case by case as booleans.

    The interval is the adjusted Wald of Bonett and Price (2012), https://doi.org/10.3102/1076998611411915; p is ``mcnemar``. With
    ``persons``, of whom some have several cases, the interval widens by the design effect of the discordant cases, and p is no less
    than that of the test by persons (Durkalski et al. 2003, https://doi.org/10.1002/sim.1438): neither ever becomes narrower.
    """
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    n = _same(one, other)
    only_one, only_other = int(np.sum(one & ~other)), int(np.sum(~one & other))
    test = mcnemar(only_one, only_other, n)
    widened, p = _of_persons(other.astype(np.float64) - one, persons)
    a, b = (only_other + 1) / (n + 2), (only_one + 1) / (n + 2)
    reach = Z_95 * sqrt(widened * (a + b - (a - b) ** 2) / (n + 2))
    return Difference(float(one.mean()), float(other.mean()), test.difference, max(-1.0, a - b - reach), min(1.0, a - b + reach),
                      max(test.p, p), n)


def aurocs(truth: ArrayLike, first: ArrayLike, second: ArrayLike, persons: Sequence[str] | None = None) -> Difference:
    """Compare the areas under the ROC curves of two scores of the same cases (DeLong's test), in n log n steps.

    DeLong, DeLong, Clarke-Pearson (1988), https://doi.org/10.2307/2531595, by the midranks of Sun and Xu (2014),
    https://doi.org/10.1109/LSP.2014.2337313; with ``persons``, of whom some have several cases, by Obuchowski (1997),
    https://doi.org/10.2307/2533958. Raises ValueError with fewer than two cases, or persons, of a class.
    """
    there = np.asarray(truth, dtype=bool)
    scores = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    n = _same(there, scores[0])
    whose = np.arange(n) if persons is None else np.unique(np.asarray(persons), return_inverse=True)[1]
    if min(len(set(whose[there])), len(set(whose[~there]))) < 2:
        raise ValueError("Two areas can be compared with two persons who have the finding and two who have not, found "
                         f"{len(set(whose[there]))} and {len(set(whose[~there]))}.")
    areas, with_it, without = _placements(there, scores)
    covariance = _covariance(areas, with_it, without, whose[there], whose[~there])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = float(areas[1] - areas[0])
    error = sqrt(max(0.0, variance))
    p = float(2 * stats.norm.sf(abs(difference) / error)) if error else (1.0 if difference == 0 else 0.0)
    return Difference(float(areas[0]), float(areas[1]), difference, difference - Z_95 * error, difference + Z_95 * error, p, n)


def over_persons(persons: Sequence[str], first: Callable[[Places], float], second: Callable[[Places], float], *,
                 resamples: int = RESAMPLES, seed: int = SEED) -> Difference:
    """Compare any figure of the same cases, with the percentile interval of drawing persons anew, each with all their cases.

    Each figure is a function of the places of the cases that were drawn. Draws in which one is NaN are left out; the interval is
    NaN when that is more than one in ten. There is no test, so p is None.
    """
    _, of = np.unique(np.asarray(persons), return_inverse=True)
    cases = np.split(np.argsort(of, kind="stable"), np.cumsum(np.bincount(of))[:-1])
    random, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        places = np.concatenate([cases[one] for one in random.integers(0, len(cases), len(cases))])
        drawn.append(second(places) - first(places))
    known = np.array([one for one in drawn if np.isfinite(one)])
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) >= 0.9 * resamples else (np.nan, np.nan)
    everybody = np.arange(len(of))
    one, other = first(everybody), second(everybody)
    return Difference(one, other, other - one, float(low), float(high), None, len(of))


def kappa(first: ArrayLike, second: ArrayLike) -> Kappa:
    """Return Cohen's kappa of two yes-or-no answers to the same cases, with the large-sample interval of Fleiss, Cohen and
    Everitt (1969), https://doi.org/10.1037/h0028106."""
    one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    n = _same(one, other)
    table = np.array([[np.sum(one & other), np.sum(one & ~other)], [np.sum(~one & other), np.sum(~one & ~other)]]) / n
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    agreed, chance = float(np.trace(table)), float(rows @ columns)
    if chance >= 1:
        return Kappa(float("nan"), float("nan"), float("nan"), agreed, n)
    value = (agreed - chance) / (1 - chance)
    # row i of the other, column j of the one: Fleiss et al., equation 13
    on = sum(table[i, i] * (1 - (rows[i] + columns[i]) * (1 - value)) ** 2 for i in range(2))
    off = (1 - value) ** 2 * sum(table[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j)
    variance = (on + off - (value - chance * (1 - value)) ** 2) / (n * (1 - chance) ** 2)
    reach = Z_95 * sqrt(max(0.0, float(variance)))
    return Kappa(value, max(-1.0, value - reach), min(1.0, value + reach), agreed, n)


def _placements(there: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the areas (k,) and the placement values of cases with the finding (k, m) and without (k, n) of k scores."""
    with_it, without = scores[:, there], scores[:, ~there]
    m, n = with_it.shape[1], without.shape[1]
    whole = stats.rankdata(np.concatenate([with_it, without], axis=1), axis=1)
    placed = (whole[:, :m] - stats.rankdata(with_it, axis=1)) / n
    other = 1 - (whole[:, m:] - stats.rankdata(without, axis=1)) / m
    return placed.mean(axis=1), placed, other


def _covariance(areas: Floats, with_it: Floats, without: Floats, whose_with: Places, whose_without: Places) -> Floats:
    """Return the covariance (k, k) of k areas, of placement values summed by person."""
    count = int(max(whose_with.max(), whose_without.max())) + 1
    m, n = len(whose_with), len(whose_without)

    def summed(placed: Floats, whose: NDArray[np.intp]) -> Floats:
        return np.stack([np.bincount(whose, weights=row - area, minlength=count) for row, area in zip(placed, areas, strict=True)])

    one, other = summed(with_it, whose_with), summed(without, whose_without)
    has_one, has_other = len(set(whose_with)), len(set(whose_without))
    everybody = len(set(whose_with) | set(whose_without))
    cross = one @ other.T
    found: Floats = (has_one / (has_one - 1) * (one @ one.T) / m**2 + has_other / (has_other - 1) * (other @ other.T) / n**2
                     + everybody / (everybody - 1) * (cross + cross.T) / (m * n))
    return found


def _of_persons(change: Floats, persons: Sequence[str] | None) -> tuple[float, float]:
    """Return by how much the variance of a mean change grows as cases of one person change alike, at least 1; and p by persons."""
    if persons is None:
        return 1.0, 0.0
    _, whose = np.unique(np.asarray(persons).astype(str), return_inverse=True)
    sums, many = np.bincount(whose, weights=change), len(change) / (int(whose.max()) + 1)
    alike, single = float((sums**2).sum()), float((change**2).sum())
    if not single:  # nothing is discordant and nothing says how alike they are: as many cases as persons
        return many, 0.0
    p = float(2 * stats.norm.sf(abs(float(sums.sum())) / sqrt(alike))) if many > 1 and alike else 0.0
    return max(1.0, alike / single), p


def _same(one: NDArray[np.generic], other: NDArray[np.generic]) -> int:
    if one.ndim != 1 or one.shape != other.shape or not len(one):
        raise ValueError(f"Both must be of the same cases, one after the other, found {one.shape} and {other.shape}.")
    return len(one)
