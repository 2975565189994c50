"""MR crops of nobody: an appearance model of the hippocampus training volumes, aligned on their labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from models.steps import reorient
from training.data import hippocampus
from training.samples import appearance
from training.samples.align import Stage, align, blur, likeness, local_contrast, resize, warp
from training.samples.appearance import Appearance, Draw, Floats, Sizes

FRAME = (34, 50, 36)  # slices, rows, columns of 1 mm, axes S, P, L
TRIM = 2  # voxels cut off on every side of a draw: there the edge was repeated
HOW = Draw(shape=0.9, shading=1.0, detail=1.0, grain=1.0, sharpen=1.4)


def load_frames(root: Path, *, most: int = 160) -> tuple[Floats, Floats, list[str]]:
    """Return volumes and label masks (n, z, y, x) in one frame, and subjects, of the training split alone.

    Intensities are brought to mean 0 and spread 1, since MR has no unit.
    """
    volumes, masks, subjects = [], [], []
    for case in hippocampus.load(root, "train")[:most]:
        image, label = (reorient(one, axes="LPS") for one in hippocampus.read_pair(case))
        inside = np.argwhere(label.voxels > 0)
        centre = (inside.min(axis=0) + inside.max(axis=0)) // 2
        volume = _cut(image.voxels, centre, edge=True)
        volumes.append((volume - volume.mean()) / volume.std())
        masks.append(_cut((label.voxels > 0).astype(np.float32), centre, edge=False))
        subjects.append(case.subject)
    return np.stack(volumes), np.stack(masks), subjects


def fit(
    volumes: Floats, masks: Floats, on_step: Callable[[str], None] = lambda _: None, *, effort: float = 1.0
) -> Appearance:
    """Align the volumes at half size and fit the appearance model. ``effort`` scales the updates."""
    torch.set_num_threads(1)
    voxels = torch.from_numpy(volumes)[:, None]
    half = tuple(size // 2 for size in FRAME)
    on_step("hippocampus and its surroundings")
    moving = torch.cat(
        [local_contrast(resize(voxels, half), 5.0), blur(resize(torch.from_numpy(masks)[:, None], half), 1.0) * 4 - 2],
        dim=1,
    )
    field = torch.zeros(len(volumes), 3, *half)
    field, template = align(moving, field, Stage(3, max(1, round(10 * effort)), 1.5, 0.9))
    alike = likeness(warp(moving, field), template)
    keep = torch.nonzero(alike > alike.quantile(0.25))[:, 0]
    on_step("components")
    whole = torch.cat(
        [
            torch.nn.functional.interpolate(one, FRAME, mode="trilinear", align_corners=False) * 2
            for one in field[keep].split(16)
        ]
    )
    textures = torch.cat(
        [warp(v, d)[:, 0] for v, d in zip(voxels[keep].split(16), whole.split(16), strict=True)]
    ).numpy()
    classes = np.zeros(len(keep), dtype=np.int64)
    return appearance.fit(textures, field[keep].numpy(), classes, Sizes(20, 20, 40, 2, 3.0))


def draw(model: Appearance, rng: Generator) -> Floats:
    """Draw one crop, float32 (z, y, x) of 1 mm, axes S, P, L; 0-4000 as scanners give."""
    image = model.draw(0, rng, HOW)[TRIM:-TRIM, TRIM:-TRIM, TRIM:-TRIM]
    low, high = np.percentile(image, (0.1, 99.9))
    return np.clip((image - low) / (high - low) * 1800 + 40, 0, 4000).astype(np.float32)


def view_of_training(volumes: Floats) -> Floats:
    """Return training frames as draws are seen: trimmed and at half size, for distances."""
    inner = np.ascontiguousarray(volumes[:, TRIM:-TRIM, TRIM:-TRIM, TRIM:-TRIM], dtype=np.float32)
    return np.stack([view_of_draw(one) for one in inner])


def view_of_draw(image: Floats) -> Floats:
    """Return one drawn crop at half size, for distances."""
    shape = tuple(size // 2 for size in image.shape)
    small: Floats = resize(torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None], shape)[0, 0].numpy()
    return small


def _cut(image: Floats, centre: NDArray[np.int64], *, edge: bool) -> Floats:
    pad = max(FRAME)
    wide = np.pad(image, pad, mode="edge") if edge else np.pad(image, pad)
    start = [int(c) + pad - size // 2 for c, size in zip(centre, FRAME, strict=True)]
    return wide[tuple(slice(s, s + size) for s, size in zip(start, FRAME, strict=True))].astype(np.float32)
