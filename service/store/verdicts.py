"""Verdicts in the store: what people said of results, one row each, only ever added.

A verdict names the last one its reader had seen: two at once are one verdict and one conflict. The token of its form counts
once, so that a form sent twice is one verdict.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from service.assessment import Decision, Reading, TargetKind
from service.store.engine import lock
from service.store.filing import fit
from service.store.review_tables import Entry, Risk, Verdict, VerdictObject
from service.store.store import Store
from service.store.tables import Case, Instance, Result, ResultObject, Revision, RevisionInstance

Json = dict[str, Any]
WITHDRAWN = "withdrawn"
MAX_COMMENT = 4000
_UNSYNCHRONISED = {"synchronize_session": False}


class VerdictConflict(Exception):
    """Another verdict was given since the one its reader had seen. ``last`` is its number."""

    def __init__(self, last: int) -> None:
        super().__init__(f"another verdict was given, number {last}")
        self.last = last


@dataclass(frozen=True)
class NewVerdict:
    """A verdict about to be written. ``after`` is the number of the last one its reader had seen, 0 for none."""

    token: str
    kind: TargetKind
    target_id: int
    after: int
    model: str
    decision: Decision
    reason_code: str
    comment: str = field(repr=False)
    content: Json = field(repr=False)
    reader: Reading
    reviewer: Json = field(repr=False)
    counted_by: Json
    made_at: float
    key: str = field(default_factory=lambda: secrets.token_urlsafe(16))


@dataclass(frozen=True)
class Sent:
    """One DICOM object of a result or of its verdicts."""

    kind: str
    sop_uid: str
    sha256: str


@dataclass(frozen=True)
class Judged:
    """A result to be judged: where it stands, and what was made of it."""

    id: int
    model: str
    status: str
    summary: Json = field(repr=False)
    study_uid: str
    case_key: str
    revision_id: int
    calling_ae: str
    first: str  # SHA-256 of the first image of the revision
    images: tuple[str, ...]  # SOPInstanceUID of every image of the revision
    objects: tuple[Sent, ...]


@dataclass(frozen=True)
class Line:
    """The line of the worklist that a verdict decides."""

    kind: Literal["study", "risk", "alert"]
    target: str
    key: str
    department: str


def add(session: Session, new: NewVerdict) -> Verdict:
    """Write a verdict inside the caller's transaction. Raises VerdictConflict. A token that was used returns its verdict."""
    lock(session)
    before = session.scalars(select(Verdict).where(Verdict.token == new.token)).first()
    if before is not None:
        return before
    last = session.scalar(select(func.max(Verdict.number)).where(*_of(new.kind, [new.target_id]))) or 0
    if last != new.after:
        raise VerdictConflict(last)
    row = Verdict(
        key=new.key, token=new.token, target_kind=new.kind, target_id=new.target_id, number=last + 1, model=new.model,
        decision=new.decision, reason_code=fit(new.reason_code, 64), comment=fit(new.comment, MAX_COMMENT), content=new.content,
        reader=new.reader, reviewer=new.reviewer, reviewer_subject=fit(str(new.reviewer.get("subject", "")), 255),
        counted_by=new.counted_by, made_at=new.made_at,
    )
    session.add(row)
    session.flush()
    return row


def with_token(store: Store, token: str) -> Verdict | None:
    """Return the verdict that a form was already taken as."""
    with store.reading() as session:
        return session.scalars(select(Verdict).where(Verdict.token == token)).first()


def of_targets(store: Store, kind: TargetKind, ids: Collection[int]) -> dict[int, list[Verdict]]:
    """Return the verdicts on some targets, each target's in order."""
    found: dict[int, list[Verdict]] = {one: [] for one in ids}
    with store.reading() as session:
        for row in session.scalars(select(Verdict).where(*_of(kind, ids)).order_by(Verdict.target_id, Verdict.number)):
            found[row.target_id].append(row)
    return found


def effects(session: Session, kind: TargetKind, ids: Collection[int]) -> dict[int, str]:
    """Return what stands of each target that has a verdict in force: validated, corrected or withdrawn."""
    rows = session.execute(select(Verdict.target_id, Verdict.content).where(*_of(kind, ids)).order_by(Verdict.number))
    return {target: str(content["effect"]) for target, content in rows if content.get("effect")}


def withdrawn(session: Session, kind: TargetKind, ids: Collection[int]) -> set[int]:
    """Return those targets that a professional rejected and nobody took up again."""
    return {target for target, effect in effects(session, kind, ids).items() if effect == WITHDRAWN}


