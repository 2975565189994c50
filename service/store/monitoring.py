"""The rows of remote monitoring: what was measured as it stands, what each model said last, and the alerts.

What is heard is written first, and the rows of the models concerned become due in the same transaction; whoever follows
them reads, scores, and writes back only if nothing was heard meanwhile. A process that dies in between leaves them due.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from service.store.ehr_tables import Alert, Measurement, Watched
from service.store.engine import lock
from service.store.filing import add_new
from service.store.store import Store

Json = dict[str, Any]
COUNTED = frozenset({"final", "amended", "corrected"})
# Of two versions that say no time, the one that takes more back counts, whichever came first.
RANK = {"entered-in-error": 4, "cancelled": 4, "data-absent": 4, "corrected": 3, "amended": 2, "final": 1}
MOST_ALERTS = 1000
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class Heard:
    """One value of an Observation that was sent, or that it is taken back (``status`` not in COUNTED)."""

    subject: str = field(repr=False)
    source: str = field(repr=False)  # "Observation/1", or what else tells it from others
    identifier: str = field(repr=False)
    code: str
    value: float
    at: float
    status: str
    version: float  # when it was last updated or issued; 0: it does not say


@dataclass(frozen=True)
class Change:
    """What following one model's word on one person came to, to be written at once or not at all."""

    state: str  # calm | alert | no_data
    value: float | None
    scored_until: float
    below_since: float | None
    due_at: float | None
    detail: Json
    raised: Json | None = None  # the detail of a new alert
    cleared: str = ""  # why the alert ends
    silent: Json | None = None  # the detail of a new alert that no data come
    heard_again: str = ""  # why that one ends


@dataclass(frozen=True)
class Standing:
    """One alert as people see it. ``kind``: ``risk``, or ``no_data`` when what it rests on stopped coming."""

    id: int
    subject: str = field(repr=False)
    model: str
    kind: str
    raised_at: float
    cleared_at: float | None
    reason: str
    detail: Json = field(repr=False)
    episode: str


def hear(store: Store, heard: Sequence[Heard], models: Mapping[str, Collection[str]], *, now: float,
         traits: Mapping[str, Json] | None = None) -> set[tuple[str, str]]:
    """Write what was heard; return the (subject, model) that became due. ``models``: name → codes it rests on.

    ``traits``: subject → what is known of the person, merged into the row. What changes nothing makes nothing due.
    """
    due: set[tuple[str, str]] = set()
    with store.session() as session:
        lock(session)
        for subject in sorted({one.subject for one in heard}):
            changed = _write(session, subject, [one for one in heard if one.subject == subject], now)
            for name, rests_on in sorted(models.items()):
                since = min((at for code, at in changed.items() if code in rests_on), default=None)
                if since is not None:
                    _wake(session, subject, name, (traits or {}).get(subject, {}), since, now)
                    due.add((subject, name))
    return due


def take_back(store: Store, source: str, models: Mapping[str, Collection[str]], *, now: float) -> set[tuple[str, str]]:
    """Withdraw what was heard from a source that was deleted, whoever it was about; return what became due."""
    with store.reading() as session:
        rows = session.execute(select(Measurement.subject, Measurement.code, Measurement.at).where(
            Measurement.source == source, Measurement.status.in_(COUNTED))).all()
    gone = [Heard(subject, source, "", code, 0.0, at, "entered-in-error", 0.0) for subject, code, at in rows]
    return hear(store, gone, models, now=now) if gone else set()


def _write(session: Session, subject: str, heard: Sequence[Heard], now: float) -> dict[str, float]:
    """Merge into the rows of one subject; return the codes whose values changed, and from which time on."""
    names = {one.identifier for one in heard} - {""}
    mine = select(Measurement).where(Measurement.subject == subject, or_(
        Measurement.source.in_({one.source for one in heard}), Measurement.identifier.in_(names)))
    known = _Known(session.scalars(mine))
    told: dict[str, set[str]] = {}
    for one in heard:
        told.setdefault(one.source, set()).add(one.code)
    changed: dict[str, float] = {}

    def change(code: str, *times: float) -> None:
        changed[code] = min(*times, changed.get(code, times[0]))

    for one in heard:
        same = known.same(one)
        row = next((row for row in same if row.part == one.code), None)
        if row is None:
            row = Measurement(subject=subject, part=one.code, code=one.code, received_at=now, **_values(one))
            session.add(row)
            known.add(row)
            if one.status in COUNTED:
                change(one.code, one.at)
        elif _wins(one, row):
            if (row.value, row.at, row.status in COUNTED) != (one.value, one.at, one.status in COUNTED):
                change(one.code, one.at, row.at)
            for name, value in _values(one).items():
                setattr(row, name, value)
            row.received_at = now
            known.add(row)  # under the names it has now
        for other in same:  # a correction that measures something else takes back what it measured before
            if other.part not in told[one.source] and other.status in COUNTED and _newer(one, other):
                other.status = "entered-in-error"
                change(other.code, other.at)
    session.flush()
    return changed


