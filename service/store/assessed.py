"""What was assessed of a study, read inside the transaction that writes its line of the worklist."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.review_tables import Entry
from service.store.store import Store
from service.store.tables import Case, Instance, Job, Result, Revision, RevisionInstance, Series


@dataclass(frozen=True)
class AssessedResult:
    """One result of the newest revision of a case that has one."""

    id: int
    model: str  # a release's id, or "none"
    status: str  # scored | refused | unfit | unusable | failed
    reason: str
    summary: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class AssessedCase:
    """One case whose newest revision was assessed. ``priority``: 2 urgent, 1 high, 0 medium, -1 low, as the site rules have it."""

    calling_ae: str
    modality: str
    images: int
    priority: int
    received_at: float
    sealed_at: float
    revision: int
    results: tuple[AssessedResult, ...]


def assessed_cases(session: Session, study_uid: str) -> list[AssessedCase]:
    """Return the cases of a study with the results of the newest revision of each that has any, in the order they came."""
    newest = (
        select(Revision.case_id, func.max(Revision.number).label("number")).join(Result, Result.revision_id == Revision.id)
        .join(Case, Case.id == Revision.case_id).where(Case.study_uid == study_uid).group_by(Revision.case_id).subquery()
    )
    wanted = (
        select(Case, Revision, Job.priority, Series.modality).join(Revision, Revision.case_id == Case.id)
        .join(newest, (newest.c.case_id == Revision.case_id) & (newest.c.number == Revision.number))
        .join(Job, Job.revision_id == Revision.id, isouter=True)
        .join(Series, (Series.study_uid == Case.study_uid) & (Series.uid == Case.series_uid), isouter=True).order_by(Case.id)
    )
    return [
        AssessedCase(
            case.calling_ae, modality or "", _images(session, revision.id), case.priority if priority is None else priority,
            case.received_at, revision.sealed_at, revision.number, _results(session, revision.id),
        )
        for case, revision, priority, modality in session.execute(wanted).all()
    ]


def unlisted(store: Store, after: str, most: int) -> list[tuple[str, str]]:
    """Return studies that were assessed and have no line, by their UID those after one, each with the SHA-256 of an image."""
    first = (
        select(func.min(Instance.id)).where(Instance.study_uid == Case.study_uid, Instance.current, Instance.origin == "received")
        .correlate(Case).scalar_subquery()
    )
    wanted = (
        select(Case.study_uid, func.min(Instance.sha256)).join(Revision, Revision.case_id == Case.id)
        .join(Result, Result.revision_id == Revision.id).join(Instance, Instance.id == first)
        .where(Case.study_uid > after, ~exists().where(Entry.kind == "study", Entry.target == Case.study_uid))
        .group_by(Case.study_uid).order_by(Case.study_uid).limit(most)
    )
    with store.reading() as session:
        return [(uid, sha256) for uid, sha256 in session.execute(wanted)]


def is_listed(session: Session, study_uid: str) -> bool:
    """Tell whether a study has its line; nobody else writes one until this transaction ends."""
    lock(session)
    return session.scalar(select(Entry.id).where(Entry.kind == "study", Entry.target == study_uid)) is not None


def _results(session: Session, revision_id: int) -> tuple[AssessedResult, ...]:
    rows = session.execute(select(Result.id, Result.model, Result.status, Result.reason, Result.summary)
                           .where(Result.revision_id == revision_id).order_by(Result.id))
    return tuple(AssessedResult(*row) for row in rows)


def _images(session: Session, revision_id: int) -> int:
    return session.scalar(select(func.count()).select_from(RevisionInstance).where(RevisionInstance.revision_id == revision_id)) or 0
