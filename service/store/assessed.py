"""What was assessed of a study, read inside the transaction that writes its line of the worklist."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.tables import Case, Job, Result, Revision, RevisionInstance, Series


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


def _results(session: Session, revision_id: int) -> tuple[AssessedResult, ...]:
    rows = session.execute(select(Result.id, Result.model, Result.status, Result.reason, Result.summary)
                           .where(Result.revision_id == revision_id).order_by(Result.id))
    return tuple(AssessedResult(*row) for row in rows)


def _images(session: Session, revision_id: int) -> int:
    return session.scalar(select(func.count()).select_from(RevisionInstance).where(RevisionInstance.revision_id == revision_id)) or 0
