"""The protobuf walk finds every place a tensor may hide in, and ends on anything."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from models import onnx_file
from models.errors import BrokenModel
from models.onnx_file import check_self_contained, fields_of


def external(name: str = "w") -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    return tensor


def graph(**parts: object) -> onnx.GraphProto:
    return onnx.GraphProto(name="g", **parts)


def in_initializer() -> onnx.ModelProto:
    return helper.make_model(graph(initializer=[external()]))


def in_constant() -> onnx.ModelProto:
    return helper.make_model(graph(node=[helper.make_node("Constant", [], ["c"], value=external())]))


def in_branch_of_branch() -> onnx.ModelProto:
    inner = helper.make_node("If", ["x"], ["y"], then_branch=graph(initializer=[external()]), else_branch=graph())
    outer = helper.make_node("If", ["x"], ["y"], then_branch=graph(node=[inner]), else_branch=graph())
    return helper.make_model(graph(node=[outer]))


def in_sparse() -> onnx.ModelProto:
    return helper.make_model(graph(sparse_initializer=[onnx.SparseTensorProto(values=external(), dims=[4])]))


def in_function() -> onnx.ModelProto:
    model = helper.make_model(graph())
    node = helper.make_node("Constant", [], ["c"], value=external())
    model.functions.append(helper.make_function("d", "f", [], ["c"], [node], [helper.make_opsetid("", 20)]))
    return model


def in_training() -> onnx.ModelProto:
    model = helper.make_model(graph())
    model.training_info.append(onnx.TrainingInfoProto(initialization=graph(initializer=[external()])))
    return model


def in_list_attribute() -> onnx.ModelProto:
    attribute = onnx.AttributeProto(name="all", type=onnx.AttributeProto.TENSORS, tensors=[external()])
    return helper.make_model(graph(node=[onnx.NodeProto(op_type="Any", attribute=[attribute])]))


@pytest.mark.parametrize(
    "build", [in_initializer, in_constant, in_branch_of_branch, in_sparse, in_function, in_training, in_list_attribute]
)
def test_external_tensor_is_found_wherever_it_hides(tmp_path: Path, build: Callable[[], onnx.ModelProto]) -> None:
    (tmp_path / "model.onnx").write_bytes(build().SerializeToString())
    with pytest.raises(BrokenModel, match="external data"):
        check_self_contained(tmp_path / "model.onnx", release="r")


def test_a_location_without_the_flag_is_still_external(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[0])
    tensor.external_data.add(key="location", value="weights.bin")
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph(initializer=[tensor])).SerializeToString())
    with pytest.raises(BrokenModel, match="external data"):
        check_self_contained(tmp_path / "model.onnx", release="r")


def test_a_graph_with_its_own_weights_passes(tmp_path: Path) -> None:
    own = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(graph(initializer=[own])).SerializeToString())
    check_self_contained(tmp_path / "model.onnx", release="r")


def test_graphs_inside_graphs_without_end_are_refused(tmp_path: Path) -> None:
    inner = graph()
    for _ in range(20):
        inner = graph(node=[helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=graph())])
    (tmp_path / "model.onnx").write_bytes(helper.make_model(inner).SerializeToString())
    with pytest.raises(BrokenModel, match="nests deeper than"):
        check_self_contained(tmp_path / "model.onnx", release="r")


def test_too_many_fields_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_FIELDS", 3)
    (tmp_path / "model.onnx").write_bytes(in_initializer().SerializeToString())
    with pytest.raises(BrokenModel, match="more than 3 fields"):
        check_self_contained(tmp_path / "model.onnx", release="r")


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 20, b"\x0a\xff\x01", b"\x02\x00", b"\x0b\x00", b"\x09\x00", b"\x3a\x02\x0a\x7f"]
)
def test_bytes_that_are_no_message_are_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(BrokenModel, match=r"model\.onnx"):
        check_self_contained(tmp_path / "model.onnx", release="r")


def test_fields_of_a_message_are_numbers_and_views() -> None:
    message = memoryview(onnx.TensorProto(name="ab", data_type=1, dims=[300], float_data=[1.0]).SerializeToString())
    found = [(number, bytes(value) if isinstance(value, memoryview) else value) for number, value in fields_of(message)]
    assert (1, 300) in found
    assert (8, b"ab") in found


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_end_in_a_verdict(data: bytes) -> None:
    with suppress(ValueError, IndexError):
        list(fields_of(memoryview(data)))
