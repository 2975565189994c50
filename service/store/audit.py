"""The audit in the store: lines that are only ever added, each carrying a keyed hash of itself and of the line before.

Who can write to the database but does not know the store's secret can change, drop or insert no line without ``check``
naming it. Cutting off the end shows by the head, which is kept outside the database (service/audit/head.py). Who has the
secret too can write another history: only what was sent elsewhere, or the head copied elsewhere, then tells.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import delete, event, func, insert, select, text
from sqlalchemy.orm import Session

from service.store.review_tables import AuditCursor, AuditLine, AuditPerson
from service.store.store import Store

Outcome = Literal["success", "denied", "failed"]
FIRST = "0" * 64  # what stands for the line before the first
START = "start"  # the cursor that says where the chain begins since older lines were pruned
BATCH = 1000
_LOCK = 0x_D1A9_A0D1  # the number of the chain's own advisory lock on PostgreSQL: taken last, so that nobody waits in a circle
_PENDING, _TOLD = "audit_pending", "audit_told"


@dataclass(frozen=True)
class NewLine:
    """One thing that was done, before it has its place in the chain."""

    at: float
    actor: str
    action: str
    actor_name: str = ""
    roles: str = ""  # with blanks between, sorted
    kind: str = ""
    item: str = ""
    persons: tuple[str, ...] = ()
    outcome: Outcome = "success"
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """One line of the audit."""

    id: int
    at: float
    actor: str
    actor_name: str
    roles: str
    action: str
    kind: str
    item: str
    persons: tuple[str, ...]
    outcome: str
    detail: dict[str, Any]
    previous: str
    hash: str


@dataclass(frozen=True)
class End:
    """The last line of the chain: its number and hash; number 0 when there is none."""

    number: int = 0
    hash: str = FIRST


@dataclass(frozen=True)
class Broken:
    """The first line that is not as it was written, and what is wrong with it."""

    number: int
    what: str


def append(session: Session, secret: bytes, lines: Sequence[NewLine], told: Callable[[End], None] | None = None) -> None:
    """Add lines at the end of this transaction: they are there when it is, and not when it fails.

    They are written as the last thing before the commit, under the lock of the chain; ``told`` hears the new end after it.
    """
    if _PENDING not in session.info:
        session.info[_PENDING] = []
        event.listen(session, "before_commit", lambda one: _write(one, secret))
        event.listen(session, "after_commit", _tell)
    session.info[_PENDING] += lines
    session.info[_TOLD] = told


def end_of(session: Session) -> End:
    """Return the last line's number and hash."""
    row = session.execute(select(AuditLine.id, AuditLine.hash).order_by(AuditLine.id.desc()).limit(1)).first()
    return End(*row) if row else End()


def hash_of(line: Line, secret: bytes) -> str:
    """Return what the hash of a line must be: HMAC-SHA256 of everything else of it as canonical JSON."""
    told = {
        "id": line.id, "at": line.at, "actor": line.actor, "actor_name": line.actor_name, "roles": line.roles, "action": line.action,
        "kind": line.kind, "item": line.item, "persons": list(line.persons), "outcome": line.outcome, "detail": line.detail,
        "previous": line.previous,
    }
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hmac.new(_key(secret), canonical.encode(), hashlib.sha256).hexdigest()


def lines(session: Session, *, after: int = 0, limit: int = BATCH) -> list[Line]:
    """Return lines in their order, those after a number."""
    return lines_of(session.scalars(select(AuditLine).where(AuditLine.id > after).order_by(AuditLine.id).limit(limit)))


def count(session: Session) -> int:
    """Return how many lines there are."""
    return session.scalar(select(func.count()).select_from(AuditLine)) or 0


def check(store: Store, head: End, went: Callable[[int], None] = lambda _: None) -> Broken | End:
    """Go through the whole chain; return the first line that is wrong, or the end. ``went`` hears how many lines were read.

    ``head`` is the end as it was written down outside the database; it was read before this begins.
    """
    before, hash_before, anchored = 0, FIRST, head.number == 0
    while True:
        with store.reading() as session:
            batch = lines(session, after=before)
            if batch and not before:
                start = session.get(AuditCursor, START)
                if wrong := _wrong_start(batch[0], start, store.secret):
                    return wrong
                before, hash_before = batch[0].id - 1, batch[0].previous
            indexed = _indexed(session, batch)
        for line in batch:
            if wrong := _wrong(line, before, hash_before, indexed.get(line.id, set()), store.secret):
                return wrong
            before, hash_before = line.id, line.hash
            if line.id == head.number:
                anchored = True
                if line.hash != head.hash:
                    return Broken(line.id, "its hash is not the one that was written down outside the database")
        went(len(batch))
        if len(batch) < BATCH:
            break
    if head.number > before:
        return Broken(before + 1, f"the lines {before + 1} to {head.number} were there and are missing: the end was cut off, or an "
                                  "older copy of the database was restored")
    return End(before, hash_before) if anchored else Broken(head.number, "it was written down outside the database and is missing")


