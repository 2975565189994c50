"""The architectures whose weights can be taken over: those of torchvision, timm and TorchXRayVision, built with no weights.

Nothing is downloaded: every builder is called without its own pretrained weights, and the user's file is put in.
"""

from __future__ import annotations

import tempfile
import tomllib
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto
from torch import nn

from models.errors import BrokenModel
from training.adopt.weights import State, load_into

OPSET = 17
XRV_TABLE = Path(__file__).with_name("xrv.toml")
XRV = tomllib.loads(XRV_TABLE.read_text(encoding="utf-8"))
AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")  # heads that only training has (Inception, GoogLeNet)
XRV_OWN = ("op_threshs",)


def xrv_net(name: str, state: State, file: str) -> nn.Module:
    """Return TorchXRayVision's classifier ``name`` with these weights.

    Its DenseNet is torchvision's with one input channel and the same names of weights, so the package is not needed
    (tests hold both to the same numbers).
    """
    row = xrv_row(name)
    return torchvision_net(row["architecture"], len(row["labels"]), state, file, ignore=XRV_OWN)


def xrv_row(name: str) -> dict[str, Any]:
    """Return labels, operating points and input of one of TorchXRayVision's sets of weights. Raises BrokenModel."""
    if name not in XRV["weights"]:
        raise BrokenModel(f"TorchXRayVision has no weights {name!r}; known: {', '.join(XRV['weights'])}.")
    row: dict[str, Any] = XRV["weights"][name]
    return row


def torchvision_net(arch: str, classes: int, state: State, file: str, *, ignore: tuple[str, ...] = ()) -> nn.Module:
    """Return a classifier of torchvision with these weights. Raises BrokenModel for a name it has not, or weights of another."""
    import torchvision  # noqa: PLC0415  takes a second to import

    if arch not in torchvision.models.list_models(module=torchvision.models):
        raise BrokenModel(f"torchvision has no classifier {arch!r}. It has, for example, resnet18, resnet50, densenet121, "
                          "efficientnet_b0, mobilenet_v2, regnet_y_400mf, shufflenet_v2_x1_0.")
    more: dict[str, Any] = {"init_weights": False} if arch in ("googlenet", "inception_v3") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torchvision.models.get_model(arch, weights=None, num_classes=classes, **more)
    if more:
        for name in ("AuxLogits", "aux1", "aux2"):
            if hasattr(net, name):
                setattr(net, name, None)
        net.aux_logits = False
    return _filled(_with_channels(net, state), state, file, (*AUXILIARY, *ignore))


def timm_net(arch: str, classes: int, state: State, file: str) -> tuple[nn.Module, dict[str, Any]]:
    """Return a classifier of timm with these weights, and how its pretrained form prepares images (timm's own table)."""
    try:
        import timm  # noqa: PLC0415  an optional extra
    except ImportError as error:
        raise BrokenModel("timm was asked for and is not installed. Install diaphane[adopt].") from error
    if not timm.is_model(arch.partition(".")[0]):
        raise BrokenModel(f"timm has no architecture {arch!r}. Look with timm.list_models().")
    net = timm.create_model(arch, pretrained=False, num_classes=classes)
    return _filled(_with_channels(net, state), state, file, ()), dict(net.pretrained_cfg)


def channels_of(net: nn.Module) -> int:
    """Return how many channels a network takes: those of its first convolution."""
    return _first_convolution(net)[1].in_channels


def to_onnx(net: nn.Module, channels: int, size: tuple[int, int]) -> ModelProto:
    """Trace a network into an ONNX graph with a free batch axis: ``image`` (batch, channels, rows, columns) to ``classes``.

    The tracing exporter is used: it takes seconds where the other takes a minute, and keeps pooling in one node.
    """
    example = torch.linspace(-1, 1, 2 * channels * size[0] * size[1]).reshape(2, channels, *size)
    with tempfile.TemporaryDirectory(prefix="adopt-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of its own age and of sizes read in Python
        path = Path(folder) / "traced.onnx"
        torch.onnx.export(net.eval(), (example,), str(path), dynamo=False, opset_version=OPSET, input_names=["image"],
                          output_names=["classes"], dynamic_axes={"image": {0: "batch"}, "classes": {0: "batch"}})
        return onnx.load(str(path))


def _filled(net: nn.Module, state: State, file: str, ignore: tuple[str, ...]) -> nn.Module:
    load_into(net, state, file, ignore=ignore)
    return net.eval()


def _with_channels(net: nn.Module, state: State) -> nn.Module:
    """Let the first convolution take as many channels as the weights have: grey images are often learnt with one."""
    name, first = _first_convolution(net)
    given = state.get(f"{name}.weight")
    if given is not None and given.ndim == 4 and given.shape[1] != first.in_channels and first.groups == 1:
        kept = {key: getattr(first, key) for key in ("kernel_size", "stride", "padding", "dilation")}
        new = nn.Conv2d(given.shape[1], first.out_channels, bias=first.bias is not None, **kept)
        owner, _, last = name.rpartition(".")
        setattr(net.get_submodule(owner), last, new)
    return net


def _first_convolution(net: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise BrokenModel("An architecture must begin with a convolution, found none. Networks of tokens alone have no exact heat map.")
