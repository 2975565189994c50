"""Steps of single images that others' classifiers were trained with: crops about the centre, and a resize that keeps the aspect.

They cut the field of view: what lies outside the crop is not seen by the model, and no map is drawn there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image

from models.errors import BrokenModel, UnusableInput
from models.volume import Volume

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def center_square(volume: Volume) -> Volume:
    """Cut the longer axis of every slice down to the shorter, about the centre (XRayCenterCrop of TorchXRayVision)."""
    _, rows, columns = volume.shape
    side = min(rows, columns)
    return _cut(volume, rows // 2 - side // 2, columns // 2 - side // 2, side, side)


def center_crop(volume: Volume, *, rows: int, columns: int) -> Volume:
    """Cut rows x columns from the centre of every slice (CenterCrop of torchvision, which rounds halves to even).

    Raises UnusableInput when a slice is smaller: nothing is made up around it.
    """
    _, have_rows, have_columns = volume.shape
    if have_rows < rows or have_columns < columns:
        raise UnusableInput(f"A crop of {rows} x {columns} pixels needs as many, found {have_rows} x {have_columns}. "
                            "Send the original image.", code="too_small_to_crop")
    return _cut(volume, round((have_rows - rows) / 2), round((have_columns - columns) / 2), rows, columns)


def shorter_side(volume: Volume, *, pixels: int, interpolation: str = "bilinear") -> Volume:
    """Resize every slice so that its shorter side has ``pixels``, antialiased, aspect kept (Resize of torchvision).

    The longer side is cut to a whole number of pixels, so its pixels may be stretched by less than one pixel in all.
    """
    if interpolation not in FILTERS:
        raise BrokenModel(f"Step shorter_side: unknown interpolation {interpolation!r}; known: {', '.join(FILTERS)}.")
    _, y, x = volume.shape
    short = min(y, x)
    rows, columns = (pixels if size == short else int(pixels * size / short) for size in (y, x))
    if (y, x) == (rows, columns):
        return volume
    slices = [np.asarray(Image.fromarray(one).resize((columns, rows), FILTERS[interpolation]), np.float32) for one in volume.voxels]
    change = np.diag([x / columns, y / rows, 1.0, 1.0])
    change[0, 3], change[1, 3] = (x / columns - 1) / 2, (y / rows - 1) / 2
    return volume.with_voxels(np.stack(slices), volume.affine @ change)


def _cut(volume: Volume, top: int, left: int, rows: int, columns: int) -> Volume:
    if (top, left) == (0, 0) and volume.shape[1:] == (rows, columns):
        return volume
    moved = np.eye(4)
    moved[:2, 3] = left, top
    voxels = np.ascontiguousarray(volume.voxels[:, top : top + rows, left : left + columns])
    return volume.with_voxels(voxels, volume.affine @ moved)


STEPS_OF_IMAGES: dict[str, Callable[..., Volume]] = {
    "center_square": center_square,
    "center_crop": center_crop,
    "shorter_side": shorter_side,
}
