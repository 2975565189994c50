"""Class activation maps: an extra output of the graph, exact by construction, placed on the image as measured.

logit = bias + mean(map) (Zhou 2016, doi:10.1109/CVPR.2016.319). Nothing is computed here that the graph did not give;
this file checks the sum, names the maps and draws them on the grid of the image that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.explain.case import Case
from models.manifest import Manifest, Output
from models.prediction import Explanation, Finding, Heatmap
from models.volume import Volume


def explain(
    manifest: Manifest, findings: tuple[Finding, ...], arrays: Mapping[str, NDArray[Any]], case: Case
) -> Explanation:
    """Return the maps of one case's graph arrays, and how far they are from summing to the logits."""
    explains = manifest.explains
    maps, logits = arrays["map"], arrays["logit"]
    bias = np.array([explains.bias.get(str(k), np.nan) for k in range(len(maps))])
    signed = {
        output.name: explains.bias[str(output.map_index)] * sign_of(manifest, output)
        for output in manifest.outputs
        if output.map_index is not None
    }
    rows, columns = case.graph_input.shape[-2:]
    drawn = heatmaps(manifest, findings, maps, (rows, columns))
    return Explanation(
        explains.method,
        explains.baseline,
        signed,
        tuple(_uncropped(heatmap, case) for heatmap in drawn),
        completeness_error=completeness(maps, bias, logits),
        completeness_tolerance=explains.completeness_tolerance,
        note=explains.note,
        note_fr=explains.note_fr,
    )


def completeness(maps: NDArray[np.float32], bias: NDArray[np.float64], logits: NDArray[np.float32]) -> float:
    """Return the largest |bias + mean(map) - logit| / (1 + |logit|) over channels; maps (channel, rows, columns)."""
    parts = bias + maps.mean(axis=(1, 2), dtype=np.float64)
    return float((np.abs(parts - logits) / (1 + np.abs(logits))).max())


def sign_of(manifest: Manifest, output: Output) -> int:
    """Return +1, or -1 for the second of two outputs that share a map: what lowers one raises the other."""
    sharing = [other.name for other in manifest.outputs if other.map_index == output.map_index]
    return 1 if sharing[0] == output.name else -1


def heatmaps(
    manifest: Manifest, findings: tuple[Finding, ...], maps: NDArray[np.float32], input_shape: tuple[int, int]
) -> tuple[Heatmap, ...]:
    """Return a map for each finding that is above its threshold, from the graph's maps (channel, rows, columns).

    A finding without a threshold of its own, shown because another is above its threshold, has a map when its own
    logit is positive. Maps of negatives would be false positives (Saporta 2022, doi:10.1038/s42256-022-00536-x).
    """
    explains = manifest.explains
    if explains.stride_px is None or explains.offset_px is None:
        return ()
    drawn = []
    for finding in findings:
        output = manifest.output(finding.name)
        positive = finding.above_threshold
        if positive is None:
            positive = output.shown_only_if is not None and finding.logit is not None and finding.logit > 0
        if positive and output.map_index is not None:
            values = maps[output.map_index] * np.float32(sign_of(manifest, output))
            drawn.append(Heatmap(finding.name, values, explains.stride_px, explains.offset_px, input_shape))
    return tuple(drawn)


def upsample(heatmap: Heatmap, onto: Volume) -> NDArray[np.float32]:
    """Draw a map on the grid of the image that was sent: float32 (rows, columns), bicubic.

    Cell (r, c) lies at pixel (r * stride + offset) of the model's input, which covers the same field as the image,
    edge on edge (the squash step). Outside the outermost cells the edge is continued; what was cropped away is 0.
    """
    rows, columns = onto.shape[1:]
    positions, unseen = [], []
    for axis, (size, model_size) in enumerate(zip((rows, columns), heatmap.input_shape, strict=True)):
        in_model = (np.arange(size) + 0.5) * model_size / size - 0.5  # pixel centres, in pixels of the model's input
        cell = (in_model - heatmap.offset_px[axis]) / heatmap.stride_px
        positions.append(np.clip(cell, 0, heatmap.values.shape[axis] - 1))
        low, high = (-np.inf, np.inf) if heatmap.seen_px is None else heatmap.seen_px[axis::2]
        unseen.append((in_model < low) | (in_model > high))
    cells = _cubic(heatmap.values.shape[0], positions[0]) @ heatmap.values.astype(np.float64)
    drawn: NDArray[np.float32] = (cells @ _cubic(heatmap.values.shape[1], positions[1]).T).astype(np.float32)
    drawn[unseen[0]] = 0
    drawn[:, unseen[1]] = 0
    return drawn


def _uncropped(heatmap: Heatmap, case: Case) -> Heatmap:
    """Place a map on the whole image that was sent, where a step cut a part out of it; else return it as it is.

    The grids say where the input lies: both affines map voxels to the same millimetres. The input that an uncropped
    image would have made is rounded to whole pixels, about the centre of the crop: an error below 0.25 of its pixels.
    """
    if case.source is None or case.prepared is None:
        return heatmap
    to_source = np.linalg.inv(case.source.affine) @ case.prepared.affine
    offsets, shape, first, last = [], [], [], []
    for axis, (xy, size) in enumerate(((1, heatmap.input_shape[0]), (0, heatmap.input_shape[1]))):
        step, start = float(to_source[xy, xy]), float(to_source[xy, 3])  # pixels of the source per pixel of the input
        whole = case.source.shape[1 + axis] / step
        before = (start + 0.5) / step - 0.5  # input pixels between the edges of the image and of the crop
        shape.append(round(whole))
        middle = (before + size / 2) * shape[-1] / whole  # the centre of the crop stays where it is
        shift = middle - size / 2
        offsets.append(heatmap.offset_px[axis] + shift)
        first.append(shift - 0.5)
        last.append(shift + size - 0.5)
    if tuple(shape) == heatmap.input_shape and max(abs(one + 0.5) for one in first) < 1e-6:
        return heatmap
    seen_px = (first[0], first[1], last[0], last[1])
    return replace(heatmap, offset_px=(offsets[0], offsets[1]), input_shape=(shape[0], shape[1]), seen_px=seen_px)


def peak(heatmap: Heatmap, onto: Volume) -> tuple[int, int]:
    """Return the pixel (row, column) of the image where the map is strongest."""
    drawn = upsample(heatmap, onto)
    row, column = np.unravel_index(int(drawn.argmax()), drawn.shape)
    return int(row), int(column)


def _cubic(cells: int, positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix (positions, cells) that interpolates a row of cells with a cubic spline.

    Two small matrix products draw a map in a tenth of the time of a general two-dimensional resampling.
    """
    if cells == 1:
        return np.ones((len(positions), 1))
    columns = [
        ndimage.map_coordinates(unit, positions[None], order=3, mode="nearest")
        for unit in np.eye(cells, dtype=np.float64)
    ]
    return np.stack(columns, axis=1)
