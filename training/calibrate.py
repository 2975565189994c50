"""Probabilities that mean what they say, and the statistics that tell an outsider from the training population."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import precision_recall_curve, roc_curve


@dataclass(frozen=True)
class Calibration:
    """``calibrated = slope * logit + intercept`` (Platt 1999)."""

    slope: float
    intercept: float


def platt(truth: ArrayLike, logit: ArrayLike) -> Calibration:
    """Fit slope and intercept by maximum likelihood. NaN truths do not count.

    Temperature alone cannot correct a shift of prevalence; slope and intercept can.
    """
    y, x = np.asarray(truth, dtype=np.float64), np.asarray(logit, dtype=np.float64)
    known = ~np.isnan(y)
    fitted = LogisticRegression(C=np.inf).fit(x[known, None], y[known] > 0.5)
    return Calibration(float(fitted.coef_[0, 0]), float(fitted.intercept_[0]))


def threshold_at_sensitivity(truth: ArrayLike, probability: ArrayLike, sensitivity: float) -> float:
    """Return the highest threshold that keeps at least ``sensitivity`` on the given cases."""
    _, reached, thresholds = roc_curve(np.asarray(truth), np.asarray(probability), drop_intermediate=False)
    return float(min(thresholds[np.argmax(reached >= sensitivity)], 1.0))


def threshold_at_equal_ppv(truth: ArrayLike, probability: ArrayLike) -> float:
    """Return the threshold with the largest min(sensitivity, PPV), the Challenge 2012 event-1 point."""
    precision, recall, thresholds = precision_recall_curve(np.asarray(truth), np.asarray(probability))
    return float(thresholds[np.argmax(np.minimum(precision, recall)[:-1])])


def threshold_fixed(truth: ArrayLike, probability: ArrayLike, value: float) -> float:  # noqa: ARG001
    """Return the threshold a guideline or a clinician states, whatever the cases."""
    return float(value)


def threshold_at_share(truth: ArrayLike, probability: ArrayLike, share: float) -> float:  # noqa: ARG001
    """Return the threshold that calls the given share of the cases: what a team can follow up."""
    return float(np.quantile(np.asarray(probability), 1 - share))


THRESHOLDS: dict[str, Callable[..., float]] = {
    "equal_ppv": threshold_at_equal_ppv,  # no parameter
    "sensitivity": threshold_at_sensitivity,  # sensitivity = 0.8
    "share": threshold_at_share,  # share = 0.1
    "fixed": threshold_fixed,  # value = 0.3
}


@dataclass(frozen=True)
class Population:
    """Class means (classes, d) and a whitening matrix (d, d) of pooled features: all a Mahalanobis distance needs."""

    means: NDArray[np.float32]
    whitening: NDArray[np.float32]

    def distance(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the squared distance to the nearest class mean, per dimension: about 1 for members. (n,)"""
        z = features @ self.whitening
        centres = self.means @ self.whitening
        squares = ((z[:, None, :] - centres[None]) ** 2).sum(axis=2)
        return (squares.min(axis=1) / z.shape[1]).astype(np.float32)


def population(features: NDArray[np.float32], classes: NDArray[np.int64]) -> Population:
    """Fit class means and one shared covariance, shrunk as Ledoit and Wolf do (2004), so few cases suffice.

    Lee 2018, arXiv:1807.03888; one distance a depth, since no single layer is best (Anthony 2023, arXiv:2309.01488).
    """
    labels = np.unique(classes)
    means = np.stack([features[classes == label].mean(axis=0) for label in labels])
    centred = features - means[np.searchsorted(labels, classes)]
    covariance = LedoitWolf(assume_centered=True).fit(centred.astype(np.float64)).covariance_
    values, vectors = np.linalg.eigh(covariance)
    whitening = vectors / np.sqrt(np.maximum(values, values.max() * 1e-6))
    return Population(means.astype(np.float32), whitening.astype(np.float32))
