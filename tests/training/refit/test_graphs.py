"""Another head on a released graph: parts and bias move together, and everything before the head stays to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.errors import BrokenModel
from models.golden import completeness_of, read_golden
from models.manifest import read_manifest
from training.refit.graphs import POOLED, Head, head_of, runner, with_head, with_pooled, with_slopes

RELEASED = Path(__file__).parents[3] / "models" / "released"
CHEST, ICU = RELEASED / "chest_xray_pediatric-1.0.0", RELEASED / "icu_mortality-1.0.0"


def test_another_head_gives_its_own_logits_and_exact_maps() -> None:
    manifest, graph, golden = read_manifest(CHEST), onnx.load(str(CHEST / "model.onnx")), read_golden(CHEST)
    head, rng = head_of(graph, manifest), np.random.default_rng(1)
    (pooled,) = runner(with_pooled(graph, head))([POOLED], golden["input"])
    assert np.allclose(pooled @ head.weights.T + head.bias, golden["logit"], atol=1e-4)
    other = Head(head.features, head.weights + rng.normal(0, 0.05, head.weights.shape), head.bias + 0.3)
    roles = manifest.graph.outputs
    found = dict(zip(roles, runner(with_head(graph, manifest, other))(list(roles.values()), golden["input"]), strict=True))
    assert np.allclose(found["logit"], pooled @ other.weights.T + other.bias, atol=1e-4)
    assert np.allclose(found["probability"][:, 0], 1 / (1 + np.exp(-found["logit"][:, 0])), atol=1e-6)
    assert np.allclose(found["ood"], golden["ood"], rtol=1e-4)  # as another machine gives them
    moved = manifest.model_copy(update={"explains": manifest.explains.model_copy(update={
        "bias": {str(k): float(np.float32(value)) for k, value in enumerate(other.bias)}})})
    worst, allowed = completeness_of(found, moved)
    assert worst <= allowed


def test_the_same_head_gives_the_same_numbers_and_no_leftovers() -> None:
    manifest, graph, golden = read_manifest(CHEST), onnx.load(str(CHEST / "model.onnx")), read_golden(CHEST)
    made = with_head(graph, manifest, head_of(graph, manifest))
    onnx.checker.check_model(made, full_check=True)
    (logit,) = runner(made)([manifest.graph.outputs["logit"]], golden["input"])
    assert np.allclose(logit, golden["logit"], atol=1e-4)
    assert "head.weight" not in {one.name for one in made.graph.initializer}
    assert len(made.graph.node) <= len(graph.graph.node)


def test_tables_times_a_slope_each_still_sum_to_the_logit() -> None:
    manifest, graph, golden = read_manifest(ICU), onnx.load(str(ICU / "model.onnx")), read_golden(ICU)
    slopes = np.random.default_rng(1).uniform(0, 2, len(manifest.terms))
    made = with_slopes(graph, slopes, np.array([-0.7]))
    parts, logit = runner(made)(["contributions", "logit"], golden["input"])
    assert np.allclose(parts, golden["contributions"] * slopes, atol=1e-5)
    assert np.allclose(logit[:, 0], parts.sum(axis=1) - 0.7, atol=1e-4)


def test_a_graph_without_such_a_head_is_refused_with_what_to_do() -> None:
    manifest, graph = read_manifest(CHEST), onnx.load(str(CHEST / "model.onnx"))
    node = next(one for one in graph.graph.node if manifest.graph.outputs["map"] in one.output)
    node.op_type = "Relu"
    with pytest.raises(BrokenModel, match="1x1 convolution"):
        head_of(graph, manifest)
    with pytest.raises(BrokenModel, match="TreeEnsembleRegressor"):
        with_slopes(graph, np.ones(1), np.zeros(1))
