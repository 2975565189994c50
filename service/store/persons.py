"""Where the rows of a person are: studies by what their attributes say, subjects of records, risks, alerts, messages, bulk files."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, or_, select

from service.store.ehr_tables import Alert, BulkJob, Measurement, Message, Watched
from service.store.review_tables import Entry, Risk, Verdict, VerdictObject
from service.store.store import Store
from service.store.tables import Case, Delivery, Result, Revision, Study, Workitem

Json = dict[str, Any]
_BATCH = 500


@dataclass(frozen=True)
class KnownRisk:
    """One risk, as far as it says whom it is about."""

    id: int
    key: str
    person: str
    subject: str = field(repr=False)
    patient: Json = field(repr=False)


def studies_saying(store: Store, texts: Collection[str], persons: Collection[str]) -> Iterator[tuple[str, Json]]:
    """Yield (UID, attributes) of the studies whose attributes hold one of some texts, or whose line in the worklist bears a key.

    The whole table is read: an identifier may stand in OtherPatientIDsSequence alone.
    """
    named = select(Entry.target).where(Entry.kind == "study", Entry.person.in_(list(persons)))
    wanted: list[ColumnElement[bool]] = [Study.uid.in_(named)]
    wanted += [cast(Study.attributes, Text).contains(json.dumps(one)[1:-1], autoescape=True) for one in sorted(texts)]
    with store.reading() as session:
        rows = session.execute(select(Study.uid, Study.attributes).where(or_(*wanted)).execution_options(yield_per=_BATCH))
        yield from ((uid, attributes) for uid, attributes in rows)


def study_attributes(store: Store, uid: str) -> Json | None:
    """Return the attributes of a study, None when there is no such study."""
    with store.reading() as session:
        return session.scalar(select(Study.attributes).where(Study.uid == uid))


def subjects(store: Store) -> set[str]:
    """Return every reference that measurements, alerts and risks are about."""
    with store.reading() as session:
        columns = [table.subject for table in (Measurement, Watched, Alert, Risk)]
        return {one for column in columns for one in session.scalars(select(column).distinct()) if one}


def risks_of(store: Store, persons: Collection[str], about: Collection[str]) -> list[KnownRisk]:
    """Return the risks of persons (their keys) and of subjects (their references)."""
    with store.reading() as session:
        rows = session.execute(
            select(Risk.id, Risk.key, Risk.person, Risk.subject, Risk.patient)
            .where(or_(Risk.person.in_(list(persons)), Risk.subject.in_(list(about)))).order_by(Risk.id))
        return [KnownRisk(*row) for row in rows]


def workitems(store: Store, texts: Collection[str]) -> Iterator[tuple[str, Json]]:
    """Yield (UID, attributes) of the procedure steps whose attributes hold one of some texts."""
    if not texts:
        return
    wanted = [cast(Workitem.attributes, Text).contains(json.dumps(one)[1:-1], autoescape=True) for one in sorted(texts)]
    with store.reading() as session:
        yield from [(uid, attributes) for uid, attributes in session.execute(
            select(Workitem.uid, Workitem.attributes).where(or_(*wanted)))]


def messages_in_batches(store: Store) -> Iterator[Sequence[Message]]:
    """Yield all messages of the outbox, some at a time, each batch in a transaction of its own."""
    after = 0
    while True:
        with store.reading() as session:
            batch = session.scalars(select(Message).where(Message.id > after).order_by(Message.id).limit(_BATCH)).all()
        if not batch:
            return
        after = batch[-1].id
        yield batch


def bulk_jobs(store: Store) -> list[BulkJob]:
    """Return all bulk jobs."""
    with store.reading() as session:
        return list(session.scalars(select(BulkJob).order_by(BulkJob.id)))


def receivers(store: Store, study_uids: Collection[str]) -> dict[str, int]:
    """Return who holds a copy, as far as is known here: target → number of results that it got, or may have got."""
    revisions = select(Revision.id).join(Case, Case.id == Revision.case_id).where(Case.study_uid.in_(list(study_uids)))
    results = select(Result.id).where(Result.revision_id.in_(revisions))
    found: dict[str, int] = {}
    with store.reading() as session:
        for target in session.scalars(select(Delivery.target).where(
            Delivery.result_id.in_(results), or_(Delivery.state.in_(("done", "running")), Delivery.attempts > 0))):
            found[target] = found.get(target, 0) + 1
    return found


def files_of_verdicts(store: Store, study_uids: Collection[str]) -> set[str]:
    """Return the SHA-256 of what verdicts on the results of some studies made: messages name these."""
    revisions = select(Revision.id).join(Case, Case.id == Revision.case_id).where(Case.study_uid.in_(list(study_uids)))
    said = select(Verdict.id).where(
        Verdict.target_kind == "result", Verdict.target_id.in_(select(Result.id).where(Result.revision_id.in_(revisions))))
    with store.reading() as session:
        return set(session.scalars(select(VerdictObject.sha256).where(VerdictObject.verdict_id.in_(said))))
