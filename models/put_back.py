"""Put back: values on the grid a model worked on → the grid that was sent, over the steps taken, last one first.

What was turned, cut or padded goes back voxel for voxel, with zero where nothing was kept. What was resampled is
interpolated between centres, edges repeated. This is what MONAI's Invertd does with the same transforms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.steps import Taken
from models.steps_volume import averaged
from models.volume import Volume

WHOLE = 1e-4  # of a voxel: nearer than this, one grid is the other turned, cut or padded


def put_back(values: NDArray[np.float32], prepared: Volume, taken: Sequence[Taken], *, nearest: bool) -> NDArray[np.float32]:
    """Return ``values`` (z, y, x), which lie on the grid of ``prepared``, on the grid the first step started from.

    ``nearest`` takes the nearest voxel (labels), else values are interpolated linearly (shares of a class). Of two voxels as
    near, as in resampling by 2, the even one is taken; MONAI takes either, by the rounding of its coordinates.
    """
    affine = prepared.affine
    for step in reversed(taken):
        values = _over(values, affine, step, nearest)
        affine = step.affine
    return values


def _over(values: NDArray[np.float32], affine: NDArray[np.float64], step: Taken, nearest: bool) -> NDArray[np.float32]:
    flip = np.eye(4)[[2, 1, 0, 3]]  # affines are over (x, y, z), arrays are (z, y, x)
    matrix = flip @ np.linalg.inv(affine) @ step.affine @ flip  # index before the step → index after it
    turn = np.round(matrix[:3, :3])
    if np.abs(matrix[:3, :3] - turn).max() * max(step.shape) < WHOLE and np.array_equal(np.abs(turn).sum(axis=0), np.ones(3)):
        return _moved(values, turn.astype(int), np.round(matrix[:3, 3]).astype(int), step.shape)
    if np.abs(matrix[:3, :3] - np.diag(np.diag(matrix))[:3, :3]).max() * max(step.shape) > WHOLE:
        raise ValueError(f"The step {step.name} must keep the directions of its axes, found a grid turned by part of a right angle.")
    for axis, size in enumerate(step.shape):
        if step.name == "resize" and nearest:
            values = values.take(np.arange(size) * values.shape[axis] // size, axis)  # as torch's interpolate takes them
        elif step.name == "resize" and step.params.get("mode", "area") == "area":
            values = averaged(values, axis, size)
        else:
            values = _sampled(values, axis, matrix[axis, axis] * np.arange(size) + matrix[axis, 3], nearest)
    return values


def _moved(values: NDArray[np.float32], turn: NDArray[np.int_], offset: NDArray[np.int_], shape: tuple[int, int, int]
           ) -> NDArray[np.float32]:
    """Return what index i of ``shape`` finds at ``turn`` · i + ``offset`` of values; 0 outside."""
    comes_from = np.abs(turn).argmax(axis=0)  # axis before → axis after
    signs = turn[comes_from, np.arange(3)]
    turned = values.transpose(comes_from)
    result = np.zeros(shape, dtype=np.float32)
    here, there = [], []
    for axis, size in enumerate(shape):
        first, sign = offset[comes_from[axis]], signs[axis]
        places = first + sign * np.arange(size)
        kept = np.flatnonzero((places >= 0) & (places < turned.shape[axis]))
        if not len(kept):
            return result
        here.append(slice(int(kept[0]), int(kept[-1]) + 1))
        stop = int(places[kept[-1]]) + sign
        there.append(slice(int(places[kept[0]]), stop if stop >= 0 else None, sign))
    result[tuple(here)] = turned[tuple(there)]
    return result


def _sampled(values: NDArray[np.float32], axis: int, places: NDArray[np.float64], nearest: bool) -> NDArray[np.float32]:
    last = values.shape[axis] - 1
    places = np.clip(places, 0, last)
    if nearest:
        return values.take(np.rint(places).astype(int), axis)
    low = np.minimum(places.astype(int), max(last - 1, 0))
    share = (places - low).astype(np.float32).reshape([-1 if one == axis else 1 for one in range(3)])
    below: NDArray[np.float32] = values.take(low, axis)
    above: NDArray[np.float32] = values.take(np.minimum(low + 1, last), axis)
    above -= below
    above *= share
    below += above
    return below
