"""As the EHR team I ask POST /fhir/$predict for a stay in our record, and file what comes back beside the measurements."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from models.shelf import RELEASED
from tests.make import ROOT
from tests.service.fhir.ehr_house import FHIR, NDJSON, Room, fhir_room

STAYS = ROOT / "data-samples" / "stay"


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with fhir_room(RELEASED, tmp_path_factory.mktemp("store"), working=True) as opened:
        yield opened


def stay(name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((STAYS / f"{name}.json").read_text("utf-8"))
    return told


def ask(room: Room, record: dict[str, Any], **parameters: str) -> dict[str, dict[str, Any]]:
    """Ask as an interface engine does; return the resources of the answer by type, the main one of each."""
    rows: list[dict[str, Any]] = [{"name": name, "valueString": value} for name, value in parameters.items()]
    body = {"resourceType": "Parameters", "parameter": [*rows, {"name": "subject", "resource": record}]}
    answer = room.client.post("/fhir/$predict", json=body, headers=FHIR)
    assert 200 == answer.status_code, answer.text
    return {entry["resource"]["resourceType"]: entry["resource"] for entry in reversed(answer.json()["entry"])}


def test_i_find_out_what_the_service_offers(room: Room) -> None:
    statement = room.client.get("/fhir/metadata").json()
    (operation,) = [one for one in statement["rest"][0]["operation"] if one["name"] == "predict"]
    definition = room.client.get(operation["definition"].removeprefix("http://testserver")).json()
    assert {"model", "subject", "patient", "encounter", "moment", "language"} <= {one["name"] for one in definition["parameter"]}


def test_a_severe_stay_is_told_from_a_mild_one_and_the_reasons_come_with_it(room: Room) -> None:
    severe, mild = (ask(room, stay(name), model="icu_mortality") for name in ("high-risk", "low-risk"))

    risks = [one["RiskAssessment"]["prediction"][0]["probabilityDecimal"] for one in (severe, mild)]
    assert risks[0] > 0.5 > risks[1]
    reasons = [part for part in severe["Observation"]["component"] if "extension" in part]
    strongest = max(reasons, key=lambda part: part["extension"][0]["extension"][0]["valueDecimal"])
    assert {"code", "valueQuantity"} <= set(strongest)
    assert severe["Observation"]["focus"][0]["reference"] == f"urn:uuid:{severe['RiskAssessment']['id']}"


def test_what_i_file_says_that_a_machine_made_it_and_which(room: Room) -> None:
    told = ask(room, stay("high-risk"), model="icu_mortality")
    assert all("AIAST" == one["meta"]["security"][0]["code"] for one in told.values())
    assert {"preliminary"} == {told[kind]["status"] for kind in ("RiskAssessment", "Observation")}
    assert "icu_mortality-1.0.0" == told["Device"]["modelNumber"]


def test_the_answer_is_in_the_language_of_the_ward(room: Room) -> None:
    told = ask(room, stay("high-risk"), model="icu_mortality", language="fr")
    assert "Décès à l'hôpital" == told["RiskAssessment"]["prediction"][0]["outcome"]["text"]


def test_a_stay_with_too_little_in_it_tells_me_which_measurements_to_send(room: Room) -> None:
    record = json.loads((ROOT / "data-samples" / "refused" / "too_few_measurements.json").read_text("utf-8"))
    told = ask(room, record, model="icu_mortality")
    assert "RiskAssessment" not in told
    wanted = [one["codeFilter"][0]["code"][0] for one in told["GuidanceResponse"]["dataRequirement"] if "codeFilter" in one]
    assert {"http://loinc.org"} == {one["system"] for one in wanted}


def test_asking_twice_does_not_make_two_results(room: Room) -> None:
    first, second = (ask(room, stay("high-risk"), model="icu_mortality") for _ in range(2))
    assert [one["id"] for one in first.values()] == [one["id"] for one in second.values()]


def test_at_night_i_send_everybody_and_fetch_the_results_later(room: Room) -> None:
    population = "\n".join(json.dumps(stay(name)) for name in ("high-risk", "low-risk") * 2)
    taken = room.client.post("/fhir/$predict?model=icu_mortality", content=population.encode(), headers=NDJSON)
    assert 202 == taken.status_code
    place = taken.headers["content-location"].removeprefix("http://testserver")
    until = time.monotonic() + 60
    while (answer := room.client.get(place)).status_code == 202 and time.monotonic() < until:
        time.sleep(0.05)
    (output,) = answer.json()["output"]
    lines = room.client.get(output["url"].removeprefix("http://testserver")).text.splitlines()
    assert 4 == len(lines)
    assert 204 > room.client.delete(place).status_code
    assert 404 == room.client.get(place).status_code
