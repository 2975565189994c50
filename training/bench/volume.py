"""Volume: segmentation of a small field of view against MONAI's sliding window over the same network in torch."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import BrokenModel
from models.model import NEEDED, Model
from models.volume import Volume
from training import recipe as recipes
from training.bench.graphs import direct_flops, flops
from training.bench.machine import gemm_calls
from training.bench.measure import Call, interleave
from training.bench.radiograph import open_on, peak_rows
from training.bench.report import Row, dearer, faster, missing
from training.nets import NETS

PART = "volume"
ROLES = NEEDED["volume_segmentation"]
BAR = 3.0
OVERLAP = 0.25  # MONAI's default
WHOLE = (48, 64, 48)  # z, y, x: a whole crop around one hippocampus, larger than the window it was trained on


def bench_volume(model: Model, volume: Volume, seconds: float) -> list[Row]:
    """Measure one segmentation release on one accepted volume, and on a larger one."""
    one = model.prepare(volume)
    window = tuple(int(v) for v in recipes.read("hippocampus_mr").fit["stages"][-1]["size"])
    net = _net()
    calls: dict[str, Call] = {
        "predict": lambda: model.predict(volume),
        "session": lambda: model.session.run(one, ROLES),
        "eager": lambda: _labels(net, one),
        "monai": _sliding(net, one, window),
        **gemm_calls(),
    }
    cause = ""
    try:
        other = open_on(model.folder, "openvino", "fp32")
        calls["openvino"] = lambda: other.predict(volume)
    except BrokenModel as error:
        cause = f"not measurable: {error}"
    times = interleave(calls, 3 * seconds)
    size = _size(one.shape[2:])
    rows = [
        faster(PART, f"Model.predict over MONAI sliding window in torch, {size}", times["monai"], times["predict"],
               bar=BAR, note=f"window {_size(window)}, overlap {OVERLAP}: {windows(one.shape[2:], window)} of them, "
                    "filled up with zeros where the volume is smaller; ours includes resampling, checks, volumes, mask"),
        faster(PART, f"Model.predict over one torch eager pass, {size}", times["eager"], times["predict"]),
        dearer(PART, "Model.predict over its graph run alone", times["predict"], times["session"]),
        faster(PART, f"on openvino fp32, over MONAI sliding window, {size}", times["monai"], times["openvino"])
        if "openvino" in times else missing(PART, "on openvino fp32, over MONAI sliding window", cause),
        *_at_size(model, net, one, window, window, seconds),
        *_at_size(model, net, one, window, WHOLE, seconds),
    ]
    counted = flops(model.folder / "model.onnx", {model.manifest.graph.input: one})
    return [*rows, *peak_rows(PART, times, counted, direct_flops(net, one), "not measured for volumes")]


def _at_size(model: Model, net: torch.nn.Module, one: NDArray[Any], window: tuple[int, ...], size: tuple[int, ...],
             seconds: float) -> list[Row]:
    """The measured volume, repeated and cut to ``size``: graph run against sliding window and one pass, all prepared."""
    ahead = [(0, max(0, want - have)) for want, have in zip(size, one.shape[2:], strict=True)]
    large = np.pad(one, [(0, 0), (0, 0), *ahead], mode="wrap")[:, :, : size[0], : size[1], : size[2]].copy()
    times = interleave({
        "session": lambda: model.session.run(large, ROLES),
        "eager": lambda: _labels(net, large),
        "monai": _sliding(net, large, window),
    }, seconds)
    note = f"window {_size(window)}, overlap {OVERLAP}: {windows(size, window)} of them; both from the prepared volume"
    return [
        faster(PART, f"graph over MONAI sliding window in torch, {_size(size)}", times["monai"], times["session"],
               bar=BAR, note=note),
        faster(PART, f"graph over one torch eager pass, {_size(size)}", times["eager"], times["session"]),
    ]


def windows(size: tuple[int, ...], window: tuple[int, ...], overlap: float = OVERLAP) -> int:
    """Count the windows MONAI lays over a volume."""
    return math.prod(
        1 if have <= side else math.ceil((have - side) / max(1, int(side * (1 - overlap)))) + 1
        for have, side in zip(size, window, strict=True)
    )


def _net() -> torch.nn.Module:
    settings = recipes.read("hippocampus_mr").net
    return NETS[settings.pop("name")](**settings).eval()


def _labels(net: torch.nn.Module, voxels: NDArray[Any]) -> NDArray[Any]:
    with torch.inference_mode():
        return net(torch.from_numpy(voxels))["logits"].argmax(dim=1).numpy()


def _sliding(net: torch.nn.Module, voxels: NDArray[Any], window: tuple[int, ...]) -> Call:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of other packages
        from monai.inferers import sliding_window_inference  # noqa: PLC0415  under the filter
    image = torch.from_numpy(voxels)

    def run() -> NDArray[Any]:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logits = sliding_window_inference(image, window, 1, lambda part: net(part)["logits"], overlap=OVERLAP)
            return logits.argmax(dim=1).numpy()

    return run


def _size(size: tuple[int, ...]) -> str:
    return "x".join(str(int(v)) for v in size)
