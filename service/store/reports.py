"""Reports in the store: the results a report of a study is made from, and its versions, of which none is ever changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, insert, select, update

from service.store import entries, messages
from service.store.ehr_tables import DraftReport, ReportResult
from service.store.engine import lock
from service.store.store import Store
from service.store.tables import Case, Instance, Result, Revision, RevisionInstance
from service.store.verdicts import corrected, withdrawn


class StaleReport(Exception):
    """Another version was written since the one a change was made to."""


@dataclass(frozen=True)
class CaseImages:
    """The images of one case as they stand: how many, and the first of them."""

    sop_uid: str
    sop_class_uid: str
    sha256: str
    count: int


@dataclass(frozen=True)
class CaseResult:
    """One result of the newest revision of a case; without ``id`` there is none yet. ``case`` counts the cases from 1."""

    case: int
    id: int | None
    model: str = ""
    status: str = "pending"
    summary: dict[str, Any] = field(default_factory=dict)
    made_at: float = 0.0
    corrected: list[dict[str, Any]] = field(default_factory=list)  # findings as a professional left them: service/assessment.py
    corrected_at: float = 0.0


@dataclass(frozen=True)
class Version:
    """One version of a report, before it has a number, or as it is read back."""

    state: str
    language: str
    content: dict[str, Any]
    author: dict[str, Any]
    made_at: float
    results: tuple[int, ...] = ()
    number: int = 0


@dataclass(frozen=True)
class Outgoing:
    """A message that leaves because of a version: written with it, or not at all."""

    target: str
    kind: str
    key: str
    content: dict[str, Any] = field(repr=False)


def cases_of(store: Store, study_uid: str) -> tuple[list[CaseImages], list[CaseResult]]:
    """Return the cases of a study in the order they came, and the results of the newest revision of each.

    What a professional withdrew is no result any more: a report that rests on it is not made from the results of now.
    """
    images: list[CaseImages] = []
    results: list[CaseResult] = []
    with store.reading() as session:
        for case in session.scalars(select(Case).where(Case.study_uid == study_uid).order_by(Case.id)).all():
            revision = session.scalars(
                select(Revision).where(Revision.case_id == case.id).order_by(Revision.number.desc()).limit(1)
            ).first()
            wanted = select(Instance.sop_uid, Instance.sop_class_uid, Instance.sha256).order_by(Instance.id)
            if revision is None:
                wanted = wanted.where(Instance.case_id == case.id, Instance.current)
            else:
                wanted = wanted.join(RevisionInstance, RevisionInstance.instance_id == Instance.id).where(
                    RevisionInstance.revision_id == revision.id)
            rows = session.execute(wanted).all()
            if not rows:
                continue
            images.append(CaseImages(rows[0][0], rows[0][1], rows[0][2], len(rows)))
            made = [] if revision is None else session.scalars(
                select(Result).where(Result.revision_id == revision.id).order_by(Result.id)).all()
            gone = withdrawn(session, "result", [one.id for one in made])
            made = [one for one in made if one.id not in gone]
            place, changed = len(images), corrected(session, [one.id for one in made])
            results += [CaseResult(place, one.id, one.model, one.status, one.summary, one.created_at, *changed.get(one.id, ([], 0.0)))
                        for one in made]
            if not (made or gone) or case.due_at is not None:
                results.append(CaseResult(place, None))
    return images, results


def versions(store: Store, study_uid: str) -> list[Version]:
    """Return all versions of the report of a study, the first first."""
    with store.reading() as session:
        rows = session.scalars(select(DraftReport).where(DraftReport.study_uid == study_uid).order_by(DraftReport.number)).all()
        cited: dict[int, list[int]] = {}
        for report_id, result_id in session.execute(
            select(ReportResult.report_id, ReportResult.result_id).where(ReportResult.report_id.in_([row.id for row in rows]))
            .order_by(ReportResult.result_id)
        ):
            cited.setdefault(report_id, []).append(result_id)
        return [Version(row.state, row.language, row.content, row.author, row.made_at, tuple(cited.get(row.id, ())), row.number)
                for row in rows]


def add(store: Store, study_uid: str, news: Sequence[Version], *, after: int, sent: Sequence[Outgoing] = ()) -> int:
    """Write versions that follow number ``after``, and return the last number. Raises StaleReport when others came between.

    A validated one makes the validated ones before it superseded: that word is the only thing of a version that changes.
    ``sent`` goes into the outbox in the same transaction.
    """
    with store.session() as session:
        lock(session)
        if (session.scalar(select(func.max(DraftReport.number)).where(DraftReport.study_uid == study_uid)) or 0) != after:
            raise StaleReport
        for number, one in enumerate(news, start=after + 1):
            if one.state == "validated":
                session.execute(update(DraftReport).where(
                    DraftReport.study_uid == study_uid, DraftReport.state == "validated").values(state="superseded"))
            row = DraftReport(study_uid=study_uid, number=number, state=one.state, language=one.language, content=one.content,
                              author=one.author, made_at=one.made_at)
            session.add(row)
            session.flush()
            if one.results:
                session.execute(insert(ReportResult), [{"report_id": row.id, "result_id": result} for result in one.results])
        if news[-1].state == "validated":
            rpps = news[-1].author.get("rpps", "")
            entries.validate(session, study_uid, actor=f"rpps:{rpps}" if rpps else "")
        for letter in sent:
            messages.add(session, target=letter.target, kind=letter.kind, key=letter.key, content=letter.content)
    return after + len(news)
