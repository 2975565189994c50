"""Figures of one yes/no outcome as plain functions: the fourfold table, ranking, calibration. Truths are 0 or 1, never NaN."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log, nan, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from models.statistics.intervals import Interval, wilson

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fourfold:
    """The fourfold table of a call against the truth; each figure is NaN where its row or column is empty."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def sensitivity(self) -> float:
        return _over(self.true_positive, self.true_positive + self.false_negative)

    @property
    def specificity(self) -> float:
        return _over(self.true_negative, self.true_negative + self.false_positive)

    @property
    def ppv(self) -> float:
        return _over(self.true_positive, self.true_positive + self.false_positive)

    @property
    def npv(self) -> float:
        return _over(self.true_negative, self.true_negative + self.false_negative)

    @property
    def prevalence(self) -> float:
        return _over(self.true_positive + self.false_negative, self.n)

    @property
    def n(self) -> int:
        return self.true_positive + self.false_positive + self.false_negative + self.true_negative


@dataclass(frozen=True)
class Line:
    """``logit(truth) = intercept + slope · logit(predicted)``, with standard errors; NaN where it cannot be fitted."""

    slope: float
    intercept: float
    slope_se: float
    intercept_se: float

    def interval(self, *, level: float = 0.95) -> Interval:
        """Return Wald's interval of the slope."""
        half = float(stats.norm.ppf(0.5 + level / 2)) * self.slope_se
        return self.slope - half, self.slope + half


def fourfold(truth: ArrayLike, called: ArrayLike) -> Fourfold:
    """Count the four cells."""
    y, c = np.asarray(truth) > 0.5, np.asarray(called).astype(bool)
    return Fourfold(int((y & c).sum()), int((~y & c).sum()), int((y & ~c).sum()), int((~y & ~c).sum()))


def auroc(truth: ArrayLike, score: ArrayLike) -> float:
    """Return the chance that a case scores above a control, ties counted half (Hanley 1982); NaN without one of both."""
    positive = np.asarray(truth) > 0.5
    ranks = stats.rankdata(np.asarray(score))
    cases, controls = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - cases * (cases + 1) / 2) / (cases * controls)) if cases and controls else nan


