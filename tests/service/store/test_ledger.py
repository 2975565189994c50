"""Results: once a revision and model, with objects and deliveries in one transaction, and what `status` counts."""

from __future__ import annotations

from sqlalchemy import select

from service.store import queue
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import counts, failures, objects_of, results_of, save_result
from service.store.store import Store
from service.store.tables import Delivery, Instance, Job, Result
from tests.make_store import MadeObject, image_of, object_of


def revision_of(store: Store, study: int) -> int:
    receive(store, [image_of(study)], quiet_s=0)
    seal_due(store)
    with store.reading() as session:
        return max(session.scalars(select(Job.revision_id)))


def save(store: Store, revision_id: int, *objects: MadeObject, targets: tuple[str, ...] = ("pacs",), model: str = "m") -> Result:
    with store.session() as session:
        return save_result(session, revision_id, model=model, status="scored", reason="", summary={"findings": []},
                           objects=objects, targets=targets, priority=1)


def test_result_has_its_objects_in_order_of_delivery_and_a_delivery_a_target(store: Store) -> None:
    made = [object_of(1, 1, kind="capture"), object_of(1, 2, kind="sr")]
    result = save(store, revision_of(store, 1), *made, targets=("pacs", "archive"))
    found = objects_of(store, result.id)
    assert [("capture", made[0].sop_uid), ("sr", made[1].sop_uid)] == [(one.kind, one.sop_uid) for one in found]
    assert [one.data for one in made] == [store.objects.get(one.sha256) for one in found]
    with store.reading() as session:
        deliveries = session.execute(select(Delivery.target, Delivery.priority).order_by(Delivery.target)).all()
    assert [("archive", 1), ("pacs", 1)] == deliveries


def test_second_result_of_a_revision_and_model_writes_nothing(store: Store) -> None:
    revision = revision_of(store, 1)
    first = save(store, revision, object_of(1, 1))
    again = save(store, revision, object_of(1, 2), targets=("elsewhere",))
    assert first.id == again.id
    assert {"pacs": {"queued": 1}} == counts(store)["deliveries"]
    assert 1 == len(objects_of(store, first.id))


def test_two_models_of_one_revision_are_two_results(store: Store) -> None:
    revision = revision_of(store, 1)
    save(store, revision, object_of(1, 1), model="a")
    save(store, revision, object_of(1, 2), model="b")
    study = image_of(1).study_uid
    assert ["a", "b"] == [result.model for _, _, result in results_of(store, study_uid=study) if result]


def test_result_without_objects_is_delivered_nowhere(store: Store) -> None:
    save(store, revision_of(store, 1))
    assert {} == counts(store)["deliveries"]


def test_object_made_again_with_other_bytes_is_the_current_one(store: Store) -> None:
    save(store, revision_of(store, 1), object_of(1, 1))
    other = object_of(1, 1, content="other")
    save(store, 1, other, model="second")
    with store.reading() as session:
        current = session.scalars(select(Instance.sha256).where(Instance.sop_uid == other.sop_uid, Instance.current)).all()
    assert [other.data] == [store.objects.get(one) for one in current]


def test_revision_without_its_result_yet_is_listed_with_none(store: Store) -> None:
    revision_of(store, 1)
    assert [None] == [result for _, _, result in results_of(store, study_uid=image_of(1).study_uid, case_key=image_of(1).case_key)]


def test_counts_say_what_waits_and_what_is_done(store: Store) -> None:
    revision = revision_of(store, 1)
    revision_of(store, 2)
    receive(store, [image_of(3)], quiet_s=0)
    row = queue.claim(store, Job, worker="w", lease_s=60)
    assert row is not None
    with store.session() as session:
        save_result(session, revision, model="m", status="refused", reason="", summary={}, objects=[object_of(1, 1)],
                    targets=["pacs"], priority=0)
        queue.finish(session, Job, queue.claim_of(row))
    found = counts(store)
    assert found.pop("oldest_job_at") <= found.pop("oldest_delivery_at")
    assert {
        "instances": 3, "cases_waiting": 1, "jobs": {"done": 1, "queued": 1}, "results": {"refused": 1},
        "deliveries": {"pacs": {"queued": 1}},
    } == found


def test_failures_are_listed_with_reasons_the_quarantined_first(store: Store) -> None:
    save(store, revision_of(store, 1), object_of(1, 1))
    job = queue.claim(store, Job, worker="w", lease_s=60)
    delivery = queue.claim(store, Delivery, worker="d", lease_s=60)
    assert job is not None
    assert delivery is not None
    queue.fail(store, Delivery, queue.claim_of(delivery), "refused 0xA900", max_attempts=1)
    queue.fail(store, Job, queue.claim_of(job), "decoder_killed", max_attempts=5)
    assert [("delivery", "quarantined", "pacs", 1, "refused 0xA900"), ("job", "queued", "", 1, "decoder_killed")] == [
        (one.table, one.state, one.target, one.attempts, one.reason) for one in failures(store)
    ]
