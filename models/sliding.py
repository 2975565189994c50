"""Sliding window: a graph of one fixed size goes over a volume of any size, and its class scores are blended.

Windows, weights and padding are those of MONAI's ``sliding_window_inference``
(https://docs.monai.io/en/stable/inferers.html), so that an adopted model gives the same numbers here as there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from models.errors import UnusableInput
from models.manifest import Window

MAX_BLENDED_BYTES = 2_000_000_000  # all classes of one volume in float32; three times that is needed while labels are drawn
LEAST_WEIGHT = 1e-3  # a gaussian never falls lower, so that every voxel is divided by something

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def blended(run: Run, voxels: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """Return class scores (classes, z, y, x) of ``voxels`` (z, y, x): the weighted mean of all windows over each voxel.

    ``run`` maps windows (n, 1, *roi) to scores (n, classes, *roi), n up to ``window.batch``. Raises UnusableInput when the
    scores of the whole volume would not fit in MAX_BLENDED_BYTES; memory is that of the scores and one batch of windows.
    """
    padded, inside = _padded(voxels, window)
    weights = importance(window)
    corners = list(starts(padded.shape, window))
    sums: NDArray[np.float32] | None = None
    total = np.zeros(padded.shape, dtype=np.float32)
    for first in range(0, len(corners), window.batch):
        places = [tuple(slice(at, at + size) for at, size in zip(corner, window.roi, strict=True))
                  for corner in corners[first : first + window.batch]]
        scores = run(np.stack([padded[place] for place in places])[:, None])
        if sums is None:
            sums = _empty(scores.shape[1], padded.shape)
        for place, one in zip(places, scores, strict=True):
            sums[(slice(None), *place)] += one * weights
            total[place] += weights
    if sums is None:
        raise ValueError("A volume has at least one window, found none.")
    sums /= total
    return np.ascontiguousarray(sums[(slice(None), *inside)])


def starts(shape: tuple[int, ...], window: Window) -> Iterator[tuple[int, ...]]:
    """Yield the first voxel (z, y, x) of every window: evenly spaced, the last of an axis moved back to its end."""
    axes = []
    for size, roi, overlap in zip(shape, window.roi, window.overlap, strict=True):
        step = roi if roi == size else max(int(roi * (1 - overlap)), 1)
        count = -(-(size - roi) // step) + 1
        axes.append([min(place * step, size - roi) for place in range(count)])
    yield from product(*axes)


def importance(window: Window) -> NDArray[np.float32]:
    """Return the weight of each voxel of a window (z, y, x): 1, or a gaussian about the middle."""
    weights = np.ones((1, 1, 1), dtype=np.float32)
    if window.mode == "constant":
        return np.broadcast_to(weights, window.roi).copy()
    for axis, size in enumerate(window.roi):
        distance = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
        line = np.exp(distance**2 / np.float32(-2 * (window.sigma_scale * size) ** 2)).astype(np.float32)
        weights = weights * line.reshape([-1 if one == axis else 1 for one in range(3)])
    return np.maximum(weights, max(float(weights.min()), LEAST_WEIGHT)).astype(np.float32)


def _padded(voxels: NDArray[np.float32], window: Window) -> tuple[NDArray[np.float32], tuple[slice, ...]]:
    """Return the voxels made at least as large as a window, half of what is missing on each side, and where they lie in it."""
    missing = [max(roi - size, 0) for roi, size in zip(window.roi, voxels.shape, strict=True)]
    inside = tuple(slice(more // 2, more // 2 + size) for more, size in zip(missing, voxels.shape, strict=True))
    if not any(missing):
        return voxels, inside
    pads = [(more // 2, more - more // 2) for more in missing]
    return np.pad(voxels, pads, constant_values=window.pad_value).astype(np.float32, copy=False), inside


def _empty(classes: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    needed = 4 * classes * int(np.prod(shape, dtype=np.int64))
    if needed > MAX_BLENDED_BYTES:
        raise UnusableInput(
            f"The class scores of a volume may take {MAX_BLENDED_BYTES:,} bytes, {classes} classes of {list(shape)} voxels "
            f"(z, y, x) take {needed:,}. Send the part of the body that is asked about.", code="too_many_pixels",
        )
    return np.zeros((classes, *shape), dtype=np.float32)
