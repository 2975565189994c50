"""VolumeNet for serving: the same numbers from 2-D convolutions and matrix products, with about half the arithmetic.

onnxruntime's 2-D convolutions are blocked and direct; its 3-D ones copy every neighbourhood first (im2col), which costs
more than the arithmetic when channels are few. So each 3x3x3 convolution becomes, along z, a minimal filtering
algorithm F(m, 3) (Winograd 1980; Lavin 2016, arXiv:1509.09308) and, in the slice, a grouped 3x3 convolution:

    y = LEAVE @ conv2d(ENTER @ x)    ENTER: m + 2 phases per tile of m slices; LEAVE: m slices per tile of phases

Both matrices act on the z axis alone, so padding, upsampling and strides along z are part of them and cost nothing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training.nets.volume import VolumeNet

LONGEST = 256  # slices of the input; the matrices are cut from this size
TILES = (8, 5, 5, 5)  # slices a tile at full, half, quarter and eighth resolution: little waste from 24 to 48 slices
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 4.0, -0.25)  # F(m, 3) takes the first m + 1; rounding grows with m
UNIT = 1  # the phase at point 1: a constant there is the same constant on every slice, so it carries the bias

Matrix = NDArray[np.float64]


def filtering(m: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return A (m, n), B (n, n) and G (n, 3), n = m + 2, with ``correlate(d, g) == A @ ((G @ g) * (B @ d))``."""
    points = POINTS[: m + 1]
    n = m + 2
    a, b, g = np.zeros((m, n)), np.zeros((n, n)), np.zeros((n, 3))
    for j, point in enumerate(points):
        others = [p for k, p in enumerate(points) if k != j]
        a[:, j] = point ** np.arange(m)
        b[j, : n - 1] = np.poly(others)[::-1]
        g[j] = point ** np.arange(3) / np.prod([point - p for p in others])
    a[m - 1, n - 1] = 1
    b[n - 1] = np.poly(points)[::-1]
    g[n - 1, 2] = 1
    enter, leave = np.abs(b).sum(axis=1), np.abs(a).max(axis=0)  # scaled to 1: even magnitudes keep rounding small
    return a / leave, b / enter[:, None], g * (enter * leave)[:, None]


