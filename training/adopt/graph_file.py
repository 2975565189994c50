"""Read an ONNX file that somebody sent, and say what it is: one image in, plain operators, finite weights, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from models.errors import BrokenModel
from models.onnx_file import check_self_contained

OLDEST_OPSET = 9  # before it, shapes and broadcasting were said in other ways
STANDARD = ("", "ai.onnx")
Runner = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]


def read_graph(path: Path) -> ModelProto:
    """Return the graph of a file that is sound. Raises BrokenModel, naming the cause, unless all of this holds:

    - the file is a whole ONNX model and keeps no weights in other files;
    - its operators are those of the standard, of an opset that is known here; local functions are written out;
    - its weights are finite;
    - onnx's own checker finds nothing wrong.
    """
    if not path.is_file():
        raise BrokenModel(f"{path.name}: the graph must exist, found none.")
    check_self_contained(path, release=path.name)
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises its own classes
        raise BrokenModel(f"{path.name}: must be a whole ONNX model; it could not be read.") from error
    check_opset(model, path.name)
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    check_operators(model, path.name)
    check_weights(model, path.name)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker's ValidationError, the shape inference's InferenceError, protobuf's
        raise BrokenModel(f"{path.name}: the graph must pass onnx.checker; it says: {str(error).splitlines()[0][:200]}") from error
    return model


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators a graph is written in."""
    return max((one.version for one in model.opset_import if one.domain in STANDARD), default=0)


def check_opset(model: ModelProto, file: str) -> None:
    """Raise BrokenModel for operators that are older or newer than what is known here."""
    newest, found = onnx.defs.onnx_opset_version(), opset_of(model)
    if not OLDEST_OPSET <= found <= newest:
        raise BrokenModel(f"{file}: the opset must be {OLDEST_OPSET} to {newest}, found {found}. "
                          f"Export it again with opset_version=17, or convert it with onnx.version_converter.")


def check_operators(model: ModelProto, file: str) -> None:
    """Raise BrokenModel naming the first operator that is not of the standard: what it does, no other machine could say."""
    for node in nodes_of(model.graph):
        if node.domain not in STANDARD:
            raise BrokenModel(f"{file}: operators must be those of the ONNX standard, found {node.domain}.{node.op_type} "
                              f"({node.name or node.output[0]}). Export it without runtime extensions.")


def check_weights(model: ModelProto, file: str) -> None:
    """Raise BrokenModel when any weight is NaN or infinite. A single infinity may be the open end of a Clip."""
    for name, array in constants_of(model.graph).items():
        if np.issubdtype(array.dtype, np.floating) and (np.isnan(array).any() or (array.size > 1 and np.isinf(array).any())):
            raise BrokenModel(f"{file}: weights must be finite, found NaN or infinity in {name}. "
                              "The file is damaged or the training diverged; ask for another.")


def nodes_of(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield every node, those of graphs inside nodes as well."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else [*attribute.graphs]):
                yield from nodes_of(inner)


def constants_of(graph: GraphProto) -> dict[str, NDArray[np.generic]]:
    """Return every initializer and Constant of a graph by the name of its value."""
    found = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                value = onnx.helper.get_attribute_value(attribute)
                if isinstance(value, TensorProto):
                    found[node.output[0]] = numpy_helper.to_array(value)
                elif attribute.name.startswith("value_") and "string" not in attribute.name:
                    found[node.output[0]] = np.asarray(value)
    return found


def image_input(model: ModelProto, file: str) -> ValueInfoProto:
    """Return the one input that is an image: float32 of four axes. Raises BrokenModel otherwise."""
    kept = {one.name for one in model.graph.initializer}
    real = [one for one in model.graph.input if one.name not in kept]  # older files list their weights as inputs
    if len(real) != 1:
        raise BrokenModel(f"{file}: the graph must take one image, found {len(real)} inputs ({', '.join(o.name for o in real)}).")
    tensor = real[0].type.tensor_type
    if tensor.elem_type != TensorProto.FLOAT:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise BrokenModel(f"{file}: the input {real[0].name!r} must be float32, found {kind}. Export it in float32; "
                          "faster precisions pass a gate of their own afterwards.")
    if len(tensor.shape.dim) != 4:
        raise BrokenModel(f"{file}: the input {real[0].name!r} must have four axes (batch, channels, rows, columns), "
                          f"found {len(tensor.shape.dim)}.")
    return real[0]


def class_output(model: ModelProto, name: str, file: str) -> ValueInfoProto:
    """Return the output that holds the classes: the one named, or the only one. Raises BrokenModel otherwise."""
    outputs = {one.name: one for one in model.graph.output}
    if name and name not in outputs:
        raise BrokenModel(f"{file}: the graph has no output {name!r}; it has {', '.join(outputs)}.")
    if not name and len(outputs) != 1:
        raise BrokenModel(f"{file}: which output holds the classes? It has {', '.join(outputs)}. Say so with head.output "
                          "in the description.")
    return outputs[name] if name else next(iter(outputs.values()))


def run_graph(
    model: ModelProto, batch: NDArray[np.float32], file: str, names: list[str] | None = None
) -> dict[str, NDArray[np.float32]]:
    """Run a graph once on the reference runtime and return its outputs by name. Raises BrokenModel as ``open_graph`` does."""
    return open_graph(model, file, names)(batch)


def open_graph(model: ModelProto, file: str, names: list[str] | None = None) -> Runner:
    """Open a graph on the reference runtime: what it returns runs batches and gives outputs by name.

    Raises BrokenModel saying what the runtime stumbled over, on opening and on running.
    """
    import onnxruntime  # noqa: PLC0415  the referee of an adoption, not the serving path (models/session.py)

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises unrelated classes
        raise BrokenModel(f"{file}: onnxruntime cannot open the graph: {_brief(error)}") from error
    entry, wanted = session.get_inputs()[0].name, names or [one.name for one in session.get_outputs()]

    def run(batch: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        try:
            return dict(zip(wanted, session.run(wanted, {entry: batch}), strict=True))
        except Exception as error:
            raise BrokenModel(f"{file}: the graph must run on {batch.shape} float32 numbers; onnxruntime says: "
                              f"{_brief(error)}") from error

    return run


def _brief(error: Exception) -> str:
    return str(error).splitlines()[0][:240] if str(error) else type(error).__name__
