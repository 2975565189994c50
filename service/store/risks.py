"""Risks that were told: each one row with what it rests on, and its line in the worklist.

The key of a risk is a keyed hash of whom it is about, the release and the input: a repeat is the same row, and a card can
name the address of the page before the row is written.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from service.store import entries
from service.store.ehr_tables import Alert
from service.store.entries import DECIDED, NewEntry
from service.store.filing import add_new
from service.store.monitoring import Standing, standing
from service.store.review_tables import Entry, Risk
from service.store.store import Store

Json = dict[str, Any]
MONITORING = "monitoring"
MOST_POINTS = 200  # of a trend
MOST_PRESENT = 500
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class NewRisk:
    """One risk to be kept; see the table. ``entry``: its line in the worklist, None when it deserves none."""

    key: str
    subject: str = field(repr=False)
    person: str
    encounter: str = field(repr=False)
    department: str
    model: str
    status: str
    reason: str
    value: float | None
    answer: Json = field(repr=False)
    record: Json = field(repr=False)
    patient: Json = field(repr=False)
    moment: float | None
    source: str
    scored_at: float
    card: str = ""
    entry: NewEntry | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Point:
    """One risk of a trend."""

    key: str
    model: str
    status: str
    value: float | None
    moment: float | None
    scored_at: float
    department: str = ""

    @property
    def at(self) -> float:
        """When it speaks of: its moment, or else when it was scored."""
        return self.scored_at if self.moment is None else min(self.moment, self.scored_at)


@dataclass(frozen=True)
class Present:
    """The latest risk of somebody in a department, with the findings of its answer."""

    key: str
    person: str
    encounter: str = field(repr=False)
    department: str
    model: str
    status: str
    reason: str
    patient: Json = field(repr=False)
    findings: list[Json] = field(repr=False)
    moment: float | None
    scored_at: float
    ended_at: float | None


def key_of(store: Store, *parts: str) -> str:
    """Return the key of a risk: equal parts give equal keys, and nobody without the secret of the store can guess one."""
    return store.pseudonym("".join(f"{len(one)}:{one}" for one in ("risk", *parts)))


def key_of_alert(store: Store, episode: str) -> str:
    """Return the key of the risk that stands for an alert of remote monitoring."""
    return key_of(store, "alert", episode)


def save(session: Session, risks: Sequence[NewRisk]) -> None:
    """Write risks and their lines inside the caller's transaction. One that is there keeps its row; the latest card counts."""
    there = set(session.scalars(select(Risk.key).where(Risk.key.in_({one.key for one in risks}))))
    fresh: dict[str, NewRisk] = {}
    for one in risks:
        if one.key not in there:
            fresh[one.key] = one
        elif one.card:
            session.execute(update(Risk).where(Risk.key == one.key).values(card=one.card), execution_options=_UNSYNCHRONISED)
    persons = {one.person for one in fresh.values() if one.entry is not None}
    known = {"", *session.scalars(select(Risk.person).where(Risk.person.in_(persons)).distinct())}  # the others have no earlier risk
    rows = [{name: getattr(one, name) for name in _COLUMNS} | {"same": one.key} for one in fresh.values()]
    add_new(session.connection(), Risk, rows)  # another process may write the same at this moment
    for one in fresh.values():
        if one.entry is not None:
            if one.person in known:
                _replace_older(session, one)
            known.add(one.person)
            entries.put(session, one.entry)


def by_key(store: Store, key: str) -> Risk | None:
    """Return the risk of a key."""
    with store.reading() as session:
        return session.scalars(select(Risk).where(Risk.key == key)).first()


def alert_of(store: Store, risk: Risk) -> Standing | None:
    """Return the alert that a risk of monitoring stands for; None for any other."""
    kind, _, number = risk.source.partition(":")
    if kind != MONITORING or not number.isdigit():
        return None
    with store.reading() as session:
        row = session.get(Alert, int(number))
        return None if row is None else standing(row)


