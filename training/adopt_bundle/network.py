"""A bundle's network: one of MONAI's own nets by name, its weights, and the ONNX graph of one window."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from monai.networks import nets
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from models.errors import BrokenModel
from models.onnx_file import check_self_contained
from training.adopt.weights import load_into, read_weights
from training.adopt_bundle.config import arguments, target_of
from training.export import OPSET, agreement

# Of monai.networks.nets: those that take a volume and return one volume of class scores. Others are refused by name.
NETS = (
    "AttentionUnet", "BasicUNet", "BasicUnet", "DynUNet", "FlexibleUNet", "HighResNet", "SegResNet", "SegResNetDS", "SwinUNETR",
    "UNet", "UNETR", "Unet", "VNet",
)
CLASSIFIERS = (
    "DenseNet", "DenseNet121", "DenseNet169", "DenseNet201", "DenseNet264", "SEResNet50", "SEResNet101", "SEResNet152", "SEResNeXt50",
    "SEResNext50", "SEResNet", "SENet", "SENet154",
)
PLAIN = (bool, int, float, str, type(None))
INPUT, SCORES = "voxels", "class_scores"
LARGEST_GOLDEN = 2_000_000  # class scores kept for checking; beyond, one golden window instead of two


def network_of(component: Any, weights: Path) -> nn.Module:
    """Make the net a bundle names and put its weights in. Raises BrokenModel for a net or a file that is not taken."""
    name = target_of(component)
    if name in CLASSIFIERS:
        raise BrokenModel(f"The bundle's {name} classifies images, and what MONAI reads of them are stored pixels, not what a reader "
                          "sees. Write its network with --to-onnx, then take it over with: python -m training adopt onnx")
    if name not in NETS:
        raise BrokenModel(f"The bundle's network must be one of monai.networks.nets ({', '.join(NETS)}), found {name or 'none'}: "
                          "a class of the bundle's own is a program and is not run here. Serve it where it was made.")
    given = arguments(component)
    if given.get("spatial_dims", 3) != 3:
        raise BrokenModel(f"The network must take volumes (spatial_dims 3), found {given['spatial_dims']}. "
                          "Outlines on images are not taken.")
    channels = given.get("in_channels", 1)
    if channels != 1:
        raise BrokenModel(f"The network takes {channels} image channels at once, as several MR sequences; a case here is one series. "
                          "Serve it where it was made, or ask for a model of one series.")
    return filled(name, given, weights)


def filled(name: str, given: dict[str, Any], weights: Path) -> nn.Module:
    """Make a net of monai.networks.nets and put the weights of a file in. Raises BrokenModel when either does not fit."""
    if not _plain(given):
        raise BrokenModel(f"The arguments of {name} must be numbers, words and lists, found something else.")
    if "pretrained" in given:
        given["pretrained"] = False  # it would fetch weights, which the bundle's own replace
    try:
        net: nn.Module = getattr(nets, name)(**given)
    except Exception as error:  # nets raise whatever their parts raise
        raise BrokenModel(f"MONAI cannot make {name} of the bundle's arguments: {str(error).splitlines()[0][:200]}") from error
    state = read_weights(weights)
    wanted = set(net.state_dict())
    beginning = next(iter(wanted)).split(".")[0] + "."
    if not wanted & state.keys() and all(key.startswith(beginning) for key in wanted):
        state = {beginning + key: tensor for key, tensor in state.items()}  # UNet's own names all start with "model."
    load_into(net, state, weights.name)
    return net.eval()


class WindowGraph(nn.Module):
    """voxels (batch, 1, z, y, x) → class_scores (batch, classes, z, y, x) of a net that was trained on (x, y, z)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, voxels: Tensor) -> Tensor:
        found: Tensor = self.net(voxels.permute(0, 1, 4, 3, 2))
        return found.permute(0, 1, 4, 3, 2).contiguous()


def golden_windows(roi: tuple[int, ...], count: int, seed: int = 20261122) -> NDArray[np.float32]:
    """Make windows (count, 1, z, y, x) of smooth random shapes of about -1 to 1: nobody's, and the same each time."""
    drawn = np.random.default_rng(seed)
    windows = [ndimage.gaussian_filter(drawn.standard_normal(roi), max(1.0, min(roi) / 16)) for _ in range(count)]
    return np.stack([(one / np.abs(one).max())[None] for one in windows]).astype(np.float32)


def scores_of(graph: nn.Module, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Run torch on windows. Raises BrokenModel when the net does not return scores of the window's size."""
    try:
        with torch.no_grad():
            found: NDArray[np.float32] = graph(torch.from_numpy(windows)).numpy()
    except Exception as error:  # nets raise whatever their parts raise, and an AttributeError for more outputs than one
        raise BrokenModel(f"The network must take windows of {list(windows.shape[2:])} (z, y, x), and does not: "
                          f"{str(error).splitlines()[0][:200]}") from error
    if found.shape[2:] != windows.shape[2:] or not np.isfinite(found).all():
        raise BrokenModel(f"The network must return finite scores of {list(windows.shape[2:])} voxels, "
                          f"found {list(found.shape[2:])}.")
    return found


def write_graph(net: nn.Module, roi: tuple[int, ...], folder: Path) -> float:
    """Write model.onnx and golden.npz into folder; return the largest difference torch - ONNX.

    Raises BrokenModel when they disagree by more than 1e-4 (relative to 1 + |value|), alone or two windows at once.
    """
    graph = WindowGraph(net).eval()
    golden = golden_windows(roi, 2)
    expected = scores_of(graph, golden)
    path = folder / "model.onnx"
    axes = {INPUT: {0: "batch"}, SCORES: {0: "batch"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of its own age and of sizes read in Python, which are fixed here
        torch.onnx.export(graph, (torch.from_numpy(golden[:1]),), str(path), dynamo=False, opset_version=OPSET, input_names=[INPUT],
                          output_names=[SCORES], dynamic_axes=axes)
    check_self_contained(path, release=folder.name)
    onnx.checker.check_model(str(path), full_check=True)
    worst = agreement(path, golden, {SCORES: expected})
    kept = 1 if expected.size > LARGEST_GOLDEN else len(golden)
    np.savez_compressed(folder / "golden.npz", input=golden[:kept], **{SCORES: expected[:kept]})
    return worst[SCORES]


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(one) for key, one in value.items())
    return all(_plain(one) for one in value) if isinstance(value, list) else isinstance(value, PLAIN)
