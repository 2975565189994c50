"""Alarms in the store: at most one is open of a release and kind; it ends by itself, and somebody says that they saw it."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.filing import fit
from service.store.store import Store
from service.store.trust_tables import Alarm

Json = dict[str, Any]
MOST = 500


def ring(session: Session, release: str, kind: str, stream: str, detail: Json) -> bool:
    """Open an alarm, or say what is seen now of the one that is open, inside the caller's transaction. True when it is new."""
    lock(session)
    row = _open(session, release, kind)
    if row is not None:
        row.stream, row.detail = fit(stream, 96), detail
        return False
    session.add(Alarm(release=release, kind=kind, stream=fit(stream, 96), detail=detail, opened_at=time.time(), closed_at=None,
                      acknowledged_by="", acknowledged_at=None))
    return True


def end(session: Session, release: str, kind: str, *, older_than_s: float = 0.0) -> bool:
    """Close an alarm inside the caller's transaction, unless it is younger; True when one was closed."""
    lock(session)
    row = _open(session, release, kind)
    if row is None or time.time() - row.opened_at < older_than_s:
        return False
    row.closed_at = time.time()
    return True


def seen(session: Session, number: int, by: str) -> Alarm | None:
    """Say that somebody saw an alarm, inside the caller's transaction; the first who did stays. None when there is none."""
    row = session.get(Alarm, number)
    if row is not None and row.acknowledged_at is None:
        row.acknowledged_by, row.acknowledged_at = fit(by, 255), time.time()
    return row


def alarms(store: Store, *, only_open: bool = True, release: str = "") -> list[Alarm]:
    """Return alarms, the latest first."""
    wanted = select(Alarm).order_by(Alarm.opened_at.desc(), Alarm.id.desc()).limit(MOST)
    if only_open:
        wanted = wanted.where(Alarm.closed_at.is_(None))
    if release:
        wanted = wanted.where(Alarm.release == release)
    with store.reading() as session:
        return list(session.scalars(wanted))


def ringing(store: Store) -> dict[tuple[str, str], int]:
    """Return (release, kind) → how many alarms are open."""
    wanted = select(Alarm.release, Alarm.kind, func.count()).where(Alarm.closed_at.is_(None)).group_by(Alarm.release, Alarm.kind)
    with store.reading() as session:
        return {(release, kind): count for release, kind, count in session.execute(wanted)}


def _open(session: Session, release: str, kind: str) -> Alarm | None:
    wanted = select(Alarm).where(Alarm.release == release, Alarm.kind == kind, Alarm.closed_at.is_(None))
    return session.scalars(wanted.order_by(Alarm.id)).first()
