"""Appearance: a generative model of aligned images: how shape, shading and detail vary together in each class.

Shape (displacement), shading (smooth part) and detail (the rest) are reduced to principal components; a draw is a
class-conditional Gaussian in that space, plus grain with the local strength of what the components leave out.
Cootes, "Active appearance models", IEEE PAMI 2001;23:681. No training image is stored: only means and components.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
PARTS = ("mean", "directions", "amounts")
MOST_OF_ONE = 25  # a component that one image makes to so many fair shares shows that patient (a wire), and is left out
OCTAVES = (0.0, 0.8, 1.6, 3.2)  # widths in voxels between which grain is measured and drawn


@dataclass(frozen=True)
class Components:
    """A mean and orthonormal ``directions`` (k, size); ``amounts`` (n, k) of the training images."""

    mean: Floats
    directions: Floats
    amounts: Floats

    def at(self, amounts: Floats) -> Floats:
        return (self.mean.ravel() + amounts @ self.directions).reshape(self.mean.shape)


@dataclass(frozen=True)
class Sizes:
    """How many components of each part, how much smaller shading is kept, and the blur that parts it from detail."""

    shape: int
    shading: int
    detail: int
    reduce: int
    shading_sigma: float


@dataclass(frozen=True)
class Draw:
    """How far from the class mean a draw may go (1 is the training spread), and how much grain is added."""

    shape: float = 0.9
    shading: float = 1.0
    detail: float = 1.0
    grain: float = 0.4
    sharpen: float = 1.25  # averaging blurs the mean detail by what alignment misses; this gives its contrast back
    diagonal: float = 0.4  # shrinkage of each class covariance towards its diagonal


@dataclass(frozen=True)
class Appearance:
    """The fitted model. ``light`` (n, 2) holds mean and spread of each training image, ``classes`` (n,) its class."""

    shape: Components
    shading: Components
    detail: Components
    grain: Floats  # (octave, *space)
    light: Floats
    classes: NDArray[np.int64]

    @property
    def size(self) -> tuple[int, ...]:
        return self.detail.mean.shape

    def draw(self, kind: int, rng: Generator, how: Draw) -> Floats:
        """Draw one image of a class, in the frame of the model and the units of the training images."""
        parts = (self.shape, self.shading, self.detail)
        spreads = (how.shape, how.shading, how.detail)
        light_scale = 100.0  # brings brightness to the order of the other amounts, for one covariance
        table = np.hstack([*(part.amounts for part in parts), self.light * light_scale])[self.classes == kind]
        centre = table.mean(axis=0)
        away = (table - centre) / np.sqrt(max(1, len(table) - 1))
        together = rng.standard_normal(len(away)) @ away
        apart = rng.standard_normal(table.shape[1]) * np.sqrt((away**2).sum(axis=0))
        change = np.sqrt(1 - how.diagonal) * together + np.sqrt(how.diagonal) * apart
        amounts = [part.amounts.shape[1] for part in parts]
        change *= np.repeat([*spreads, 0.7], [*amounts, 2])
        shape, shading, detail, light = np.split(centre + change, np.cumsum(amounts))
        texture = _enlarge(self.shading.at(shading.astype(np.float32)), self.size)
        texture = texture + self.detail.mean * (how.sharpen - 1) + self.detail.at(detail.astype(np.float32))
        texture = texture + how.grain * self._grain(rng)
        displacement = _enlarge_displacement(self.shape.at(shape.astype(np.float32)), self.size)
        image = _move(texture, _inverse(displacement))
        return np.asarray(light[0] / light_scale + light[1] / light_scale * image, dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write the arrays, so that a second making need not fit again."""
        parts = {"shape": self.shape, "shading": self.shading, "detail": self.detail}
        arrays = {f"{name}_{key}": getattr(part, key) for name, part in parts.items() for key in PARTS}
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, grain=self.grain, light=self.light, classes=self.classes, **arrays)

    @classmethod
    def load(cls, path: Path) -> Appearance:
        """Read what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as arrays:
            parts = [Components(*(arrays[f"{name}_{key}"] for key in PARTS)) for name in ("shape", "shading", "detail")]
            return cls(*parts, arrays["grain"], arrays["light"], arrays["classes"])

    def _grain(self, rng: Generator) -> Floats:
        noise = _octaves(rng.standard_normal(self.size).astype(np.float32))
        return np.asarray(sum(strength * one / one.std() for strength, one in zip(self.grain, noise, strict=True)))


def fit(textures: Floats, displacements: Floats, classes: NDArray[np.int64], sizes: Sizes) -> Appearance:
    """Fit to ``textures`` (n, *space) and ``displacements`` (n, d, *space), in voxels of their own, smaller grid."""
    axes = tuple(range(1, textures.ndim))
    light = np.stack([textures.mean(axis=axes), textures.std(axis=axes)], axis=1)
    column = (slice(None), *[None] * len(axes))
    even = (textures - light[:, 0][column]) / light[:, 1][column]
    smooth = np.stack([ndimage.gaussian_filter(one, sizes.shading_sigma) for one in even])
    detail = even - smooth
    step = (slice(None), *[slice(sizes.reduce // 2, None, sizes.reduce)] * len(axes))
    shading_part = _components(smooth[step], sizes.shading)
    detail_part = _components(detail, sizes.detail)
    shape_part = _components(displacements, sizes.shape)
    strength = [np.zeros(textures.shape[1:], np.float32) for _ in OCTAVES]
    for one, amounts in zip(detail, detail_part.amounts, strict=True):
        for total, octave in zip(strength, _octaves(one - detail_part.at(amounts)), strict=True):
            np.add(total, ndimage.gaussian_filter(octave**2, 6 if len(axes) == 2 else 3), out=total)
    grain = np.sqrt(np.stack(strength) / len(textures))
    return Appearance(shape_part, shading_part, detail_part, grain, light.astype(np.float32), classes)


def _components(rows: Floats, count: int) -> Components:
    """Principal components through the Gram matrix: fewer images than voxels. Signs are fixed, so that draws repeat."""
    mean = rows.mean(axis=0)
    away = (rows - mean).reshape(len(rows), -1).astype(np.float32)
    values, vectors = np.linalg.eigh((away @ away.T).astype(np.float64))
    count = min(count, len(rows) - 1)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    common = (vectors**2).max(axis=0) * len(rows) < MOST_OF_ONE
    values, vectors = values[common], vectors[:, common]
    count = len(values)
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)])
    directions = (away.T @ (vectors / np.sqrt(values)).astype(np.float32)).T
    return Components(mean.astype(np.float32), directions, (vectors * np.sqrt(values)).astype(np.float32))


def _octaves(image: Floats) -> list[Floats]:
    levels = [image] + [ndimage.gaussian_filter(image, sigma) for sigma in OCTAVES[1:]]
    levels.append(ndimage.gaussian_filter(image, 2 * OCTAVES[-1]))
    return [fine - coarse for fine, coarse in pairwise(levels)]


def _enlarge(image: Floats, size: tuple[int, ...]) -> Floats:
    """Interpolate with cubic splines to ``size``; edges stay where they are."""
    ratio = np.array(image.shape) / np.array(size)
    start = (ratio - 1) / 2
    moved: Floats = ndimage.affine_transform(
        image, ratio, start, output_shape=size, order=3, mode="nearest", output=np.float32
    )
    return moved


def _enlarge_displacement(displacement: Floats, size: tuple[int, ...]) -> Floats:
    ratio = np.array(size) / np.array(displacement.shape[1:])
    return np.stack([_enlarge(one, size) * scale for one, scale in zip(displacement, ratio, strict=True)])


def _inverse(displacement: Floats) -> Floats:
    """Find v with v(y) = -u(y + v(y)) by fixed point: it converges because the displacements are smooth."""
    here = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in displacement.shape[1:]], indexing="ij"))
    back = np.zeros_like(displacement)
    for _ in range(12):
        back = -np.stack([ndimage.map_coordinates(one, here + back, order=1, mode="nearest") for one in displacement])
    return back


def _move(image: Floats, displacement: Floats) -> Floats:
    here = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in image.shape], indexing="ij"))
    moved: Floats = ndimage.map_coordinates(image, here + displacement, order=3, mode="nearest")
    return moved
