"""$predict with a patient: the record is read from the site's own server and from no other, and results go back there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.fhir.push import NAME, as_transaction
from service.site import Site
from service.store.ehr_tables import Message
from tests.make import icu_bundle, tiny_release
from tests.service.fhir.ehr_house import FHIR, Room, fhir_room
from tests.service.fhir.site_server import Asked, Said, SiteServer, site_server

RESOURCES = [entry["resource"] for entry in icu_bundle(hours=6)["entry"]]


def hospital(asked: Asked) -> Said:
    """Answer as the FHIR server of a hospital with one patient."""
    place = asked.target.removeprefix("/fhir/").partition("?")[0]
    for one in RESOURCES:
        if place == f"{one['resourceType']}/{one['id']}":
            return Said(one)
    if "/" in place:
        return Said({"resourceType": "OperationOutcome", "issue": []}, 404)
    found = [{"resource": one} for one in RESOURCES if one["resourceType"] == place]
    return Said({"resourceType": "Bundle", "type": "searchset", **({"entry": found} if found else {})})


@pytest.fixture(scope="module")
def server() -> Iterator[SiteServer]:
    with site_server(hospital) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["read", "push"])
def room(request: pytest.FixtureRequest, server: SiteServer, tmp_path: Path) -> Iterator[Room]:
    tiny_release(tmp_path / "released", "risk")
    site = Site.model_validate({"fhir_server": {"url": server.url, "push": request.param}})
    with fhir_room(tmp_path / "released", tmp_path / "store", site=site) as opened:
        yield opened


def ask(room: Room, patient: str, **headers: str) -> Any:
    body = {"resourceType": "Parameters", "parameter": [{"name": "patient", "valueReference": {"reference": patient}}]}
    return room.client.post("/fhir/$predict", json=body, headers=FHIR | headers)


def messages(room: Room) -> list[Message]:
    with room.house.store.reading() as session:
        return list(session.scalars(select(Message)))


def pushes(room: Room) -> bool:
    return bool(room.house.site.fhir_server and room.house.site.fhir_server.push)


def test_the_record_is_read_and_scored_and_the_result_goes_back_when_it_should(room: Room) -> None:
    for _ in range(2):  # asked twice, sent once
        answer = ask(room, "Patient/p1")
        assert 200 == answer.status_code, answer.text
        assert "Patient/p1" == answer.json()["entry"][0]["resource"]["subject"]["reference"]
    sent = messages(room)
    assert [(NAME, "fhir")] * pushes(room) == [(one.target, one.kind) for one in sent]
    for one in sent:
        entries = as_transaction(one.content)["entry"]
        assert all(entry["request"]["ifNoneExist"] for entry in entries)
        assert [entry["resource"]["resourceType"] for entry in answer.json()["entry"]] == [
            entry["resource"]["resourceType"] for entry in entries]


def test_a_record_that_was_sent_stays_with_its_sender(room: Room) -> None:
    assert 200 == room.client.post("/fhir/$predict", json=icu_bundle(hours=6), headers=FHIR).status_code
    assert [] == messages(room)


def test_only_who_has_the_results_sent_may_do_without_the_answer(room: Room) -> None:
    minimal = ask(room, "Patient/p1", prefer="return=minimal")
    told = ask(room, "Patient/p1", prefer="return=OperationOutcome")
    if pushes(room):
        assert (204, "return=minimal") == (minimal.status_code, minimal.headers["preference-applied"])
        assert (200, "OperationOutcome") == (told.status_code, told.json()["resourceType"])
    else:
        assert ["Bundle", "Bundle"] == [one.json()["resourceType"] for one in (minimal, told)]


@pytest.mark.parametrize(("patient", "status"), [
    ("Patient/other", 404), ("http://elsewhere.example/fhir/Patient/p1", 400), ("Observation/o0", 400), ("Patient/../metadata", 400),
    ("//elsewhere.example/Patient/p1", 400), ("Patient/p1?_count=1", 400),
])
def test_what_is_not_a_patient_of_that_server_is_refused(room: Room, server: SiteServer, patient: str, status: int) -> None:
    before = len(server.asked)
    answer = ask(room, patient)
    assert (status, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])
    assert "elsewhere" not in answer.text
    assert all(one.startswith("/fhir/") for one in server.targets[before:])


def test_a_server_that_fails_is_told_apart_from_a_fault_of_the_caller(tmp_path: Path) -> None:
    tiny_release(tmp_path / "released", "risk")
    with site_server(lambda _: Said({"resourceType": "OperationOutcome", "issue": []}, 500)) as broken:
        site = Site.model_validate({"fhir_server": {"url": broken.url}})
        with fhir_room(tmp_path / "released", tmp_path / "store", site=site) as room:
            answer = ask(room, "Patient/p1")
    assert (502, "transient") == (answer.status_code, answer.json()["issue"][0]["code"])
