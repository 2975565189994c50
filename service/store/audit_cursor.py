"""How far the audit was sent to a place, and which one process sends: a lease that lapses when it falls silent."""

from __future__ import annotations

import time

from service.store import audit
from service.store.audit import Line
from service.store.review_tables import AuditCursor
from service.store.store import Store


def claim(store: Store, name: str, holder: str, lease_s: float) -> int | None:
    """Be the one who sends to a place for so long; return the last line it has, None when another sends."""
    now = time.time()
    with store.session() as session:
        audit.hold(session)
        cursor = session.get(AuditCursor, name)
        if cursor is None:
            cursor = AuditCursor(name=name, line_id=0, changed_at=now)
            session.add(cursor)
        elif cursor.holder != holder and cursor.until > now:
            return None
        cursor.holder, cursor.until = holder, now + lease_s
        return cursor.line_id


def move(store: Store, name: str, holder: str, line: Line, lease_s: float) -> bool:
    """Say that a place has everything up to a line; False when another sends there by now."""
    with store.session() as session:
        audit.hold(session)
        cursor = session.get(AuditCursor, name)
        if cursor is None or cursor.holder != holder:
            return False
        cursor.line_id, cursor.hash, cursor.changed_at, cursor.until = line.id, line.hash, time.time(), time.time() + lease_s
        return True


def release(store: Store, name: str, holder: str) -> None:
    """Let another send at once."""
    with store.session() as session:
        audit.hold(session)
        cursor = session.get(AuditCursor, name)
        if cursor is not None and cursor.holder == holder:
            cursor.until = 0.0


def sent(store: Store, name: str) -> int:
    """Return the last line that a place has."""
    with store.reading() as session:
        cursor = session.get(AuditCursor, name)
        return cursor.line_id if cursor else 0
