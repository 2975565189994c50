"""Where the cells of an activation map really lie on the image, measured with a phantom and never assumed.

Strided convolutions shift their map by up to half a cell against the usual overlay (offset (stride - 1) / 2). So small
speckled blobs are put at many places on drawn chests, and the energy of the map's change is gathered by its distance
from the blob: the centre of that cloud is where a cell looks. No gradient is needed, so any graph can be measured, and
no image of a patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.floating]
Array = NDArray[np.float64]
# pixels float32 (n, 1, rows, columns), 0-255  ->  logits (n, findings), maps (n, findings, map rows, map columns)
Score = Callable[[NDArray[np.float32]], tuple[Floats, Floats]]

GROUPS = 8  # of places, measured apart: their disagreement says how sure the offset is
MAX_SPREAD = 0.5  # in cells: groups that disagree by more found nothing


@dataclass(frozen=True)
class Registration:
    """Cell (r, c) of the map lies at pixel (r * stride + offset) of the input image; pixel 0 is the first one's centre.

    ``spread_px`` is the median distance of eight partial measurements from the whole one, per axis.
    """

    offset_px: tuple[float, float]
    spread_px: tuple[float, float]
    blobs: int


def measure_offset(score: Score, stride: float, size: tuple[int, int]) -> tuple[float, float]:
    """Return (row, column) position in pixels of map cell (0, 0). Raises ValueError when the map follows no blob."""
    return measure_registration(score, stride, size).offset_px


def measure_registration(
    score: Score, stride: float, size: tuple[int, int], *, blobs: int = 96, patterns: int = 4, seed: int = 0,
    batch: int = 16,
) -> Registration:
    """Follow blobs at ``blobs`` places, on ``patterns`` chests each, and place the map on the image.

    ``size`` is the input image's (rows, columns). The places fill every phase of the stride evenly, away from the
    border by three cells (or a quarter of the image, where that is less).
    """
    places = _places(size, stride, blobs, seed)
    energy: Array | float = 0.0
    for pattern in range(patterns):
        images = _phantoms(size, places, radius_px=stride * 0.5, sign=(1, -1)[pattern % 2], seed=seed + pattern)
        maps = np.concatenate([score(images[i : i + batch])[1] for i in range(0, len(images), batch)])
        change = (np.asarray(maps, dtype=np.float64) - np.median(maps, axis=0)) ** 2  # the median is the chest's own
        energy = energy + change / max(float(change.mean()), 1e-30)
    gathered = np.asarray(energy).sum(axis=1)
    if np.ptp(gathered) == 0 or not np.isfinite(gathered).all():
        raise ValueError("The map must change with the phantom, found no change. The map is not of this network.")
    whole = _centre(gathered, places, stride)
    parts = np.array([_centre(gathered[i::GROUPS], places[i::GROUPS], stride) for i in range(GROUPS)])
    spread = np.median(np.abs(parts - whole), axis=0)
    if not np.isfinite(whole).all() or not (spread <= MAX_SPREAD * stride).all():
        raise ValueError(f"The map must follow the phantom, found partial measurements {spread.max():.1f} px apart "
                         f"with cells of {stride:g} px. Check the declared stride, or fit longer.")
    offset = (float(whole[0]), float(whole[1]))
    return Registration(offset, (float(spread[0]), float(spread[1])), blobs * patterns)


def _places(size: tuple[int, int], stride: float, blobs: int, seed: int) -> Array:
    """Return blob centres (n, 2) as row, column: each axis filled evenly over whole cells, the two axes unrelated."""
    rng = np.random.default_rng(seed)
    axes = []
    for length in size:
        margin = min(3 * stride, length / 4)
        cells = max(1, int((length - 2 * margin) // stride))
        even = (np.arange(blobs) + 0.5) / blobs - 0.5
        axes.append((length - 1) / 2 + rng.permutation(even) * cells * stride)
    return np.stack(axes, axis=1)


def _phantoms(size: tuple[int, int], places: Array, *, radius_px: float, sign: int, seed: int) -> NDArray[np.float32]:
    """Return (n, 1, rows, columns): one drawn chest with one speckled Gaussian blob each, all bright or all dark.

    The speckle is drawn anew for each blob, so what one pattern's edges do to the map averages out.
    """
    rng = np.random.default_rng(seed)
    ground = _chest(size, rng)
    speckle = ndimage.gaussian_filter(rng.standard_normal((len(places), *size), dtype=np.float32), (0, 1.5, 1.5))
    speckle = 25.0 * speckle / speckle.std() + sign * 40.0
    rows, columns = np.arange(size[0])[None, :, None], np.arange(size[1])[None, None, :]
    squared = (rows - places[:, 0, None, None]) ** 2 + (columns - places[:, 1, None, None]) ** 2
    images = ground + speckle * np.exp(-squared / (2 * (radius_px / 2) ** 2))
    return np.clip(images, 0, 255).astype(np.float32)[:, None]


def _chest(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Draw two dark lungs in a bright body on black, with ribs and grain: enough to put a network at ease."""
    y, x = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float64)
    y, x = y / size[0], x / size[1]
    middle, width = 0.5 + rng.uniform(-0.03, 0.03), rng.uniform(0.14, 0.18)
    image = 165.0 * (((x - middle) / 0.47) ** 4 + ((y - 0.55) / 0.6) ** 4 < 1)
    for side in (-0.2, 0.2):
        lung = ((x - middle - side) / width) ** 2 + ((y - 0.5) / 0.33) ** 2 < 1
        image = np.where(lung, rng.uniform(60, 90), image)
    image = image + 8 * np.sin(2 * np.pi * (9 * y + 2 * np.abs(x - middle) + rng.random()))
    image = ndimage.gaussian_filter(image, 0.012 * size[0])
    grain = ndimage.gaussian_filter(rng.standard_normal(size), 1.0)
    return np.asarray(image + 6 * grain / grain.std())


