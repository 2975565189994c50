"""Random changes of training batches, always after models.steps. All randomness comes from the generator passed in."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def _uniform(count: int, low: float, high: float, rng: Generator) -> Tensor:
    return low + (high - low) * torch.rand(count, generator=rng)


def augment_images(pixels: Tensor, masks: Tensor, size: int, rng: Generator) -> tuple[Tensor, Tensor]:
    """Move, light and dirty radiographs. ``pixels`` and ``masks`` are (n, 1, rows, columns) 0-255; out is ``size`` square.

    Rotation within 10 degrees, zoom 0.85-1.18 with each axis on its own, shift 6 %, mirror; gamma, contrast, blur,
    noise and one erased rectangle. The moves are what positioning and collimation do; the rest is what detectors do.
    """
    n = pixels.shape[0]
    angle = _uniform(n, -10, 10, rng) * math.pi / 180
    zoom_x, zoom_y = _uniform(n, 0.85, 1.18, rng), _uniform(n, 0.85, 1.18, rng)
    mirror = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = torch.cos(angle) / zoom_x * mirror, -torch.sin(angle) / zoom_y
    theta[:, 1, 0], theta[:, 1, 1] = torch.sin(angle) / zoom_x * mirror, torch.cos(angle) / zoom_y
    theta[:, 0, 2], theta[:, 1, 2] = _uniform(n, -0.12, 0.12, rng), _uniform(n, -0.12, 0.12, rng)
    grid = functional.affine_grid(theta, [n, 1, size, size], align_corners=False)
    moved = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    masks = functional.grid_sample(masks, grid, mode="nearest", padding_mode="zeros", align_corners=False)

    light = (moved / 255).clamp(0, 1) ** torch.exp(_uniform(n, -0.4, 0.4, rng)).view(n, 1, 1, 1)
    light = light * _uniform(n, 0.8, 1.2, rng).view(n, 1, 1, 1) + _uniform(n, -0.08, 0.08, rng).view(n, 1, 1, 1)
    soft = functional.avg_pool2d(functional.pad(light, (1, 1, 1, 1), mode="replicate"), 3, 1)
    amount = (_uniform(n, -0.8, 0.9, rng)).view(n, 1, 1, 1)  # below zero sharpens, above zero blurs
    light = light + amount * (soft - light)
    grain = torch.randn(light.shape, generator=rng) * (_uniform(n, -0.02, 0.04, rng).clamp(min=0)).view(n, 1, 1, 1)
    light = (light + grain).clamp(0, 1)
    for i in range(n):
        if torch.rand(1, generator=rng) < 0.4:
            height, width = (int(v) for v in torch.randint(size // 12, size // 4, (2,), generator=rng))
            top, left = (int(v) for v in torch.randint(0, size - size // 4, (2,), generator=rng))
            light[i, :, top : top + height, left : left + width] = torch.rand(1, generator=rng)
    return light * 255, masks


def augment_volumes(voxels: Tensor, labels: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Move, bend and light MR crops. ``voxels`` and ``labels`` are float (n, 1, z, y, x); sizes are kept.

    Rotation within 15 degrees about every axis, zoom 0.85-1.2, shift 5 %, left-right mirror, a smooth bend of up
    to 2 voxels; gamma, contrast and noise relative to each volume's own range. Voxels outside stay zero.
    """
    n = voxels.shape[0]
    angle = _uniform(3 * n, -0.26, 0.26, rng).view(3, n)
    cos, sin = torch.cos(angle), torch.sin(angle)
    one, zero = torch.ones(n), torch.zeros(n)

    def matrix(*rows: Tensor) -> Tensor:
        return torch.stack(rows, dim=1).view(n, 3, 3)

    turn = (
        matrix(cos[0], -sin[0], zero, sin[0], cos[0], zero, zero, zero, one)
        @ matrix(cos[1], zero, sin[1], zero, one, zero, -sin[1], zero, cos[1])
        @ matrix(one, zero, zero, zero, cos[2], -sin[2], zero, sin[2], cos[2])
    )
    zoom = _uniform(n, 0.85, 1.2, rng).view(n, 1, 1)
    mirror = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0).view(n, 1)
    theta = torch.cat([turn / zoom, _uniform(3 * n, -0.1, 0.1, rng).view(n, 3, 1)], dim=2)
    theta[:, :, 0] = theta[:, :, 0] * mirror
    grid = functional.affine_grid(theta, list(voxels.shape), align_corners=False)
    bend = torch.randn(n, 3, 5, 6, 5, generator=rng) * 0.03
    bend = functional.interpolate(bend, size=voxels.shape[2:], mode="trilinear", align_corners=True)
    grid = grid + bend.permute(0, 2, 3, 4, 1)
    moved = functional.grid_sample(voxels, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    labels = functional.grid_sample(labels, grid, mode="nearest", padding_mode="zeros", align_corners=False)

    top = moved.amax(dim=(1, 2, 3, 4), keepdim=True).clamp(min=1e-6)
    inside = (moved > 0).float()
    light = (moved / top) ** torch.exp(_uniform(n, -0.35, 0.35, rng)).view(n, 1, 1, 1, 1)
    grain = torch.randn(light.shape, generator=rng) * _uniform(n, -0.02, 0.05, rng).clamp(min=0).view(n, 1, 1, 1, 1)
    return (light + grain).clamp(min=1e-4) * inside * top, labels


def outsiders_of(pixels: Tensor, rng: Generator) -> Tensor:
    """Turn radiographs (n, 1, rows, columns) 0-255 into inputs the model must refuse, one kind drawn for each.

    Inverted, turned by a quarter or a half, upside down, cut to a detail, blurred away, noise, blank, saturated,
    and smooth shapes: the gross errors of an archive, for the domain head to learn.
    """
    n, _, rows, columns = pixels.shape
    out = pixels.clone()
    for i in range(n):
        image, kind = pixels[i], int(torch.randint(0, 12, (1,), generator=rng))
        if kind in (0, 1):
            out[i] = 255 - image
        elif kind in (2, 3):
            out[i] = torch.rot90(image, 1 if kind == 2 else 3, dims=(1, 2))
        elif kind == 4:
            out[i] = torch.rot90(image, 2, dims=(1, 2))
        elif kind == 5:
            out[i] = torch.flip(image, dims=(1,))
        elif kind == 6:
            side = int(torch.randint(rows // 5, rows // 2, (1,), generator=rng))
            top, left = (int(v) for v in torch.randint(0, rows - side, (2,), generator=rng))
            detail = image[:, top : top + side, left : left + side][None]
            out[i] = functional.interpolate(detail, size=(rows, columns), mode="bilinear", align_corners=False)[0]
        elif kind == 7:
            out[i] = functional.interpolate(
                functional.adaptive_avg_pool2d(image[None], 9), size=(rows, columns), mode="bilinear"
            )[0]
        elif kind == 8:
            out[i] = torch.rand(image.shape, generator=rng) * 255
        elif kind == 9:
            out[i] = torch.rand(1, generator=rng) * 255 + torch.randn(image.shape, generator=rng) * 3
        elif kind == 10:
            out[i] = ((image - 128) * 6 + 255 * torch.rand(1, generator=rng)).clamp(0, 255)
        else:
            out[i] = _shapes(rows, columns, rng)
    return out.clamp(0, 255)


def _shapes(rows: int, columns: int, rng: Generator) -> Tensor:
    """Bright ellipses on black with a ring: the look of a body section, without any body."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij")
    image = torch.zeros(rows, columns)
    for _ in range(int(torch.randint(2, 8, (1,), generator=rng))):
        centre, radius = torch.rand(2, generator=rng) * 1.2 - 0.6, torch.rand(2, generator=rng) * 0.7 + 0.08
        inside = ((x - centre[0]) / radius[0]) ** 2 + ((y - centre[1]) / radius[1]) ** 2 < 1
        image = torch.where(inside, torch.rand(1, generator=rng) * 255, image)
    return (image + torch.randn(image.shape, generator=rng) * 6)[None]
