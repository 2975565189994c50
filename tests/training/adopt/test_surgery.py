"""Surgery: the map that is added sums to the score exactly, whatever way the head is written; else the node is named."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from models.errors import BrokenModel
from tests.training.adopt.make_classifiers import SIZE, TinyNet, graph_of, plain_graph
from training.adopt.graph_file import run_graph
from training.adopt.nets import to_onnx
from training.adopt.release import plausible
from training.adopt.surgery import COMPLETE, ROLES, Front, Grafted, contrast, graft

GREY = Front(SIZE, SIZE, (1 / 255,), (0.0,))
TRIAL = plausible(np.random.default_rng(5), (SIZE, SIZE))


def scores(grafted: Grafted) -> dict[str, np.ndarray]:
    return {role: run_graph(grafted.model, TRIAL, "t")[name] for role, name in ROLES.items()}


def node(kind: str, *names: str, to: str, **more: object) -> onnx.NodeProto:
    return helper.make_node(kind, list(names), [to], name=f"{kind}_{to}", **more)


HEADS = {
    "gemm": [],
    "matmul and add": [node("MatMul", "pooled", "weights", to="z"), node("Add", "z", "bias", to="classes")],
    "bias first": [node("MatMul", "pooled", "weights", to="z"), node("Add", "bias", "z", to="classes")],
    "scaled, shifted, divided": [
        node("Mul", "pooled", "half", to="s"), node("MatMul", "s", "weights", to="z"), node("Sub", "z", "bias", to="y"),
        node("Mul", "gain", "y", to="x"), node("Div", "x", "over", to="classes")],
    "taken from a constant": [node("MatMul", "pooled", "weights", to="z"), node("Sub", "bias", "z", to="classes")],
    "weights turned in the graph": [
        node("Transpose", "weights", to="t", perm=[1, 0]), node("Gemm", "pooled", "t", "bias", to="classes", transB=1, alpha=0.5)],
    "reshaped": [
        node("Reshape", "pooled", "flat", to="r"), node("Identity", "r", to="c"),
        node("Gemm", "c", "weights", "bias", to="classes")],
    "no layer at all": [node("Identity", "pooled", to="classes")],
}


@pytest.mark.parametrize("head", HEADS, ids=lambda name: name.replace(" ", "_"))
def test_map_and_bias_are_the_score_however_the_head_is_written(head: str) -> None:
    model = plain_graph(HEADS[head])
    before = run_graph(model, GREY(TRIAL), "t")["classes"]
    made = graft(model, GREY, TRIAL, "t", activation="sigmoid")
    found = scores(made)
    np.testing.assert_allclose(found["logit"], before, atol=1e-5)
    np.testing.assert_allclose(found["map"].mean(axis=(2, 3)) + made.bias, before, atol=1e-4)
    np.testing.assert_allclose(found["probability"], 1 / (1 + np.exp(-before.astype(np.float64))), atol=1e-6)
    assert made.completeness <= COMPLETE


@pytest.mark.parametrize("pool", ["GlobalAveragePool", "ReduceMean", "AveragePool"])
def test_every_way_to_take_the_mean_of_all_places_is_known(pool: str) -> None:
    assert graft(plain_graph(pool=pool), GREY, TRIAL, "t", activation="sigmoid").cells == (8, 8)


def test_a_graph_with_channels_last_is_taken_over_too() -> None:
    first, last = (graft(plain_graph(nhwc=one), GREY, TRIAL, "t", activation="sigmoid") for one in (False, True))
    for role, values in scores(first).items():
        np.testing.assert_allclose(scores(last)[role], values, atol=1e-5)


def test_the_map_is_the_one_that_hooks_into_the_network_give() -> None:
    net = TinyNet().eval()
    kept: list[torch.Tensor] = []
    net.features.register_forward_hook(lambda _module, _given, found: kept.append(found))
    with torch.no_grad():
        logits = net(torch.from_numpy(GREY(TRIAL)))
        by_hand = torch.einsum("nchw,kc->nkhw", kept[-1], net.head.weight)
    found = scores(graft(to_onnx(TinyNet(), 1, (SIZE, SIZE)), GREY, TRIAL, "t", activation="sigmoid"))
    np.testing.assert_allclose(found["map"], by_hand.numpy(), atol=1e-5)
    np.testing.assert_allclose(found["logit"], logits.numpy(), atol=1e-5)


def test_of_two_classes_that_exclude_each_other_the_logit_is_the_log_odds() -> None:
    found = scores(graft(to_onnx(TinyNet(2), 1, (SIZE, SIZE)), GREY, TRIAL, "t", activation="softmax"))
    p = found["probability"].astype(np.float64)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.log(p / (1 - p)), found["logit"], atol=1e-4)


def test_of_several_classes_a_constant_added_to_all_scores_changes_no_map() -> None:
    plain, moved = TinyNet(), TinyNet()
    with torch.no_grad():
        moved.head.bias += 3.0
        moved.head.weight += 0.7
    found = [scores(graft(to_onnx(net, 1, (SIZE, SIZE)), GREY, TRIAL, "t", activation="softmax")) for net in (plain, moved)]
    for role in ROLES:
        np.testing.assert_allclose(found[0][role], found[1][role], atol=1e-4)
    assert np.abs(contrast(5).sum(axis=0)).max() < 1e-12


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_an_activation_inside_the_graph_is_found_and_kept(kind: str) -> None:
    more = {"axis": 1} if kind == "softmax" else {}
    tail = [node("Gemm", "pooled", "weights", "bias", to="z"), node(kind.capitalize(), "z", to="classes", **more)]
    model = plain_graph(tail)
    before = run_graph(model, GREY(TRIAL), "t")["classes"]
    np.testing.assert_allclose(scores(graft(model, GREY, TRIAL, "t"))["probability"], before, atol=1e-6)
    with pytest.raises(BrokenModel, match="the graph ends in"):
        graft(model, GREY, TRIAL, "t", activation="softmax" if kind == "sigmoid" else "sigmoid")


def test_three_channels_of_a_grey_image_each_have_their_own_arithmetic() -> None:
    front = Front(SIZE, SIZE, (0.01, 0.02, 0.03), (-1.0, -2.0, 0.5))
    net = TinyNet(channels=3).eval()
    planes = [TRIAL * s + b for s, b in zip(front.scale, front.shift, strict=True)]
    with torch.no_grad():
        expected = net(torch.from_numpy(np.concatenate(planes, axis=1).astype(np.float32)))
    found = scores(graft(to_onnx(net, 3, (SIZE, SIZE)), front, TRIAL, "t", activation="sigmoid"))
    np.testing.assert_allclose(found["logit"], expected.numpy(), atol=1e-5)


def refused(model: onnx.ModelProto, why: str, **more: object) -> None:
    with pytest.raises(BrokenModel, match=why):
        graft(model, GREY, TRIAL, "t", **{"activation": "sigmoid", **more})


def test_a_hidden_layer_after_pooling_is_refused_by_the_name_of_its_node() -> None:
    hidden = nn.Sequential(nn.Linear(12, 8), nn.Hardswish(), nn.Linear(8, 3))
    refused(to_onnx(TinyNet(head=hidden), 1, (SIZE, SIZE)), r"broke off at '.*HardSwish.*\(HardSwish\): it bends")


def test_a_normalisation_after_pooling_is_refused() -> None:
    head = nn.Sequential(nn.LayerNorm(12), nn.Linear(12, 3))
    refused(to_onnx(TinyNet(head=head), 1, (SIZE, SIZE)), r"LayerNormalization\): it divides the pooled features")


def test_the_largest_value_is_no_mean() -> None:
    refused(plain_graph(pool="GlobalMaxPool"), r"GlobalMaxPool\): the largest value")


def test_without_any_pooling_there_is_no_map() -> None:
    model = graph_of([node("Flatten", "image", to="f"), node("MatMul", "f", "w", to="classes")],
                     {"w": np.ones((SIZE * SIZE, 2), np.float32)})
    refused(model, "no global average pooling")


def test_two_branches_that_meet_after_pooling_are_refused() -> None:
    refused(plain_graph([node("Add", "pooled", "pooled", to="classes")]), r"\(Add\): two values that depend on the image")


def test_a_mean_that_is_mixed_by_a_reshape_does_not_pass_for_a_head() -> None:
    tail = [node("Reshape", "pooled", "flat", to="r"), node("Transpose", "r", to="u", perm=[1, 0]),
            node("Transpose", "u", to="v", perm=[1, 0]), node("Gemm", "v", "weights", "bias", to="classes")]
    assert graft(plain_graph(tail), GREY, TRIAL, "t", activation="sigmoid").completeness < COMPLETE  # turned twice: harmless
    turned = [node("Reshape", "pooled", "three", to="r"), node("Transpose", "r", to="u", perm=[0, 2, 1]),
              node("Reshape", "u", "six", to="v"), node("Gemm", "v", "weights", "bias", to="classes")]
    model = plain_graph(turned)
    model.graph.initializer.extend([onnx.numpy_helper.from_array(np.int64([0, 2, 3]), "three"),
                                    onnx.numpy_helper.from_array(np.int64([0, 6]), "six")])
    refused(model, "the map must sum to the score")


def test_scores_without_an_activation_need_one_told() -> None:
    refused(plain_graph(), "Say head.activation", activation="")


def test_a_graph_that_takes_one_image_only_is_refused() -> None:
    tail = [node("Reshape", "pooled", "one", to="r"), node("Gemm", "r", "weights", "bias", to="classes")]
    model = plain_graph(tail)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.int64([1, 6]), "one"))
    refused(model, "dynamic batch axis")


@pytest.mark.parametrize(("shape", "why"), [
    (("n", 3, SIZE, SIZE), "the graph takes any x 3 x 64 x 64"), (("n", 1, 32, 32), "the graph takes any x 1 x 32 x 32"),
])
def test_an_input_of_another_shape_is_refused_with_both_shapes(shape: tuple[int | str, ...], why: str) -> None:
    refused(plain_graph(shape=shape), why)


def test_a_graph_that_only_says_it_takes_one_image_is_let_take_many() -> None:
    made = graft(plain_graph(shape=(1, 1, SIZE, SIZE)), GREY, TRIAL, "t", activation="sigmoid")
    assert scores(made)["logit"].shape == (len(TRIAL), 3)
    assert made.moved < 1e-6


@pytest.mark.slow
def test_the_newer_exporter_of_torch_writes_heads_that_are_found_too() -> None:
    net, batch = TinyNet().eval(), torch.export.Dim("batch", min=1, max=64)
    program = torch.onnx.export(net, (torch.from_numpy(GREY(TRIAL)),), dynamo=True, opset_version=18, external_data=False,
                                dynamic_shapes=({0: batch},), verbose=False)
    made = graft(program.model_proto, GREY, TRIAL, "t", activation="sigmoid")
    with torch.no_grad():
        np.testing.assert_allclose(scores(made)["logit"], net(torch.from_numpy(GREY(TRIAL))).numpy(), atol=1e-5)


def test_a_graph_of_any_size_is_fixed_to_the_described_one() -> None:
    made = graft(plain_graph(shape=("n", 1, "h", "w")), GREY, TRIAL, "t", activation="sigmoid")
    dims = made.model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims[1:]] == [1, SIZE, SIZE]
    assert made.model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_scores_that_are_not_numbers_are_refused() -> None:
    tail = [node("Sub", "pooled", "pooled", to="zero"), node("Div", "zero", "zero", to="classes")]
    refused(plain_graph(tail), "scores must be finite")
