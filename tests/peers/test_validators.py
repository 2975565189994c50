"""Everything we write, judged by validators nobody here wrote: dciodvfy, dcentvfy, DicomSRValidator, dsrdump."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.model import Model
from service.dicom.told import Decline
from service.dicom.write import write
from tests.make import (
    ROOT,
    data_root,
    dicom_bytes,
    mr_series,
    needs_data,
    needs_peer,
    radiograph_dataset,
    radiograph_pixels,
    tiny_release,
)
from tests.service.dicom.tell import FRENCH, enhanced, hospital, not_assessed, told, told_of_files

JAVA = {"JAVA_TOOL_OPTIONS": " ".join(f"-Djdk.xml.xpath{limit}Limit=0" for limit in ("TotalOp", "ExprOp", "ExprGrp"))}
PLANE = {
    "ImagePositionPatient": [10.0, 20.0, 30.0], "ImageOrientationPatient": [1.0, 0.0, 0.0, 0.0, 0.0, -1.0],
    "PixelSpacing": [0.5, 0.25], "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2026.9",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write, for each of many cases, a folder with its sources (source*) and the objects made of them."""
    place = tmp_path_factory.mktemp("written")
    chest = Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))
    volumes = Model(tiny_release(tmp_path_factory.mktemp("volumes"), "volume_segmentation"))
    ill = radiograph_pixels(pneumonia=True)
    english = FRENCH.model_copy(update={"language": "en", "uid_root": "1.2.250.1.999", "institution": ""})
    cases: dict[str, tuple[Model | None, list[Dataset]]] = {
        "scored": (chest, [hospital(radiograph_dataset(ill, PatientOrientation=["L", "F"]))]),
        "below": (chest, [hospital(radiograph_dataset())]),
        "refused": (chest, [hospital(radiograph_dataset(Modality="MG"))]),
        "bare": (chest, [radiograph_dataset(ill, PatientName=None, PatientID=None, BodyPartExamined=None)]),
        "placed": (chest, [radiograph_dataset(ill, ImageLaterality="U", **PLANE)]),
        "large": (chest, [radiograph_dataset(radiograph_pixels(1100, 900, pneumonia=True))]),
        "side": (volumes, [hospital(one) for one in mr_series(ImageLaterality="R", BodyPartExamined="HIPPOCAMPUS")]),
        "series": (volumes, mr_series(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")),
        "enhanced": (volumes, [enhanced(mr_series(BodyPartExamined="BRAIN"), [2, 1, 0, *range(3, 12)])]),
        "unfit": (None, [hospital(radiograph_dataset())]),
        "unusable": (None, [radiograph_dataset()]),
    }
    for name, (model, datasets) in cases.items():
        (place / name).mkdir()
        for number, dataset in enumerate(datasets):
            (place / name / f"source{number:02}.dcm").write_bytes(dicom_bytes(dataset))
        if model is not None:
            one = told(model, datasets, device=english if name in ("placed", "side") else FRENCH)
        elif name == "unfit":
            one = not_assessed(datasets[0])
        else:
            reasons = (Decline("", "", "slices_not_a_grid", "Gaps between slices must be equal, found 2.", "Send all."),)
            one = not_assessed(datasets[0], status="unusable", reasons=reasons, device=english)
        for number, made in enumerate(write(one)):
            (place / name / f"{number}-{made.kind}.dcm").write_bytes(made.data)
    return place


def _made(folder: Path, pattern: str = "[0-9]-*.dcm") -> list[Path]:
    return sorted(folder.glob(f"*/{pattern}"))


def _errors(command: list[str | Path], **env: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=os.environ | env, check=False)
    assert done.stdout + done.stderr, "the validator said nothing at all"
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


@needs_peer("dciodvfy")
def test_every_object_keeps_its_information_object_definition(folder: Path) -> None:
    found = {f"{path.parent.name}/{path.name}": _errors(["dciodvfy", "-new", path]) for path in _made(folder)}
    assert len(found) >= 30
    assert {} == {name: errors for name, errors in found.items() if errors}


@needs_peer("dciodvfy")
def test_the_validator_would_see_a_broken_object(folder: Path, tmp_path: Path) -> None:
    broken = (folder / "scored/3-sr.dcm").read_bytes().replace(b"PRELIMINARY ", b"PRELIMINARIE")
    (tmp_path / "broken.dcm").write_bytes(broken)
    assert [] != _errors(["dciodvfy", "-new", tmp_path / "broken.dcm"])


@needs_peer("dcentvfy")
def test_patient_and_study_differ_in_nothing_from_the_source(folder: Path) -> None:
    for name in ("scored", "below", "refused", "side", "unfit"):
        files = sorted((folder / name).glob("*.dcm"))
        done = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, errors="replace", check=False)
        said = [line for line in (done.stdout + done.stderr).splitlines() if line]
        # It takes AccessionNumber for one of the series where the order is stated too: a question of where, not of what.
        assert [] == [line for line in said if not line.startswith("Warning - Different information entities")], name
        assert 0 == done.returncode


@needs_peer("dcentvfy")
def test_the_comparison_would_see_another_patient(folder: Path, tmp_path: Path) -> None:
    other = (folder / "scored/3-sr.dcm").read_bytes().replace(b"CANARI-0001 ", b"CANARI-0002 ")
    (tmp_path / "other.dcm").write_bytes(other)
    command = ["dcentvfy", folder / "scored/source00.dcm", tmp_path / "other.dcm"]
    assert [] != _errors(command)  # type: ignore[arg-type]


@needs_peer("DicomSRValidator")
@pytest.mark.parametrize("report", [
    "scored/3-sr.dcm", *(pytest.param(one, marks=pytest.mark.slow) for one in (
        "scored/4-sr-roi.dcm", "side/2-sr.dcm", "unfit/0-sr.dcm", "below/1-sr.dcm", "refused/1-sr.dcm", "enhanced/2-sr.dcm"
    )),
])
def test_reports_keep_their_templates(folder: Path, report: str) -> None:
    done = subprocess.run(
        ["DicomSRValidator", folder / report], capture_output=True, text=True, errors="replace", env=os.environ | JAVA, check=False
    )
    said = done.stdout + done.stderr
    assert "Root Template Validation Complete" in said
    assert [] == [line for line in said.splitlines() if line.startswith("Error")]


@needs_peer("dsrdump")
def test_an_independent_reader_reads_every_report(folder: Path) -> None:
    for path in _made(folder, "*-sr*.dcm"):
        done = subprocess.run(["dsrdump", "+Pl", path], capture_output=True, text=True, errors="replace", check=False)
        assert (0, True) == (done.returncode, "Preliminary Flag    : PRELIMINARY" in done.stdout), path.parent.name


@needs_data
@needs_peer("dciodvfy")
@pytest.mark.slow
@pytest.mark.parametrize("study", ["Study1", "Study2", "Study3"])
def test_objects_of_real_series_are_sound(study: str, tmp_path: Path) -> None:
    files = [path.read_bytes() for path in sorted((data_root() / "hippocampus/dicom" / study).rglob("*.dcm"))]
    model = Model(ROOT / "models/released/hippocampus_mr-1.0.0")
    for number, made in enumerate(write(told_of_files(model, files))):
        path = tmp_path / f"{number}-{made.kind}.dcm"
        path.write_bytes(made.data)
        assert [] == _errors(["dciodvfy", "-new", path]), made.kind
