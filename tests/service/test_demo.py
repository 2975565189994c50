"""The demonstration: one table, pictures, the right exit code, nothing left running."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from service import demo
from tests.make import dicom_bytes, icu_bundle, mr_series, radiograph_dataset, radiograph_pixels


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """A folder laid out like data-samples/."""
    folder = tmp_path / "samples"
    (folder / "dicom/mr_1").mkdir(parents=True)
    (folder / "fhir").mkdir()
    (folder / "refused").mkdir()
    (folder / "dicom/sick.dcm").write_bytes(dicom_bytes(radiograph_dataset(radiograph_pixels(pneumonia=True))))
    for number, dataset in enumerate(mr_series()):
        (folder / f"dicom/mr_1/{number:02d}.dcm").write_bytes(dicom_bytes(dataset))
    (folder / "fhir/stay.json").write_text(json.dumps(icu_bundle()))
    (folder / "refused/us.dcm").write_bytes(dicom_bytes(radiograph_dataset(Modality="US")))
    (folder / "refused/broken.dcm").write_bytes(b"hello")
    expected: dict[str, Any] = {
        "dicom/sick.dcm": {"status": "scored", "model": "tiny_chest-1.0.0"},
        "dicom/mr_1": {"status": "scored", "model": "tiny_volume"},
        "fhir/stay.json": {"status": "scored"},
        "refused/us.dcm": {"status": "refused", "reason": "wrong_modality", "model": "tiny_volume"},
        "refused/broken.dcm": {"status": "error", "reason": "not_dicom"},
    }
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder


def play(samples: Path, out: Path, released: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    monkeypatch.setenv("DIAPHANE_RELEASED", str(released))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = io.StringIO()
    code = demo.run(samples, out, "en", Console(file=text, width=160))
    return code, text.getvalue()


def test_every_sample_is_a_line_pictures_are_written_and_nothing_is_left_running(
    samples: Path, tmp_path: Path, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = play(samples, tmp_path / "out", released, monkeypatch)

    assert 0 == code, text
    for name in ("dicom/sick.dcm", "dicom/mr_1", "fhir/stay.json", "refused/us.dcm", "refused/broken.dcm"):
        assert name in text
    assert "tiny_chest 1.0.0" in text
    assert "Pneumonia" in text
    assert "refused: wrong_modality" in text
    assert str(tmp_path / "out") in text.replace("\n", "")
    written = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert ["dicom_mr_1.png", "dicom_sick.png", "fhir_stay.png", "refused_us.png"] == written
    assert [] == [child.pid for child in psutil.Process().children(recursive=True) if "service" in child.cmdline()]


def test_a_sample_that_gives_something_else_fails_the_demonstration(
    samples: Path, tmp_path: Path, released: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (samples / "expected.json").write_text(json.dumps({"dicom/sick.dcm": {"status": "refused", "reason": "blank"}}))

    code, text = play(samples, tmp_path / "out", released, monkeypatch)

    assert 1 == code
    assert "dicom/sick.dcm did not give what expected.json says: status refused, reason blank" in text


def test_without_samples_it_says_what_to_do(tmp_path: Path) -> None:
    text = io.StringIO()

    assert 1 == demo.run(tmp_path, tmp_path / "out", "en", Console(file=text, width=200))
    assert "--samples" in text.getvalue()


def test_a_service_that_cannot_be_ready_is_reported_with_its_log(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "START_S", 1.0)

    code, text = play(samples, tmp_path / "out", tmp_path / "none", monkeypatch)

    assert 1 == code
    assert "service.log" in text


@pytest.mark.parametrize(("wanted", "fits"), [
    ({"status": "scored"}, True), ({"status": "refused"}, False), ({"status": "scored", "above_threshold": True}, True),
    ({"status": "scored", "above_threshold": False}, False), ({"status": "scored", "flag": "impossible_value"}, True),
    ({"status": "scored", "flag": "lossy"}, False), ({"status": "scored", "model": "x-1.0.0"}, True),
    ({"status": "scored", "model": "x"}, True), ({"status": "scored", "model": "x-1.0.1"}, False),
    ({"status": "scored", "reason": "blank"}, False),
])
def test_a_result_is_held_against_everything_expected_of_it(wanted: dict[str, Any], fits: bool) -> None:
    result = {"status": "scored", "model": "x", "version": "1.0.0", "flags": ["impossible_value_left_out:pH"],
              "findings": [{"above_threshold": True}]}

    assert fits == demo.as_expected(result, wanted)


@pytest.mark.parametrize(("part", "expected"), [
    ({"label": "Heart rate", "value": 88.0, "unit": "/min", "flag": "normal", "missing": False}, "Heart rate 88 /min"),
    ({"label": "Glasgow", "value": 6.0, "unit": "{score}", "flag": "low", "missing": False}, "Glasgow 6 (low)"),
    ({"label": "Mean", "value": 61.25, "unit": "mm[Hg]", "flag": "low", "missing": False}, "Mean 61.25 mmHg (low)"),
    ({"label": "Lactate", "value": None, "unit": "mmol/L", "flag": "", "missing": True}, "Lactate not measured"),
    ({"label": "Age × rate", "value": None, "unit": "", "flag": "", "missing": False}, "Age × rate"),
])
def test_a_contribution_reads_as_a_clinician_says_it(part: dict[str, Any], expected: str) -> None:
    told = {"value_text": "", "finding": "death", **part, "logit": 0.4, "odds_multiplier": 1.5}
    assert f"{expected}: odds × 1.50" == demo.reason({
        "status": "scored", "findings": [{"name": "death", "kind": "probability"}], "explanation": {"measurements": [told]}})


def test_a_dose_is_said_with_its_interval_and_its_parts_as_factors() -> None:
    dose = {"name": "dose", "kind": "quantity", "label": "Warfarin", "value": 33.4, "unit": "mg/wk", "low": 20.2, "high": 50.6}
    part = {"label": "VKORC1", "value": 2.0, "value_text": "A/A", "unit": "1", "flag": "", "missing": False, "finding": "dose",
            "logit": -0.4, "odds_multiplier": 0.67}
    result = {"status": "scored", "findings": [dose], "explanation": {"measurements": [part]}}
    assert demo.headline(result) == "Warfarin 33 mg/week (20 to 51)"
    assert demo.reason(result) == "VKORC1: A/A: dose × 0.67"


def test_square_brackets_of_a_unit_or_a_message_are_shown_not_read_as_style() -> None:
    text = io.StringIO()
    line = demo.Line("a[1].dcm", "x 1.0.0", "refused", "pressure in mm[Hg]", "found [red] here", 1.0, as_expected=True)

    Console(file=text, width=160).print(demo.table([line]))

    assert all(word in text.getvalue() for word in ("a[1].dcm", "mm[Hg]", "[red]"))
