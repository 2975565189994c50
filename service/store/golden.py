"""Golden in the store: which results of this site are scored again every night, and what came out of each night."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.store.filing import add_new, fit
from service.store.review_tables import Entry, Risk, Verdict
from service.store.store import Store
from service.store.tables import Case, Instance, Result, Revision, RevisionInstance
from service.store.trust_tables import GoldenRun, GoldenStudy

Json = dict[str, Any]


@dataclass(frozen=True)
class Kept:
    """One result that may be scored again: what it said, and the images it was made from, or the risk."""

    kind: str
    target: str
    release: str
    summary: Json = field(repr=False)
    images: tuple[str, ...] = ()
    risk: Risk | None = field(default=None, repr=False)


def chosen(store: Store, release: str) -> list[tuple[str, str]]:
    """Return (kind, target) of the results of a release that were chosen."""
    wanted = select(GoldenStudy.kind, GoldenStudy.target).where(GoldenStudy.release == release).order_by(GoldenStudy.id)
    with store.reading() as session:
        return [(kind, target) for kind, target in session.execute(wanted)]


def validated(store: Store, release: str, count: int) -> list[tuple[str, str]]:
    """Return (kind, target) of the last results of a release that a professional agreed with."""
    last = select(func.max(Verdict.id)).where(Verdict.model == release).group_by(Verdict.target_kind, Verdict.target_id)
    wanted = select(Verdict.target_kind, Verdict.target_id).where(Verdict.id.in_(last), Verdict.decision == "agree")
    with store.reading() as session:
        rows = session.execute(wanted.order_by(Verdict.id.desc()).limit(count)).all()
        keys = dict(session.execute(select(Risk.id, Risk.key).where(Risk.id.in_([n for kind, n in rows if kind == "risk"]))).all())
    found = [(kind, str(number) if kind == "result" else keys.get(number, "")) for kind, number in rows]
    return [(kind, target) for kind, target in found if target and kind in ("result", "risk")]


def kept(store: Store, kind: str, target: str) -> Kept | None:
    """Return a result with what it was made from; None when it is gone."""
    with store.reading() as session:
        if kind == "risk":
            risk = session.scalars(select(Risk).where(Risk.key == target)).first()
            return None if risk is None else Kept(kind, target, risk.model, risk.answer, risk=risk)
        result = session.get(Result, int(target))
        if result is None:
            return None
        images = session.scalars(
            select(Instance.sha256).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
            .where(RevisionInstance.revision_id == result.revision_id).order_by(Instance.id))
        return Kept(kind, target, result.model, result.summary, tuple(images))


def of_entry(store: Store, key: str) -> list[tuple[str, str, str]]:
    """Return (release, kind, target) of the results behind a line of the worklist, by its key."""
    with store.reading() as session:
        entry = session.scalars(select(Entry).where(Entry.key == key)).first()
        if entry is None:
            return []
        if entry.kind == "risk":
            return [(model, "risk", entry.target) for model in session.scalars(select(Risk.model).where(Risk.key == entry.target))]
        newest = select(func.max(Revision.id)).join(Case, Case.id == Revision.case_id).where(Case.study_uid == entry.target)
        rows = session.execute(select(Result.model, Result.id).where(
            Result.revision_id.in_(newest.group_by(Case.id)), Result.status == "scored"))
        return [(model, "result", str(number)) for model, number in rows]


def choose(session: Session, found: Sequence[tuple[str, str, str]], by: str) -> None:
    """Have results scored again every night, inside the caller's transaction."""
    now = time.time()
    add_new(session.connection(), GoldenStudy, [
        {"release": release, "kind": kind, "target": target, "added_by": fit(by, 255), "added_at": now}
        for release, kind, target in found
    ])


def drop(session: Session, found: Sequence[tuple[str, str, str]]) -> None:
    """Let results go, inside the caller's transaction."""
    for _, kind, target in found:
        session.execute(delete(GoldenStudy).where(GoldenStudy.kind == kind, GoldenStudy.target == target))


def add_run(session: Session, release: str, *, checked: int, changed: int, detail: Json) -> None:
    """Write down one night of a release, inside the caller's transaction."""
    session.add(GoldenRun(release=release, checked=checked, changed=changed, detail=detail, ran_at=time.time()))


def last_runs(store: Store) -> dict[str, GoldenRun]:
    """Return the last night of each release."""
    last = select(func.max(GoldenRun.id)).group_by(GoldenRun.release)
    with store.reading() as session:
        return {one.release: one for one in session.scalars(select(GoldenRun).where(GoldenRun.id.in_(last)))}
