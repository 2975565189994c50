"""Records and faults that others made, through $predict over HTTP: a score, a reason why not, or the element that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.shelf import RELEASED
from service.fhir.judge import judge
from tests.make import data_root, needs_data
from tests.service.fhir.ehr_house import FHIR, Room, fhir_room

pytestmark = needs_data
SAMPLES = data_root() / "interop" / "fhir-samples"
RECORDS = sorted((data_root() / "fhir" / "synthea_r4").glob("*.json"))
EXAMPLES = sorted((data_root() / "fhir" / "hl7_r4_examples").glob("*.json"))
# Element each broken sample is refused for; the file's name says the fault.
ELEMENTS = {
    "bundle_dup_fullurl": "entry", "bundle_no_request": "request", "device_type_string": "type",
    "obs_bad_date": "effective",
    "obs_bad_status": "status", "obs_no_code": "code", "obs_ref_wrong_type": "subject", "obs_string_number": "value",
    "obs_two_values": "value", "obs_unknown_field": "Observation", "obs_value_and_absent": "dataAbsentReason",
    "pat_bad_gender": "gender",
    "pat_ins_bad_key": "identifier", "pat_no_birthplace": "birthPlace", "pat_no_ins": "identifier", "pat_no_official_name": "name",
    "pat_two_official": "identifier", "report_category_not_array": "category", "report_issued_no_tz": "issued",
    "risk_prob_gt_100": "probability", "risk_two_when": "when", "study_bad_uid": "uid",
}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with fhir_room(RELEASED, tmp_path_factory.mktemp("store")) as opened:
        yield opened


def asked(room: Room, path: Path) -> Any:
    resource = json.loads(path.read_text("utf-8"))
    bundle = resource if resource["resourceType"] == "Bundle" else {
        "resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource}]}
    return room.client.post("/fhir/$predict", json=bundle, headers=FHIR)


@pytest.mark.parametrize("name", sorted(ELEMENTS))
def test_a_broken_resource_is_refused_by_its_element(room: Room, name: str) -> None:
    answer = asked(room, SAMPLES / "bad" / f"{name}.json")
    assert (400, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])
    told = " ".join(issue.get("expression", [""])[0] + " " + issue["details"]["text"] for issue in answer.json()["issue"])
    assert ELEMENTS[name] in told


@pytest.mark.parametrize("path", sorted((SAMPLES / "ok").glob("*.json")), ids=lambda path: path.stem)
def test_a_sound_resource_is_taken_and_the_answer_says_what_is_missing(room: Room, path: Path) -> None:
    answer = asked(room, path)
    assert 200 == answer.status_code
    kinds = {entry["resource"]["resourceType"] for entry in answer.json()["entry"]}
    assert kinds >= {"GuidanceResponse", "Provenance"}
    missing = [entry["resource"]["dataRequirement"] for entry in answer.json()["entry"]
               if entry["resource"]["resourceType"] == "GuidanceResponse" and entry["resource"]["status"] == "data-required"]
    assert missing


def never_a_fault_of_ours(room: Room, path: Path) -> None:
    answer = asked(room, path)
    told = answer.json()
    assert [] == judge(told)
    if answer.status_code == 200:
        assert {"RiskAssessment", "GuidanceResponse", "Observation"} & {entry["resource"]["resourceType"] for entry in told["entry"]}
    else:
        assert 400 <= answer.status_code < 500
        assert all(issue["details"]["text"] for issue in told["issue"])


@pytest.mark.parametrize("path", RECORDS, ids=range(len(RECORDS)))
def test_a_synthetic_life_is_scored_or_told_what_is_missing(room: Room, path: Path) -> None:
    never_a_fault_of_ours(room, path)


def test_every_example_of_the_standard_is_answered(room: Room) -> None:
    assert EXAMPLES
    for path in EXAMPLES:
        if json.loads(path.read_text("utf-8")).get("resourceType"):
            never_a_fault_of_ours(room, path)
