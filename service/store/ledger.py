"""The ledger: results with their objects and where they go, in one transaction; and what `status` shows of it all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from service.store.ehr_tables import Message
from service.store.engine import lock
from service.store.facts import Written
from service.store.filing import add_new, fit
from service.store.objects import Objects
from service.store.retention import prune
from service.store.store import OBJECTS, Store
from service.store.tables import Case, Delivery, Instance, Job, OwnObject, Result, ResultObject, Revision, Series

__all__ = ["Failure", "add_own", "counts", "failures", "objects_of", "prune", "results_of", "save_result"]
_MODALITY = "00080060"


@dataclass(frozen=True)
class Failure:
    """A job or delivery that failed: quarantined, or queued to be tried again at ``not_before``."""

    table: Literal["job", "delivery", "message"]
    id: int
    state: str
    target: str  # "" for a job
    attempts: int
    reason: str
    not_before: float


def save_result(
    session: Session, revision_id: int, *,
    model: str, status: str, reason: str, summary: dict[str, Any],
    objects: Sequence[Written], targets: Sequence[str], priority: int,
) -> Result:  # fmt: skip
    """Write a result, its objects and one delivery a target inside the caller's transaction; the files go first.

    One result a revision and model: when it is there already it is returned as it is, and nothing is written. Keeping
    the files beforehand, ``store.objects.put_many``, makes the transaction shorter. ``session`` is one of ``Store.session``.
    """
    lock(session)
    before = session.scalars(select(Result).where(Result.revision_id == revision_id, Result.model == model)).first()
    if before is not None:
        return before
    now = time.time()
    files = [hashlib.sha256(one.data).hexdigest() for one in objects]
    kept: Objects = session.info[OBJECTS]
    kept.put_many([one.data for one in objects], files)
    result = Result(revision_id=revision_id, model=model, status=status, reason=fit(reason, 64), summary=summary, created_at=now)
    session.add(result)
    session.flush()
    add_own(session, objects, files, now)
    rows = [
        {"result_id": result.id, "place": place, "kind": one.kind, "sop_uid": one.sop_uid, "sop_class_uid": one.sop_class_uid,
         "sha256": sha256, "size": len(one.data)}
        for place, (one, sha256) in enumerate(zip(objects, files, strict=True))
    ]  # fmt: skip
    if rows:
        session.execute(insert(ResultObject), rows)
        session.add_all(
            Delivery(result_id=result.id, target=target, priority=priority, state="queued", created_at=now, finished_at=None)
            for target in targets
        )
    return result


def objects_of(store: Store, result_id: int) -> list[ResultObject]:
    """Return the objects of a result in the order of delivery."""
    with store.reading() as session:
        return list(session.scalars(select(ResultObject).where(ResultObject.result_id == result_id).order_by(ResultObject.place)))


def results_of(store: Store, *, study_uid: str, case_key: str = "") -> list[tuple[Case, Revision, Result | None]]:
    """Return every revision of a study's cases, or of one, with its results; None while its job is not done."""
    wanted = select(Case, Revision, Result).join(Revision, Revision.case_id == Case.id)
    wanted = wanted.outerjoin(Result, Result.revision_id == Revision.id).where(Case.study_uid == study_uid)
    if case_key:
        wanted = wanted.where(Case.key == case_key)
    with store.reading() as session:
        rows = session.execute(wanted.order_by(Case.id, Revision.number, Result.id))
        return [(case, revision, result) for case, revision, result in rows]


def counts(store: Store) -> dict[str, Any]:
    """Count what is held and what waits: cases, jobs by state, results by status, deliveries by target and state."""
    unfinished = ("queued", "running")
    with store.reading() as session:
        deliveries: dict[str, dict[str, int]] = {}
        for way in (Delivery, Message):  # a target gets one or the other, or both
            for target, state, number in session.execute(_by(way.target, way.state)):
                states = deliveries.setdefault(target, {})
                states[state] = states.get(state, 0) + number
        oldest = [session.scalar(select(func.min(way.created_at)).where(way.state.in_(unfinished))) for way in (Delivery, Message)]
        return {
            "instances": session.scalar(select(func.count()).select_from(Instance).where(Instance.origin == "received")),
            "cases_waiting": session.scalar(select(func.count()).select_from(Case).where(Case.due_at.is_not(None))),
            "jobs": {row[0]: row[1] for row in session.execute(_by(Job.state))},
            "results": {row[0]: row[1] for row in session.execute(_by(Result.status))},
            "deliveries": deliveries,
            "oldest_job_at": session.scalar(select(func.min(Job.created_at)).where(Job.state.in_(unfinished))),
            "oldest_delivery_at": min((one for one in oldest if one is not None), default=None),
        }


def failures(store: Store, limit: int = 100) -> list[Failure]:
    """List what failed and is not done, the quarantined first, then the oldest."""
    found: list[Failure] = []
    with store.reading() as session:
        jobs = select(Job).where(Job.state != "done", Job.reason != "").order_by(Job.state == "queued", Job.id)
        for job in session.scalars(jobs.limit(limit)):
            found.append(Failure("job", job.id, job.state, "", job.attempts, job.reason, job.not_before))
        for way in (Delivery, Message):
            late = select(way.id, way.state, way.target, way.attempts, way.reason, way.not_before).where(
                way.state != "done", way.reason != "").order_by(way.state == "queued", way.id)
            name: Literal["delivery", "message"] = "delivery" if way is Delivery else "message"
            found += [Failure(name, *row) for row in session.execute(late.limit(limit))]
    return sorted(found, key=lambda one: (one.state != "quarantined", one.table, one.id))[:limit]


def _by(*columns: Any) -> Any:
    return select(*columns, func.count()).group_by(*columns).order_by(*columns)


def add_own(session: Session, objects: Sequence[Written], files: Sequence[str], now: float) -> None:
    """Make our objects queryable, and known as ours. A content made before, of a UID made before, becomes current."""
    add_new(session.connection(), OwnObject, [{"sop_uid": one.sop_uid, "made_at": now} for one in objects])
    series = {(one.study_uid, one.series_uid): one for one in objects}
    add_new(session.connection(), Series, [
        {"uid": one.series_uid, "study_uid": one.study_uid, "modality": _modality(one), "attributes": one.series_attributes}
        for one in series.values()
    ])  # fmt: skip
    uids = [one.sop_uid for one in objects]
    demote = update(Instance).where(Instance.sop_uid.in_(uids)).values(current=False)
    session.execute(demote, execution_options={"synchronize_session": False})
    add_new(session.connection(), Instance, [
        {"sop_uid": one.sop_uid, "sop_class_uid": one.sop_class_uid, "series_uid": one.series_uid, "study_uid": one.study_uid,
         "case_id": None, "sha256": sha256, "size": len(one.data), "transfer_syntax": one.transfer_syntax,
         "attributes": one.instance_attributes, "origin": "result", "current": False, "received_at": now}
        for one, sha256 in zip(objects, files, strict=True)
    ])  # fmt: skip
    for one, sha256 in zip(objects, files, strict=True):
        session.execute(update(Instance).where(Instance.sop_uid == one.sop_uid, Instance.sha256 == sha256).values(current=True),
                        execution_options={"synchronize_session": False})


def _modality(one: Written) -> str:
    values = one.series_attributes.get(_MODALITY, {}).get("Value") or [""]
    return str(values[0])[:16]
