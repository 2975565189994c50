"""What fitting minimises, one function per task: (network outputs, batch) -> scalar."""

from __future__ import annotations

import torch
from monai.losses import DiceCELoss
from torch import Tensor
from torch.nn import functional

_dice = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)


def radiograph_loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Add cross entropy for findings (NaN targets do not count), for child or outsider, and for maps off the lungs.

    ``batch["targets"]`` (n, 2), ``batch["domain"]`` (n, 1) is 1 for children, ``batch["masks"]`` (n, 1, rows, columns)
    is 255 on lung, 0 off lung and 128 where no mask is known.
    """
    targets = batch["targets"]
    known = ~torch.isnan(targets)
    smooth = torch.where(known, targets, 0.5).mul(0.94).add(0.03)
    findings = functional.binary_cross_entropy_with_logits(outputs["logits"], smooth, reduction="none")
    loss = (findings * known).sum() / known.sum().clamp(min=1)
    loss = loss + 0.5 * functional.binary_cross_entropy_with_logits(outputs["domain"], batch["domain"])
    maps = outputs["maps"]
    cells = functional.adaptive_avg_pool2d(batch["masks"], maps.shape[2:])
    masked = (batch["masks"].amax(dim=(1, 2, 3)) > 200).to(maps.dtype).view(-1, 1, 1, 1)
    off_lung = (cells < 40).to(maps.dtype) * masked
    return loss + 0.2 * (maps.abs() * off_lung).sum() / (maps.shape[1] * off_lung.sum().clamp(min=1))


def volume_loss(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
    """Add Dice and cross entropy at full, half and quarter size (deep supervision, Isensee 2021)."""
    labels = batch["labels"]
    loss = _dice(outputs["logits"], labels)
    for name, weight in (("half", 0.4), ("quarter", 0.2)):
        small = functional.interpolate(labels, size=outputs[name].shape[2:], mode="nearest")
        loss = loss + weight * _dice(outputs[name], small)
    return loss / 1.6


LOSSES = {"radiograph": radiograph_loss, "volume": volume_loss}
