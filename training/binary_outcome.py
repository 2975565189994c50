"""All figures of one yes/no outcome: discrimination, calibration, decisions, each with its interval, and the curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from training import bootstrap, measures

ECE_EDGES = np.linspace(0, 1, 16)
ECE_BINNING = "15 bins of equal width between 0 and 1; each weighs as many cases as it holds"
Row = dict[str, Any]


def figures(truth: ArrayLike, probability: ArrayLike, threshold: float | None, patients: Sequence[str], *,
            resamples: int = bootstrap.RESAMPLES, brief: bool = False) -> dict[str, Row]:
    """Return name → figure with interval. ``brief`` leaves out what small groups cannot carry."""
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    statistics: dict[str, bootstrap.Statistic] = {
        "auroc": bootstrap.auroc_of(y, p),
        "average_precision": bootstrap.average_precision_of(y, p),
        "brier": bootstrap.mean_of((p - y) ** 2),
        "observed_over_expected": _ratio_of(y, p),
    }
    if not brief:
        statistics |= {
            "ece": bootstrap.expected_calibration_error_of(y, p, ECE_EDGES),
            "calibration_slope": bootstrap.calibration_line_of(y, p, "slope"),
            "calibration_intercept": bootstrap.calibration_line_of(y, p, "intercept"),
            "calibration_in_the_large": bootstrap.calibration_line_of(y, p, "citl"),
        }
    if threshold is not None:
        for what in ("sensitivity", "specificity", "ppv", "npv", "event1"):
            statistics[what] = bootstrap.confusion_of(y, p >= threshold, what)
    return {
        name: bootstrap.figure(statistic, list(patients), truth=y, resamples=resamples).as_json()
        for name, statistic in statistics.items()
    }


def row(by: str, group: str, what: str, *, truth: ArrayLike, found: dict[str, Row], patients: Sequence[str]) -> Row:
    """Name a population or subgroup and put its figures in it."""
    y = np.asarray(truth)
    return {"by": by, "group": group, "what": what, "n": len(y), "patients": len(set(patients)),
            "events": int((y > 0.5).sum()), "figures": found}


def confusion(truth: ArrayLike, probability: ArrayLike, threshold: float) -> Row:
    """Count the four cells at the threshold."""
    y, called = np.asarray(truth) > 0.5, np.asarray(probability) >= threshold
    return {"threshold": float(threshold), "true_positive": int((y & called).sum()),
            "false_positive": int((~y & called).sum()), "false_negative": int((y & ~called).sum()),
            "true_negative": int((~y & ~called).sum())}


def curves(truth: ArrayLike, probability: ArrayLike, patients: Sequence[str], *, resamples: int = 200) -> Row:
    """Return ROC, precision-recall, calibration and decision curves, thinned to what a picture shows.

    The ROC has a band: the 95 % interval of the sensitivity at each false positive rate over resampled patients.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    false_positive_rate, sensitivity = measures.roc(y, p)
    recall, precision = measures.precision_recall(y, p)
    thresholds = np.arange(0.01, 1.0, 0.01)
    grid = np.linspace(0, 1, 51)
    low, high = _roc_band(y, p, patients, grid, resamples)
    deciles = np.unique(np.quantile(p, np.linspace(0, 1, 11)))
    deciles[0], deciles[-1] = 0.0, 1.0
    return {
        "roc": {"false_positive_rate": _thin(false_positive_rate), "sensitivity": _thin(sensitivity),
                "band": {"false_positive_rate": _plain(grid), "low": _plain(low), "high": _plain(high)}},
        "precision_recall": {"sensitivity": _thin(recall), "ppv": _thin(precision), "prevalence": float(y.mean())},
        "calibration": {"binning": "tenths of the cases by predicted probability",
                        "bins": measures.reliability(y, p, deciles) if len(deciles) > 1 else []},
        "decision": {"threshold": _plain(thresholds), "model": _plain(measures.net_benefit(y, p, thresholds)),
                     "all": _plain(measures.net_benefit(y, np.ones_like(p), thresholds))},
    }


def _ratio_of(y: NDArray[np.float64], p: NDArray[np.float64]) -> bootstrap.Statistic:
    return lambda w: (w @ y) / (w @ p)


def _roc_band(y: NDArray[np.float64], p: NDArray[np.float64], patients: Sequence[str], grid: NDArray[np.float64],
              resamples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    names, place = np.unique(np.asarray(patients), return_inverse=True)
    rng = np.random.default_rng(bootstrap.SEED)
    members = [np.flatnonzero(place == i) for i in range(len(names))]
    lines = []
    for _ in range(resamples):
        drawn = np.concatenate([members[i] for i in rng.integers(0, len(names), len(names))])
        if 0 < y[drawn].sum() < len(drawn):
            lines.append(np.interp(grid, *measures.roc(y[drawn], p[drawn])))
    if not lines:
        return np.zeros_like(grid), np.ones_like(grid)
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    return low, high


def _thin(line: NDArray[np.float64], points: int = 200) -> list[float]:
    if len(line) > points:
        line = line[np.unique(np.linspace(0, len(line) - 1, points).astype(int))]
    return _plain(line)


def _plain(line: NDArray[np.float64]) -> list[float]:
    return [round(float(v), 5) for v in line]
