"""What the performer of a worklist asks of the rows, on both databases."""

from __future__ import annotations

import threading
import time

from sqlalchemy import select

from service.store.cases import seal_due
from service.store.engine import lock
from service.store.inbox import receive
from service.store.store import Store
from service.store.tables import Case, Job
from service.store.worklist import cases_named, hurry
from tests.make_store import MadeArrival, image_of, slice_of


def sent() -> list[MadeArrival]:
    """Two series of a study and an image of another."""
    return [slice_of(1, 1), slice_of(1, 2), slice_of(2, 1), image_of(2)]


def keys(cases: list[Case]) -> set[str]:
    return {case.key for case in cases}


def test_a_study_a_series_or_instances_name_their_cases(store: Store) -> None:
    first, second, other, image = sent()
    receive(store, [first, second, other, image], quiet_s=20)

    assert {first.case_key, other.case_key} == keys(cases_named(store, first.study_uid, "", ()))
    assert {first.case_key} == keys(cases_named(store, first.study_uid, first.series_uid, ()))
    assert {other.case_key} == keys(cases_named(store, first.study_uid, "", (other.sop_uid,)))
    assert {image.case_key} == keys(cases_named(store, image.study_uid, image.series_uid, (image.sop_uid,)))


def test_an_instance_that_is_not_here_leaves_nothing_named(store: Store) -> None:
    first, second, *_ = sent()
    receive(store, [first], quiet_s=20)

    assert [] == cases_named(store, first.study_uid, "", (first.sop_uid, second.sop_uid))
    assert [] == cases_named(store, "1.9", "", ())


def test_cases_and_their_waiting_jobs_are_raised_and_never_lowered(store: Store) -> None:
    arrivals = sent()
    receive(store, arrivals, quiet_s=20)
    seal_due(store, now=time.time() + 60)
    named = [case.id for case in cases_named(store, arrivals[0].study_uid, "", ())]

    hurry(store, named, 1)
    hurry(store, named[:1], -1)

    with store.reading() as session:
        rows = session.execute(select(Case.id, Case.priority)).all()
        jobs = list(session.scalars(select(Job.priority).order_by(Job.id)))
    assert {(case_id, int(case_id in named)) for case_id, _ in rows} == {tuple(row) for row in rows}
    assert [0, 1, 1] == sorted(jobs)


def test_cases_are_raised_in_turn_with_who_files_and_seals(store: Store) -> None:
    arrivals = sent()
    receive(store, arrivals, quiet_s=20)
    named = [case.id for case in cases_named(store, arrivals[0].study_uid, "", ())]
    order = []
    hurrying = threading.Thread(target=lambda: order.append(hurry(store, named, 1) or "hurry"))
    with store.session() as session:
        lock(session)
        hurrying.start()
        hurrying.join(0.3)
        order.append("filing")
    hurrying.join(20)
    assert ["filing", "hurry"] == order
