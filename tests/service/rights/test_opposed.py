"""Opposition: whoever is opposed is not scored, by whichever way they are named, and nobody else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.dicom_bytes import parse
from service.rights.opposed import image_opposed, record_opposed, subject_opposed
from service.rights.rights import Rights
from service.store import rights
from service.store.rights import standings
from tests.service.rights.person_data import DPO, rights_of

ROOT = Path(__file__).parents[3]


@pytest.fixture
def here(tmp_path: Path) -> Rights:
    return rights_of(tmp_path)


def patient(number: str, system: str = "urn:oid:1.2.250.1.99") -> dict[str, object]:
    return {"resourceType": "Patient", "id": f"p{number}", "identifier": [{"system": system, "value": number}]}


def record(number: str) -> dict[str, object]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": patient(number)}, {"resource": {
        "resourceType": "Observation", "subject": {"reference": f"Patient/p{number}"}}}]}


def test_a_record_is_opposed_by_identifier_and_issuer(here: Rights) -> None:
    here.oppose(DPO, here.find(DPO, "1234567", "urn:oid:1.2.250.1.99"), "scoring")
    assert record_opposed(here.store, here.site, record("1234567"))
    assert not record_opposed(here.store, here.site, record("7654321"))
    assert not record_opposed(here.store, here.site, {**record("x"), "entry": [{"resource": patient("1234567", "urn:oid:9.9")}]})


def test_a_reference_is_opposed_in_a_record_and_in_monitoring(here: Rights) -> None:
    here.oppose(DPO, here.find(DPO, "Patient/p1"), "both")
    assert subject_opposed(here.store, here.site, "Patient/p1")
    assert record_opposed(here.store, here.site, {"patient": {"resourceType": "Patient", "id": "p1"}})
    assert not subject_opposed(here.store, here.site, "Patient/p2")


def test_an_image_is_opposed_by_its_patient_or_by_its_study(here: Rights) -> None:
    header = parse(next((ROOT / "data-samples/radiograph").glob("*.dcm")))
    study = str(header.StudyInstanceUID)
    assert not image_opposed(here.store, here.site, header, study)
    with here.store.session() as session:
        rights.oppose(session, study=rights.study_key(here.store, study), scope="scoring", by="local:owner")
    assert image_opposed(here.store, here.site, header, study)
    assert not image_opposed(here.store, here.site, header, f"{study}.1")


def test_who_is_opposed_to_training_alone_is_scored(here: Rights) -> None:
    person = here.find(DPO, "Patient/p1")
    here.oppose(DPO, person, "training")
    assert not subject_opposed(here.store, here.site, "Patient/p1")
    assert rights.opposes(here.store, persons=person.keys, purpose="training")


def test_an_opposition_ends_and_is_kept_as_history(here: Rights) -> None:
    person = here.find(DPO, "Patient/p1")
    here.oppose(DPO, person, "scoring")
    here.oppose(DPO, person, "scoring")  # twice is once
    assert 1 == here.withdraw(DPO, person)
    assert not subject_opposed(here.store, here.site, "Patient/p1")
    with here.store.reading() as session:
        assert [] == standings(session)
        assert 1 == len(standings(session, ended=True))


def test_an_opposition_stands_at_once_though_nobody_opposed_a_moment_ago(here: Rights) -> None:
    assert not record_opposed(here.store, here.site, record("1234567"))
    here.oppose(DPO, here.find(DPO, "1234567", "urn:oid:1.2.250.1.99"), "scoring")
    assert record_opposed(here.store, here.site, record("1234567"))
