"""Groupwise alignment of images or volumes by smooth displacements ("demons"), so that anatomy lies on anatomy.

Thirion, Med Image Anal 1998;2:243; Vercauteren, NeuroImage 2009;45:S61. Works in two and three dimensions. Tensors are
(n, channels, *space); a displacement is (n, dimensions, *space) in voxels, its channels in the order of the axes, and
says where in the moving image a point of the template comes from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 16  # images at a time: what fits in a processor's cache
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@dataclass(frozen=True)
class Stage:
    """``rounds`` of ``steps`` updates; blur of each update (fluid) and of the whole field (elastic), in voxels."""

    rounds: int
    steps: int
    fluid: float
    elastic: float


def blur(x: Tensor, sigma: float) -> Tensor:
    """Smooth with a Gaussian of ``sigma`` voxels along every axis of space; edges are repeated."""
    radius = math.ceil(3 * sigma)
    at = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    n, channels, *space = x.shape
    convolve = functional.conv2d if len(space) == 2 else functional.conv3d
    flat = x.reshape(n * channels, 1, *space)
    for axis in range(len(space)):
        pads = [0, 0] * len(space)
        pads[2 * (len(space) - 1 - axis)] = pads[2 * (len(space) - 1 - axis) + 1] = radius
        shape = [1, 1] + [1] * len(space)
        shape[2 + axis] = 2 * radius + 1
        flat = convolve(functional.pad(flat, pads, mode="replicate"), kernel.view(shape))
    return flat.reshape(x.shape)


def resize(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Average down, or interpolate up, to ``shape``; edges stay where they are."""
    if all(new <= old for new, old in zip(shape, x.shape[2:], strict=True)):
        return functional.interpolate(x, shape, mode="area")
    return functional.interpolate(x, shape, mode=LINEAR[len(shape)], align_corners=False)


def resize_displacement(displacement: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Bring a displacement to another size of the same picture: its lengths change with the voxels."""
    scale = torch.tensor([new / old for new, old in zip(shape, displacement.shape[2:], strict=True)])
    return resize(displacement, shape) * scale.view(1, -1, *[1] * len(shape))


def warp(moving: Tensor, displacement: Tensor) -> Tensor:
    """Return the moving images as seen from the template; beyond the edge the edge is repeated."""
    space = displacement.shape[2:]
    lines = [torch.arange(size, dtype=torch.float32) for size in space]
    here = torch.stack(torch.meshgrid(*lines, indexing="ij"))[None]
    there = here + displacement
    scaled = [(2 * there[:, i] + 1) / size - 1 for i, size in enumerate(space)]
    grid = torch.stack(scaled[::-1], dim=-1)  # grid_sample wants x first
    return functional.grid_sample(moving, grid, mode="bilinear", padding_mode="border", align_corners=False)


def local_contrast(x: Tensor, sigma: float) -> Tensor:
    """Subtract the local mean and divide by the local spread, so that exposure does not matter; clipped to ±2.5."""
    centred = x - blur(x, sigma)
    return (centred / (blur(centred**2, sigma) + 1e-4).sqrt()).clamp(-2.5, 2.5)


def demons(template: Tensor, moving: Tensor, displacement: Tensor, stage: Stage) -> Tensor:
    """Move every image towards the template (1, channels, *space) for ``stage.steps`` updates."""
    slopes_of_template = _slopes(template)
    chunks = []
    for images, start in zip(moving.split(CHUNK), displacement.split(CHUNK), strict=True):
        field = start
        for _ in range(stage.steps):
            seen = warp(images, field)
            gap = template - seen
            slopes = [(a + b) / 2 for a, b in zip(slopes_of_template, _slopes(seen), strict=True)]
            norm = sum((s * s).sum(dim=1, keepdim=True) for s in slopes)
            norm = norm + 0.5 * (gap * gap).mean(dim=1, keepdim=True) + 1e-6
            push = torch.cat([(gap * s).sum(dim=1, keepdim=True) / norm for s in slopes], dim=1).clamp(-2, 2)
            field = blur(field + blur(push, stage.fluid), stage.elastic)
        chunks.append(field)
    return torch.cat(chunks)


def align(
    moving: Tensor, displacement: Tensor, stage: Stage, *, template: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Align all images to their own mean, sharpened by leaving out the worse half; returns displacements and template.

    The mean displacement is taken away each round, so that the template has the mean shape and nobody's in particular.
    """
    current = _mean_of_best(moving, displacement) if template is None else template
    for _ in range(stage.rounds):
        displacement = demons(current, moving, displacement, stage)
        displacement = displacement - displacement.mean(dim=0, keepdim=True)
        current = _mean_of_best(moving, displacement)
    return displacement, current


def likeness(a: Tensor, b: Tensor) -> Tensor:
    """Correlate the first channels, image by image: (n,)."""
    a, b = a[:, :1].flatten(1), b[:, :1].flatten(1)
    return (a * b).mean(1) / ((a * a).mean(1) * (b * b).mean(1)).sqrt().clamp(min=1e-9)


def _mean_of_best(moving: Tensor, displacement: Tensor) -> Tensor:
    seen = torch.cat([warp(m, d) for m, d in zip(moving.split(CHUNK), displacement.split(CHUNK), strict=True)])
    alike = likeness(seen, seen.mean(dim=0, keepdim=True))
    best = alike.argsort(descending=True)[: max(1, (len(seen) + 1) // 2)]
    mean = seen[best].mean(dim=0, keepdim=True)
    return mean * (seen.std() / mean.std()).clamp(max=1.5)


def _slopes(x: Tensor) -> list[Tensor]:
    """Central differences along each axis of space."""
    dimensions = x.dim() - 2
    slopes = []
    for axis in range(dimensions):
        pads = [0, 0] * dimensions
        pads[2 * (dimensions - 1 - axis)] = pads[2 * (dimensions - 1 - axis) + 1] = 1
        wide = functional.pad(x, pads, mode="replicate")
        size = x.shape[2 + axis]
        slopes.append((wide.narrow(2 + axis, 2, size) - wide.narrow(2 + axis, 0, size)) / 2)
    return slopes
