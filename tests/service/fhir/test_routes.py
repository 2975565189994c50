"""HTTP under /fhir: every answer is FHIR, errors too; formats, preferences, batches and the description of it all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from service.fhir.judge import judge
from tests.make import icu_bundle, tiny_release
from tests.service.fhir.ehr_house import FHIR, Room, fhir_room


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "risk")
    with fhir_room(folder, tmp_path_factory.mktemp("store"), api_token="a-token-of-tests") as opened:
        opened.client.headers["authorization"] = "Bearer a-token-of-tests"
        yield opened


def outcome(answer: Any, status: int) -> dict[str, Any]:
    """Return the first issue of an OperationOutcome, once it is found to be one."""
    told: dict[str, Any] = answer.json()
    assert (status, "OperationOutcome") == (answer.status_code, told["resourceType"])
    assert answer.headers["content-type"].startswith("application/fhir+json")
    assert [] == judge(told)
    issue: dict[str, Any] = told["issue"][0]
    return issue


def test_a_record_is_answered_with_a_bundle(room: Room) -> None:
    answer = room.client.post("/fhir/$predict", json=icu_bundle(hours=6), headers=FHIR)
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])
    assert [] == judge(answer.json())
    assert "RiskAssessment" == answer.json()["entry"][0]["resource"]["resourceType"]


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("GET", "/fhir/nothing", 404, "not-found"), ("GET", "/fhir/", 404, "not-found"), ("GET", "/fhir/Patient/1", 404, "not-found"),
    ("GET", "/fhir/$predict", 405, "not-supported"), ("DELETE", "/fhir/metadata", 405, "not-supported"),
    ("PUT", "/fhir/CodeSystem/diaphane", 405, "not-supported"), ("GET", "/fhir/CodeSystem/other", 404, "not-found"),
    ("GET", "/fhir", 405, "not-supported"), ("GET", "/fhir/$predict-status/0", 404, "not-found"),
    ("DELETE", "/fhir/$predict-status/0", 404, "not-found"), ("GET", "/fhir/$predict-output/0/bundles.ndjson", 404, "not-found"),
])
def test_every_error_is_an_operation_outcome(room: Room, method: str, path: str, status: int, code: str) -> None:
    answer = room.client.request(method, path)
    assert code == outcome(answer, status)["code"]
    if status == 405:
        assert method not in answer.headers["allow"]


@pytest.mark.parametrize(("headers", "path", "status"), [
    ({"content-type": "text/plain"}, "/fhir/$predict", 415),
    ({"content-type": "application/fhir+xml"}, "/fhir/$predict", 415),
    ({"content-type": "application/fhir+json; fhirVersion=3.0"}, "/fhir/$predict", 415),
    ({"content-type": "application/fhir+json; charset=latin-1"}, "/fhir/$predict", 415),
    ({"content-type": "application/fhir+json", "accept": "application/fhir+xml"}, "/fhir/$predict", 406),
    ({"content-type": "application/fhir+json", "accept": "application/fhir+json;q=0"}, "/fhir/$predict", 406),
    ({"content-type": "application/fhir+json", "accept": "application/fhir+json; fhirVersion=5.0"}, "/fhir/$predict", 406),
    ({"content-type": "application/fhir+json"}, "/fhir/$predict?_format=xml", 406),
])
def test_other_formats_are_refused_by_name(room: Room, headers: dict[str, str], path: str, status: int) -> None:
    outcome(room.client.post(path, json=icu_bundle(hours=1), headers=headers), status)


@pytest.mark.parametrize(("headers", "path"), [
    ({"content-type": "application/json"}, "/fhir/$predict?_format=json"),
    ({"content-type": "application/fhir+json; charset=UTF-8; fhirVersion=4.0"}, "/fhir/%24predict"),
    ({"content-type": "application/fhir+json", "accept": "text/html, application/fhir+json;q=0.5"}, "/fhir/$predict"),
    ({"content-type": "application/fhir+json", "accept": "application/fhir+xml"}, "/fhir/$predict?_format=application/fhir%2Bjson"),
])
def test_json_of_r4_is_taken_however_it_is_named(room: Room, headers: dict[str, str], path: str) -> None:
    assert 200 == room.client.post(path, json=icu_bundle(hours=6), headers=headers).status_code


@pytest.mark.parametrize(("body", "code"), [(b"", "empty_body"), (b"{", "not_json"), (b"[1]", "not_json")])
def test_a_body_that_is_no_resource_is_refused(room: Room, body: bytes, code: str) -> None:
    assert code == outcome(room.client.post("/fhir/$predict", content=body, headers=FHIR), 400)["details"]["coding"][0]["code"]


def test_a_fault_of_the_record_is_told_by_its_element(room: Room) -> None:
    bundle = icu_bundle(hours=1)
    bundle["entry"][2]["resource"]["effectiveDateTime"] = "CANARI 2026"
    issue = outcome(room.client.post("/fhir/$predict", json=bundle, headers=FHIR), 400)
    assert issue["expression"][0].startswith("Bundle.entry[2].resource.effective")
    assert "CANARI" not in str(issue)


def test_an_unknown_release_is_not_found(room: Room) -> None:
    issue = outcome(room.client.post("/fhir/$predict?model=other", json=icu_bundle(hours=1), headers=FHIR), 404)
    assert "unknown_model" == issue["details"]["coding"][0]["code"]


def test_the_language_is_that_of_the_parameter_then_of_the_header(room: Room) -> None:
    told = [room.client.post(path, json=icu_bundle(hours=6), headers=FHIR | {"accept-language": "fr-FR,fr;q=0.9"}).json()["language"]
            for path in ("/fhir/$predict", "/fhir/$predict?language=en")]
    assert ["fr", "en"] == told


def test_the_entries_of_a_batch_are_answered_one_by_one(room: Room) -> None:
    request = {"method": "POST", "url": "$predict"}
    entries = [{"request": request, "resource": icu_bundle(hours=6)}, {"request": request, "resource": {"resourceType": "Patient"}},
               {"request": {"method": "GET", "url": "Patient/1"}}, {"request": request}]
    body = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    for path in ("/fhir", "/fhir/$predict"):
        told = room.client.post(path, json=body, headers=FHIR).json()
        assert [] == judge(told)
        assert ("batch-response", ["200 OK", "400", "400", "400"]) == (
            told["type"], [one["response"]["status"] for one in told["entry"]])
        assert ["Bundle", None, None, None] == [one.get("resource", {}).get("resourceType") for one in told["entry"]]


def test_a_batch_of_other_things_is_refused(room: Room) -> None:
    outcome(room.client.post("/fhir", json=icu_bundle(hours=1), headers=FHIR), 400)
    many = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "POST", "url": "$predict"}}] * 201}
    outcome(room.client.post("/fhir", json=many, headers=FHIR), 413)


def test_the_capability_statement_lists_what_is_routed_and_nothing_else(room: Room) -> None:
    statement = room.client.get("/fhir/metadata").json()
    assert [] == judge(statement)
    rest = statement["rest"][0]
    told = {f"/fhir/{one['type']}" for one in rest["resource"]} | {f"/fhir/${one['name']}" for one in rest["operation"]}
    routed = {route.path for route in room.fhir.routes() if isinstance(route, Route)}
    assert told == {path for path in routed if re.fullmatch(r"/fhir/(\$predict|[A-Z]\w+)", path)}
    assert ["batch"] == [one["code"] for one in rest["interaction"]]
    assert {("read", "search-type")} == {tuple(sorted(i["code"] for i in one["interaction"])) for one in rest["resource"]}


def test_every_operation_that_is_named_is_defined_here(room: Room) -> None:
    for one in room.client.get("/fhir/metadata").json()["rest"][0]["operation"]:
        definition = room.client.get(one["definition"].removeprefix("http://testserver")).json()
        assert [] == judge(definition)
        assert (one["name"], one["definition"]) == (definition["code"], definition["url"])


@pytest.mark.parametrize("kind", ["OperationDefinition", "CodeSystem", "StructureDefinition"])
def test_definitions_are_listed_selected_and_read(room: Room, kind: str) -> None:
    found = room.client.get(f"/fhir/{kind}").json()
    assert [] == judge(found)
    assert found["total"] == len(found["entry"]) > 0
    one = found["entry"][0]["resource"]
    assert one == room.client.get(f"/fhir/{kind}/{one['id']}").json()
    assert 1 == room.client.get(f"/fhir/{kind}", params={"url": one["url"]}).json()["total"]
    assert 0 == room.client.get(f"/fhir/{kind}", params={"url": "urn:other"}).json()["total"]
    outcome(room.client.get(f"/fhir/{kind}?colour=red", headers={"prefer": "handling=strict"}), 400)
    assert 200 == room.client.get(f"/fhir/{kind}?colour=red").status_code


def test_the_public_address_is_the_one_that_answers_name(tmp_path: Path) -> None:
    tiny_release(tmp_path / "released", "risk")
    with fhir_room(tmp_path / "released", tmp_path / "store", public_url="https://ai.example.org/") as room:
        statement = room.client.get("/fhir/metadata", headers={"host": "evil.example"}).json()
    assert "https://ai.example.org/fhir" == statement["implementation"]["url"]


def test_what_is_not_foreseen_is_told_without_its_text(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CANARI Jeanne")

    monkeypatch.setattr("service.fhir.routes.read_wish", fail)
    answer = room.client.post("/fhir/$predict", json=icu_bundle(hours=1), headers=FHIR)
    assert "fatal" == outcome(answer, 500)["severity"]
    assert "CANARI" not in answer.text


def test_releases_that_are_not_open_yet_are_told_before_the_body_is_read(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.house.scoring, "_shelf", None)
    answer = room.client.post("/fhir/$predict", json=icu_bundle(hours=1), headers=FHIR)
    assert "transient" == outcome(answer, 503)["code"]
    assert answer.headers["retry-after"]
    assert 200 == room.client.get("/fhir/metadata").status_code


def test_errors_are_in_the_language_that_is_accepted(room: Room) -> None:
    told = {language: room.client.post("/fhir/$predict", content=b"[]", headers={**FHIR, "accept-language": language}).json()
            for language in ("en", "fr")}
    english, french = (told[language]["issue"][0]["details"]["text"] for language in ("en", "fr"))
    assert english.startswith("Not JSON.")
    assert french != english
    assert told["fr"]["issue"][0]["details"]["coding"] == told["en"]["issue"][0]["details"]["coding"]
