"""Find the head of a classifier in its graph: global average pooling, then nothing but sums of products.

Where this holds, logit_k = bias_k + mean over places of (weights_k · features), so the 1x1 convolution of the features
before pooling is a map whose mean and bias are the logit exactly (Zhou 2016, doi:10.1109/CVPR.2016.319). Where it does
not hold no such map exists, and the node at which the search broke off is named with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto
from onnx.reference import ReferenceEvaluator

from models.errors import BrokenModel
from training.adopt.graph_file import constants_of

Weights = NDArray[np.float64]
ACTIVATIONS = {"Sigmoid": "sigmoid", "Softmax": "softmax"}
MOVES = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Transpose"})  # no number changes
BROKEN_BY = {
    "LayerNormalization": "it divides the pooled features by their own spread, so no sum over places gives the logit",
    "LpNormalization": "it divides the pooled features by their own length, so no sum over places gives the logit",
    "GlobalMaxPool": "the largest value of a map is no sum over places", "ReduceMax": "the largest value is no sum over places",
    "MaxPool": "the largest value is no sum over places",
    "Conv": "the features are not pooled to one value a channel before it",
    "Concat": "several branches come together after pooling", "Gather": "one token is picked out instead of a mean of all places",
    "Slice": "a part of the features is picked out instead of a mean of all places",
}
HIDDEN = "it bends the pooled features: a hidden layer between pooling and the classes"
BENDS = frozenset({"Relu", "LeakyRelu", "Clip", "HardSwish", "HardSigmoid", "Gelu", "Elu", "Selu", "Tanh", "PRelu", "Mish", "Erf",
                   "Sigmoid", "Softmax", "Exp", "Pow", "Softplus"})


@dataclass(frozen=True)
class Head:
    """``logits = pooled @ weights + bias``: weights (channels, classes), bias (classes,), both float64.

    ``features`` is the value before pooling, ``layout`` its axes; ``logits`` the value they make; ``activation`` what the
    graph does with it before its output: sigmoid, softmax or none.
    """

    features: str
    layout: str  # NCHW or NHWC
    logits: str
    activation: str
    weights: Weights
    bias: Weights


@dataclass
class _Linear:
    """A growing product: x @ a + c. ``a`` is None while it is the identity of unknown size."""

    a: Weights | None = None
    c: Weights | None = None

    def times(self, matrix: Weights) -> None:
        self.a = matrix if self.a is None else self.a @ matrix
        self.c = np.zeros(matrix.shape[1]) if self.c is None else self.c @ matrix

    def scale(self, factor: Weights) -> None:
        size = factor.size if self.a is None else self.a.shape[1]
        spread = np.broadcast_to(factor.ravel(), size).astype(np.float64)
        self.a = np.diag(spread) if self.a is None else self.a * spread
        self.c = np.zeros(size) if self.c is None else self.c * spread

    def shift(self, by: Weights) -> None:
        if self.a is None:
            self.scale(np.ones(by.size))
        self.c = self.c + np.broadcast_to(by.ravel(), self.c.shape) if self.c is not None else by.ravel().astype(np.float64)


class _Reader:
    """A graph, by what makes each value; constants are computed when asked for."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self.made_by = {name: node for node in model.graph.node for name in node.output}
        self.known = constants_of(model.graph)
        self.image = self._from_image()

    def _from_image(self) -> set[str]:
        """Return the names of all values that depend on an input; nodes stand in the order they are computed in."""
        found = {one.name for one in self.model.graph.input if one.name not in self.known}
        for node in self.model.graph.node:
            if found.intersection(node.input) or any(one.HasField("g") or one.graphs for one in node.attribute):
                found.update(node.output)
        return found

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value of what depends on no input, else None."""
        if name in self.known:
            return self.known[name]
        node = None if name in self.image else self.made_by.get(name)
        if node is None or not node.input:
            return None
        given = {one: self.constant(one) for one in node.input if one}
        if any(value is None for value in given.values()):
            return None
        values = ReferenceEvaluator(node, opsets=_opsets(self.model)).run(None, given)
        self.known.update(zip(node.output, values, strict=True))
        return self.known[name]

    def moving(self, node: NodeProto) -> list[str]:
        """Return the inputs of a node that depend on the image."""
        return [name for name in node.input if name and self.constant(name) is None]

    def attribute(self, node: NodeProto, name: str, default: object) -> object:
        found = next((one for one in node.attribute if one.name == name), None)
        return default if found is None else onnx.helper.get_attribute_value(found)


def find_head(model: ModelProto, output: str, channels_of: Callable[[str], tuple[int, ...]], file: str) -> Head:
    """Return the head that makes ``output``. ``channels_of`` gives the shape (batch, …) of a value by name, from a run.

    Raises BrokenModel naming the node at which the search broke off, and why.
    """
    reader = _Reader(model)
    node, activation, name = reader.made_by.get(output), "none", output
    while node is not None and node.op_type in ("Identity", "Cast"):
        name, node = node.input[0], reader.made_by.get(node.input[0])
    if node is not None and node.op_type in ACTIVATIONS:
        activation, name = ACTIVATIONS[node.op_type], node.input[0]
    logits, chain = name, list[NodeProto]()
    while True:
        node = reader.made_by.get(name)
        if node is None:
            raise BrokenModel(f"{file}: no heat map can be added: from {output!r} back to the input there is no global average "
                              "pooling. Diaphane serves no score without an exact explanation.")
        if _pools(reader, node, channels_of):
            break
        moving = reader.moving(node)
        reason = _why_not(node, moving)
        if reason:
            raise BrokenModel(
                f"{file}: no heat map can be added that sums to the score. From the classes backwards the search broke off at "
                f"{node.name or node.output[0]!r} ({node.op_type}): {reason}. Diaphane serves no score without an exact "
                "explanation; use an architecture that ends in global average pooling and one linear layer."
            )
        chain.append(node)
        name = moving[0]
    layout = "NCHW" if _spatial(reader, node, channels_of(node.input[0])) == (2, 3) else "NHWC"
    channels = channels_of(node.input[0])[1 if layout == "NCHW" else 3]
    linear = _Linear(np.eye(channels), np.zeros(channels))
    for one in reversed(chain):
        _follow(reader, one, linear, file)
    assert linear.a is not None
    assert linear.c is not None
    return Head(node.input[0], layout, logits, activation, linear.a, linear.c)


def _why_not(node: NodeProto, moving: list[str]) -> str:
    """Return why a node after pooling cannot be part of a linear head; empty when it can."""
    linear = ("Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "BatchNormalization", "Cast")
    if node.op_type in BENDS:
        return HIDDEN
    if node.op_type not in (*MOVES, *linear, "Conv"):
        return BROKEN_BY.get(node.op_type, "it is no sum of products of the pooled features")
    if len(moving) != 1 or (node.op_type == "Div" and moving[0] != node.input[0]):
        return "two values that depend on the image come together"
    return ""


def _pools(reader: _Reader, node: NodeProto, shape_of: Callable[[str], tuple[int, ...]]) -> bool:
    if node.op_type not in ("GlobalAveragePool", "ReduceMean", "AveragePool"):
        return False
    return _spatial(reader, node, shape_of(node.input[0])) is not None


def _spatial(reader: _Reader, node: NodeProto, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the two axes a node takes the whole mean of, or None."""
    if len(shape) != 4:
        return None
    if node.op_type == "GlobalAveragePool":
        return 2, 3
    if node.op_type == "AveragePool":
        whole = tuple(reader.attribute(node, "kernel_shape", ())) == shape[2:]  # type: ignore[arg-type]
        return (2, 3) if whole and not any(reader.attribute(node, "pads", ())) else None  # type: ignore[arg-type]
    told = reader.attribute(node, "axes", None)
    axes = reader.constant(node.input[1]) if told is None and len(node.input) > 1 and node.input[1] else told
    found = tuple(sorted(int(axis) % 4 for axis in np.ravel(axes))) if axes is not None else ()  # type: ignore[arg-type]
    return found if found in ((2, 3), (1, 2)) else None


