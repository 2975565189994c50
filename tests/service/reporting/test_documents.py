"""Validated reports leave: as CDA to who asks, and by the outbox, written with the validation, where the site has that on."""

from __future__ import annotations

import base64
import io
import logging
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from pydicom.dataset import Dataset

from service.deliver import Deliverer
from service.outbound.senders import outlets_of
from service.persons import person_of_dataset, person_of_patient, write_patient
from service.reporting.desk import Desk
from service.settings import read_settings
from service.store import reports
from service.store.ledger import counts
from service.store.messages import claim_letter
from tests.service.cda.test_write_report import values
from tests.service.hl7v2.receiver import receiver
from tests.service.hl7v2.test_messages import field
from tests.service.reporting.report_house import SITE, Room, report_room
from tests.service.reporting.test_routes import code_of, ill
from tests.service.test_identity import WHOLE

PATIENT = write_patient(replace(WHOLE, traits=replace(WHOLE.traits, birth_date="20230228")), accept="test")  # that of the images


@dataclass(frozen=True)
class Sending:
    """A room whose site sends, what its platform heard, and the folder of its mail."""

    room: Room
    heard: list[str]
    folder: Path


@pytest.fixture(scope="module")
def sending(silent: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sending]:
    """A room whose site sends by HL7 v2 and into a folder."""
    folder = tmp_path_factory.mktemp("mail")
    with receiver() as there:
        site = SITE.model_copy(update={"mllp": there.site(dmp=True), "xdm": SITE.xdm.model_copy(update={"folder": folder})})
        with report_room(silent, tmp_path_factory.mktemp("sending") / "store", site=site) as room:
            yield Sending(room, there.heard, folder)


def validated(room: Room, *, conclusion: str = "Pneumonie basale droite.", study: str = "") -> str:
    study = study or room.arrive(ill())
    edited = room.edit(study, room.read(study).headers["etag"], conclusion=[conclusion])
    answer = room.validate(study, edited.headers["etag"], patient=PATIENT)
    assert 200 == answer.status_code, answer.text
    return study


def letters(room: Room, target: str) -> list[dict[str, Any]]:
    found = []
    while letter := claim_letter(room.house.store, target, worker="test", lease_s=60):
        found.append(letter.content)
    return found


def test_a_validated_report_is_had_as_cda_and_a_draft_is_not(room: Room) -> None:
    study = room.arrive(ill())
    for format_ in ("cda", "cda-pages"):
        assert (409, "report_not_validated") == code_of(room.read(study, f"?format={format_}"))
    validated(room, study=study)
    answer = room.read(study, "?format=cda")
    assert (200, True) == (answer.status_code, answer.headers["content-type"].startswith("text/xml"))
    tree = etree.fromstring(answer.content)
    assert [study] == values(tree, "//c:serviceEvent/c:id/@root")
    assert ["Pneumonie basale droite."] == values(tree, "//c:section[c:code/@code='19005-8']/c:text/c:paragraph/text()")
    assert answer.content == room.read(study, accept="text/xml").content
    pages = etree.fromstring(room.read(study, "?format=cda-pages").content)
    assert base64.b64decode(values(pages, "//c:nonXMLBody/c:text/text()")[0]).startswith(b"%PDF-")


def test_an_edited_report_is_a_draft_again(room: Room) -> None:
    study = validated(room)
    assert 200 == room.edit(study, room.read(study).headers["etag"], conclusion=["Autre."]).status_code
    assert (409, "report_not_validated") == code_of(room.read(study, "?format=cda"))


def test_a_report_in_english_stays_and_says_why(room: Room) -> None:
    study = room.arrive(ill())
    draft = room.read(study, "?language=en")
    room.client.put(f"/v1/studies/{study}/report?language=en", headers={"if-match": draft.headers["etag"]}, json={
        "author": {"family": "DOCTEUR-TEST", "given": "CAMILLE"}, "sections": {"conclusion": ["No pneumonia."]}})
    assert 200 == room.validate(study, room.read(study).headers["etag"]).status_code
    answer = room.read(study, "?format=cda", **{"accept-language": "en"})
    assert (409, "report_not_sendable") == code_of(answer)
    assert "in French" in answer.json()["detail"]


def test_a_site_that_names_no_way_out_sends_nothing(room: Room) -> None:
    validated(room)
    assert {} == counts(room.house.store)["deliveries"]


