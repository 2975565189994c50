"""A call is answered with cards as the specification asks, with nothing, or with what is missing; never with somebody else's data."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from tests.service.cds_hooks.cds_house import ICU, PLACE, CdsHouse, call, prefetch_of, sample
from tests.service.cds_hooks.spec import check_card, check_service

Json = dict[str, Any]


def status(ward: CdsHouse, told: Any, service: str = ICU) -> tuple[int, str, str]:
    answer = ward.client.post(f"/cds-services/{service}", json=told)
    problem = answer.json()
    return answer.status_code, problem.get("code", ""), problem.get("detail", "")


def test_discovery_lists_services_as_the_specification_describes_them(ward: CdsHouse) -> None:
    services = ward.discover()
    for one in services:
        check_service(one)
    assert len({(one["id"], one["hook"]) for one in services}) == len(services)
    assert {ICU, "imaging-results", "monitoring-alerts"} <= {one["id"] for one in services}


def test_a_card_is_made_of_what_was_prefetched(ward: CdsHouse, asked: Json) -> None:
    [card] = ward.cards(ICU, asked)
    check_card(card)
    assert card["indicator"] in ("info", "warning")
    assert "Death in hospital: " in card["summary"]
    for part in ("| Reason | Value | Usual range | Effect on the score |", "Glasgow coma score", "What would change the figure",
                 "Limits", "Not a medical device", "| 15 | raises"):
        assert part in card["detail"]


def test_the_prefetch_templates_bring_all_that_the_model_reads(ward: CdsHouse, asked: Json) -> None:
    sick = sample("stay/high-risk.json")
    service = next(one for one in ward.discover() if one["id"] == ICU)
    asked["prefetch"] = prefetch_of(sick, service, PLACE)
    whole = {**asked, "prefetch": {"patient": sick["entry"][0]["resource"], "encounters": sick["entry"][1]["resource"],
                                   "observations": sick}}
    [from_templates], [from_everything] = ward.cards(ICU, asked), ward.cards(ICU, whole)
    assert from_templates["summary"] == from_everything["summary"]
    assert from_templates["detail"] == from_everything["detail"]


@pytest.mark.parametrize(("language", "words"), [("fr-FR, fr;q=0.9", "Décès à l'hôpital"), ("en", "Death in hospital"),
                                                 ("de", "Death in hospital")])
def test_cards_speak_the_language_asked_for(ward: CdsHouse, asked: Json, language: str, words: str) -> None:
    [card] = ward.cards(ICU, asked, **{"accept-language": language})
    check_card(card)
    assert words in card["summary"]


def test_the_same_call_names_the_same_card_and_another_call_another(ward: CdsHouse, asked: Json) -> None:
    again, [first] = ward.cards(ICU, asked)[0]["uuid"], ward.cards(ICU, asked)
    [other] = ward.cards(ICU, {**asked, "hookInstance": "0f8e1f8a-1d52-4d2c-a49b-1a0d6f1f6a11"})
    assert first["uuid"] == again
    assert first["uuid"] != other["uuid"]


@pytest.mark.parametrize("key", ["patient", "encounters", "observations"])
def test_what_was_not_prefetched_is_named_with_412(ward: CdsHouse, asked: Json, key: str) -> None:
    del asked["prefetch"][key]
    code, word, detail = status(ward, asked)
    assert (code, word) == (412, "data_needed")
    assert key in detail


@pytest.mark.parametrize("key", ["patient", "encounters", "observations"])
def test_an_operation_outcome_counts_as_not_prefetched(ward: CdsHouse, asked: Json, key: str) -> None:
    asked["prefetch"][key] = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}
    assert status(ward, asked)[0] == 412


def test_no_prefetch_at_all_is_412(ward: CdsHouse) -> None:
    for told in (call("patient-view", PLACE), call("patient-view", PLACE, {}), call("patient-view", PLACE) | {"prefetch": None}):
        assert status(ward, told)[0] == 412


def test_a_null_says_that_there_is_nothing(ward: CdsHouse, asked: Json) -> None:
    asked["prefetch"]["observations"] = None
    [card] = ward.cards(ICU, asked)
    check_card(card)
    assert card["indicator"] == "info"
    assert "no score" in card["summary"]
    assert "GCS" in card["detail"] or "Glasgow" in card["detail"]


def test_without_an_encounter_there_is_nothing_to_say(ward: CdsHouse, asked: Json) -> None:
    asked["prefetch"]["encounters"] = None
    assert ward.cards(ICU, asked) == []


@pytest.mark.parametrize("change", [{"status": "finished"}, {"class": {"code": "AMB"}}, {"status": "planned"},
                                    {"period": {"start": "2999-01-01T00:00:00Z"}}])
def test_nobody_is_spoken_of_who_is_not_in_hospital_long_enough(ward: CdsHouse, asked: Json, change: Json) -> None:
    asked["prefetch"]["encounters"]["entry"][0]["resource"].update(change)
    assert ward.cards(ICU, asked) == []


def test_the_only_stay_under_way_is_found_without_an_encounter_id(ward: CdsHouse, asked: Json) -> None:
    del asked["context"]["encounterId"]
    assert len(ward.cards(ICU, asked)) == 1
    other = copy.deepcopy(asked["prefetch"]["encounters"]["entry"][0])
    other["resource"]["id"] = "e2"
    asked["prefetch"]["encounters"]["entry"].append(other)
    assert ward.cards(ICU, asked) == []


def test_a_second_page_that_was_not_sent_is_said(ward: CdsHouse, asked: Json) -> None:
    asked["prefetch"]["observations"]["link"] = [{"relation": "next", "url": "https://fhir.example/page2"}]
    [card] = ward.cards(ICU, asked)
    assert "Not sent, or in part only: observations" in card["detail"]


def test_data_of_another_patient_are_refused_whole(ward: CdsHouse, asked: Json) -> None:
    other = copy.deepcopy(asked)
    other["prefetch"]["observations"]["entry"][3]["resource"]["subject"] = {"reference": "Patient/p2"}
    assert status(ward, other)[:2] == (400, "bad_hook")
    other = copy.deepcopy(asked)
    other["prefetch"]["patient"]["id"] = "p2"
    assert status(ward, other)[:2] == (400, "bad_hook")
    assert status(ward, {**asked, "context": {**asked["context"], "patientId": "p2"}})[:2] == (400, "bad_hook")


@pytest.mark.parametrize("change", [
    {"hook": "encounter-discharge"}, {"hook": "patient-viewed"}, {"hook": ""}, {"hook": None}, {"hook": 1}, {"hookInstance": ""},
    {"hookInstance": None}, {"context": None}, {"context": []}, {"context": {}}, {"context": {"userId": "u", "patientId": ""}},
    {"context": {"userId": "u", "patientId": "../../passwd"}}, {"context": {"userId": "u", "patientId": "p1?x=1"}},
    {"context": {"userId": "u", "patientId": ".."}},
    {"context": {"userId": "u", "patientId": ["p1"]}}, {"context": {"userId": "u", "patientId": "p" * 65}}, {"prefetch": []},
    {"prefetch": "text"}, {"fhirServer": 3},
])
def test_a_malformed_call_is_400_and_its_values_are_not_repeated(ward: CdsHouse, asked: Json, change: Json) -> None:
    code, word, detail = status(ward, asked | change)
    assert (code, word) == (400, "bad_hook")
    assert "passwd" not in detail
    assert "viewed" not in detail


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e400}',
                                  b'{"a": 1' + 400 * b"0" + b"}", b'{"a": "\\ud800"}', b'{"a": 1, "a": 2}'])
def test_what_is_no_json_object_is_400(ward: CdsHouse, body: bytes) -> None:
    answer = ward.client.post(f"/cds-services/{ICU}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400


def test_what_nests_too_deeply_is_413(ward: CdsHouse) -> None:
    answer = ward.client.post(f"/cds-services/{ICU}", content=b"[" * 5000, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_deep")


@pytest.mark.parametrize("observations", [
    {"resourceType": "Bundle"}, {"resourceType": "Bundle", "entry": None}, {"resourceType": "Bundle", "entry": [None, 1, {}]},
    {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Observation"}}]}, {}, {"resourceType": "Basic"},
    {"resourceType": "Bundle", "link": "x", "entry": [{"resource": {"resourceType": "Observation", "code": 7, "subject": 7}}]},
])
def test_odd_prefetch_never_ends_in_a_failure_of_ours(ward: CdsHouse, asked: Json, observations: Json) -> None:
    asked["prefetch"]["observations"] = observations
    assert status(ward, asked)[0] < 500


def test_an_unknown_service_is_404_and_a_query_400(ward: CdsHouse, asked: Json) -> None:
    assert status(ward, asked, "no-such-service")[:2] == (404, "unknown_service")
    assert ward.client.post(f"/cds-services/{ICU}?x=1", json=asked).status_code == 400
    assert ward.client.get(f"/cds-services/{ICU}").status_code == 405


def test_nothing_that_a_sender_wrote_becomes_markup(ward: CdsHouse, asked: Json) -> None:
    evil = "<script>alert(1)</script> [x](javascript:alert(1)) ![i](https://evil.example/i.png) | pipe | www.evil.example"
    patient = asked["prefetch"]["patient"]
    patient["name"] = [{"family": evil, "given": [evil]}]
    asked["prefetch"]["encounters"]["entry"][0]["resource"]["type"] = [{"text": evil}]
    for entry in asked["prefetch"]["observations"]["entry"]:
        one = entry["resource"]
        one["code"]["text"] = evil
        one["code"]["coding"][0]["display"] = evil
        one["note"] = [{"text": evil}]
        one.get("valueQuantity", {})["unit"] = evil  # the UCUM code beside it counts
    quantities = [entry["resource"]["valueQuantity"] for entry in asked["prefetch"]["observations"]["entry"]
                  if "valueQuantity" in entry["resource"]]
    quantities[0]["code"] = evil
    for service in (ICU, "imaging-results"):
        for card in ward.cards(service, asked):
            check_card(card)
            assert "evil" not in json.dumps(card)
            assert "alert" not in json.dumps(card)


def test_a_card_never_says_who_it_is_about(ward: CdsHouse, asked: Json) -> None:
    told = json.dumps(ward.cards(ICU, asked)) + json.dumps(status(ward, {**asked, "prefetch": {}}))
    asked["prefetch"]["patient"]["name"] = [{"family": "DURANDAL", "given": ["CAMILLE"]}]
    told += json.dumps(ward.cards(ICU, asked))
    for word in ("DURANDAL", "CAMILLE", "1956", "Patient/", "p1\"", "e1\"", "2026-01"):
        assert word not in told


def test_a_browser_of_a_known_origin_may_call_and_no_other(ward: CdsHouse, asked: Json) -> None:
    for path, method in (("/cds-services", "GET"), (f"/cds-services/{ICU}", "POST"), (f"/cds-services/{ICU}/feedback", "POST")):
        preflight = ward.client.options(path, headers={"origin": "https://ehr.example", "access-control-request-method": method})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == "https://ehr.example"
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        for origin in ("https://evil.example", "https://ehr.example.evil.example", "null", "http://ehr.example"):
            refused = ward.client.options(path, headers={"origin": origin, "access-control-request-method": method})
            assert "access-control-allow-origin" not in refused.headers
    answer = ward.client.post(f"/cds-services/{ICU}", json=asked, headers={"origin": "https://ehr.example"})
    assert answer.headers["access-control-allow-origin"] == "https://ehr.example"
    missing = ward.client.post(f"/cds-services/{ICU}", json={**asked, "prefetch": {}}, headers={"origin": "https://ehr.example"})
    assert (missing.status_code, missing.headers["access-control-allow-origin"]) == (412, "https://ehr.example")
    assert "access-control-allow-credentials" not in answer.headers


def test_what_is_shown_is_counted(ward: CdsHouse, asked: Json) -> None:
    def shown() -> float:
        return sum(float(line.rpartition(" ")[2]) for line in ward.client.get("/metrics").text.splitlines()
                   if line.startswith("diaphane_cds_cards_total") and ICU in line)

    before = shown()
    ward.cards(ICU, asked)
    assert shown() == before + 1
