"""What releases in shadow said, beside what the live one said of the same: which cases are due, claimed, settled, paired.

A case is claimed before it is scored: a shadow that takes its process with it has failed, and is not tried again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import ColumnElement, String, cast, delete, exists, func, select, update
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.filing import fit
from service.store.review_tables import Risk, Verdict
from service.store.risks import MONITORING
from service.store.store import Store
from service.store.tables import Case, Instance, Result, Revision, RevisionInstance, Study
from service.store.trust_tables import ShadowResult

Json = dict[str, Any]
Kind = Literal["result", "risk"]
CRASHED = "crashed"  # of a case that was begun and never ended
_UNSYNCHRONISED = {"synchronize_session": False}


@dataclass(frozen=True)
class DueImages:
    """A result on images that a shadow has not scored yet."""

    id: int
    model: str
    summary: Json = field(repr=False)
    study_uid: str
    images: tuple[str, ...]  # SHA-256 of the files of the revision


@dataclass(frozen=True)
class Pair:
    """One case as both scored it. ``truth``: output → whether a professional said it is there; ``person`` groups cases of one."""

    person: str
    live: str
    status: str
    reason: str
    said: Json = field(repr=False)
    live_said: Json = field(repr=False)
    seconds: float
    truth: dict[str, bool]


def next_images(store: Store, release: str, *, beside: str, since: float, after: int) -> DueImages | None:
    """Return the earliest result that a shadow has to score. ``beside``: the id of the live release, "" where none is live: then
    one result a revision is enough. ``after``: the result that was looked at last."""
    wanted = select(Result, Case.study_uid).join(Revision, Revision.id == Result.revision_id).join(Case, Case.id == Revision.case_id)
    wanted = wanted.where(Result.created_at >= since, Result.id > after, ~_there(release, "result", cast(Result.id, String)))
    if beside:
        wanted = wanted.where(Result.model == beside)
    else:
        other = select(func.min(Result.id)).where(Result.created_at >= since).group_by(Result.revision_id)
        wanted = wanted.where(Result.id.in_(other))
    with store.reading() as session:
        row = session.execute(wanted.order_by(Result.id).limit(1)).first()
        if row is None:
            return None
        result, study = row
        images = session.scalars(
            select(Instance.sha256).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
            .where(RevisionInstance.revision_id == result.revision_id).order_by(Instance.id))
        return DueImages(result.id, result.model, result.summary, study, tuple(images))


def next_risks(store: Store, release: str, *, beside: str, since: float, after: int, most: int) -> list[Risk]:
    """Return the earliest risks that a shadow has to score; ``beside`` and ``after`` as above.

    Alerts of remote monitoring are left out: only those that the live release raised are kept, which is no sample of what came.
    """
    wanted = select(Risk).where(Risk.scored_at >= since, Risk.id > after, ~_there(release, "risk", Risk.key),
                                ~Risk.source.startswith(f"{MONITORING}:"))
    if beside:
        wanted = wanted.where(Risk.model == beside)
    else:
        other = select(func.min(Risk.id)).where(Risk.scored_at >= since)
        wanted = wanted.where(Risk.id.in_(other.group_by(Risk.person, Risk.subject, Risk.encounter, Risk.moment)))
    with store.reading() as session:
        return list(session.scalars(wanted.order_by(Risk.id).limit(most)))


def claim(store: Store, release: str, kind: Kind, target: str, *, live: str, live_said: Json, now: float) -> bool:
    """Write down that a shadow begins a case, as failed until it ends; False when it was begun before."""
    with store.session() as session:
        lock(session)
        if session.scalar(select(_there(release, kind, target))):
            return False
        session.add(ShadowResult(release=release, live=live, kind=kind, target=target, status="failed", reason=CRASHED, said={},
                                 live_said=live_said, seconds=0.0, scored_at=now))
    return True


def settle(store: Store, release: str, kind: Kind, target: str, *, status: str, reason: str, said: Json, seconds: float) -> None:
    """Write down what a shadow said of a case that it had claimed. One that was erased meanwhile stays so."""
    mine = (ShadowResult.release == release, ShadowResult.kind == kind, ShadowResult.target == target)
    with store.session() as session:
        session.execute(update(ShadowResult).where(*mine).values(status=status, reason=fit(reason, 64), said=said, seconds=seconds),
                        execution_options=_UNSYNCHRONISED)


def crashes(store: Store, release: str, *, since: float, before: float) -> int:
    """Count the cases that a shadow began in some time and never ended: each took its process with it."""
    lost = (ShadowResult.release == release, ShadowResult.reason == CRASHED)
    wanted = select(func.count()).select_from(ShadowResult).where(
        *lost, ShadowResult.scored_at >= since, ShadowResult.scored_at < before)
    with store.reading() as session:
        return session.scalar(wanted) or 0


def pairs(store: Store, release: str, live: str, *, since: float = 0.0) -> list[Pair]:
    """Return every case that a shadow and one live release have both seen, with what professionals said of it."""
    mine = (ShadowResult.release == release, ShadowResult.live == live, ShadowResult.scored_at >= since)
    images = (
        select(ShadowResult, Study.patient_id, Study.uid, Result.id)
        .join(Result, (ShadowResult.kind == "result") & (ShadowResult.target == cast(Result.id, String)))
        .join(Revision, Revision.id == Result.revision_id).join(Case, Case.id == Revision.case_id)
        .join(Study, Study.uid == Case.study_uid).where(*mine).order_by(ShadowResult.id))
    records = (
        select(ShadowResult, Risk.person, Risk.subject, Risk.id)
        .join(Risk, (ShadowResult.kind == "risk") & (ShadowResult.target == Risk.key)).where(*mine).order_by(ShadowResult.id))
    found: list[Pair] = []
    with store.reading() as session:
        for kind, wanted in (("result", images), ("risk", records)):
            rows = session.execute(wanted).all()
            truths = _truths(session, kind, [number for *_, number in rows])
            found += [Pair(store.pseudonym(person or other), one.live, one.status, one.reason, one.said, one.live_said, one.seconds,
                           truths.get(number, {})) for one, person, other, number in rows]
    return found


def counts(store: Store, release: str) -> dict[str, int]:
    """Count what a release said in shadow, by status."""
    wanted = select(ShadowResult.status, func.count()).where(ShadowResult.release == release).group_by(ShadowResult.status)
    with store.reading() as session:
        return {row[0]: row[1] for row in session.execute(wanted)}


def erase(session: Session, kind: Kind, targets: Collection[str]) -> int:
    """Remove what shadows said of cases that are erased; return how many rows."""
    done: Any = session.execute(delete(ShadowResult).where(ShadowResult.kind == kind, ShadowResult.target.in_(list(targets))),
                                execution_options=_UNSYNCHRONISED)
    return int(done.rowcount)


def _truths(session: Session, kind: str, ids: Collection[int]) -> dict[int, dict[str, bool]]:
    """Return what the verdict in force on each says is there, finding by finding."""
    found: dict[int, dict[str, bool]] = {}
    wanted = select(Verdict.target_id, Verdict.content).where(Verdict.target_kind == kind).order_by(Verdict.number)
    known = set(ids)
    for target, content in session.execute(wanted):
        if target in known and content.get("effect"):
            found[target] = {str(one["name"]): bool(one["present"]) for one in content.get("findings", ())
                             if one.get("present") is not None}
    return found


def _there(release: str, kind: str, target: Any) -> ColumnElement[bool]:
    return exists().where(ShadowResult.release == release, ShadowResult.kind == kind, ShadowResult.target == target)
