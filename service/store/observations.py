"""Observations in the store: what is watched of each result, kept for some weeks and erased with whom it is about."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.store.filing import add_new, fit
from service.store.store import Store
from service.store.trust_tables import GoldenStudy, Observation

_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class NewObservation:
    """One observation; see the table. ``target``: id of the result, key of the risk."""

    release: str
    kind: str
    target: str
    status: str
    reason: str
    seconds: float
    said: dict[str, Any] = field(repr=False)
    statistics: dict[str, float] = field(repr=False)
    groups: dict[str, str] = field(repr=False)
    observed_at: float


def add(session: Session, new: Sequence[NewObservation]) -> None:
    """Write observations inside the caller's transaction. One of the same result is there once."""
    add_new(session.connection(), Observation, [{**vars(one), "reason": fit(one.reason, 64)} for one in new])


def releases(store: Store) -> list[str]:
    """Return the releases that anything was observed of, by id."""
    with store.reading() as session:
        return sorted(session.scalars(select(Observation.release).distinct()))


def between(store: Store, release: str, begin: float, end: float) -> list[Observation]:
    """Return the observations of a release of some time, the earliest first."""
    when = (Observation.observed_at >= begin, Observation.observed_at < end)
    wanted = select(Observation).where(Observation.release == release, *when)
    with store.reading() as session:
        return list(session.scalars(wanted.order_by(Observation.observed_at, Observation.id)))


def first(store: Store, release: str, count: int) -> list[Observation]:
    """Return the first results that were given by a release."""
    wanted = select(Observation).where(Observation.release == release, Observation.status.in_(("scored", "refused")))
    with store.reading() as session:
        return list(session.scalars(wanted.order_by(Observation.observed_at, Observation.id).limit(count)))


def earliest(store: Store, release: str) -> float | None:
    """Return when the first observation that is still kept was made."""
    with store.reading() as session:
        return session.scalar(select(func.min(Observation.observed_at)).where(Observation.release == release))


def erase(session: Session, kind: str, targets: Collection[str]) -> int:
    """Remove what was observed of results that are erased, and do not score them again at night; return how many."""
    session.execute(delete(GoldenStudy).where(GoldenStudy.kind == kind, GoldenStudy.target.in_(targets)),
                    execution_options=_UNSYNCHRONISED)
    done: Any = session.execute(delete(Observation).where(Observation.kind == kind, Observation.target.in_(targets)),
                                execution_options=_UNSYNCHRONISED)
    return int(done.rowcount)


def prune(store: Store, before: float) -> int:
    """Forget what was observed before a time; days of it stay as counts. Return how many."""
    with store.session() as session:
        done: Any = session.execute(delete(Observation).where(Observation.observed_at < before), execution_options=_UNSYNCHRONISED)
        return int(done.rowcount)
