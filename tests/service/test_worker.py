"""The worker: everything of a job is saved or nothing, a repeat is the same bytes, and every end is a result."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from models.errors import UnusableInput
from models.shelf import Shelf
from models.volume import Volume
from service.decode import Decoder, DecoderFailed
from service.dicom.arrival import arrive_file
from service.rules import Rule
from service.settings import Settings
from service.site import FhirServer, Site, Target
from service.store import queue
from service.store.cases import seal_due
from service.store.ehr_tables import Message
from service.store.errors import StoreError
from service.store.inbox import receive
from service.store.store import Store
from service.store.tables import Case, Delivery, Instance, Job, Result, ResultObject, Revision, RevisionInstance
from service.worker import Worker
from tests.make import dicom_bytes, mr_series, radiograph_dataset, tiny_release
from tests.make_store import settings_for

UID = "1.2.826.0.1.3680043.8.498.2026.7"
PACS = Target(name="pacs", kind="dimse", host="127.0.0.1", port=104)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "image_classification")
    tiny_release(folder, "volume_segmentation")
    return Shelf(folder)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    shared = Decoder()
    yield shared
    shared.close()


@dataclass
class Bench:
    """A store, and workers on it."""

    store: Store
    settings: Settings
    shelf: Shelf
    decoder: Decoder

    def worker(self, name: str = "one", **rules: Any) -> Worker:
        return Worker(self.store, self.shelf, Site(targets=[PACS], **rules), self.settings, name, decoder=self.decoder)

    def arrive(self, *datasets: Dataset, **how: Any) -> None:
        receive(self.store, [arrive_file(dicom_bytes(one), **how) for one in datasets], quiet_s=0)

    def all(self, table: Any) -> Sequence[Any]:
        with self.store.reading() as session:
            return session.scalars(select(table).order_by(*table.__table__.primary_key)).all()

    def object(self, kind: str, result: int = 0) -> Dataset:
        wanted = [one for one in self.all(ResultObject) if one.kind == kind and (not result or one.result_id == result)]
        return pydicom.dcmread(self.store.objects.path(wanted[0].sha256))


@pytest.fixture
def bench(tmp_path: Path, shelf: Shelf, decoder: Decoder) -> Iterator[Bench]:
    settings = settings_for(tmp_path, max_attempts=2, lease_s=30)
    store = Store.open(settings)
    yield Bench(store, settings, shelf, decoder)
    store.close()


def until_idle(worker: Worker) -> None:
    while worker.step():
        pass


def radiograph(number: int = 1, **changes: Any) -> Dataset:
    return radiograph_dataset(SOPInstanceUID=f"{UID}.{number}.1", SeriesInstanceUID=f"{UID}.{number}", **changes)


def test_a_radiograph_ends_in_one_result_with_its_objects_and_one_delivery(bench: Bench) -> None:
    bench.arrive(radiograph())
    until_idle(bench.worker())
    [result], [delivery], [job] = bench.all(Result), bench.all(Delivery), bench.all(Job)
    assert (result.status, delivery.target, delivery.state, job.state) == ("scored", "pacs", "queued", "done")
    kinds = [one.kind for one in bench.all(ResultObject)]
    assert kinds.index("capture") < kinds.index("sr")
    report = bench.object("sr")
    assert report.StudyInstanceUID == radiograph().StudyInstanceUID
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
    cited = {item.ReferencedSOPInstanceUID for series in evidence for item in series.ReferencedSOPSequence}
    assert f"{UID}.1.1" in cited


def test_a_result_goes_to_the_record_too_where_the_site_names_a_fhir_target(bench: Bench) -> None:
    bench.arrive(radiograph())
    record = Target.model_validate({"name": "ehr", "kind": "fhir"})
    site = Site(targets=[PACS, record], fhir_server=FhirServer(url="http://127.0.0.1:1/fhir"))
    until_idle(Worker(bench.store, bench.shelf, site, bench.settings, "one", decoder=bench.decoder))
    (delivery,) = bench.all(Delivery)
    (message,) = bench.all(Message)
    assert (delivery.target, message.target, message.kind, message.state) == ("pacs", "ehr", "fhir", "queued")
    kinds = [entry["resource"]["resourceType"] for entry in message.content["entry"]]
    assert {"DiagnosticReport", "Observation", "ImagingStudy", "Device", "Provenance"} == set(kinds)
    reports = [entry["resource"] for entry in message.content["entry"] if entry["resource"]["resourceType"] == "DiagnosticReport"]
    assert [report["status"] for report in reports] == ["preliminary"]


def test_a_late_slice_makes_a_second_result_and_the_first_stays_as_it_was(bench: Bench) -> None:
    series = mr_series()
    bench.arrive(*series[:11])
    until_idle(bench.worker())
    before = {one.sop_uid: one.sha256 for one in bench.all(ResultObject)}
    bench.arrive(series[11])
    until_idle(bench.worker("two"))
    first, second = bench.all(Result)
    held = [len([one for one in bench.all(RevisionInstance) if one.revision_id == r.id]) for r in bench.all(Revision)]
    assert held == [11, 12]
    after = {one.sop_uid: one.sha256 for one in bench.all(ResultObject)}
    assert before.items() <= after.items()
    assert {one.sop_uid for one in bench.all(ResultObject) if one.result_id == second.id}.isdisjoint(before)
    assert first.revision_id != second.revision_id


def test_a_worker_that_dies_before_it_saves_is_repeated_byte_for_byte(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arrive(*mr_series())
    made: list[set[str]] = []
    keep = bench.store.objects.put_many

    def noted(files: Sequence[bytes], *more: Any) -> Any:
        made.append({hashlib.sha256(one).hexdigest() for one in files})
        return keep(files, *more)

    monkeypatch.setattr(bench.store.objects, "put_many", noted)

    def died(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    first = bench.worker()
    with monkeypatch.context() as patch:
        patch.setattr("service.worker.save_result", died)
        with pytest.raises(KeyboardInterrupt):
            first.step()
    assert bench.all(Result) == []
    with bench.store.session() as session:
        session.scalars(select(Job)).one().lease_until = 0.0  # its lease runs out
    until_idle(bench.worker("two"))
    assert len(bench.all(Result)) == 1
    assert made[0] == made[1] == {one.sha256 for one in bench.all(ResultObject)}


def test_a_worker_that_lost_its_lease_saves_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arrive(radiograph())
    slow, quick = bench.worker("slow"), bench.worker("quick")
    read = slow.decoder.read

    def overtaken(files: Sequence[Path | bytes]) -> Volume:
        with bench.store.session() as session:
            session.scalars(select(Job)).one().lease_until = 0.0
        monkeypatch.setattr(bench.decoder, "read", read)
        until_idle(quick)
        return read(files)

    monkeypatch.setattr(bench.decoder, "read", overtaken)
    until_idle(slow)
    assert len(bench.all(Result)) == 1
    assert [(one.state, one.attempts) for one in bench.all(Job)] == [("done", 2)]


def failing(error: Exception) -> Callable[..., Volume]:
    def read(_: Sequence[Path | bytes]) -> Volume:
        raise error

    return read


def test_what_kills_the_decoder_is_tried_again_then_told_and_quarantined(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arrive(radiograph())
    worker = bench.worker()
    monkeypatch.setattr(worker.decoder, "read", failing(DecoderFailed("was killed by SIGSEGV")))
    worker.step()
    [job] = bench.all(Job)
    assert (job.state, job.attempts, job.reason, bench.all(Result)) == ("queued", 1, "was killed by SIGSEGV", [])
    queue.retry(bench.store, Job)
    with bench.store.session() as session:
        session.scalars(select(Job)).one().attempts = 1
    until_idle(worker)
    [job], [result], [delivery] = bench.all(Job), bench.all(Result), bench.all(Delivery)
    assert (job.state, result.status, delivery.state) == ("quarantined", "failed", "queued")
    assert bench.object("sr").PreliminaryFlag == "PRELIMINARY"


def test_a_job_that_killed_its_worker_at_every_try_is_not_tried_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arrive(radiograph())
    worker = bench.worker()
    monkeypatch.setattr(worker, "_do", lambda _: None)  # as one that is killed: the claim is never ended
    for _ in range(bench.settings.max_attempts):
        worker.step()
        with bench.store.session() as session:
            session.scalars(select(Job)).one().lease_until = 0.0
    monkeypatch.undo()
    until_idle(worker)
    [job], [result] = bench.all(Job), bench.all(Result)
    assert (job.state, result.status) == ("quarantined", "failed")


def test_images_that_cannot_be_decoded_end_in_a_result_that_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arrive(radiograph())
    worker = bench.worker()
    monkeypatch.setattr(worker.decoder, "read", failing(UnusableInput("Frames must decode, found damage.", code="damaged_pixels")))
    until_idle(worker)
    [result], [job] = bench.all(Result), bench.all(Job)
    assert (result.status, result.reason, job.state) == ("unusable", "damaged_pixels", "done")


def test_an_image_no_model_takes_ends_in_a_result_that_says_so(bench: Bench) -> None:
    bench.arrive(radiograph(Modality="MG", BodyPartExamined="BREAST"))
    until_idle(bench.worker())
    [result] = bench.all(Result)
    assert (result.model, result.status, len(bench.all(Delivery))) == ("none", "unfit", 1)


def test_a_site_may_ask_not_to_be_told_what_fits_no_model(bench: Bench) -> None:
    bench.arrive(radiograph(Modality="MG", BodyPartExamined="BREAST"))
    quiet = Bench(bench.store, bench.settings.model_copy(update={"report_unfit": False}), bench.shelf, bench.decoder)
    until_idle(quiet.worker())
    [result] = bench.all(Result)
    assert (result.status, list(bench.all(ResultObject)), list(bench.all(Delivery))) == ("unfit", [], [])


def test_what_a_rule_calls_urgent_overtakes_what_came_before(bench: Bench) -> None:
    bench.arrive(radiograph(1))
    bench.arrive(radiograph(2), calling_ae="ER1")
    rule = Rule.model_validate({"name": "emergency room", "when": {"calling_ae": "ER*"}, "priority": "urgent"})
    worker = bench.worker(rules=[rule])
    worker.step()
    with bench.store.reading() as session:
        first = session.execute(
            select(Case.key).join(Revision, Revision.case_id == Case.id).join(Result, Result.revision_id == Revision.id)
        ).scalars().all()
    assert first == [f"{UID}.2.1"]
    assert bench.all(Delivery)[0].priority == 2


def test_our_own_objects_coming_back_start_nothing(bench: Bench) -> None:
    bench.arrive(radiograph())
    until_idle(bench.worker())
    jobs = len(bench.all(Job))
    capture = bench.object("capture")
    receive(bench.store, [arrive_file(dicom_bytes(capture))], quiet_s=0)
    until_idle(bench.worker("two"))
    assert len(bench.all(Job)) == jobs
    assert {one.origin for one in bench.all(Instance) if one.sop_uid == capture.SOPInstanceUID} == {"result"}


def away(*_: Any, **__: Any) -> Any:
    raise StoreError("The disk is full.", code="full")


@pytest.mark.parametrize("step", ["put_many", "path"])
def test_a_store_in_trouble_costs_a_job_no_try_and_quarantines_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    bench.arrive(radiograph())
    worker = bench.worker()
    seal_due(bench.store)
    if step == "path":
        worker.triage()
    with monkeypatch.context() as patch:
        patch.setattr(bench.store.objects, step, away)
        for _ in range(bench.settings.max_attempts + 2):
            with pytest.raises(StoreError):
                worker.step()
    [job] = bench.all(Job)
    assert (job.state, job.attempts, job.reason, bench.all(Result)) == ("queued", 0, "store_full", [])
    until_idle(worker)
    [job], [result] = bench.all(Job), bench.all(Result)
    assert (job.state, job.attempts, result.status) == ("done", 1, "scored")


def test_what_failed_for_good_while_the_store_was_in_trouble_is_told_afterwards(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.arrive(radiograph())
    worker = bench.worker()
    monkeypatch.setattr(worker.decoder, "read", failing(DecoderFailed("was killed by SIGSEGV")))
    seal_due(bench.store)
    with bench.store.session() as session:
        session.scalars(select(Job)).one().attempts = bench.settings.max_attempts
    with monkeypatch.context() as patch:
        patch.setattr(bench.store.objects, "put_many", away)
        with pytest.raises(StoreError):
            worker.step()
    until_idle(worker)
    [job], [result] = bench.all(Job), bench.all(Result)
    assert (job.state, result.status) == ("quarantined", "failed")


def test_rules_that_could_not_be_asked_are_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.arrive(radiograph())
    worker = bench.worker(rules=[Rule.model_validate({"name": "all", "priority": "urgent"})])
    with monkeypatch.context() as patch:
        patch.setattr(bench.store.objects, "path", away)
        with pytest.raises(StoreError):
            worker.step()
    until_idle(worker)
    assert [one.priority for one in bench.all(Job)] == [2]


def test_a_long_worklist_takes_a_small_part_of_a_worker(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def slow(*_: Any, station: str) -> bool:
        asked.append(station)
        time.sleep(0.05)
        return False

    monkeypatch.setattr("service.worker.performer.step", slow)
    worker, end = bench.worker(), time.monotonic() + 0.4
    while time.monotonic() < end:
        worker.step()
    assert len(asked) == 1


def test_a_file_that_the_disk_spoilt_is_not_scored(bench: Bench) -> None:
    bench.arrive(radiograph())
    path = bench.store.objects.path(bench.all(Instance)[0].sha256)
    assert path is not None
    path.chmod(0o600)
    spoilt = bytearray(path.read_bytes())
    spoilt[-100] ^= 1
    path.write_bytes(spoilt)
    worker = bench.worker()
    worker.step()
    [job] = bench.all(Job)
    assert (job.state, bench.all(Result)) == ("queued", [])
    assert "StoreError" in job.reason
