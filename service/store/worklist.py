"""What the performer of a worklist asks of the rows: which cases a step is about, and that they are done before others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import exists, func, select, update

from service.store.engine import lock
from service.store.store import Store
from service.store.tables import Case, Instance, Job, Revision


def cases_named(store: Store, study_uid: str, series_uid: str, sop_uids: Collection[str]) -> list[Case]:
    """Return the cases of a study, of one of its series, or of instances named one by one; none when one of those is not here."""
    rows: list[Any] = [Instance.current, Instance.origin == "received", Instance.study_uid == study_uid]
    if series_uid:
        rows.append(Instance.series_uid == series_uid)
    if sop_uids:
        rows.append(Instance.sop_uid.in_(sop_uids))
    with store.reading() as session:
        if sop_uids and session.scalar(select(func.count(Instance.sop_uid.distinct())).where(*rows)) != len(set(sop_uids)):
            return []
        return list(session.scalars(select(Case).where(exists().where(Instance.case_id == Case.id, *rows)).order_by(Case.id)))


def hurry(store: Store, case_ids: Collection[int], priority: int) -> None:
    """Raise cases and their waiting jobs to ``priority``; lower none."""
    revisions = select(Revision.id).where(Revision.case_id.in_(case_ids))
    waiting = update(Job).where(Job.state == "queued", Job.priority < priority, Job.revision_id.in_(revisions))
    unsynced = {"synchronize_session": False}
    with store.session() as session:
        lock(session)  # who files images changes cases too, in another order
        session.execute(update(Case).where(Case.id.in_(case_ids), Case.priority < priority).values(priority=priority),
                        execution_options=unsynced)
        session.execute(waiting.values(priority=priority), execution_options=unsynced)