def prune(store: Store, before: float) -> int:
    """Delete the oldest lines, those of before a time, and sign where the chain begins now. The last line always stays."""
    with store.session() as session:
        hold(session)
        end = end_of(session)
        first_kept = session.scalar(select(func.min(AuditLine.id)).where(AuditLine.at >= before)) or end.number
        kept = session.get(AuditLine, min(first_kept, end.number)) if end.number else None
        if kept is None:
            return 0
        start = session.get(AuditCursor, START) or AuditCursor(name=START, line_id=0, hash="", changed_at=before)
        start.line_id, start.hash, start.changed_at = kept.id, _signed_start(kept.id, kept.previous, store.secret), before
        session.add(start)
        session.flush()  # the triggers let nothing go that the start does not exclude
        session.execute(delete(AuditPerson).where(AuditPerson.line_id < kept.id))
        gone = session.execute(delete(AuditLine).where(AuditLine.id < kept.id))
        return int(gone.rowcount)  # type: ignore[attr-defined]  # of a CursorResult


def _write(session: Session, secret: bytes) -> None:
    """Give the pending lines their places."""
    pending: list[NewLine] = session.info[_PENDING]
    if not pending:
        return
    session.info[_PENDING] = []
    session.flush()
    hold(session)
    end = end_of(session)
    rows, persons = [], []
    for new in pending:
        line = Line(end.number + 1, new.at, new.actor, new.actor_name, new.roles, new.action, new.kind, new.item,
                    tuple(dict.fromkeys(new.persons)), new.outcome, new.detail, end.hash, "")
        end = End(line.id, hash_of(line, secret))
        rows.append({
            "id": line.id, "at": line.at, "actor": line.actor, "actor_name": line.actor_name, "roles": line.roles,
            "action": line.action, "kind": line.kind, "item": line.item, "persons": {"keys": list(line.persons)},
            "outcome": line.outcome, "detail": line.detail, "previous": line.previous, "hash": end.hash,
        })
        persons += [{"person": person, "line_id": line.id} for person in line.persons]
    session.execute(insert(AuditLine), rows)
    if persons:
        session.execute(insert(AuditPerson), persons)
    session.info["audit_end"] = end


def _tell(session: Session) -> None:
    end, told = session.info.pop("audit_end", None), session.info.get(_TOLD)
    if end is not None and told is not None:
        told(end)


def hold(session: Session) -> None:
    """Be the only one who lengthens the chain until this transaction ends; on SQLite a writing transaction is."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


def _wrong(line: Line, before: int, hash_before: str, indexed: set[str], secret: bytes) -> Broken | None:
    if line.id != before + 1:
        gap = str(before + 1) if line.id == before + 2 else f"{before + 1} to {line.id - 1}"
        return Broken(before + 1, f"line {gap} is missing: line {line.id} comes next")
    if not hmac.compare_digest(hash_of(line, secret), line.hash):
        return Broken(line.id, "what it says is not what was written" if before or line.previous != FIRST else
                               "what it says is not what was written, or this is not the secret it was written with")
    if line.previous != hash_before:
        return Broken(line.id, "it does not follow the line before it")
    if indexed != set(line.persons):
        return Broken(line.id, "the index of persons does not say whom it is about")
    return None


def _wrong_start(first: Line, start: AuditCursor | None, secret: bytes) -> Broken | None:
    """Tell whether the chain begins where it may: at line 1, or where a signed pruning ended."""
    if start is None or start.line_id < 1:
        if first.id != 1:
            return Broken(1, f"the lines before {first.id} are missing, and no pruning says why")
        return None if first.previous == FIRST else Broken(1, "it does not begin the chain")
    signed = _signed_start(start.line_id, first.previous, secret)
    if first.id != start.line_id or not hmac.compare_digest(signed, start.hash):
        return Broken(first.id, "the chain does not begin where the last pruning ended")
    return None


def _signed_start(number: int, previous: str, secret: bytes) -> str:
    return hmac.new(_key(secret), f"start {number} {previous}".encode(), hashlib.sha256).hexdigest()


def _key(secret: bytes) -> bytes:
    """Return the key of the chain, which is no key of anything else."""
    return hmac.new(secret, b"audit chain", hashlib.sha256).digest()


def _indexed(session: Session, batch: list[Line]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    if batch:
        rows = session.execute(select(AuditPerson.line_id, AuditPerson.person)
                               .where(AuditPerson.line_id.between(batch[0].id, batch[-1].id)))
        for number, person in rows:
            found.setdefault(number, set()).add(person)
    return found


def lines_of(rows: Iterable[AuditLine]) -> list[Line]:
    return [
        Line(row.id, row.at, row.actor, row.actor_name, row.roles, row.action, row.kind, row.item,
             tuple(row.persons.get("keys", ())) if isinstance(row.persons, dict) else (), row.outcome, row.detail,
             row.previous, row.hash)
        for row in rows
    ]
