"""Small classifiers with fixed random weights, and descriptions of them: what others might bring to be taken over."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from training.adopt.description import Description

SIZE = 64


def described(*, classes: int = 3, activation: str = "sigmoid", threshold: float | None = 0.001, **changes: Any) -> Description:
    """Describe a classifier of 64 x 64 grey images, with a threshold so low that maps are drawn."""
    told: dict[str, Any] = {
        "name": "tiny_adopted", "title": "Tiny adopted classifier", "input": {"rows": SIZE, "columns": SIZE, "normalisation": "unit"},
        "steps": [{"name": "squash", "params": {"rows": SIZE, "columns": SIZE}}], "head": {"activation": activation},
        "outputs": [{"column": k, "name": f"finding_{k}", "label": f"Finding {k}", "threshold": threshold} for k in range(classes)],
    }
    return Description.model_validate({**told, **changes})


class TinyNet(nn.Module):
    """Two strided convolutions, the mean over places, one linear layer; any head may be put in its place."""

    def __init__(self, classes: int = 3, channels: int = 1, head: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.features = nn.Sequential(
            nn.Conv2d(channels, 8, 5, 4, 2), nn.ReLU(), nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12), nn.ReLU())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = head or nn.Linear(12, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.flatten(self.pool(self.features(images)), 1))


def graph_of(nodes: Iterable[onnx.NodeProto], arrays: dict[str, np.ndarray], *, shape: tuple[int | str, ...] = ("n", 1, SIZE, SIZE),
             opset: int = 17, kind: int = TensorProto.FLOAT, domains: tuple[str, ...] = ()) -> ModelProto:
    """Make a graph from ``image`` to ``classes`` by hand."""
    graph = helper.make_graph(
        list(nodes), "by_hand", [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("classes", kind, ["n", "k"])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in arrays.items()])
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def plain_graph(
    tail: Iterable[onnx.NodeProto] = (), *, pool: str = "GlobalAveragePool", nhwc: bool = False, **more: Any
) -> ModelProto:
    """Convolution, pooling, then ``tail`` from ``pooled`` (n, 6) to ``classes``; a Gemm of three classes by default."""
    rng = np.random.default_rng(3)
    arrays = {
        "kernel": rng.normal(size=(6, 1, 8, 8)).astype(np.float32) / 8, "weights": rng.normal(size=(6, 3)).astype(np.float32),
        "bias": np.float32([0.3, -0.2, 0.1]), "half": np.float32([0.5]), "gain": np.float32([1.5, 0.5, 2.0]),
        "over": np.float32([2.0, 4.0, 0.5]), "flat": np.int64([0, -1]),
    }
    nodes = [helper.make_node("Conv", ["image" if not nhwc else "turned", "kernel"], ["convolved"], strides=[8, 8]),
             helper.make_node("Relu", ["convolved"], ["features"])]
    if nhwc:
        nodes.insert(0, helper.make_node("Transpose", ["image"], ["turned"], perm=[0, 3, 1, 2]))
        nodes += [helper.make_node("Transpose", ["features"], ["last"], perm=[0, 2, 3, 1]),
                  helper.make_node("ReduceMean", ["last"], ["pooled"], axes=[1, 2], keepdims=0)]
    elif pool == "ReduceMean":
        nodes.append(helper.make_node("ReduceMean", ["features"], ["pooled"], axes=[-2, -1], keepdims=0))
    elif pool == "AveragePool":
        nodes += [helper.make_node("AveragePool", ["features"], ["mean"], kernel_shape=[8, 8]),
                  helper.make_node("Flatten", ["mean"], ["pooled"])]
    else:
        nodes += [helper.make_node(pool, ["features"], ["mean"]), helper.make_node("Flatten", ["mean"], ["pooled"])]
    tail = list(tail) or [helper.make_node("Gemm", ["pooled", "weights", "bias"], ["classes"], name="the_head")]
    used = {name for node in [*nodes, *tail] for name in node.input}
    shape = ("n", SIZE, SIZE, 1) if nhwc else ("n", 1, SIZE, SIZE)
    return graph_of([*nodes, *tail], {k: v for k, v in arrays.items() if k in used}, **{"shape": shape, **more})


def saved(model: ModelProto, folder: Path, name: str = "brought.onnx") -> Path:
    """Write a graph as somebody would send it."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path
