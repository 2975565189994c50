"""The zone that weighed most in a heat map, as an outline on the image that was sent."""

from __future__ import annotations

from dataclasses import dataclass

import contourpy
import numpy as np
from numpy.typing import NDArray

from models.explain.cam import upsample
from models.prediction import Heatmap, Prediction
from models.volume import Volume
from service.dicom.told import Told

SHARE_OF_PEAK = 0.5  # the line the pictures draw too
LONGEST_SIDE_PX = 512  # a map has about 12 cells a side: more pixels say nothing more
MOST_POINTS = 180


@dataclass(frozen=True)
class Zone:
    """``outline_px`` float64 (points, 2): column and row in pixels of the source, edges at 0, closed (PS3.3 C.10.5.1.2)."""

    finding: str
    outline_px: NDArray[np.float64]


def zones(told: Told) -> list[Zone]:
    """Return the zone around the peak of each heat map that has one, where the map is above half of its peak."""
    if told.volume is None or not isinstance(told.result, Prediction):
        return []
    found = []
    for heatmap in told.result.explanation.heatmaps:
        drawn = draw(heatmap, told.volume)
        if drawn.max() > 0:
            found.append(Zone(heatmap.finding, outline(drawn, *told.volume.shape[1:])))
    return found


def draw(heatmap: Heatmap, volume: Volume) -> NDArray[np.float32]:
    """Return the map over the whole field of the image: float32, of the image's own size up to 512 pixels a side."""
    rows, columns = volume.shape[1:]
    share = min(1.0, LONGEST_SIDE_PX / max(rows, columns))
    shape = (1, max(1, round(rows * share)), max(1, round(columns * share)))
    return upsample(heatmap, Volume(np.broadcast_to(np.float32(0), shape)))


def outline(drawn: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float64]:
    """Return the closed line at half of the peak, around the peak, in pixels of an image of ``rows`` x ``columns``."""
    level = float(drawn.max()) * SHARE_OF_PEAK
    padded = np.pad(drawn.astype(np.float64), 1, constant_values=min(float(drawn.min()), 0.0) - 1.0)
    row, column = (int(n) for n in np.unravel_index(int(drawn.argmax()), drawn.shape))
    lines = contourpy.contour_generator(z=padded, name="serial").lines(level)
    around = [line for line in lines if _holds(line, column + 1, row + 1)]
    line = min(around or lines, key=len)  # the innermost that holds the peak
    line = line[:: max(1, -(-len(line) // MOST_POINTS))]
    points = np.stack([
        np.clip((line[:, 0] - 0.5) * columns / drawn.shape[1], 0, columns),
        np.clip((line[:, 1] - 0.5) * rows / drawn.shape[0], 0, rows),
    ], axis=1).round(2)
    return np.concatenate([points, points[:1]]) if (points[0] != points[-1]).any() else points


def _holds(line: NDArray[np.float64], x: float, y: float) -> bool:
    """Tell whether a closed line goes around a point: it crosses a ray to the right an odd number of times."""
    start, end = line[:-1], line[1:]
    crosses = (start[:, 1] > y) != (end[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = start[:, 0] + (y - start[:, 1]) * (end[:, 0] - start[:, 0]) / (end[:, 1] - start[:, 1])
    return bool(np.count_nonzero(crosses & (at > x)) % 2)
