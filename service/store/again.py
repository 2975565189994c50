"""Trying again on demand: everything that is quarantined or pauses after a failure."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import delete, insert, select, update

from service.store import queue
from service.store.ehr_tables import Message
from service.store.engine import lock
from service.store.store import Store
from service.store.tables import Case, Delivery, Job, Revision, RevisionInstance


def jobs_again(store: Store) -> int:
    """Queue every quarantined job as a new revision of the same images, and what pauses for now; return how many.

    A quarantined job has already told that its images could not be assessed: what comes now is a result of its own.
    """
    now = time.time()
    with store.session() as session:
        lock(session)
        rows = session.execute(
            select(Job, Revision, Case).join(Revision, Job.revision_id == Revision.id).join(Case, Revision.case_id == Case.id)
            .where(Job.state == "quarantined")
        ).all()
        for job, revision, case in rows:
            job.state, job.reason = "done", ""
            if revision.number < case.revision:
                continue  # a later revision holds these images
            case.revision += 1
            new = Revision(case_id=case.id, number=case.revision, sealed_at=now)
            session.add(new)
            session.flush()
            held = select(RevisionInstance.instance_id).where(RevisionInstance.revision_id == revision.id)
            session.execute(insert(RevisionInstance), [
                {"revision_id": new.id, "instance_id": one} for one in session.scalars(held).all()
            ])
            session.add(Job(revision_id=new.id, priority=job.priority, state="queued", created_at=now, finished_at=None))
    return len(rows) + queue.retry(store, Job)


def deliveries_again(store: Store, target: str = "") -> int:
    """Queue every delivery and message that is quarantined or pauses, to one target or to all; return how many."""
    found = queue.retry(store, Delivery, where=Delivery.target == target if target else None)
    return found + queue.retry(store, Message, where=Message.target == target if target else None)


def move_deliveries(store: Store, old: str, new: str) -> int:
    """Give what one target has not got yet to another, as when it was renamed; return how many. Done at once."""
    waiting = Delivery.state != "done"
    with store.session() as session:
        lock(session)
        there = set(session.scalars(select(Delivery.result_id).where(Delivery.target == new)))
        moved = 0
        for row in session.scalars(select(Delivery).where(Delivery.target == old, waiting)).all():
            if row.result_id in there:
                session.delete(row)
                continue
            session.execute(update(Delivery).where(Delivery.id == row.id).values(
                target=new, state="queued", attempts=0, not_before=0.0, claimed_by="", lease_until=0.0, finished_at=None))
            moved += 1
        known = select(Message.key).where(Message.target == new)
        session.execute(delete(Message).where(Message.target == old, Message.state != "done", Message.key.in_(known)),
                        execution_options={"synchronize_session": False})
        changed: Any = session.execute(update(Message).where(Message.target == old, Message.state != "done").values(
            target=new, state="queued", attempts=0, not_before=0.0, claimed_by="", lease_until=0.0, finished_at=None),
            execution_options={"synchronize_session": False})
    return moved + int(changed.rowcount)


def drop_deliveries(store: Store, target: str) -> int:
    """Give up what a target has not got yet, as when it is gone for good; return how many. The results stay here."""
    with store.session() as session:
        lock(session)
        dropped = 0
        for way in (Delivery, Message):
            ids = session.scalars(select(way.id).where(way.target == target, way.state != "done")).all()
            session.execute(delete(way).where(way.id.in_(ids)))
            dropped += len(ids)
    return dropped
