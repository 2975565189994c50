"""The worker's desk: what a job is about, and which new jobs have not been given their priority yet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select, update

from service.store.store import Store
from service.store.tables import Case, Instance, Job, Revision, RevisionInstance


@dataclass(frozen=True)
class Kept:
    """One file of a revision."""

    sop_uid: str
    sha256: str


@dataclass(frozen=True)
class Sealed:
    """One job: a sealed revision of a case."""

    job_id: int
    revision_id: int
    revision: int
    sealed_at: float
    priority: int
    case_key: str
    study_uid: str
    calling_ae: str
    called_ae: str
    count: int  # instances of the revision
    instances: tuple[Kept, ...]


def load(store: Store, job_id: int, *, only_first: bool = False) -> Sealed:
    """Read what a job is about; with ``only_first`` its first image alone."""
    with store.reading() as session:
        job, revision, case = session.execute(
            select(Job, Revision, Case).join(Revision, Job.revision_id == Revision.id).join(Case, Revision.case_id == Case.id)
            .where(Job.id == job_id)
        ).one()
        count = session.scalar(
            select(func.count()).select_from(RevisionInstance).where(RevisionInstance.revision_id == revision.id)
        ) or 0
        rows = session.execute(
            select(Instance.sop_uid, Instance.sha256).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
            .where(RevisionInstance.revision_id == revision.id).order_by(Instance.id).limit(1 if only_first else None)
        ).all()
        return Sealed(job.id, revision.id, revision.number, revision.sealed_at, job.priority, case.key, case.study_uid,
                      case.calling_ae, case.called_ae, count, tuple(Kept(uid, sha256) for uid, sha256 in rows))


def untriaged(store: Store, *, limit: int) -> list[Sealed]:
    """Return the oldest jobs whose priority the site rules have not said yet, each with its first image."""
    with store.reading() as session:
        ids = session.scalars(
            select(Job.id).where(Job.state == "queued", ~Job.triaged).order_by(Job.id).limit(limit)
        ).all()
    return [load(store, job_id, only_first=True) for job_id in ids]


def triage(store: Store, job_id: int, priority: int | None) -> None:
    """Record that the rules were asked, and what they said; None leaves the priority the sender gave."""
    with store.session() as session:
        values = {"triaged": True} if priority is None else {"triaged": True, "priority": priority}
        session.execute(update(Job).where(Job.id == job_id).values(**values))
