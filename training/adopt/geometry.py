"""Where the cells of a map lie on the input by the kernels, strides and paddings of the graph alone.

Of every convolution and pooling, cell r looks at the pixels around r * stride + (kernel - 1) / 2 - padding of what it is given
(Araujo 2019, doi:10.23915/distill.00021). What was learnt may look to one side; a measurement with a phantom sees that too.
"""

from __future__ import annotations

import onnx
from onnx import ModelProto, NodeProto

SLIDING = ("Conv", "MaxPool", "AveragePool")
IN_PLACE = frozenset({"Relu", "Clip", "Sigmoid", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Gelu", "Tanh", "Erf", "Softplus",
                      "BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "Add", "Mul", "Sub",
                      "Div", "Concat", "Identity", "Dropout", "Cast", "PRelu", "Pow", "Sqrt"})
Place = tuple[float, float]  # rows, columns


def centre_of(model: ModelProto, features: str) -> Place | None:
    """Return the pixel (row, column) at the centre of what cell (0, 0) of ``features`` sees; None where no rule says so.

    ``features`` and all values before it have their rows and columns on axes 2 and 3.
    """
    made = {name for node in model.graph.node for name in node.output}
    sizes = {one.name: tuple(one.dims[2:]) for one in model.graph.initializer}
    known: dict[str, tuple[Place, Place] | None] = {one.name: ((1.0, 1.0), (0.0, 0.0)) for one in model.graph.input}
    known |= {one.name: None for one in model.graph.initializer}
    for node in model.graph.node:  # nodes stand in the order they are computed in
        given = next((found for name in node.input if (found := known.get(name)) is not None), None)
        for name in node.output:
            known[name] = _through(node, given, sizes) if given else None
    found = known.get(features)
    return found[1] if found and features in made else None


def _through(node: NodeProto, given: tuple[Place, Place], sizes: dict[str, tuple[int, ...]]) -> tuple[Place, Place] | None:
    """Return the step between cells, and the centre of the first, behind a node; None when a node moves places about."""
    if node.op_type in IN_PLACE:
        return given
    if node.op_type not in SLIDING:
        return None
    told = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    kernel = told.get("kernel_shape") or next((sizes[name] for name in node.input[1:] if name in sizes), ())
    auto = told.get("auto_pad", b"NOTSET")
    if len(kernel) != 2 or auto not in (b"NOTSET", b"VALID"):
        return None
    strides, pads, spread = told.get("strides", (1, 1)), told.get("pads", (0, 0, 0, 0)), told.get("dilations", (1, 1))
    step, centre = given
    moved = [centre[axis] + ((kernel[axis] - 1) * spread[axis] / 2 - pads[axis]) * step[axis] for axis in (0, 1)]
    return (step[0] * strides[0], step[1] * strides[1]), (moved[0], moved[1])