def trend(store: Store, risk: Risk) -> list[Point]:
    """Return all risks of the same person, stay and model in whichever version, the earliest first; at most the latest 200."""
    wanted = select(Risk.key, Risk.model, Risk.status, Risk.value, Risk.moment, Risk.scored_at, Risk.department).where(*_alike(risk))
    with store.reading() as session:
        rows = session.execute(wanted.order_by(Risk.scored_at.desc(), Risk.id.desc()).limit(MOST_POINTS)).all()
    return sorted((Point(*row) for row in rows), key=lambda one: (one.at, one.scored_at))


def present(store: Store, releases: Collection[str], *, since: float, departments: Collection[str] | None = None) -> list[Present]:
    """Return the latest risk of everybody whose stay is under way, the earliest arrival first.

    ``releases`` are ids; ``since`` is when the earliest of them was scored; ``departments`` those to look at, None for all.
    """
    wanted = select(Risk.key, Risk.person, Risk.encounter, Risk.department, Risk.model, Risk.status, Risk.reason, Risk.patient,
                    Risk.answer["findings"], Risk.moment, Risk.scored_at, Risk.record["ended_at"], Risk.subject)
    wanted = wanted.where(Risk.model.in_(releases), Risk.scored_at >= since)
    if departments is not None:
        wanted = wanted.where(Risk.department.in_(departments))
    latest: dict[tuple[str, str], Present] = {}
    with store.reading() as session:
        for row in session.execute(wanted.order_by(Risk.scored_at, Risk.id)).all():
            *told, subject = row
            one = Present(*told)
            one = one if one.findings else _without_findings(one)
            latest[one.person or subject, one.encounter] = one
    here = [one for one in latest.values() if one.ended_at is None]
    return sorted(here, key=lambda one: (one.scored_at, one.key))[-MOST_PRESENT:]


def departments_of(store: Store, releases: Collection[str], *, since: float) -> list[str]:
    """Return the departments that releases spoke of since a time, by name; "" is that of stays that name none."""
    wanted = select(Risk.department).where(Risk.model.in_(releases), Risk.scored_at >= since).distinct()
    with store.reading() as session:
        return sorted(session.scalars(wanted))


def visits(store: Store, model: str, *, since: float, departments: Collection[str]) -> list[float]:
    """Return when each stay was first scored by a model since a time, the earliest first: attendances are counted from them."""
    wanted = select(func.min(Risk.scored_at)).where(
        Risk.model.startswith(f"{model}-", autoescape=True), Risk.scored_at >= since, Risk.department.in_(departments))
    with store.reading() as session:
        return sorted(session.scalars(wanted.group_by(Risk.person, Risk.subject, Risk.encounter)).all())


def _alike(risk: Risk) -> tuple[ColumnElement[bool], ...]:
    """Select what is about the same person, stay and model. Without a key of the person the reference to them counts."""
    whose = Risk.person == risk.person if risk.person else Risk.subject == risk.subject
    name = risk.model.rpartition("-")[0] or risk.model
    return whose, Risk.encounter == risk.encounter, Risk.model.startswith(f"{name}-", autoescape=True)


def _replace_older(session: Session, new: NewRisk) -> None:
    """Remove the lines of earlier risks of the same trend that nobody decided: the page of the new one shows them all."""
    if new.entry is None or new.entry.kind != "risk" or not (new.person or new.subject):
        return
    row = Risk(person=new.person, subject=new.subject, encounter=new.encounter, model=new.model)
    alike = select(Risk.key).where(*_alike(row), Risk.key != new.key)
    older = session.scalars(select(Entry.target).where(Entry.kind == "risk", Entry.state.not_in(DECIDED), Entry.target.in_(alike)))
    if targets := list(older):
        entries.erase(session, kind="risk", targets=targets)


def _without_findings(one: Present) -> Present:
    return Present(**{**vars(one), "findings": []})


_COLUMNS = (
    "key", "subject", "person", "encounter", "department", "model", "status", "reason", "value", "answer", "record", "patient",
    "moment", "source", "card", "scored_at",
)
