"""RadiographNet: a small residual network whose classification head is its own explanation.

The head is a 1x1 convolution giving one map per finding; the spatial mean of a map plus a bias is that finding's
logit, so the map is an exact account of the logit and not an afterthought (Zhou 2016, doi:10.1109/CVPR.2016.319).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut (He 2016, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
        )
        self.second = nn.Sequential(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs))
        if stride == 1 and inputs == outputs:
            self.shortcut: nn.Module = nn.Identity()
        else:  # averaging before the 1x1 keeps every pixel in the shortcut (ResNet-D, arXiv:1812.01187)
            pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
            self.shortcut = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.second(self.first(x)) + self.shortcut(x))


class RadiographNet(nn.Module):
    """Map radiographs to finding maps, and to the features that out-of-distribution scores are made of.

    Input: (batch, 1, rows, columns) display values 0-255, any rows and columns divisible by 16.
    The intensity normalisation is part of the network, so training and serving cannot disagree on it.
    """

    stride_px = 16

    def __init__(self, findings: int = 2, width: int = 48, blocks: tuple[int, int, int] = (2, 2, 2)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width // 2, 3, 2, 1, bias=False), nn.BatchNorm2d(width // 2), nn.ReLU(inplace=True)
        )
        stages, channels = [], width // 2
        for index, count in enumerate(blocks):
            outputs = width << index
            stage = [ResidualBlock(channels, outputs, 2)] + [ResidualBlock(outputs, outputs) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
            channels = outputs
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.drop = nn.Dropout2d(0.2)
        self.map = nn.Conv2d(channels, findings, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(findings))
        self.domain = nn.Linear(channels + width * 2 + width, 1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Centre and scale each image by its own mean and standard deviation (floor 1 grey level)."""
        mean = pixels.mean(dim=(2, 3), keepdim=True)
        centred = pixels - mean
        spread = (centred * centred).mean(dim=(2, 3), keepdim=True)
        return centred / torch.sqrt(spread + 1.0)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last feature maps and the pooled features of all three stages, one after the other."""
        x = self.stem(self.normalise(pixels))
        pooled = []
        for stage in self.stages:
            x = stage(x)
            pooled.append(x.mean(dim=(2, 3)))
        return x, torch.cat(pooled, dim=1)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return maps (batch, finding, rows/16, columns/16), logits (batch, finding), domain logit and pooled features.

        ``logits == bias + maps.mean(rows, columns)`` holds exactly.
        """
        last, pooled = self.features(pixels)
        maps = self.map(self.drop(last))
        return {
            "maps": maps,
            "logits": self.bias + maps.mean(dim=(2, 3)),
            "domain": self.domain(pooled),
            "pooled": pooled,
        }
