"""Picks in the store: which results wait for a verdict, which of them were picked and why, and what was judged.

A pick is kept once its verdict is given: whoever learns from it must know that it was picked, and by what.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import String, cast, delete, func, select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.review_tables import Entry, Risk, Verdict
from service.store.store import Store
from service.store.tables import Case, Result, Revision, Study
from service.store.trust_tables import Observation, Pick

Json = dict[str, Any]
Kind = Literal["result", "risk"]
RANDOM = ("control", "test")  # drawn: they stay until they are judged, else the hard ones would be passed over
_UNSYNCHRONISED = {"synchronize_session": False}
_JUDGED = ("scored", "refused")


@dataclass(frozen=True)
class Waiting:
    """A result or risk, with or without a verdict. ``target``: id of the result, key of the risk."""

    kind: Kind
    target: str
    entry_key: str
    department: str
    release: str
    status: str
    reason: str
    uid: str = ""  # of the study
    attributes: Json = field(default_factory=dict, repr=False)  # of the study
    person: str = ""
    subject: str = field(default="", repr=False)
    findings: tuple[Json, ...] = field(default=(), repr=False)
    quality: Json = field(default_factory=dict, repr=False)
    statistics: Json = field(default_factory=dict, repr=False)
    groups: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class NewPick:
    """One pick; see the table."""

    kind: Kind
    target: str
    entry_key: str
    release: str
    why: str
    uncertainty: float
    distance: float


@dataclass(frozen=True)
class Open:
    """A pick that nobody has judged yet, with the line of the worklist it is opened by."""

    kind: str
    target: str
    entry_key: str
    release: str
    department: str
    modality: str
    why: str
    uncertainty: float
    picked_at: float


def waiting(store: Store, since: float, limit: int) -> list[Waiting]:
    """Return what was said since and nobody judged, the latest first; what has no line of the worklist cannot be opened."""
    with store.reading() as session:
        return _results(session, since, limit, judged=False) + _risks(session, since, limit, judged=False)


def judged(store: Store, limit: int) -> list[Waiting]:
    """Return the latest results and risks that have a verdict: what is known already."""
    with store.reading() as session:
        return _results(session, 0.0, limit, judged=True) + _risks(session, 0.0, limit, judged=True)


def replace(store: Store, new: Sequence[NewPick], now: float) -> None:
    """Put new picks in the place of those that nobody judged; what was drawn at random stays."""
    with store.session() as session:
        lock(session)
        old = [row.id for row in _open(session) if row.why not in RANDOM]
        session.execute(delete(Pick).where(Pick.id.in_(old)), execution_options=_UNSYNCHRONISED)
        known = {(row.kind, row.target) for row in session.execute(select(Pick.kind, Pick.target))}
        session.add_all(Pick(**vars(one), place=place, picked_at=now) for place, one in enumerate(new)
                        if (one.kind, one.target) not in known)


def open_picks(store: Store) -> list[Open]:
    """Return what was picked and nobody judged yet, in the order to judge it in."""
    with store.reading() as session:
        lines = {row.key: row for row in session.scalars(select(Entry).where(Entry.key.in_(select(Pick.entry_key))))}
        return [Open(row.kind, row.target, row.entry_key, row.release, lines[row.entry_key].department, lines[row.entry_key].modality,
                     row.why, row.uncertainty, row.picked_at) for row in _open(session) if row.entry_key in lines]


def counts(store: Store) -> dict[str, tuple[int, int]]:
    """Return, for each reason, how many picks wait and how many were judged."""
    with store.reading() as session:
        every = Counter(session.scalars(select(Pick.why)))
        waits = Counter(row.why for row in _open(session))
    return {why: (waits[why], count - waits[why]) for why, count in every.items()}


def verdict_counts(store: Store) -> dict[str, int]:
    """Return how many results and risks of each release have a verdict in force."""
    with store.reading() as session:
        rows = session.execute(
            select(Verdict.model, func.count((Verdict.target_kind + cast(Verdict.target_id, String)).distinct()))
            .where(Verdict.content["effect"].as_string() != "", Verdict.target_kind.in_(("result", "risk"))).group_by(Verdict.model))
        return {model: int(count) for model, count in rows}


def erase(session: Session, kind: Kind, targets: Collection[str]) -> int:
    """Remove the picks of results or risks that go."""
    done: Any = session.execute(delete(Pick).where(Pick.kind == kind, Pick.target.in_(list(targets))),
                                execution_options=_UNSYNCHRONISED)
    return int(done.rowcount)


def _open(session: Session) -> list[Pick]:
    rows = session.scalars(select(Pick).order_by(Pick.place, Pick.id)).all()
    keys = [row.target for row in rows if row.kind == "risk"]
    by_key = {row.key: row.id for row in session.execute(select(Risk.key, Risk.id).where(Risk.key.in_(keys)))}
    numbers = {("result", int(r.target)) if r.kind == "result" else ("risk", by_key.get(r.target, -1)): r.id for r in rows}
    done = {numbers[kind, target] for kind, target in session.execute(
        select(Verdict.target_kind, Verdict.target_id).where(Verdict.target_id.in_([number for _, number in numbers])))
        if (kind, target) in numbers}
    return [row for row in rows if row.id not in done]


def _results(session: Session, since: float, limit: int, *, judged: bool) -> list[Waiting]:
    newest = select(func.max(Revision.id)).group_by(Revision.case_id)
    verdict = select(Verdict.id).where(Verdict.target_kind == "result", Verdict.target_id == Result.id).exists()
    watched = (Observation.kind == "result") & (Observation.target == cast(Result.id, String))
    rows = session.execute(
        select(Result, Study.uid, Study.attributes, Entry.key, Entry.department, Entry.person, Observation.statistics,
               Observation.groups)
        .join(Revision, Revision.id == Result.revision_id).join(Case, Case.id == Revision.case_id)
        .join(Study, Study.uid == Case.study_uid).join(Entry, (Entry.kind == "study") & (Entry.target == Study.uid))
        .outerjoin(Observation, watched & (Observation.release == Result.model))
        .where(Result.created_at >= since, Result.status.in_(_JUDGED), Result.revision_id.in_(newest),
               verdict if judged else ~verdict)
        .order_by(Result.created_at.desc(), Result.id.desc()).limit(limit)).all()
    return [
        Waiting("result", str(row.id), key, department, row.model, row.status, row.reason, uid=uid, attributes=attributes,
                person=person, findings=_listed(row.summary.get("findings")), quality=row.summary.get("quality") or {},
                statistics=statistics or {}, groups=groups or {})
        for row, uid, attributes, key, department, person, statistics, groups in rows
    ]


def _risks(session: Session, since: float, limit: int, *, judged: bool) -> list[Waiting]:
    verdict = select(Verdict.id).where(Verdict.target_kind == "risk", Verdict.target_id == Risk.id).exists()
    watched = (Observation.kind == "risk") & (Observation.target == Risk.key) & (Observation.release == Risk.model)
    rows = session.execute(
        select(Risk, Entry.key, Observation.statistics, Observation.groups)
        .join(Entry, (Entry.kind == "risk") & (Entry.target == Risk.key)).outerjoin(Observation, watched)
        .where(Risk.scored_at >= since, Risk.status.in_(_JUDGED), verdict if judged else ~verdict)
        .order_by(Risk.scored_at.desc(), Risk.id.desc()).limit(limit)).all()
    return [
        Waiting("risk", row.key, key, row.department, row.model, row.status, row.reason, person=row.person, subject=row.subject,
                findings=_listed(row.answer.get("findings")), quality=row.answer.get("quality") or {}, statistics=statistics or {},
                groups=groups or {})
        for row, key, statistics, groups in rows
    ]


def _listed(told: Any) -> tuple[Json, ...]:
    return tuple(one for one in told or () if isinstance(one, dict))
