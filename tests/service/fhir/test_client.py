"""Reading one patient's record from the site's FHIR server: page by page, of this patient alone, within limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from service.fhir.client import MAX_PAGES, FhirClient, FhirServerError, fetch_record
from service.site import FhirServer, Site
from tests.service.fhir.site_server import Asked, Said, searchset, site_server

PATIENT = {"resourceType": "Patient", "id": "p1", "birthDate": "1956-01-15"}
STAY = {"resourceType": "Encounter", "id": "e1", "status": "in-progress", "subject": {"reference": "Patient/p1"},
        "period": {"start": "2026-03-01T08:00:00+01:00"}}


def observation(number: int, subject: str = "Patient/p1") -> dict[str, Any]:
    return {"resourceType": "Observation", "id": f"o{number}", "status": "final", "subject": {"reference": subject}}


def hospital(*observations: dict[str, Any], missing: dict[str, int] | None = None) -> Any:
    """A server with one patient, one stay and some observations, two a page; ``missing`` kinds answer with a status."""

    def answers(asked: Asked) -> Said:
        path, _, query = asked.target.removeprefix("/fhir/").partition("?")
        kind = path.partition("/")[0]
        if kind in (missing or {}):
            return Said({"resourceType": "OperationOutcome"}, (missing or {})[kind])
        if path in ("Patient/p1", "Encounter/e1"):
            return Said(PATIENT if kind == "Patient" else STAY)
        if kind == "Encounter":
            return Said(searchset(STAY, {"resourceType": "OperationOutcome", "issue": []}))
        if kind == "Observation":
            page = int(query.rpartition("page=")[2]) if "page=" in query else 0
            following = f"http://{asked.headers['host']}/fhir/Observation?page={page + 1}"
            more = {"next": following} if 2 * page + 2 < len(observations) else {}
            return Said(searchset(*observations[2 * page : 2 * page + 2], **more))
        return Said(searchset())

    return answers


def fetch(answers: Any, **more: Any) -> tuple[list[dict[str, Any]], list[str]]:
    with site_server(answers) as server:
        bundle = fetch_record(Site(fhir_server=FhirServer(url=server.url)), "Patient/p1", "Encounter/e1", **more)
    assert ("Bundle", "collection") == (bundle["resourceType"], bundle["type"])
    return [entry["resource"] for entry in bundle["entry"]], server.targets


def test_a_record_is_read_over_all_pages_and_each_resource_once() -> None:
    found, asked = fetch(hospital(*map(observation, range(5))))
    assert ["p1", "e1", "o0", "o1", "o2", "o3", "o4"] == [one["id"] for one in found]
    assert 3 == sum("Observation" in one for one in asked)


def test_observations_are_asked_for_from_a_year_before_the_stay_or_from_when_the_caller_says() -> None:
    _, asked = fetch(hospital())
    assert "date=ge2025-02-28T07%3A00%3A00Z" in next(one for one in asked if "Observation" in one)
    _, asked = fetch(hospital(), since=datetime(2026, 3, 1, tzinfo=UTC))
    assert "date=ge2026-03-01T00%3A00%3A00Z" in next(one for one in asked if "Observation" in one)


def test_absolute_references_to_the_server_itself_are_its_own() -> None:
    with site_server(hospital(observation(1, "Patient/p1/_history/3"))) as server:
        site = Site(fhir_server=FhirServer(url=server.url))
        bundle = fetch_record(site, f"{server.url}/Patient/p1", f"{server.url}/Encounter/e1")
    assert 3 == len(bundle["entry"])


@pytest.mark.parametrize("other", [
    {"reference": "Patient/p2"}, {"reference": "https://elsewhere.example/Patient/p1"}, {"display": "somebody"}, {"reference": 1},
    None,
])  # fmt: skip
def test_a_server_that_answers_with_somebody_else_s_data_is_not_believed(other: Any) -> None:
    stranger = {**observation(2), "subject": other}
    with pytest.raises(FhirServerError) as caught:
        fetch(hospital(observation(1), stranger))
    assert "another_patient" == caught.value.code
    assert "p2" not in str(caught.value)


def test_another_patient_than_the_one_asked_for_is_not_believed() -> None:
    with pytest.raises(FhirServerError) as caught:
        fetch(lambda asked: Said({**PATIENT, "id": "p2"}))
    assert "another_resource" == caught.value.code


def test_what_a_server_does_not_offer_is_told_and_the_rest_is_read() -> None:
    found, _ = fetch(hospital(observation(1), missing={"MedicationStatement": 404, "Procedure": 403}))
    told = [one["diagnostics"] for one in found[-1]["issue"]]
    assert ["MedicationStatement was not read: not_found", "Procedure was not read: not_allowed"] == told


@pytest.mark.parametrize(("kind", "status", "code"), [
    ("Patient", 404, "not_found"), ("Patient", 410, "not_found"), ("Observation", 403, "not_allowed"),
    ("Observation", 400, "refused"), ("Encounter", 404, "not_found"), ("Condition", 500, "failed"), ("Patient", 401, "not_allowed"),
])  # fmt: skip
def test_what_is_needed_and_cannot_be_read_ends_it_with_a_word(kind: str, status: int, code: str) -> None:
    with pytest.raises(FhirServerError) as caught:
        fetch(hospital(missing={kind: status}))
    assert code == caught.value.code


def test_pages_without_end_end() -> None:
    pages = iter(range(10**9))

    def answers(asked: Asked) -> Said:
        if "Encounter?" not in asked.target:
            return hospital()(asked)  # type: ignore[no-any-return]
        return Said(searchset(next=f"http://{asked.headers['host']}/fhir/Encounter?page={next(pages)}"))

    with pytest.raises(FhirServerError) as caught:
        fetch(answers)
    assert "too_large" == caught.value.code
    assert next(pages) <= MAX_PAGES


def test_a_search_that_is_cut_off_without_a_next_page_is_not_taken_for_the_whole() -> None:
    def answers(asked: Asked) -> Said:
        said: Said = hospital(observation(1))(asked)
        return Said({**said.body, "total": 2}) if "Observation?" in asked.target else said

    with pytest.raises(FhirServerError) as caught:
        fetch(answers)
    assert "incomplete" == caught.value.code


def test_a_page_that_names_itself_as_the_next_ends_the_search() -> None:
    with site_server(lambda asked: Said(searchset(next=f"http://{asked.headers['host']}{asked.target}"))) as server, \
            FhirClient(FhirServer(url=server.url)) as client, pytest.raises(FhirServerError):
        list(client.search("Condition"))
    assert 2 == len(server.asked)


def test_without_a_server_the_caller_is_told_what_to_do() -> None:
    with pytest.raises(FhirServerError, match=r"name \[fhir_server\] in the site file") as caught:
        fetch_record(Site(), "Patient/p1")
    assert "not_configured" == caught.value.code


@pytest.mark.parametrize("reference", [
    "Encounter/e1", "Patient/..", "Patient/.", "Patient/a/b", "p1", "Patient/p1?x=y", "Patient/p 1",
])  # fmt: skip
def test_only_a_patient_is_read_as_one(reference: str) -> None:
    with site_server(hospital()) as server, pytest.raises(FhirServerError) as caught:
        fetch_record(Site(fhir_server=FhirServer(url=server.url)), reference)
    assert ("not_ours", []) == (caught.value.code, server.asked)


def test_a_server_that_is_not_there_is_unreachable_within_its_time() -> None:
    with pytest.raises(FhirServerError) as caught:
        fetch_record(Site(fhir_server=FhirServer(url="http://127.0.0.1:9/fhir", timeout_s=2)), "Patient/p1")
    assert "unreachable" == caught.value.code


def test_the_server_is_told_nothing_but_what_it_is_asked() -> None:
    with site_server(hospital(observation(1))) as server:
        fetch_record(Site(fhir_server=FhirServer(url=server.url)), "Patient/p1")
    assert {"accept", "accept-encoding", "host", "user-agent"} == set(server.asked[0].headers)
