"""Watching in the store: days as counts, what was last found of each release, whose turn it is, and what people said."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.filing import add_new
from service.store.review_tables import Verdict
from service.store.store import Store
from service.store.trust_tables import Signoff, WatchDay, WatchState, WatchTurn

Json = dict[str, Any]


@dataclass(frozen=True)
class Judgement:
    """A verdict in force: when, whether it agrees, by what it is counted, and the findings it speaks of."""

    release: str
    made_at: float
    decision: str
    counted_by: Json
    findings: list[Json] = field(repr=False)


def take_turn(store: Store, name: str, holder: str, lease_s: float) -> float | None:
    """Be the one who does this for so long; return when it was last done to its end (0: never), None when another does it."""
    now = time.time()
    with store.session() as session:
        lock(session)
        add_new(session.connection(), WatchTurn, [{"name": name, "holder": "", "until": 0.0, "done_at": 0.0}])
        row = session.get_one(WatchTurn, name, populate_existing=True)
        if row.holder != holder and now < row.until <= now + 2 * lease_s:
            return None
        row.holder, row.until = holder, now + lease_s
        return row.done_at


def done(store: Store, name: str, holder: str) -> None:
    """Say that it was done to its end, and let another do it next."""
    with store.session() as session:
        row = session.get(WatchTurn, name)
        if row is not None and row.holder == holder:
            row.done_at, row.until = time.time(), 0.0


def done_at(store: Store, name: str) -> float:
    """Return when it was last done to its end, 0 for never."""
    with store.reading() as session:
        row = session.get(WatchTurn, name)
        return row.done_at if row else 0.0


def days(store: Store, release: str, since: str = "") -> dict[str, Json]:
    """Return ISO date → counts of a release, the earliest first."""
    wanted = select(WatchDay.day, WatchDay.counts).where(WatchDay.release == release, WatchDay.day >= since)
    with store.reading() as session:
        return {one.day: one.counts for one in session.execute(wanted.order_by(WatchDay.day))}


def put_days(store: Store, release: str, counted: Mapping[str, Json]) -> None:
    """Write days anew."""
    with store.session() as session:
        lock(session)
        rows = {one.day: one for one in session.scalars(
            select(WatchDay).where(WatchDay.release == release, WatchDay.day.in_(list(counted))))}
        for day, counts in counted.items():
            if day in rows:
                rows[day].counts = counts
            else:
                session.add(WatchDay(release=release, day=day, counts=counts))


def states(store: Store) -> dict[str, WatchState]:
    """Return what was last found, by release."""
    with store.reading() as session:
        return {one.release: one for one in session.scalars(select(WatchState).order_by(WatchState.release))}


def put_state(session: Session, release: str, *, found: Json | None = None, reference: Json | None = None) -> None:
    """Write what was found of a release, or the reference of its first results, inside the caller's transaction."""
    row = session.get(WatchState, release)
    if row is None:
        row = WatchState(release=release, reference={}, found={}, looked_at=0.0)
        session.add(row)
    if found is not None:
        row.found, row.looked_at = found, time.time()
    if reference is not None:
        row.reference = reference


def signed_report(store: Store, release: str, manifest_sha256: str) -> Json | None:
    """Return the commissioning that the latest accepted sign-off of this very release rests on."""
    wanted = select(Signoff.report).where(Signoff.release == release, Signoff.manifest_sha256 == manifest_sha256,
                                          Signoff.decision == "accepted")
    with store.reading() as session:
        return session.scalars(wanted.order_by(Signoff.id.desc()).limit(1)).first()


def judgements(store: Store, release: str) -> list[Judgement]:
    """Return the verdicts in force on results of a release, the earliest first."""
    wanted = select(Verdict).where(Verdict.model == release, Verdict.content["effect"].as_string() != "").order_by(Verdict.number)
    latest: dict[tuple[str, int], Verdict] = {}
    with store.reading() as session:
        for row in session.scalars(wanted):
            latest[row.target_kind, row.target_id] = row
    found = [Judgement(row.model, row.made_at, row.decision, row.counted_by, list(row.content.get("findings", ())))
             for row in latest.values()]
    return sorted(found, key=lambda one: one.made_at)
