"""Trying again: what is quarantined becomes a new revision, so that what it told before stays told."""

from __future__ import annotations

from sqlalchemy import select

from service.store import desk, queue
from service.store.again import deliveries_again, drop_deliveries, jobs_again, move_deliveries
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Delivery, Job
from tests.make_store import image_of, object_of


def quarantined_job(store: Store) -> desk.Sealed:
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    claimed = queue.claim(store, Job, worker="w", lease_s=60)
    assert claimed is not None
    queue.fail(store, Job, queue.claim_of(claimed), "killed by SIGSEGV", max_attempts=1)
    return desk.load(store, claimed.id)


def test_a_quarantined_job_comes_back_as_the_next_revision_of_the_same_images(store: Store) -> None:
    before = quarantined_job(store)
    assert jobs_again(store) == 1
    claimed = queue.claim(store, Job, worker="w", lease_s=60)
    assert claimed is not None
    after = desk.load(store, claimed.id)
    assert (after.revision, after.instances) == (before.revision + 1, before.instances)


def test_a_second_retry_finds_nothing(store: Store) -> None:
    quarantined_job(store)
    jobs_again(store)
    assert jobs_again(store) == 0


def test_a_job_that_pauses_after_a_failure_is_due_at_once(store: Store) -> None:
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    claimed = queue.claim(store, Job, worker="w", lease_s=60)
    assert claimed is not None
    queue.fail(store, Job, queue.claim_of(claimed), "timed out", max_attempts=5)
    assert queue.claim(store, Job, worker="w", lease_s=60) is None
    assert jobs_again(store) == 1
    assert queue.claim(store, Job, worker="w", lease_s=60) is not None


def test_deliveries_are_tried_again_for_one_target_alone(store: Store) -> None:
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    job = queue.claim(store, Job, worker="w", lease_s=60)
    assert job is not None
    with store.session() as session:
        save_result(session, job.revision_id, model="m-1.0.0", status="scored", reason="", summary={},
                    objects=[object_of(1, 1)], targets=["pacs", "archive"], priority=0)
    for target in ("pacs", "archive"):
        claimed = queue.claim(store, Delivery, worker="d", lease_s=60, where=Delivery.target == target)
        assert claimed is not None
        queue.fail(store, Delivery, queue.claim_of(claimed), "status a900", max_attempts=1)
    assert deliveries_again(store, "pacs") == 1
    with store.reading() as session:
        states = dict(session.execute(select(Delivery.target, Delivery.state)).all())
    assert states == {"pacs": "queued", "archive": "quarantined"}


def test_triage_is_asked_once_and_changes_the_order_of_claims(store: Store) -> None:
    receive(store, [image_of(1), image_of(2)], quiet_s=0)
    seal_due(store)
    first, second = desk.untriaged(store, limit=10)
    desk.triage(store, first.job_id, None)
    desk.triage(store, second.job_id, 2)
    assert desk.untriaged(store, limit=10) == []
    claimed = queue.claim(store, Job, worker="w", lease_s=60)
    assert claimed is not None
    assert claimed.id == second.job_id


def posted(store: Store, *targets: str) -> None:
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    job = queue.claim(store, Job, worker="w", lease_s=60)
    assert job is not None
    with store.session() as session:
        save_result(session, job.revision_id, model="m-1.0.0", status="scored", reason="", summary={},
                    objects=[object_of(1, 1)], targets=targets, priority=0)


def targets_of(store: Store) -> list[str]:
    with store.reading() as session:
        return sorted(session.scalars(select(Delivery.target)))


def test_a_renamed_target_gets_what_the_old_name_had_not(store: Store) -> None:
    posted(store, "old")
    assert move_deliveries(store, "old", "new") == 1
    assert targets_of(store) == ["new"]


def test_what_the_new_target_has_already_is_not_delivered_twice(store: Store) -> None:
    posted(store, "old", "new")
    assert move_deliveries(store, "old", "new") == 0
    assert targets_of(store) == ["new"]


def test_deliveries_to_a_target_that_is_gone_can_be_given_up(store: Store) -> None:
    posted(store, "old", "new")
    assert drop_deliveries(store, "old") == 1
    assert targets_of(store) == ["new"]
