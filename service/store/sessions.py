"""Who is logged in: sessions, links that log in once, logins under way, and failed attempts. Only hashes of what opens a door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CursorResult, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from service.store.review_tables import Attempt, LoginLink, LoginSession, PendingLogin
from service.store.tables import Json

MAX_PENDING = 100_000  # logins under way at once: whoever asks for more is told to come back
KEPT_S = 30 * 86400.0  # sessions that ended are listed for so long


def begin_session(session: Session, row: LoginSession) -> None:
    """Write a new session down; forget those that ended long ago."""
    session.execute(delete(LoginSession).where(LoginSession.expires_at < row.created_at - KEPT_S))
    session.add(row)
    session.flush()


def session_of(session: Session, id_: str, now: float, idle_s: float) -> LoginSession | None:
    """Return a session that holds: not ended, neither idle for too long nor open for too long."""
    return session.scalar(select(LoginSession).where(
        LoginSession.id == id_, LoginSession.ended_at.is_(None), LoginSession.expires_at > now, LoginSession.seen_at > now - idle_s,
    ))


def sessions_of(session: Session, subject: str, now: float, idle_s: float) -> Sequence[LoginSession]:
    """Return the sessions of somebody that hold, the newest first."""
    return session.scalars(
        select(LoginSession).where(
            LoginSession.subject == subject, LoginSession.ended_at.is_(None), LoginSession.expires_at > now,
            LoginSession.seen_at > now - idle_s,
        ).order_by(LoginSession.created_at.desc(), LoginSession.id)
    ).all()


def see_session(session: Session, id_: str, now: float) -> None:
    """Write down that a session was used."""
    session.execute(update(LoginSession).where(LoginSession.id == id_, LoginSession.seen_at < now).values(seen_at=now))


def end_session(session: Session, id_: str, now: float) -> bool:
    """End one session; tell whether it was still going."""
    return _count(session.execute(
        update(LoginSession).where(LoginSession.id == id_, LoginSession.ended_at.is_(None)).values(ended_at=now))) > 0


def end_sessions(session: Session, subject: str, now: float, *, but: str = "") -> int:
    """End all sessions of somebody, but for one; return how many there were."""
    return _count(session.execute(
        update(LoginSession).where(LoginSession.subject == subject, LoginSession.id != but, LoginSession.ended_at.is_(None))
        .values(ended_at=now)))


def add_link(session: Session, link: LoginLink) -> None:
    """Write down a link that logs in once; it replaces those that were not used."""
    session.execute(delete(LoginLink).where(or_(LoginLink.used_at.is_(None), LoginLink.expires_at < link.created_at - KEPT_S)))
    session.add(link)
    session.flush()


def use_link(session: Session, id_: str, now: float) -> Json | None:
    """Use a link up; return whom it logs in, None when it is unknown, used or too old. Of two at once one gets it."""
    found: Json | None = session.scalar(
        update(LoginLink).where(LoginLink.id == id_, LoginLink.used_at.is_(None), LoginLink.expires_at > now)
        .values(used_at=now).returning(LoginLink.caller))
    return found


def add_pending(session: Session, login: PendingLogin, now: float) -> bool:
    """Write down a login that was begun; tell whether there was room. Forgets those that were not finished in time."""
    session.execute(delete(PendingLogin).where(PendingLogin.expires_at < now))
    if (session.scalar(select(func.count()).select_from(PendingLogin)) or 0) >= MAX_PENDING:
        return False
    session.add(login)
    session.flush()
    return True


def take_pending(session: Session, id_: str, browser: str, now: float) -> PendingLogin | None:
    """Take a login that this browser began, so that its answer counts once; another browser can neither use it nor use it up."""
    mine = (PendingLogin.id == id_) & (PendingLogin.browser == browser)
    row = session.scalars(delete(PendingLogin).where(mine).returning(PendingLogin)).first()
    if row is None or row.expires_at <= now:
        return None
    session.expunge(row)
    return row


def add_failure(session: Session, what: str, now: float, *, lock_after: int, window_s: float) -> float:
    """Count a failure; return until when ``what`` is locked out, 0 when it is not. Failures count together for ``window_s``."""
    insert: Any = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    session.execute(delete(Attempt).where(Attempt.first_at < now - window_s, Attempt.locked_until < now))
    row = session.execute(
        insert(Attempt).values(what=what, count=1, first_at=now, locked_until=0.0)
        .on_conflict_do_update(index_elements=["what"], set_={"count": Attempt.count + 1}).returning(Attempt.count)
    ).scalar_one()
    if row < lock_after:
        return 0.0
    session.execute(update(Attempt).where(Attempt.what == what).values(locked_until=now + window_s))
    return now + window_s


def locked_until(session: Session, whats: Sequence[str], now: float) -> float:
    """Return until when one of several is locked out, 0 when none is."""
    found = session.scalar(select(func.max(Attempt.locked_until)).where(Attempt.what.in_(whats), Attempt.locked_until > now))
    return float(found or 0.0)


def clear_failures(session: Session, what: str) -> None:
    """Forget failures once a login went well."""
    session.execute(delete(Attempt).where(Attempt.what == what))


def _count(done: Any) -> int:
    return int(done.rowcount) if isinstance(done, CursorResult) else 0
