"""Cards made from the store: imaging results of this very person and of nobody else, and what remote monitoring has to say."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from service.store.cases import seal_due
from service.store.ehr_tables import Alert
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Base, Revision
from tests.make import dicom_bytes, radiograph_dataset
from tests.make_store import image_of
from tests.service.cds_hooks.cds_house import CdsHouse, call, cds_house, only
from tests.service.cds_hooks.spec import check_card

PLACE = {"patientId": "p1"}
ISSUER = "1.2.250.1.999.1"
PERSON = {"PatientSex": "F", "PatientBirthDate": "19790412", "IssuerOfPatientID": ISSUER, "StudyDate": "20260301"}
SCORED = {"findings": [
    {"name": "pneumonia", "label": "Pneumonia", "label_fr": "Pneumonie", "kind": "probability", "value": 0.87, "unit": "1",
     "threshold": 0.4, "above_threshold": True},
    {"name": "effusion", "label": "Effusion", "label_fr": "Épanchement", "kind": "probability", "value": 0.02, "unit": "1",
     "threshold": 0.5, "above_threshold": False},
]}
Json = dict[str, Any]


def image(store: Store, study: int, *, ipp: str, status: str = "scored", summary: Json | None = None, **person: Any) -> None:
    """Receive one radiograph, and keep a result of it."""
    data = dicom_bytes(radiograph_dataset(**{**PERSON, "PatientID": ipp, **person}))
    digest = hashlib.sha256(data).hexdigest()
    receive(store, [image_of(study, data=data, sha256=digest, patient_id=ipp)], quiet_s=0)
    seal_due(store)
    with store.session() as session:
        revision = session.query(Revision).order_by(Revision.id.desc()).first()
        assert revision is not None
        save_result(session, revision.id, model="chest_xray_pediatric-1.0.0", status=status, summary=summary or SCORED,
                    reason="wrong_age" * (status == "refused"), objects=[], targets=[], priority=0)


def patient(*values: str, system: str = f"urn:oid:{ISSUER}", **more: Any) -> Json:
    told = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1979-04-12",
            "identifier": [{"system": system, "value": value} for value in values]}
    return told | more


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CdsHouse]:
    folder = tmp_path_factory.mktemp("hospital")
    with cds_house(folder, only(folder), public_url="https://ai.example.org") as house:
        yield house


@pytest.fixture
def reading_room(hospital: CdsHouse) -> CdsHouse:
    """The house without studies and alerts of other tests."""
    with hospital.house.store.session() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
    hospital.house.store.known.clear()
    return hospital


def imaging(house: CdsHouse, who: Json | None, **headers: str) -> list[Json]:
    cards = house.cards("imaging-results", call("patient-view", PLACE, {"patient": who}), **headers)
    for card in cards:
        check_card(card)
    return cards


def test_findings_above_their_threshold_are_told(reading_room: CdsHouse) -> None:
    image(reading_room.house.store, 1, ipp="IPP1")
    [card] = imaging(reading_room, patient("IPP1"))
    assert card["summary"] == "AI on images: Pneumonia above the threshold"
    assert card["indicator"] == "warning"
    assert "| Pneumonia | 87% | 40% |" in card["detail"]
    assert "| Effusion | 2% | 50% |" in card["detail"]
    assert card["links"][0]["url"].startswith("https://ai.example.org/v1/studies/")


def test_a_name_that_differs_is_to_be_looked_at_and_not_repeated(reading_room: CdsHouse) -> None:
    image(reading_room.house.store, 1, ipp="IPP1", PatientName="CANARYNAME^A")
    [card] = imaging(reading_room, patient("IPP1", name=[{"use": "official", "family": "OTHER", "given": ["B"]}]))
    assert "names of the images and of the record differ" in card["detail"]
    assert "CANARYNAME" not in json.dumps(card)
    [card] = imaging(reading_room, patient("IPP1", name=[{"use": "official", "family": "Canaryname", "given": ["A"]}]))
    assert "differ" not in card["detail"]


def test_a_probability_is_never_told_as_certainty_and_french_signs_stay_with_their_word(reading_room: CdsHouse) -> None:
    image(reading_room.house.store, 1, ipp="IPP1", summary={"findings": [{**SCORED["findings"][0], "value": 0.9987}]})
    [card] = imaging(reading_room, patient("IPP1"), **{"accept-language": "fr"})
    assert "| Pneumonie | supérieure à 99\u00a0% | 40\u00a0% |" in card["detail"]
    assert "IA sur images\u00a0: Pneumonie au-dessus du seuil" == card["summary"]


def test_nothing_above_a_threshold_is_no_all_clear(reading_room: CdsHouse) -> None:
    calm = {"findings": [SCORED["findings"][1]]}
    image(reading_room.house.store, 1, ipp="IPP1", summary=calm)
    [card] = imaging(reading_room, patient("IPP1"))
    assert card["indicator"] == "info"
    assert "does not mean that the image is normal" in card["detail"]


def test_a_model_that_declined_is_told_with_its_reason(reading_room: CdsHouse) -> None:
    refusal = {"message": "This model takes ages from 1 to 5 years, found another.", "advice": ""}
    image(reading_room.house.store, 1, ipp="IPP1", status="refused", summary=refusal)
    [card] = imaging(reading_room, patient("IPP1"))
    assert "declined" in card["summary"]
    assert "This model takes ages" in card["detail"]


@pytest.mark.parametrize(("person", "words"), [
    ({"PatientSex": "M"}, "different sexes"), ({"PatientBirthDate": "19800412"}, "different dates of birth"),
    ({"IssuerOfPatientID": "1.2.250.1.999.2"}, "no identifier of the same issuer"),
    ({"IssuerOfPatientID": ""}, "no identifier of the same issuer"),
])
def test_images_whose_identity_is_in_doubt_are_withheld_with_the_reason(reading_room: CdsHouse, person: Json, words: str) -> None:
    image(reading_room.house.store, 1, ipp="IPP1", **person)
    [card] = imaging(reading_room, patient("IPP1"))
    assert "withheld" in card["summary"]
    assert words in card["detail"]
    assert "Pneumonia" not in json.dumps(card)


def test_another_patients_images_are_not_even_mentioned(reading_room: CdsHouse) -> None:
    image(reading_room.house.store, 1, ipp="IPP2")
    assert imaging(reading_room, patient("IPP1")) == []
    assert imaging(reading_room, patient()) == []
    assert imaging(reading_room, patient(identifier=[{"value": "IPP2", "use": "old"}])) == []


def test_a_patient_who_was_not_sent_is_412(reading_room: CdsHouse) -> None:
    answer = reading_room.client.post("/cds-services/imaging-results", json=call("patient-view", PLACE, {"patient": None}))
    assert answer.status_code == 412


def alert(store: Store, *, kind: str = "risk", cleared: bool = False, subject: str = "Patient/p1") -> None:
    now = time.time()
    detail = {"kind": kind, "label": "Glucose below 70 mg/dL", "label_fr": "Glycémie sous 70 mg/dL", "value": 0.45, "risk": "high",
              "opened_at": now - 600, "reasons": [
                  {"label": "Glucose, latest", "label_fr": "Glycémie, dernière valeur", "value": 78.0, "unit": "mg/dL", "logit": 1.2,
                   "reference_low": 70.0, "reference_high": 180.0, "flag": "normal"}]}
    with store.session() as session:
        session.add(Alert(subject=subject, model="hypoglycaemia_60min", episode=f"{kind}{cleared}{subject}", raised_at=now - 600,
                          cleared_at=now if cleared else None, detail=detail))


def alerts(house: CdsHouse) -> list[Json]:
    cards = house.cards("monitoring-alerts", call("patient-view", PLACE, {}))
    for card in cards:
        check_card(card)
    return cards


def test_an_alert_is_found_by_the_whole_address_of_the_patient_too(reading_room: CdsHouse) -> None:
    alert(reading_room.house.store, subject="https://fhir.example.org/r4/Patient/p1")
    told = call("patient-view", PLACE, {})
    found = [len(reading_room.cards("monitoring-alerts", {**told, "fhirServer": server}))
             for server in ("https://fhir.example.org/r4", "https://fhir.example.org/r4/", "https://other.example.org/r4")]
    assert found == [1, 1, 0]


def test_an_alert_that_stands_is_critical_and_says_why(reading_room: CdsHouse) -> None:
    alert(reading_room.house.store)
    [card] = alerts(reading_room)
    assert card["indicator"] == "critical"
    assert "Glucose below 70 mg/dL" in card["summary"]
    assert "| Glucose, latest | 78 mg/dL | 70 to 180 | raises |" in card["detail"].replace(" (× 3.32)", "")


def test_data_that_stopped_coming_are_no_all_clear(reading_room: CdsHouse) -> None:
    alert(reading_room.house.store, kind="no_data")
    [card] = alerts(reading_room)
    assert card["indicator"] == "warning"
    assert "no all-clear" in card["detail"]


def test_what_was_cleared_or_is_anothers_is_not_shown(reading_room: CdsHouse) -> None:
    alert(reading_room.house.store, cleared=True)
    alert(reading_room.house.store, subject="Patient/p2")
    assert alerts(reading_room) == []