def band(block: Matrix, longest: int, *, step: int, start: int, repeat: int = 1) -> Tensor:
    """Return the matrix that applies ``block`` to slices start, start + 1, … of every tile, ``step`` slices apart.

    Rows are (tile, block row), columns are source slices. Slices before the first count as zero; with ``repeat`` each
    source slice stands for that many. A shorter volume uses the top left corner: its missing slices count as zero.
    """
    tiles, rows = -(-longest // step), block.shape[0]
    matrix = np.zeros((tiles * rows, longest // repeat))
    for tile in range(tiles):
        for column in range(block.shape[1]):
            at = tile * step + start + column
            if 0 <= at < longest:
                matrix[tile * rows : (tile + 1) * rows, at // repeat] += block[:, column]
    return torch.from_numpy(matrix.astype(np.float32))


class Slices(nn.Module):
    """A 3x3x3 convolution (stride 1, padding 1) on (batch, z, channels, y, x), in tiles of ``m`` slices.

    With ``repeat`` 2 the input is at half resolution and stands for its nearest-neighbour enlargement.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, m: int, longest: int, *, repeat: int = 1) -> None:
        super().__init__()
        a, b, g = filtering(m)
        self.m, self.n, self.repeat = m, m + 2, repeat
        outputs, inputs = weight.shape[:2]
        phases = torch.einsum("pk,oikyx->poiyx", torch.from_numpy(g), weight.double()).float()
        self.conv = nn.Conv2d(self.n * inputs, self.n * outputs, 3, padding=1, groups=self.n, bias=bias is not None)
        self.conv.weight = nn.Parameter(phases.reshape(self.n * outputs, inputs, 3, 3))
        if bias is not None:
            constant = torch.zeros(self.n, outputs)
            constant[UNIT] = bias / float(a[0, UNIT])
            self.conv.bias = nn.Parameter(constant.reshape(-1))
        self.register_buffer("enter", band(b, longest, step=m, start=-1, repeat=repeat))
        tiles = -(-longest // m)
        self.register_buffer("leave", torch.from_numpy(np.kron(np.eye(tiles), a).astype(np.float32)))

    def phases(self, x: Tensor) -> Tensor:
        """Return (batch * tiles, phases * outputs, y, x), at full resolution."""
        batch, z, channels, rows, columns = x.shape
        tiles = (z * self.repeat + self.m - 1) // self.m
        mixed = self.enter[: tiles * self.n, :z] @ x.reshape(batch, z, channels * rows * columns)
        mixed = mixed.reshape(batch * tiles, self.n * channels, rows, columns)
        if self.repeat > 1:
            mixed = functional.interpolate(mixed, scale_factor=float(self.repeat), mode="nearest")
        found: Tensor = self.conv(mixed)
        return found

    def slices(self, phases: Tensor, like: Tensor) -> Tensor:
        """Return (batch, z, outputs, y, x) from what ``phases`` gave, on the grid of ``like``."""
        batch, z, _, rows, columns = like.shape  # not of phases: a shape node there would hinder fusion in onnxruntime
        tiles = (z + self.m - 1) // self.m
        outputs = self.conv.out_channels // self.n
        flat = self.leave[:z, : tiles * self.n] @ phases.reshape(batch, tiles * self.n, outputs * rows * columns)
        return flat.reshape(batch, z, outputs, rows, columns)

    def forward(self, x: Tensor) -> Tensor:
        return self.slices(self.phases(x), x)


class Gather(nn.Module):
    """A 3x3x3 convolution with one stride for all axes on (batch, z, channels, y, x): neighbours become channels."""

    def __init__(self, weight: Tensor, bias: Tensor, longest: int, stride: int) -> None:
        super().__init__()
        outputs, inputs = weight.shape[:2]
        self.stride = stride
        self.conv = nn.Conv2d(3 * inputs, outputs, 3, stride=stride, padding=1)
        self.conv.weight = nn.Parameter(weight.permute(0, 2, 1, 3, 4).reshape(outputs, 3 * inputs, 3, 3).contiguous())
        self.conv.bias = nn.Parameter(bias)
        self.register_buffer("enter", band(np.eye(3), longest, step=stride, start=-1))

    def forward(self, x: Tensor) -> Tensor:
        batch, z, channels, rows, columns = x.shape
        fewer = z // self.stride
        near = self.enter[: 3 * fewer, :z] @ x.reshape(batch, z, channels * rows * columns)
        found = self.conv(near.reshape(batch * fewer, 3 * channels, rows, columns))
        return found.reshape(batch, fewer, self.conv.out_channels, rows // self.stride, columns // self.stride)


class SlicedVolumeNet(nn.Module):
    """The same function as a fitted VolumeNet in evaluation mode, for export. Gives ``logits`` and ``pooled`` only."""

    def __init__(self, net: VolumeNet, tiles: tuple[int, int, int, int] = TILES) -> None:
        super().__init__()
        self.normalise = net.normalise
        longest = [LONGEST >> level for level in range(4)]
        first, second = net.enter
        self.first = Gather(*_folded(first), longest[0], stride=1)
        self.second = Slices(*_folded(second), tiles[0], longest[0])
        self.shrink, self.deepen = nn.ModuleList(), nn.ModuleList()
        for level, (halve, same) in enumerate(net.down):
            self.shrink.append(Gather(*_folded(halve), longest[level], stride=2))
            self.deepen.append(Slices(*_folded(same), tiles[level + 1], longest[level + 1]))
        self.squeeze, self.below, self.beside, self.after = (nn.ModuleList() for _ in range(4))
        for level, squeeze, stage in zip((2, 1, 0), net.squeeze, net.up, strict=True):
            units = [stage] if isinstance(stage[0], nn.Conv3d) else list(stage)
            weight, bias = _folded(units[0])
            m, z, half = tiles[level], longest[level], squeeze.out_channels
            self.squeeze.append(_flat(squeeze))
            self.below.append(Slices(weight[:, :half], None, m, z, repeat=2))
            self.beside.append(Slices(weight[:, half:], bias, m, z))
            self.after.append(Slices(*_folded(units[1]), m, z) if len(units) > 1 else nn.Identity())
        self.head = _flat(net.head)

    def forward(self, voxels: Tensor) -> dict[str, Tensor]:
        """Return class logits (batch, classes, z, y, x) and the pooled bottleneck (batch, channels)."""
        x = self.normalise(voxels).transpose(1, 2)  # (batch, z, channels, y, x) from here on
        x = torch.relu(self.second(torch.relu(self.first(x))))
        skips = []
        for shrink, deepen in zip(self.shrink, self.deepen, strict=True):
            skips.append(x)
            x = torch.relu(deepen(torch.relu(shrink(x))))
        pooled = x.mean(dim=(1, 3, 4))
        for squeeze, below, beside, after in zip(self.squeeze, self.below, self.beside, self.after, strict=True):
            skip = skips.pop()
            phases = below.phases(_by_slice(squeeze, x)) + beside.phases(skip)
            x = torch.relu(beside.slices(phases, skip))
            if isinstance(after, Slices):
                x = torch.relu(after(x))
        return {"logits": _by_slice(self.head, x).transpose(1, 2), "pooled": pooled}


def _by_slice(conv: nn.Conv2d, x: Tensor) -> Tensor:
    batch, z, channels, rows, columns = x.shape
    found = conv(x.reshape(batch * z, channels, rows, columns))
    return found.reshape(batch, z, conv.out_channels, rows, columns)


def _folded(unit: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution with the batch normalisation that follows it."""
    conv, norm = unit[0], unit[1]
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return conv.weight.detach() * scale.view(-1, 1, 1, 1, 1), norm.bias.detach() - norm.running_mean * scale


def _flat(conv: nn.Conv3d) -> nn.Conv2d:
    """Return the 1x1 convolution that does to every slice what a 1x1x1 does to a volume."""
    flat = nn.Conv2d(conv.in_channels, conv.out_channels, 1, bias=conv.bias is not None)
    flat.weight = nn.Parameter(conv.weight.detach()[:, :, 0])
    if conv.bias is not None:
        flat.bias = nn.Parameter(conv.bias.detach())
    return flat
