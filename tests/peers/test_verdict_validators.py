"""What verdicts make, judged by validators nobody here wrote: dciodvfy, dcentvfy, DicomSRValidator, dsrdump, highdicom."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from highdicom.sr import srread
from pydicom.dataset import Dataset

from models.model import Model
from models.prediction import Prediction
from service.assessment import Assessment, FindingAssessment, Reader, Region
from service.dicom.codes import ours
from service.dicom.source import case_key
from service.dicom.told import Told, Written
from service.dicom.write import write
from service.dicom.write_rejection import write_rejection
from service.dicom.write_verified import Report, Verified, write_verified
from tests.make import dicom_bytes, mr_series, needs_peer, radiograph_dataset, radiograph_pixels, read_back, tiny_release
from tests.peers.test_validators import JAVA
from tests.service.dicom.tell import FRENCH, hospital, told

READER = Reader("rpps:1", "DOCTEUR-TEST", "Camille", "99700000001", "10", "CHU Exemple")
SECOND = Reader("oidc:2", "Иванов", "", "", "", "")
Say = Callable[[Told], tuple[FindingAssessment, ...]]


def _agree(one: Told) -> tuple[FindingAssessment, ...]:
    return tuple(FindingAssessment(f.name, "accepted", f.kind, f.unit, f.value, f.above_threshold, f.above_threshold)
                 for f in _findings(one))


def _redraw(one: Told) -> tuple[FindingAssessment, ...]:
    first, *others = _agree(one)
    corners = ((10.0, 10.0), (90.5, 10.0), (90.5, 120.0), (10.0, 120.0))
    region = Region(str(one.sources[0].SOPInstanceUID), None, corners)
    drawn = FindingAssessment(first.name, "modified", first.kind, first.unit, first.ai_value, first.ai_present, True, None,
                              (region, region))
    return drawn, *(FindingAssessment(o.name, "rejected", o.kind, o.unit, o.ai_value, o.ai_present, False) for o in others)


def _measure(one: Told) -> tuple[FindingAssessment, ...]:
    first, *others = _agree(one)
    return FindingAssessment(first.name, "modified", first.kind, first.unit, first.ai_value, None, None, 1.25), *others


def _findings(one: Told) -> tuple:  # type: ignore[type-arg]
    assert isinstance(one.result, Prediction)
    return one.result.findings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write, for each of several verdicts, a folder with the sources and what the verdict makes."""
    place = tmp_path_factory.mktemp("verdicts")
    chest = Model(tiny_release(tmp_path_factory.mktemp("chest"), "image_classification"))
    volumes = Model(tiny_release(tmp_path_factory.mktemp("volumes"), "volume_segmentation"))
    ill = [hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))]
    brain = [hospital(one) for one in mr_series(BodyPartExamined="BRAIN")]
    cases: dict[str, tuple[Model, list[Dataset], Say, str]] = {
        "agree": (chest, ill, _agree, "agree"), "redraw": (chest, ill, _redraw, "correct"),
        "measure": (volumes, brain, _measure, "correct"),
    }
    for name, (model, datasets, say, decision) in cases.items():
        (place / name).mkdir()
        one = told(model, datasets)
        made = write(one)
        said = Assessment(decision, "false-positive", "Vu avec l'antérieur", say(one), READER, "second", 1_795_300_000.0,  # type: ignore[arg-type]
                          (SECOND,) if name == "agree" else ())
        verified = Verified(said, 1, case_key(one), one.model.rpartition("-")[0], ours("reason", "fr"),
                            [Report(each.kind, each.data) for each in made if each.kind in ("sr", "sr-roi")], [], one.device)
        objects = write_verified(verified)
        objects.append(_note([*made, *objects], said))
        for each in [*made, *objects]:
            (place / name / f"{each.kind}{each.part}.dcm").write_bytes(each.data)
        (place / name / "source.dcm").write_bytes(dicom_bytes(datasets[0]))
    return place


def _note(objects: list[Written], said: Assessment) -> Written:
    return write_rejection([read_back(one.data) for one in objects], said, FRENCH, title="safety",
                           reason="L'image n'est pas celle du patient", model="tiny-1.0.0", number=1)


def _made(folder: Path) -> list[Path]:
    return [path for kind in ("verified", "verified-roi", "rejection") for path in sorted(folder.glob(f"*/{kind}.dcm"))]


@needs_peer("dciodvfy")
def test_dciodvfy_finds_no_error(folder: Path) -> None:
    assert 8 == len(_made(folder))
    for path in _made(folder):
        done = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, errors="replace", check=False)
        assert [] == [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")], path


@needs_peer("dcentvfy")
def test_patient_and_study_are_those_of_the_images(folder: Path) -> None:
    for name in ("redraw", "measure"):  # the other names a reader in letters that the images have not: it is in UTF-8 as a whole
        files = [str(path) for path in sorted((folder / name).glob("*.dcm"))]
        done = subprocess.run(["dcentvfy", *files], capture_output=True, text=True, errors="replace", check=False)
        assert [] == [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")], name


@needs_peer("dsrdump")
def test_dsrdump_reads_every_document(folder: Path) -> None:
    for path in _made(folder):
        done = subprocess.run(["dsrdump", path], capture_output=True, text=True, errors="replace", check=False)
        assert 0 == done.returncode, done.stderr
        assert "VERIFIED" in done.stdout or path.stem == "rejection"


def test_highdicom_reads_what_was_verified_and_what_was_drawn(folder: Path) -> None:
    report = srread(io.BytesIO((folder / "redraw/verified.dcm").read_bytes()))
    regions = srread(io.BytesIO((folder / "redraw/verified-roi.dcm").read_bytes())).content.get_planar_roi_measurement_groups()
    assert "VERIFIED" == report.VerificationFlag
    assert [(10.0, 10.0), (10.0, 10.0)] == [tuple(one.roi.value[0]) for one in regions]
    assert 2 == len({one.tracking_uid for one in regions})


@pytest.mark.slow
@needs_peer("DicomSRValidator")
def test_the_verified_reports_keep_to_their_template(folder: Path) -> None:
    # Not that of the volumes: of a volume without a segment (TID 1501) the validator asks for one (TID 1411).
    for path in (folder / "redraw/verified.dcm", folder / "redraw/verified-roi.dcm"):
        done = subprocess.run(["DicomSRValidator", path], capture_output=True, text=True, errors="replace", env=os.environ | JAVA,
                              check=False)
        told = done.stdout + done.stderr
        assert "IOD" in told, "the validator said nothing"
        assert [] == [line for line in told.splitlines() if line.startswith("Error")], path
