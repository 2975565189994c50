"""The tables of the clinician's page: what waits to be looked at, risks that were told, verdicts, who did what, who may.

    worklist_entries ── studies | risks | alerts       verdicts ── results | risks | alerts       audit ─< audit_persons
    sessions   login_links   pending_logins   attempts               oppositions   holds

Times are seconds since 1970 in UTC. ``person`` is a keyed hash of an identifier (``Store.pseudonym``), never the identifier.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.store.tables import UID, Base, Json

KEY = String(32)  # random, in addresses of pages
# What is searched by its beginning: in an order of bytes, which PostgreSQL's other orders are not.
NAME = String(324).with_variant(String(324, collation="C"), "postgresql")
NUMBER = String(64).with_variant(String(64, collation="C"), "postgresql")
PERSON = String(32)


class Entry(Base):
    """One line of the worklist. ``place`` orders it: the most urgent first, and of those the one that waits longest."""

    __tablename__ = "worklist_entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(KEY, unique=True)
    kind: Mapped[str] = mapped_column(String(8))  # study | risk | alert
    target: Mapped[str] = mapped_column(String(64))  # the study's UID, the key of the risk, the id of the alert
    person: Mapped[str] = mapped_column(PERSON, default="", index=True)
    patient_name: Mapped[str] = mapped_column(NAME, default="")  # in lower case without accents: what is searched
    patient_id: Mapped[str] = mapped_column(NUMBER, default="")
    accession_number: Mapped[str] = mapped_column(NUMBER, default="")
    department: Mapped[str] = mapped_column(String(64), default="")
    model: Mapped[str] = mapped_column(String(255), default="")  # release ids, with blanks between
    modality: Mapped[str] = mapped_column(String(32), default="")
    urgency: Mapped[int]  # 3 critical, 2 high, 1 routine, 0 low
    waiting_since: Mapped[float]
    place: Mapped[float]  # (3 - urgency) * 1e11 + waiting_since
    open: Mapped[bool]
    state: Mapped[str] = mapped_column(String(12))  # new | seen | validated | corrected | rejected | refused
    reason: Mapped[str] = mapped_column(String(64), default="")  # of a refusal
    actor: Mapped[str] = mapped_column(String(255), default="")  # who opened or decided it last
    detail: Mapped[Json]  # what a line shows
    changed: Mapped[int] = mapped_column(BigInteger, index=True)  # number of the last change, in the order of changing
    created_at: Mapped[float]
    changed_at: Mapped[float]
    __table_args__ = (
        UniqueConstraint("kind", "target"),
        # What is filtered by stands behind the order, so that filters are answered from the index alone.
        Index("next_entry", "open", "place", "id", "kind", "state", "department", "modality", "model"),
        Index("latest_entry", "open", "changed", "kind", "state", "department", "modality", "model", "urgency"),
        Index("next_entry_of_department", "department", "open", "place", "id", "kind", "state", "modality", "model"),
        Index("latest_entry_of_department", "department", "open", "changed", "kind", "state", "modality", "model", "urgency"),
        Index("entries_of_actor", "actor", "changed"),
        Index("entries_by_name", "patient_name"),
        Index("entries_by_patient", "patient_id"),
        Index("entries_by_accession", "accession_number"),
    )


class EntryChange(Base):
    """The number of the last change of the worklist: one row."""

    __tablename__ = "worklist_change"
    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class Risk(Base):
    """One risk that was told of one person: the answer, and the measurements that score it again."""

    __tablename__ = "risks"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(KEY, unique=True)
    same: Mapped[str] = mapped_column(String(64), unique=True)  # a hash of whom, which release, which input: a repeat is one row
    subject: Mapped[str] = mapped_column(String(255), index=True)
    person: Mapped[str] = mapped_column(PERSON, index=True)
    encounter: Mapped[str] = mapped_column(String(255), default="")
    department: Mapped[str] = mapped_column(String(64), default="")
    model: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(12))  # scored | refused
    reason: Mapped[str] = mapped_column(String(64), default="")
    value: Mapped[float | None]
    answer: Mapped[Json]  # models.prediction.to_json of the result
    record: Mapped[Json]  # models.record_json of the record
    patient: Mapped[Json]  # what a page shows of whom it is about
    moment: Mapped[float | None]  # up to when the record was looked at
    source: Mapped[str] = mapped_column(String(64))  # predict | hook:<hook> | monitoring
    card: Mapped[str] = mapped_column(String(36), default="", index=True)  # uuid of the card that told it
    scored_at: Mapped[float] = mapped_column(index=True)
    __table_args__ = (
        Index("trend", "person", "model", "encounter", "moment"),
        Index("department_now", "model", "department", "scored_at"),
    )


class Verdict(Base):
    """What a person said of one result. Never changed: a second thought is the next number."""

    __tablename__ = "verdicts"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(KEY, unique=True)
    token: Mapped[str] = mapped_column(KEY, unique=True)  # of the form it was given with: sent twice, it counts once
    target_kind: Mapped[str] = mapped_column(String(8))  # result | risk | alert
    target_id: Mapped[int]
    number: Mapped[int]
    model: Mapped[str] = mapped_column(String(120))
    decision: Mapped[str] = mapped_column(String(8))  # agree | correct | reject
    reason_code: Mapped[str] = mapped_column(String(64), default="")
    comment: Mapped[str] = mapped_column(Text, default="")
    content: Mapped[Json]
    reader: Mapped[str] = mapped_column(String(8))  # first | second
    reviewer: Mapped[Json]
    reviewer_subject: Mapped[str] = mapped_column(String(255), index=True)
    counted_by: Mapped[Json]  # sex, age band, department: what agreement is counted by
    made_at: Mapped[float] = mapped_column(index=True)
    __table_args__ = (
        UniqueConstraint("target_kind", "target_id", "number"),
        Index("verdicts_by_model", "model", "made_at"),
    )


class VerdictObject(Base):
    """One DICOM object that a verdict made: a verified report, a rejection note, a corrected region."""

    __tablename__ = "verdict_objects"
    verdict_id: Mapped[int] = mapped_column(ForeignKey("verdicts.id"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))
    sop_uid: Mapped[str] = mapped_column(UID)
    sop_class_uid: Mapped[str] = mapped_column(UID)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    size: Mapped[int] = mapped_column(BigInteger)


class AuditLine(Base):
    """One thing that was done. Each line carries the hash of the one before it, so that a change shows."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)  # 1, 2, 3, … without holes
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(255))
    actor_name: Mapped[str] = mapped_column(String(255))
    roles: Mapped[str] = mapped_column(String(255))
    action: Mapped[str] = mapped_column(String(24))
    kind: Mapped[str] = mapped_column(String(24), default="")  # of what it was done to
    item: Mapped[str] = mapped_column(String(64), default="")  # its random key
    persons: Mapped[Json]  # {"keys": [...]}
    outcome: Mapped[str] = mapped_column(String(8))  # success | denied | failed
    detail: Mapped[Json]
    previous: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    __table_args__ = (
        Index("audit_by_actor", "actor", "id"), Index("audit_by_action", "action", "id"), Index("audit_by_outcome", "outcome", "id"),
    )


