"""Results reach the site's FHIR server once: created if none is there, retried while it is away, quarantined when refused."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service import deliver
from service.deliver import Deliverer
from service.dicom.undelivered import Undelivered
from service.fhir.push import NAME, as_transaction, fhir_outlets, push
from service.settings import read_settings
from service.site import FhirServer, Site, Target
from service.store import messages
from service.store.again import deliveries_again, drop_deliveries, move_deliveries
from service.store.ehr_tables import Message
from service.store.ledger import counts, failures
from service.store.store import Store
from tests.make_store import store_for
from tests.service.fhir.site_server import Asked, Said, site_server
from tests.service.monitoring.home import with_empty_database

SETTINGS = read_settings({}, max_attempts=3, lease_s=30)
DEVICE = {"resourceType": "Device", "id": "d", "identifier": [{"system": "urn:s", "value": "icu|1"}]}
RISK = {"resourceType": "RiskAssessment", "id": "r", "identifier": [{"system": "urn:s", "value": "r1"}], "status": "preliminary",
        "subject": {"reference": "Patient/p1"}, "performer": {"reference": "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e"}}
PROVENANCE = {"resourceType": "Provenance", "id": "v", "target": [{"reference": "RiskAssessment/r"}],
              "agent": [{"who": {"reference": "Device/d"}}]}
BUNDLE: dict[str, Any] = {"resourceType": "Bundle", "type": "collection", "entry": [
    {"fullUrl": "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e", "resource": DEVICE},
    {"fullUrl": "http://localhost/RiskAssessment/r", "resource": RISK}, {"resource": PROVENANCE},
]}  # fmt: skip


def test_a_collection_becomes_a_transaction_of_conditional_creates() -> None:
    before = copy.deepcopy(BUNDLE)
    told = as_transaction(BUNDLE)
    assert ("Bundle", "transaction") == (told["resourceType"], told["type"])
    device, risk, provenance = told["entry"]
    assert {"method": "POST", "url": "Device", "ifNoneExist": "identifier=urn:s|icu%7C1"} == device["request"]
    assert "identifier=urn:s|r1" == risk["request"]["ifNoneExist"]
    assert all(entry["fullUrl"].startswith("urn:uuid:") and "id" not in entry["resource"] for entry in told["entry"])
    assert provenance["resource"]["target"] == [{"reference": risk["fullUrl"]}]
    assert provenance["resource"]["agent"][0]["who"] == risk["resource"]["performer"] == {"reference": device["fullUrl"]}
    assert {"reference": "Patient/p1"} == risk["resource"]["subject"]
    assert before == BUNDLE


def test_what_has_no_identifier_is_found_again_by_its_tag() -> None:
    first, second = as_transaction(BUNDLE)["entry"][2], as_transaction(copy.deepcopy(BUNDLE))["entry"][2]
    assert first == second
    system, code = first["request"]["ifNoneExist"].removeprefix("_tag=").split("|")
    assert [{"system": system, "code": code}] == first["resource"]["meta"]["tag"]


def test_an_entry_that_says_how_it_is_sent_is_kept() -> None:
    flag = {"resourceType": "Flag", "status": "inactive"}
    entry = {"resource": flag, "request": {"method": "PUT", "url": "Flag?identifier=urn:s|f1"}}
    assert [entry] == as_transaction({"resourceType": "Bundle", "entry": [entry]})["entry"]


@pytest.mark.parametrize("resource", [{"resourceType": "Patient"}, {"resourceType": "MedicationRequest"}, {}, None])
def test_nothing_but_what_was_made_here_is_sent(resource: Any) -> None:
    entry = {} if resource is None else {"resource": resource}
    with pytest.raises(Undelivered) as caught:
        as_transaction({"resourceType": "Bundle", "entry": [entry]})
    assert ("kind_not_sent", True) == (caught.value.reason, caught.value.permanent)


REFUSAL = {"resourceType": "OperationOutcome", "issue": [
    {"severity": "error", "code": "invariant", "diagnostics": "Marie Curie is unknown",
     "expression": ["Bundle.entry[1].resource.status"]},
    {"severity": "error", "code": "Marie Curie", "expression": ["Marie Curie"]}, 7,
]}  # fmt: skip


@pytest.mark.parametrize(("said", "reason", "permanent"), [
    (Said(REFUSAL, 422), "http_422 invariant Bundle.entry[1].resource.status", True),
    (Said(b"no", 400, {"Content-Type": "text/plain"}), "http_400", True),
    (Said({}, 412), "http_412", True), (Said({}, 401), "http_401", False), (Said({}, 404), "http_404", False),
    (Said({}, 409), "http_409", False), (Said({}, 429), "http_429", False), (Said({}, 500), "http_500", False),
    (Said({}, 503), "http_503", False), (Said(b"{", 200), "not_json", False), (Said(None, 307, {"Location": "/"}), "redirect", False),
    (Said({"resourceType": "Bundle", "entry": [{"response": {"status": "422 no"}}]}), "entry_422", True),
    (Said({"resourceType": "Bundle", "entry": [{"response": {"status": "503"}}]}), "entry_503", False),
])  # fmt: skip
def test_what_the_server_says_decides_whether_it_is_tried_again(said: Said, reason: str, permanent: bool) -> None:
    with site_server(lambda _: said) as server, pytest.raises(Undelivered) as caught:
        push(FhirServer(url=server.url), BUNDLE)
    assert (reason, permanent) == (caught.value.reason, caught.value.permanent)


@pytest.mark.parametrize("said", [
    Said(None, 200), Said({"resourceType": "Bundle", "entry": [{"response": {"status": "201"}}, {"response": {"status": "200 OK"}}]}),
])  # fmt: skip
def test_what_was_taken_is_delivered(said: Said) -> None:
    with site_server(lambda _: said) as server:
        push(FhirServer(url=server.url), BUNDLE)
        assert [("POST", "/fhir")] == [(one.method, one.target) for one in server.asked]
        assert "transaction" == json.loads(server.asked[0].body)["type"]


# Through the outbox ---------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with_empty_database(tmp_path / "store")
    opened = store_for(tmp_path)
    yield opened
    opened.close()


def add(store: Store, *keys: str, target: str = NAME) -> list[bool]:
    with store.session() as session:
        return [messages.add(session, target=target, kind="fhir", key=messages.key_of(key), content=BUNDLE) for key in keys]


def rows(store: Store) -> list[tuple[str, int, str]]:
    with store.reading() as session:
        found = session.execute(select(Message.state, Message.attempts, Message.reason).order_by(Message.id))
        return [(state, attempts, reason) for state, attempts, reason in found]


def empty(store: Store, url: str) -> None:
    [outlet] = fhir_outlets(Site(fhir_server=FhirServer(url=url, push=True, timeout_s=2)))
    one = Deliverer(store, outlet, SETTINGS)
    while one.step():
        pass


def test_a_message_is_one_however_often_it_is_added(store: Store) -> None:
    assert [True, False, True] == add(store, "a", "a", "b")
    assert [False] == add(store, "b")
    assert [True] == add(store, "b", target="another")
    assert 3 == len(rows(store))


def test_a_message_added_in_a_transaction_that_fails_is_not_there(store: Store) -> None:
    def fails() -> None:
        with store.session() as session:
            messages.add(session, target=NAME, kind="fhir", key="k", content=BUNDLE)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert [] == rows(store)


def test_what_the_server_refuses_is_quarantined_at_once_with_its_reason_and_the_others_pass(store: Store) -> None:
    add(store, "poison", "good")
    answers = iter([Said(REFUSAL, 422), Said(None, 200)])
    with site_server(lambda _: next(answers)) as server:
        empty(store, server.url)
    assert [("quarantined", 1, "http_422 invariant Bundle.entry[1].resource.status"), ("done", 1, "")] == rows(store)
    assert {NAME: {"quarantined": 1, "done": 1}} == counts(store)["deliveries"]
    assert [("message", "quarantined", NAME)] == [(one.table, one.state, one.target) for one in failures(store)]
    assert 1 == deliveries_again(store)
    with site_server(lambda _: Said(None, 200)) as server:
        empty(store, server.url)
    assert ["done", "done"] == [row[0] for row in rows(store)]


def test_a_server_that_fails_for_a_while_loses_nothing_and_counts_no_try_of_the_message(store: Store) -> None:
    add(store, "a")
    with site_server(lambda _: Said({}, 503)) as server:
        empty(store, server.url)
    assert [("queued", 0, "http_503")] == rows(store)
    empty(store, "http://127.0.0.1:9/fhir")
    assert [("queued", 0, "unreachable")] == rows(store)
    with site_server(lambda _: Said(None, 200)) as server:
        empty(store, server.url)
    assert [("done", 1, "")] == rows(store)


def test_a_failure_while_the_server_answers_waits_by_itself(store: Store) -> None:
    def answers(asked: Asked) -> Said:
        return Said({"resourceType": "CapabilityStatement"}) if asked.target == "/fhir/metadata" else Said({}, 503)

    add(store, "a")
    with site_server(answers) as server:
        empty(store, server.url)
    assert [("queued", 1, "http_503")] == rows(store)


def test_messages_move_and_are_given_up_with_their_target(store: Store) -> None:
    add(store, "a", "b")
    add(store, "b", target="new")
    assert 1 == move_deliveries(store, NAME, "new")
    assert 2 == drop_deliveries(store, "new")
    assert [] == rows(store)


def test_delivered_messages_are_pruned_and_waiting_ones_stay(store: Store) -> None:
    add(store, "a")
    with site_server(lambda _: Said(None, 200)) as server:
        empty(store, server.url)
    add(store, "b")
    assert (0, 1) == (messages.prune_messages(store, 3600), messages.prune_messages(store, -1))
    assert [("queued", 0, "")] == rows(store)


def test_fhir_targets_are_outlets_and_nothing_is_pushed_unless_the_site_says_so() -> None:
    server = FhirServer(url="http://localhost:1/fhir")
    assert [] == fhir_outlets(Site()) == fhir_outlets(Site(fhir_server=server))
    site = Site(fhir_server=server.model_copy(update={"push": True}), targets=[Target(name="record", kind="fhir")])
    assert ["record", NAME] == [outlet.name for outlet in fhir_outlets(site)]


def test_messages_to_a_server_that_the_site_no_longer_names_are_spoken_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    add(store, "a")
    stop = threading.Event()
    stop.set()
    deliver.run(store, SETTINGS, Site(), stop)
    assert [f"results wait for target {NAME}, which the site file does not name: they stay here until it does"] == caplog.messages
