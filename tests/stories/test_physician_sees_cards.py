"""As a physician I open a chart and see the risk with its reasons; as a prescriber I am shown a dose, judge it, and say what I did.

My record system calls as the public sandbox of CDS Hooks does: over HTTP, each call with an ES384 token of its own, prefetch
filled from its records, a suggestion applied to the draft when I take it, and feedback afterwards.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.cds_hooks.record_system import chart_of
from service.store.hooks import feedback_counts
from tests.make import ROOT
from tests.service.cds_hooks.cds_house import CdsHouse, call, cds_house, listening, only, prefetch_of, sample
from tests.service.cds_hooks.signing import ISS, jwk_of, jwks_file, key_of, token
from tests.service.cds_hooks.spec import check_card, check_service

Json = dict[str, Any]
WARFARIN = ROOT / "data-samples/warfarin_dose"
NOW = "2026-11-22T10:05:31Z"


@dataclass(frozen=True)
class Ehr:
    """A record system: what it knows of one patient, and how it calls."""

    base: str
    http: httpx.Client
    house: CdsHouse

    def ask(self, method: str, path: str, told: Json | None = None, **headers: str) -> httpx.Response:
        signed = {"authorization": f"Bearer {token(self.base + path)}", "origin": "https://ehr.example"}
        return self.http.request(method, self.base + path, json=told, headers=signed | headers)

    def services(self, hook: str) -> list[Json]:
        answer = self.ask("GET", "/cds-services")
        assert answer.headers["access-control-allow-origin"] == "https://ehr.example"
        return [one for one in answer.json()["services"] if one["hook"] == hook]

    def cards(self, hook: str, service: Json, place: Json, chart: Json, **headers: str) -> list[Json]:
        told = call(hook, place, prefetch_of(chart, service, place))
        answer = self.ask("POST", f"/cds-services/{service['id']}", told, **headers)
        assert answer.status_code == 200, answer.text
        for card in answer.json()["cards"]:
            check_card(card)
        return list(answer.json()["cards"])

    def tell(self, service: str, **outcome: Any) -> int:
        return self.ask("POST", f"/cds-services/{service}/feedback", {"feedback": [{"outcomeTimestamp": NOW, **outcome}]}).status_code


@pytest.fixture(scope="module")
def ehr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ehr]:
    folder: Path = tmp_path_factory.mktemp("ehr")
    site = f'[[cds_clients]]\niss = "{ISS}"\njwks = "{jwks_file(folder, jwk_of(key_of()))}"\n'
    with socket.create_server(("127.0.0.1", 0)) as open_socket:
        base = f"http://127.0.0.1:{open_socket.getsockname()[1]}"
        released = only(folder, "icu_mortality", "warfarin_dose", "readmission_30d")
        told = {"public_url": base, "cors_origins": "https://ehr.example"}
        with cds_house(folder, released, site=site, **told) as house, listening(house, [open_socket]), httpx.Client() as http:
            yield Ehr(base, http, house)


def place_of(chart: Json) -> Json:
    return chart_of([entry["resource"] for entry in chart["entry"]])


def test_a_physician_opens_a_chart_and_says_why_the_card_was_put_aside(ehr: Ehr) -> None:
    services = ehr.services("patient-view")
    for one in services:
        check_service({**one})
    service = next(one for one in services if one["id"] == "icu-mortality")
    chart = sample("stay/high-risk.json")

    [card] = ehr.cards("patient-view", service, place_of(chart), chart, **{"accept-language": "fr"})

    assert "Décès à l'hôpital" in card["summary"]
    assert "Score de Glasgow" in card["detail"]
    reason = card["overrideReasons"][0]
    assert ehr.tell(service["id"], card=card["uuid"], outcome="overridden", overrideReason={"reason": reason}) == 200
    with ehr.house.house.store.reading() as session:
        assert (service["id"], "overridden", reason["code"], 1) in feedback_counts(session)


def test_a_browser_may_ask_first_and_a_stranger_is_shown_nothing(ehr: Ehr) -> None:
    asked = {"origin": "https://ehr.example", "access-control-request-method": "POST"}
    preflight = ehr.http.options(f"{ehr.base}/cds-services/icu-mortality", headers=asked)
    assert preflight.headers["access-control-allow-origin"] == "https://ehr.example"
    unsigned = ehr.http.post(f"{ehr.base}/cds-services/icu-mortality", json={}, headers={"origin": "https://ehr.example"})
    assert unsigned.status_code == 401
    assert unsigned.headers["access-control-allow-origin"] == "https://ehr.example"


@pytest.mark.skipif(not list((ROOT / "models/released").glob("readmission_30d-*")), reason="readmission_30d is not released")
def test_a_discharging_physician_sees_the_risk_of_coming_back(ehr: Ehr) -> None:
    [service] = ehr.services("encounter-discharge")
    high, low = (sample(f"readmission_30d/{name}.json") for name in ("high-risk", "low-risk"))

    [risky] = ehr.cards("encounter-discharge", service, place_of(high), high)
    [safe] = ehr.cards("encounter-discharge", service, place_of(low), low)

    assert (risky["indicator"], safe["indicator"]) == ("warning", "info")
    assert "high risk" in risky["summary"]
    assert "Recalibrate before use elsewhere" in risky["detail"]
    assert service["id"] in {one["id"] for one in ehr.services("patient-view")}  # its newer card replaces the older one


@pytest.mark.skipif(not list((ROOT / "models/released").glob("warfarin_dose-*")), reason="warfarin_dose is not released")
def test_a_prescriber_takes_the_dose_that_is_suggested(ehr: Ehr) -> None:
    [service] = ehr.services("order-select")
    charts = [sample(f"warfarin_dose/{path.name}") for path in sorted(WARFARIN.glob("*.json"))]
    chart = next(one for one in charts if has_a_dose(ehr, service, one))
    draft = {"resourceType": "MedicationRequest", "id": "m1", "status": "draft", "intent": "order",
             "subject": {"reference": f"Patient/{place_of(chart)['patientId']}"},
             "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "B01AA03"}]},
             "dosageInstruction": [{"timing": {"repeat": {"frequency": 2, "period": 1, "periodUnit": "d"}},
                                    "doseAndRate": [{"doseQuantity": {"value": 10, "unit": "mg", "code": "mg"}}]}]}
    orders: Json = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": draft}]}
    place = place_of(chart) | {"draftOrders": orders, "selections": ["MedicationRequest/m1"]}

    [card] = ehr.cards("order-select", service, place, chart)
    assert card["indicator"] == "warning"
    [suggestion] = card["suggestions"]
    for action in suggestion["actions"]:  # what a record system does when the physician clicks
        orders["entry"] = [{"resource": action["resource"] if one["resource"]["id"] == action["resource"]["id"] else one["resource"]}
                           for one in orders["entry"]]
    accepted = {"card": card["uuid"], "outcome": "accepted", "acceptedSuggestions": [{"id": suggestion["uuid"]}]}
    assert ehr.tell(service["id"], **accepted) == 200

    [signing] = ehr.services("order-sign")
    assert ehr.cards("order-sign", signing, {k: v for k, v in place.items() if k != "selections"}, chart) == []


def has_a_dose(ehr: Ehr, service: Json, chart: Json) -> bool:
    """Tell whether a dose can be said for a chart."""
    draft = {"resourceType": "MedicationRequest", "id": "m1", "status": "draft", "intent": "order",
             "medicationCodeableConcept": {"text": "warfarine"}}
    orders = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": draft}]}
    place = place_of(chart) | {"draftOrders": orders, "selections": ["m1"]}
    return any("suggestions" in card for card in ehr.cards("order-select", service, place, chart))
