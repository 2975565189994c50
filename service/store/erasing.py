"""Erasing: the rows of a person go, in one transaction each study and one for the rest; then what they left in the files.

On SQLite deleted rows are overwritten with zeros, the write-ahead log is emptied and the file is packed again, so that no
byte of them is left. PostgreSQL packs its tables. What a file system, a backup or a replica keeps is beyond this.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Delete, and_, delete, func, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from service.store import entries, observations, picks, shadows, splits, verdicts
from service.store.ehr_tables import Alert, BulkJob, Card, Feedback, Measurement, Message, Watched
from service.store.engine import lock, told
from service.store.errors import StoreError
from service.store.filing import add_new
from service.store.retention import remove_study
from service.store.review_tables import Hold, Risk, Verdict, VerdictObject
from service.store.store import Store
from service.store.tables import Base, Case, Delivery, Instance, Job, Leftover, Result, Revision, Study, Workitem
from service.store.trust_tables import Signoff, Standing

ALL_STATES = ("SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED")
_UNSYNCHRONISED = {"synchronize_session": False}
_PACKED = (
    "studies", "series", "instances", "cases", "revisions", "results", "result_objects", "deliveries", "messages", "measurements",
    "watched", "alerts", "cards", "feedback", "bulk_jobs", "draft_reports", "workitems", "worklist_entries", "risks", "verdicts",
    "verdict_objects", "sessions", "shadow_results", "observations", "split_members", "picks", "standings", "signoffs",
)
_TYPED: tuple[tuple[type[Base], str], ...] = (
    (Feedback, "comment"), (Verdict, "comment"), (Hold, "reason"), (Standing, "reason"), (Signoff, "statement"),
)


def stop_work(store: Store, uids: Collection[str]) -> int:
    """Take jobs that wait out of the queue; return how many are being scored or sent at this moment."""
    revisions = select(Revision.id).join(Case, Case.id == Revision.case_id).where(Case.study_uid.in_(list(uids)))
    results = select(Result.id).where(Result.revision_id.in_(revisions))
    now = time.time()
    with store.session() as session:
        lock(session)
        session.execute(update(Case).where(Case.study_uid.in_(list(uids))).values(due_at=None), execution_options=_UNSYNCHRONISED)
        session.execute(delete(Job).where(Job.revision_id.in_(revisions), Job.state == "queued"), execution_options=_UNSYNCHRONISED)
        session.execute(delete(Delivery).where(Delivery.result_id.in_(results), Delivery.state == "queued", Delivery.attempts == 0),
                        execution_options=_UNSYNCHRONISED)
        scored = session.scalar(select(func.count()).select_from(Job).where(
            Job.revision_id.in_(revisions), Job.state == "running", Job.lease_until > now))
        sent = session.scalar(select(func.count()).select_from(Delivery).where(
            Delivery.result_id.in_(results), Delivery.state == "running", Delivery.lease_until > now))
        return (scored or 0) + (sent or 0)


def erase_study(store: Store, uid: str, allowed: Callable[[Session], None]) -> int | None:
    """Remove a study and all that was made of it; return how many images there were, None when it is gone already.

    ``allowed`` raises when it may not be.
    """
    with store.session() as session:
        lock(session)
        allowed(session)
        if session.get(Study, uid) is None:
            return None
        count = session.scalar(select(func.count()).select_from(Instance).where(Instance.study_uid == uid)) or 0
        secure(session)
        remove_study(session, uid, workitems=ALL_STATES)
    store.known.clear()
    return count


def erase_record(store: Store, *, subjects: Collection[str], risks: Collection[int], persons: Collection[str],
                 workitems: Collection[str], allowed: Callable[[Session], None]) -> dict[str, int]:
    """Remove what was measured, watched and told of a person outside studies; return table → rows."""
    about, ids, counts = list(subjects), list(risks), {}
    with store.session() as session:
        lock(session)
        allowed(session)
        secure(session)
        alerts = list(session.scalars(select(Alert.id).where(Alert.subject.in_(about))))
        cards = [one for one in session.scalars(select(Risk.card).where(Risk.id.in_(ids))) if one]
        keys = list(session.scalars(select(Risk.key).where(Risk.id.in_(ids))))
        said = select(Verdict.id).where(or_(
            and_(Verdict.target_kind == "risk", Verdict.target_id.in_(ids)),
            and_(Verdict.target_kind == "alert", Verdict.target_id.in_(alerts))))
        files = session.scalars(select(VerdictObject.sha256).where(VerdictObject.verdict_id.in_(said))).all()
        add_new(session.connection(), Leftover, [{"sha256": one} for one in sorted(set(files))])
        counts["split_members"] = splits.erase(session, persons)
        counts["verdicts"] = verdicts.erase(session, "risk", ids) + verdicts.erase(session, "alert", alerts)
        counts["shadow_results"] = shadows.erase(session, "risk", keys)
        observations.erase(session, "risk", keys)
        picks.erase(session, "risk", keys)
        counts["worklist_entries"] = (
            entries.erase(session, persons=persons) + entries.erase(session, kind="risk", targets=keys)
            + entries.erase(session, kind="alert", targets=[str(one) for one in alerts]))
        steps: dict[str, Delete] = {
            "feedback": delete(Feedback).where(Feedback.card_uuid.in_(cards)),
            "cards": delete(Card).where(Card.uuid.in_(cards)),
            "measurements": delete(Measurement).where(Measurement.subject.in_(about)),
            "watched": delete(Watched).where(Watched.subject.in_(about)),
            "alerts": delete(Alert).where(Alert.subject.in_(about)),
            "risks": delete(Risk).where(Risk.id.in_(ids)),
            "workitems": delete(Workitem).where(Workitem.uid.in_(list(workitems))),
        }
        for name, step in steps.items():
            done: Any = session.execute(step, execution_options=_UNSYNCHRONISED)
            counts[name] = int(done.rowcount)
    return counts


def old_risks(store: Store, before: float, at_once: int) -> Iterator[list[tuple[int, str]]]:
    """Yield (id, person) of the risks that were told before a time, some at once."""
    after = 0
    while True:
        with store.reading() as session:
            rows = session.execute(select(Risk.id, Risk.person).where(Risk.scored_at < before, Risk.id > after)
                                   .order_by(Risk.id).limit(at_once)).all()
        if not rows:
            return
        after = rows[-1][0]
        yield [(number, person) for number, person in rows]


def erase_messages(store: Store, ids: Collection[int]) -> int:
    """Remove messages of the outbox, whatever their state; return how many."""
    with store.session() as session:
        secure(session)
        done: Any = session.execute(delete(Message).where(Message.id.in_(list(ids))), execution_options=_UNSYNCHRONISED)
        return int(done.rowcount)


def replace_files(store: Store, job_id: int, files: dict[str, Any], before: dict[str, Any], gone: Collection[str]) -> bool:
    """Give a bulk job other files, unless it changed since they were read; those that are ``gone`` are listed for removal.

    Whoever works on the job loses it, and begins the piece again with the new file.
    """
    with store.session() as session:
        lock(session)
        secure(session)
        row = session.get(BulkJob, job_id, populate_existing=True)
        if row is None or row.files != before:
            return row is None
        row.files = files
        if row.state == "running":
            row.state, row.claimed_by, row.lease_until = "queued", "", 0.0
        add_new(session.connection(), Leftover, [{"sha256": one} for one in sorted(set(gone))])
    return True


def forget_words(store: Store, mentions: Callable[[str], bool]) -> int:
    """Blank what people typed elsewhere that speaks of a person; return how many.

    That is comments on cards and on results of others, why somebody was held, and why a release was switched or signed for.
    """
    found = 0
    with store.session() as session:
        secure(session)
        for table, column in _TYPED:
            typed = getattr(table, column)
            for row in session.scalars(select(table).where(typed != "")):
                if mentions(getattr(row, column)):
                    setattr(row, column, "")
                    found += 1
    return found


def secure(session: Session) -> None:
    """Have SQLite overwrite with zeros what this transaction deletes."""
    if session.get_bind().dialect.name == "sqlite":
        session.connection().exec_driver_sql("PRAGMA secure_delete=ON")


def settle(store: Store, *, pack: bool) -> bool:
    """Empty the write-ahead log, which still holds what was deleted; with ``pack`` write the tables anew without it.

    False when others hold the database for so long that it must be done again later. Packing locks out writers meanwhile;
    it is needed once for a database of before version 0.2, whose deleted rows were not overwritten.
    """
    try:
        with told(), closing(store.engine.raw_connection()) as connection:
            driver: Any = connection.driver_connection
            if store.engine.dialect.name == "sqlite":
                if pack:
                    driver.execute("VACUUM")
                return not driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            driver.autocommit = True
            try:
                for table in _PACKED:
                    driver.execute(f"VACUUM (FULL) {table}" if pack else f"VACUUM {table}")
            finally:
                driver.autocommit = False
    except (DBAPIError, StoreError):
        return False
    return True
