"""Standings in the store: every change of what a release does here, only ever added; the last one of a release holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.store import Store
from service.store.trust_tables import Alarm, Standing

Json = dict[str, Any]
Does = Literal["live", "shadow", "off"]


@dataclass(frozen=True)
class NewStanding:
    """A change about to be written. ``detail`` holds the hash of the manifest it is for, and what it rests on."""

    name: str
    release: str
    state: Does
    actor: Json = field(repr=False)
    actor_subject: str
    since: float
    signoff: int | None = None
    reason: str = ""
    against_advice: bool = False
    detail: Json = field(default_factory=dict)


class StandingConflict(Exception):
    """Somebody else changed what releases do since one looked."""


def newest(store: Store) -> int:
    """Return the number of the newest change, 0 before the first: what tells cheaply whether anything changed."""
    with store.reading() as session:
        return session.scalar(select(func.max(Standing.id))) or 0


def latest(store: Store) -> dict[str, Standing]:
    """Return the change that holds of each release."""
    last = select(func.max(Standing.id)).group_by(Standing.release)
    with store.reading() as session:
        return {one.release: one for one in session.scalars(select(Standing).where(Standing.id.in_(last)).order_by(Standing.id))}


def history(store: Store, name: str = "") -> list[Standing]:
    """Return every change of the releases of a name, or of all, the earliest first."""
    wanted = select(Standing).order_by(Standing.id)
    with store.reading() as session:
        return list(session.scalars(wanted.where(Standing.name == name) if name else wanted))


def change(session: Session, changes: Sequence[NewStanding], *, seen: int) -> list[Standing]:
    """Write changes inside the caller's transaction. ``seen`` is the newest change their author knew of: two at once are one
    change and one StandingConflict."""
    lock(session)
    if (session.scalar(select(func.max(Standing.id))) or 0) != seen:
        raise StandingConflict
    rows = [Standing(**vars(one)) for one in changes]
    session.add_all(rows)
    session.flush()
    return rows


def open_alarms(store: Store, release: str) -> int:
    """Count what is watched of a release and is not as it was."""
    with store.reading() as session:
        return session.scalar(select(func.count()).select_from(Alarm).where(Alarm.release == release, Alarm.closed_at.is_(None))) or 0
