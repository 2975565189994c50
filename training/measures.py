"""Figures of merit as plain functions of arrays: discrimination, calibration, benefit, overlap. Intervals: bootstrap.py."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, stats


def auroc(truth: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a case scores above a control (ties count half).

    NaN when one class is missing. Rank form of Mann-Whitney U (Hanley 1982, doi:10.1148/radiology.143.1.7063747).
    """
    positive = np.asarray(truth) > 0.5
    ranks = stats.rankdata(np.asarray(score))
    cases, controls = int(positive.sum()), int((~positive).sum())
    if not cases or not controls:
        return float("nan")
    return float((ranks[positive].sum() - cases * (cases + 1) / 2) / (cases * controls))


def dice(reference: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of two masks; 1 when both are empty."""
    total = int(reference.sum()) + int(found.sum())
    return 1.0 if total == 0 else 2.0 * int((reference & found).sum()) / total


def hausdorff_95_mm(
    reference: NDArray[np.bool_], found: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> float:
    """Return the 95th percentile of both surfaces' distances to each other in mm (the larger of the two directions).

    Infinity when one mask is empty and the other is not. Masks and spacing are (z, y, x).
    """
    if not reference.any() or not found.any():
        return 0.0 if reference.any() == found.any() else float("inf")

    def surface(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return mask & ~ndimage.binary_erosion(mask, border_value=0)

    def one_way(start: NDArray[np.bool_], goal: NDArray[np.bool_]) -> float:
        distance = ndimage.distance_transform_edt(~goal, sampling=spacing_mm)
        return float(np.percentile(distance[start], 95))

    a, b = surface(reference), surface(found)
    return max(one_way(a, b), one_way(b, a))


def roc(truth: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (false positive rate, sensitivity) from (0, 0) to (1, 1), one point for every distinct score."""
    hits, alarms, cases, controls = _swept(truth, score)
    return np.append(0.0, alarms / max(controls, 1)), np.append(0.0, hits / max(cases, 1))


def precision_recall(truth: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (sensitivity, positive predictive value), one point for every distinct score, highest first."""
    hits, alarms, cases, _ = _swept(truth, score)
    return hits / max(cases, 1), hits / (hits + alarms)


def average_precision(truth: ArrayLike, score: ArrayLike) -> float:
    """Return the area under the precision-recall steps; NaN without a case."""
    recall, precision = precision_recall(truth, score)
    if not (np.asarray(truth) > 0.5).any():
        return float("nan")
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def net_benefit(truth: ArrayLike, probability: ArrayLike, thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the net benefit of acting on probability >= threshold (Vickers 2006, doi:10.1177/0272989X06295361).

    True positives less false positives weighted by the odds of the threshold, per person.
    """
    positive, p = np.asarray(truth) > 0.5, np.asarray(probability)
    acted = p[None, :] >= thresholds[:, None]
    odds = thresholds / (1 - thresholds)
    return np.asarray((acted & positive).mean(axis=1) - odds * (acted & ~positive).mean(axis=1))


def reliability(truth: ArrayLike, probability: ArrayLike, edges: NDArray[np.float64]) -> list[dict[str, float]]:
    """Return one row for each bin of probability that holds someone: mean probability, observed share and count.

    ``edges`` rise from 0 to 1; a bin holds its lower edge.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    place = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for index in np.unique(place):
        inside = place == index
        rows.append({"low": float(edges[index]), "high": float(edges[index + 1]), "n": float(inside.sum()),
                     "predicted": float(p[inside].mean()), "observed": float(y[inside].mean())})
    return rows


def bland_altman(reference: ArrayLike, found: ArrayLike) -> dict[str, float]:
    """Return bias and 95 % limits of agreement of found - reference (Bland 1986, doi:10.1016/S0140-6736(86)90837-8)."""
    difference = np.asarray(found, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    bias, spread = float(difference.mean()), float(difference.std(ddof=1))
    return {"bias": bias, "low": bias - 1.96 * spread, "high": bias + 1.96 * spread}


def _swept(truth: ArrayLike, score: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], int, int]:
    """Count hits and false alarms at every distinct threshold, highest first."""
    positive, s = np.asarray(truth) > 0.5, np.asarray(score)
    order = np.argsort(-s, kind="stable")
    last = np.append(np.diff(s[order]) != 0, True)
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    alarms = np.cumsum(~positive[order])[last].astype(np.float64)
    return hits, alarms, int(positive.sum()), int((~positive).sum())
