"""One additive fit an output: several outputs share features, folds and a graph, and each explains itself."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from training import recipe as recipes
from training.boost import curvature
from training.calibrate import THRESHOLDS
from training.checkpoint_risk import load
from training.export_risk import completeness, export
from training.fit_risk import Scales, fit, fit_shapes, logits_of, made_up, settings_of
from training.measures import auroc
from training.nets.additive import category_scale_of, scale_of
from training.recipe import Recipe
from training.risk_features import features_of


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    """The recipe of intensive care with ten features and a second outcome that is fitted without pairs."""
    raw = deepcopy(recipes.read("icu_mortality").raw)
    raw["features"] = raw["features"][:10]
    raw["manifest"]["outputs"].append({**raw["manifest"]["outputs"][0], "name": "second", "index": 1})
    raw["fit"] |= {"pairs": 4, "second": {"pairs": 0, "threshold": {"rule": "fixed", "value": 0.3}}}
    return Recipe("icu_mortality", raw)


@pytest.fixture(scope="module")
def two(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict]:
    folder = tmp_path_factory.mktemp("two")
    checkpoint = fit(recipe, folder, Path(), quick=True)
    return checkpoint, folder, export(checkpoint, recipe, folder)


def test_two_outputs_have_a_net_and_settings_each(recipe: Recipe, two: tuple[Path, Path, dict]) -> None:
    nets, found, _ = load(two[0])
    assert [len(net.pairs) for net in nets] == [4, 0]
    assert settings_of(recipe, "second")["pairs"] == 0
    assert found["outputs"][1]["threshold"] == 0.3
    assert found["outputs"][0]["threshold"] != 0.3


def test_the_graph_gives_both_outputs_and_the_terms_of_each_sum_to_its_logit(two: tuple[Path, Path, dict]) -> None:
    _, folder, fields = two
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    x = made_up(features_of(recipes.read("icu_mortality"))[:10], 3, cases=50).x
    probability, logit, contributions = session.run(["probability", "logit", "contributions"], {"features": x})
    whose = np.array([term["output"] for term in fields["terms"]])
    for k, name in enumerate(("in_hospital_death", "second")):
        total = contributions[:, whose == name].sum(axis=1, dtype=np.float64) + fields["explains"]["bias"][str(k)]
        np.testing.assert_allclose(total, logit[:, k], atol=1e-5)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), atol=1e-6)
    assert (whose == "in_hospital_death").sum() == 14
    assert len({term["name"] for term in fields["terms"]}) == 24


def test_a_broken_sum_is_noticed(two: tuple[Path, Path, dict]) -> None:
    nets, _, _ = load(two[0])
    with np.load(two[1] / "golden.npz") as golden:
        arrays = {name: golden[name].copy() for name in golden.files}
    assert completeness(nets, arrays) < 1e-5
    arrays["contributions"][0, -1] += 0.1
    assert completeness(nets, arrays) > 0.05


def test_a_value_that_stands_for_a_word_has_a_level_of_its_own() -> None:
    torch.manual_seed(0)
    words = torch.randint(1, 6, (4000, 1)).float()
    risk = torch.tensor([0.0, -2.0, 2.0, -2.0, 2.0, -2.0])[words[:, 0].long()]
    y = (torch.rand(4000) < torch.sigmoid(risk)).float()
    settings = {**recipes.read("icu_mortality").fit, "seed": 1, "rounds": 100, "pairs": 0}
    named, ordered = category_scale_of(words.numpy()[:, 0]), scale_of(words.numpy()[:, 0], bins=5, knots=2)
    found = {
        kind: logits_of(words, both, fit_shapes(words, y, both, settings))
        for kind, both in (("words", Scales([named], [named], [named])), ("line", Scales([ordered], [ordered], [ordered])))
    }
    assert auroc(y, found["words"]) > 0.85
    assert auroc(y, found["line"]) < 0.7


def test_words_are_not_smoothed_over() -> None:
    assert not np.triu(curvature([category_scale_of(np.arange(6, dtype=np.float32))])[0].numpy(), 1).any()


@pytest.mark.parametrize(("rule", "params", "expected"), [
    ("fixed", {"value": 0.4}, 0.4), ("share", {"share": 0.25}, 0.7), ("sensitivity", {"sensitivity": 1.0}, 0.2),
])
def test_a_recipe_chooses_how_the_threshold_is_found(rule: str, params: dict[str, float], expected: float) -> None:
    truth, probability = [0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.9]
    assert THRESHOLDS[rule](truth, probability, **params) == pytest.approx(expected)


def test_wording_and_bars_do_not_change_what_a_recipe_fits() -> None:
    one = recipes.read("icu_mortality")
    other = Recipe(one.name, {**one.raw, "bars": [], "manifest": {}, "evaluation": {"title": "x"}})
    assert other.sha256 == one.sha256
    assert Recipe(one.name, {**one.raw, "seed": 1}).sha256 != one.sha256
