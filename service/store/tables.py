"""The tables. Times are seconds since 1970 in UTC, so that SQLite and PostgreSQL order them alike.

    studies ─< series ─< instances >─ revisions ─ jobs
                            │            │
                          cases ────────┘─< results ─< result_objects
                                               └─────< deliveries
    workitems (UPS)

A *case* is what a model is given: the slices of one series, or one radiograph or multi-frame object. A *revision* is a
case as it stood when it was sealed: its instances never change. One job a revision; one result a revision and model.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

UID = String(64)
Json = dict[str, Any]


class Base(DeclarativeBase):
    """What all tables share."""

    # Every constraint has a name, so that a migration can change it on either database.
    metadata = MetaData(naming_convention={
        "ix": "ix_%(column_0_label)s", "uq": "uq_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    })
    type_annotation_map = {float: Double, Json: JSON}  # noqa: RUF012  SQLAlchemy's own way


class Study(Base):
    """One study; ``attributes`` is DICOM JSON (PS3.18 annex F) of patient and study, for QIDO-RS."""

    __tablename__ = "studies"
    uid: Mapped[str] = mapped_column(UID, primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(64), index=True)
    patient_name: Mapped[str] = mapped_column(String(324), index=True)  # in lower case: names match without regard to it
    study_date: Mapped[str] = mapped_column(String(8), index=True)
    accession_number: Mapped[str] = mapped_column(String(16), index=True)
    attributes: Mapped[Json]
    received_at: Mapped[float] = mapped_column(index=True)


class Series(Base):
    """One series of one study, received or made here. A UID seen under two studies is two series: no two patients mix."""

    __tablename__ = "series"
    study_uid: Mapped[str] = mapped_column(ForeignKey("studies.uid"), primary_key=True)
    uid: Mapped[str] = mapped_column(UID, primary_key=True, index=True)
    modality: Mapped[str] = mapped_column(String(16), index=True)
    attributes: Mapped[Json]


class Case(Base):
    """What one model run looks at. ``due_at`` is when it may be sealed; None when nothing waits."""

    __tablename__ = "cases"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(UID)  # SeriesInstanceUID of slices, SOPInstanceUID of a lone image
    kind: Mapped[str] = mapped_column(String(8))  # slices | image
    study_uid: Mapped[str] = mapped_column(UID, index=True)
    series_uid: Mapped[str] = mapped_column(UID, index=True)
    calling_ae: Mapped[str] = mapped_column(String(16))
    called_ae: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int]  # the highest of its instances: 2 urgent, 1 high, 0 medium, -1 low
    due_at: Mapped[float | None] = mapped_column(index=True)
    revision: Mapped[int]  # number of the last sealed one, 0 before the first
    received_at: Mapped[float]
    last_received_at: Mapped[float]
    __table_args__ = (UniqueConstraint("study_uid", "key"),)


class Instance(Base):
    """One SOP instance with one content. A second content under the same UID is a second row; one is ``current``."""

    __tablename__ = "instances"
    id: Mapped[int] = mapped_column(primary_key=True)
    sop_uid: Mapped[str] = mapped_column(UID, index=True)
    sop_class_uid: Mapped[str] = mapped_column(UID)
    series_uid: Mapped[str] = mapped_column(UID, index=True)
    study_uid: Mapped[str] = mapped_column(UID, index=True)
    case_id: Mapped[int | None] = mapped_column(ForeignKey("cases.id"), index=True)  # None: made here
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)
    transfer_syntax: Mapped[str] = mapped_column(UID)
    attributes: Mapped[Json]  # DICOM JSON of the instance level, for QIDO-RS
    origin: Mapped[str] = mapped_column(String(8))  # received | result
    current: Mapped[bool]
    received_at: Mapped[float]
    __table_args__ = (
        ForeignKeyConstraint(["study_uid", "series_uid"], ["series.study_uid", "series.uid"]),
        UniqueConstraint("sop_uid", "sha256"),
        Index("one_current", "sop_uid", unique=True, sqlite_where=text("current"), postgresql_where=text("current")),
    )


class OpenAssociation(Base):
    """That a DIMSE association has sent images of a case and is not released yet."""

    __tablename__ = "open_associations"
    association: Mapped[str] = mapped_column(String(32), primary_key=True)  # a random name, not the peer's
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), primary_key=True)
    touched_at: Mapped[float]


class Revision(Base):
    """A sealed case."""

    __tablename__ = "revisions"
    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("cases.id"), index=True)
    number: Mapped[int]
    sealed_at: Mapped[float]  # the content date and time of everything made from it
    __table_args__ = (UniqueConstraint("case_id", "number"),)


class RevisionInstance(Base):
    """Which instances a revision holds."""

    __tablename__ = "revision_instances"
    revision_id: Mapped[int] = mapped_column(ForeignKey("revisions.id"), primary_key=True)
    instance_id: Mapped[int] = mapped_column(ForeignKey("instances.id"), primary_key=True, index=True)


class Leased:
    """What jobs and deliveries share: a row that one process at a time holds for a while.

    States: queued → running → done, or back to queued with a later ``not_before``; quarantined after too many attempts.
    """

    id: Mapped[int] = mapped_column(primary_key=True)
    priority: Mapped[int]
    state: Mapped[str] = mapped_column(String(12))
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(default=0.0)
    claimed_by: Mapped[str] = mapped_column(String(64), default="")
    lease_until: Mapped[float] = mapped_column(default=0.0)
    reason: Mapped[str] = mapped_column(Text, default="")  # why the last attempt failed; never a value of the image
    created_at: Mapped[float]
    finished_at: Mapped[float | None]


class Job(Leased, Base):
    """One revision to be scored."""

    __tablename__ = "jobs"
    revision_id: Mapped[int] = mapped_column(ForeignKey("revisions.id"), unique=True)
    __table_args__ = (Index("next_job", "state", "priority", "id"),)
    triaged: Mapped[bool] = mapped_column(default=False, index=True)  # the site rules have said its priority


class Result(Base):
    """What one model said of one revision; model "none" when nothing fitted or nothing could be read."""

    __tablename__ = "results"
    id: Mapped[int] = mapped_column(primary_key=True)
    revision_id: Mapped[int] = mapped_column(ForeignKey("revisions.id"), index=True)
    model: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(12))  # scored | refused | unfit | unusable | failed
    reason: Mapped[str] = mapped_column(String(64))
    summary: Mapped[Json]  # the result as JSON without arrays
    created_at: Mapped[float] = mapped_column(index=True)
    __table_args__ = (UniqueConstraint("revision_id", "model"),)


class ResultObject(Base):
    """One DICOM object of a result, in the order of delivery; its row in ``instances`` has origin "result"."""

    __tablename__ = "result_objects"
    result_id: Mapped[int] = mapped_column(ForeignKey("results.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))  # sr | sr-roi | seg | map | capture
    sop_uid: Mapped[str] = mapped_column(UID)
    sop_class_uid: Mapped[str] = mapped_column(UID)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)


class OwnObject(Base):
    """The UID of an object made here. Kept when its study is pruned, so that one coming back never starts a loop."""

    __tablename__ = "own_objects"
    sop_uid: Mapped[str] = mapped_column(UID, primary_key=True)
    made_at: Mapped[float]


class Leftover(Base):
    """A file whose rows were pruned; it goes next, unless a new row holds it meanwhile."""

    __tablename__ = "leftovers"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)


class Delivery(Leased, Base):
    """The outbox: one result to one target."""

    __tablename__ = "deliveries"
    result_id: Mapped[int] = mapped_column(ForeignKey("results.id"), index=True)
    target: Mapped[str] = mapped_column(String(64))
    __table_args__ = (UniqueConstraint("result_id", "target"), Index("next_delivery", "state", "target", "priority", "id"))


class Workitem(Base):
    """One Unified Procedure Step (PS3.18, chapter 11); ``attributes`` is its DICOM JSON."""

    __tablename__ = "workitems"
    uid: Mapped[str] = mapped_column(UID, primary_key=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    transaction_uid: Mapped[str] = mapped_column(UID, default="")  # who claimed it knows it; never given out
    study_uid: Mapped[str] = mapped_column(UID, index=True)
    priority: Mapped[int]
    attributes: Mapped[Json]
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    changed_at: Mapped[float]
