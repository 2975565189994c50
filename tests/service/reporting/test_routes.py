"""Reports over HTTP: looking stores nothing, a change names its version, a validation names a person, a draft never leaves."""

from __future__ import annotations

import io
from itertools import count
from typing import Any

import pydicom
import pytest

from service.persons import write_patient
from service.reporting.desk import Desk
from service.reporting.validated import (
    NotValidated,
    Professional,
    ValidatedReport,
    require_validated,
)
from service.store import reports
from service.store.retention import prune
from service.words import say
from tests.make import mr_series, radiograph_dataset, radiograph_pixels
from tests.service.dicom.tell import hospital
from tests.service.reporting.report_house import READER, Room
from tests.service.test_identity import WHOLE

UIDS = (f"1.2.826.0.1.3680043.8.498.2026.9.{n}" for n in count(1))


def fresh(**changes: Any) -> dict[str, Any]:
    """Return UIDs that no other test uses."""
    study = next(UIDS)
    return {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.1", **changes}


def ill() -> Any:
    return hospital(radiograph_dataset(radiograph_pixels(pneumonia=True), **fresh()))


def desk(room: Room) -> Desk:
    return Desk(room.house, room.house.scoring.shelf)


def sentences(answer: Any, name: str) -> list[dict[str, Any]]:
    [section] = [one for one in answer.json()["sections"] if one["name"] == name]
    return list(section["sentences"])


def code_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_looking_at_a_draft_stores_nothing_and_gives_the_same_each_time(room: Room) -> None:
    study = room.arrive(ill())
    first, second = room.read(study), room.read(study)
    assert (200, first.headers["etag"], first.text) == (second.status_code, second.headers["etag"], second.text)
    assert (0, "draft", "PROJET – non validé") == tuple(first.json()[name] for name in ("number", "state", "mark"))
    assert [] == reports.versions(room.house.store, study)


def test_the_language_is_the_one_asked_for(room: Room) -> None:
    study = room.arrive(ill())
    assert "fr" == room.read(study).headers["content-language"]  # of the site
    assert "en" == room.read(study, **{"accept-language": "en-GB"}).json()["language"]
    assert "fr" == room.read(study, "?language=fr", **{"accept-language": "en"}).json()["language"]
    assert (400, "bad_query") == code_of(room.read(study, "?language=de"))


@pytest.mark.parametrize(("name", "media_type", "start"), [
    ("html", "text/html; charset=utf-8", b"<!doctype html>"), ("pdf", "application/pdf", b"%PDF-"),
    ("dicom", "application/dicom", b"\0" * 128 + b"DICM"), ("json", "application/json", b"{"),
])
def test_the_report_comes_as_each_format(room: Room, name: str, media_type: str, start: bytes) -> None:
    study = room.arrive(ill())
    asked, accepted = room.read(study, f"?format={name}"), room.read(study, accept=media_type)
    assert (media_type, True) == (asked.headers["content-type"], asked.content.startswith(start))
    assert asked.content == accepted.content
    assert "no-store" == asked.headers["cache-control"]


def test_an_edit_keeps_the_source_of_what_is_kept_and_takes_the_rest_for_a_persons(room: Room) -> None:
    study = room.arrive(ill())
    draft = room.read(study)
    kept = sentences(draft, "results")[0]["text"]
    edited = room.edit(study, draft.headers["etag"], results=[kept, "Pas d'épanchement."], conclusion=["Foyer  basal\tdroit."])
    assert (200, 2, "edited") == (edited.status_code, edited.json()["number"], edited.json()["state"])
    assert [("ai", "IA, à valider"), ("person", "")] == [(one["origin"], one["mark"]) for one in sentences(edited, "results")]
    assert ["Foyer basal droit."] == [one["text"] for one in sentences(edited, "conclusion")]
    assert [] == sentences(edited, "technique")


def test_every_version_is_kept_with_its_author_the_draft_of_ai_first(room: Room) -> None:
    study = room.arrive(ill())
    draft = room.read(study)
    edited = room.edit(study, draft.headers["etag"], conclusion=["Foyer."])
    room.validate(study, edited.headers["etag"])
    versions = room.client.get(f"/v1/studies/{study}/report/versions").json()["versions"]
    assert [(1, "draft"), (2, "edited"), (3, "validated")] == [(one["number"], one["state"]) for one in versions]
    assert [None, "DOCTEUR-TEST", "DOCTEUR-TEST"] == [one["author"] and one["author"]["family"] for one in versions]
    assert [one["text"] for one in sentences(draft, "results")] == [
        one["text"] for one in versions[0]["sections"][2]["sentences"]]


def test_a_change_to_what_somebody_changed_is_refused(room: Room) -> None:
    study = room.arrive(ill())
    etag = room.read(study).headers["etag"]
    assert 200 == room.edit(study, etag, conclusion=["A."]).status_code
    assert (412, "report_changed") == code_of(room.edit(study, etag, conclusion=["B."]))
    assert (412, "report_changed") == code_of(room.validate(study, etag))
    assert (428, "report_unconditional") == code_of(room.edit(study, "", conclusion=["B."]))


def test_two_that_write_at_once_give_one_version(room: Room) -> None:
    study = room.arrive(ill())
    held = desk(room).current(study, "fr")
    version = reports.Version("edited", "fr", {"sections": []}, {}, 0.0)
    assert 1 == reports.add(room.house.store, study, [version], after=held.draft.number)
    with pytest.raises(reports.StaleReport):
        reports.add(room.house.store, study, [version], after=held.draft.number)


def test_new_images_make_an_untouched_draft_new_and_an_edited_one_stale(room: Room) -> None:
    study = room.arrive(ill())
    first = room.read(study)
    edited = room.edit(study, first.headers["etag"], conclusion=["A."])
    assert not edited.json()["stale"]
    room.arrive(hospital(radiograph_dataset(**fresh(StudyInstanceUID=study))))
    later = room.read(study)
    assert later.json()["stale"]
    assert "Des résultats sont arrivés sur lesquels ce texte ne repose pas" in room.read(study, "?format=html").text
    again = room.client.post(f"/v1/studies/{study}/report/draft", json={"author": {"family": "A", "given": "B"}},
                             headers={"if-match": later.headers["etag"]})
    assert (3, "draft", False) == tuple(again.json()[name] for name in ("number", "state", "stale"))
    assert any(one["text"].startswith("Images 2\u00a0: ") for one in sentences(again, "results"))


def test_a_refused_image_has_a_draft_that_says_so(room: Room) -> None:
    study = room.arrive(hospital(radiograph_dataset(radiograph_pixels(40, 40), **fresh())))
    assert any("Non évalué" in one["text"] or "Aucun modèle" in one["text"] for one in sentences(room.read(study), "results"))
    assert "L'IA n'a pas pu évaluer cet examen." in [one["text"] for one in sentences(room.read(study), "conclusion")]


def test_a_volume_is_in_millilitres(room: Room) -> None:
    study = room.arrive(*(hospital(one) for one in mr_series(ImageLaterality="R", BodyPartExamined="HIPPOCAMPUS")))
    found = [one["text"] for one in sentences(room.read(study), "conclusion")]
    assert any(text.endswith(" mL.") for text in found)


# Validation -----------------------------------------------------------------------------------------------------------


def test_a_named_professional_validates(room: Room) -> None:
    study = room.arrive(ill())
    validated = room.validate(study, room.read(study).headers["etag"])
    assert (200, "validated", "") == (validated.status_code, validated.json()["state"], validated.json()["mark"])
    assert {"rpps": "99700000001", "family": "DOCTEUR-TEST", "given": "CAMILLE"} == validated.json()["validated_by"]
    report = desk(room).validated(study)
    assert (2, "", "279035121518989") == (report.version, report.replaces, report.person.ins("test").matricule)  # type: ignore[union-attr]
    assert ("ACC0001", "RIS", "PLACER1") == (report.accession.value, report.accession.issuer, report.placer_order.value)  # type: ignore[union-attr]
    assert ["36643-5"] == [one.code for one in report.procedures]
    assert "899700000001" == report.professional.national_id


@pytest.mark.parametrize("change", [
    {"rpps": "123"}, {"rpps": ""}, {"rpps": "9970000000a"}, {"rpps": "799700000001"}, {"family": " "}, {"given": ""}, {"role": "<x>"},
    {"unknown": "x"},
])
def test_a_validation_without_a_person_is_refused(room: Room, change: dict[str, str]) -> None:
    study = room.arrive(ill())
    etag = room.read(study).headers["etag"]
    answer = room.client.post(f"/v1/studies/{study}/report/validation", json={"professional": {**READER, **change}},
                              headers={"if-match": etag})
    assert (422, "bad_report") == code_of(answer)
    assert "9970000000a" not in answer.text
    assert "draft" == room.read(study).json()["state"]


def test_a_report_without_a_conclusion_is_not_validated(room: Room) -> None:
    study = room.arrive(ill())
    edited = room.edit(study, room.read(study).headers["etag"], results=["A."])
    assert (422, "bad_report") == code_of(room.validate(study, edited.headers["etag"]))


def test_the_record_of_another_person_is_refused_with_the_reason(room: Room) -> None:
    study = room.arrive(ill())
    record = write_patient(WHOLE, accept="test")  # born in 1979; the image is of a child
    answer = room.validate(study, room.read(study).headers["etag"], patient=record)
    assert (409, "other_person") == code_of(answer)
    assert "dates de naissance différentes" in answer.json()["detail"]
    assert "1979" not in answer.text


def test_the_traits_of_the_right_record_go_into_the_document(room: Room) -> None:
    study = room.arrive(ill())
    record = {**write_patient(WHOLE, accept="test"), "birthDate": "2023-02-28"}
    answer = room.validate(study, room.read(study).headers["etag"], patient=record)
    assert 200 == answer.status_code
    person = desk(room).validated(study).person
    assert ("51215", "DOMINIQUE MARIE-LOUISE") == (person.traits.birth_place, person.traits.given_names)
    assert {"CANARI-0001", "0042", "279035121518989"} == {one.matricule for one in person.identities}


def test_a_second_validation_replaces_the_first(room: Room) -> None:
    study = room.arrive(ill())
    first = room.validate(study, room.read(study).headers["etag"])
    before = desk(room).validated(study)
    edited = room.edit(study, first.headers["etag"], conclusion=["Addendum."])
    with pytest.raises(NotValidated):
        desk(room).validated(study)
    room.validate(study, edited.headers["etag"])
    after = desk(room).validated(study)
    assert (before.document_uid, before.set_uid) == (after.replaces, after.set_uid)
    states = [one["state"] for one in room.client.get(f"/v1/studies/{study}/report/versions").json()["versions"]]
    assert ["draft", "superseded", "edited", "validated"] == states


def test_a_draft_never_leaves_as_a_document(room: Room) -> None:
    study = room.arrive(ill())
    with pytest.raises(NotValidated):
        desk(room).validated(study)
    for thing in (desk(room).current(study, "fr"), desk(room).current(study, "fr").draft, None, {"state": "validated"}):
        with pytest.raises(NotValidated):
            require_validated(thing)


def test_a_text_that_was_changed_after_validation_is_no_validated_report(room: Room) -> None:
    study = room.arrive(ill())
    room.validate(study, room.read(study).headers["etag"])
    report = desk(room).validated(study)
    fields = {name: getattr(report, name) for name in ValidatedReport.__dataclass_fields__}
    assert report == ValidatedReport(**fields)
    for change in ({"sections": report.sections[:2]}, {"pdf": b""}, {"validated_at": report.validated_at.replace(tzinfo=None)}):
        with pytest.raises(NotValidated):
            ValidatedReport(**{**fields, **change})


def test_a_professional_of_an_id_that_starts_with_8_is_the_same() -> None:
    assert Professional("8 99700000001".replace(" ", ""), "A", "B").rpps == Professional("99700000001", "A", "B").rpps


# What does not fit ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{", b'{"sections": {}}', b'{"author": {"family": "A", "given": "B"}, "sections": {"addendum": ["x"]}}',
    b'{"author": {"family": "A", "given": "B"}, "sections": {"results": "x"}}',
    b'{"author": {"family": "A", "given": "B"}, "sections": {"results": [1]}}', b"\xff\xfe", b"[" * 5000,
])
def test_a_body_that_is_no_edit_is_refused(room: Room, body: bytes) -> None:
    study = room.arrive(ill())
    etag = room.read(study).headers["etag"]
    answer = room.client.put(f"/v1/studies/{study}/report", content=body, headers={"if-match": etag})
    assert (422, "bad_report") == code_of(answer)


