"""The pages of the audit: who may see them, what they show, and that looking is itself a line."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from service.persons_keys import keys_of_dicom, keys_typed
from service.site import Site
from service.store.audit import Line, lines
from tests.service.audit.audit_house import ADMINISTRATOR, KEY, PROGRAM, RADIOLOGIST, AuditHouse, audit_house

CHU = "https://chu.example/ipp"
PAGES = (("GET", "/review/audit"), ("POST", "/review/audit/export"), ("GET", "/review/persons"), ("POST", "/review/persons"),
         ("POST", "/review/persons/export"), ("GET", "/fhir/AuditEvent"), ("GET", "/fhir/AuditEvent/1"))


@pytest.fixture
def house(tmp_path: Path):  # type: ignore[no-untyped-def]
    site = Site.model_validate({"identity": {"issuers": {"CHU": CHU}}, "device": {"time_zone": "Europe/Paris"}})
    with audit_house(tmp_path, site=site) as opened:
        yield opened


def kept(house: AuditHouse) -> list[Line]:
    house.audit.flush()
    with house.house.store.reading() as session:
        return lines(session)


def look_at(house: AuditHouse, identifier: str, issuer: str = "", times: int = 1) -> tuple[str, ...]:
    dataset = Dataset()
    dataset.PatientID, dataset.IssuerOfPatientID = identifier, issuer
    keys = keys_of_dicom(house.house.store, house.house.site, dataset)
    with house.house.store.session() as session:
        for _ in range(times):
            house.audit.append(session, RADIOLOGIST, "view", kind="study", item=KEY, persons=keys)
    return keys


def test_only_who_may_audit_sees_any_of_it(house: AuditHouse) -> None:
    look_at(house, "12345")
    for caller in (RADIOLOGIST, PROGRAM):
        house.become(caller)
        for method, path in PAGES:
            answer = house.client.request(method, path, data={"identifier": "12345"} if method == "POST" else None)
            assert (403, False) == (answer.status_code, "Camille" in answer.text), path


def test_page_shows_who_did_what_and_is_itself_written_down(house: AuditHouse) -> None:
    look_at(house, "12345")
    page = house.client.get("/review/audit")
    assert 200 == page.status_code
    for told in ("Camille Essai", "rpps:10000000002", "Looked at", "Radiologist"):
        assert told in page.text
    assert ("rpps:10000000001", "view", "audit") == (kept(house)[-1].actor, kept(house)[-1].action, kept(house)[-1].kind)


def test_pages_go_back_by_number_and_keep_the_filter(house: AuditHouse) -> None:
    look_at(house, "1", times=150)
    page = house.client.get("/review/audit?action=view&outcome=success")
    older = re.search(r'href="(/review/audit\?[^"]*before=[^"]*)"', page.text)
    assert older
    assert "action=view" in older[1]
    second = house.client.get(older[1].replace("&amp;", "&"))
    shown = [int(one) for one in re.findall(r'<td class="num muted">(\d+)</td>', page.text + second.text)]
    assert list(range(150, 0, -1)) == shown[:150]


def test_filter_by_person_day_and_outcome(house: AuditHouse) -> None:
    look_at(house, "1")
    house.audit.note(None, "denied", kind="address", outcome="denied", detail={"route": "/v1/images"})
    page = house.client.get("/review/audit")
    key = re.search(r'<option value="([0-9a-f]{16})">Camille Essai</option>', page.text)
    assert key
    rows = lambda query: house.client.get(f"/review/audit?{query}").text.count("<tr")  # noqa: E731
    assert 2 == rows(f"actor={key[1]}")
    assert 2 == rows("outcome=denied")
    assert 0 == rows("until=2001-01-01")
    assert rows("") == rows("since=2001-01-01") - 1 == rows("since=garbage&action=garbage&before=x&actor=x") - 2


def test_who_looked_at_a_patient_is_found_under_the_right_issuer_only(house: AuditHouse) -> None:
    look_at(house, "12345", "CHU", times=3)
    look_at(house, "12345", times=2)
    found = house.client.post("/review/persons", data={"identifier": "12345", "issuer": CHU})
    assert (200, 1) == (found.status_code, found.text.count("audit-group-head"))
    assert "Lines on this page: 3. Different people: 1." in found.text
    nobody = house.client.post("/review/persons", data={"identifier": "12345", "issuer": "-"})
    assert "Lines on this page: 2. Different people: 1." in nobody.text
    both = house.client.post("/review/persons", data={"identifier": "12345", "issuer": "all"})
    assert (2, True) == (both.text.count("audit-group-head"), "These may be different people" in both.text)
    assert "Nobody looked" in house.client.post("/review/persons", data={"identifier": "99999", "issuer": CHU}).text
    assert "Type an identifier" in house.client.post("/review/persons", data={"identifier": " "}).text


def test_identifier_stands_in_no_line_and_no_address(house: AuditHouse) -> None:
    keys = look_at(house, "CANARYID", "CHU", times=150)
    found = house.client.post("/review/persons", data={"identifier": "CANARYID", "issuer": CHU})
    line = kept(house)[-1]
    assert ("search", "person", keys) == (line.action, line.kind, line.persons)
    assert not [one for one in re.findall(r'(?:href|action|src)="([^"]*)"', found.text) if "CANARYID" in one]
    assert "CANARYID" not in str(kept(house))
    assert "CANARYID" not in re.search(r"<title>(.*?)</title>", found.text)[1]  # type: ignore[index]


def test_older_lines_of_a_patient_are_asked_for_by_key(house: AuditHouse) -> None:
    (key,) = look_at(house, "1", "CHU", times=130)
    page = house.client.post("/review/persons", data={"identifier": "1", "issuer": CHU})
    before = re.search(r'name="before" value="(\d+)"', page.text)
    assert before
    older = house.client.post("/review/persons", data={"person": key, "issuer": CHU, "before": before[1]})
    assert 30 == older.text.count('<td class="num muted">')


def test_tables_are_exported_and_that_is_a_line(house: AuditHouse) -> None:
    (key,) = look_at(house, "1", "CHU", times=3)
    house.audit.note(ADMINISTRATOR, "login")
    of_person = house.client.post("/review/persons/export", data={"person": key})
    assert 'attachment; filename="who-looked.csv"' == of_person.headers["content-disposition"]
    rows = list(csv.reader(io.StringIO(of_person.text.removeprefix("\ufeff"))))
    assert ["view"] * 3 == [row[5] for row in rows[1:]]
    everything = house.client.post("/review/audit/export", data={"action": "login"})
    assert 2 == len(everything.text.splitlines())
    assert ["export", "export"] == [one.action for one in kept(house)[-2:]]
    assert (key,) == kept(house)[-2].persons
    assert 400 == house.client.post("/review/persons/export", data={"person": "12345"}).status_code


def test_every_choice_of_a_form_has_a_value_else_a_browser_does_not_send_it(house: AuditHouse) -> None:
    for path in ("/review/audit", "/review/persons"):
        assert '<option value=""' not in house.client.get(path).text
    everything = house.client.get("/review/audit?action=all&actor=all&outcome=all&since=&until=").text
    assert "Show all" not in everything


def test_hostile_names_are_escaped(house: AuditHouse) -> None:
    from dataclasses import replace

    house.audit.note(replace(RADIOLOGIST, name="<script>alert(1)</script>", subject="rpps:\"><img src=x>"), "view")
    text = house.client.get("/review/audit").text
    assert "<script>alert" not in text
    assert "<img" not in text


def test_fhir_search_pages_through_every_event_once(house: AuditHouse) -> None:
    keys = look_at(house, "1", "CHU", times=7)
    url, seen = "/fhir/AuditEvent?_count=3&agent=rpps:10000000002&subtype=view", []
    while url:
        bundle = house.client.get(url).json()
        seen += [int(one["resource"]["id"]) for one in bundle.get("entry", [])]
        url = next((one["url"].removeprefix("http://testserver") for one in bundle["link"] if one["relation"] == "next"), "")
    assert [7, 6, 5, 4, 3, 2, 1] == seen
    about = house.client.get(f"/fhir/AuditEvent?patient=urn:diaphane:person|{keys[0]}").json()
    assert 7 <= len(about["entry"])
    assert "AuditEvent" == house.client.get("/fhir/AuditEvent/1").json()["resourceType"]
    for query in ("patient=Essai", "date=yesterday", "subtype=x", "outcome=1", "name=x", "_count=x"):
        told = house.client.get(f"/fhir/AuditEvent?{query}")
        assert (400, "OperationOutcome") == (told.status_code, told.json()["resourceType"])
    assert 404 == house.client.get("/fhir/AuditEvent/999").status_code == house.client.get("/fhir/AuditEvent/x").status_code


def test_fhir_search_by_time(house: AuditHouse) -> None:
    look_at(house, "1", times=2)
    first = house.client.get("/fhir/AuditEvent/1").json()["recorded"]
    count = lambda query: len(house.client.get("/fhir/AuditEvent", params=query).json().get("entry", []))  # noqa: E731
    assert 0 == count({"date": "lt2001-01-01"}) == count({"date": "ge2999-01-01"})
    assert 2 <= count({"date": ["ge2001-01-01", "lt2999-01-01"]})
    assert 2 <= count({"date": f"ge{first}"})


def test_keys_that_are_typed_are_those_that_were_written(house: AuditHouse) -> None:
    assert look_at(house, "12", "CHU") == keys_typed(house.house.store, house.house.site, f"{CHU}|12")
