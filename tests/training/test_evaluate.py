"""Evaluation scores a released folder through models.Model, on real data, and says of every bar whether it held."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from models.manifest import read_manifest
from models.model import Model
from models.read_image import read_raster
from models.volume import Volume
from tests.make import data_root, needs_data, radiograph_pixels, tiny_release
from training import outsiders
from training import recipe as recipes
from training.card import card
from training.data import chest_xray
from training.evaluate import evaluate, summary, write_evaluation
from training.evaluate_radiographs import reasons_of, score
from training.evaluate_volumes import outline, planted
from training.findings import bar, between


def image(**how: Any) -> Volume:
    return Volume(radiograph_pixels(**how).astype(np.float32)[None], units="display")


def test_refused_images_are_scored_too_so_that_refusal_cannot_flatter_the_figures(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    blank = Volume(np.full((1, 200, 200), 128, np.float32), units="display")
    found = score(model, [image(pneumonia=True), blank])
    assert found.reasons == ["", "blank"]
    assert found.probability.shape == (2, 3)
    assert found.maps.shape == (2, 2, 12, 12)


def test_scores_are_those_that_serving_gives(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    volumes = [image(seed=i, pneumonia=bool(i % 2)) for i in range(5)]
    served = [model.predict(v).findings[0].value for v in volumes]  # type: ignore[union-attr]
    assert score(model, volumes, batch=2).probability[:, 0] == pytest.approx(served, abs=1e-6)


@pytest.mark.parametrize(("rule", "value", "met"), [
    (">=", 0.965, True), (">=", 0.9649, False), ("<=", 0.05, True), ("<", 0.0, False), (">=", None, False),
    (">=", float("nan"), False),
])
def test_a_bar_is_met_only_by_a_value_that_keeps_it(rule: str, value: float | None, met: bool) -> None:
    limit = {">=": 0.965, "<=": 0.05, "<": 0.0}[rule]
    assert bar("x", rule, limit, {"value": value})["met"] is met


def test_a_slope_must_lie_on_both_sides() -> None:
    assert [between("slope", 0.9, 1.1, {"value": v})["met"] for v in (0.89, 1.0, 1.11, None)] == [
        False, True, False, False]


@pytest.mark.parametrize("made", [outsiders.noise_pictures(2), outsiders.blank_pictures()])
def test_spoilt_pictures_are_display_values(made: list[tuple[np.ndarray, str]]) -> None:
    for picture, _ in made:
        assert picture.dtype == np.float32
        assert 0 <= picture.min() <= picture.max() <= 255
        assert min(picture.shape) >= 256
    assert len({key for _, key in made}) == len(made)


@needs_data
def test_outsiders_are_other_people_without_headers() -> None:
    cases = chest_xray.load(data_root(), "test")[:8]
    children = [read_raster(c.path) for c in cases]
    found = outsiders.radiograph_outsiders(data_root(), children, [c.patient for c in cases], every=4)
    sets = {s.name: s for s in found}
    assert {name for name, s in sets.items() if s.gross} == {"ct", "mr", "noise", "blank", "inverted"}
    assert {v.header.modality for name in ("ct", "mr") for v in sets[name].volumes} == {""}
    assert all(len(s.volumes) == len(s.patients) > 0 for s in sets.values())
    in_training = {c.patient for c in chest_xray.load(data_root(), "train", sources=chest_xray.ADULTS)}
    assert not in_training & {*sets["adults_nih"].patients, *sets["adults_hannover"].patients}


@needs_data
def test_every_planted_bad_pair_is_rejected_with_a_reason() -> None:
    found = planted(data_root())
    assert len(found) == 3
    assert all(row["verdict"].startswith("rejected: ") and row["reason"] for row in found)


@needs_data
@pytest.mark.parametrize(("task", "recipe"), [
    ("image_classification", "chest_xray_pediatric"), ("volume_segmentation", "hippocampus_mr"), ("risk", "icu_mortality"),
])
def test_a_quick_evaluation_fills_json_report_and_card(task: Any, recipe: str, tmp_path: Path) -> None:
    folder = tiny_release(tmp_path / "shelf", task)
    figures = evaluate(folder, data_root(), recipe=recipes.read(recipe), quick=True, report=tmp_path / "out" / "report.html")
    write_evaluation(tmp_path / "evaluation.json", figures)
    assert json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8")) == figures
    assert "Quick run" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    manifest = read_manifest(folder)
    assert "quick run" in card(manifest, figures)
    assert figures["onnx_sha256"] == manifest.files["model.onnx"]
    assert not all(b["met"] for b in figures["bars"])  # a rule of twenty nodes is no doctor
    assert "base64" not in json.dumps(figures)
    told = io.StringIO()
    Console(file=told, width=160).print(summary(figures))
    assert "missed" in told.getvalue()


@needs_data
def test_a_refused_volume_is_outlined_all_the_same(tmp_path: Path) -> None:
    from training.data import hippocampus

    model = Model(tiny_release(tmp_path, "volume_segmentation"))
    case = hippocampus.load(data_root(), "test")[0]
    found = outline(model, case)
    assert found.found.shape == found.reference.shape
    assert found.reason == reasons_of(model, [found.image])[0]