@pytest.mark.parametrize("texts", [["x" * 2001], ["x"] * 201])
def test_an_edit_has_bounds(room: Room, texts: list[str]) -> None:
    study = room.arrive(ill())
    assert (422, "bad_report") == code_of(room.edit(study, room.read(study).headers["etag"], results=texts))


def test_a_report_goes_with_its_study_when_that_is_pruned(room: Room) -> None:
    study = room.arrive(ill())
    room.validate(study, room.read(study).headers["etag"])
    prune(room.house.store, older_than_s=-1.0)
    assert [] == reports.versions(room.house.store, study)
    assert (404, "not_found") == code_of(room.read(study))


def test_no_study_and_no_uid_are_said_without_repeating_them(room: Room) -> None:
    assert (404, "not_found") == code_of(room.read("1.2.3.4"))
    assert (400, "bad_uid") == code_of(room.read("DUPONT"))
    assert "1.2.3.4" not in room.read("1.2.3.4").text
    assert (400, "bad_query") == code_of(room.read(room.arrive(ill()), "?format=docx"))


def test_the_dicom_object_keeps_patient_study_order_and_ins(room: Room) -> None:
    study = room.arrive(ill())
    made = pydicom.dcmread(io.BytesIO(room.read(study, "?format=dicom").content))
    assert ("DOC", "UNVERIFIED", "YES") == (made.Modality, made.VerificationFlag, made.BurnedInAnnotation)
    assert (study, "ACC0001", "CANARI-0001") == (made.StudyInstanceUID, made.AccessionNumber, made.PatientID)
    assert "279035121518989" == made.OtherPatientIDsSequence[0].PatientID
    assert made.EncapsulatedDocument[:made.EncapsulatedDocumentLength] == room.read(study, "?format=pdf").content
    assert made.SpecificCharacterSet == "ISO_IR 192" or "–" not in made.DocumentTitle
    room.validate(study, room.read(study).headers["etag"])
    final = pydicom.dcmread(io.BytesIO(room.read(study, "?format=dicom").content))
    assert "VERIFIED" == final.VerificationFlag
    assert made.SOPInstanceUID != final.SOPInstanceUID
    assert say("fr", "Imaging report") == final.SeriesDescription
