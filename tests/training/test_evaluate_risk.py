"""One evaluation for every additive model: each output has its rows, bars and sum, and refusing cannot flatter."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import Feature
from models.model import Model
from models.record import Record, Series
from training import recipe as recipes
from training.card import card
from training.closed_reference import boosted_reference, compared
from training.data.cohort import Case, Cohort, cohort_of
from training.evaluate import evaluate
from training.evaluate_risk import evaluate_risk
from training.evaluated import Evaluated, Extra
from training.export_risk import export
from training.extras import EXTRAS
from training.fit_risk import fit
from training.recipe import Recipe
from training.release import manifest_of, seal
from training.report import page
from training.sources import SOURCES


class Toy:
    """A source of made-up stays: the first outcome follows age and coma, the second only age; every tenth is thin."""

    def records(self, split: str, root: Path) -> list[Case]:
        rng = np.random.default_rng(len(split))
        return [replace(one, group=f"{split}-{one.group}") for one in (self._case(i, rng) for i in range(300))]

    def cohort(self, split: str, features: list[Feature], root: Path) -> Cohort:
        return cohort_of(self.records(split, root), features, self.data_sha256(root), {split: 300}, 48)

    def data_sha256(self, root: Path) -> str:
        return "1" * 64

    def _case(self, number: int, rng: np.random.Generator) -> Case:
        age, coma = float(rng.integers(20, 90)), float(rng.integers(3, 16))
        first = rng.random() < 1 / (1 + np.exp(-(0.05 * (age - 60) - 0.3 * (coma - 9) - 1)))
        second = rng.random() < 1 / (1 + np.exp(-(0.08 * (age - 60) - 1)))
        values = {"GCS": coma} if number % 10 == 0 else {"GCS": coma, "BUN": 20.0, "HR": 80.0, "Temp": 37.0, "Urine": 900.0}
        series = {code: Series(np.array([600.0, 2800.0]), np.array([value, value])) for code, value in values.items()}
        labels = (float(first), float("nan") if number % 3 == 0 else float(second))
        sex = "male" if number % 4 else "female"
        return Case(Record(series, {"age_years": age, "male": 1.0}), labels, str(number // 2), {"sex": sex})


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    raw = deepcopy(recipes.read("icu_mortality").raw)
    raw["features"] = raw["features"][:10]
    raw["data"] = "toy"
    raw["manifest"]["outputs"].append({**raw["manifest"]["outputs"][0], "name": "second", "label": "Second", "index": 1})
    raw["fit"] |= {"pairs": 2, "rounds": 60, "pair_rounds": 20, "folds": 2}
    raw["bars"] = [
        {"what": "AUROC", "figure": "auroc", "rule": ">=", "value": 0.6},
        {"what": "AUROC of the second", "figure": "auroc", "rule": ">=", "value": 0.99, "output": "second"},
        {"what": "added", "figure": "added", "rule": "within", "low": 0, "high": 1, "output": "second"},
    ]
    return Recipe("toy", raw)


@pytest.fixture(scope="module")
def folder(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of two outputs fitted to the made-up stays."""
    made: Path = tmp_path_factory.mktemp("shelf") / f"toy-{recipe.version}"
    made.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SOURCES, "toy", Toy())
        fields = export(fit(recipe, tmp_path_factory.mktemp("run"), Path()), recipe, made)
    for name, text in (("evaluation.json", "{}\n"), ("CARD.md", "Not yet evaluated.\n")):
        (made / name).write_text(text, encoding="utf-8")
    seal(made, manifest_of(recipe, fields))
    return made


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "toy", Toy())
    monkeypatch.setitem(EXTRAS, "toy", added)


def added(found: Evaluated) -> Extra:
    """Say one more figure, and compare with a coin."""
    coin = compared("a coin", "Second", found.of(1), np.random.default_rng(0).random(len(found.of(1).y)))
    return Extra(figures={"second": {"added": {"value": 0.5}}}, references=[coin], unknown=["nothing"])


@pytest.mark.usefixtures("toy")
def test_every_output_has_its_rows_and_bars_and_the_page_and_card_show_them(recipe: Recipe, folder: Path) -> None:
    recipe_bars = len(recipe.bars)
    figures: dict[str, Any] = evaluate(folder, Path(), recipe=recipe, quick=True)
    assert [bar["met"] for bar in figures["bars"]] == [True, False, True, True]
    assert len(figures["bars"]) == recipe_bars + 1
    groups = [row["group"] for row in figures["rows"]]
    assert "test: Second" in groups
    assert sum(group.startswith("female: ") for group in groups) == 2
    assert figures["references"][0]["auroc_ours_less_this"]["value"] > 0
    assert figures["data"]["sha256"] == "1" * 64
    manifest = Model(folder).manifest
    for text in (card(manifest, figures), page(manifest, figures, [])):
        assert "Second" in text


@pytest.mark.usefixtures("toy")
def test_refused_stays_are_measured_too_and_unknown_outcomes_are_not(recipe: Recipe, folder: Path) -> None:
    told: list[str] = []
    found = evaluate_risk(Model(folder), recipe, Path(), quick=True, say=told.append)
    rows = {row["group"]: row for row in found.rows}
    tested = len(Toy().records("test", Path())[::8])
    assert rows["test: Death in hospital"]["n"] == tested
    assert rows["test, not refused: Death in hospital"]["n"] < tested
    assert rows["test: Second"]["n"] < tested
    assert found.refusals[0]["reasons"] == {"too_few_measurements": tested - rows["test, not refused: Death in hospital"]["n"]}
    assert told


@pytest.mark.usefixtures("toy")
def test_the_closed_reference_is_fitted_for_each_output_on_the_same_features(recipe: Recipe, folder: Path) -> None:
    pytest.importorskip("lightgbm")
    model = Model(folder)
    cases = Toy().records("test", Path())
    features = np.concatenate([model.prepare(case.record) for case in cases])
    arrays = model.session.run(features, ("probability", "contributions"))
    found = Evaluated(
        model, recipe, Path(), cases, features, np.array([case.labels for case in cases]),
        arrays["probability"].astype(np.float64), arrays["contributions"], np.zeros(len(cases)),
        np.array([case.group for case in cases]), np.full(len(cases), ""), 30, True,
    )
    both = boosted_reference(model, SOURCES["toy"], found)
    assert [row["n"] for row in both] == [300, 200]
    assert all(row["auroc"]["patients"] <= 150 for row in both)
    assert replace(found, quick=False).only(np.arange(300) < 10).y.shape == (10, 2)
