"""NETS: the networks a recipe may name, one file each."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from training.nets.radiograph import RadiographNet
from training.nets.volume import VolumeNet

NETS: dict[str, Callable[..., nn.Module]] = {"radiograph": RadiographNet, "volume": VolumeNet}
