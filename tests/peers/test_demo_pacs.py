"""The demonstration of the PACS side: what came back is in one table, pictures are written, the exit code is right."""

from __future__ import annotations

import io
import json
from pathlib import Path

import psutil
import pytest
from PIL import Image
from rich.console import Console

from service import demo_pacs, orthanc
from tests.make import dicom_bytes, mr_series, needs_peer, radiograph_dataset, radiograph_pixels, tiny_release

EXPECTED = {
    "radiograph/ill.dcm": {"status": "scored", "model": "tiny_chest", "above_threshold": True},
    "mr/block": {"status": "scored", "model": "tiny_volume"},
    "refused/hand.dcm": {"status": "refused", "reason": "wrong_body_part", "model": "tiny_chest"},
    "refused/ct.dcm": {"status": "refused", "reason": "wrong_modality", "model": "tiny_chest"},  # which is not forwarded
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out like data-samples/, every sample a study of its own."""
    folder = tmp_path_factory.mktemp("samples")
    for number, name in enumerate(EXPECTED, start=1):
        (folder / name).parent.mkdir(exist_ok=True)
        changes = {"StudyInstanceUID": f"2.25.910{number}", "SeriesInstanceUID": f"2.25.920{number}"}
        if name.startswith("mr/"):
            (folder / name).mkdir()
            for place, dataset in enumerate(mr_series(**changes)):
                (folder / name / f"{place:02d}.dcm").write_bytes(dicom_bytes(dataset))
            continue
        changes |= {"refused/hand.dcm": {"BodyPartExamined": "HAND"}, "refused/ct.dcm": {"Modality": "CT"}}.get(name, {})
        dataset = radiograph_dataset(radiograph_pixels(pneumonia=True), **changes)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.930{number}"
        (folder / name).write_bytes(dicom_bytes(dataset))
    (folder / "expected.json").write_text(json.dumps(EXPECTED))
    return folder


@pytest.mark.slow
@needs_peer("Orthanc")
def test_every_study_comes_back_with_its_objects_and_nothing_is_left_running(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for task in ("image_classification", "volume_segmentation"):
        tiny_release(tmp_path / "released", task)
    monkeypatch.setenv("DIAPHANE_RELEASED", str(tmp_path / "released"))
    text = io.StringIO()
    code = demo_pacs.run(samples, tmp_path / "out", "en", Console(file=text, width=220))
    assert 0 == code, text.getvalue()
    for word in ("radiograph/ill", "mr/block", "refused/hand", "tiny_chest", "tiny_volume", "not assessed"):
        assert word in text.getvalue()
    assert "refused/ct" not in text.getvalue()
    assert ["mr_block.png", "radiograph_ill.png"] == sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    with Image.open(tmp_path / "out/radiograph_ill.png") as picture:
        assert picture.width > 200
    children = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert [] == [line for line in children if "node" in line or "Orthanc" in line[0]]


@needs_peer("Orthanc")
def test_a_node_that_cannot_be_ready_is_reported_with_its_log(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_pacs, "START_S", 0.5)
    text = io.StringIO()
    assert 1 == demo_pacs.run(samples, tmp_path / "out", "en", Console(file=text, width=200))
    assert "node.log" in text.getvalue()
    assert [] == [child.pid for child in psutil.Process().children(recursive=True) if "service" in child.cmdline()]


def test_without_orthanc_it_says_what_to_install_and_ends_with_two(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orthanc, "PROGRAM", "Orthanc-that-nobody-has")
    text = io.StringIO()
    assert 2 == demo_pacs.run(samples, tmp_path / "out", "en", Console(file=text, width=200))
    assert "apt-get install orthanc orthanc-dicomweb" in text.getvalue()


def test_without_samples_it_says_what_to_do(tmp_path: Path) -> None:
    text = io.StringIO()
    assert 1 == demo_pacs.run(tmp_path, tmp_path / "out", "en", Console(file=text, width=200))
    assert "--samples" in text.getvalue()


@pytest.mark.parametrize(("said", "wanted", "fits"), [
    (demo_pacs.Said("x", ("A 90 %",), True), {"status": "scored", "model": "x", "above_threshold": True}, True),
    (demo_pacs.Said("x", ("A 90 %",), True), {"status": "scored", "model": "x", "above_threshold": False}, False),
    (demo_pacs.Said("x", ("A 90 %",), True), {"status": "scored", "model": "y"}, False),
    (demo_pacs.Said("x", ("A 1 mL",)), {"status": "scored", "model": "x"}, True),
    (demo_pacs.Said(), {"status": "scored", "model": "x"}, False),
    (demo_pacs.Said(reasons=("wrong-view",)), {"status": "refused", "reason": "wrong_view", "model": "x"}, True),
    (demo_pacs.Said(reasons=("wrong-age",)), {"status": "refused", "reason": "wrong_view", "model": "x"}, False),
    (demo_pacs.Said("x", ("A 90 %",)), {"status": "refused", "reason": "wrong_view", "model": "x"}, False),
])
def test_what_came_back_is_held_against_what_was_expected(said: demo_pacs.Said, wanted: dict[str, object], fits: bool) -> None:
    assert fits == demo_pacs.as_expected(said, wanted)
