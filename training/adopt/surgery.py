"""Put onto a classifier's graph what Diaphane asks of one: display values in; probability, logit and an exact map out.

Nothing between the old input and the old classes is touched, so the scores stay those of whoever trained it. The map is
new: the 1x1 convolution of the features before pooling with the head's own weights (training/adopt/head.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.errors import BrokenModel
from training.adopt.graph_file import class_output, image_input, run_graph
from training.adopt.head import Head, find_head

MARK = "diaphane_"  # before every name that is added: no graph has them already
INPUT = f"{MARK}pixels"
ROLES = {role: f"{MARK}{role}" for role in ("probability", "logit", "map")}
COMPLETE = 1e-4  # largest |bias + mean(map) - logit| / (1 + |logit|)


@dataclass(frozen=True)
class Front:
    """How display values 0-255 become what a graph was trained on: value * scale + shift, one pair a channel.

    A single pair is for a grey image; three pairs make three channels of it, as colour networks want.
    """

    rows: int
    columns: int
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def __call__(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Turn (n, 1, rows, columns), 0-255, into (n, channels, rows, columns)."""
        shape = (1, -1, 1, 1)
        scale, shift = np.float32(self.scale).reshape(shape), np.float32(self.shift).reshape(shape)
        return np.asarray(pixels * scale + shift, np.float32)


@dataclass(frozen=True)
class Grafted:
    """The new graph, the bias of each logit, the map's (rows, columns), and what was seen on the trial.

    ``completeness`` is the largest error of the sum, ``moved`` the largest change of a logit against the graph as it came,
    both divided by 1 + |logit|.
    """

    model: ModelProto
    bias: NDArray[np.float64]
    cells: tuple[int, int]
    completeness: float
    moved: float
    head: Head


def graft(model: ModelProto, front: Front, trial: NDArray[np.float32], file: str, *, output: str = "",
          activation: str = "", operating_points: tuple[float, ...] = ()) -> Grafted:
    """Return the graph with Diaphane's input and outputs. ``trial`` is (n, 1, rows, columns), 0-255, n at least 2.

    ``activation``: sigmoid (each class on its own) or softmax (one of the classes), where the graph itself ends before it.
    Of softmax, the logit is the class's score less the mean of all; of two classes, less the other: its log-odds.
    ``operating_points``: one a class, to stretch probabilities piecewise so that each point becomes 0.5 (op_norm of
    TorchXRayVision); none: the probabilities as they are.

    Raises BrokenModel when the input does not fit, the head allows no exact map, or the map does not sum to the logits.
    """
    entry, classes = image_input(model, file), class_output(model, output, file)
    layout = _fix_input(entry, front, file)
    shapes = _shapes_of(model, _as_layout(front(trial), layout), file)
    head = find_head(model, classes.name, shapes, file)
    kind = _activation(head, activation, file)
    if kind == "softmax" and head.bias.size < 2:
        raise BrokenModel(f"{file}: softmax needs at least two classes, found one. Say activation = \"sigmoid\".")
    if operating_points and len(operating_points) != head.bias.size:
        raise BrokenModel(f"{file}: head.operating_points needs one number a class, {head.bias.size}, found {len(operating_points)}.")
    centred = contrast(head.bias.size) if kind == "softmax" else np.eye(head.bias.size)
    weights, bias = head.weights @ centred, head.bias @ centred

    made = ModelProto()
    made.CopyFrom(model)
    _put_front(made, entry.name, front, layout)
    _put_outputs(made, head, classes.name, weights, centred, kind, operating_points)
    _tidy(made, file)
    found = run_graph(made, trial, file)
    maps, logits = found[ROLES["map"]], found[ROLES["logit"]]
    gap = maps.mean(axis=(2, 3), dtype=np.float64) + bias - logits
    error = float((np.abs(gap) / (1 + np.abs(logits))).max())
    if not error <= COMPLETE:
        raise BrokenModel(f"{file}: the map must sum to the score within {COMPLETE:.0e}, found {error:.1e}. What lies between "
                          f"{head.features!r} and {head.logits!r} is not what it seems; no exact map can be given.")
    moved = _moved(model, found[ROLES["logit"]], _as_layout(front(trial), layout), head, centred, file)
    return Grafted(made, bias, (maps.shape[2], maps.shape[3]), error, moved, head)


def contrast(classes: int) -> NDArray[np.float64]:
    """Return (classes, classes): what turns scores under a softmax into logits that a constant added to all leaves alone.

    Two classes: each less the other, the log-odds. More: each less the mean of all.
    """
    return np.array([[1.0, -1.0], [-1.0, 1.0]]) if classes == 2 else np.eye(classes) - 1 / classes


