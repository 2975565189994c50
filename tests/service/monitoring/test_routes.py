"""How measurements come in: singly, as Bundles, by Subscription; what is wrong is told with element and rule, never a value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.fhir.judge import judge
from service.monitoring.observations import take
from service.store import monitoring as rows
from tests.service.monitoring.home import CALM, HIGH, MODEL, Home, bundle, heart_rate, home

PERSON = {"resourceType": "Patient", "id": "p1", "birthDate": "1950-01-01", "gender": "female"}
CODES = {"HR"}


def standing(at_home: Home, subject: str = "Patient/p1") -> list[tuple[float, float]]:
    return [(round((one.at - at_home.clock()) / 60 + at_home.clock.minute), one.value)
            for one in rows.look(at_home.store, subject, MODEL, CODES, 0.0)[1]]


def test_one_observation_is_taken_and_located(at_home: Home) -> None:
    answer = at_home.hear(0, CALM, id="o1")
    assert "/fhir/Observation/o1" == answer.headers["location"]
    assert "OperationOutcome" == answer.json()["resourceType"]
    assert at_home.hear(1, CALM).headers["location"].startswith("/fhir/Observation/diaphane-")
    assert [(0, CALM), (1, CALM)] == standing(at_home)


def test_what_was_located_can_be_corrected_under_its_address(at_home: Home) -> None:
    place = at_home.hear(0, CALM).headers["location"].removeprefix("/fhir/")
    again = heart_rate(0, HIGH, id=place.partition("/")[2], status="corrected")
    assert 200 == at_home.post(again, place, method="PUT").status_code
    assert [(0, HIGH)] == standing(at_home)


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"subject": {"reference": "Group/1"}}, "required", "Observation.subject"),
    ({"subject": {"display": "Marie Curie"}}, "required", "Observation.subject"),
    ({"subject": {"reference": "Patient/.."}}, "required", "Observation.subject"),
    ({"subject": None}, "required", "Observation.subject"),
    ({"id": "a b"}, "invalid", "Observation.id"),
    ({"id": "\x00"}, "invalid", "Observation.id"),
    ({"id": 7}, "invalid", "Observation.id"),
    ({"subject": {"reference": "Patient/\x00"}}, "required", "Observation.subject"),
    ({"effectiveDateTime": "2026-03-01"}, "invalid", "Observation.effective[x]"),
    ({"effectiveDateTime": "2026-03-01T08:00:00"}, "invalid", "Observation.effective[x]"),
    ({"effectiveDateTime": None}, "invalid", "Observation.effective[x]"),
    ({"effectiveDateTime": "2026-03-01T08:11:00Z"}, "business-rule", "Observation.effective[x]"),
    ({"effectiveDateTime": "2026-02-27T08:00:00Z"}, "business-rule", "Observation.effective[x]"),
    ({"code": {"text": "Marie Curie"}}, "not-supported", "Observation.code"),
    ({"code": {"coding": [{"system": "http://loinc.org", "code": "29463-7"}]}}, "not-supported", "Observation.code"),
    ({"valueQuantity": {"value": 80, "unit": "Marie"}}, "value", "Observation.value[x]"),
    ({"valueQuantity": {"value": "80", "unit": "/min"}}, "value", "Observation.value[x]"),
    ({"valueQuantity": [80]}, "value", "Observation.value[x]"),  # there, and unreadable: no deletion of an earlier one
    ({"valueQuantity": None, "valueString": "80,5 /min"}, "value", "Observation.value[x]"),
    ({"status": "preliminary"}, "business-rule", "Observation.status"),
    ({"status": "unheard of"}, "business-rule", "Observation.status"),
]


@pytest.mark.parametrize(("change", "code", "element"), WRONG)
def test_what_cannot_be_used_is_refused_with_its_element(at_home: Home, change: dict[str, Any], code: str, element: str) -> None:
    answer = at_home.post({**heart_rate(0, CALM), **change})
    [issue] = answer.json()["issue"]
    assert (422, code, [element]) == (answer.status_code, issue["code"], issue["expression"])
    assert "Curie" not in answer.text
    assert [] == standing(at_home)


def test_another_resource_is_refused(at_home: Home) -> None:
    assert 400 == at_home.post(PERSON).status_code
    assert 400 == at_home.post(PERSON, "").status_code
    assert 422 == at_home.post(heart_rate(0, CALM, id="a"), "Observation/b", method="PUT").status_code
    assert 415 == at_home.post({}, **{"content-type": "text/plain"}).status_code


@pytest.mark.parametrize("period", [
    {"start": "2026-03-01T07:50:00Z", "end": "2026-03-01T08:00:00Z"}, {"start": "2026-03-01T08:00:00Z"},
])  # fmt: skip
def test_a_period_counts_at_its_end(at_home: Home, period: dict[str, str]) -> None:
    told = {**heart_rate(0, CALM), "effectivePeriod": period}
    del told["effectiveDateTime"]
    assert 201 == at_home.post(told).status_code
    assert [(0, CALM)] == standing(at_home)


@pytest.mark.parametrize("offset_h", [-5, 0, 2, 11])
def test_zones_are_one_time(at_home: Home, offset_h: int) -> None:
    at_home.post(heart_rate(0, CALM, offset_h=offset_h))
    assert [(0, CALM)] == standing(at_home)
    watched, _ = rows.look(at_home.store, "Patient/p1", MODEL, CODES, 0.0)
    assert watched is not None
    assert 60 * offset_h == watched.detail["zone_min"]


@pytest.mark.parametrize("kind", ["collection", "message", "searchset", "history", "document"])
def test_a_bundle_of_many_people_is_taken(at_home: Home, kind: str) -> None:
    others = heart_rate(0, HIGH, "Patient/p2"), heart_rate(0, HIGH, "Group/1")
    answer = at_home.post(bundle(PERSON, heart_rate(0, CALM), *others, kind=kind), "")
    assert 200 == answer.status_code
    texts = [one["details"]["text"] for one in answer.json()["issue"]]
    assert "2 Observations were taken, 0 taken back." == texts[0]
    assert texts[1].endswith("(1 Observations)")
    assert [[(0, CALM)], [(0, HIGH)]] == [standing(at_home), standing(at_home, "Patient/p2")]


def test_a_transaction_is_taken_whole_or_not_at_all(at_home: Home) -> None:
    good, bad = heart_rate(0, CALM), heart_rate(0, CALM, "Group/1")
    answer = at_home.post(bundle(good, bad, kind="transaction"), "")
    assert (422, ["Bundle.entry[1].resource.subject"]) == (answer.status_code, answer.json()["issue"][0]["expression"])
    assert [] == standing(at_home)
    answer = at_home.post(bundle(PERSON, good, kind="transaction"), "")
    assert ["200 OK", "201 Created"] == [one["response"]["status"] for one in answer.json()["entry"]]
    assert "transaction-response" == answer.json()["type"]
    assert [(0, CALM)] == standing(at_home)


def test_of_a_batch_each_entry_says_what_became_of_it(at_home: Home) -> None:
    answer = at_home.post(bundle(heart_rate(0, CALM, id="a"), heart_rate(0, CALM, "Group/1", id="b"), kind="batch", method="PUT"), "")
    assert ["200 OK", "422 Unprocessable Entity"] == [one["response"]["status"] for one in answer.json()["entry"]]
    gone = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": {"method": "DELETE", "url": "Observation/a"}}]}
    assert "204 No Content" == at_home.post(gone, "").json()["entry"][0]["response"]["status"]
    assert [] == standing(at_home)


def test_a_patient_inside_the_bundle_is_who_its_full_url_names_and_brings_age_and_sex(at_home: Home) -> None:
    told = bundle(PERSON, heart_rate(0, CALM, "urn:uuid:5d1b1cf0-6ef0-4b1a-9c8d-9b8f8b1d8d11"), kind="transaction")
    told["entry"][0]["fullUrl"] = "urn:uuid:5d1b1cf0-6ef0-4b1a-9c8d-9b8f8b1d8d11"
    assert 200 == at_home.post(told, "").status_code
    watched, _ = rows.look(at_home.store, "Patient/p1", MODEL, CODES, 0.0)
    assert watched is not None
    assert {"age_years": 76.0, "male": 0.0} == watched.detail["static"]


def test_subscription_notifications_are_taken_and_never_refused_for_their_content(at_home: Home) -> None:
    status = {"resourceType": "Parameters", "parameter": [{"name": "type", "valueCode": "event-notification"}]}
    for body, path, method in (
        (heart_rate(0, CALM, id="a"), "$notify", "POST"),
        (heart_rate(1, CALM, id="b"), "$notify/Observation/b", "PUT"),
        (bundle(status, heart_rate(2, CALM, id="c"), kind="history"), "$notify", "POST"),
        ({**bundle(status, kind="history"), "type": "subscription-notification"}, "$notify", "POST"),
        (status, "$notify", "POST"), (heart_rate(3, CALM, "Group/1"), "$notify", "POST"),
    ):
        at_home.clock.minute = 5
        assert 200 == at_home.post(body, path, method=method).status_code
    assert [0, 1, 2] == [minute for minute, _ in standing(at_home)]


def test_flags_show_what_stands_and_what_ended(at_home: Home) -> None:
    for minute, rate in ((0, CALM), (15, HIGH)):
        at_home.hear(minute, rate)
    answer = at_home.client.get("/fhir/Flag?patient=p1", headers={"accept-language": "fr"})
    [entry] = answer.json()["entry"]
    flag = entry["resource"]
    assert ("active", "Patient/p1", "fr") == (flag["status"], flag["subject"]["reference"], flag["language"])
    assert 1 == at_home.client.get("/fhir/Flag").json()["total"]
    assert 0 == at_home.client.get("/fhir/Flag?patient=Patient/p2").json()["total"]
    assert 0 == at_home.client.get("/fhir/Flag?status=inactive").json()["total"]
    for query in ("code=x", "status=entered-in-error", "patient=%00", "subject=Group/1"):
        assert 400 == at_home.client.get(f"/fhir/Flag?{query}").status_code


def test_a_list_that_is_cut_says_so_and_states_no_total(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.store.monitoring.MOST_ALERTS", 1)
    for minute, rate in ((0, CALM), (15, HIGH)):
        for subject in ("Patient/p1", "Patient/p2"):
            at_home.hear(minute, rate, subject)
    told = at_home.client.get("/fhir/Flag").json()
    assert (["match", "outcome"], False) == ([one["search"]["mode"] for one in told["entry"]], "total" in told)
    assert [] == judge(told)
    alone = at_home.client.get("/fhir/Flag?patient=p1").json()
    assert (1, ["match"]) == (alone["total"], [one["search"]["mode"] for one in alone["entry"]])


def test_odd_identifiers_and_addresses_are_taken_or_refused_but_never_a_fault_of_ours(at_home: Home) -> None:
    for value, status in (("\x00", 201), ("\ud800", 400), ("x" * 400, 201), ("é", 201)):
        assert status == at_home.post(heart_rate(0, CALM, identifier=[{"system": "urn:s", "value": value}])).status_code
    assert 404 == at_home.client.request("DELETE", "/fhir/Observation/%00").status_code
    assert 204 == at_home.client.request("DELETE", "/fhir/Observation/never-heard").status_code


def test_a_bundle_may_hold_so_many_entries(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.monitoring.intake.MAX_ENTRIES", 3)
    assert 413 == at_home.post(bundle(*[heart_rate(0, CALM)] * 4), "").status_code


def test_where_nothing_monitors_the_sender_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.monitoring.routes.monitors", lambda _: False)
    with home(tmp_path) as opened:
        assert 501 == opened.post(heart_rate(0, CALM)).status_code


ELEMENTS = ("subject", "effectiveDateTime", "effectivePeriod", "valueQuantity", "status", "code", "component", "identifier", "meta",
            "issued", "id", "valueString")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(ELEMENTS), json_values)
def test_no_content_of_an_observation_raises(element: str, value: Any) -> None:
    taken = take({**heart_rate(0, CALM), element: value}, CODES, now=1772352000.0, keep_s=86400.0, resolve=lambda one: one)
    assert taken.heard or taken.faults
    for fault in taken.faults:
        assert not isinstance(value, str) or len(value) < 4 or value not in fault.message
