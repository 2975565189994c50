"""What is kept about one result besides its words: the images it rests on, what was made of it, where that went, who looked."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import select

from service.store.ehr_tables import Card, Feedback, Message
from service.store.messages import key_of
from service.store.review_tables import AuditLine, AuditPerson
from service.store.store import Store
from service.store.tables import Delivery, Instance, Job, Result, ResultObject, Revision, RevisionInstance

LOOKED = ("view", "verdict", "validate", "export", "replay")
MOST_LOOKS = 40


@dataclass(frozen=True)
class Made:
    """One DICOM object that was made of a result."""

    kind: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Sent:
    """One delivery: ``state`` as in the outbox, ``at`` when it was done, or was to be."""

    target: str
    state: str
    attempts: int
    at: float


@dataclass(frozen=True)
class History:
    """How an imaging result came to be, by its times."""

    revision: int
    received_at: float
    last_received_at: float
    sealed_at: float
    scored_at: float
    attempts: int
    images: tuple[str, ...]  # SHA-256 of each file, in the order they came
    made: tuple[Made, ...]
    sent: tuple[Sent, ...]


@dataclass(frozen=True)
class Look:
    """That somebody did something with it. ``who`` is a professional, or a program."""

    at: float
    who: str
    action: str


@dataclass(frozen=True)
class Told:
    """A card that told a risk, and what became of it."""

    hook: str
    shown_at: float
    outcomes: tuple[tuple[float, str], ...]


def history_of(store: Store, result_id: int) -> History | None:
    """Return how a result came to be; None when it is not there."""
    with store.reading() as session:
        row = session.execute(
            select(Result, Revision, Job).join(Revision, Revision.id == Result.revision_id)
            .join(Job, Job.revision_id == Revision.id, isouter=True).where(Result.id == result_id)
        ).first()
        if row is None:
            return None
        result, revision, job = row
        images = session.execute(
            select(Instance.sha256, Instance.received_at).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
            .where(RevisionInstance.revision_id == revision.id).order_by(Instance.id)
        ).all()
        made = session.execute(
            select(ResultObject.kind, ResultObject.sha256, ResultObject.size).where(ResultObject.result_id == result_id)
            .order_by(ResultObject.place)
        ).all()
        sent = [(one.target, one.state, one.attempts, one.finished_at or one.not_before)
                for one in session.scalars(select(Delivery).where(Delivery.result_id == result_id))]
        told = key_of("imaging", str(revision.id), result.model)
        sent += [(one.target, one.state, one.attempts, one.finished_at or one.not_before)
                 for one in session.scalars(select(Message).where(Message.key == told))]
        times = [at for _, at in images] or [revision.sealed_at]
        return History(
            revision.number, min(times), max(times), revision.sealed_at, result.created_at, job.attempts if job else 0,
            tuple(sha256 for sha256, _ in images), tuple(Made(*one) for one in made), tuple(Sent(*one) for one in sorted(sent)),
        )


def told_by_card(store: Store, uuid: str) -> Told | None:
    """Return the card that told a risk; None when there is none any more."""
    if not uuid:
        return None
    with store.reading() as session:
        card = session.get(Card, uuid)
        if card is None:
            return None
        rows = session.scalars(select(Feedback).where(Feedback.card_uuid == uuid).order_by(Feedback.id))
        return Told(card.hook, card.shown_at, tuple((one.outcome_at or one.received_at, one.outcome) for one in rows))


def looks_at(store: Store, persons: Collection[str], items: Collection[str]) -> list[Look]:
    """Return who did what with something of a person, the latest first. Found by the person: the items alone have no index."""
    if not persons or not items:
        return []
    with store.reading() as session:
        rows = session.execute(
            select(AuditLine.at, AuditLine.actor_name, AuditLine.actor, AuditLine.action)
            .join(AuditPerson, AuditPerson.line_id == AuditLine.id)
            .where(AuditPerson.person.in_(persons), AuditLine.item.in_(items), AuditLine.action.in_(LOOKED),
                   AuditLine.outcome == "success")
            .order_by(AuditLine.id.desc()).distinct().limit(MOST_LOOKS)
        ).all()
    return [Look(at, name or actor, action) for at, name, actor, action in rows]
