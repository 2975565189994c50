"""Retention: old studies go, with their files; never one that still waits for a result or a delivery, or is held."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from itertools import islice
from typing import Any

from sqlalchemy import Delete, delete, exists, or_, select
from sqlalchemy.orm import Session

from service.store import bulk, entries, observations, picks, rights, shadows, verdicts
from service.store.ehr_tables import DraftReport, ReportResult
from service.store.engine import lock
from service.store.filing import add_new
from service.store.review_tables import Verdict, VerdictObject
from service.store.store import Store
from service.store.tables import (
    Case,
    Delivery,
    Instance,
    Job,
    Leftover,
    OpenAssociation,
    Result,
    ResultObject,
    Revision,
    RevisionInstance,
    Series,
    Study,
    Workitem,
)

ORPHAN_S = 86_400.0
_FILES_AT_ONCE = 200
_UNSYNCHRONISED = {"synchronize_session": False}


def prune(store: Store, older_than_s: float, *, keys: Callable[[dict[str, Any]], Collection[str]] | None = None) -> int:
    """Remove studies whose last image came longer ago than that; return how many.

    One stays while any of its cases waits to be sealed, a job is not done or a delivery is not done: what is
    quarantined waits for a person. One transaction a study, so receivers hardly wait. Files go last, and only those
    that no row names; a crash in between leaves a list of them, which the next prune takes up. So do files of a day ago
    that never got a row, since the process that wrote them ended there.

    What is under a legal hold stays. ``keys`` returns the keys of a study's patient from its attributes; without it no
    study goes while any person is held, since nobody could tell whose it is.
    """
    pruned = 0
    for uid in _finished(store, time.time() - older_than_s):
        with store.session() as session:
            lock(session)
            # an image may have come meanwhile
            if _is_finished(session, uid, time.time() - older_than_s) and not _is_held(store, session, uid, keys):
                remove_study(session, uid)
                pruned += 1
    _list_orphans(store, time.time() - ORPHAN_S)
    drop_leftovers(store)
    store.known.clear()
    return pruned


def drop_leftovers(store: Store) -> None:
    """Remove the files that were listed for removal and that no row names."""
    while _drop_files(store):
        pass


def _finished(store: Store, before: float) -> list[str]:
    with store.reading() as session:
        return list(session.scalars(_wanted(before).order_by(Study.received_at)))


def _is_finished(session: Session, uid: str, before: float) -> bool:
    return session.scalars(_wanted(before).where(Study.uid == uid)).first() is not None


def _is_held(store: Store, session: Session, uid: str, keys: Callable[[dict[str, Any]], Collection[str]] | None) -> bool:
    if keys is None and rights.holds_persons(session):
        return True
    persons = keys(session.get_one(Study, uid).attributes) if keys is not None else ()
    return rights.is_held(session, persons=persons, studies=[rights.study_key(store, uid)])


def _wanted(before: float) -> Any:
    young = exists().where(Instance.study_uid == Study.uid, Instance.received_at >= before)
    active = exists().where(Case.study_uid == Study.uid, or_(Case.due_at.is_not(None), Case.last_received_at >= before))
    revisions = select(Revision.id).join(Case, Case.id == Revision.case_id).where(Case.study_uid == Study.uid)
    unscored = exists().where(Job.revision_id.in_(revisions), Job.state != "done")
    results = select(Result.id).where(Result.revision_id.in_(revisions))
    undelivered = exists().where(Delivery.result_id.in_(results), Delivery.state != "done")
    return select(Study.uid).where(Study.received_at < before, ~young, ~active, ~unscored, ~undelivered)


def remove_study(session: Session, uid: str, *, workitems: tuple[str, ...] = ("COMPLETED", "CANCELED")) -> None:
    """Remove the rows of a study and all that was made of it, whatever its state, and list its files for removal.

    ``workitems``: those of its worklist items that go, by state.
    """
    cases = select(Case.id).where(Case.study_uid == uid)
    revisions = select(Revision.id).where(Revision.case_id.in_(cases))
    results = select(Result.id).where(Result.revision_id.in_(revisions))
    files = set(session.scalars(select(Instance.sha256).where(Instance.study_uid == uid)))
    files |= set(session.scalars(select(ResultObject.sha256).where(ResultObject.result_id.in_(results))))
    judged = list(session.scalars(results))
    said = select(Verdict.id).where(Verdict.target_kind == "result", Verdict.target_id.in_(judged))
    files |= set(session.scalars(select(VerdictObject.sha256).where(VerdictObject.verdict_id.in_(said))))
    verdicts.erase(session, "result", judged)
    picks.erase(session, "result", [str(one) for one in judged])
    observations.erase(session, "result", [str(one) for one in judged])
    shadows.erase(session, "result", [str(one) for one in judged])
    entries.erase(session, kind="study", targets=[uid])
    add_new(session.connection(), Leftover, [{"sha256": one} for one in sorted(files)])
    drafts = select(DraftReport.id).where(DraftReport.study_uid == uid)
    steps: list[Delete] = [
        delete(ReportResult).where(or_(ReportResult.result_id.in_(results), ReportResult.report_id.in_(drafts))),
        delete(DraftReport).where(DraftReport.study_uid == uid),
        delete(Delivery).where(Delivery.result_id.in_(results)),
        delete(ResultObject).where(ResultObject.result_id.in_(results)),
        delete(Result).where(Result.revision_id.in_(revisions)),
        delete(RevisionInstance).where(RevisionInstance.revision_id.in_(revisions)),
        delete(Job).where(Job.revision_id.in_(revisions)),
        delete(Revision).where(Revision.case_id.in_(cases)),
        delete(OpenAssociation).where(OpenAssociation.case_id.in_(cases)),
        delete(Instance).where(Instance.study_uid == uid),
        delete(Case).where(Case.study_uid == uid),
        delete(Series).where(Series.study_uid == uid),
        delete(Workitem).where(Workitem.study_uid == uid, Workitem.state.in_(workitems)),
        delete(Study).where(Study.uid == uid),
    ]
    for step in steps:
        session.execute(step, execution_options=_UNSYNCHRONISED)


def _list_orphans(store: Store, before: float) -> None:
    names = store.objects.older_than(before)
    while some := set(islice(names, _FILES_AT_ONCE)):
        with store.reading() as session:
            orphans = some - _named(session, some)
        if orphans:
            with store.session() as session:
                add_new(session.connection(), Leftover, [{"sha256": one} for one in sorted(orphans)])


def _named(session: Session, files: set[str]) -> set[str]:
    """Return those files that a row names."""
    named = set(session.scalars(select(Instance.sha256).where(Instance.sha256.in_(files))))
    named |= set(session.scalars(select(ResultObject.sha256).where(ResultObject.sha256.in_(files))))
    named |= set(session.scalars(select(VerdictObject.sha256).where(VerdictObject.sha256.in_(files))))
    return named | (bulk.files_named(session) & files)


def _drop_files(store: Store) -> bool:
    """Remove some files that no row names; True when more may be left."""
    with store.session() as session:
        lock(session)  # nobody adds a row for one of these files between the look and the removal
        some = set(session.scalars(select(Leftover.sha256).limit(_FILES_AT_ONCE)))
        store.objects.delete(some - _named(session, some))
        session.execute(delete(Leftover).where(Leftover.sha256.in_(some)), execution_options=_UNSYNCHRONISED)
    return len(some) == _FILES_AT_ONCE
