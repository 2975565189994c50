"""Reports as Encapsulated PDF, judged by dciodvfy, and their pages read by another program than the one that wrote them."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pydicom
import pypdf
import pytest
from pydicom.dataset import Dataset

from service.dicom.write_pdf import Pages, write_pdf
from tests.make import dicom_bytes, mr_series, needs_peer, radiograph_dataset
from tests.service.dicom.tell import FRENCH, header, hospital
from tests.service.reporting.test_pages import WHEN, pages, pdf

ENGLISH = FRENCH.model_copy(update={"language": "en", "institution": "", "uid_root": "1.2.250.1.999"})
PAGES = Pages(pdf(pages(), made_at=WHEN), "1.2.826.0.1.3680043.8.498.2026.1", 3, "0" * 64, "Compte rendu – PROJET – non validé",
              "Compte rendu IA, projet", datetime(2026, 11, 21, 22, 30, 5, tzinfo=UTC), is_validated=False,
              sources=[("1.2.840.10008.5.1.4.1.1.1.1", "1.2.826.0.1.3680043.8.498.2026.3.1")])
SOURCES: dict[str, Callable[[], Dataset]] = {
    "hospital": lambda: hospital(radiograph_dataset()),
    "bare": lambda: radiograph_dataset(PatientName=None, PatientID=None, BodyPartExamined=None),
    "japanese": lambda: mr_series(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎")[0],
    "side": lambda: hospital(mr_series(ImageLaterality="R", BodyPartExamined="HIPPOCAMPUS")[0]),
}


def made(name: str, **changes: object) -> bytes:
    source = header(dicom_bytes(SOURCES[name]()))
    return write_pdf(replace(PAGES, **changes), source, ENGLISH if name == "side" else FRENCH).data  # type: ignore[arg-type]


@needs_peer("dciodvfy")
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("changes", [{}, {"is_validated": True, "title": "Compte rendu"}, {"sources": (), "pdf": PAGES.pdf + b"\n"}])
def test_a_report_keeps_its_information_object_definition(name: str, changes: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "report.dcm"
    path.write_bytes(made(name, **changes))
    done = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    assert "EncapsulatedPDF" in said
    found = [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
    assert [] == [line for line in found if "DICOMDIR" not in line]  # what a sender left out, a directory of a CD would need


@needs_peer("dciodvfy")
def test_the_validator_would_see_a_report_without_its_pages(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(made("hospital")))
    del dataset.EncapsulatedDocument
    dataset.save_as(tmp_path / "broken.dcm")
    done = subprocess.run(["dciodvfy", "-new", str(tmp_path / "broken.dcm")], capture_output=True, text=True, check=False)
    assert "Error" in done.stdout + done.stderr


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_report_is_the_same_bytes_and_the_pages_come_back_whole(name: str) -> None:
    first = made(name)
    assert first == made(name)
    dataset = pydicom.dcmread(io.BytesIO(first))
    inside = bytes(dataset.EncapsulatedDocument[:dataset.EncapsulatedDocumentLength])
    assert inside == PAGES.pdf
    assert "CANARI-NÉ" in pypdf.PdfReader(io.BytesIO(inside)).pages[0].extract_text()


def test_another_version_is_another_object() -> None:
    uids = {pydicom.dcmread(io.BytesIO(made("hospital", **changes))).SOPInstanceUID
            for changes in ({}, {"number": 4}, {"is_validated": True}, {"text_sha256": "1" * 64})}
    assert 4 == len(uids)


def test_accents_of_the_title_are_written_in_a_character_set_that_is_stated() -> None:
    dataset = pydicom.dcmread(io.BytesIO(made("hospital")))
    assert "Compte rendu – PROJET – non validé" == dataset.DocumentTitle
    assert "CANARI-NÉ^Élodie" == str(dataset.PatientName)
    assert "ISO_IR 192" == dataset.SpecificCharacterSet
