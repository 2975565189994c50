"""Shadow: a candidate scores what came, after the live result, and nothing of it is anywhere but in the rows kept for comparison."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import inspect, text

from models.shelf import Shelf
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.releases import shadow_images
from service.rights.opposed import keys_of_dicom
from service.store import rights, shadows
from service.store.inbox import receive
from service.store.retention import remove_study
from service.store.store import Store
from service.worker import Worker
from tests.make import dicom_bytes, radiograph_dataset
from tests.service.releases.conftest import NEW, OLD, STEWARD, Bench

UID = "1.2.826.0.1.3680043.8.498.2026.55"


@pytest.fixture(scope="module")
def shelf(two_versions: Path) -> Shelf:
    return Shelf(two_versions)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    shared = Decoder()
    yield shared
    shared.close()


@pytest.fixture
def worker(free: Bench, shelf: Shelf, decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """A worker of a site where 1.0.0 is live and 1.1.0 in shadow; shadows need not rest."""
    free.releases.live(STEWARD, OLD)
    free.releases.shadow(STEWARD, NEW)
    monkeypatch.setattr(shadow_images, "SHARE", 1)
    monkeypatch.setattr(shadow_images, "LOOK_S", 0.0)
    return Worker(free.store, shelf, free.site, free.settings, "one", decoder=decoder)


def radiograph(number: int = 1, **changes: Any) -> Dataset:
    uids = {"SOPInstanceUID": f"{UID}.{number}.1", "SeriesInstanceUID": f"{UID}.{number}", "StudyInstanceUID": f"{UID}.{number}.0"}
    return radiograph_dataset(**uids, PatientID=f"TEST-{number}", **changes)


def arrive(store: Store, *datasets: Dataset) -> None:
    receive(store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)


def until_idle(worker: Worker) -> None:
    while worker.step():
        pass


def rows_naming(store: Store, release: str) -> dict[str, int]:
    """Look everywhere: how many rows of each table, and how many files, hold the id of a release in whatever column."""
    found: dict[str, int] = {}
    with store.reading() as session:
        for table in inspect(store.engine).get_table_names():
            rows = [str(tuple(row)) for row in session.execute(text(f"SELECT * FROM {table}"))]
            found[table] = sum(release in row or "1.1.0" in row for row in rows)
    files = [one.read_bytes() for one in (store._folder / "objects").rglob("*") if one.is_file()]
    found["files"] = sum(b"1.1.0" in one for one in files)
    return {name: count for name, count in found.items() if count}


def test_the_shadow_scores_after_the_live_result_and_is_in_no_other_table_and_no_file(free: Bench, worker: Worker) -> None:
    arrive(free.store, radiograph())
    until_idle(worker)
    [pair] = shadows.pairs(free.store, NEW, OLD)
    assert (pair.status, pair.live_said["status"]) == ("scored", "scored")
    assert pair.said["findings"] == pair.live_said["findings"]  # the two versions are one graph
    # standings and their audit name the candidate because somebody decided on it: a row of a case is nowhere but in its own table
    assert rows_naming(free.store, NEW) == {"shadow_results": 1, "standings": 3, "audit": 2}


def test_a_job_that_waits_goes_before_any_shadow(free: Bench, worker: Worker) -> None:
    arrive(free.store, radiograph(1))
    assert worker.step()  # the live result
    arrive(free.store, radiograph(2))
    assert worker.step()
    assert shadows.counts(free.store, NEW) == {}
    until_idle(worker)
    assert shadows.counts(free.store, NEW) == {"scored": 2}


def test_a_shadow_that_breaks_is_counted_as_failed_and_the_live_path_goes_on(
        free: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(_: Any, **__: Any) -> Any:
        raise RuntimeError

    arrive(free.store, radiograph(1))
    monkeypatch.setattr(worker._installed.models[NEW], "predict", breaks)
    until_idle(worker)
    arrive(free.store, radiograph(2))
    until_idle(worker)
    assert shadows.counts(free.store, NEW) == {"failed": 2}
    with free.store.reading() as session:
        assert session.execute(text("SELECT status, count(*) FROM results GROUP BY status")).all() == [("scored", 2)]


def test_a_shadow_that_takes_its_process_with_it_has_failed_and_is_not_tried_again(
        free: Bench, worker: Worker, shelf: Shelf, decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """As the process ends: nothing after it runs."""

    def dies(_: Any, **__: Any) -> Any:
        raise Killed

    arrive(free.store, radiograph())
    with monkeypatch.context() as patched:
        patched.setattr(worker._installed.models[NEW], "predict", dies)
        with pytest.raises(Killed):
            until_idle(worker)
    until_idle(Worker(free.store, shelf, free.site, free.settings, "another", decoder=decoder))
    [pair] = shadows.pairs(free.store, NEW, OLD)
    assert (pair.status, pair.reason) == ("failed", shadows.CRASHED)


def test_a_candidate_that_kills_worker_after_worker_is_left_alone(
        free: Bench, worker: Worker, shelf: Shelf, decoder: Decoder, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(shadow_images, "UNDER_WAY_S", 0.0)
    arrive(free.store, *(radiograph(number) for number in range(1, 5)))
    until_idle(worker)
    for number in (1001, 1002, 1003):  # begun, and never ended
        shadows.claim(free.store, NEW, "result", str(number), live=OLD, live_said={}, now=time.time())
    arrive(free.store, radiograph(9))
    again = Worker(free.store, shelf, free.site, free.settings, "two", decoder=decoder)
    until_idle(again)
    assert shadows.counts(free.store, NEW) == {"scored": 4, "failed": 3}
    assert caplog.text.count("ALARM shadow") == 1


def test_whoever_opposes_being_scored_is_not_scored_in_shadow_either(free: Bench, worker: Worker) -> None:
    arrive(free.store, radiograph())
    assert worker.step()
    with free.store.session() as session:
        rights.oppose(session, persons=keys_of_dicom(free.store, free.site, radiograph()), scope="scoring", by="test")
    until_idle(worker)
    assert shadows.counts(free.store, NEW) == {}


def test_erasing_a_study_erases_what_shadows_said_of_it(free: Bench, worker: Worker) -> None:
    arrive(free.store, radiograph(1), radiograph(2))
    until_idle(worker)
    with free.store.session() as session:
        remove_study(session, f"{UID}.1.0")
    assert len(shadows.pairs(free.store, NEW, OLD)) == sum(shadows.counts(free.store, NEW).values()) == 1


def test_what_came_before_the_shadow_began_is_left_alone(free: Bench, shelf: Shelf, decoder: Decoder) -> None:
    free.releases.live(STEWARD, OLD)
    worker = Worker(free.store, shelf, free.site, free.settings, "one", decoder=decoder)
    arrive(free.store, radiograph())
    until_idle(worker)
    time.sleep(0.01)
    free.releases.shadow(STEWARD, NEW)
    worker.standings.look()
    until_idle(worker)
    assert shadows.counts(free.store, NEW) == {}


def test_images_that_only_an_unsigned_release_takes_are_not_assessed_and_nothing_is_sent(
        bench: Bench, shelf: Shelf, decoder: Decoder) -> None:
    arrive(bench.store, radiograph())
    settings = bench.settings.model_copy(update={"review": True})
    until_idle(Worker(bench.store, shelf, bench.site, settings, "one", decoder=decoder))
    with bench.store.reading() as session:
        assert session.execute(text("SELECT model, status, reason FROM results")).all() == [("none", "not_live", "not_live")]
        line = session.execute(text("SELECT state, reason, open, urgency, detail FROM worklist_entries")).one()
        assert (line.state, line.reason, line.open, line.urgency) == ("refused", "not_live", 0, 0)
        assert "No release that takes this is live here" in line.detail
        assert session.execute(text("SELECT count(*) FROM result_objects")).scalar() == 0
        assert session.execute(text("SELECT count(*) FROM deliveries")).scalar() == 0


def test_a_release_that_goes_live_is_used_for_the_next_image_without_a_restart(bench: Bench, shelf: Shelf, decoder: Decoder) -> None:
    worker = Worker(bench.store, shelf, bench.site, bench.settings, "one", decoder=decoder)
    arrive(bench.store, radiograph(1))
    until_idle(worker)
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    worker.standings.look()
    arrive(bench.store, radiograph(2))
    until_idle(worker)
    with bench.store.reading() as session:
        assert session.execute(text("SELECT model FROM results ORDER BY id")).scalars().all() == ["none", NEW]
