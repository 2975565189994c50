"""CDS Hooks in the store: tokens that were used, cards that were shown, what became of them, and what cards may tell of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from service.store.ehr_tables import Card, Feedback, SeenToken
from service.store.tables import Base, Case, Instance, Result, Revision, Series, Study
from service.store.verdicts import withdrawn

MAX_COMMENT = 4000


@dataclass(frozen=True)
class Shown:
    """A card as it is kept: which model and input it spoke of, never its text."""

    uuid: str
    service: str
    hook: str
    model: str
    status: str  # scored | refused | results | alert
    input_sha256: str = ""
    value: float | None = None
    suggestions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a client said became of a card."""

    card: str
    outcome: str  # accepted | overridden
    outcome_at: float | None
    accepted: tuple[str, ...] = ()
    reason_code: str = ""
    reason_system: str = ""
    comment: str = ""


def see_token(session: Session, issuer: str, jti: str, expires_at: float, now: float) -> bool:
    """Write a token down; tell whether it was there before. Forgets tokens that have ended."""
    session.execute(delete(SeenToken).where(SeenToken.expires_at < now))
    add = _missing(session, SeenToken).values(issuer=issuer, jti=jti, expires_at=expires_at).returning(SeenToken.jti)
    return session.execute(add).first() is None  # a row comes back only when it was written: drivers differ in their counts


def show_cards(session: Session, cards: Sequence[Shown], now: float) -> None:
    """Write down cards that are about to be shown. The same card again changes nothing."""
    _add(session, Card, [{
        "uuid": one.uuid, "service": one.service, "hook": one.hook, "model": one.model, "status": one.status,
        "input_sha256": one.input_sha256, "value": one.value, "suggestions": {"ids": list(one.suggestions)}, "shown_at": now,
    } for one in cards])


def add_feedback(session: Session, service: str, issuer: str, outcomes: Sequence[Outcome], now: float) -> set[str]:
    """Write down what became of cards; return those that this service has shown. A repeat changes nothing."""
    _add(session, Feedback, [{
        "card_uuid": one.card, "service": service, "issuer": issuer, "outcome": one.outcome, "reason_code": one.reason_code,
        "reason_system": one.reason_system, "comment": one.comment[:MAX_COMMENT], "accepted": {"ids": list(one.accepted)},
        "outcome_at": one.outcome_at, "received_at": now,
    } for one in outcomes])
    told = {one.card for one in outcomes}
    return set(session.scalars(select(Card.uuid).where(Card.uuid.in_(told), Card.service == service)))


def feedback_counts(session: Session) -> list[tuple[str, str, str, int]]:
    """Count what became of cards: (service, outcome, reason code, how often)."""
    told = (Feedback.service, Feedback.outcome, Feedback.reason_code)
    rows = session.execute(select(*told, func.count()).group_by(*told).order_by(*told))
    return [(service, outcome, reason, int(count)) for service, outcome, reason, count in rows]


def forget_cards(session: Session, before: float) -> int:
    """Delete cards shown before a time, and feedback received before it; return how many rows."""
    cards = session.execute(delete(Card).where(Card.shown_at < before))
    feedback = session.execute(delete(Feedback).where(Feedback.received_at < before))
    return int(cards.rowcount + feedback.rowcount)  # type: ignore[attr-defined]  # of a CursorResult


def _add(session: Session, table: type[Base], rows: list[dict[str, Any]]) -> None:
    """Insert rows that are not there yet."""
    if rows:
        session.execute(_missing(session, table), rows)  # row by row: a database takes some ten thousand values a statement at most


def _missing(session: Session, table: type[Base]) -> Any:
    """Begin an INSERT that leaves what is there."""
    insert = postgresql_insert if session.get_bind().dialect.name == "postgresql" else sqlite_insert
    return insert(table).on_conflict_do_nothing()


@dataclass(frozen=True)
class Imaged:
    """A study that bears one of the identifiers asked for; ``first`` is the SHA-256 of its first image."""

    uid: str
    first: str
    modality: str


@dataclass(frozen=True)
class Said:
    """What one model said of the newest revision of one case of a study."""

    model: str
    status: str
    reason: str
    summary: dict[str, Any]


def imaged(session: Session, patient_ids: Sequence[str], *, since: float, limit: int) -> list[Imaged]:
    """Return studies received since a time under one of the patient identifiers, the newest first."""
    first = (
        select(Instance.study_uid, func.min(Instance.id).label("id"))
        .where(Instance.origin == "received", Instance.current).group_by(Instance.study_uid).subquery()
    )
    rows = session.execute(
        select(Study.uid, Instance.sha256, Series.modality).join(first, first.c.study_uid == Study.uid)
        .join(Instance, Instance.id == first.c.id)
        .join(Series, and_(Series.study_uid == Instance.study_uid, Series.uid == Instance.series_uid))
        .where(Study.patient_id.in_(patient_ids), Study.received_at >= since)
        .order_by(Study.received_at.desc(), Study.uid).limit(limit)
    )
    return [Imaged(uid, sha256, modality) for uid, sha256, modality in rows]


def said(session: Session, study_uid: str) -> list[Said]:
    """Return the results of the newest revision of every case of a study that has one, but for those that were withdrawn."""
    rows = session.execute(
        select(Case.id, Result).join(Revision, Revision.case_id == Case.id).join(Result, Result.revision_id == Revision.id)
        .where(Case.study_uid == study_uid).order_by(Case.id, Revision.number.desc(), Result.id)
    ).all()
    newest: dict[int, int] = {}
    for case_id, result in rows:
        newest.setdefault(case_id, result.revision_id)
    gone = withdrawn(session, "result", [one.id for _, one in rows])
    return [Said(one.model, one.status, one.reason, one.summary) for case_id, one in rows
            if one.revision_id == newest[case_id] and one.id not in gone]
