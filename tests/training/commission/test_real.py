"""Real people: adults must end in "do not go live here", children in a threshold that keeps, intensive care in a line that holds."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.model import Model
from models.prediction import Refusal
from models.read_image import read_raster
from tests.make import data_root, needs_data
from tests.training.commission.made import CHEST, ICU, find_in
from training.archive.scored import Names, Row, make_names
from training.commission import figures, gates
from training.commission.truth_read import read_truth
from training.data import eicu_demo

pytestmark = [needs_data, pytest.mark.slow]


def radiographs(folder: Path, wanted: dict[str, set[str]], *, ages: bool = True) -> tuple[list[Row], Names]:
    """Score images of the data set as serving would, one row each."""
    names, model, rows = make_names(folder), Model(CHEST), []
    root = data_root() / "chest-xray"
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        lines = [line for line in csv.DictReader(file) if all(line[column] in words for column, words in wanted.items())]
    for line in lines:
        volume = read_raster(root / line["path"])
        age = float(line["age"]) if line["age"] and ages else None
        volume = replace(volume, header=replace(volume.header, view=line["view"], age_years=age))
        attributes = {key: value for key, value in (("view", line["view"]), ("sex", line["sex"]), ("source", line["source"]),
                                                    ("age_years", age)) if value}
        rows.append(row_of(model, volume, {"file": line["path"], "patient": line["patient_id"]}, attributes, names))
    return sorted(rows, key=lambda row: row.case), names


def row_of(model: Model, case: Any, ids: dict[str, str], attributes: dict[str, Any], names: Names) -> Row:
    hashed = {kind: names.hash(kind, text) for kind, text in ids.items()}
    found = model.predict(case)
    if isinstance(found, Refusal):
        return Row(hashed["file"], hashed["patient"], hashed, model.id, "refused", found.reason.value, attributes=attributes)
    values = {one.name: one.value for one in found.findings}
    return Row(hashed["file"], hashed["patient"], hashed, model.id, "scored", "", values, attributes=attributes)


TABLE = 'file = "{root}/chest-xray/metadata.csv"\nid = "file"\ncolumn = "path"\n[outputs.pneumonia]\ncolumn = "labels"\n{rule}'


@pytest.mark.parametrize("ages", [True, False])
def test_adults_end_in_do_not_go_live_here_even_with_their_ages_withheld(ages: bool, tmp_path: Path) -> None:
    rows, names = radiographs(tmp_path, {"source": {"nih-chestxray14"}, "split": {"val", "test"}}, ages=ages)
    (tmp_path / "truth.toml").write_text(TABLE.format(root=data_root(), rule='separator = "|"\npositive = ["Pneumonia"]\n'))
    truth = read_truth(str(tmp_path / "truth.toml"), rows, names, ["pneumonia"])
    found = find_in(Model(CHEST).manifest, CHEST, rows, truth)
    decision, reasons = gates.decide(gates.judge(found, "en"), "en")
    assert decision == "no_go"
    assert ("not those the release was made for" if ages else "declines to score") in reasons[0]
    assert any("declines to score" in reason for reason in reasons)


def test_children_end_in_a_threshold_that_keeps_its_sensitivity_on_those_it_was_not_tuned_on(tmp_path: Path) -> None:
    """Tuned on the validation images and those of official training that were kept back; seen on the official test images."""
    rows, names = radiographs(tmp_path, {"source": {"kermany-pediatric", "kermany-pediatric-224"}, "split": {"val", "test"}})
    (tmp_path / "truth.toml").write_text(TABLE.format(root=data_root(), rule='positive = ["Pneumonia"]\nnegative = ["No Finding"]\n'))
    truth = read_truth(str(tmp_path / "truth.toml"), rows, names, ["pneumonia"])
    with (data_root() / "chest-xray/metadata.csv").open(encoding="utf-8", newline="") as file:
        official = {names.hash("file", line["path"]) for line in csv.DictReader(file) if line["official_split"] == "test"}
    here = [row for row in rows if row.case not in official]
    found = find_in(Model(CHEST).manifest, CHEST, here, truth)
    tuned = found.tuned["pneumonia"]
    assert tuned.value is not None
    sealed = find_in(Model(CHEST).manifest, CHEST, [row for row in rows if row.case in official], truth)
    reached = figures.called(sealed.outcomes["pneumonia"].scored(), tuned.value)[0]
    assert reached.value is not None
    assert reached.value >= 0.95


def test_intensive_care_elsewhere_is_repaired_by_a_line_or_told_that_it_is_not(tmp_path: Path) -> None:
    names, model, rows = make_names(tmp_path), Model(ICU), []
    for split in ("train", "val", "test"):
        for place, case in enumerate(eicu_demo.records(split, data_root())):
            rows.append(row_of(model, case.record, {"file": f"{split}/{place}", "patient": case.group},
                               {"age_years": float(case.record.static["age_years"])}, names))
    truth = read_truth("data:eicu_demo", rows, names, ["in_hospital_death"], data_root())
    fitted = find_in(model.manifest, ICU, rows, truth).fitted["in_hospital_death"]
    before, after = (figures.named(each, "calibration_slope") for each in (fitted.before, fitted.after))
    assert before is not None
    assert after is not None
    assert before.value == pytest.approx(0.88, abs=0.03)
    assert after.value == pytest.approx(0.99, abs=0.03)
    assert fitted.repaired
    assert fitted.method == "slope_and_intercept"
