"""Surgery on a released graph for fair comparison: the part that gives some outputs only, and its exact arithmetic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper

from training.bench.machine import one_thread


def cut(path: Path, outputs: list[str]) -> bytes:
    """Return the graph without the nodes that only other outputs need: what a release without them would be."""
    model = onnx.load(str(path))
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    needed, wanted = set(), list(outputs)
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and id(node) not in needed:
            needed.add(id(node))
            wanted += node.input
    kept = [node for node in graph.node if id(node) in needed]
    read = {name for node in kept for name in node.input} | set(outputs)
    shown = [value for value in graph.output if value.name in outputs]
    weights = [weight for weight in graph.initializer if weight.name in read]
    smaller = helper.make_graph(kept, graph.name, list(graph.input), shown, weights)
    small = helper.make_model(smaller, opset_imports=list(model.opset_import), ir_version=model.ir_version,
                              functions=list(model.functions))
    return small.SerializeToString()


def open_graph(graph: bytes, threads: int = 1) -> onnxruntime.InferenceSession:
    """Open a graph on the CPU as models/session.py would."""
    return onnxruntime.InferenceSession(graph, one_thread(threads), providers=["CPUExecutionProvider"])


def flops(path: Path, feed: dict[str, NDArray[Any]]) -> dict[str, float]:
    """Return floating-point operations of one run by kind (Conv, MatMul, Gemm), from the shapes of that very run."""
    model = onnx.load(str(path))
    weights = {weight.name: tuple(weight.dims) for weight in model.graph.initializer}
    counted = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    watched = sorted({name for node in counted for name in (*node.input[:2], *node.output) if name not in weights})
    given = {value.name for value in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in watched if name not in given)
    options = one_thread()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    watched = [name for name in watched if name not in feed]
    if not watched:
        return {}
    found = session.run(watched, feed)
    shapes = {**weights, **{name: value.shape for name, value in (*zip(watched, found, strict=True), *feed.items())}}
    total: dict[str, float] = {}
    for node in counted:
        total[node.op_type] = total.get(node.op_type, 0.0) + _node_flops(node, shapes)
    return total


def direct_flops(net: torch.nn.Module, batch: NDArray[Any]) -> float:
    """Return the floating-point operations of a torch network's convolutions done directly, on one batch."""
    total = 0.0

    def count(conv: Any, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += 2.0 * output.numel() * conv.weight[0].numel()

    kinds = (torch.nn.Conv2d, torch.nn.Conv3d)
    hooks = [module.register_forward_hook(count) for module in net.modules() if isinstance(module, kinds)]
    try:
        with torch.inference_mode():
            net(torch.from_numpy(batch))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def _node_flops(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> float:
    """Two operations for each product: 2 x outputs x inputs of one output. Padding counts as input."""
    result = float(np.prod(shapes[node.output[0]]))
    if node.op_type == "Conv":
        return 2 * result * float(np.prod(shapes[node.input[1]][1:]))
    first = shapes[node.input[0]]
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2 * result * first[-2 if turned else -1]
