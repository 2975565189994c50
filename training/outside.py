"""How far a case lies from the cohort: robust, cheap, and the same in torch and in the graph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
FARTHEST = 4.0  # in distances from the median to the 1 % or 99 % quantile: one wild value must not decide alone
LEVELS = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


def quantiles_of(x: Floats) -> Floats:
    """Return the cohort's quantiles at LEVELS (7, F), leaving missing values out; 0 where nobody has a value."""
    found = np.zeros((len(LEVELS), x.shape[1]), np.float32)
    known = ~np.isnan(x).all(axis=0)
    found[:, known] = np.nanquantile(x[:, known], LEVELS, axis=0)
    return found


def scales_of(quantiles: Floats) -> tuple[Floats, Floats]:
    """Return the median and one over the larger distance from it to the 1 % and 99 % quantiles, (1, F) each."""
    middle = quantiles[3]
    reach = np.maximum(quantiles[-1] - middle, middle - quantiles[0])
    return middle[None], (1 / np.where(reach > 0, reach, np.inf)).astype(np.float32)[None]


def outside_of(x: Floats, quantiles: Floats) -> Floats:
    """Return how far cases (N, F) lie from the cohort (N, 1): the mean squared bounded distance of known values."""
    middle, scale = scales_of(quantiles)
    bounded = np.clip(np.nan_to_num((x - middle) * scale), -FARTHEST, FARTHEST)
    return (bounded**2).mean(axis=1, keepdims=True).astype(np.float32)