def _fix_input(entry: onnx.ValueInfoProto, front: Front, file: str) -> str:
    """Check that the graph takes images of this size and so many channels, and return the order of its axes."""
    dims = [dim.dim_value if dim.HasField("dim_value") else None for dim in entry.type.tensor_type.shape.dim]
    channels = len(front.scale)
    for layout, (c, y, x) in (("NCHW", (1, 2, 3)), ("NHWC", (3, 1, 2))):
        wanted = {c: channels, y: front.rows, x: front.columns}
        if all(dims[axis] in (None, size) for axis, size in wanted.items()) and (layout == "NCHW" or dims[c] is not None):
            for axis, size in wanted.items():
                entry.type.tensor_type.shape.dim[axis].dim_value = size
            entry.type.tensor_type.shape.dim[0].dim_param = "batch"
            return layout
    shown = " x ".join("any" if size is None else str(size) for size in dims)
    raise BrokenModel(f"{file}: the graph takes {shown}, the description says {channels} channels of {front.rows} x "
                      f"{front.columns}. Correct [input] in the description.")


def _as_layout(batch: NDArray[np.float32], layout: str) -> NDArray[np.float32]:
    return np.ascontiguousarray(batch.transpose(0, 2, 3, 1)) if layout == "NHWC" else batch


class _Shapes:
    """The shape of any value of a graph, from a run on a trial batch."""

    def __init__(self, model: ModelProto, batch: NDArray[np.float32], file: str) -> None:
        self.model, self.batch, self.file = model, batch, file

    def __call__(self, name: str) -> tuple[int, ...]:
        looked = ModelProto()
        looked.CopyFrom(self.model)
        _clear_shapes(looked)
        looked.graph.output.append(helper.make_empty_tensor_value_info(name))
        return run_graph(looked, self.batch, self.file, [name])[name].shape


def _shapes_of(model: ModelProto, batch: NDArray[np.float32], file: str) -> _Shapes:
    """Check that the graph takes any number of images and that its scores are finite, then look at shapes."""
    looked = ModelProto()
    looked.CopyFrom(model)
    _clear_shapes(looked)
    try:
        many = run_graph(looked, batch, file)
    except BrokenModel as error:
        one = run_graph(looked, batch[:1], file)  # raises too when the batch is not the cause
        raise BrokenModel(f"{file}: the graph must take any number of images at once, it takes {len(next(iter(one.values())))} "
                          "only. Export it again with a dynamic batch axis.") from error
    one = run_graph(looked, batch[:1], file)
    for name, values in many.items():
        if not np.isfinite(values).all():
            raise BrokenModel(f"{file}: scores must be finite, found NaN or infinity in {name!r} on an ordinary image. "
                              "Check the normalisation in the description, and the weights.")
        if values.shape[:1] != (len(batch),) or not np.allclose(values[:1], one[name], rtol=1e-3, atol=1e-4):
            raise BrokenModel(f"{file}: an image must score the same alone and among others, {name!r} does not. "
                              "Export the graph in evaluation mode with a dynamic batch axis.")
    return _Shapes(model, batch, file)


def _activation(head: Head, told: str, file: str) -> str:
    if head.activation != "none":
        if told and told != head.activation:
            raise BrokenModel(f"{file}: the description says {told}, the graph ends in {head.activation}. Correct the description.")
        return head.activation
    if told not in ("sigmoid", "softmax"):
        raise BrokenModel(f"{file}: the graph ends in scores without sigmoid or softmax. Say head.activation in the description: "
                          "sigmoid when each finding stands on its own, softmax when the classes exclude each other.")
    return told


def _put_front(model: ModelProto, name: str, front: Front, layout: str) -> None:
    """Let the graph take one grey channel of display values."""
    graph, size = model.graph, (1, len(front.scale), 1, 1)
    added = [
        _kept(graph, "scale", np.float32(front.scale).reshape(size)), _kept(graph, "shift", np.float32(front.shift).reshape(size)),
    ]
    last = f"{MARK}channels" if layout == "NHWC" else name
    nodes = [_node("Mul", [INPUT, added[0]], f"{MARK}scaled"), _node("Add", [f"{MARK}scaled", added[1]], last)]
    if layout == "NHWC":
        nodes.append(_node("Transpose", [last], name, perm=[0, 2, 3, 1]))
    kept = {one.name for one in graph.initializer}
    others = [one for one in graph.input if one.name != name and one.name not in kept]
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", 1, front.rows, front.columns]), *others])


