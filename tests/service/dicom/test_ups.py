"""UPS-RS: a worklist others fill, claim and complete by the standard's rules; and what Diaphane does for it by itself."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from typing import Any

import pydicom
import pytest
from sqlalchemy import select

from service.dicom import performer, steps
from service.dicom.steps import code, value
from service.store.cases import seal_due
from service.store.ledger import save_result
from service.store.tables import Base, Case, Job, Revision
from tests.make import mr_series, radiograph_dataset
from tests.make_store import MadeObject
from tests.service.dicom.web_house import WebHouse, opened

DICOM_JSON = {"content-type": "application/dicom+json", "accept": "application/dicom+json"}
UID, HOLDER, OTHER = "1.2.7.1", "1.2.8.1", "1.2.8.2"
STUDY = "1.2.826.0.1.3680043.8.498.2026.1"
MR = "1.2.826.0.1.3680043.8.498.2026.2.2"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHouse]:
    with opened(tmp_path_factory.mktemp("ups")) as built:
        yield built


@pytest.fixture
def web(house: WebHouse) -> WebHouse:
    """The house, emptied."""
    with house.store.session() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())
    house.store.known.clear()
    return house


def workitem(**changes: Any) -> dict[str, Any]:
    """A whole workitem that asks for the MR series; changes are by tag, with t before it; None leaves one out."""
    source = {"0020000D": value("UI", STUDY), "0020000E": value("UI", MR)}
    step = {
        steps.STATE: value("CS", "SCHEDULED"), steps.PRIORITY: value("CS", "HIGH"), steps.LABEL: value("LO", "Hippocampus"),
        steps.START: value("DT", "20260301120000"), steps.READINESS: value("CS", "READY"), steps.WORKLIST: value("LO", "AI"),
        steps.INPUTS: value("SQ", source), "00100010": value("PN", {"Alphabetic": "CANARI^TEST"}),
        "00100020": value("LO", "CANARI-0001"),
    }
    step = {tag: {"vr": vr} for tag, vr in steps.EMPTY.items()} | step
    step |= {tag.removeprefix("t"): element for tag, element in changes.items()}
    return {tag: element for tag, element in step.items() if element is not None}


def post(web: WebHouse, address: str, body: Any, method: str = "POST") -> Any:
    return web.client.request(method, f"/dicom-web/workitems{address}", json=body, headers=DICOM_JSON)


def put_state(web: WebHouse, state: str, transaction: str = HOLDER, uid: str = UID) -> Any:
    body = [{steps.STATE: value("CS", state)} | ({steps.TRANSACTION: value("UI", transaction)} if transaction else {})]
    return post(web, f"/{uid}/state", body, "PUT")


def got(web: WebHouse, uid: str = UID) -> dict[str, Any]:
    answer = web.client.get(f"/dicom-web/workitems/{uid}")
    assert 200 == answer.status_code, answer.text
    return dict(answer.json()[0])


def state(web: WebHouse, uid: str = UID) -> str:
    return steps.text(got(web, uid), steps.STATE)


def done_by(station: str = "OTHER") -> dict[str, Any]:
    """What a performer sets before it completes a step."""
    item = {"00404028": value("SQ", code(station, "99X", "x")), "00404050": value("DT", "20260301121000"),
            "00404051": value("DT", "20260301122000"), "00404019": value("SQ", code("110003", "DCM", "x")), "00404033": {"vr": "SQ"}}
    return {steps.PERFORMED: value("SQ", item)}


@pytest.mark.parametrize(("query", "uid"), [
    ("", ""), (f"?{UID}", UID), (f"?workitem={UID}", UID), (f"?AffectedSOPInstanceUID={UID}", UID),
])
def test_a_workitem_is_created_at_its_address(web: WebHouse, query: str, uid: str) -> None:
    answer = post(web, query, [workitem()])

    assert 201 == answer.status_code
    address = answer.headers["location"]
    assert address.startswith(f"http://testserver/dicom-web/workitems/{uid}")
    assert "warning" not in answer.headers
    step = web.client.get(address).json()[0]
    assert (steps.PUSH_CLASS, "SCHEDULED") == (steps.text(step, "00080016"), steps.text(step, steps.STATE))
    assert address.endswith(steps.text(step, "00080018"))


def test_what_is_left_out_is_added_and_said(web: WebHouse) -> None:
    answer = post(web, f"?{UID}", workitem(t00380010=None, t00741202=None))

    assert "created with modifications" in answer.headers["warning"]
    assert {"vr": "LO"} == got(web)["00380010"]


def test_a_uid_is_given_once(web: WebHouse) -> None:
    answers = [post(web, f"?{UID}", workitem()) for _ in range(2)]

    assert [201, 409] == [answer.status_code for answer in answers]


@pytest.mark.parametrize("step", [
    workitem(t00741000=value("CS", "IN PROGRESS")), workitem(t00741204=None), workitem(t00741200=value("CS", "STAT")),
    workitem(t00404041=value("CS", "CANARY")), workitem(t00404005={"vr": "DT"}), workitem(t00081195=value("UI", HOLDER)),
    workitem(t00741216=done_by()[steps.PERFORMED]), workitem(t00080018=value("UI", "1.9")), workitem(t00080016=value("UI", "1.9")),
])
def test_a_workitem_that_breaks_a_rule_is_refused(web: WebHouse, step: dict[str, Any]) -> None:
    answer = post(web, f"?{UID}", step)

    assert (400, "bad_workitem") == (answer.status_code, answer.json()["code"])
    assert "CANARY" not in answer.text


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{}{}", b"[1]", b'{"x": {}}', b'{"00741000": 1}', b'{"00741000": {"vr": "CS", "Value": [{}]}}', b"nonsense",
    b'{"00741000": {"vr": "DS", "Value": [NaN]}}', b'{"00741000": {"vr": "DS", "Value": [1e999]}}', b"[" * 100_000 + b"]" * 100_000,
    b'{"00404021": {"vr": "SQ", "Value": [' * 20 + b"]}}" * 20, b'{"00741000": {"vr": "OB", "BulkDataURI": "http://elsewhere/"}}',
    b'{"00741204": {"vr": "LO", "Value": ["' + b'a", "' * 30_000 + b'"]}}', b'{"00741204": {"vr": "LO", "Value": ["\\u0000"]}}',
    b'{"00741204": {"vr": "IS", "Value": [' + b"9" * 5000 + b"]}}",
])
def test_a_body_that_is_no_dataset_is_refused(web: WebHouse, body: bytes) -> None:
    answer = web.client.post("/dicom-web/workitems", content=body, headers=DICOM_JSON)

    assert (400, "bad_workitem") == (answer.status_code, answer.json()["code"])


def test_other_types_and_larger_bodies_are_refused(web: WebHouse) -> None:
    xml = web.client.post("/dicom-web/workitems", content=b"<x/>", headers={"content-type": "application/dicom+xml"})
    large = web.client.post("/dicom-web/workitems", content=b" " * (1 << 20) + b"{}", headers=DICOM_JSON)

    assert [415, 413] == [xml.status_code, large.status_code]


def test_the_life_of_a_workitem(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())

    assert 200 == put_state(web, "IN PROGRESS").status_code
    assert "IN PROGRESS" == state(web)
    assert 200 == post(web, f"/{UID}?transaction-uid={HOLDER}", done_by()).status_code
    assert 200 == put_state(web, "COMPLETED").status_code
    assert "COMPLETED" == state(web)
    again = put_state(web, "COMPLETED")
    assert (200, True) == (again.status_code, "already in the requested state of COMPLETED" in again.headers["warning"])


def test_the_transaction_uid_is_never_given_out(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())
    put_state(web, "IN PROGRESS")

    assert HOLDER not in web.client.get(f"/dicom-web/workitems/{UID}").text
    assert HOLDER not in web.client.get("/dicom-web/workitems").text
    assert 400 == web.client.get(f"/dicom-web/workitems?TransactionUID={HOLDER}").status_code


@pytest.mark.parametrize(("before", "wanted", "transaction", "status", "warning"), [
    ("SCHEDULED", "IN PROGRESS", "", 400, "Transaction UID is missing"), ("SCHEDULED", "COMPLETED", HOLDER, 409, "inconsistent"),
    ("SCHEDULED", "CANCELED", HOLDER, 409, "inconsistent"), ("SCHEDULED", "SCHEDULED", HOLDER, 400, "inconsistent"),
    ("SCHEDULED", "CANARY", HOLDER, 400, "inconsistent"), ("IN PROGRESS", "IN PROGRESS", OTHER, 409, "inconsistent"),
    ("IN PROGRESS", "COMPLETED", OTHER, 400, "Transaction UID is incorrect"), ("IN PROGRESS", "COMPLETED", "", 400, "missing"),
    ("IN PROGRESS", "COMPLETED", HOLDER, 409, "inconsistent"), ("IN PROGRESS", "CANCELED", OTHER, 400, "incorrect"),
    ("CANCELED", "IN PROGRESS", HOLDER, 409, "inconsistent"), ("CANCELED", "COMPLETED", HOLDER, 409, "inconsistent"),
    ("CANCELED", "CANCELED", OTHER, 400, "incorrect"),
    ("CANCELED", "CANCELED", HOLDER, 200, "already in the requested state of CANCELED"),
])
def test_a_change_of_state_that_does_not_fit_is_refused_in_the_words_of_the_standard(
    web: WebHouse, before: str, wanted: str, transaction: str, status: int, warning: str
) -> None:
    post(web, f"?{UID}", workitem())
    for passed in ("IN PROGRESS", "CANCELED")[: ("SCHEDULED", "IN PROGRESS", "CANCELED").index(before)]:
        assert 200 == put_state(web, passed).status_code

    answer = put_state(web, wanted, transaction)

    assert (status, True) == (answer.status_code, warning in answer.headers["warning"])
    assert answer.headers["warning"].startswith("299 Diaphane: ")
    assert before == state(web)
    assert "CANARY" not in answer.text


def test_a_cancelled_workitem_says_when_and_why(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())
    put_state(web, "IN PROGRESS")
    put_state(web, "CANCELED")

    (progress,) = steps.items(got(web), steps.PROGRESS)
    assert steps.text(progress, steps.CANCELED_AT)
    assert "110513" == steps.text(steps.items(progress, steps.REASON_CODE)[0], "00080100")


@pytest.mark.parametrize("query", ["?transaction=", "?transaction-uid=", "?Transaction-uid=", "?"])
def test_every_spelling_of_the_transaction_uid_is_read(web: WebHouse, query: str) -> None:
    post(web, f"?{UID}", workitem())
    put_state(web, "IN PROGRESS")

    answer = post(web, f"/{UID}{query}{HOLDER}", {steps.LABEL: value("LO", "Renamed")})

    assert (200, "Renamed") == (answer.status_code, steps.text(got(web), steps.LABEL))


@pytest.mark.parametrize(("before", "query", "change", "status", "warning"), [
    ("SCHEDULED", "", {steps.PRIORITY: value("CS", "LOW")}, 200, None),
    ("SCHEDULED", f"?transaction={HOLDER}", {}, 400, "claimed Workitem"),
    ("SCHEDULED", "", {steps.STATE: value("CS", "COMPLETED")}, 400, None),
    ("SCHEDULED", "", {"00100020": value("LO", "X")}, 400, None),
    ("SCHEDULED", "", {steps.LABEL: {"vr": "LO"}}, 400, None), ("IN PROGRESS", "", {}, 400, "missing"),
    ("IN PROGRESS", f"?transaction={OTHER}", {}, 400, "incorrect"), ("CANCELED", f"?transaction={HOLDER}", {}, 400, "inconsistent"),
])
def test_who_may_change_a_workitem(
    web: WebHouse, before: str, query: str, change: dict[str, Any], status: int, warning: str | None
) -> None:
    post(web, f"?{UID}", workitem())
    for passed in ("IN PROGRESS", "CANCELED")[: ("SCHEDULED", "IN PROGRESS", "CANCELED").index(before)]:
        put_state(web, passed)

    answer = post(web, f"/{UID}{query}", change)

    assert status == answer.status_code
    assert warning is None or warning in answer.headers["warning"]


def test_a_request_to_cancel_is_done_when_nobody_has_begun(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())

    answer = post(web, f"/{UID}/cancelrequest", {steps.REASON: value("LT", "Wrong patient")})
    again = web.client.post(f"/dicom-web/workitems/{UID}/cancelrequest")

    assert (202, "CANCELED") == (answer.status_code, state(web))
    assert "Wrong patient" == steps.text(steps.items(got(web), steps.PROGRESS)[0], steps.REASON)
    assert (202, True) == (again.status_code, "already in the requested state of CANCELED" in again.headers["warning"])


def test_a_request_to_cancel_what_another_has_begun_or_ended_is_a_conflict(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())
    put_state(web, "IN PROGRESS")
    begun = web.client.post(f"/dicom-web/workitems/{UID}/cancelrequest")
    post(web, f"/{UID}?{HOLDER}", done_by())
    put_state(web, "COMPLETED")
    ended = web.client.post(f"/dicom-web/workitems/{UID}/cancelrequest")

    assert [409, 409] == [begun.status_code, ended.status_code]
    assert "cannot be contacted" in begun.headers["warning"]
    assert "already COMPLETED" in ended.headers["warning"]


def test_what_does_not_exist_is_not_found_and_what_is_not_offered_is_said(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())
    answers = [
        web.client.get("/dicom-web/workitems/1.9"), post(web, "/1.9", {}), put_state(web, "IN PROGRESS", uid="1.9"),
        web.client.post("/dicom-web/workitems/1.9/cancelrequest"), web.client.get("/dicom-web/workitems/x"),
        post(web, "?workitem=../evil", workitem()), web.client.post(f"/dicom-web/workitems/{UID}/subscribers/AE?deletionlock=false"),
    ]

    assert [404, 404, 404, 404, 400, 400, 501] == [answer.status_code for answer in answers]


@pytest.mark.parametrize(("query", "expected"), [
    ("", 3), ("ProcedureStepState=SCHEDULED", 2), ("ProcedureStepState=IN%20PROGRESS", 1), ("ScheduledProcedureStepPriority=LOW", 1),
    ("PatientID=CANARI*", 3), ("PatientName=canari*", 3), ("WorklistLabel=AI&ProcedureStepLabel=Chest", 1), ("00741204=Hippo*", 2),
    (f"InputInformationSequence.StudyInstanceUID={STUDY}", 3), ("InputInformationSequence.StudyInstanceUID=1.9", 0),
    ("ScheduledProcedureStepStartDateTime=20260301-20260302", 3), ("limit=2", 2), ("offset=2", 1), ("SOPInstanceUID=1.2.7.2", 1),
    ("AdmissionID=X", 0), ("fuzzymatching=true", 3),
])
def test_workitems_are_found_by(web: WebHouse, query: str, expected: int) -> None:
    post(web, "?1.2.7.1", workitem())
    post(web, "?1.2.7.2", workitem(t00741204=value("LO", "Chest"), t00741200=value("CS", "LOW")))
    post(web, "?1.2.7.3", workitem())
    put_state(web, "IN PROGRESS", uid="1.2.7.3")

    answer = web.client.get(f"/dicom-web/workitems?{query}")

    assert (200 if expected else 204) == answer.status_code
    assert expected == (len(answer.json()) if expected else 0)


def test_of_many_who_claim_at_once_one_succeeds(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())
    answers: list[int] = []

    def claim(number: int) -> None:
        answers.append(put_state(web, "IN PROGRESS", f"1.2.9.{number}").status_code)

    threads = [threading.Thread(target=claim, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [200] + [409] * 7 == sorted(answers)


MADE = MadeObject(b"an object", "1.2.6.1", "1.2.6", STUDY)


def sealed(web: WebHouse) -> list[int]:
    """Seal what waits, however short the wait was; return the revisions."""
    seal_due(web.store, now=time.time() + 3600)
    with web.store.reading() as session:
        return list(session.scalars(select(Revision.id).order_by(Revision.id)))


def score(web: WebHouse, revision: int) -> None:
    with web.store.session() as session:
        save_result(session, revision, model="tiny", status="scored", reason="", summary={}, objects=[MADE], targets=[], priority=0)


def test_a_workitem_waits_for_its_images_then_for_their_results(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())

    assert not performer.step(web.store)
    assert "SCHEDULED" == state(web)
    web.send(mr_series())
    assert performer.step(web.store)
    assert "IN PROGRESS" == state(web)
    assert not performer.step(web.store)
    (revision,) = sealed(web)
    assert not performer.step(web.store)
    score(web, revision)
    assert performer.step(web.store)
    assert "COMPLETED" == state(web)
    assert not performer.step(web.store)


def test_a_completed_workitem_names_what_was_made(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())
    web.send(mr_series())
    performer.step(web.store)
    score(web, sealed(web)[0])
    performer.step(web.store)

    step = got(web)
    assert [] == steps.lacking(step)
    (output,) = steps.items(steps.items(step, steps.PERFORMED)[0], steps.OUTPUT)
    assert (STUDY, "1.2.6") == (steps.text(output, steps.STUDY), steps.text(output, steps.SERIES))
    assert ["1.2.6.1"] == [steps.text(one, "00081155") for one in steps.items(output, "00081199")]
    assert "performer" not in web.client.get(f"/dicom-web/workitems/{UID}").text


def test_an_urgent_workitem_makes_its_images_urgent(web: WebHouse) -> None:
    web.send(mr_series())
    sealed(web)
    post(web, f"?{UID}", workitem())

    performer.step(web.store)

    with web.store.reading() as session:
        assert ([1], [1]) == (list(session.scalars(select(Case.priority))), list(session.scalars(select(Job.priority))))


@pytest.mark.parametrize(("change", "ours"), [
    ({}, True), ({"t00404025": value("SQ", code("diaphane", "99X", "x"))}, True),
    ({"t00404025": value("SQ", code("OTHER", "99X", "x"))}, False),
    ({"t00404018": value("SQ", code("110003", "DCM", "x"))}, True), ({"t00404018": value("SQ", code("110005", "DCM", "x"))}, False),
    ({"t00404018": value("SQ", code("110005", "DCM", "x")), "t00404025": value("SQ", code("DIAPHANE", "99X", "x"))}, True),
    ({"t00404005": value("DT", "29990101")}, False), ({"t00404005": value("DT", "2026030112+0100")}, True),
    ({"t00404041": value("CS", "INCOMPLETE")}, False), ({"t00404021": {"vr": "SQ"}}, False),
    ({"t00404021": value("SQ", {"0020000D": value("UI", STUDY)})}, True),
    ({"t00404021": value("SQ", {"0020000D": value("UI", STUDY), "0020000E": value("UI", "1.9")})}, False),
    ({"t00404021": value("SQ", {"0020000D": value("UI", STUDY), "00081199": value("SQ", {"00081155": value("UI", "1.9")})})}, False),
])
def test_which_workitems_are_ours(web: WebHouse, change: dict[str, Any], ours: bool) -> None:
    web.send(mr_series())
    post(web, f"?{UID}", workitem(**change))

    assert ours == performer.step(web.store)


def test_what_another_has_claimed_is_left_alone(web: WebHouse) -> None:
    web.send(mr_series())
    post(web, f"?{UID}", workitem())
    put_state(web, "IN PROGRESS")

    assert not performer.step(web.store)


def test_a_request_to_cancel_what_we_have_begun_is_honoured(web: WebHouse) -> None:
    web.send(mr_series())
    post(web, f"?{UID}", workitem())
    performer.step(web.store)

    answer = web.client.post(f"/dicom-web/workitems/{UID}/cancelrequest")
    assert performer.step(web.store)

    assert (202, "CANCELED") == (answer.status_code, state(web))


def test_a_late_slice_keeps_a_workitem_open_until_it_is_scored_too(web: WebHouse) -> None:
    series = mr_series()
    web.send(series[:-1])
    post(web, f"?{UID}", workitem())
    performer.step(web.store)
    score(web, sealed(web)[0])
    web.send(series[-1:])

    assert not performer.step(web.store)
    score(web, sealed(web)[1])
    assert performer.step(web.store)


def test_one_workitem_for_several_series_waits_for_all(web: WebHouse) -> None:
    radiograph = radiograph_dataset()
    both = [{"0020000D": value("UI", STUDY), "0020000E": value("UI", uid)} for uid in (MR, radiograph.SeriesInstanceUID)]
    post(web, f"?{UID}", workitem(t00404021=value("SQ", *both)))
    web.send(mr_series())

    assert not performer.step(web.store)
    web.send([radiograph])
    assert performer.step(web.store)
    first, second = sealed(web)
    score(web, first)
    assert not performer.step(web.store)
    score(web, second)
    assert performer.step(web.store)


def test_a_workitem_is_dicom_json_that_pydicom_reads(web: WebHouse) -> None:
    post(web, f"?{UID}", workitem())

    dataset = pydicom.Dataset.from_json(got(web))

    assert ("SCHEDULED", "CANARI^TEST", STUDY) == (
        dataset.ProcedureStepState, str(dataset.PatientName), dataset.InputInformationSequence[0].StudyInstanceUID)
    pydicom.dcmwrite(io.BytesIO(), dataset, implicit_vr=False, little_endian=True)
