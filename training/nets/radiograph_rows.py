"""RadiographNet for serving: the same numbers with about half the arithmetic in its 3x3 convolutions.

As in volume_2d.py, a 3x3 convolution becomes a minimal filtering algorithm F(m, 3) along one axis, here the rows, by
two small matrix products, and a grouped 1x3 convolution along the columns. It pays more the more channels there are, so
each network stage has its own ``m``; 0 leaves a stage as it is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from training.nets.radiograph import RadiographNet, ResidualBlock
from training.nets.volume_2d import band, filtering

TILES = (8, 8, 6)  # rows a tile at strides 4, 8 and 16


class Rows(nn.Module):
    """A 3x3 convolution (stride 1, padding 1) with bias on (batch, rows, channels, columns), ``m`` rows at a time."""

    def __init__(self, weight: Tensor, bias: Tensor, m: int, size: tuple[int, int]) -> None:
        super().__init__()
        a, b, g = filtering(m)
        rows, self.columns = size
        n, tiles = m + 2, -(-rows // m)
        outputs, inputs = weight.shape[:2]
        self.n, self.tiles, self.rows, self.outputs = n, tiles, rows, outputs
        phases = torch.einsum("pk,oikx->poix", torch.from_numpy(g), weight.double()).float()
        constant = torch.zeros(n, outputs)
        constant[1] = bias / float(a[0, 1])  # the phase at point 1 gives every row the same
        self.conv = nn.Conv2d(n * inputs, n * outputs, (1, 3), padding=(0, 1), groups=n)
        self.conv.weight = nn.Parameter(phases.reshape(n * outputs, inputs, 1, 3))
        self.conv.bias = nn.Parameter(constant.reshape(-1))
        self.register_buffer("enter", band(b, rows, step=m, start=-1))
        self.register_buffer("leave", torch.from_numpy(np.kron(np.eye(tiles), a)[:rows].astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        inputs = self.conv.in_channels // self.n
        mixed = self.enter @ x.reshape(-1, self.rows, inputs * self.columns)  # fixed sizes keep shape nodes out of ONNX
        found = self.conv(mixed.reshape(-1, self.n * inputs, 1, self.columns))
        flat = self.leave @ found.reshape(-1, self.tiles * self.n, self.outputs * self.columns)
        return flat.reshape(-1, self.rows, self.outputs, self.columns)


class RowsBlock(nn.Module):
    """A ResidualBlock in evaluation mode on (batch, rows, channels, columns); a first one takes and halves images."""

    def __init__(self, block: ResidualBlock, m: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.halves = not isinstance(block.shortcut, nn.Identity)
        self.first = block.first if self.halves else Rows(*_folded(block.first), m, size)
        self.second = Rows(*_folded(block.second), m, size)
        self.shortcut = block.shortcut

    def forward(self, x: Tensor) -> Tensor:
        if self.halves:
            inner, beside = self.first(x).transpose(1, 2), self.shortcut(x).transpose(1, 2)
        else:
            inner, beside = torch.relu(self.first(x)), x
        return torch.relu(self.second(inner) + beside)


class RowsStage(nn.Module):
    """The blocks of one stage: images in, images out."""

    def __init__(self, stage: nn.Sequential, m: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(RowsBlock(block, m, size) for block in stage))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x).transpose(1, 2)


class RadiographRowsNet(RadiographNet):
    """The same function as a fitted RadiographNet in evaluation mode, for export at one image size (rows, columns)."""

    def __init__(self, net: RadiographNet, size: tuple[int, int], tiles: tuple[int, int, int] = TILES) -> None:
        nn.Module.__init__(self)
        self.stem, self.map, self.bias, self.domain, self.drop = net.stem, net.map, net.bias, net.domain, net.drop
        self.channels = net.channels
        self.stages = nn.ModuleList(
            RowsStage(stage, m, (size[0] // (4 << level), size[1] // (4 << level))) if m else stage
            for level, (stage, m) in enumerate(zip(net.stages, tiles, strict=True))
        )


def _folded(unit: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution with the batch normalisation that follows it."""
    conv, norm = unit[0], unit[1]
    scale = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    return conv.weight.detach() * scale.view(-1, 1, 1, 1), norm.bias.detach() - norm.running_mean * scale
