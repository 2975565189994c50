"""Sign-offs in the store: what named persons said of releases after their commissioning, only ever added."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.store import Store
from service.store.trust_tables import Signoff

Json = dict[str, Any]
Decision = Literal["accepted", "declined"]


@dataclass(frozen=True)
class NewSignoff:
    """A sign-off about to be written; see the table."""

    release: str
    manifest_sha256: str
    decision: Decision
    advice: str
    report_sha256: str
    report: Json = field(repr=False)
    signer: Json = field(repr=False)
    signer_subject: str
    statement: str = field(repr=False)
    signed_at: float


def add(session: Session, new: NewSignoff) -> Signoff:
    """Write a sign-off inside the caller's transaction."""
    lock(session)
    row = Signoff(**vars(new))
    session.add(row)
    session.flush()
    return row


def of_release(store: Store, release: str) -> list[Signoff]:
    """Return every sign-off of a release, whatever its folder was then, the latest first."""
    with store.reading() as session:
        return list(session.scalars(select(Signoff).where(Signoff.release == release).order_by(Signoff.id.desc())))


def latest(store: Store, release: str, manifest_sha256: str) -> Signoff | None:
    """Return the last word on exactly this release folder."""
    return next((one for one in of_release(store, release) if one.manifest_sha256 == manifest_sha256), None)


def newest_of(session: Session, release: str, manifest_sha256: str) -> int | None:
    """Return the number of the last word on exactly this release folder, inside the caller's transaction."""
    mine = Signoff.release == release, Signoff.manifest_sha256 == manifest_sha256
    return session.scalar(select(func.max(Signoff.id)).where(*mine))


def by_ids(store: Store, ids: set[int]) -> dict[int, Signoff]:
    """Return sign-offs by their number."""
    with store.reading() as session:
        return {one.id: one for one in session.scalars(select(Signoff).where(Signoff.id.in_(ids)))}
