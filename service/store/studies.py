"""One study as a page shows it: its cases with their files in the newest revision, their results and what was made of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.store import Store
from service.store.tables import Case, Instance, Result, ResultObject, Revision, RevisionInstance, Study

MOST_OTHERS = 50  # studies of one identifier that are looked at for a prior one


@dataclass(frozen=True)
class HeldFile:
    """One file of a case."""

    sop_uid: str
    sop_class_uid: str
    sha256: str
    number: int  # InstanceNumber; a large one when it states none


@dataclass(frozen=True)
class HeldObject:
    """One object that was made of a result."""

    kind: str  # sr | sr-roi | seg | map | capture
    sop_uid: str
    sha256: str


@dataclass(frozen=True)
class HeldResult:
    """What one model said of the newest revision of a case."""

    id: int
    model: str
    status: str
    reason: str
    summary: dict[str, Any]
    made_at: float
    objects: tuple[HeldObject, ...]


@dataclass(frozen=True)
class HeldCase:
    """One case as it stands; ``pending`` when its newest images have no result yet."""

    kind: str
    revision: int
    pending: bool
    files: tuple[HeldFile, ...]
    results: tuple[HeldResult, ...]


@dataclass(frozen=True)
class Other:
    """Another study under the same identifier; whether it is of the same person is for the reader of its header to tell."""

    uid: str
    study_date: str
    first_sha256: str


def held_cases(store: Store, study_uid: str) -> tuple[HeldCase, ...]:
    """Return the cases of a study in the order they came; those without a file are left out."""
    with store.reading() as session:
        cases = session.scalars(select(Case).where(Case.study_uid == study_uid).order_by(Case.id)).all()
        return tuple(held for case in cases if (held := _held(session, case)) is not None)


def others_of(store: Store, study_uid: str, patient_id: str) -> list[Other]:
    """Return the studies of one identifier but for ``study_uid``, the newest first, each with its first received image."""
    if not patient_id:
        return []
    first = (
        select(func.min(Instance.id)).where(Instance.study_uid == Study.uid, Instance.current, Instance.origin == "received")
        .correlate(Study).scalar_subquery()
    )
    wanted = (
        select(Study.uid, Study.study_date, Instance.sha256).join(Instance, Instance.id == first)
        .where(Study.patient_id == patient_id, Study.uid != study_uid)
        .order_by(Study.study_date.desc(), Study.received_at.desc(), Study.uid).limit(MOST_OTHERS)
    )
    with store.reading() as session:
        return [Other(*row) for row in session.execute(wanted)]


def _held(session: Session, case: Case) -> HeldCase | None:
    revision = session.scalars(
        select(Revision).where(Revision.case_id == case.id).order_by(Revision.number.desc()).limit(1)
    ).first()
    wanted = select(Instance.sop_uid, Instance.sop_class_uid, Instance.sha256, Instance.attributes).order_by(Instance.id)
    if revision is None:
        wanted = wanted.where(Instance.case_id == case.id, Instance.current)
    else:
        wanted = wanted.join(RevisionInstance, RevisionInstance.instance_id == Instance.id).where(
            RevisionInstance.revision_id == revision.id)
    files = tuple(HeldFile(sop, kind, sha256, _number(attributes)) for sop, kind, sha256, attributes in session.execute(wanted))
    if not files:
        return None
    results = [] if revision is None else session.scalars(
        select(Result).where(Result.revision_id == revision.id).order_by(Result.id)).all()
    made = tuple(
        HeldResult(one.id, one.model, one.status, one.reason, one.summary, one.created_at, _objects(session, one.id))
        for one in results
    )
    return HeldCase(case.kind, revision.number if revision else 0, not made or case.due_at is not None, files, made)


def _objects(session: Session, result_id: int) -> tuple[HeldObject, ...]:
    wanted = select(ResultObject).where(ResultObject.result_id == result_id).order_by(ResultObject.place)
    return tuple(HeldObject(one.kind, one.sop_uid, one.sha256) for one in session.scalars(wanted))


def _number(attributes: dict[str, Any]) -> int:
    values = attributes.get("00200013", {}).get("Value") or [2**31]
    return values[0] if isinstance(values[0], int) else 2**31
