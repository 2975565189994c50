"""Steps on whole volumes as MONAI takes them, for models adopted from its bundles: the same numbers, in numpy.

Each follows one transform of MONAI (https://docs.monai.io/en/stable/transforms.html, named in its docstring) and is tested
against it. Parameters with three values are in the order z, y, x; MONAI's are x, y, z.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import UnusableInput
from models.volume import Volume

MAX_VOXELS = 256_000_000  # after resampling; a wrong spacing could ask for any number
SAME_SPACING_MM = 1e-3  # closer than this to the wanted spacing is left as it is (monai.data.utils.AFFINE_TOL)
PERPENDICULAR = 1e-3  # cosine between two axes

Three = tuple[int, int, int]


def respace(volume: Volume, *, spacing_mm: tuple[float, float, float]) -> Volume:
    """Interpolate linearly to ``spacing_mm`` with the first voxel's centre kept in place (Spacing, diagonal=False).

    An axis has round((n - 1) · have / want) + 1 voxels after it; values beyond the last centre are the edge's. The step
    ``resample`` keeps the outer edges in place instead. Raises UnusableInput when axes are not perpendicular.
    """
    axes = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    if np.abs(axes.T @ axes - np.eye(3)).max() > PERPENDICULAR:
        raise UnusableInput("The axes of a volume must be perpendicular, found a sheared grid. Send an untilted reconstruction.",
                            code="bad_geometry")
    have = np.asarray(volume.spacing_mm)
    want = np.where(np.abs(have - spacing_mm) <= SAME_SPACING_MM, have, spacing_mm)
    size = np.asarray(volume.shape)
    shape = np.round((size - 1) * have / want + 1).astype(int)
    if np.array_equal(want, have):
        return volume
    return _interpolated(volume, shape, want / have, np.zeros(3))


def resize(volume: Volume, *, size: Three, mode: str = "area") -> Volume:
    """Resize to ``size`` voxels, every axis on its own, the outer edges kept in place (Resize, align_corners=False).

    ``mode`` "area" averages the voxels that each new one touches, "linear" interpolates between centres.
    """
    if tuple(size) == volume.shape:
        return volume
    ratio = np.asarray(volume.shape) / np.asarray(size)
    if mode == "linear":
        return _interpolated(volume, np.asarray(size), ratio, (ratio - 1) / 2)
    voxels = volume.voxels
    for axis, new in enumerate(size):
        voxels = averaged(voxels, axis, new)
    return volume.with_voxels(voxels, _moved(volume, ratio, (ratio - 1) / 2))


def averaged(values: NDArray[np.float32], axis: int, new: int) -> NDArray[np.float32]:
    """Return ``values`` with ``new`` voxels along ``axis``: each the mean of all the old ones it touches."""
    old = values.shape[axis]
    places = np.arange(new)
    starts, stops = places * old // new, -(-(places + 1) * old // new)
    sums = np.concatenate([np.zeros_like(values.take([0], axis), dtype=np.float64), values.cumsum(axis, dtype=np.float64)], axis)
    counts = (stops - starts).reshape([-1 if one == axis else 1 for one in range(values.ndim)])
    return np.asarray((sums.take(stops, axis) - sums.take(starts, axis)) / counts, dtype=np.float32)


def pad_to(volume: Volume, *, size: Three, end: bool = False, value: float = 0.0) -> Volume:
    """Add voxels of ``value`` until every axis has at least ``size``: on both sides, or at the end (SpatialPad, constant)."""
    missing = [max(want - have, 0) for want, have in zip(size, volume.shape, strict=True)]
    return _padded(volume, missing, end, value)


def pad_to_multiples(volume: Volume, *, of: Three, end: bool = False, value: float = 0.0) -> Volume:
    """Add voxels of ``value`` until z, y and x are multiples of ``of``: on both sides, or at the end (DivisiblePad, constant)."""
    return _padded(volume, [-have % multiple for have, multiple in zip(volume.shape, of, strict=True)], end, value)


def crop_foreground(
    volume: Volume, *, above: float = 0.0, margin: Three = (0, 0, 0), of: Three = (1, 1, 1), inside: bool = False
) -> Volume:
    """Cut to the box of what is greater than ``above``, widened by ``margin`` voxels and to multiples of ``of`` (CropForeground).

    Where the box reaches beyond the volume, zeros are added; ``inside`` keeps the margin within it. Raises UnusableInput
    when nothing is greater.
    """
    found = volume.voxels > above
    if not found.any():
        raise UnusableInput(f"The volume must hold values above {above:g} to be cut to them, found none. Check the series.",
                            code="no_foreground")
    starts, stops = [], []
    for axis, (more, multiple) in enumerate(zip(margin, of, strict=True)):
        line = np.flatnonzero(found.any(axis=tuple({0, 1, 2} - {axis})))
        start, stop = int(line[0]) - more, int(line[-1]) + more + 1
        if inside:
            start, stop = max(start, 0), min(stop, found.shape[axis])
        missing = -(stop - start) % multiple
        starts.append(start - missing // 2)
        stops.append(stop + missing - missing // 2)
    return _cut(volume, starts, stops, 0.0)


def scale_range(
    volume: Volume, *, low: float, high: float, to_low: float | None = None, to_high: float | None = None, clip: bool = False
) -> Volume:
    """Map [low, high] onto [to_low, to_high] linearly, and clip to it when asked (ScaleIntensityRange). HU for CT."""
    scaled = (volume.voxels - np.float32(low)) / np.float32(high - low)
    if to_low is not None and to_high is not None:
        scaled = scaled * np.float32(to_high - to_low) + np.float32(to_low)
    if clip and not (to_low is None and to_high is None):
        scaled = np.clip(scaled, to_low, to_high)
    return volume.with_voxels(scaled.astype(np.float32, copy=False))


def scale_percentiles(
    volume: Volume, *, lower: float, upper: float, to_low: float | None = None, to_high: float | None = None, clip: bool = False
) -> Volume:
    """Map two percentiles of the volume's own values onto [to_low, to_high] (ScaleIntensityRangePercentiles)."""
    low, high = (float(one) for one in np.percentile(volume.voxels, (lower, upper)))
    if low == high:
        return volume.with_voxels(volume.voxels - np.float32(low - (to_low or 0.0)))
    return scale_range(volume, low=low, high=high, to_low=to_low, to_high=to_high, clip=clip)


