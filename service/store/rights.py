"""Oppositions and legal holds: who is never scored or used for training, and what is kept whatever else is asked.

Both name a person by keys (service/persons_keys.py) or one study by a keyed hash of its UID, so that they outlive an erasure
and name nobody by themselves. What ended is kept as history.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from weakref import WeakKeyDictionary

from sqlalchemy import ColumnElement, event, or_, select, update
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.review_tables import Hold, Opposition
from service.store.store import Store

Scope = Literal["scoring", "training", "both"]
SCOPES: tuple[Scope, ...] = ("scoring", "training", "both")
LOOKED_S = 1.0
_UNSYNCHRONISED = {"synchronize_session": False}
_NOBODY: WeakKeyDictionary[Any, float] = WeakKeyDictionary()  # database → until when nobody is known to oppose anything


@dataclass(frozen=True)
class Standing:
    """One opposition or hold. ``scope`` is "" for a hold; ``reason`` is "" for an opposition."""

    id: int
    kind: Literal["opposition", "hold"]
    person: str
    study: str
    by: str
    made_at: float
    ended_at: float | None
    scope: str = ""
    reason: str = field(default="", repr=False)


def study_key(store: Store, uid: str) -> str:
    """Return what a study is known by in oppositions and holds."""
    return store.pseudonym(f"study\x1f{uid}")


def opposes(store: Store, *, persons: Collection[str], study_uid: str = "", purpose: Literal["scoring", "training"]) -> bool:
    """Tell whether one of a person's keys, or a study, must not be used for a purpose."""
    with store.reading() as session:
        return opposes_in(session, persons=persons, study=study_key(store, study_uid) if study_uid else "", purpose=purpose)


def nobody_opposes(store: Store) -> bool:
    """Tell whether no opposition stands at all, as of this moment in this process and as of a second ago of others.

    So that what is asked often does not look each time for what most stores hold none of.
    """
    now = time.monotonic()
    if _NOBODY.get(store.engine, 0.0) > now:
        return True
    with store.reading() as session:
        stands = session.scalar(select(Opposition.id).where(Opposition.ended_at.is_(None)).limit(1)) is not None
    if not stands:
        _NOBODY[store.engine] = now + LOOKED_S
    return not stands


def opposes_in(session: Session, *, persons: Collection[str], study: str = "", purpose: Literal["scoring", "training"]) -> bool:
    """Do as ``opposes`` in the caller's transaction; ``study`` is its key."""
    stands = (Opposition.ended_at.is_(None), Opposition.scope.in_((purpose, "both")))
    return _stands(session, Opposition, persons, study, stands)


def is_held(session: Session, *, persons: Collection[str], studies: Collection[str] = ()) -> bool:
    """Tell whether a legal hold stands on one of a person's keys or on one of some studies (their keys)."""
    return any(_stands(session, Hold, persons if not place else (), study, (Hold.ended_at.is_(None),))
               for place, study in enumerate(studies or ("",)))


def oppose(session: Session, *, persons: Collection[str] = (), study: str = "", scope: Scope, by: str) -> int:
    """Write an opposition of a person, under each of their keys, or of a study; return how many rows are new."""
    engine = session.get_bind()
    event.listen(session, "after_commit", lambda _: _NOBODY.pop(engine, None))
    return _write(session, Opposition, persons, study, {"scope": scope, "by": by})


def hold(session: Session, *, persons: Collection[str] = (), study: str = "", reason: str, by: str) -> int:
    """Write a legal hold on a person, under each of their keys, or on a study; return how many rows are new."""
    return _write(session, Hold, persons, study, {"reason": reason, "by": by})


def end(session: Session, kind: Literal["opposition", "hold"], *, persons: Collection[str] = (), study: str = "") -> int:
    """End what stands of a person, under any of their keys, or of a study; return how many rows. They are kept as history."""
    table = Opposition if kind == "opposition" else Hold
    if (named := _named(table, persons, study)) is None:
        return 0
    lock(session)
    done: Any = session.execute(update(table).where(named, table.ended_at.is_(None)).values(ended_at=time.time()),
                                execution_options=_UNSYNCHRONISED)
    return int(done.rowcount)


def standings(session: Session, *, persons: Collection[str] | None = None, study: str = "", ended: bool = False,
              limit: int = 1000) -> list[Standing]:
    """Return what stands, the latest first: of a person or a study, or of everybody; ``ended`` adds what has ended."""
    found: list[Standing] = []
    for table in (Opposition, Hold):
        wanted: Any = select(table).order_by(table.made_at.desc(), table.id.desc()).limit(limit)
        if persons is not None or study:
            if (named := _named(table, persons or (), study)) is None:
                continue
            wanted = wanted.where(named)
        if not ended:
            wanted = wanted.where(table.ended_at.is_(None))
        found += [_standing(row) for row in session.scalars(wanted)]
    return sorted(found, key=lambda one: -one.made_at)[:limit]


def holds_persons(session: Session) -> bool:
    """Tell whether any legal hold stands on a person."""
    return session.scalar(select(Hold.id).where(Hold.ended_at.is_(None), Hold.person != "").limit(1)) is not None


def _stands(session: Session, table: type[Opposition | Hold], persons: Collection[str], study: str,
            stands: Sequence[ColumnElement[bool]]) -> bool:
    named = _named(table, persons, study)
    return named is not None and session.scalar(select(table.id).where(named, *stands).limit(1)) is not None


def _named(table: type[Opposition | Hold], persons: Collection[str], study: str) -> ColumnElement[bool] | None:
    wanted: list[ColumnElement[bool]] = []
    if keys := [one for one in persons if one]:
        wanted.append(table.person.in_(keys))
    if study:
        wanted.append(table.study == study)
    return or_(*wanted) if wanted else None


def _write(session: Session, table: type[Opposition | Hold], persons: Collection[str], study: str, values: dict[str, Any]) -> int:
    """Add rows; one that stands already, of the same scope, stays as it is."""
    lock(session)
    now, added = time.time(), 0
    named = [(one, "") for one in dict.fromkeys(persons) if one] + ([("", study)] if study else [])
    for person, about in named:
        there = select(table.id).where(table.person == person, table.study == about, table.ended_at.is_(None))
        if table is Opposition:
            there = there.where(Opposition.scope == values["scope"])
        if session.scalar(there.limit(1)) is None:
            session.add(table(person=person, study=about, made_at=now, ended_at=None, **values))
            added += 1
    session.flush()
    return added


def _standing(row: Opposition | Hold) -> Standing:
    opposition = isinstance(row, Opposition)
    return Standing(row.id, "opposition" if opposition else "hold", row.person, row.study, row.by, row.made_at, row.ended_at,
                    scope=row.scope if isinstance(row, Opposition) else "", reason=row.reason if isinstance(row, Hold) else "")
