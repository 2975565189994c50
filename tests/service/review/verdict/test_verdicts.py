"""A verdict is one row, what follows from it, and nothing else: two readers at once are one verdict and one conflict."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import func, select

from service.reporting.desk import Desk
from service.review.verdict.target import find_target
from service.store.ehr_tables import Card, Feedback, Message
from service.store.hooks import said
from service.store.ledger import objects_of
from service.store.query import get_instances
from service.store.reports import cases_of
from service.store.review_tables import AuditLine, Verdict, VerdictObject
from service.store.tables import Delivery
from service.store.verdict_objects import letter_key
from tests.make import read_back
from tests.service.review.verdict.verdict_house import CLINICIAN, OTHER, READER, Place


def _made(place: Place, number: int) -> dict[str, Any]:
    row = place.rows(number)[-1]
    with place.house.store.reading() as session:
        objects = session.scalars(select(VerdictObject).where(VerdictObject.verdict_id == row.id)).all()
    return {one.kind: read_back(place.house.store.objects.get(one.sha256)) for one in objects}


def _messages(place: Place, kind: str, number: int) -> list[Message]:
    with place.house.store.reading() as session:
        key = letter_key(place.rows(number)[-1])
        return list(session.scalars(select(Message).where(Message.kind == kind, Message.key == key).order_by(Message.id)))


def test_agreeing_verifies_the_report_and_sends_it_wherever_the_result_went(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    assert 303 == place.give(number, "agree").status_code
    made = _made(place, number)
    assert {"verified", "verified-roi"} == set(made)
    report = made["verified"]
    assert ("COMPLETE", "VERIFIED", "FINAL") == (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag)
    assert ["DOCTEUR-TEST^Camille"] == [str(one.VerifyingObserverName) for one in report.VerifyingObserverSequence]
    assert ["pacs", "web"] == [one.target for one in _messages(place, "dicom", number)]
    assert "validated" == place.state()


def test_the_record_hears_that_it_is_final_and_who_says_so(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "agree")
    told = {one["resource"]["resourceType"]: one for one in _messages(place, "fhir", number)[0].content["entry"]}
    assert "final" == told["DiagnosticReport"]["resource"]["status"]
    assert told["DiagnosticReport"]["request"]["url"].startswith("DiagnosticReport?identifier=urn:diaphane:result|")
    agent = told["Provenance"]["resource"]["agent"][0]
    assert ("verifier", "99700000001") == (agent["type"]["coding"][0]["code"], agent["who"]["identifier"]["value"])
    assert "CHU Exemple" == agent["onBehalfOf"]["display"]


def test_a_finding_that_is_not_there_has_no_certainty_in_the_verified_report(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    assert 303 == place.give(number, "correct", present__pneumonia="no").status_code
    made = _made(place, number)
    assert {"verified"} == set(made)  # the zone explained a finding that is not there
    assert "Certainty of Finding" not in str(made["verified"])
    assert {"272519000"} == {one.ConceptCodeSequence[0].CodeValue for one in _items(made["verified"], "reader-finding")}
    row = place.rows(number)[-1]
    assert ("correct", "false-positive") == (row.decision, row.reason_code)
    told = [one["resource"] for one in _messages(place, "fhir", number)[0].content["entry"]]
    statuses = {one["resourceType"]: one["status"] for one in told if one["resourceType"] in ("DiagnosticReport", "Observation")}
    assert {"DiagnosticReport": "corrected", "Observation": "corrected"} == statuses
    assert "corrected" == place.state()


def test_a_region_is_sent_in_pixels_of_the_image_under_the_tracking_uid_of_the_zone(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    region = [{"sop": str(ill.SOPInstanceUID), "frame": None, "points": [[1, 2], [30.5, 2], [30.5, 40], [1, 40]]}]
    assert 303 == place.give(number, "correct", regions__pneumonia=json.dumps(region)).status_code
    made = _made(place, number)
    drawn = next(one for one in _walk(made["verified-roi"]) if one.get("ValueType") == "SCOORD")
    assert [1, 2, 30.5, 2, 30.5, 40, 1, 40, 1, 2] == list(drawn.GraphicData)
    assert str(ill.SOPInstanceUID) == drawn.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert "wrong-place" == place.rows(number)[-1].reason_code
    assert _zone_uids(place, number) == [one.UID for one in _items(made["verified-roi"], "112040")]


def test_a_corrected_volume_stands_in_the_report_with_what_ai_had_given_in_words(place: Place, brain: list[Dataset]) -> None:
    number = place.arrive(*brain)[0]
    finding = place.view(number).findings[0]
    answer = place.give(number, "correct", **{f"value__{finding.name}": "0,5", f"checked__{finding.name}": "1"})
    assert 303 == answer.status_code
    volume = next(one for one in _walk(_made(place, number)["verified"]) if one.get("ValueType") == "NUM")
    assert "0.5" == str(volume.MeasuredValueSequence[0].NumericValue)


def test_a_rejected_result_that_arrived_is_withdrawn_by_a_note_and_found_here_no_more(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    with place.house.store.session() as session:
        for row in session.scalars(select(Delivery).where(Delivery.result_id == number)):
            row.state = "done"
    assert 303 == place.give(number, "reject", reason_code="false-positive").status_code
    note = _made(place, number)["rejection"]
    assert ("113001", "Rejected for Quality Reasons") == (
        note.ConceptNameCodeSequence[0].CodeValue, note.ConceptNameCodeSequence[0].CodeMeaning)
    named = {item.ReferencedSOPInstanceUID for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
             for item in series.ReferencedSOPSequence}
    assert {one.sop_uid for one in objects_of(place.house.store, number)} == named
    assert ["pacs", "web"] == [one.target for one in _messages(place, "dicom", number)]
    shown = {one.sop_uid for one in get_instances(place.house.store, str(ill.StudyInstanceUID))}
    assert {str(ill.SOPInstanceUID), str(note.SOPInstanceUID)} == shown
    assert "rejected" == place.state()


def test_another_patients_image_is_withdrawn_for_patient_safety(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "reject", reason_code="other-patient")
    assert "113037" == _made(place, number)["rejection"].ConceptNameCodeSequence[0].CodeValue


def test_a_rejected_result_that_has_not_left_never_leaves(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "reject", reason_code="not-meant")
    with place.house.store.reading() as session:
        assert 0 == session.scalar(select(func.count()).select_from(Delivery).where(Delivery.result_id == number))
        waiting = session.scalars(select(Message).where(Message.state == "queued", Message.kind == "fhir").order_by(Message.id)).all()
    assert [] == _messages(place, "dicom", number)
    assert not any(str(ill.StudyInstanceUID) in json.dumps(one.content) for one in waiting)


def test_a_comment_holds_no_controls_and_nothing_that_turns_words_around(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "reject", reason_code="other", comment="seen\x1b[31m by\u202ehand\x00 twice")
    assert ["seen [31m by hand twice"] == [one.comment for one in place.rows(number)]


def test_what_failed_and_would_be_tried_again_does_not_arrive_after_it_was_withdrawn(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "agree")
    with place.house.store.session() as session:
        mine = select(Message).where(Message.kind == "dicom", Message.key == letter_key(place.rows(number)[-1]))
        for row, (state, attempts) in zip(session.scalars(mine), (("queued", 1), ("quarantined", 3)), strict=True):
            row.state, row.attempts, row.reason = state, attempts, "status_a700"
    place.give(number, "reject", reason_code="false-positive")
    with place.house.store.reading() as session:
        first, second = (session.scalars(select(Message).where(Message.key == letter_key(row))).all() for row in place.rows(number))
    dicom = [one for one in first if one.kind == "dicom"]
    assert [("done", "withdrawn_late")] * 2 == [(one.state, one.reason) for one in dicom]
    assert all(one.finished_at for one in dicom)  # so that it is pruned some day
    assert {"pacs", "web"} == {one.target for one in second if one.kind == "dicom"}


def test_a_delivery_that_broke_off_half_way_may_have_arrived_and_is_withdrawn(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    with place.house.store.session() as session:  # as the deliverer puts them back: the try is not counted
        for row in session.scalars(select(Delivery).where(Delivery.result_id == number)):
            row.reason = "aborted" if row.target == "pacs" else "unreachable"
    place.give(number, "reject", reason_code="false-positive")
    assert ["pacs"] == [one.target for one in _messages(place, "dicom", number)]


def test_reports_and_cards_tell_no_more_of_what_was_withdrawn(place: Place, ill: Dataset) -> None:
    number, study, store = place.arrive(ill)[0], str(ill.StudyInstanceUID), place.house.store

    def told() -> tuple[list[int | None], int]:
        with store.reading() as session:
            return [one.id for one in cases_of(store, study)[1]], len(said(session, study))

    assert ([number], 1) == told()
    place.give(number, "reject", reason_code="missed")
    assert ([], 0) == told()
    place.give(number, "agree")
    assert ([number], 1) == told()


def test_the_draft_report_follows_a_correction_and_one_that_was_edited_before_is_stale(place: Place, ill: Dataset) -> None:
    number, study = place.arrive(ill)[0], str(ill.StudyInstanceUID)
    desk = Desk(place.house, place.house.scoring.shelf)

    def told() -> tuple[str, bool]:
        held = desk.current(study, "en")
        return " ".join(one.text for one in held.draft.section("conclusion").sentences), held.stale

    assert "In favour of" in told()[0]
    place.give(number, "correct", present__pneumonia="no")
    assert "absent according to the professional" in told()[0]
    desk.edit(study, "en", desk.current(study, "en").etag, {"conclusion": ["Words of a person."]}, {})
    assert not told()[1]
    place.give(number, "correct", present__pneumonia="no", comment="once more")
    assert ("Words of a person.", True) == told()
    place.give(number, "agree")
    assert ("Words of a person.", True) == told()


def test_what_was_withdrawn_may_be_taken_up_again(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "reject", reason_code="missed")
    assert 303 == place.give(number, "agree").status_code
    assert ["pacs", "web"] == [one.target for one in _messages(place, "dicom", number)]
    assert "final" == next(one["resource"]["status"] for one in _messages(place, "fhir", number)[0].content["entry"]
                           if one["resource"]["resourceType"] == "DiagnosticReport")
    assert ("validated", "validated") == (place.state(), place.view(number).effect)


def test_two_readers_at_once_are_one_verdict_and_one_conflict(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    panel = place.view(number)
    form = {"target": panel.key, "after": "0", "token": panel.token, "decision": "agree"}
    assert 303 == place.client.post(panel.action, data=form, follow_redirects=False).status_code
    late = place.client.post(panel.action, data=form | {"token": "B" * 22, "decision": "reject", "reason_code": "missed"})
    assert (409, "verdict_changed") == (late.status_code, late.json()["code"])
    assert ["agree"] == [one.decision for one in place.rows(number)]


def test_a_form_sent_twice_is_one_verdict(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    panel = place.view(number)
    form = {"target": panel.key, "after": "0", "token": panel.token, "decision": "agree"}
    answers = [place.client.post(panel.action, data=form, follow_redirects=False).status_code for _ in range(2)]
    assert ([303, 303], 1) == (answers, len(place.rows(number)))


def test_a_verdict_is_in_the_audit_with_its_decision_and_without_its_comment(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "reject", reason_code="other", comment="CANARI comment")
    with place.house.store.reading() as session:
        line = session.scalars(select(AuditLine).where(AuditLine.action == "verdict").order_by(AuditLine.id.desc()).limit(1)).one()
    assert (READER.subject, "result", place.key(number), "reject") == (line.actor, line.kind, line.item, line.detail["decision"])
    assert "CANARI" not in json.dumps(line.detail)


@pytest.mark.parametrize(("fields", "rule"), [
    ({"decision": "maybe"}, "agree, correct or reject"),
    ({"decision": "reject"}, "must have a reason"),
    ({"decision": "reject", "reason_code": "other"}, "needs a comment"),
    ({"decision": "correct"}, "must change something"),
    ({"decision": "correct", "regions__pneumonia": '[{"sop": "1.2", "frame": null, "points": [[0,0],[1,0],[1,1]]}]'},
     "on images of this result"),
    ({"decision": "correct", "regions__pneumonia": "[[[["}, "list of points"),
    ({"decision": "agree", "comment": "x" * 4001}, "4000 characters"),
])
def test_what_cannot_be_taken_is_refused_by_rule_and_nothing_is_written(
    place: Place, unjudged: int, fields: dict[str, str], rule: str
) -> None:
    answer = place.give(unjudged, **fields)
    assert (422, "bad_verdict") == (answer.status_code, answer.json()["code"])
    assert rule in answer.json()["detail"]
    assert [] == place.rows(unjudged)


def test_a_value_in_the_wrong_unit_is_asked_about_once_more(place: Place, brain: list[Dataset]) -> None:
    number = place.arrive(*brain)[0]
    name = place.view(number).findings[0].name
    far = place.give(number, "correct", **{f"value__{name}": "300"})
    impossible = place.give(number, "correct", **{f"value__{name}": "300000", f"checked__{name}": "1"})
    sure = place.give(number, "correct", **{f"value__{name}": "300", f"checked__{name}": "1"})
    assert (422, 422, 303) == (far.status_code, impossible.status_code, sure.status_code)


def test_a_clinician_may_not_judge_images_and_a_stranger_learns_nothing(place: Place, unjudged: int) -> None:
    number = unjudged
    assert not place.view(number, caller=CLINICIAN).may
    assert 403 == place.give(number, "agree", caller=CLINICIAN).status_code
    elsewhere = type(READER)("oidc:x:1", name="X", roles=frozenset({"radiologist"}), departments=frozenset({"Cardiology"}))
    assert 404 == place.give(number, "agree", caller=elsewhere).status_code
    place.who[:] = [READER]
    panel = place.view(number)
    form = {"target": panel.key, "after": "0", "token": panel.token, "decision": "agree"}
    assert 404 == place.client.post("/review/studies/AAAAAAAAAAAAAAAAAAAAAA/verdict", data=form).status_code
    assert [] == place.rows(number)


def test_the_second_reader_reads_blind_and_nothing_is_sent_before(two_readers: Place, ill: Dataset) -> None:
    number = two_readers.arrive(ill)[0]
    two_readers.give(number, "agree", comment="first word")
    assert ([], "seen") == (_messages(two_readers, "dicom", number), two_readers.state())
    seen = two_readers.view(number, caller=OTHER)
    assert (True, (), "second") == (seen.hidden, seen.history, seen.reading)
    assert "first word" not in str(seen)
    two_readers.give(number, "agree", caller=OTHER)
    report = _made(two_readers, number)["verified"]
    names = [str(one.VerifyingObserverName) for one in report.VerifyingObserverSequence]
    assert ["DOCTEUR-TEST^Camille", "RELECTEUR-TEST^Alix"] == names
    assert "validated" == two_readers.state()


def test_readers_who_differ_leave_it_to_a_third_verdict(two_readers: Place, ill: Dataset) -> None:
    number = two_readers.arrive(ill)[0]
    two_readers.give(number, "agree")
    two_readers.give(number, "reject", caller=OTHER, reason_code="missed")
    assert ("differing", "", 2) == (
        (panel := two_readers.view(number)).state, panel.effect, len(panel.history))
    two_readers.give(number, "correct", present__pneumonia="no")
    assert ("settled", "corrected") == ((panel := two_readers.view(number)).state, panel.effect)


def test_who_was_first_cannot_be_second(two_readers: Place, ill: Dataset) -> None:
    number = two_readers.arrive(ill)[0]
    two_readers.give(number, "agree")
    two_readers.give(number, "reject", reason_code="missed")
    assert ["first", "first"] == [one.reader for one in two_readers.rows(number)]
    assert "waiting" == two_readers.view(number).state


def test_a_first_reader_who_changed_their_mind_is_hidden_whole(two_readers: Place, ill: Dataset) -> None:
    number = two_readers.arrive(ill)[0]
    two_readers.give(number, "agree", comment="first word")
    two_readers.give(number, "reject", reason_code="missed", comment="second thought")
    seen = two_readers.view(number, caller=OTHER)
    assert (True, ()) == (seen.hidden, seen.history)
    target = find_target(two_readers.desk, "result", number)
    assert target is not None
    assert ((), 2) == (target.open_to(OTHER.subject), len(target.open_to(READER.subject)))


def test_what_took_effect_stands_while_a_second_reader_is_waited_for(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "reject", reason_code="missed")
    place.give(number, "agree", caller=OTHER, second="1")
    panel = place.view(number)
    assert ("waiting", "withdrawn", True) == (panel.state, panel.effect, panel.withdrawn)
    assert "seen" == place.state()
    assert 1 == len(panel.history)  # what stands is known, what is read blind is not
    place.give(number, "agree")
    assert ("settled", "validated", "validated") == ((panel := place.view(number)).state, panel.effect, place.state())


def test_a_risk_that_is_rejected_is_feedback_on_its_card(place: Place) -> None:
    with place.house.store.session() as session:
        session.add(Card(uuid="card-1", service="tiny_risk", hook="patient-view", model="tiny_risk-1.0.0", status="scored",
                         input_sha256="ab" * 32, value=0.4, suggestions={"ids": []}, shown_at=1.0))
    number = place.keep_risk(card="card-1")
    assert 303 == place.give(number, "reject", kind="risk", caller=CLINICIAN, reason_code="wrong-data").status_code
    with place.house.store.reading() as session:
        told = session.scalars(select(Feedback).where(Feedback.card_uuid == "card-1")).one()
    assert ("overridden", "wrong-data", "urn:diaphane:override-reasons") == (told.outcome, told.reason_code, told.reason_system)
    assert "rejected" == place.state("risk")


def test_verdicts_are_kept_as_structured_assessments(place: Place, ill: Dataset) -> None:
    number = place.arrive(ill)[0]
    place.give(number, "correct", present__pneumonia="no", comment="Vu")
    row: Verdict = place.rows(number)[-1]
    first = row.content["findings"][0]
    assert {"name": "pneumonia", "taken": "rejected", "ai_present": True, "present": False} == {
        name: first[name] for name in ("name", "taken", "ai_present", "present")}
    assert (READER.rpps, "CHU Exemple", "Vu") == (row.reviewer["rpps"], row.reviewer["structure"], row.comment)


def _walk(dataset: Dataset) -> Any:
    for item in dataset.get("ContentSequence", ()):
        yield item
        yield from _walk(item)


def _items(dataset: Dataset, code: str) -> list[Dataset]:
    named = [one for one in _walk(dataset) if one.get("ConceptNameCodeSequence")]
    return [one for one in named if one.ConceptNameCodeSequence[0].get("CodeValue") == code]


def _zone_uids(place: Place, number: int) -> list[str]:
    zone = next(one for one in objects_of(place.house.store, number) if one.kind == "sr-roi")
    return [one.UID for one in _items(read_back(place.house.store.objects.get(zone.sha256)), "112040")]