class _Known:
    """The rows of one subject by their sources and identifiers, so that thousands at once are found without a search."""

    def __init__(self, rows: Iterable[Measurement]) -> None:
        self._places: dict[int, int] = {}
        self._named: dict[tuple[str, str], dict[int, Measurement]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Measurement) -> None:
        """Note a row under its names; one that was known stays where it was."""
        place = self._places.setdefault(id(row), len(self._places))
        for name in (("source", row.source), ("identifier", row.identifier)):
            if name[1]:
                self._named.setdefault(name, {})[place] = row

    def same(self, one: Heard) -> list[Measurement]:
        """Return the rows of this Observation, in the order in which they became known."""
        found = self._named.get(("source", one.source), {}) | self._named.get(("identifier", one.identifier), {})
        return [found[place] for place in sorted(found)
                if found[place].source == one.source or (one.identifier and found[place].identifier == one.identifier)]


def _values(one: Heard) -> Json:
    return {"source": one.source, "identifier": one.identifier, "value": one.value, "at": one.at, "status": one.status,
            "version": one.version}


def _newer(one: Heard, row: Measurement) -> bool:
    return not (one.version and row.version) or one.version >= row.version


def _wins(one: Heard, row: Measurement) -> bool:
    """Tell whether a version replaces the one that is there; told by their stamps this does not depend on their order."""
    new, old = RANK.get(one.status, 0), RANK.get(row.status, 0)
    if one.version and row.version:
        return (one.version, new, one.value) > (row.version, old, row.value)
    return new >= old


def _wake(session: Session, subject: str, model: str, traits: Json, since: float, now: float) -> None:
    """Make a row due; ``since``: the measurements from then on changed."""
    add_new(session.connection(), Watched, [{
        "subject": subject, "model": model, "state": "no_data", "alert_id": None, "scored_until": 0.0, "value": None,
        "below_since": None, "due_at": now, "detail": {"since": now}, "changed_at": now,
    }])
    row = session.get(Watched, (subject, model), populate_existing=True)
    assert row is not None  # it was added, or was there
    began = {"since": now} if row.due_at is None else {}  # monitoring had ended, and begins again
    earlier = float(row.detail.get("changed_from") or since)
    row.due_at, row.detail = now, {**row.detail, **began, **traits, "changed_from": min(since, earlier)}
    row.changed_at = max(now, row.changed_at + 1e-6)  # who scored without this one must look again


def due(store: Store, now: float, limit: int = 100) -> list[tuple[str, str]]:
    """Return the (subject, model) whose readings are not scored yet, or whose silence must be noticed."""
    with store.reading() as session:
        waiting = select(Watched.subject, Watched.model).where(Watched.due_at <= now).order_by(Watched.due_at)
        return [(subject, model) for subject, model in session.execute(waiting.limit(limit))]


def look(store: Store, subject: str, model: str, codes: Collection[str], since: float) -> tuple[Watched | None, list[Measurement]]:
    """Return what a model said last of a person and what counts since a time, one value a code and instant, by time."""
    with store.reading() as session:
        row = session.get(Watched, (subject, model))
        found = session.scalars(select(Measurement).where(
            Measurement.subject == subject, Measurement.code.in_(codes), Measurement.at >= since, Measurement.status.in_(COUNTED),
        ).order_by(Measurement.at, Measurement.code, Measurement.version, Measurement.value))
        values = {(one.code, round(one.at)): one for one in found}  # from two feeds: the newest version
    return row, sorted(values.values(), key=lambda one: (one.at, one.code))


def postpone(store: Store, subject: str, model: str, until: float, *, now: float) -> None:
    """Let others who are due come first; what is heard meanwhile makes the row due at once."""
    with store.session() as session:
        session.execute(update(Watched).where(Watched.subject == subject, Watched.model == model, Watched.due_at <= now)
                        .values(due_at=until), execution_options=_UNSYNCHRONISED)


