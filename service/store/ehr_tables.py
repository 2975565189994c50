"""The tables of the EHR side: what is sent as text, remote monitoring, CDS Hooks, bulk scoring, drafts of reports.

    messages (outbox)      watched ─< measurements, alerts      cards ─< feedback      bulk_jobs      draft_reports      seen_tokens

Times are seconds since 1970 in UTC. ``subject`` is a reference such as Patient/12: it stays in here and never in a log.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables import Base, Json, Leased


class Message(Leased, Base):
    """The outbox of what is not DICOM: a FHIR bundle, an HL7 v2 message, an XDM archive. ``key`` makes a repeat one row."""

    __tablename__ = "messages"
    target: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))  # fhir | mllp | xdm
    key: Mapped[str] = mapped_column(String(64))  # a hash of what it is about and in which version
    content: Mapped[Json]
    __table_args__ = (UniqueConstraint("target", "key"), Index("next_message", "state", "target", "priority", "id"))


class Measurement(Base):
    """One value of a monitored person as it stands: a correction changes the row, an error takes it back."""

    __tablename__ = "measurements"
    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(255))
    source: Mapped[str] = mapped_column(String(255))  # reference or identifier of the Observation
    identifier: Mapped[str] = mapped_column(String(255), default="")  # its business identifier, which outlives its reference
    part: Mapped[str] = mapped_column(String(64), default="")  # component code, "" for the Observation's own value
    code: Mapped[str] = mapped_column(String(64))  # our code
    value: Mapped[float]  # in our unit
    at: Mapped[float]
    status: Mapped[str] = mapped_column(String(24))
    version: Mapped[float] = mapped_column(default=0.0)  # when it was issued or last updated: an older one never wins
    received_at: Mapped[float]
    __table_args__ = (UniqueConstraint("subject", "source", "part"), Index("recent_measurements", "subject", "code", "at"))


class Watched(Base):
    """What one model last said of one monitored person, and whether an alert stands."""

    __tablename__ = "watched"
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    model: Mapped[str] = mapped_column(String(120), primary_key=True)  # the name without the version
    state: Mapped[str] = mapped_column(String(12))  # calm | alert | no_data
    alert_id: Mapped[int | None]
    scored_until: Mapped[float]  # time of the latest measurement that was scored
    value: Mapped[float | None]  # the latest probability
    below_since: Mapped[float | None]
    due_at: Mapped[float | None] = mapped_column(index=True)  # when silence must be noticed
    detail: Mapped[Json]
    changed_at: Mapped[float]


class Alert(Base):
    """One episode: raised once, cleared once. ``detail`` holds what a card shows."""

    __tablename__ = "alerts"
    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), index=True)
    model: Mapped[str] = mapped_column(String(120))
    episode: Mapped[str] = mapped_column(String(64), unique=True)  # a hash of subject, model and the raising measurement's time
    raised_at: Mapped[float]
    cleared_at: Mapped[float | None]
    reason: Mapped[str] = mapped_column(String(24), default="")  # why it was cleared: below | no_data | corrected
    detail: Mapped[Json]


class SeenToken(Base):
    """A token that was used: it counts once, in all processes."""

    __tablename__ = "seen_tokens"
    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    jti: Mapped[str] = mapped_column(String(255), primary_key=True)
    expires_at: Mapped[float] = mapped_column(index=True)


class Card(Base):
    """A card that was shown, without its text: enough to say which model and input feedback is about."""

    __tablename__ = "cards"
    uuid: Mapped[str] = mapped_column(String(36), primary_key=True)
    service: Mapped[str] = mapped_column(String(64))
    hook: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(12))  # scored | refused | results | alert
    input_sha256: Mapped[str] = mapped_column(String(64))
    value: Mapped[float | None]
    suggestions: Mapped[Json]
    shown_at: Mapped[float] = mapped_column(index=True)


class Feedback(Base):
    """What became of a card. ``comment`` may hold anything a person typed: it is shown to nobody but the model's owner."""

    __tablename__ = "feedback"
    id: Mapped[int] = mapped_column(primary_key=True)
    card_uuid: Mapped[str] = mapped_column(String(64), index=True)  # of a card that may not be ours any more
    service: Mapped[str] = mapped_column(String(64))
    issuer: Mapped[str] = mapped_column(String(255))
    outcome: Mapped[str] = mapped_column(String(12))  # accepted | overridden
    reason_code: Mapped[str] = mapped_column(String(64))
    reason_system: Mapped[str] = mapped_column(String(255))
    comment: Mapped[str] = mapped_column(Text)
    accepted: Mapped[Json]
    outcome_at: Mapped[float | None]
    received_at: Mapped[float]
    __table_args__ = (UniqueConstraint("card_uuid", "outcome", "outcome_at"),)


class BulkJob(Leased, Base):
    """Scoring a population: one NDJSON file in, NDJSON files out; ``done`` of ``total`` lines are finished."""

    __tablename__ = "bulk_jobs"
    key: Mapped[str] = mapped_column(String(36), unique=True)  # what the address of its status ends with
    request: Mapped[Json]
    input_sha256: Mapped[str] = mapped_column(String(64))
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int]
    scored: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    unusable: Mapped[int] = mapped_column(default=0)
    files: Mapped[Json]  # what is there so far: type → list of sha256


class DraftReport(Base):
    """A draft of an imaging report, each version a row: made by Diaphane, edited, or validated by a professional."""

    __tablename__ = "draft_reports"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_uid: Mapped[str] = mapped_column(String(64), index=True)
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(12))  # draft | edited | validated | superseded
    language: Mapped[str] = mapped_column(String(2))
    content: Mapped[Json]  # sections of sentences with their sources
    author: Mapped[Json]  # of an edit or a validation; {} for a draft made here
    made_at: Mapped[float]
    __table_args__ = (UniqueConstraint("study_uid", "number"),)


class ReportResult(Base):
    """Which results a version of a report rests on."""

    __tablename__ = "report_results"
    report_id: Mapped[int] = mapped_column(ForeignKey("draft_reports.id"), primary_key=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("results.id"), primary_key=True)
