"""How many cases it takes for an interval to be narrow enough to decide by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from models.statistics.intervals import wilson

LARGEST = 10_000_000


@dataclass(frozen=True)
class Information:
    """What one case of this population tells of a calibration line, on average (Fisher): of level, of slope, of both."""

    level: float
    both: float
    slope: float


def buderer(share: float, half_width: float, having: float, *, level: float = 0.95) -> int:
    """Return how many cases give a sensitivity or specificity to ± ``half_width``.

    Buderer 1996, doi:10.1111/j.1553-2712.1996.tb03538.x.

    ``having``: the share of cases that it is a figure of: the prevalence for a sensitivity, one less it for a specificity.

    >>> buderer(0.90, 0.10, 0.20), buderer(0.85, 0.10, 0.80)
    (173, 62)
    """
    z = float(stats.norm.ppf(0.5 + level / 2))
    return ceil(round(z * z * share * (1 - share) / half_width**2, 9) / having)


def for_share(share: float, half_width: float, *, level: float = 0.95) -> int:
    """Return the smallest number whose Wilson interval about ``share`` is no wider than ± ``half_width``.

    Buderer's formula rests on Wald's interval and asks for nothing at 0 and 1; this one does not.
    """
    def width(n: int) -> float:
        low, high = wilson(share * n, n, level=level)
        return (high - low) / 2

    return _smallest(lambda n: width(n) <= half_width)


def for_lower_bound(share: float, bound: float, *, level: float = 0.95) -> int | None:
    """Return how many cases put Wilson's lower bound about ``share`` at ``bound`` or above; None when none do."""
    return _smallest(lambda n: wilson(share * n, n, level=level)[0] >= bound) if share > bound else None


def for_observed_over_expected(prevalence: float, half_width: float, *, level: float = 0.95) -> int:
    """Return how many cases give observed / expected, about 1, an interval of exp(± ``half_width``).

    Riley 2021, doi:10.1002/sim.9025.
    """
    error = half_width / float(stats.norm.ppf(0.5 + level / 2))
    return ceil((1 - prevalence) / (prevalence * error**2))


def information_of(logit: ArrayLike, slope: float = 1.0, intercept: float = 0.0) -> Information:
    """Return the information of one case on average over the predicted logits of these people, were this line the truth."""
    x = np.asarray(logit, dtype=np.float64)
    p = 1 / (1 + np.exp(-np.clip(intercept + slope * x, -500, 500)))
    weight: NDArray[np.float64] = p * (1 - p)
    return Information(float(weight.mean()), float((weight * x).mean()), float((weight * x * x).mean()))


def for_calibration_slope(information: Information, half_width: float, *, level: float = 0.95) -> int:
    """Return how many cases give the calibration slope to ± ``half_width`` (Riley 2021, doi:10.1002/sim.9025, equation 8)."""
    error = half_width / float(stats.norm.ppf(0.5 + level / 2))
    determinant = information.level * information.slope - information.both**2
    return ceil(information.level / (error**2 * determinant)) if determinant > 0 else LARGEST


def for_auroc(area: float, prevalence: float, half_width: float, *, level: float = 0.95) -> int:
    """Return how many cases give the AUROC to ± ``half_width`` (Newcombe 2006's standard error, as Riley 2021 uses it)."""
    error = half_width / float(stats.norm.ppf(0.5 + level / 2))
    return _smallest(lambda n: _auroc_error(area, prevalence, n) <= error)


def for_new_line(prevalence: float, cox_snell: float, *, parameters: int = 1, shrinkage: float = 0.9) -> int:
    """Return how many cases it takes to fit a new line without overfitting (Riley 2020, doi:10.1136/bmj.m441).

    The larger of: expected shrinkage of at least ``shrinkage`` (``parameters`` besides the intercept), and the overall risk
    known to ± 0.05.
    """
    shrunk = parameters / ((shrinkage - 1) * log(1 - cox_snell / shrinkage)) if 0 < cox_snell < shrinkage else float(LARGEST)
    return ceil(max(shrunk, (1.96 / 0.05) ** 2 * prevalence * (1 - prevalence)))


def _auroc_error(area: float, prevalence: float, n: int) -> float:
    half = n / 2 - 1
    inner = 1 + half * (1 - area) / (2 - area) + half * area / (1 + area)
    return sqrt(area * (1 - area) * inner / (n * n * prevalence * (1 - prevalence)))


def _smallest(enough: Callable[[int], bool]) -> int:
    """Return the smallest number that is enough, by doubling and halving."""
    high = 2
    while not enough(high):
        high *= 2
        if high > LARGEST:
            return LARGEST
    low = high // 2
    while low + 1 < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