def scale_to(volume: Volume, *, low: float, high: float) -> Volume:
    """Map the volume's own smallest and largest value onto [low, high] (ScaleIntensity, minv and maxv)."""
    least, most = volume.voxels.min(), volume.voxels.max()
    if least == most:
        return volume.with_voxels(volume.voxels * np.float32(low))
    return volume.with_voxels((volume.voxels - least) / (most - least) * np.float32(high - low) + np.float32(low))


def normalize(
    volume: Volume, *, subtract: float | None = None, divide: float | None = None, nonzero: bool = False
) -> Volume:
    """Subtract the mean and divide by the standard deviation, or by what is given (NormalizeIntensity).

    ``nonzero`` takes both from the voxels that are not zero and leaves the others as they are.
    """
    chosen = volume.voxels != 0 if nonzero else np.ones(volume.shape, dtype=bool)
    if not chosen.any():
        return volume
    values = volume.voxels[chosen]
    mean = np.float32(values.mean(dtype=np.float64) if subtract is None else subtract)
    spread = np.float32(values.std(dtype=np.float64) if divide is None else divide) or np.float32(1.0)
    voxels = volume.voxels.copy()
    voxels[chosen] = (values - mean) / spread
    return volume.with_voxels(voxels)


def _interpolated(volume: Volume, shape: NDArray[Any], ratio: NDArray[np.float64], start: NDArray[np.float64]) -> Volume:
    """Take voxel i of the result at ``ratio`` · i + ``start`` of the volume, linearly, edges repeated."""
    if int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
        raise UnusableInput(f"A volume may hold {MAX_VOXELS:,} voxels after resampling, found {shape.tolist()} (z, y, x). "
                            "Check the spacing, or send the crop.", code="too_many_pixels")
    voxels = ndimage.affine_transform(
        volume.voxels, ratio, start, output_shape=tuple(shape.tolist()), order=1, mode="nearest", output=np.float32
    )
    return volume.with_voxels(voxels, _moved(volume, ratio, start))


def _moved(volume: Volume, ratio: NDArray[np.float64], start: NDArray[np.float64]) -> NDArray[np.float64]:
    change = np.diag([*ratio[::-1], 1.0])
    change[:3, 3] = start[::-1]
    return np.asarray(volume.affine @ change, dtype=np.float64)


def _padded(volume: Volume, missing: list[int], end: bool, value: float) -> Volume:
    before = [0 if end else one // 2 for one in missing]
    starts = [-one for one in before]
    stops = [size + more - less for size, more, less in zip(volume.shape, missing, before, strict=True)]
    return _cut(volume, starts, stops, value)


def _cut(volume: Volume, starts: list[int], stops: list[int], value: float) -> Volume:
    """Return voxels ``starts`` to ``stops`` (z, y, x), with ``value`` where these lie outside."""
    shape = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
    if int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
        raise UnusableInput(f"A volume may hold {MAX_VOXELS:,} voxels after padding, found {list(shape)} (z, y, x). "
                            "Send the crop.", code="too_many_pixels")
    if not any(starts) and shape == volume.shape:
        return volume
    voxels = np.full(shape, value, dtype=np.float32)
    here = tuple(slice(max(start, 0), min(stop, size)) for start, stop, size in zip(starts, stops, volume.shape, strict=True))
    there = tuple(slice(part.start - start, part.stop - start) for part, start in zip(here, starts, strict=True))
    voxels[there] = volume.voxels[here]
    return volume.with_voxels(voxels, _moved(volume, np.ones(3), np.asarray(starts, dtype=np.float64)))


STEPS_OF_VOLUMES: dict[str, Callable[..., Volume]] = {
    "respace": respace,
    "resize": resize,
    "pad_to": pad_to,
    "pad_to_multiples": pad_to_multiples,
    "crop_foreground": crop_foreground,
    "scale_range": scale_range,
    "scale_percentiles": scale_percentiles,
    "scale_to": scale_to,
    "normalize": normalize,
}
