"""Graphs: what a released ONNX graph is made of at its end, and the same graph with another head. Everything before it stays.

Two ends can be refitted: a class activation map (a 1x1 convolution whose spatial mean plus a bias is the logit) and additive
tables (trees whose leaves sum to the logit). Both keep explaining themselves exactly: parts and bias move together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.errors import BrokenModel
from models.manifest import Manifest

POOLED = "refit_pooled"
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A class activation head: the tensor it looks at (batch, C, rows, columns), its weights (O, C) and biases (O,)."""

    features: str
    weights: Floats
    bias: Floats


def head_of(model: onnx.ModelProto, manifest: Manifest) -> Head:
    """Return the head of a graph. Raises BrokenModel where the map is not a 1x1 convolution with weights of the graph."""
    map_name = manifest.graph.outputs["map"]
    node = next((one for one in model.graph.node if map_name in one.output), None)
    held = {one.name: one for one in model.graph.initializer}
    if node is None or node.op_type != "Conv" or node.input[1] not in held:
        raise BrokenModel(f"{manifest.id}: a refit needs a map that is a 1x1 convolution of features, found another graph. "
                          "Give a --checkpoint, or release the model with such a head.")
    kernel = numpy_helper.to_array(held[node.input[1]]).astype(np.float64)
    if kernel.shape[2:] != (1, 1) or len(node.input) > 2:
        raise BrokenModel(f"{manifest.id}: the map must be a 1x1 convolution without a bias of its own, found {kernel.shape[2:]}.")
    bias = np.array([manifest.explains.bias[str(k)] for k in range(kernel.shape[0])], np.float64)
    return Head(node.input[0], kernel[:, :, 0, 0], bias)


def with_pooled(model: onnx.ModelProto, head: Head) -> onnx.ModelProto:
    """Return a copy that also gives the features' spatial mean, ``refit_pooled`` (batch, C)."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "refit_axes"))
    made.graph.node.append(helper.make_node("ReduceMean", [head.features, "refit_axes"], [POOLED], keepdims=0))
    made.graph.output.append(helper.make_tensor_value_info(POOLED, TensorProto.FLOAT, ["batch", head.weights.shape[1]]))
    return made


def with_head(model: onnx.ModelProto, manifest: Manifest, head: Head) -> onnx.ModelProto:
    """Return a copy whose map and logit are of other weights; whatever was made from the logit is made from the new one."""
    roles = manifest.graph.outputs
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    kept = [node for node in graph.node if not {roles["map"], roles["logit"]} & set(node.output)]
    weights = head.weights.astype(np.float32)[:, :, None, None]
    graph.initializer.extend([
        numpy_helper.from_array(weights, "refit_weights"), numpy_helper.from_array(head.bias.astype(np.float32)[None], "refit_bias"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "refit_axes"),
    ])
    new = [
        helper.make_node("Conv", [head.features, "refit_weights"], [roles["map"]], kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", [roles["map"], "refit_axes"], ["refit_mean"], keepdims=0),
        helper.make_node("Add", ["refit_mean", "refit_bias"], [roles["logit"]]),
    ]
    del graph.node[:]
    graph.node.extend(_sorted([*kept, *new], graph))
    return _without_leftovers(made)


def with_slopes(model: onnx.ModelProto, slopes: Floats, bias: Floats) -> onnx.ModelProto:
    """Return a copy whose term t gives ``slopes[t]`` times what it gave, with the biases (O,) of its outputs."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    trees = next((node for node in made.graph.node if node.op_type == "TreeEnsembleRegressor"), None)
    held = next((one for one in made.graph.initializer if one.name == "bias"), None)
    if trees is None or held is None:
        raise BrokenModel("A graph of tables needs a TreeEnsembleRegressor and a bias, found another.")
    told = {one.name: one for one in trees.attribute}
    whose = np.array(told["target_ids"].ints)
    leaves = told["target_weights"]
    scaled = (np.array(leaves.floats, np.float32) * slopes[whose].astype(np.float32)).tolist()
    del leaves.floats[:]
    leaves.floats.extend(scaled)
    old = numpy_helper.to_array(held)
    held.CopyFrom(numpy_helper.from_array(bias.astype(np.float32).reshape(old.shape), "bias"))
    return made


def runner(model: onnx.ModelProto) -> Callable[[list[str], NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Return what runs a graph of one input: names of outputs and a batch → their arrays."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda names, batch: session.run(names, {name: batch})


def _sorted(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return nodes so that each comes after what it needs, as ONNX asks for."""
    known = {one.name for one in (*graph.initializer, *graph.input)} | {""}
    done: list[onnx.NodeProto] = []
    waiting = list(nodes)
    while waiting:
        ready = [node for node in waiting if known.issuperset(node.input)]
        if not ready:
            raise BrokenModel("A graph must have no circle, found one after its head was changed.")
        done += ready
        known.update(name for node in ready for name in node.output)
        waiting = [node for node in waiting if not any(node is one for one in ready)]
    return done


def _without_leftovers(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove nodes and weights that no output needs any more."""
    graph = model.graph
    needed = {one.name for one in graph.output}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed.update(node.input)
    weights = [one for one in graph.initializer if one.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
    del graph.value_info[:]
    return model
