"""Disclosure: every row of a person as it is held, table by table, for who asks what is known of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, or_, select

from service.store.audit import Line
from service.store.audit_search import about as lines_about
from service.store.ehr_tables import Alert, Card, DraftReport, Feedback, Measurement, Watched
from service.store.review_tables import Entry, Risk, Verdict
from service.store.store import Store
from service.store.tables import Base, Case, Delivery, Instance, Result, Revision, Series, Study

Json = dict[str, Any]
_HERE = frozenset(("claimed_by", "lease_until", "not_before", "same", "changed", "place"))  # says how we work, nothing of a person


@dataclass(frozen=True)
class Image:
    """One file of a study, received or made here."""

    study_uid: str
    sha256: str
    origin: str


def rows_of(store: Store, *, persons: Collection[str], studies: Collection[str], subjects: Collection[str],
            risks: Collection[int]) -> dict[str, list[Json]]:
    """Return table → rows of a person."""
    uids, about, ids = list(studies), list(subjects), list(risks)
    revisions = select(Revision.id).join(Case, Case.id == Revision.case_id).where(Case.study_uid.in_(uids))
    with store.reading() as session:
        results = list(session.scalars(select(Result.id).where(Result.revision_id.in_(revisions))))
        alerts = list(session.scalars(select(Alert.id).where(Alert.subject.in_(about))))
        keys = list(session.scalars(select(Risk.key).where(Risk.id.in_(ids))))
        cards = [one for one in session.scalars(select(Risk.card).where(Risk.id.in_(ids))) if one]
        said = [and_(Verdict.target_kind == kind, Verdict.target_id.in_(of))
                for kind, of in (("result", results), ("risk", ids), ("alert", alerts))]
        lines = [and_(Entry.kind == kind, Entry.target.in_(of))
                 for kind, of in (("study", uids), ("risk", keys), ("alert", [str(one) for one in alerts]))]
        wanted: dict[type[Base], Any] = {
            Study: Study.uid.in_(uids), Series: Series.study_uid.in_(uids), Instance: Instance.study_uid.in_(uids),
            Result: Result.id.in_(results), Delivery: Delivery.result_id.in_(results), DraftReport: DraftReport.study_uid.in_(uids),
            Measurement: Measurement.subject.in_(about), Watched: Watched.subject.in_(about), Alert: Alert.subject.in_(about),
            Risk: Risk.id.in_(ids), Card: Card.uuid.in_(cards), Feedback: Feedback.card_uuid.in_(cards), Verdict: or_(*said),
            Entry: or_(Entry.person.in_([one for one in persons if one]), *lines),
        }
        return {table.__tablename__: [_plain(row) for row in session.scalars(select(table).where(where))]
                for table, where in wanted.items()}


def images_of(store: Store, studies: Collection[str]) -> list[Image]:
    """Return the files of studies, in the order they came."""
    with store.reading() as session:
        rows = session.execute(select(Instance.study_uid, Instance.sha256, Instance.origin)
                               .where(Instance.study_uid.in_(list(studies))).order_by(Instance.id))
        return [Image(*row) for row in rows]


def audit_of(store: Store, persons: Collection[str]) -> Iterator[Line]:
    """Yield the lines of the audit about a person, the newest first."""
    before = 0
    while persons:
        with store.reading() as session:
            found = lines_about(session, list(persons), before=before)
        yield from found.lines
        before = found.older
        if not before:
            return


def _plain(row: Base) -> Json:
    return {column.name: getattr(row, column.name) for column in row.__table__.columns if column.name not in _HERE}
