"""Whoever asks for a release that is not live here gets no score, at whichever door, and is told whom to ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.site import Site
from service.site_trust import CommissioningRules
from tests.make import dicom_bytes, icu_bundle, radiograph_dataset, tiny_release
from tests.service.cds_hooks.cds_house import cds_house
from tests.service.fhir.ehr_house import fhir_room
from tests.service.house import DICOM, FHIR, House, build

OTHERS = "Who answers for AI here decides which release is live."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("released")
    tiny_release(made, "image_classification")
    tiny_release(made, "risk", hooks=["patient-view"])
    return made


@pytest.fixture(scope="module")
def barred(folder: Path) -> Iterator[House]:
    """A house in which nothing is live."""
    house = build(folder)
    house.scoring.view = lambda shelf: shelf.serving({}, list(shelf.models))
    yield house
    house.scoring.stop()


@pytest.mark.parametrize("query", ["", "?model=tiny_chest", "?model=tiny_chest-1.0.0"])
def test_images_get_no_score_by_themselves_by_name_or_by_id(barred: House, query: str) -> None:
    answer = barred.client.post(f"/v1/images{query}", content=dicom_bytes(radiograph_dataset()), headers=DICOM)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_live")
    assert OTHERS in answer.json()["detail"]


@pytest.mark.parametrize("query", ["", "?model=tiny_risk", "?model=tiny_risk-1.0.0"])
def test_records_get_none_either(barred: House, query: str) -> None:
    answer = barred.client.post(f"/v1/records{query}", content=json.dumps(icu_bundle()), headers=FHIR)
    assert (answer.status_code, answer.json()["code"]) == (403, "not_live")


def test_a_department_gets_none_when_its_triage_is_off(barred: House) -> None:
    answer = barred.client.post("/v1/department?model=tiny_risk&triage=tiny_risk", content='{"present": []}',
                                headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (403, "not_live")


def test_pages_about_models_still_describe_it_and_say_that_it_is_not_active(barred: House) -> None:
    found = {one["id"]: one["active"] for one in barred.client.get("/v1/models").json()["models"]}
    assert found == {"tiny_chest-1.0.0": False, "tiny_risk-1.0.0": False}
    assert barred.client.get("/v1/models/tiny_chest").status_code == 200
    assert barred.client.get("/v1/models/tiny_chest/card").status_code == 200


def test_what_no_release_takes_is_not_said_to_be_off(barred: House) -> None:
    answer = barred.client.post("/v1/images", content=dicom_bytes(radiograph_dataset(Modality="MG", SOPClassUID=None)), headers=DICOM)
    assert "not_live" not in answer.text


def test_predict_answers_with_an_operation_outcome(folder: Path, tmp_path: Path) -> None:
    site = Site(commissioning=CommissioningRules(required=True))
    with fhir_room(folder, tmp_path / "store", site=site) as room:
        for query in ("", "?model=tiny_risk"):
            answer = room.client.post(f"/fhir/$predict{query}", content=json.dumps(icu_bundle()), headers=FHIR)
            assert (answer.status_code, answer.json()["resourceType"]) == (403, "OperationOutcome")
            assert OTHERS in answer.text


def test_hooks_do_not_offer_it_and_answer_with_a_problem_until_it_is_live(folder: Path, tmp_path: Path) -> None:
    with cds_house(tmp_path, folder, site="[commissioning]\nrequired = true\n") as house:
        assert "tiny-risk" not in [one["id"] for one in house.discover()]
        answer = house.client.post("/cds-services/tiny-risk", json={"hook": "patient-view"})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_live")
        house.house.scoring.view = lambda shelf: shelf
        assert "tiny-risk" in [one["id"] for one in house.discover()]


def test_a_live_release_still_speaks_where_another_of_its_name_is_barred(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        tiny_release(tmp_path, "image_classification", version=version)
    house = build(tmp_path)
    house.scoring.view = lambda shelf: shelf.serving({"tiny_chest": "tiny_chest-1.0.0"}, ["tiny_chest-1.1.0"])
    body = dicom_bytes(radiograph_dataset())
    told = house.client.post("/v1/images", content=body, headers=DICOM).json()
    assert [(one["model"], one["version"]) for one in told["series"][0]["results"]] == [("tiny_chest", "1.0.0")]
    assert house.client.post("/v1/images?model=tiny_chest-1.1.0", content=body, headers=DICOM).status_code == 403
    house.scoring.stop()