def corrected(session: Session, ids: Collection[int]) -> dict[int, tuple[list[Json], float]]:
    """Return the findings of each result on images as a correction in force left them, and when that was given.

    Of one that was corrected once and is not any more: no findings, and when that ended.
    """
    found: dict[int, tuple[list[Json], float]] = {}
    for row in session.scalars(select(Verdict).where(*_of("result", ids)).order_by(Verdict.number)):
        effect = row.content.get("effect")
        if effect == "corrected":
            found[row.target_id] = list(row.content["findings"]), row.made_at
        elif effect and row.target_id in found:
            found[row.target_id] = [], row.made_at
    return found


def judged(store: Store, result_id: int) -> Judged | None:
    """Return a result with where it stands; None when there is none."""
    with store.reading() as session:
        row = session.execute(
            select(Result, Revision, Case).join(Revision, Revision.id == Result.revision_id).join(Case, Case.id == Revision.case_id)
            .where(Result.id == result_id)
        ).first()
        if row is None:
            return None
        result, revision, case = row
        images = session.execute(
            select(Instance.sop_uid, Instance.sha256).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
            .where(RevisionInstance.revision_id == revision.id).order_by(Instance.id)
        ).all()
        objects = session.execute(
            select(ResultObject.kind, ResultObject.sop_uid, ResultObject.sha256).where(ResultObject.result_id == result_id)
            .order_by(ResultObject.place)
        )
        return Judged(
            result.id, result.model, result.status, result.summary, case.study_uid, case.key, revision.id, case.calling_ae,
            images[0][1] if images else "", tuple(uid for uid, _ in images), tuple(Sent(*one) for one in objects),
        )


def risk(store: Store, number: int) -> Risk | None:
    """Return a risk by the number of its row."""
    with store.reading() as session:
        return session.get(Risk, number)


def line_of(store: Store, kind: Literal["study", "risk", "alert"], target: str) -> Line | None:
    """Return the line of the worklist on a study, a risk or an alert."""
    with store.reading() as session:
        row = session.execute(select(Entry.key, Entry.department).where(Entry.kind == kind, Entry.target == target)).first()
        return None if row is None else Line(kind, target, row.key, row.department)


def standings_of_study(session: Session, study_uid: str) -> dict[int, str]:
    """Return each score of the newest revisions of a study, or each refusal when there is none, with what stands of it or ""."""
    newest = (
        select(func.max(Revision.id)).join(Case, Case.id == Revision.case_id).where(Case.study_uid == study_uid).group_by(Case.id)
    )
    wanted = select(Result.id, Result.status).where(Result.revision_id.in_(newest), Result.model != "none")
    rows = session.execute(wanted.where(Result.status.in_(("scored", "refused")))).all()
    ids = [one for one, status in rows if status == "scored"] or [one for one, _ in rows]
    known = effects(session, "result", ids)
    return {one: known.get(one, "") for one in ids}


@dataclass(frozen=True)
class Settled:
    """What stands of one target: the verdict in force, and by what it is counted."""

    release: str
    decision: str
    counted_by: Json
    made_at: float


def settled(store: Store, model: str, *, since: float = 0.0) -> list[Settled]:
    """Return the verdicts in force on results of a model, in whichever version, the earliest first."""
    wanted = select(
        Verdict.target_kind, Verdict.target_id, Verdict.model, Verdict.decision, Verdict.counted_by, Verdict.made_at,
    ).where(Verdict.model.startswith(f"{model}-", autoescape=True), Verdict.content["effect"].as_string() != "")
    latest: dict[tuple[str, int], Settled] = {}
    with store.reading() as session:
        for kind, target, release, decision, counted_by, made_at in session.execute(wanted.order_by(Verdict.number)):
            latest[kind, target] = Settled(release, decision, counted_by, made_at)
    return sorted((one for one in latest.values() if one.made_at >= since), key=lambda one: one.made_at)


def erase(session: Session, kind: TargetKind, ids: Collection[int]) -> int:
    """Remove the verdicts on targets that are erased, with what they made but for the files; return how many."""
    wanted = select(Verdict.id).where(*_of(kind, ids))
    session.execute(delete(VerdictObject).where(VerdictObject.verdict_id.in_(wanted)), execution_options=_UNSYNCHRONISED)
    done: Any = session.execute(delete(Verdict).where(*_of(kind, ids)), execution_options=_UNSYNCHRONISED)
    return int(done.rowcount)


def _of(kind: TargetKind, ids: Collection[int]) -> tuple[Any, ...]:
    return Verdict.target_kind == kind, Verdict.target_id.in_(list(ids))
