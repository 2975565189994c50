"""What is watched of one input: a few numbers of the image or the feature row a model got, by the stream's name.

They are for counting over many cases (models.reference) and say nothing to a reader. A stream that does not exist for a case
has no key: a missing laboratory value, a spacing the sender did not state. No number changes when left and right are swapped.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from models.manifest import Manifest
from models.volume import Volume

LOOKED_AT = 4_096  # pixels that are looked at: percentiles of a regular sample of the image are as good
PLANES = 5  # slices of a volume that are looked at
BORDER = 16  # the border is one part in so many of each side
NEAR_END = 0.01  # of the range of grey levels: so near its end a pixel is black or saturated

IMAGE_STREAMS = (
    "input.mean", "input.sd", "input.p05", "input.p50", "input.p95", "input.black", "input.saturated", "input.border_black",
    "input.edges", "input.sharpness", "input.levels", "input.slices", "input.rows", "input.columns", "input.spacing_mm",
)


def image_statistics(prepared: Volume, source: Volume) -> dict[str, float]:
    """Return the streams of one image.

    Of ``prepared`` (the image after the steps, on its own scale of grey): mean, sd, percentiles; the share of pixels at the
    black and at the white end of the range; the black share of the border; ``edges``, the mean absolute difference of
    neighbours as a share of sd; ``sharpness``, the mean absolute second difference as a share of the first (blur lowers it,
    noise raises it). Of ``source``: slices, rows, columns, the pixel spacing in mm where stated, and ``levels``, log2 of the
    number of grey levels among 4,096 pixels, which tells 8 bits from 12.
    """
    planes = _planes(prepared.voxels)
    sample = np.sort(_thinned(planes, LOOKED_AT), axis=None)
    low, high = (0.0, 255.0) if prepared.units == "display" else (float(sample[0]), float(sample[-1]))
    near = NEAR_END * (high - low)
    mean, sd = float(sample.mean(dtype=np.float64)), float(sample.std(dtype=np.float64))
    first, second = _differences(planes)
    found = {
        "input.mean": mean,
        "input.sd": sd,
        **{f"input.p{share:02d}": float(sample[int(share / 100 * (len(sample) - 1))]) for share in (5, 50, 95)},
        "input.black": float(np.searchsorted(sample, low + near, side="right")) / len(sample),
        "input.saturated": 1 - float(np.searchsorted(sample, high - near, side="left")) / len(sample),
        "input.border_black": _border_share(planes, low + near),
        "input.edges": first / sd if sd > 0 else 0.0,
        "input.sharpness": second / first if first > 0 else 0.0,
        "input.levels": float(np.log2(_levels(source.voxels))),
        "input.slices": float(source.shape[0]),
        "input.rows": float(source.shape[1]),
        "input.columns": float(source.shape[2]),
    }
    if source.spacing_known:
        found["input.spacing_mm"] = source.spacing_mm[1]
    return _finite(found)


def record_statistics(manifest: Manifest, row: NDArray[np.float32]) -> dict[str, float]:
    """Return the streams of one feature row (1, F): its values by the feature's name, without those that are missing."""
    values = row.reshape(-1).tolist()
    return _finite({f"feature.{feature.name}": value for feature, value in zip(manifest.features, values, strict=True)})


def with_scores(statistics: Mapping[str, float], quality: Mapping[str, float]) -> dict[str, float]:
    """Return the streams with the out-of-distribution scores, as shares of their limits."""
    return {**statistics, **_finite({f"ood.{name}": value for name, value in quality.items()})}


def _finite(found: Mapping[str, float]) -> dict[str, float]:
    """Six digits are more than any bin needs, and a shorter line in the store."""
    return {name: float(f"{value:.6g}") for name, value in found.items() if isfinite(value)}


def _planes(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return at most PLANES slices, regularly spaced."""
    step = max(1, -(-voxels.shape[0] // PLANES))
    return voxels[(voxels.shape[0] - 1) % step // 2 :: step]


def _thinned(planes: NDArray[np.float32], at_most: int) -> NDArray[np.float32]:
    step = max(1, int(np.ceil(np.sqrt(planes.size / at_most))))
    return planes[:, ::step, ::step]


def _differences(planes: NDArray[np.float32]) -> tuple[float, float]:
    """Return the mean absolute first and second difference of neighbours, along some rows and some columns."""
    step = max(1, int(np.ceil(planes.size / (2 * LOOKED_AT))))
    firsts, seconds = [], []
    for lines in (planes[:, ::step, :], planes[:, :, ::step].transpose(0, 2, 1)):
        change = np.diff(lines, axis=2)
        if change.shape[2] > 1:
            firsts.append(float(np.abs(change).mean()))
            seconds.append(float(np.abs(np.diff(change, axis=2)).mean()))
    return (sum(firsts) / len(firsts), sum(seconds) / len(seconds)) if firsts else (0.0, 0.0)


def _border_share(planes: NDArray[np.float32], black: float) -> float:
    """Return the share of the pixels of the four sides that are black. Thinned along the side."""
    rows, columns = planes.shape[1:]
    high, wide = max(1, rows // BORDER), max(1, columns // BORDER)
    step = max(1, int(np.sqrt(planes.size / LOOKED_AT)))
    sides = (planes[:, :high, ::step], planes[:, -high:, ::step], planes[:, ::step, :wide], planes[:, ::step, -wide:])
    return sum(int(np.count_nonzero(side <= black)) for side in sides) / sum(side.size for side in sides)


def _levels(voxels: NDArray[np.float32]) -> int:
    middle = voxels[voxels.shape[0] // 2]
    step = max(1, int(np.ceil(np.sqrt(middle.size / LOOKED_AT))))
    levels = np.sort(middle[::step, ::step], axis=None)
    return 1 + int(np.count_nonzero(np.diff(levels)))
