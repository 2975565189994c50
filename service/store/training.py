"""What a set for training is made from: studies with their files, results and what professionals said of them; risks likewise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.review_tables import Risk, Verdict
from service.store.store import Store
from service.store.tables import Case, Instance, Result, Revision, RevisionInstance, Study
from service.store.trust_tables import Pick

Json = dict[str, Any]
_BATCH = 200


@dataclass(frozen=True)
class Said:
    """The verdict in force on a result or a risk, else the last one; ``decision`` is "" where there is none."""

    decision: str = ""
    reason_code: str = ""
    reading: str = ""
    content: Json = field(default_factory=dict, repr=False)
    in_force: bool = False  # False while a second reader is waited for
    picked: str = ""  # why it was picked to be looked at: uncertain, unlike, control or test


@dataclass(frozen=True)
class Judged:
    """One result with what was said of it."""

    model: str
    status: str
    reason: str
    summary: Json = field(repr=False)
    said: Said = field(default=Said(), repr=False)


@dataclass(frozen=True)
class Images:
    """The newest revision of one case, with its results."""

    files: tuple[str, ...]
    results: tuple[Judged, ...]


@dataclass(frozen=True)
class Examined:
    """One study."""

    uid: str
    attributes: Json = field(repr=False)
    cases: tuple[Images, ...] = ()


@dataclass(frozen=True)
class KeptRisk:
    """One risk with the record it was scored from."""

    person: str
    subject: str = field(repr=False)
    model: str
    status: str
    value: float | None
    record: Json = field(repr=False)
    said: Said = field(default=Said(), repr=False)


def studies_between(store: Store, since: float, until: float) -> Iterator[Examined]:
    """Yield the studies received in a time, the first first, each read in a transaction of its own."""
    after: tuple[float, str] = (since, "")
    while True:
        with store.reading() as session:
            rows = session.execute(
                select(Study.uid, Study.received_at).where(
                    Study.received_at >= after[0], Study.received_at < until,
                    (Study.received_at > after[0]) | (Study.uid > after[1]),
                ).order_by(Study.received_at, Study.uid).limit(_BATCH)).all()
        if not rows:
            return
        after = (rows[-1][1], rows[-1][0])
        for uid, _ in rows:
            with store.reading() as session:
                study = session.get(Study, uid)
                found = None if study is None else Examined(uid, study.attributes, tuple(_cases(session, uid)))
            if found is not None:
                yield found


def risks_between(store: Store, since: float, until: float) -> Iterator[KeptRisk]:
    """Yield the risks that were told in a time, the first first."""
    after = 0
    while True:
        with store.reading() as session:
            rows = session.scalars(select(Risk).where(Risk.scored_at >= since, Risk.scored_at < until, Risk.id > after)
                                   .order_by(Risk.id).limit(_BATCH)).all()
            found = [KeptRisk(one.person, one.subject, one.model, one.status, one.value, one.record,
                              _said(session, "risk", one.id, one.key)) for one in rows]
        if not rows:
            return
        after = rows[-1].id
        yield from found


def _cases(session: Session, uid: str) -> Iterator[Images]:
    newest = select(func.max(Revision.id)).join(Case, Case.id == Revision.case_id).where(Case.study_uid == uid).group_by(Case.id)
    for revision in session.scalars(newest.order_by(func.min(Case.id))).all():
        files = session.scalars(
            select(Instance.sha256).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
            .where(RevisionInstance.revision_id == revision).order_by(Instance.id)).all()
        results = session.scalars(select(Result).where(Result.revision_id == revision).order_by(Result.id)).all()
        yield Images(tuple(files), tuple(
            Judged(one.model, one.status, one.reason, one.summary, _said(session, "result", one.id, str(one.id)))
            for one in results))


def _said(session: Session, kind: str, target: int, name: str) -> Said:
    """Return what was said; ``name`` is what picks call the target by: the id of a result, the key of a risk."""
    rows = session.scalars(select(Verdict).where(Verdict.target_kind == kind, Verdict.target_id == target)
                           .order_by(Verdict.number.desc())).all()
    if not rows:
        return Said()
    row = next((one for one in rows if one.content.get("effect")), rows[0])
    picked = session.scalar(select(Pick.why).where(Pick.kind == kind, Pick.target == name)) or ""
    return Said(row.decision, row.reason_code, row.reader, row.content, bool(row.content.get("effect")), picked)
