"""The queue: claim, lease, retry, quarantine; the same for jobs, deliveries and messages, on SQLite and PostgreSQL.

A claim is a row whose (id, claimed_by, attempts) only its holder knows; ``claimed_by`` has a random part, so a holder
whose lease ran out and was taken over can change nothing. The clocks of the machines must agree to within a lease.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from sqlalchemy import ColumnElement, CursorResult, and_, or_, select, true, update
from sqlalchemy.orm import Session

from service.store.ehr_tables import BulkJob, Message
from service.store.errors import LostLease
from service.store.store import Store
from service.store.tables import Delivery, Job

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
AHEAD_S = 2 * LONGEST_PAUSE_S  # no pause is so long: a time further ahead was written before the clock was put back
__all__ = ["Claim", "LostLease", "claim", "claim_of", "fail", "finish", "growing_pause_s", "put_back", "renew", "retry"]
Row = TypeVar("Row", Job, Delivery, Message, BulkJob)
Leased = type[Job] | type[Delivery] | type[Message] | type[BulkJob]


@dataclass(frozen=True)
class Claim:
    """What proves that a row is held."""

    id: int
    attempts: int
    claimed_by: str


def claim_of(row: Job | Delivery | Message | BulkJob) -> Claim:
    """Return the proof of a row that ``claim`` gave."""
    return Claim(row.id, row.attempts, row.claimed_by)


def claim(store: Store, table: type[Row], *, worker: str, lease_s: float, where: ColumnElement[bool] | None = None) -> Row | None:
    """Take the most urgent row that is due, then the oldest, for ``lease_s``; None when nothing is.

    A row whose holder went silent is taken over, again and again: it is for the caller to look at ``attempts`` and end
    what kills every worker.
    """
    now = time.time()
    with store.reading() as session:  # an idle worker asks often: it must not make writers wait
        if _next(session, table, now, lease_s, where) is None:
            return None
    with store.session() as session:
        now = time.time()  # it may have waited for other writers: a lease begins when it is written
        row = _next(session, table, now, lease_s, where)
        if row is not None:
            row.state = "running"
            row.attempts += 1
            row.claimed_by = f"{worker[:48]}:{secrets.token_hex(7)}"
            row.lease_until = now + lease_s
    return row


def renew(store: Store, table: Leased, claim: Claim, lease_s: float) -> bool:
    """Hold a row for ``lease_s`` from now; False when it was lost."""
    with store.session() as session:
        return _change(session, table, claim, lease_until=time.time() + lease_s)


def finish(session: Session, table: Leased, claim: Claim, state: str = "done", reason: str = "") -> None:
    """End a row inside the caller's transaction. Raises LostLease: let the transaction fail."""
    if not _change(session, table, claim, state=state, finished_at=time.time(), lease_until=0.0, reason=reason):
        raise _lost()


def fail(
    store: Store, table: Leased, claim: Claim, reason: str, *, max_attempts: int, permanent: bool = False,
    pause_s: Callable[[int], float] | None = None,
) -> Literal["queued", "quarantined"]:  # fmt: skip
    """Note why an attempt failed, and queue it again after a pause, or quarantine it: raises LostLease.

    It is quarantined when ``permanent`` or after ``max_attempts``, where 0 means never.
    """
    ended = permanent or 0 < max_attempts <= claim.attempts
    now = time.time()
    changes: dict[str, Any] = (
        {"state": "quarantined", "finished_at": now} if ended
        else {"state": "queued", "not_before": now + (pause_s or growing_pause_s)(claim.attempts)}
    )  # fmt: skip
    with store.session() as session:
        if not _change(session, table, claim, lease_until=0.0, reason=reason, **changes):
            raise _lost()
    return "quarantined" if ended else "queued"


def put_back(store: Store, table: Leased, claim: Claim, reason: str, *, pause_s: float = 0.0) -> None:
    """Return a row to its place, at once or after a pause, without counting the try. Raises LostLease."""
    not_before = time.time() + pause_s if pause_s else 0.0
    with store.session() as session:
        if not _change(session, table, claim, state="queued", lease_until=0.0, reason=reason, attempts=claim.attempts - 1,
                       not_before=not_before):
            raise _lost()


def retry(
    store: Store, table: Leased, *, ids: Collection[int] | None = None, where: ColumnElement[bool] | None = None
) -> int:
    """Queue for now what is quarantined and what pauses after a failure; return how many. What runs is left alone."""
    wanted = or_(table.state == "quarantined", and_(table.state == "queued", table.not_before > time.time()))
    if ids is not None:
        wanted = and_(wanted, table.id.in_(ids))
    if where is not None:
        wanted = and_(wanted, where)
    with store.session() as session:
        return _count(session.execute(
            update(table).where(wanted).values(state="queued", attempts=0, not_before=0.0, finished_at=None),
            execution_options={"synchronize_session": False},
        ))  # fmt: skip


def growing_pause_s(attempts: int) -> float:
    """Return 5 s doubled with every attempt, up to an hour, less up to a half so that many do not come back together."""
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(attempts - 1, 20))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311  no secret


def _next(session: Session, table: type[Row], now: float, lease_s: float, where: ColumnElement[bool] | None) -> Row | None:
    """Return the row to take, locked against other claims. Index (state, …, priority, id) answers each statement."""
    also = (true() if where is None else where,)
    ahead = now + max(AHEAD_S, 2 * lease_s)
    queued = and_(table.state == "queued", or_(table.not_before <= now, table.not_before > ahead), *also)
    silent = and_(table.state == "running", or_(table.lease_until <= now, table.lease_until > ahead), *also)
    found: list[Row] = []
    urgency = session.scalar(select(table.priority).where(queued).order_by(table.priority.desc()).limit(1))
    for rows in (and_(queued, table.priority == urgency), silent):
        best = select(table).where(rows).order_by(table.priority.desc(), table.id).limit(1)
        found += session.scalars(best.with_for_update(skip_locked=True))
    return min(found, key=lambda row: (-row.priority, row.id), default=None)


def _change(session: Session, table: Leased, claim: Claim, **values: Any) -> bool:
    change = update(table).where(table.id == claim.id, table.state == "running", table.claimed_by == claim.claimed_by,
                                 table.attempts == claim.attempts)
    return _count(session.execute(change.values(**values), execution_options={"synchronize_session": False})) == 1


def _count(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0


def _lost() -> LostLease:
    return LostLease("The lease ran out and another process took over. What was made here is dropped; nothing is to be done.")
