"""Outside checks: a new line keeps the order, mends the level, and a recalibrated release explains itself as exactly."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from models.check import check
from models.manifest import read_manifest
from models.model import Model
from training.__main__ import app
from training.data import eicu_demo, support2
from training.recalibrate import intercept_of, recalibrate, write_page
from training.recalibrated import manifest_of, release_recalibrated

RELEASE = Path(__file__).parents[2] / "models/released/icu_mortality-1.0.0"
PATIENT = {"patientunitstayid": "1", "gender": "Female", "age": "71", "ethnicity": "Asian", "unittype": "MICU", "uniquepid": "a",
           "admissionheight": "", "hospital_death": "0.0", "split": "test"}
WORST = {"patientunitstayid": "1", "intubated": "1", "vent": "0", "eyes": "3", "motor": "6", "verbal": "4", "meds": "0",
         "fio2": "50", "split": "test", **dict.fromkeys(eicu_demo.MEASURED, "-1.0"), "heartrate": "104"}


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made-up stays whose deaths follow age and coma, at another level than the release gives."""
    folder = tmp_path_factory.mktemp("outside")
    rng = np.random.default_rng(0)
    patients, worst, results = [], [], []
    for i in range(600):
        age, awake = int(rng.integers(40, 90)), int(rng.integers(1, 5))
        dead = rng.random() < 1 / (1 + np.exp(-(0.04 * (age - 65) - awake + 2.5)))
        name = str(i)
        patients.append({**PATIENT, "patientunitstayid": name, "uniquepid": name, "age": str(age),
                         "hospital_death": f"{float(dead)}", "split": ("train", "val", "test")[i % 3]})
        worst.append({**WORST, "patientunitstayid": name, "eyes": str(awake), "motor": str(awake + 2), "verbal": str(awake),
                      "heartrate": str(60 + i % 70), "creatinine": "1.1", "bun": "20", "sodium": "138", "temperature": "36.8"})
        results.append({"patientunitstayid": name, "apacheversion": "IVa", "predictedhospitalmortality": "-1" if i % 7 else "0.1"})
    for name, rows in zip(eicu_demo.FILES, (patients, worst, results), strict=True):
        table(folder / eicu_demo.FOLDER / name, rows)
    return folder


@pytest.fixture(scope="module")
def report(root: Path) -> dict[str, Any]:
    return recalibrate(Model(RELEASE), "eicu_demo", root, resamples=30)


def test_a_new_line_keeps_the_order_and_mends_the_level(report: dict[str, Any]) -> None:
    before, shifted, fitted = (row["figures"] for row in report["rows"])
    assert before["auroc"]["value"] == shifted["auroc"]["value"] == fitted["auroc"]["value"]
    assert before["calibration_slope"]["value"] == pytest.approx(shifted["calibration_slope"]["value"])
    assert abs(before["calibration_in_the_large"]["value"]) > 1
    assert abs(shifted["calibration_in_the_large"]["value"]) < 0.4
    assert 0.75 < fitted["calibration_slope"]["value"] < 1.35
    assert fitted["brier"]["value"] < before["brier"]["value"]


def test_the_published_score_is_compared_on_the_cases_that_have_it(report: dict[str, Any]) -> None:
    assert report["published"]["n"] < report["test"]["n"] == 200
    assert report["published"]["auroc_ours_less_this"]["value"] > 0  # it says 0.1 of everybody


def test_the_page_shows_every_line(report: dict[str, Any], tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", report)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 3
    assert "slope and intercept" in page


def test_the_intercept_makes_the_mean_right() -> None:
    logit, y = np.linspace(-6, 2, 400), np.tile([1.0, 0.0, 0.0, 0.0], 100)
    moved = logit + intercept_of(logit, y)
    assert (1 / (1 + np.exp(-moved))).mean() == pytest.approx(0.25)


def test_a_recalibrated_release_is_sound_and_gives_the_new_line(root: Path, tmp_path: Path) -> None:
    line = {"slope": 0.5, "intercept": 1.25}
    folder = release_recalibrated(RELEASE, "eicu_demo", line, root, tmp_path / "shelf")
    assert folder.name == "icu_mortality-1.0.1"
    assert check(folder)
    old, new = Model(RELEASE), Model(folder)
    x = old.prepare(eicu_demo.records("test", root)[0].record)
    before, after = (model.session.run(x, ("logit", "contributions")) for model in (old, new))
    assert after["logit"] == pytest.approx(0.5 * before["logit"] + 1.25, abs=1e-5)
    total = after["contributions"].sum(dtype=np.float64) + new.manifest.explains.bias["0"]
    assert total == pytest.approx(float(after["logit"][0, 0]), abs=1e-5)
    with pytest.raises(FileExistsError, match="never change"):
        release_recalibrated(RELEASE, "eicu_demo", line, root, tmp_path / "shelf")


def test_the_threshold_moves_with_the_scale_so_that_the_same_patients_are_called() -> None:
    old = read_manifest(RELEASE)
    new = manifest_of(old, "support2", {"slope": 0.7, "intercept": -0.4})
    before, after = (one.outputs[0].threshold for one in (old, new))
    assert before is not None
    assert after is not None
    assert np.log(after / (1 - after)) == pytest.approx(0.7 * np.log(before / (1 - before)) - 0.4)
    assert "Recalibrated on support2" in new.training_data.cautions[-1]


def test_the_worst_values_of_a_day_are_read_as_they_are_meant(tmp_path: Path) -> None:
    table(tmp_path / eicu_demo.FOLDER / eicu_demo.FILES[0], [PATIENT, {**PATIENT, "patientunitstayid": "2", "age": "> 89"}])
    table(tmp_path / eicu_demo.FOLDER / eicu_demo.FILES[1], [WORST, {**WORST, "patientunitstayid": "2", "meds": "1"}])
    first, second = (case.record.up_to(2880) for case in eicu_demo.records("test", tmp_path))
    values = {code: float(first.series(code).values[0]) for code in first.codes}
    assert values == {"HR": 104.0, "GCS": 13.0, "FiO2": 0.5, "MechVent": 1.0}  # -1 is missing
    assert "GCS" not in second.codes
    assert (first.static["icu_type"], second.static["age_years"]) == (3.0, 90.0)


def test_day_three_of_support_is_read_without_what_leaks(tmp_path: Path) -> None:
    row = {"id": "1", "age": "62.8", "sex": "male", "race": "", "dzclass": "Cancer", "hospdead": "0", "surv2m": "0.9",
           "scoma": "100", "split": "test", "slos": "5", "death": "1", **dict.fromkeys(support2.MEASURED, ""), "crea": "1.2"}
    table(tmp_path / support2.FILE, [row])
    (case,) = support2.records("test", tmp_path)
    assert {code: case.record.up_to(2880).series(code).values.tolist() for code in ("Creatinine", "GCS")} == {
        "Creatinine": [1.2], "GCS": [3.0]}
    assert case.record.up_to(2880).codes == {"Creatinine", "GCS"}
    assert support2.published("test", tmp_path) == pytest.approx([0.1])


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["recalibrate", "icu_mortality-1.0.0", "--data-set", "nowhere", "--data", str(tmp_path)])
    assert found.exit_code == 2
    assert "support2" in found.output
