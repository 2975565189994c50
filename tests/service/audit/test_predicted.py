"""What is scored and sent is a line of the audit: there with the result, and not without it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from service.audit.audit import Audit
from service.audit.predicted import append_study
from service.deliver import Deliverer
from service.dicom.client import Undelivered
from service.outbound.outlet import Outlet
from service.persons_keys import keys_typed
from service.settings import Settings
from service.site import Site
from service.store import messages
from service.store.audit import Line, lines
from tests.make import radiograph_dataset
from tests.make_store import image_of, store_for
from tests.service.audit.audit_house import lay
from tests.service.test_deliver import PACS, Pacs, post

PATIENT = {"00100020": {"vr": "LO", "Value": ["12345"]}, "00100021": {"vr": "LO", "Value": ["CHU"]}}


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    """An audit as a worker or a deliverer has it: without a thread."""
    store = store_for(lay(tmp_path))
    yield Audit(store, Site(), Settings(store=tmp_path / "store"))
    store.close()


def kept(audit: Audit) -> list[Line]:
    with audit.store.reading() as session:
        return lines(session)


def deliverer(audit: Audit, target: object, pacs: Pacs) -> Deliverer:
    return Deliverer(audit.store, target, audit.settings, send=pacs.send, answers=pacs.answers, audit=audit)  # type: ignore[arg-type]


def test_result_that_arrived_is_a_line_about_its_patient(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    with_patient = image_of(1)
    monkeypatch.setattr("tests.service.test_deliver.image_of",
                        lambda study: replace(with_patient, study_attributes={**with_patient.study_attributes, **PATIENT}))
    post(audit.store, 1)
    pacs = Pacs()
    pacs.up = False
    assert deliverer(audit, PACS, pacs).step()
    assert [] == kept(audit), "what did not arrive was not delivered"
    pacs.up = True
    assert deliverer(audit, PACS, pacs).step()
    (line,) = kept(audit)
    assert ("deliver", "study", with_patient.study_uid, "service") == (line.action, line.kind, line.item, line.actor)
    assert keys_typed(audit.store, audit.site, "12345", "CHU") == line.persons
    assert {"target": "pacs", "way": "dicom"} == line.detail


PERSON = {"resourceType": "Patient", "identifier": [{"system": "urn:oid:1.2.3", "value": "7"}]}


@pytest.mark.parametrize(("content", "identifier"), [
    ({"entry": [{"resource": PERSON}]}, "urn:oid:1.2.3|7"),
    ({"entry": [{"resource": {"resourceType": "Observation", "subject": {"reference": "Patient/7"}}}]}, "Patient/7"),
    ({"text": "of nobody"}, ""),
])
def test_message_that_arrived_is_a_line_about_whom_it_tells_of(audit: Audit, content: dict[str, object], identifier: str) -> None:
    with audit.store.session() as session:
        messages.add(session, target="ehr", kind="fhir", key="k", content=content)
    outlet = Outlet("ehr", lambda _: None, lambda: True)
    assert deliverer(audit, outlet, Pacs()).step()
    (line,) = kept(audit)
    assert ("deliver", "message", keys_typed(audit.store, audit.site, identifier)) == (line.action, line.kind, line.persons)


def test_message_that_is_refused_is_no_line(audit: Audit) -> None:
    def refuses(_: object) -> None:
        raise Undelivered("status_400", permanent=True)

    with audit.store.session() as session:
        messages.add(session, target="ehr", kind="fhir", key="k", content={})
    assert deliverer(audit, Outlet("ehr", refuses, lambda: True), Pacs()).step()
    assert [] == kept(audit)


def test_assessed_images_are_a_line_a_model_within_the_same_transaction(audit: Audit) -> None:
    header = radiograph_dataset(PatientID="12345", IssuerOfPatientID="CHU")
    with audit.store.session() as session:
        append_study(audit, session, "1.2.3.4.5", header, [("chest-1.0.0", "scored"), ("none", "unusable")])
    assert [("chest-1.0.0", "success"), ("none", "failed")] == [(one.detail["model"], one.outcome) for one in kept(audit)]
    assert {keys_typed(audit.store, audit.site, "12345", "CHU")} == {one.persons for one in kept(audit)}
