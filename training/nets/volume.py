"""VolumeNet: a small residual 3-D U-Net for segmenting one structure in a small field of view.

Downsampling and upsampling are strided and nearest-neighbour operations followed by convolutions: they export to
ONNX with dynamic sizes and avoid transposed convolutions, which are slow on a CPU and leave checkerboards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


def _unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm3d(outputs), nn.ReLU(inplace=True)
    )


class VolumeNet(nn.Module):
    """Segment volumes into ``classes`` labels; label 0 is background.

    Input: (batch, 1, z, y, x) intensities in any unit, z, y and x divisible by 8; zero outside the field of view.
    Intensities are centred and scaled over the non-zero voxels of each volume inside the network.
    """

    multiple = 8

    def __init__(self, classes: int = 3, widths: tuple[int, int, int, int] = (16, 32, 64, 128)) -> None:
        super().__init__()
        a, b, c, d = widths
        self.enter = nn.Sequential(_unit(1, a), _unit(a, a))
        self.down = nn.ModuleList(
            [nn.Sequential(_unit(i, o, 2), _unit(o, o)) for i, o in ((a, b), (b, c), (c, d))]
        )
        self.squeeze = nn.ModuleList([nn.Conv3d(i, o, 1, bias=False) for i, o in ((d, c), (c, b), (b, a))])
        self.up = nn.ModuleList(
            [nn.Sequential(_unit(2 * c, c), _unit(c, c)), nn.Sequential(_unit(2 * b, b), _unit(b, b)), _unit(2 * a, a)]
        )
        self.head = nn.Conv3d(a, classes, 1)
        self.deep = nn.ModuleList([nn.Conv3d(c, classes, 1), nn.Conv3d(b, classes, 1)])
        self.bottleneck_channels = d

    def normalise(self, voxels: Tensor) -> Tensor:
        """Centre and scale over the voxels above zero; voxels outside the field of view stay zero."""
        inside = (voxels > 0).to(voxels.dtype)
        count = inside.sum(dim=(1, 2, 3, 4), keepdim=True) + 1.0
        mean = (voxels * inside).sum(dim=(1, 2, 3, 4), keepdim=True) / count
        centred = (voxels - mean) * inside
        spread = (centred * centred).sum(dim=(1, 2, 3, 4), keepdim=True) / count
        return centred / (torch.sqrt(spread) + 1e-3)

    def forward(self, voxels: Tensor) -> dict[str, Tensor]:
        """Return class logits at full size, two coarser ones for deep supervision, and the pooled bottleneck."""
        x = self.enter(self.normalise(voxels))
        skips = []
        for stage in self.down:
            skips.append(x)
            x = stage(x)
        pooled = x.mean(dim=(2, 3, 4))
        coarse = []
        for index, (squeeze, stage) in enumerate(zip(self.squeeze, self.up, strict=True)):
            x = functional.interpolate(squeeze(x), scale_factor=2, mode="nearest")
            x = stage(torch.cat([x, skips.pop()], dim=1))
            if index < len(self.deep):
                coarse.append(self.deep[index](x))
        return {"logits": self.head(x), "half": coarse[1], "quarter": coarse[0], "pooled": pooled}