def brier(truth: ArrayLike, probability: ArrayLike) -> float:
    """Return the mean squared distance of probability and truth (1950); NaN of nothing."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    return float(((p - y) ** 2).mean()) if len(y) else nan


def logit_of(probability: ArrayLike) -> Array:
    """Return the logits; probabilities nearer than 1e-7 to 0 or 1 count as that near."""
    p = np.clip(np.asarray(probability, dtype=np.float64), 1e-7, 1 - 1e-7)
    return np.asarray(np.log(p / (1 - p)))


def chance_of(logit: ArrayLike) -> Array:
    """Return the probabilities of logits."""
    return np.asarray(1 / (1 + np.exp(-np.clip(np.asarray(logit, dtype=np.float64), -500, 500))))


def calibration_line(truth: ArrayLike, logit: ArrayLike, persons: Sequence[str] | None = None) -> Line:
    """Fit slope and intercept of the truth on the predicted logit by maximum likelihood (Cox 1958).

    Standard errors are the information's, or, with ``persons``, robust against cases of one person being alike (sandwich
    by person; Liang and Zeger 1986, doi:10.1093/biomet/73.1.13). NaN where one class is missing or the two are apart.
    """
    y, x = np.asarray(truth, dtype=np.float64), np.asarray(logit, dtype=np.float64)
    design = np.stack([np.ones_like(x), x], axis=1)
    beta = _newton(design, y, np.zeros(len(y)))
    return Line(nan, nan, nan, nan) if beta is None else _line(design, y, np.zeros(len(y)), beta, persons)


def calibration_in_the_large(truth: ArrayLike, logit: ArrayLike, persons: Sequence[str] | None = None) -> tuple[float, float]:
    """Return the shift of the logits that makes the mean right, and its standard error: 0 is right, above 0 too low a risk."""
    y, x = np.asarray(truth, dtype=np.float64), np.asarray(logit, dtype=np.float64)
    design = np.ones((len(y), 1))
    beta = _newton(design, y, x)
    if beta is None:
        return nan, nan
    line = _line(design, y, x, beta, persons)
    return line.intercept, line.intercept_se


def predictive_values_at(prevalence: float, found: Fourfold, *, level: float = 0.95) -> dict[str, tuple[float, float, float]]:
    """Return ppv and npv (value, low, high) at a prevalence that is known, by Bayes from sensitivity and specificity.

    For truth sets that were enriched with cases. Intervals on the logit scale (Mercaldo 2007, doi:10.1002/sim.2677), half a
    case added to each cell where one is empty.
    """
    cells = [found.true_positive, found.false_negative, found.true_negative, found.false_positive]
    tp, fn, tn, fp = (cell + 0.5 for cell in cells) if 0 in cells else map(float, cells)
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    odds = prevalence / (1 - prevalence)
    z = float(stats.norm.ppf(0.5 + level / 2))

    def around(value: float, error: float) -> tuple[float, float, float]:
        return tuple(1 / (1 + exp(-one)) for one in (value, value - z * error, value + z * error))  # type: ignore[return-value]

    return {
        "ppv": around(log(odds * sensitivity / (1 - specificity)),
                      sqrt((1 - sensitivity) / sensitivity / (tp + fn) + specificity / (1 - specificity) / (tn + fp))),
        "npv": around(log(specificity / (odds * (1 - sensitivity))),
                      sqrt(sensitivity / (1 - sensitivity) / (tp + fn) + (1 - specificity) / specificity / (tn + fp))),
    }


def reliability(truth: ArrayLike, probability: ArrayLike, *, bins: int = 10) -> list[dict[str, float]]:
    """Return predicted mean, observed share with Wilson's interval and count in ``bins`` groups of like size."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if not len(y):
        return []
    edges = np.unique(np.quantile(p, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for index in np.unique(place):
        inside = place == index
        low, high = wilson(float(y[inside].sum()), float(inside.sum()))
        rows.append({"predicted": float(p[inside].mean()), "observed": float(y[inside].mean()), "low": low, "high": high,
                     "n": float(inside.sum())})
    return rows


def expected_calibration_error(truth: ArrayLike, probability: ArrayLike, *, bins: int = 15) -> float:
    """Return the mean gap of predicted and observed over bins of equal width, weighted by their size (Naeini 2015)."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    if not len(y):
        return nan
    place = np.clip((p * bins).astype(int), 0, bins - 1)
    return float(np.abs(np.bincount(place, weights=y - p, minlength=bins)).sum() / len(y))


def _newton(design: Array, y: Array, offset: Array) -> Array | None:
    """Return the coefficients of a logistic regression, None where they do not settle."""
    if not len(y) or y.min() == y.max() or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        p = chance_of(design @ beta + offset)
        information = (design * (p * (1 - p))[:, None]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (y - p))
        except np.linalg.LinAlgError:
            return None
        beta = beta + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            return beta if np.abs(beta).max() < 1e3 else None
    return None


def _line(design: Array, y: Array, offset: Array, beta: Array, persons: Sequence[str] | None) -> Line:
    p = chance_of(design @ beta + offset)
    bread = np.linalg.inv((design * (p * (1 - p))[:, None]).T @ design)
    covariance = bread
    if persons is not None and len(set(persons)) < len(y):
        _, place = np.unique(np.asarray(persons).astype(str), return_inverse=True)
        count = int(place.max()) + 1
        scores = np.stack([np.bincount(place, weights=column, minlength=count) for column in (design * (y - p)[:, None]).T], axis=1)
        covariance = bread @ (scores.T @ scores * count / (count - 1)) @ bread
    error = np.sqrt(np.diag(covariance))
    slope, slope_se = (float(beta[1]), float(error[1])) if len(beta) > 1 else (1.0, 0.0)
    return Line(slope, float(beta[0]), slope_se, float(error[0]))


def _over(hits: int, n: int) -> float:
    return hits / n if n else nan
