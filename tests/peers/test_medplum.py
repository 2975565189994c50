"""Medplum's in-memory server as the hospital's FHIR server: a patient is read, scored, and the result is there once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models.model import Model
from models.prediction import Prediction
from models.read_fhir import read_bundle
from service.deliver import Deliverer
from service.fhir.assessed import Assessed
from service.fhir.client import FhirServerError, fetch_record
from service.fhir.push import NAME, as_transaction, fhir_outlets
from service.fhir.write_risk import risk_bundle
from service.settings import read_settings
from service.site import FhirServer, Site
from service.store import messages
from service.store.ehr_tables import Message
from service.store.ledger import counts, failures
from service.store.store import Store
from tests.make import icu_bundle, tiny_release
from tests.make_store import store_for
from tests.peers.fhir_server import Medplum, medplum, needs_medplum
from tests.service.monitoring.home import CALM, HIGH, home

pytestmark = needs_medplum
SETTINGS = read_settings({}, lease_s=30)


@pytest.fixture(scope="module")
def hospital() -> Iterator[Medplum]:
    """The server with one stay, and somebody else's measurement."""
    with medplum() as server:
        for entry in icu_bundle(hours=24)["entry"]:
            server.put(entry["resource"])
        server.put({**entry["resource"], "id": "other", "subject": {"reference": "Patient/p2"}})
        yield server


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_release(tmp_path_factory.mktemp("released"), "risk"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = store_for(tmp_path)
    yield opened
    opened.close()


def site_of(server: Medplum) -> Site:
    return Site(fhir_server=FhirServer(url=server.url, push=True, timeout_s=20))


def assess(server: Medplum, model: Model, made_at: datetime = datetime(2026, 3, 3, 9, tzinfo=UTC)) -> dict[str, Any]:
    """Read the patient from the server, score, and write the result."""
    reading = read_bundle(fetch_record(site_of(server), "Patient/p1", "Encounter/e1"), encounter="Encounter/e1")
    result = model.predict(reading.record)
    assert isinstance(result, Prediction)
    return risk_bundle(Assessed(model.manifest, result, reading, made_at, "en", site_of(server).device))


def post(store: Store, bundle: dict[str, Any]) -> None:
    with store.session() as session:
        messages.add(session, target=NAME, kind="fhir", key=messages.key_of(bundle["id"]), content=bundle)


def deliver(store: Store, server: Medplum, *, times: int = 50) -> None:
    """Deliver until there is nothing to do, leaving out the pauses."""
    [outlet] = fhir_outlets(site_of(server))
    one = Deliverer(store, outlet, SETTINGS)
    for _ in range(times):
        one.down_until = 0.0
        if not one.step() and not counts(store)["deliveries"][NAME].get("queued"):
            return
        with store.session() as session:
            session.execute(update(Message).where(Message.state == "queued").values(not_before=0.0))
    raise AssertionError("messages are still queued")


def test_a_patient_s_record_is_read_whole_and_alone(hospital: Medplum) -> None:
    found = [entry["resource"] for entry in fetch_record(site_of(hospital), "Patient/p1", "Encounter/e1")["entry"]]
    sent = {entry["resource"]["id"] for entry in icu_bundle(hours=24)["entry"]}
    assert sent == {one["id"] for one in found}
    assert len(sent) == len(found)


def test_an_unknown_patient_is_not_found(hospital: Medplum) -> None:
    with pytest.raises(FhirServerError) as caught:
        fetch_record(site_of(hospital), "Patient/unknown")
    assert "not_found" == caught.value.code


def test_a_prediction_is_pushed_and_read_back_identical_and_a_repeat_changes_nothing(
    hospital: Medplum, model: Model, store: Store
) -> None:
    bundle = assess(hospital, model)
    post(store, bundle)
    hospital.fail(1, after=True)  # done, and the connection cut before we hear of it
    deliver(store, hospital)
    hospital.fail(2)  # and once more while it is away
    with store.session() as session:
        messages.add(session, target=NAME, kind="fhir", key="the same content under another key", content=assess(hospital, model))
    deliver(store, hospital)
    for entry in as_transaction(bundle)["entry"]:
        sent = entry["resource"]
        kind = sent["resourceType"]
        found = [one for one in hospital.all(kind) if alike(one, sent)]
        assert 1 == len(found), kind
    [risk] = hospital.all("RiskAssessment")
    assert risk["subject"] == {"reference": "Patient/p1"}
    basis = {one["reference"] for one in risk["basis"]} - {"Patient/p1"}
    assert basis < {f"Observation/{one['id']}" for one in hospital.all("Observation", subject="Patient/p1")}
    assert {"done": 2} == counts(store)["deliveries"][NAME]
    assert [risk["performer"]["reference"]] == [f"Device/{one['id']}" for one in hospital.all("Device")]
    assert f"RiskAssessment/{risk['id']}" in {one["reference"] for one in hospital.all("Provenance")[0]["target"]}


def alike(found: dict[str, Any], sent: dict[str, Any]) -> bool:
    """Tell whether the server holds what was sent, but for the ids it gives, its meta and the references it resolved."""
    return bare(found) == bare(sent)


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        kept = ("Patient/", "Observation/o", "Encounter/")
        return {key: "…" if key == "reference" and not str(inner).startswith(kept) else bare(inner)
                for key, inner in value.items() if key not in ("id", "meta")}
    return [bare(one) for one in value] if isinstance(value, list) else value


def test_a_server_that_refuses_what_is_invalid_names_where(hospital: Medplum, store: Store) -> None:
    wrong = {"resourceType": "RiskAssessment", "identifier": [{"system": "urn:s", "value": "1"}], "status": "preliminary"}
    post(store, {"resourceType": "Bundle", "type": "collection", "id": "x", "entry": [{"resource": wrong}]})
    deliver(store, hospital)
    [failed] = failures(store)
    assert ("message", "quarantined") == (failed.table, failed.state)
    assert failed.reason.startswith(("http_400", "entry_400"))


def test_an_alert_is_one_flag_that_is_active_and_then_inactive(hospital: Medplum, tmp_path: Path) -> None:
    with home(tmp_path, push=True) as opened:
        for place, rate in enumerate((CALM, HIGH)):
            opened.hear(15 * place, rate, "Patient/p1", id=f"m{place}")
        hospital.fail(1, after=True)
        deliver(opened.store, hospital)
        [flag] = hospital.all("Flag")
        assert ("active", {"reference": "Patient/p1"}) == (flag["status"], flag["subject"])
        [note] = hospital.all("Communication")
        assert ["RiskAssessment"] == [one["reference"].partition("/")[0] for one in note["about"]]
        for place in range(2, 5):
            opened.hear(15 * place, CALM, "Patient/p1", id=f"m{place}")
        hospital.fail(1, after=True)
        deliver(opened.store, hospital)
        [ended] = hospital.all("Flag")
        assert ("inactive", flag["id"]) == (ended["status"], ended["id"])
        assert ended["period"]["end"] > ended["period"]["start"]
        assert 2 == len(hospital.all("Communication"))


def test_an_end_that_overtakes_its_beginning_leaves_no_flag_standing(hospital: Medplum, tmp_path: Path) -> None:
    before = len(hospital.all("Flag"))
    with home(tmp_path, push=True) as opened:
        for place, rate in enumerate((CALM, HIGH, CALM, CALM, CALM)):
            opened.hear(15 * place, rate, "Patient/p7", id=f"n{place}")
        with opened.store.session() as session:
            session.execute(update(Message).where(Message.id == 1).values(priority=-1))
        deliver(opened.store, hospital)
    flags = hospital.all("Flag")
    assert before + 1 == len(flags)
    assert {"inactive"} == {one["status"] for one in flags}
