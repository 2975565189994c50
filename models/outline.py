"""Outline: blended class scores → labels on the slices that were sent, and how many voxels each label has."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.manifest import Window
from models.put_back import put_back
from models.steps import Taken
from models.volume import Volume


def labels_of(
    scores: NDArray[np.float32], prepared: Volume, taken: Sequence[Taken], window: Window
) -> NDArray[np.uint8]:
    """Return labels (z, y, x) on the grid that was sent, 0 for none, from scores (classes, z, y, x) on that of ``prepared``."""
    shares = SHARES[window.scores](scores)
    if window.back == "labels":
        drawn = _largest(_chosen(list(shares), lambda one: one, window), window)
        return put_back(drawn.astype(np.float32), prepared, taken, nearest=True).astype(np.uint8)
    return _largest(_chosen(list(shares), lambda one: put_back(one, prepared, taken, nearest=False), window), window)


def volumes_of(labels: NDArray[np.uint8], count: int) -> NDArray[np.float32]:
    """Return the volumes (count,) of labels 1 to ``count`` in mL, as if a voxel were 1 mm³."""
    return (np.bincount(labels.ravel(), minlength=count + 1)[1 : count + 1] / 1000).astype(np.float32)


def _chosen(
    shares: list[NDArray[np.float32]], moved: Callable[[NDArray[np.float32]], NDArray[np.float32]], window: Window
) -> NDArray[np.uint8]:
    """Return the class with the largest share at each voxel, one class in memory at a time; the first of equal ones."""
    best = moved(shares[0])
    if window.threshold is not None:
        return (best >= np.float32(window.threshold)).astype(np.uint8)
    labels = np.zeros(best.shape, dtype=np.uint8)
    best = best.copy()
    for label, one in enumerate(shares[1:], start=1):
        share = moved(one)
        above = share > best
        labels[above] = label
        np.copyto(best, share, where=above)
    return labels


def _largest(labels: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """Keep only the largest connected part of each label that asks for it; of two equal ones either."""
    joined = ndimage.generate_binary_structure(3, window.connectivity)
    for label in window.largest_part:
        parts, count = ndimage.label(labels == label, structure=joined)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            labels[(parts > 0) & (parts != sizes.argmax())] = 0
    return labels


def _softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    shares: NDArray[np.float32] = scores - scores.max(axis=0, keepdims=True)
    np.exp(shares, out=shares)
    shares /= shares.sum(axis=0, keepdims=True)
    return shares


def _sigmoid(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # exp of a very negative score: its share is 0, which is right
        return np.asarray(1 / (1 + np.exp(-scores)), dtype=np.float32)


SHARES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
    "none": lambda scores: scores,
}
