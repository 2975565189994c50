"""Cases: sealing what is complete. A sealed revision is a frozen list of instances, with one job."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, delete, exists, insert, or_, select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.store import Store
from service.store.tables import Case, Instance, Job, OpenAssociation, Revision, RevisionInstance

_INSTANCE_NUMBER = "00200013"
_LAST = 2**31
_AHEAD_S = 60.0  # an image that came so far in the future came before the clock was put back


def seal_due(store: Store, now: float | None = None, limit: int = 50) -> int:
    """Seal up to ``limit`` cases that are due, the most urgent first; return how many revisions were made.

    A case whose instances are those of its last revision makes none: nothing changed. One that was promised to a clock
    which was put back since is due too: it would wait for as long as that was.
    """
    moment = time.time() if now is None else now
    is_due = or_(Case.due_at <= moment, and_(Case.due_at.is_not(None), Case.last_received_at > moment + _AHEAD_S))
    with store.reading() as session:  # most calls end here, and wait for no writer
        if not session.scalar(select(exists().where(is_due))):
            return 0
    with store.session() as session:
        lock(session)
        due = select(Case).where(is_due).order_by(Case.priority.desc(), Case.due_at, Case.id)
        return _seal(session, session.scalars(due.limit(limit)).all(), moment)


def instances_of(store: Store, revision_id: int) -> list[Instance]:
    """Return the instances of a revision by InstanceNumber, then in order of arrival."""
    held = select(RevisionInstance.instance_id).where(RevisionInstance.revision_id == revision_id)
    with store.reading() as session:
        instances = session.scalars(select(Instance).where(Instance.id.in_(held))).all()
    return sorted(instances, key=lambda one: (_number(one), one.received_at, one.id))


def _seal(session: Session, cases: Sequence[Case], moment: float) -> int:
    ids = [case.id for case in cases]
    session.execute(delete(OpenAssociation).where(OpenAssociation.case_id.in_(ids)))
    held = _grouped(session.execute(select(Instance.case_id, Instance.id).where(Instance.case_id.in_(ids), Instance.current)))
    last = and_(Revision.case_id == Case.id, Revision.number == Case.revision)
    before = _grouped(session.execute(
        select(Case.id, RevisionInstance.instance_id).join(Revision, last)
        .join(RevisionInstance, RevisionInstance.revision_id == Revision.id).where(Case.id.in_(ids))
    ))
    revisions: list[Revision] = []
    for case in cases:
        case.due_at = None
        if held[case.id] and held[case.id] != before[case.id]:
            case.revision += 1
            revisions.append(Revision(case_id=case.id, number=case.revision, sealed_at=moment))
    session.add_all(revisions)
    session.flush()  # now they have their ids
    rows = [{"revision_id": one.id, "instance_id": each} for one in revisions for each in sorted(held[one.case_id])]
    if rows:
        session.execute(insert(RevisionInstance), rows)
    priorities = {case.id: case.priority for case in cases}
    session.add_all(
        Job(revision_id=one.id, priority=priorities[one.case_id], state="queued", created_at=moment, finished_at=None)
        for one in revisions
    )
    return len(revisions)


def _grouped(rows: Iterable[Any]) -> dict[int, set[int]]:
    """Collect (case, instance) by case."""
    found: dict[int, set[int]] = defaultdict(set)
    for case_id, instance_id in rows:
        found[case_id].add(instance_id)
    return found


def _number(instance: Instance) -> int:
    values = instance.attributes.get(_INSTANCE_NUMBER, {}).get("Value") or [_LAST]
    return values[0] if isinstance(values[0], int) else _LAST
