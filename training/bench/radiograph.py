"""Radiograph: explained scores against what a user would do otherwise, what explaining costs, and how much is left."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.errors import BrokenModel
from models.model import Model
from models.session import SessionOptions
from models.volume import Volume
from training import recipe as recipes
from training.bench.graphs import cut, direct_flops, flops, open_graph
from training.bench.machine import cpu_flags, gemm_calls, gemm_gflops
from training.bench.measure import Call, Samples, interleave
from training.bench.report import Row, dearer, faster, missing
from training.nets import NETS

PART = "radiograph"
EXPLAINING_BAR, DEFAULT_BAR, AMX_BAR, PEAK_BAR, PEAK_BF16_BAR = 1.03, 5.0, 25.0, 70.0, 45.0
BF16_FLAGS = {"amx_bf16", "avx512_bf16"}


def bench_radiograph(model: Model, volume: Volume, seconds: float) -> list[Row]:
    """Measure one image classification release on one accepted image."""
    one = model.prepare(volume)
    rows = [*_explaining(model, one, seconds, batch=1), *_explaining(model, one, seconds, batch=8)]
    return [*rows, *_explained(model, volume, one, seconds)]


def _explaining(model: Model, one: NDArray[Any], seconds: float, *, batch: int) -> list[Row]:
    """All outputs a response needs, over a graph that ends at the logits. Both are plain sessions on the same input."""
    graph = model.manifest.graph
    path = model.folder / "model.onnx"
    roles = [graph.outputs[role] for role in ("probability", "logit", "map", "ood") if role in graph.outputs]
    whole, logits = open_graph(path.read_bytes()), open_graph(cut(path, [graph.outputs["logit"]]))
    feed = {graph.input: np.repeat(one, batch, axis=0)}
    times = interleave({"whole": lambda: whole.run(roles, feed), "logits": lambda: logits.run(None, feed)}, seconds)
    return [dearer(PART, f"explanation and refusal outputs over logits alone, batch {batch}", times["whole"],
                   times["logits"], bar=EXPLAINING_BAR, note="same graph, cut after the logits")]


def _explained(model: Model, volume: Volume, one: NDArray[Any], seconds: float) -> list[Row]:
    """One explained image: Model.predict from the decoded image, against torch eager with a Grad-CAM of one finding."""
    net = _net()
    calls: dict[str, Call] = {
        "predict": lambda: model.predict(volume), "session": lambda: model.session.run(one),
        **_torch_calls(net, one), **gemm_calls(),
    }
    precisions, causes = _openvino_models(model)
    calls |= {name: (lambda other=other: other.predict(volume)) for name, other in precisions.items()}
    times = interleave(calls, 3 * seconds)
    note = "ours includes resizing, checks and result; theirs starts from the resized tensor"
    rows = [
        faster(PART, "one explained image, from the prepared tensor: graph run over torch eager + grad-cam",
               times["gradcam"], times["session"], bar=DEFAULT_BAR,
               note="like for like; ours gives both maps and the refusal scores, theirs one map"),
        faster(PART, "one explained image, from the decoded image: Model.predict over torch eager + grad-cam", times["gradcam"],
               times["predict"], bar=DEFAULT_BAR, note=f"{model.session.backend}; {note}"),
        faster(PART, "over torch eager logits without any explanation", times["eager"], times["predict"]),
        dearer(PART, "Model.predict over its graph run alone", times["predict"], times["session"]),
    ]
    if "captum" in times:
        rows.append(faster(PART, "over torch eager + captum LayerGradCam", times["captum"], times["predict"]))
    for name in ("openvino fp32", "openvino bf16"):
        bar = AMX_BAR if name.endswith("bf16") else None
        title = f"over torch eager + grad-cam, on {name}"
        rows.append(faster(PART, title, times["gradcam"], times[name], bar=bar) if name in times
                    else missing(PART, title, causes[name], bar=bar))
    counted = flops(model.folder / "model.onnx", {model.manifest.graph.input: one})
    bf16 = causes.get("openvino bf16", "see the ratio above")
    return [*rows, *peak_rows(PART, times, counted, direct_flops(net, one), bf16)]


def peak_rows(part: str, times: dict[str, Samples], counted: dict[str, float], direct: float, bf16: str) -> list[Row]:
    """Say which share of the best GEMM of the same run the graph reaches, by the arithmetic it really does.

    ``counted`` is that arithmetic by kind; ``direct`` is what the network's convolutions would take done directly.
    """
    peak = max(gemm_gflops(one.least_ms / 1000) for name, one in times.items() if name.startswith("gemm"))
    done = sum(counted.values()) / (times["session"].least_ms / 1000) / 1e9
    parts = ", ".join(f"{kind} {value / 1e9:.3f}" for kind, value in counted.items())
    return [
        Row(part, "share of the best fp32 GEMM", 100 * done / peak, "%", bar=PEAK_BAR,
            note=f"{done:.0f} of {peak:.0f} GFLOP/s; GFLOP a run: {parts or 'none'}",
            times={"gflops": done, "peak_gflops": peak, "flop": counted, "direct_flop": direct}),
        Row(part, "arithmetic of the graph over that of direct convolution", sum(counted.values()) / direct, "x",
            better="less", note=f"directly {direct / 1e9:.2f} GFLOP"),
        missing(part, "share of the best bf16 GEMM", bf16, bar=PEAK_BF16_BAR),
    ]


def _net() -> Any:
    """The same architecture in torch eager, with fresh weights: what it costs does not depend on them."""
    settings = recipes.read("chest_xray_pediatric").net
    return NETS[settings.pop("name")](**settings).eval()


def _torch_calls(net: Any, one: NDArray[Any]) -> dict[str, Call]:
    logits = _Logits(net)
    pixels = torch.from_numpy(one)

    def eager() -> NDArray[Any]:
        with torch.inference_mode():
            return logits(pixels).numpy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of other packages
        from pytorch_grad_cam import GradCAM  # noqa: PLC0415  under the filter
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget  # noqa: PLC0415
    explainer = GradCAM(model=logits, target_layers=[net.stages[-1]])
    calls: dict[str, Call] = {"eager": eager, "gradcam": lambda: explainer(pixels, [ClassifierOutputTarget(0)])}
    try:
        from captum.attr import LayerGradCam  # noqa: PLC0415  optional
    except ImportError:
        return calls
    layer = LayerGradCam(logits, net.stages[-1])
    return {**calls, "captum": lambda: layer.attribute(pixels, target=0)}


class _Logits(torch.nn.Module):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.net(pixels)["logits"]
        return found


def _openvino_models(model: Model) -> tuple[dict[str, Model], dict[str, str]]:
    """Open the release again on OpenVINO at each precision; return those that run and why the others do not."""
    opened: dict[str, Model] = {}
    causes: dict[str, str] = {}
    for precision in ("fp32", "bf16"):
        name = f"openvino {precision}"
        if precision == "bf16" and not BF16_FLAGS & cpu_flags():
            causes[name] = "not measurable: no AMX or AVX-512 bf16 on this processor"
            continue
        try:
            opened[name] = open_on(model.folder, "openvino", precision)
        except BrokenModel as error:
            causes[name] = f"not measurable: {error}"
    return opened, causes


def open_on(folder: Path, provider: Any, precision: Any) -> Model:
    """Open a release on one provider at one precision. Raises BrokenModel when that cannot be had."""
    return Model(folder, SessionOptions(provider=provider, precision=precision))