def _follow(reader: _Reader, node: NodeProto, linear: _Linear, file: str) -> None:
    """Take one node of the head into the product."""
    kept = [np.asarray(reader.constant(name), np.float64) for name in node.input if name and reader.constant(name) is not None]
    first = bool(reader.moving(node)) and reader.moving(node)[0] == node.input[0]
    try:
        if node.op_type == "Gemm":
            matrix = kept[0].T if reader.attribute(node, "transB", 0) else kept[0]
            linear.times(matrix * float(reader.attribute(node, "alpha", 1.0)))  # type: ignore[arg-type]
            if len(kept) > 1:
                linear.shift(kept[1] * float(reader.attribute(node, "beta", 1.0)))  # type: ignore[arg-type]
        elif node.op_type == "MatMul" and first:
            linear.times(kept[0])
        elif node.op_type == "Conv" and kept[0].shape[2:] == (1, 1) and reader.attribute(node, "group", 1) == 1:
            linear.times(kept[0][:, :, 0, 0].T)
            if len(kept) > 1:
                linear.shift(kept[1])
        elif node.op_type == "BatchNormalization":
            gain, shift, mean, variance = kept
            factor = gain / np.sqrt(variance + float(reader.attribute(node, "epsilon", 1e-5)))  # type: ignore[arg-type]
            linear.scale(factor)
            linear.shift(shift - mean * factor)
        elif node.op_type in ("Add", "Sub", "Mul", "Div"):
            _elementwise(node.op_type, kept[0], linear, first=first)
        elif node.op_type not in MOVES and node.op_type != "Cast":
            raise ValueError("it is used in a way that is no plain product of the pooled features")
    except ValueError as error:
        raise BrokenModel(f"{file}: no heat map can be added: the search broke off at {node.name or node.output[0]!r} "
                          f"({node.op_type}): {error}.") from error


def _elementwise(kind: str, value: Weights, linear: _Linear, *, first: bool) -> None:
    """x + v, x - v, v - x, x * v, x / v, for one value or one a class. ``first``: the image's value stands first."""
    if kind == "Mul":
        linear.scale(value)
    elif kind == "Div":
        linear.scale(1 / value)
    elif kind == "Add":
        linear.shift(value)
    else:
        linear.scale(np.asarray(1.0 if first else -1.0))
        linear.shift(-value if first else value)


def _opsets(model: ModelProto) -> dict[str, int]:
    return {one.domain: one.version for one in model.opset_import}
