"""The outbox: a target that is down is left alone and loses nothing; a result that is refused holds up nobody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from service.deliver import Deliverer
from service.dicom.client import Undelivered
from service.settings import read_settings
from service.site import Target
from service.store import queue
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Delivery, Job
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
