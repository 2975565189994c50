"""Looking into the audit: by actor, action and time, page by page; and who did what to one person, by one indexed query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, text, tuple_
from sqlalchemy.orm import Session

from service.store.audit import Line, lines_of
from service.store.review_tables import AuditLine, AuditPerson

PAGE = 100
MOST_ACTORS = 300
_ACTORS = text("""
    WITH RECURSIVE known(actor) AS (
        SELECT min(actor) FROM audit
        UNION ALL SELECT (SELECT min(actor) FROM audit WHERE actor > known.actor) FROM known WHERE known.actor IS NOT NULL)
    SELECT actor, (SELECT actor_name FROM audit AS one WHERE one.actor = known.actor ORDER BY id DESC LIMIT 1)
    FROM known WHERE actor IS NOT NULL LIMIT :most""")


@dataclass(frozen=True)
class Query:
    """What is looked for; "" and None are anything. Times are seconds since 1970, ``until`` is not included."""

    actor: str = ""
    action: str = ""
    outcome: str = ""
    since: float | None = None
    until: float | None = None


@dataclass(frozen=True)
class Found:
    """Lines, the newest first; ``older`` is the number to ask before for more, 0 when there is none."""

    lines: tuple[Line, ...]
    older: int = 0


def search(session: Session, query: Query, *, before: int = 0, limit: int = PAGE) -> Found:
    """Return lines, those of before a number where it is given."""
    asked = select(AuditLine)
    filters = ((AuditLine.actor, query.actor), (AuditLine.action, query.action), (AuditLine.outcome, query.outcome))
    for column, value in filters:
        if value:
            asked = asked.where(column == value)
    if query.until is not None:
        asked = asked.where(AuditLine.at < query.until)
    if query.since is not None:
        asked = asked.where(AuditLine.at >= query.since)
    # Lines that waited for the store are older than their number says. By time alone the index of times leads to the page
    # at once; with a filter that filter's index does, in the order of the numbers.
    by_time = (query.since is not None or query.until is not None) and not any(value for _, value in filters)
    order = (AuditLine.at.desc(), AuditLine.id.desc()) if by_time else (AuditLine.id.desc(),)
    if before and by_time:
        anchor = select(AuditLine.at).where(AuditLine.id == before).scalar_subquery()
        asked = asked.where(tuple_(AuditLine.at, AuditLine.id) < tuple_(anchor, before))
    elif before:
        asked = asked.where(AuditLine.id < before)
    return _found(lines_of(session.scalars(asked.order_by(*order).limit(limit + 1))), limit)


def about(session: Session, persons: Sequence[str], *, before: int = 0, limit: int = PAGE) -> Found:
    """Return the lines about a person, known by any of their keys."""
    numbers = select(AuditPerson.line_id).where(AuditPerson.person.in_(persons)).distinct()
    if before:
        numbers = numbers.where(AuditPerson.line_id < before)
    newest = numbers.order_by(AuditPerson.line_id.desc()).limit(limit + 1).subquery()
    asked = select(AuditLine).join(newest, newest.c.line_id == AuditLine.id).order_by(AuditLine.id.desc())
    return _found(lines_of(session.scalars(asked)), limit)


def actors(session: Session, limit: int = MOST_ACTORS) -> list[tuple[str, str]]:
    """List who has done anything, with the name they had last. The index is leapt through, not read."""
    return [(actor, name or "") for actor, name in session.execute(_ACTORS, {"most": limit})]


def line(session: Session, number: int) -> Line | None:
    """Return one line."""
    return next(iter(lines_of(session.scalars(select(AuditLine).where(AuditLine.id == number)))), None)


def last_of(session: Session, action: str) -> Line | None:
    """Return the last line of an action."""
    return next(iter(search(session, Query(action=action), limit=1).lines), None)


def _found(lines: list[Line], limit: int) -> Found:
    kept = tuple(lines[:limit])
    return Found(kept, kept[-1].id if len(lines) > limit else 0)
