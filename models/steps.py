"""STEPS: the pure Volume -> Volume functions a manifest may name. Training and serving call exactly these."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from models.errors import BrokenModel, UnusableInput
from models.steps_image import STEPS_OF_IMAGES
from models.steps_volume import MAX_VOXELS, STEPS_OF_VOLUMES
from models.volume import Volume


def squash(volume: Volume, *, rows: int, columns: int) -> Volume:
    """Resize every slice to rows x columns, each axis on its own (the aspect ratio is given up), antialiased.

    Pixel edges stay where they are, so the affine moves by half the change of pixel size.
    """
    _, y, x = volume.shape
    if (y, x) == (rows, columns):
        return volume
    slices = [
        np.asarray(Image.fromarray(s).resize((columns, rows), Image.Resampling.BILINEAR), dtype=np.float32)
        for s in volume.voxels
    ]
    change = np.diag([x / columns, y / rows, 1.0, 1.0])
    change[0, 3] = (x / columns - 1) / 2
    change[1, 3] = (y / rows - 1) / 2
    return volume.with_voxels(np.stack(slices), volume.affine @ change)


def reorient(volume: Volume, *, axes: str = "LPS") -> Volume:
    """Permute and flip axes so that x, y, z grow towards the three patient directions in ``axes``.

    The nearest axis is taken: oblique volumes stay oblique, nothing is interpolated.
    """
    directions = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}
    wanted = [directions[letter] for letter in axes]
    cosines = volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0)
    order: list[int] = []
    for patient_axis, _ in wanted:
        free = [i for i in range(3) if i not in order]
        order.append(max(free, key=lambda i: abs(cosines[patient_axis, i])))
    voxels = volume.voxels.transpose(2, 1, 0).transpose(order)  # now (x, y, z) in wanted order
    affine = volume.affine.copy()
    affine[:3, :3] = volume.affine[:3, :3][:, order]
    for i, (patient_axis, sign) in enumerate(wanted):
        if affine[patient_axis, i] * sign < 0:
            voxels = np.flip(voxels, axis=i)
            affine[:3, 3] += affine[:3, i] * (voxels.shape[i] - 1)
            affine[:3, i] *= -1
    return volume.with_voxels(np.ascontiguousarray(voxels.transpose(2, 1, 0), dtype=np.float32), affine)


def resample(volume: Volume, *, spacing_mm: tuple[float, float, float], tolerance: float = 0.01) -> Volume:
    """Interpolate linearly to ``spacing_mm`` (z, y, x); unchanged when all spacings are within ``tolerance`` (share)."""
    have = np.asarray(volume.spacing_mm)
    want = np.asarray(spacing_mm, dtype=np.float64)
    if np.all(np.abs(have / want - 1) <= tolerance):
        return volume
    shape = np.maximum(1, np.round(np.asarray(volume.shape) * have / want)).astype(int)
    if int(np.prod(shape, dtype=np.int64)) > MAX_VOXELS:
        raise UnusableInput(f"A volume may hold {MAX_VOXELS:,} voxels at {want.tolist()} mm, found {shape.tolist()}. "
                            "Check the spacing, or send the crop.", code="too_many_pixels")
    ratio = want / have  # source voxels per new voxel along z, y, x
    start = (ratio - 1) / 2
    voxels = ndimage.affine_transform(
        volume.voxels, ratio, start, output_shape=tuple(shape), order=1, mode="nearest", output=np.float32
    )
    change = np.diag([*ratio[::-1], 1.0])
    change[:3, 3] = start[::-1]
    return volume.with_voxels(voxels, volume.affine @ change)


def pad_to_multiple(volume: Volume, *, of: int) -> Volume:
    """Add zero voxels on both sides of each axis until z, y and x are multiples of ``of``."""
    missing = [-size % of for size in volume.shape]
    before = [m // 2 for m in missing]
    pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
    affine = volume.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ np.asarray(before[::-1], dtype=np.float64)
    return volume.with_voxels(np.pad(volume.voxels, pads).astype(np.float32, copy=False), affine)


def window(volume: Volume, *, low: float, high: float) -> Volume:
    """Clip to [low, high] and scale to [0, 255]. Values are Hounsfield units for CT."""
    scaled = (np.clip(volume.voxels, low, high) - low) * (255.0 / (high - low))
    return volume.with_voxels(scaled.astype(np.float32))


STEPS: dict[str, Callable[..., Volume]] = {
    "squash": squash,
    "reorient": reorient,
    "resample": resample,
    "pad_to_multiple": pad_to_multiple,
    "window": window,
    **STEPS_OF_IMAGES,
    **STEPS_OF_VOLUMES,
}


@dataclass(frozen=True)
class Taken:
    """A step that was taken, and the grid it started from: what is needed to go back over it (models/put_back.py)."""

    name: str
    params: dict[str, Any]
    shape: tuple[int, int, int]  # z, y, x
    affine: NDArray[np.float64]  # (4, 4), as Volume.affine


def apply_steps(volume: Volume, steps: Iterable[tuple[str, dict[str, Any]]]) -> Volume:
    """Run the named steps in order. Raises BrokenModel for a name that is not in STEPS."""
    return trace_steps(volume, steps)[0]


def trace_steps(volume: Volume, steps: Iterable[tuple[str, dict[str, Any]]]) -> tuple[Volume, tuple[Taken, ...]]:
    """Do the same, and return as well the steps that changed the grid, in order."""
    taken: list[Taken] = []
    for name, params in steps:
        if name not in STEPS:
            raise BrokenModel(f"Unknown step {name!r}; known: {', '.join(STEPS)}.")
        before, volume = volume, STEPS[name](volume, **params)
        if before.shape != volume.shape or not np.array_equal(before.affine, volume.affine):
            taken.append(Taken(name, params, before.shape, before.affine))
    if not np.isfinite(volume.voxels).all():
        raise UnusableInput("Voxels must be finite numbers, found NaN or infinity. Check the rescale and VOI values.",
                            code="not_finite")
    return volume, tuple(taken)