class AuditPerson(Base):
    """Whom a line of the audit is about, for "who looked at this patient"."""

    __tablename__ = "audit_persons"
    person: Mapped[str] = mapped_column(PERSON, primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("audit.id"), primary_key=True, index=True)


class AuditCursor(Base):
    """Up to which line the audit was sent to a place, such as the syslog server; and before which line it was pruned."""

    __tablename__ = "audit_cursors"
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    line_id: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[str] = mapped_column(String(64), default="")
    holder: Mapped[str] = mapped_column(String(64), default="")  # the one process that sends, until it falls silent
    until: Mapped[float] = mapped_column(default=0.0)
    changed_at: Mapped[float]


class LoginSession(Base):
    """Somebody who is logged in. The cookie's value is not kept, only its hash."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of the cookie
    subject: Mapped[str] = mapped_column(String(255), index=True)
    caller: Mapped[Json]
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    login_at: Mapped[float]
    seen_at: Mapped[float]
    expires_at: Mapped[float] = mapped_column(index=True)
    ended_at: Mapped[float | None]


class LoginLink(Base):
    """A link that logs one person in, once."""

    __tablename__ = "login_links"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of the token
    caller: Mapped[Json]
    created_at: Mapped[float]
    expires_at: Mapped[float]
    used_at: Mapped[float | None]


class PendingLogin(Base):
    """A login that a provider was asked for and has not answered yet."""

    __tablename__ = "pending_logins"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)  # SHA-256 of the state
    browser: Mapped[str] = mapped_column(String(64))  # SHA-256 of the cookie it must come back with
    provider: Mapped[str] = mapped_column(String(64))
    nonce: Mapped[str] = mapped_column(String(64))
    verifier: Mapped[str] = mapped_column(String(128))
    onward: Mapped[str] = mapped_column(String(255))
    expires_at: Mapped[float] = mapped_column(index=True)


class Attempt(Base):
    """Failed logins of one address or one subject, by a keyed hash."""

    __tablename__ = "attempts"
    what: Mapped[str] = mapped_column(String(64), primary_key=True)
    count: Mapped[int]
    first_at: Mapped[float]
    locked_until: Mapped[float] = mapped_column(index=True)


class Opposition(Base):
    """A person, or one study, that is never scored, or never used for training. Ended, it is kept as history."""

    __tablename__ = "oppositions"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(PERSON, default="", index=True)
    study: Mapped[str] = mapped_column(PERSON, default="", index=True)  # a keyed hash of the study's UID
    scope: Mapped[str] = mapped_column(String(8))  # scoring | training | both
    by: Mapped[str] = mapped_column(String(255))
    made_at: Mapped[float]
    ended_at: Mapped[float | None]


class Hold(Base):
    """A legal hold: what is about a person, or one study, is kept whatever else is asked."""

    __tablename__ = "holds"
    id: Mapped[int] = mapped_column(primary_key=True)
    person: Mapped[str] = mapped_column(PERSON, default="", index=True)
    study: Mapped[str] = mapped_column(PERSON, default="", index=True)
    reason: Mapped[str] = mapped_column(Text)
    by: Mapped[str] = mapped_column(String(255))
    made_at: Mapped[float]
    ended_at: Mapped[float | None]
