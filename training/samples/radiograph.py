"""Chest radiographs of nobody: an appearance model of the children's training images, aligned on their lungs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from training.data import chest_xray
from training.samples import appearance
from training.samples.align import Stage, align, blur, likeness, local_contrast, resize, resize_displacement, warp
from training.samples.appearance import Appearance, Draw, Floats, Sizes

NORMAL, BACTERIAL, VIRAL = 0, 1, 2
FRAME = (256, 320)  # rows, columns the models work in: the box of the lungs with a margin
MIN_INSIDE = 0.90  # share of the frame that must lie on the image; the rest repeats its edge
HOW = Draw(shape=0.95, shading=1.1, detail=1.15, grain=0.5, sharpen=1.6)


@dataclass(frozen=True)
class Field:
    """How much of the body an image shows, and the classes that a model of such images learns from.

    ``margin`` is above, below and at each side of the box of the lungs, as share of its size. ``trim`` is what is cut
    off a draw again, rows above and below and columns at each side: there the edge was repeated. ``size`` is rows and
    columns of the finished image.
    """

    name: str
    margin: tuple[float, float, float]
    trim: tuple[int, int, int]
    size: tuple[int, int]
    kinds: tuple[int, ...]

    def trimmed(self, image: NDArray[Any]) -> NDArray[Any]:
        top, bottom, side = self.trim
        return image[top : FRAME[0] - bottom, side : FRAME[1] - side]


# In these data the ill are cropped to the lungs and the healthy are not; drawn images keep to that, since a healthy
# chest cropped to the lungs is scored as ill.
WIDE = Field("wide", (0.24, 0.20, 0.15), (8, 8, 12), (432, 528), (NORMAL,))
TIGHT = Field("tight", (0.05, 0.14, 0.09), (8, 10, 16), (396, 528), (NORMAL, BACTERIAL, VIRAL))
FIELD_OF = {NORMAL: WIDE, BACTERIAL: TIGHT, VIRAL: TIGHT}


def load_frames(
    root: Path, field: Field, *, most: int = 160
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64], list[str]]:
    """Return images and lung masks (n, rows, columns), classes (n,) and patients, of the training split alone.

    At most ``most`` images a class, in file order: those whose lungs are whole and nearly all of whose frame is on
    the image.
    """
    images, masks, classes, patients = [], [], [], []
    taken = {NORMAL: 0, BACTERIAL: 0, VIRAL: 0}
    for case in chest_xray.load(root, "train"):
        ill, bacterial = case.targets
        kind = NORMAL if ill == 0 else BACTERIAL if bacterial == 1 else VIRAL
        if case.lung_mask is None or kind not in field.kinds or taken[kind] >= most:
            continue
        with Image.open(case.path) as image_file, Image.open(case.lung_mask) as mask_file:
            image = image_file.convert("L")
            mask = np.asarray(mask_file.convert("L").resize(image.size, Image.Resampling.NEAREST)) > 127
        box = _box(mask, field.margin)
        if box is None or _inside(box, image.size) < MIN_INSIDE:
            continue
        images.append(_cut(np.asarray(image), box, edge=True))
        masks.append(_cut(mask.astype(np.uint8) * 255, box, edge=False))
        classes.append(kind)
        patients.append(case.patient)
        taken[kind] += 1
    return np.stack(images), np.stack(masks), np.array(classes), patients


def fit(
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    classes: NDArray[np.int64],
    on_step: Callable[[str], None] = lambda _: None,
    *,
    effort: float = 1.0,
) -> Appearance:
    """Align the frames on each other, coarse to fine, and fit the appearance model. ``effort`` scales the updates."""
    torch.set_num_threads(1)
    pixels = torch.from_numpy(images).float()[:, None] / 255
    lungs = torch.from_numpy(masks).float()[:, None] / 255

    def channels(shape: tuple[int, int], sigma: float, detail: float, outline: float) -> torch.Tensor:
        fine = local_contrast(resize(pixels, shape), sigma)
        return torch.cat([detail * fine, outline * (blur(resize(lungs, shape), 2.0) * 4 - 2)], dim=1)

    def steps(count: int) -> int:
        return max(1, round(count * effort))

    on_step("outline of the lungs")
    coarse, fine = (48, 60), (72, 90)
    field = torch.zeros(len(images), 2, *coarse)
    field, _ = align(channels(coarse, 6, 0.5, 1.0), field, Stage(2, steps(15), 1.5, 1.2))
    field = resize_displacement(field, fine)
    moving = channels(fine, 5, 1.0, 0.5)
    # Ribs repeat, so a plain mean has none. One normal image near the mean starts the template; the rounds that follow
    # replace it by the mean of many, and the mean displacement is removed, so nothing of that one image remains.
    on_step("ribs, on the normal images")
    normal = torch.from_numpy(np.flatnonzero(classes == NORMAL))
    seen = warp(moving[normal], field[normal])
    start = seen[likeness(seen, seen.mean(dim=0, keepdim=True)).argmax()][None]
    _, template = align(moving[normal], field[normal], Stage(4, steps(12), 1.2, 1.0), template=start)
    on_step("ribs, on all images, stiffer")
    for rounds, fluid, elastic in ((1, 3.0, 1.0), (1, 2.5, 1.0), (1, 2.0, 0.8)):
        field, template = align(moving, field, Stage(rounds, steps(12), fluid, elastic), template=template)
    alike = likeness(warp(moving, field), template)
    bent = (field - blur(field, 3.0)).pow(2).mean(dim=(1, 2, 3))
    keep = torch.nonzero((alike > alike.quantile(0.3)) & (bent < bent.quantile(0.85)))[:, 0]
    on_step("components")
    textures = torch.cat(
        [warp(pixels[some], resize_displacement(field[some], FRAME))[:, 0] for some in keep.split(16)]
    ).numpy()
    shapes = resize_displacement(field[keep], (36, 45))
    return appearance.fit(textures, shapes.numpy(), classes[keep.numpy()], Sizes(25, 30, 60, 4, 5.0))


def draw(model: Appearance, kind: int, rng: Generator) -> Floats:
    """Draw one radiograph of a class, display values 0-255, float32 (rows, columns)."""
    field = FIELD_OF[kind]
    image = field.trimmed(model.draw(kind, rng, HOW) * 255)
    ratio = np.array(image.shape) / field.size
    large = ndimage.affine_transform(image, ratio, (ratio - 1) / 2, output_shape=field.size, order=3, mode="nearest")
    return np.clip(large, 0, 255).astype(np.float32)


def view_of_training(images: NDArray[np.uint8], field: Field) -> Floats:
    """Return training frames as drawn images are seen: trimmed and squashed to 64 x 80, for distances."""
    return np.stack([view_of_draw(field.trimmed(one)) for one in images])


def view_of_draw(image: NDArray[Any]) -> Floats:
    """Return one drawn image squashed to 64 x 80, for distances."""
    picture = Image.fromarray(np.asarray(image, dtype=np.float32))
    return np.asarray(picture.resize((80, 64), Image.Resampling.BOX), dtype=np.float32)


def _box(mask: NDArray[np.bool_], margin: tuple[float, float, float]) -> tuple[float, float, float, float] | None:
    """Return left, upper, right, lower of the frame around the lungs; None when there is next to no lung."""
    if mask.mean() < 0.03:
        return None
    rows = np.flatnonzero(mask.mean(axis=1) > 0.01)
    columns = np.flatnonzero(mask.mean(axis=0) > 0.01)
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    height, width = bottom - top, right - left
    above, below, side = margin
    return (
        float(left - side * width),
        float(top - above * height),
        float(right + side * width),
        float(bottom + below * height),
    )


def _inside(box: tuple[float, float, float, float], size: tuple[int, int]) -> float:
    left, upper, right, lower = box
    width = min(right, size[0]) - max(left, 0.0)
    height = min(lower, size[1]) - max(upper, 0.0)
    return width * height / ((right - left) * (lower - upper))


def _cut(image: NDArray[np.uint8], box: tuple[float, float, float, float], *, edge: bool) -> NDArray[np.uint8]:
    pad = 200
    wide = np.pad(image, pad, mode="edge") if edge else np.pad(image, pad)
    moved = tuple(value + pad for value in box)
    method = Image.Resampling.BICUBIC if edge else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(wide).resize(FRAME[::-1], method, box=moved))