def _centre(energy: Array, places: Array, stride: float) -> Array:
    """Return the (row, column) distance in pixels from a cell's nominal place (cell * stride) to where it looks.

    ``energy`` is (blobs, map rows, map columns). Energy is averaged in bins of a quarter cell over every pair of
    blob and cell up to three cells apart, so that no distance counts more for being met more often.
    """
    reach, width = 3.0 * stride, stride / 4
    rows, columns = np.arange(energy.shape[1]) * stride, np.arange(energy.shape[2]) * stride
    away = np.stack(np.broadcast_arrays(
        places[:, 0, None, None] - rows[None, :, None], places[:, 1, None, None] - columns[None, None, :]))
    centre = np.full(2, (stride - 1) / 2)
    for _ in range(6):  # the window follows the cloud, or its edge would pull the centre back
        near = (np.abs(away - centre[:, None, None, None]) <= reach).all(axis=0)
        if not near.any():
            return np.full(2, np.nan)
        index = np.floor((away[:, near] - centre[:, None] + reach) / width).astype(int)
        bins = int(2 * reach / width) + 1
        flat = index[0] * bins + index[1]
        count = np.bincount(flat, minlength=bins * bins).reshape(bins, bins)
        total = np.bincount(flat, weights=energy[near], minlength=bins * bins).reshape(bins, bins)
        cloud = ndimage.gaussian_filter(total, 1.0) / np.maximum(ndimage.gaussian_filter(count * 1.0, 1.0), 1e-9)
        cloud = np.maximum(cloud - np.median(cloud) - 0.2 * np.ptp(cloud), 0)
        if cloud.sum() == 0:
            return np.full(2, np.nan)
        ticks = (np.arange(bins) + 0.5) * width - reach
        moved = np.array([cloud.sum(axis=1) @ ticks, cloud.sum(axis=0) @ ticks]) / cloud.sum()
        centre = centre + moved
        if np.abs(moved).max() < 0.02:
            break
    return np.asarray(centre)
