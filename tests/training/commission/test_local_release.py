"""A local release: threshold and line inside the graph, explanations as exact as before, a card that says what is of here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.check import check
from models.describe import describe
from models.errors import BrokenModel, UnusableInput
from models.golden import read_golden
from models.manifest import read_manifest, sha256_of
from models.model import Model
from models.reference import read_reference
from models.statistics.binary import chance_of
from tests.training.commission.made import CHEST, CHILDREN, ICU, RESAMPLES, found_of
from training.commission.found import Found
from training.commission.local_release import changes_of, channel_of, release_local
from training.commission.told import commissioning_of
from training.recalibrated import moved, relined_map, rescaled_terms


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Found, Found]:
    folder = tmp_path_factory.mktemp("chest")
    found = found_of(folder, CHEST, n=1200, spread=3.0, level=1.2, slope=0.7, attributes=CHILDREN)
    made, here = release_local(CHEST, found, folder / "shelf", site="Test Hospital", resamples=RESAMPLES)
    return made, found, here


def test_map_and_logit_move_together_and_the_threshold_with_them(chest: tuple[Path, Found, Found]) -> None:
    made, found, _ = chest
    values, lines = changes_of(found)
    slope, intercept = lines["pneumonia"]
    assert slope == pytest.approx(0.7, abs=0.12)
    golden = read_golden(CHEST)
    old, new = (Model(folder).session.run(golden["input"]) for folder in (CHEST, made))
    expected = old["logit"][:, 0].astype(float) * slope + intercept
    assert new["logit"][:, 0] == pytest.approx(expected, abs=1e-4)
    assert new["map"][:, 0] == pytest.approx(old["map"][:, 0] * slope, abs=1e-4)
    assert (new["map"][:, 1] == old["map"][:, 1]).all()
    assert new["probability"][:, 0] == pytest.approx(chance_of(expected), abs=1e-5)
    assert (new["ood"] == old["ood"]).all()
    manifest = read_manifest(made)
    assert manifest.id == "chest_xray_pediatric-1.0.1"
    assert manifest.outputs[0].threshold == pytest.approx(moved(values["pneumonia"], slope, intercept))
    assert manifest.outputs[1].threshold == read_manifest(CHEST).outputs[1].threshold


def test_the_folder_checks_and_the_old_one_is_left_alone(chest: tuple[Path, Found, Found]) -> None:
    made, found, _ = chest
    assert any("explanations sum to their scores" in line for line in check(made))
    assert sha256_of(CHEST / "manifest.json") == found.manifest_sha256


def test_the_card_begins_with_here_and_keeps_the_makers_words(chest: tuple[Path, Found, Found]) -> None:
    made, _, here = chest
    card = (made / "CARD.md").read_text("utf-8")
    assert card.index("## Here") < card.index("## What it is") < card.index("## Figures")
    assert "`chest_xray_pediatric-1.0.1`" in card.split("## Here")[0]
    assert "at Test Hospital" in card
    assert describe(here.manifest).strip() in card  # of the new version: its threshold, its hash
    assert describe(read_manifest(CHEST)).strip() not in card
    assert "pneumonia: threshold" in card


def test_its_own_finding_is_bound_to_it_and_measured_on_others(chest: tuple[Path, Found, Found]) -> None:
    made, found, here = chest
    told = commissioning_of(here)
    assert told.release == "chest_xray_pediatric-1.0.1"
    assert told.manifest_sha256 == sha256_of(made / "manifest.json")
    assert told.onnx_sha256 == sha256_of(made / "model.onnx")
    assert not told.thresholds
    assert not told.lines
    counted = {figure.name: figure.n for figure in told.figures if figure.output == "pneumonia"}
    assert counted["sensitivity"] < 0.6 * found.outcomes["pneumonia"].positives  # the check half alone
    assert counted["auroc"] == found.outcomes["pneumonia"].n
    slope = next(figure for figure in told.figures if figure.name == "calibration_slope" and figure.output == "pneumonia")
    assert 0.8 < slope.value < 1.25  # type: ignore[operator]
    assert told.decision == "go", told.reasons


def test_what_is_watched_from_now_on_is_of_this_site_and_on_the_new_scale(chest: tuple[Path, Found, Found]) -> None:
    made, found, here = chest
    reference = read_reference(made / "reference.json")
    assert reference == commissioning_of(here).reference
    assert reference.n == len(found.rows)  # not the check half alone
    assert reference.positive["pneumonia"] == pytest.approx(np.mean([
        row.values["pneumonia"] >= (found.tuned["pneumonia"].value or 0) for row in found.rows]), abs=0.01)


def test_pages_get_this_sites_figures(chest: tuple[Path, Found, Found]) -> None:
    evaluation = json.loads((chest[0] / "evaluation.json").read_text("utf-8"))
    assert evaluation["model"] == "chest_xray_pediatric-1.0.1"
    assert evaluation["rows"][0]["group"] == "this site"
    assert evaluation["curves"]["calibration"]["bins"]


def test_a_risk_gets_its_line_and_its_parts_still_sum_to_the_score(tmp_path: Path) -> None:
    found = found_of(tmp_path, ICU, n=1800, mean=-2.0, spread=1.3, level=0.9, attributes={"age_years": 60.0})
    made, here = release_local(ICU, found, tmp_path / "shelf", resamples=RESAMPLES)
    golden = read_golden(ICU)
    old, new = (Model(folder).session.run(golden["input"]) for folder in (ICU, made))
    slope, intercept = changes_of(found)[1]["in_hospital_death"]
    assert new["logit"] == pytest.approx(old["logit"] * slope + intercept, abs=1e-4)
    assert any("sum to their scores" in line for line in check(made))
    assert read_manifest(made).outputs[0].threshold == pytest.approx(moved(0.3375632675070381, slope, intercept))
    assert commissioning_of(here).decision == "go"


@pytest.mark.slow
def test_a_second_local_release_gets_the_next_number(chest: tuple[Path, Found, Found], tmp_path: Path) -> None:
    made, found, _ = chest
    again, _ = release_local(CHEST, found, made.parent, resamples=10)
    assert again.name == "chest_xray_pediatric-1.0.2"


def test_with_nothing_to_change_there_is_no_release(tmp_path: Path) -> None:
    found = found_of(tmp_path, ICU, n=900, mean=-1.0, spread=2.5, attributes={"age_years": 60.0})
    assert changes_of(found) == ({}, {})
    with pytest.raises(UnusableInput, match="needs a threshold or a line"):
        release_local(ICU, found, tmp_path / "shelf")
    assert not (tmp_path / "shelf").exists()


def test_one_of_several_outputs_moves_and_the_others_stay() -> None:
    """ed_triage has two outputs in one graph: a line on the second leaves the first as it was, number by number."""
    folder = ICU.parent / "ed_triage-1.0.0"
    manifest = read_manifest(folder)
    names = [output.name for output in manifest.outputs]
    whose = [names.index(term.output) if term.output else 0 for term in manifest.terms]
    graph = rescaled_terms(onnx.load(str(folder / "model.onnx")), {1: (0.5, -1.0)}, whose)
    golden = read_golden(folder)["input"]
    old, new = Model(folder).session.run(golden), _run(graph, golden)
    assert new["logit"][:, 0] == pytest.approx(old["logit"][:, 0], abs=1e-6)
    assert new["logit"][:, 1] == pytest.approx(old["logit"][:, 1] * 0.5 - 1.0, abs=1e-5)
    second = np.array(whose) == 1
    assert new["contributions"][:, ~second] == pytest.approx(old["contributions"][:, ~second])
    assert new["contributions"][:, second] == pytest.approx(old["contributions"][:, second] * 0.5, abs=1e-6)


def test_a_graph_takes_one_line_only() -> None:
    names = read_manifest(CHEST).graph.outputs
    once = relined_map(onnx.load(str(CHEST / "model.onnx")), names, {0: (0.9, 0.1)}, 2)
    with pytest.raises(BrokenModel, match="one local line"):
        relined_map(once, names, {0: (0.9, 0.1)}, 2)


@pytest.mark.slow
def test_probabilities_that_share_a_softmax_take_no_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if viral were shown by itself: it shares the map of bacterial, so a line on one moves the other."""
    found = found_of(tmp_path, CHEST, n=1200, spread=3.0, level=1.2, slope=0.7, attributes=CHILDREN)
    folder = tmp_path / "chest_xray_pediatric-1.0.0"
    shutil.copytree(CHEST, folder)
    text = (folder / "manifest.json").read_text("utf-8").replace('"shown_only_if": "pneumonia"', '"shown_only_if": null')
    (folder / "manifest.json").write_text(text, "utf-8")
    with pytest.raises(BrokenModel, match="changed, which has no line"):
        release_local(folder, found, tmp_path / "shelf")


def test_the_column_of_an_output_is_its_maps() -> None:
    assert [channel_of(output) for output in read_manifest(CHEST).outputs] == [0, 1, 1]


def _run(graph: onnx.ModelProto, batch: np.ndarray) -> dict[str, np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: batch}), strict=True))