def test_a_validation_puts_the_message_and_the_archive_into_the_outbox_with_it(sending: Sending) -> None:
    room = sending.room
    study = room.arrive(ill())
    edited = room.edit(study, room.read(study).headers["etag"], conclusion=["Pneumonie."])
    assert {} == counts(room.house.store)["deliveries"]  # a draft sends nothing
    assert 200 == room.validate(study, edited.headers["etag"], patient=PATIENT).status_code
    [message], [archive] = letters(room, "mllp"), letters(room, "xdm")
    cda = room.read(study, "?format=cda").content
    assert cda == base64.b64decode(field(message["message"], "OBX", 5).split("^")[4])
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(archive["files"]["IHE_XDM.zip"]))) as opened:
        assert cda == opened.read("IHE_XDM/SUBSET01/DOC0001.XML")
    assert message["control_id"] == field(message["message"], "MSH", 10)


def test_a_second_validation_replaces_the_document_of_the_first(sending: Sending) -> None:
    room = sending.room
    study = validated(room)
    validated(room, conclusion="Pas de pneumonie.", study=study)
    first, second = (one["message"] for one in letters(room, "mllp"))
    letters(room, "xdm")
    assert ["MDM^T02^MDM_T02", "MDM^T10^MDM_T02"] == [field(one, "MSH", 9) for one in (first, second)]
    assert ["", field(first, "TXA", 12)] == [field(one, "TXA", 13) for one in (first, second)]
    assert field(second, "TXA", 12) == Desk(room.house, room.house.scoring.shelf).validated(study).document_uid


def test_a_report_that_must_not_leave_is_validated_and_stays(sending: Sending, caplog: pytest.LogCaptureFixture) -> None:
    room = sending.room
    nobody = ill()
    nobody.PatientID, nobody.IssuerOfPatientID = "", ""
    national = nobody.OtherPatientIDsSequence[0]
    national.PatientID = national.PatientID[:13] + "88"
    study = room.arrive(nobody)
    edited = room.edit(study, room.read(study).headers["etag"], conclusion=["Pneumonie."])
    with caplog.at_level(logging.WARNING, logger="diaphane"):
        assert 200 == room.validate(study, edited.headers["etag"]).status_code
    assert ["report: validated, but not sent as a document (wrong_key)"] == [one.getMessage() for one in caplog.records]
    assert ([], []) == (letters(room, "mllp"), letters(room, "xdm"))
    assert (409, "report_not_sendable") == code_of(room.read(study, "?format=cda"))


def test_the_record_says_whether_the_national_identity_may_be_sent(sending: Sending) -> None:
    """An INS of the images that the record does not hold as qualified stays out of the document."""
    room, image = sending.room, ill()
    issuer = Dataset()
    issuer.UniversalEntityID, issuer.UniversalEntityIDType = "1.2.250.1.999.2", "ISO"
    image.IssuerOfPatientIDQualifiersSequence = [issuer]
    known = person_of_dataset(image)
    assert known.ins("test")
    study = room.arrive(image)
    edited = room.edit(study, room.read(study).headers["etag"], conclusion=["Pneumonie."])
    unqualified = write_patient(replace(known, identities=(known.identities[0],)), accept="test")
    assert 200 == room.validate(study, edited.headers["etag"], patient=unqualified).status_code
    [message] = letters(room, "mllp")
    letters(room, "xdm")
    assert "1.2.250.1.213.1.4" not in field(message["message"], "PID", 3)
    assert "N^^expandedYes-NoIndicator" == field(message["message"], "OBX", 5, 6)  # DESTDMP


def test_a_validation_that_comes_too_late_sends_nothing(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    room = sending.room
    study = room.arrive(ill())
    edited = room.edit(study, room.read(study).headers["etag"], conclusion=["Pneumonie."])
    real = reports.add

    def raced(*args: Any, **more: Any) -> int:
        raise reports.StaleReport

    monkeypatch.setattr(reports, "add", raced)
    assert (412, "report_changed") == code_of(room.validate(study, edited.headers["etag"], patient=PATIENT))
    monkeypatch.setattr(reports, "add", real)
    assert ([], []) == (letters(room, "mllp"), letters(room, "xdm"))


def test_what_waits_is_delivered_to_the_platform_and_the_folder(sending: Sending) -> None:
    room = sending.room
    study = validated(room)
    for outlet in outlets_of(room.house.site):
        one = Deliverer(room.house.store, outlet, read_settings({}, lease_s=30))
        while one.step():
            pass
    [heard] = sending.heard
    assert person_of_patient(PATIENT).identities[0].matricule in field(heard, "PID", 3)
    [place] = sending.folder.iterdir()
    assert room.read(study, "?format=pdf").content == (place / "report.pdf").read_bytes()