def _put_outputs(model: ModelProto, head: Head, classes: str, weights: NDArray[np.float64], centred: NDArray[np.float64],
                 kind: str, points: tuple[float, ...]) -> None:
    """Add the map beside the classes, and name what the graph gives. What it gave before is dropped."""
    graph, count = model.graph, weights.shape[1]
    features = head.features
    if head.layout == "NHWC":
        features = f"{MARK}features"
        graph.node.append(_node("Transpose", [head.features], features, perm=[0, 3, 1, 2]))
    kernel = _kept(graph, "kernel", np.float32(weights.T)[:, :, None, None])
    graph.node.append(_node("Conv", [features, kernel], ROLES["map"], kernel_shape=[1, 1]))
    flat = f"{MARK}flat"
    graph.node.append(_node("Flatten", [head.logits], flat, axis=1))  # some heads keep two axes of one
    if kind == "softmax":
        matrix = _kept(graph, "contrast", np.float32(centred))
        graph.node.append(_node("MatMul", [flat, matrix], ROLES["logit"]))
    else:
        graph.node.append(_node("Identity", [flat], ROLES["logit"]))
    chance = f"{MARK}chance" if points else ROLES["probability"]
    if head.activation != "none":
        graph.node.append(_node("Flatten", [classes], chance, axis=1))
    else:
        graph.node.append(_node("Softmax", [flat], chance, axis=1) if kind == "softmax" else _node("Sigmoid", [flat], chance))
    if points:
        _stretch(graph, chance, np.float32(points))
    del graph.output[:]
    for role, dims in (("probability", [count]), ("logit", [count]), ("map", [count, f"{MARK}rows", f"{MARK}columns"])):
        graph.output.append(helper.make_tensor_value_info(ROLES[role], TensorProto.FLOAT, ["batch", *dims]))


def _stretch(graph: onnx.GraphProto, chance: str, points: NDArray[np.float32]) -> None:
    """p / 2t below the operating point t, 1 - (1 - p) / 2(1 - t) from it on: t becomes 0.5."""
    row = points[None]
    below, above = _kept(graph, "below", 1 / (2 * row)), _kept(graph, "above", 1 / (2 * (1 - row)))
    one, point = _kept(graph, "one", np.float32(1)), _kept(graph, "point", row)
    graph.node.extend([
        _node("Mul", [chance, below], f"{MARK}low"), _node("Sub", [one, chance], f"{MARK}rest"),
        _node("Mul", [f"{MARK}rest", above], f"{MARK}part"), _node("Sub", [one, f"{MARK}part"], f"{MARK}high"),
        _node("Less", [chance, point], f"{MARK}is_low"),
        _node("Where", [f"{MARK}is_low", f"{MARK}low", f"{MARK}high"], ROLES["probability"]),
    ])


def _moved(model: ModelProto, logits: NDArray[np.float32], batch: NDArray[np.float32], head: Head,
           centred: NDArray[np.float64], file: str) -> float:
    """Return how far the logits moved from those of the graph as it came. Raises BrokenModel when they did."""
    before = ModelProto()
    before.CopyFrom(model)
    _clear_shapes(before)
    before.graph.output.append(helper.make_empty_tensor_value_info(head.logits))
    kept = run_graph(before, batch, file, [head.logits])[head.logits].reshape(len(batch), -1) @ centred
    moved = float((np.abs(kept - logits) / (1 + np.abs(kept))).max())
    if not moved <= COMPLETE:
        raise BrokenModel(f"{file}: the scores must stay as they were within {COMPLETE:.0e}, they moved by {moved:.1e}.")
    return moved


def _tidy(model: ModelProto, file: str) -> None:
    """Forget shapes of the old batch, keep standard operators alone, and let onnx check the whole."""
    _clear_shapes(model)
    model.producer_name, model.doc_string, model.graph.doc_string = "diaphane", "", ""
    del model.metadata_props[:]
    for node in model.graph.node:  # exporters write where in whose program a node came from
        node.doc_string = ""
        del node.metadata_props[:]
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise BrokenModel(f"{file}: the graph with the map must pass onnx.checker; it says: "
                          f"{str(error).splitlines()[0][:200]}") from error


def _clear_shapes(model: ModelProto) -> None:
    del model.graph.value_info[:]
    for one in model.graph.output:
        if one.type.tensor_type.HasField("shape") and one.type.tensor_type.shape.dim:
            one.type.tensor_type.shape.dim[0].dim_param = "batch"


def _kept(graph: onnx.GraphProto, name: str, values: NDArray[np.float32]) -> str:
    graph.initializer.append(numpy_helper.from_array(np.asarray(values, np.float32), MARK + name))
    return MARK + name


def _node(kind: str, inputs: list[str], output: str, **attributes: object) -> NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"{output}/{kind}", **attributes)  # type: ignore[arg-type]
