"""Claims: one holder at a time, the urgent first, taken over when silent, and the loser can change nothing."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from sqlalchemy import select, update

from service.store import queue
from service.store.cases import seal_due
from service.store.errors import LostLease
from service.store.inbox import receive
from service.store.queue import Claim, claim_of
from service.store.store import Store
from service.store.tables import Case, Job
from tests.make_store import image_of

LONG_S = 60.0


def make_jobs(store: Store, *priorities: int) -> None:
    receive(store, [image_of(1, number, priority=priority) for number, priority in enumerate(priorities)], quiet_s=0)
    seal_due(store)


def take(store: Store, worker: str = "w", lease_s: float = LONG_S) -> Claim | None:
    row = queue.claim(store, Job, worker=worker, lease_s=lease_s)
    return None if row is None else claim_of(row)


def taken(store: Store, worker: str = "w", lease_s: float = LONG_S) -> Claim:
    claim = take(store, worker, lease_s)
    assert claim is not None
    return claim


def job(store: Store) -> Job:
    with store.reading() as session:
        return session.scalars(select(Job)).one()


def test_empty_queue_gives_nothing(store: Store) -> None:
    assert take(store) is None


def test_urgent_overtakes_and_equals_keep_their_order(store: Store) -> None:
    make_jobs(store, 0, 2, -1, 0)
    order = []
    while (row := queue.claim(store, Job, worker="w", lease_s=LONG_S)) is not None:
        order.append((row.priority, row.id))
    assert sorted(order, key=lambda one: (-one[0], one[1])) == order
    assert [2, 0, 0, -1] == [priority for priority, _ in order]


def test_fifty_workers_never_hold_one_job_twice(store: Store) -> None:
    make_jobs(store, *[number % 3 for number in range(30)])
    won: list[int] = []

    def work(name: str) -> None:
        for _ in range(3):
            if (claim := take(store, name)) is not None:
                won.append(claim.id)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    while (claim := take(store)) is not None:  # on PostgreSQL a claimer may pass by what another was about to take
        won.append(claim.id)
    assert 30 == len(won)
    assert 1 == max(Counter(won).values())


def test_silent_holder_is_taken_over_and_can_change_nothing(store: Store) -> None:
    make_jobs(store, 0)
    silent = taken(store, "same name", lease_s=0.0)
    holder = taken(store, "same name")
    assert (silent.id, 2) == (holder.id, holder.attempts)
    assert not queue.renew(store, Job, silent, LONG_S)
    with pytest.raises(LostLease), store.session() as session:
        queue.finish(session, Job, silent)
    for change in (queue.put_back, lambda *given: queue.fail(*given, max_attempts=1)):
        with pytest.raises(LostLease):
            change(store, Job, silent, "reason")
    with store.session() as session:
        queue.finish(session, Job, holder)
    assert "done" == job(store).state


def test_lost_lease_takes_the_rest_of_the_transaction_with_it(store: Store) -> None:
    make_jobs(store, 0)
    silent = taken(store, lease_s=0.0)
    taken(store)
    with pytest.raises(LostLease), store.session() as session:  # noqa: PT012  it is the whole block that must not count
        session.execute(update(Case).values(priority=77))
        queue.finish(session, Job, silent)
    with store.reading() as session:
        assert 0 == session.scalar(select(Case.priority))


def test_renewed_lease_is_not_taken_over(store: Store) -> None:
    make_jobs(store, 0)
    holder = taken(store, lease_s=0.0)
    assert queue.renew(store, Job, holder, LONG_S)
    assert take(store) is None


def test_done_job_is_not_claimed_and_not_finished_twice(store: Store) -> None:
    make_jobs(store, 0)
    holder = taken(store)
    with store.session() as session:
        queue.finish(session, Job, holder)
    assert take(store) is None
    with pytest.raises(LostLease), store.session() as session:
        queue.finish(session, Job, holder)


def test_failed_job_pauses_with_its_reason(store: Store) -> None:
    make_jobs(store, 0)
    assert "queued" == queue.fail(store, Job, taken(store), "decoder_killed", max_attempts=5)
    assert take(store) is None
    paused = job(store)
    assert ("queued", "decoder_killed") == (paused.state, paused.reason)
    assert 2.0 < paused.not_before - time.time() <= queue.FIRST_PAUSE_S


def test_pauses_grow_to_an_hour() -> None:
    for attempts, longest in ((1, 5.0), (2, 10.0), (5, 80.0), (10, 2560.0), (11, 3600.0), (500, 3600.0)):
        pauses = [queue.growing_pause_s(attempts) for _ in range(20)]
        assert longest / 2 <= min(pauses) <= max(pauses) <= longest
        assert len(set(pauses)) > 1


def test_job_is_quarantined_after_its_last_try_and_retried_on_demand(store: Store) -> None:
    make_jobs(store, 0)
    states = []
    for _ in range(3):
        states.append(queue.fail(store, Job, taken(store), "decoder_killed", max_attempts=3, pause_s=lambda _: 0.0))
    assert ["queued", "queued", "quarantined"] == states
    assert take(store) is None
    assert 1 == queue.retry(store, Job)
    again = taken(store)
    assert (1, "decoder_killed") == (again.attempts, job(store).reason)


def test_zero_tries_means_never_give_up(store: Store) -> None:
    make_jobs(store, 0)
    for _ in range(12):
        assert "queued" == queue.fail(store, Job, taken(store), "down", max_attempts=0, pause_s=lambda _: 0.0)


def test_permanent_failure_is_quarantined_at_once(store: Store) -> None:
    make_jobs(store, 0)
    assert "quarantined" == queue.fail(store, Job, taken(store), "refused", max_attempts=0, permanent=True)


def test_what_is_put_back_is_taken_at_once_and_the_try_does_not_count(store: Store) -> None:
    make_jobs(store, 0)
    queue.put_back(store, Job, taken(store), "target is down")
    assert 1 == taken(store).attempts


def test_retry_leaves_alone_what_runs_and_what_it_was_not_asked_for(store: Store) -> None:
    make_jobs(store, 0, 0, 0)
    running, failed, other = taken(store), taken(store), taken(store)
    for claim in (failed, other):
        queue.fail(store, Job, claim, "x", max_attempts=1)
    assert 1 == queue.retry(store, Job, ids=[running.id, failed.id])
    assert failed.id == taken(store).id
    assert take(store) is None


def test_lease_begins_when_the_claim_is_written(store: Store) -> None:
    make_jobs(store, 0)
    held, claims = threading.Event(), []

    def write_for_a_while() -> None:
        with store.session() as session:
            session.execute(update(Case).values(called_ae="OTHER"))
            held.set()
            time.sleep(0.5)

    writer = threading.Thread(target=write_for_a_while)
    writer.start()
    held.wait(10)
    claims.append(queue.claim(store, Job, worker="w", lease_s=LONG_S))
    now = time.time()
    writer.join(10)
    assert [True] == [row is not None and row.lease_until > now + LONG_S - 0.3 for row in claims]


@pytest.mark.parametrize("column", ["lease_until", "not_before"])
def test_time_written_before_the_clock_was_put_back_holds_up_nothing(store: Store, column: str) -> None:
    make_jobs(store, 0)
    if column == "lease_until":
        taken(store)
    with store.session() as session:
        session.execute(update(Job).values({column: time.time() + 10 * 86_400}))
    assert take(store) is not None


def test_what_is_put_back_with_a_pause_lets_others_go_first(store: Store) -> None:
    make_jobs(store, 2, 0)
    urgent = taken(store)
    queue.put_back(store, Job, urgent, "broken off", pause_s=LONG_S)
    assert urgent.id != taken(store).id
