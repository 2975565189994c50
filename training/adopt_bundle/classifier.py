"""A bundle that classifies images: its network as plain ONNX, for ``adopt onnx`` to add the heat map and the description.

Only the network is handed over. MONAI reads a file's stored pixels, Diaphane the values a reader sees (VOI LUT, polarity), so
how grey levels become the network's numbers is a question to a person, and ``adopt onnx`` asks it.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from models.errors import BrokenModel
from training.adopt_bundle.bundle import Bundle
from training.adopt_bundle.config import arguments, target_of
from training.adopt_bundle.network import CLASSIFIERS, filled
from training.export import OPSET

SAME = 1e-5  # scores of the turned network against those of the bundle's own


def write_classifier(bundle: Bundle, path: Path, size: int) -> list[str]:
    """Write the network of ``bundle`` for images (batch, channels, size, size) to ``path``; return the class names told.

    Raises BrokenModel when it is no classifier of images, or when it cannot be turned from MONAI's (x, y) to rows, columns.
    """
    component = bundle.config.at("network_def" if "network_def" in bundle.config else "network")
    name, given = target_of(component), arguments(component)
    if name not in CLASSIFIERS:
        raise BrokenModel(f"A classifier must be one of monai.networks.nets ({', '.join(CLASSIFIERS)}), found {name or 'none'}.")
    if given.get("spatial_dims") != 2:
        raise BrokenModel(f"A classifier must take images (spatial_dims 2), found {given.get('spatial_dims')}.")
    net = filled(name, given, bundle.weights)
    images = torch.rand(2, int(given.get("in_channels", 1)), size, size, generator=torch.Generator().manual_seed(20261122))
    with torch.no_grad():
        wanted = net(images.transpose(2, 3))
        found = turned(net)(images)
    worst = float((found - wanted).abs().max())
    if not worst <= SAME * (1 + float(wanted.abs().max())):
        raise BrokenModel(f"The network must give the same scores with rows and columns exchanged, found {worst:.1e} between them. "
                          "Export it where it was made, for images as rows and columns.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of its own age
        torch.onnx.export(net, (images[:1],), str(path), dynamo=False, opset_version=OPSET, input_names=["pixels"],
                          output_names=["classes"], dynamic_axes={"pixels": {0: "batch"}, "classes": {0: "batch"}})
    onnx.checker.check_model(str(path), full_check=True)
    return [bundle.labels.get(column, f"class {column}") for column in range(wanted.shape[1])]


def turned(net: nn.Module) -> nn.Module:
    """Exchange rows and columns inside a network of convolutions: turned(net)(image) = net(image transposed), pooled."""
    for part in net.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data = part.weight.data.transpose(2, 3).contiguous()
            for name in ("kernel_size", "stride", "padding", "dilation"):
                value = getattr(part, name)
                if isinstance(value, tuple):
                    setattr(part, name, value[::-1])
    return net