def newest(store: Store, subject: str, codes: Collection[str]) -> float | None:
    """Return the time of the latest measurement that counts."""
    with store.reading() as session:
        return session.scalar(select(func.max(Measurement.at)).where(
            Measurement.subject == subject, Measurement.code.in_(codes), Measurement.status.in_(COUNTED)))


def settle(session: Session, expected: Watched, change: Change, now: float) -> tuple[Alert, ...] | None:
    """Write a change inside the caller's transaction, unless the row changed since it was read: then None.

    Return the alerts that were raised or cleared, in the order risk, silence.
    """
    same = (Watched.subject == expected.subject, Watched.model == expected.model, Watched.changed_at == expected.changed_at)
    touched: list[Alert] = []
    detail, alert_id = dict(change.detail), expected.alert_id
    done: Any = session.execute(update(Watched).where(*same).values(changed_at=max(now, expected.changed_at + 1e-6)),
                                execution_options=_UNSYNCHRONISED)
    if done.rowcount != 1:
        return None
    if change.cleared and alert_id is not None:
        touched.append(_end(session, alert_id, change.cleared, now))
        alert_id = None
    if change.raised is not None:
        alert = _begin(session, expected, "risk", change.raised, now)
        touched.append(alert)
        alert_id = alert.id
    if change.heard_again and detail.get("silence_id") is not None:
        touched.append(_end(session, detail.pop("silence_id"), change.heard_again, now))
    if change.silent is not None:
        alert = _begin(session, expected, "no_data", change.silent, now)
        touched.append(alert)
        detail["silence_id"] = alert.id
    session.execute(update(Watched).where(Watched.subject == expected.subject, Watched.model == expected.model).values(
        state=change.state, alert_id=alert_id, scored_until=change.scored_until, value=change.value,
        below_since=change.below_since, due_at=change.due_at, detail=detail), execution_options=_UNSYNCHRONISED)
    return tuple(touched)


def _begin(session: Session, watched: Watched, kind: str, detail: Json, now: float) -> Alert:
    before = session.scalar(select(func.count()).select_from(Alert).where(
        Alert.subject == watched.subject, Alert.model == watched.model))
    about = "\x1f".join((watched.subject, watched.model, kind, str(before)))
    alert = Alert(subject=watched.subject, model=watched.model, episode=hashlib.sha256(about.encode()).hexdigest(), raised_at=now,
                  cleared_at=None, reason="", detail={**detail, "kind": kind})
    session.add(alert)
    session.flush()
    return alert


def _end(session: Session, alert_id: int, reason: str, now: float) -> Alert:
    alert = session.get_one(Alert, alert_id)
    alert.cleared_at, alert.reason = now, reason
    session.flush()
    return alert


def open_alerts(store: Store, subject: str) -> list[Standing]:
    """Return what stands about a person, the latest first: risks, and that nothing is heard any more."""
    return alerts_of(store, subject=subject, active=True)


def alerts_of(store: Store, *, subject: str = "", active: bool | None = None, limit: int = MOST_ALERTS) -> list[Standing]:
    """Return alerts, the latest first."""
    wanted = select(Alert)
    if subject:
        wanted = wanted.where(Alert.subject == subject)
    if active is not None:
        wanted = wanted.where(Alert.cleared_at.is_(None) if active else Alert.cleared_at.is_not(None))
    with store.reading() as session:
        rows = session.scalars(wanted.order_by(Alert.raised_at.desc(), Alert.id.desc()).limit(limit))
        return [standing(row) for row in rows]


def standing(row: Alert) -> Standing:
    """Return an alert as people see it."""
    return Standing(row.id, row.subject, row.model, row.detail.get("kind", "risk"), row.raised_at, row.cleared_at, row.reason,
                    row.detail, row.episode)


def states(store: Store) -> dict[str, int]:
    """Count the watched by state, for status and metrics."""
    with store.reading() as session:
        rows = session.execute(select(Watched.state, func.count()).group_by(Watched.state))
        return {row[0]: row[1] for row in rows}


def prune_measurements(store: Store, older_than_s: float, *, now: float | None = None) -> int:
    """Remove measurements older than that, and whom nothing was heard of since; return how many measurements."""
    before = (time.time() if now is None else now) - older_than_s
    with store.session() as session:
        lock(session)
        done: Any = session.execute(delete(Measurement).where(Measurement.at < before), execution_options=_UNSYNCHRONISED)
        heard = select(Measurement.subject)
        session.execute(delete(Watched).where(Watched.due_at.is_(None), Watched.alert_id.is_(None), Watched.subject.not_in(heard)),
                        execution_options=_UNSYNCHRONISED)
        return int(done.rowcount)
