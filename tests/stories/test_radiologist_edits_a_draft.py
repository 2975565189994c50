"""As a radiologist I read the draft of a study in French, correct it, validate it in my name, and only then it is a document."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pypdf
import pytest

from models.manifest import read_manifest, write_manifest
from service.reporting.desk import Desk
from service.reporting.validated import NotValidated, require_validated
from tests.make import radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.dicom.tell import hospital
from tests.service.reporting.report_house import READER, Room, report_room


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("radiology")
    release = tiny_release(folder / "released", "image_classification")
    write_manifest(release, read_manifest(release).model_copy(update={"writes": []}))
    with report_room(folder / "released", folder / "store") as opened:
        yield opened


def _text(pdf: bytes) -> str:
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).replace("\u00a0", " ").split())


def test_radiologist_edits_a_draft(room: Room, tmp_path: Path) -> None:
    desk = Desk(room.house, room.house.scoring.shelf)
    radiograph = hospital(radiograph_dataset(radiograph_pixels(pneumonia=True)))
    radiograph.RequestAttributesSequence[0].ReasonForTheRequestedProcedure = "Toux fébrile depuis trois jours"
    study = room.arrive(radiograph)

    draft = room.read(study, **{"accept-language": "fr"})
    by_name = {section["name"]: [one["text"] for one in section["sentences"]] for section in draft.json()["sections"]}
    assert "Motif indiqué\u00a0: Toux fébrile depuis trois jours." in by_name["indication"]
    assert by_name["conclusion"][0].startswith("Image en faveur de\u00a0: pneumonie")
    page = _text(room.read(study, "?format=pdf").content)
    assert "PROJET – non validé" in page
    assert "IA, à valider" in page
    with pytest.raises(NotValidated):
        desk.validated(study)

    by_name["results"] = [by_name["results"][0], "Pas d'épanchement pleural."]
    by_name["conclusion"] = ["Foyer du lobe inférieur droit, compatible avec une pneumonie."]
    edited = room.edit(study, draft.headers["etag"], **by_name)
    assert "edited" == edited.json()["state"]
    too_late = room.edit(study, draft.headers["etag"], conclusion=["Normal."])
    assert 412 == too_late.status_code

    validated = room.validate(study, edited.headers["etag"])
    assert ("validated", READER["family"]) == (validated.json()["state"], validated.json()["validated_by"]["family"])
    page = _text(room.read(study, "?format=pdf").content)
    assert "Validé par CAMILLE DOCTEUR-TEST (RPPS 99700000001)" in page
    assert "Foyer du lobe inférieur droit" in page
    assert "PROJET" not in page
    report = require_validated(desk.validated(study))
    assert ["ai", "person"] == [one.origin for section in report.sections if section.name == "results" for one in section.sentences]

    versions = room.client.get(f"/v1/studies/{study}/report/versions").json()["versions"]
    assert ["draft", "edited", "validated"] == [one["state"] for one in versions]
