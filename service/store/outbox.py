"""The outbox, as the deliverer sees it: the next parcel of a target, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store import queue
from service.store.messages import Letter
from service.store.store import Store
from service.store.tables import Case, Delivery, Json, Result, ResultObject, Revision, Study


@dataclass(frozen=True)
class Parcel:
    """One result on its way to one target: the files in the order of delivery."""

    claim: queue.Claim
    sha256s: tuple[str, ...]
    table: ClassVar[type[Delivery]] = Delivery


def claim_parcel(store: Store, target: str, *, worker: str, lease_s: float) -> Parcel | None:
    """Claim the most urgent, then oldest, delivery of a target that may be tried now."""
    row = queue.claim(store, Delivery, worker=worker, lease_s=lease_s, where=Delivery.target == target)
    if row is None:
        return None
    with store.reading() as session:
        sha256s = session.scalars(
            select(ResultObject.sha256).where(ResultObject.result_id == row.result_id).order_by(ResultObject.place)
        ).all()
    return Parcel(queue.claim_of(row), tuple(sha256s))


def delivered(store: Store, parcel: Parcel | Letter, also: Callable[[Session], None] | None = None) -> None:
    """Record that the target has everything, and ``also`` what belongs to it.

    Raises LostLease, which is no harm: another delivers the same objects again.
    """
    with store.session() as session:
        queue.finish(session, parcel.table, parcel.claim)
        if also is not None:
            also(session)


def about(session: Session, parcel: Parcel) -> tuple[str, Json]:
    """Return the study that a parcel is about: its UID and what DICOM JSON says of it and of the patient."""
    row = session.execute(
        select(Study.uid, Study.attributes).join(Case, Case.study_uid == Study.uid).join(Revision, Revision.case_id == Case.id)
        .join(Result, Result.revision_id == Revision.id).join(Delivery, Delivery.result_id == Result.id)
        .where(Delivery.id == parcel.claim.id)
    ).first()
    return (row[0], row[1]) if row else ("", {})


def refused(store: Store, parcel: Parcel | Letter, reason: str, *, max_attempts: int) -> Literal["queued", "quarantined"]:
    """Record a failure of this one delivery: it waits, longer each time, and is quarantined after ``max_attempts``;
    0: never. Raises LostLease."""
    return queue.fail(store, parcel.table, parcel.claim, reason, max_attempts=max_attempts)


def put_back(store: Store, parcel: Parcel | Letter, reason: str, *, pause_s: float = 0.0) -> None:
    """Return a delivery to its place, not counting the try: the target is down, not the delivery wrong. Raises LostLease.

    With ``pause_s`` others go first for so long.
    """
    queue.put_back(store, parcel.table, parcel.claim, reason, pause_s=pause_s)
