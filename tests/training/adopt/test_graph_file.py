"""Graphs that others sent: hostile and unusual files are refused with the cause, before anything is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from models.errors import BrokenModel
from tests.training.adopt.make_classifiers import SIZE, graph_of, plain_graph, saved
from training.adopt.graph_file import class_output, image_input, read_graph


def test_a_sound_graph_is_read(tmp_path: Path) -> None:
    model = read_graph(saved(plain_graph(), tmp_path))
    assert image_input(model, "g").name == "image"
    assert class_output(model, "", "g").name == "classes"


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "beside.bin"])
def test_weights_in_another_file_are_refused(tmp_path: Path, place: str) -> None:
    model = plain_graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value=place))
    with pytest.raises(BrokenModel, match="kept in another file"):
        read_graph(saved(model, tmp_path))


def test_an_operator_outside_the_standard_is_named(tmp_path: Path) -> None:
    own = helper.make_node("Secret", ["pooled"], ["classes"], domain="com.example")
    model = plain_graph([own], domains=("com.example",))
    with pytest.raises(BrokenModel, match=r"found com\.example\.Secret"):
        read_graph(saved(model, tmp_path))


def test_an_operator_inside_a_branch_is_found_too(tmp_path: Path) -> None:
    inner = helper.make_graph([helper.make_node("Secret", ["pooled"], ["x"], domain="com.example")], "inner", [],
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    branch = helper.make_node("If", ["yes"], ["classes"], then_branch=inner, else_branch=inner)
    model = plain_graph([branch], domains=("com.example",))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    with pytest.raises(BrokenModel, match=r"com\.example\.Secret"):
        read_graph(saved(model, tmp_path))


@pytest.mark.parametrize("opset", [6, 99])
def test_an_opset_that_is_not_known_is_refused(tmp_path: Path, opset: int) -> None:
    with pytest.raises(BrokenModel, match=rf"found {opset}\. Export it again"):
        read_graph(saved(plain_graph(opset=opset), tmp_path))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    model = plain_graph()
    bias = next(one for one in model.graph.initializer if one.name == "bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([0, value, 0]), "bias"))
    with pytest.raises(BrokenModel, match="NaN or infinity in bias"):
        read_graph(saved(model, tmp_path))


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not a graph at all", plain_graph().SerializeToString()[:-40]])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(content)
    with pytest.raises(BrokenModel, match=r"g\.onnx"):
        read_graph(path)


def test_an_input_in_half_precision_is_refused() -> None:
    model = graph_of([helper.make_node("Identity", ["image"], ["classes"])], {}, kind=TensorProto.FLOAT16)
    with pytest.raises(BrokenModel, match="must be float32, found float16"):
        image_input(model, "g")


def test_two_images_at_once_and_other_shapes_are_refused() -> None:
    model = plain_graph()
    model.graph.input.append(helper.make_tensor_value_info("second", TensorProto.FLOAT, ["n", 1, SIZE, SIZE]))
    with pytest.raises(BrokenModel, match=r"found 2 inputs \(image, second\)"):
        image_input(model, "g")
    with pytest.raises(BrokenModel, match="must have four axes"):
        image_input(graph_of([helper.make_node("Identity", ["image"], ["classes"])], {}, shape=("n", 12)), "g")


def test_which_output_holds_the_classes_must_be_told_when_there_are_several() -> None:
    model = plain_graph()
    model.graph.output.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, None))
    with pytest.raises(BrokenModel, match=r"It has classes, features.*head\.output"):
        class_output(model, "", "g")
    with pytest.raises(BrokenModel, match="no output 'other'"):
        class_output(model, "other", "g")
