"""The outbox: a target that is down is left alone and loses nothing; a result that is refused holds up nobody."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from service import deliver
from service.deliver import Deliverer
from service.dicom.client import Undelivered
from service.settings import read_settings
from service.site import Site, Target
from service.store import queue
from service.store.cases import seal_due
from service.store.errors import StoreError
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Delivery, Job, ResultObject
from tests.make_store import image_of, object_of, store_for

PACS = Target(name="pacs", kind="dimse", host="127.0.0.1", port=1)
SETTINGS = read_settings({}, max_attempts=2, lease_s=30)


class Pacs:
    """A target in memory: up or down, and refusing what it is told to."""

    def __init__(self) -> None:
        self.up = True
        self.refused: dict[bytes, Undelivered] = {}
        self.has: list[bytes] = []

    def send(self, _: Target, files: Sequence[bytes]) -> None:
        if not self.up:
            raise Undelivered("connection refused", permanent=False)
        for data in files:
            if data in self.refused:
                raise self.refused[data]
            self.has.append(data)

    def answers(self, _: Target) -> bool:
        return self.up


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = store_for(tmp_path)
    yield opened
    opened.close()


def post(store: Store, study: int, priority: int = 0) -> bytes:
    """Put one result of one study into the outbox and return its object."""
    receive(store, [image_of(study)], quiet_s=0)
    seal_due(store)
    made = object_of(study, 1)
    job = queue.claim(store, Job, worker="w", lease_s=60)
    assert job is not None
    with store.session() as session:
        save_result(session, job.revision_id, model="m-1.0.0", status="scored", reason="", summary={}, objects=[made],
                    targets=["pacs"], priority=priority)
        queue.finish(session, Job, queue.claim_of(job))
    return made.data


def deliverer(store: Store, pacs: Pacs) -> Deliverer:
    return Deliverer(store, PACS, SETTINGS, send=pacs.send, answers=pacs.answers)


def test_the_most_urgent_result_goes_first(store: Store) -> None:
    pacs = Pacs()
    low, urgent = post(store, 1, -1), post(store, 2, 2)
    one = deliverer(store, pacs)
    while one.step():
        pass
    assert pacs.has == [urgent, low]


def test_a_target_that_is_down_is_left_alone_longer_each_time_and_gets_everything_when_it_is_back(store: Store) -> None:
    pacs, clock, tries = Pacs(), 1e9, 0
    wanted = [post(store, study) for study in range(1, 4)]
    one = deliverer(store, pacs)
    pacs.up = False
    for _ in range(24 * 3600):
        clock += 1
        tries += one.step(clock)
    assert tries < 24 * 3600 / 200  # pauses grew to minutes
    assert pacs.has == []
    pacs.up, one.down_until = True, 0.0
    while one.step(clock):
        pass
    assert pacs.has == wanted


def test_a_refused_result_is_quarantined_with_its_reason_and_the_others_pass(store: Store) -> None:
    pacs = Pacs()
    poison, good = post(store, 1), post(store, 2)
    pacs.refused[poison] = Undelivered("status a900 of Comprehensive 3D SR", permanent=True)
    one = deliverer(store, pacs)
    while one.step():
        pass
    with store.session() as session:
        for row in session.scalars(select(Delivery).where(Delivery.state == "queued")):
            row.not_before = 0.0
    while one.step():
        pass
    with store.reading() as session:
        rows = session.execute(select(Delivery.state, Delivery.attempts, Delivery.reason).order_by(Delivery.id)).all()
    assert [tuple(row) for row in rows] == [("quarantined", 2, "status a900 of Comprehensive 3D SR"), ("done", 1, "")]
    assert pacs.has == [good]


def test_a_failure_while_the_target_answers_waits_by_itself_and_is_never_given_up(store: Store) -> None:
    pacs = Pacs()
    slow, good = post(store, 1), post(store, 2)
    pacs.refused[slow] = Undelivered("timed out", permanent=False)
    one = deliverer(store, pacs)
    while one.step():
        pass
    assert pacs.has == [good]
    with store.reading() as session:
        state, reason = session.execute(select(Delivery.state, Delivery.reason).order_by(Delivery.id)).first() or ("", "")
    assert (state, reason) == ("queued", "timed out")
    del pacs.refused[slow]
    with store.session() as session:
        for row in session.scalars(select(Delivery).where(Delivery.state == "queued")):
            row.not_before = 0.0
    while one.step():
        pass
    assert pacs.has == [good, slow]


def waiting(store: Store) -> list[tuple[str, int, str]]:
    """State, tries and reason of every delivery."""
    with store.reading() as session:
        rows = session.execute(select(Delivery.state, Delivery.attempts, Delivery.reason).order_by(Delivery.id))
        return [(row[0], row[1], row[2]) for row in rows]


def test_a_result_whose_file_is_gone_waits_with_that_reason_and_the_others_pass(store: Store) -> None:
    pacs = Pacs()
    post(store, 1)
    with store.reading() as session:
        gone = session.scalars(select(ResultObject.sha256)).one()
    good = post(store, 2)
    store.objects.delete([gone])
    one = deliverer(store, pacs)
    while one.step():
        pass
    assert pacs.has == [good]
    assert waiting(store) == [("queued", 1, "store_damaged"), ("done", 1, "")]


def test_a_result_that_cannot_be_sent_for_a_fault_of_ours_is_shown_and_holds_up_nobody(store: Store) -> None:
    pacs = Pacs()
    poison, good = post(store, 1), post(store, 2)

    def send(target: Target, files: Sequence[bytes]) -> None:
        if poison in files:
            raise KeyError("a fault")
        pacs.send(target, files)

    one = Deliverer(store, PACS, SETTINGS, send=send, answers=pacs.answers)
    while one.step():
        pass
    assert pacs.has == [good]
    [first, second] = waiting(store)
    assert (first[:2], first[2].split()[0], second[0]) == (("queued", 1), "KeyError", "done")


def test_a_store_in_trouble_is_no_try_of_a_delivery(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    pacs = Pacs()
    wanted = post(store, 1)

    def away(_: str) -> bytes:
        raise StoreError("The objects do not answer.", code="unreachable")

    one = deliverer(store, pacs)
    with monkeypatch.context() as patch:
        patch.setattr(store.objects, "get", away)
        with pytest.raises(StoreError):
            one.step()
    assert waiting(store) == [("queued", 0, "store_unreachable")]
    one.step()
    assert pacs.has == [wanted]


def test_a_result_that_ends_the_target_lets_the_others_go_first(store: Store) -> None:
    pacs = Pacs()
    poison, good = post(store, 1, 2), post(store, 2)

    def send(target: Target, files: Sequence[bytes]) -> None:
        if poison in files:
            pacs.up = False
            raise Undelivered("connection_closed", permanent=False)
        pacs.send(target, files)

    one = Deliverer(store, PACS, SETTINGS, send=send, answers=pacs.answers)
    assert one.step()
    pacs.up, one.down_until = True, 0.0  # somebody starts it again
    assert one.step()
    assert pacs.has == [good]
    assert waiting(store)[0] == ("queued", 0, "connection_closed")


def test_a_target_that_does_not_take_the_question_whether_it_is_there_is_there(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: Target) -> None:
        raise Undelivered("status_0122", permanent=False)

    monkeypatch.setattr("service.deliver.echo", refuses)
    pacs = Pacs()
    stuck, good = post(store, 1), post(store, 2)
    pacs.refused[stuck] = Undelivered("status_a700", permanent=False)
    one = Deliverer(store, PACS, SETTINGS, send=pacs.send)
    while one.step():
        pass
    assert pacs.has == [good]


def test_a_clock_that_is_put_back_does_not_lengthen_the_pause_of_a_target(store: Store) -> None:
    pacs = Pacs()
    pacs.up = False
    post(store, 1)
    one = deliverer(store, pacs)
    one.step()
    assert 0 < one.down_until - time.monotonic() < 10


def test_results_for_a_target_the_site_no_longer_names_are_spoken_of(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    post(store, 1)
    stop = threading.Event()
    stop.set()
    with caplog.at_level(logging.WARNING, "diaphane"):
        deliver.run(store, SETTINGS, Site(), stop)
    [message] = caplog.messages
    assert message.startswith("results wait for target pacs, ")
