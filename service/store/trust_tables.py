"""The tables of trust over time: which release serves, who signed for it, what shadows said, what is watched, what is learnt from.

Times are seconds since 1970 in UTC. ``person`` is a keyed hash of an identifier (``Store.pseudonym``), never the identifier.
"""

from __future__ import annotations

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from service.store.review_tables import PERSON
from service.store.tables import Base, Json

RELEASE = String(96)  # name-version


class Signoff(Base):
    """What a named person said of a release after its commissioning here. Appended, never changed."""

    __tablename__ = "signoffs"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE, index=True)
    manifest_sha256: Mapped[str] = mapped_column(String(64))  # of the release as it was signed for: another folder is another release
    decision: Mapped[str] = mapped_column(String(10))  # accepted | declined
    advice: Mapped[str] = mapped_column(String(24))  # what commissioning decided: go, go_with_conditions, no_go
    report_sha256: Mapped[str] = mapped_column(String(64))  # of commissioning.json
    report: Mapped[Json]  # the whole of it (models.commissioned.Commissioning)
    signer: Mapped[Json]  # subject, name, rpps, profession, structure; how they were known
    signer_subject: Mapped[str] = mapped_column(String(255))
    statement: Mapped[str] = mapped_column(Text)
    signed_at: Mapped[float]


class Standing(Base):
    """A change of what a release does here. Appended; the last one of a release holds."""

    __tablename__ = "standings"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    release: Mapped[str] = mapped_column(RELEASE)
    state: Mapped[str] = mapped_column(String(8))  # live | shadow | off
    signoff: Mapped[int | None]
    actor: Mapped[Json]
    actor_subject: Mapped[str] = mapped_column(String(255))
    reason: Mapped[str] = mapped_column(Text, default="")
    against_advice: Mapped[bool] = mapped_column(default=False)
    detail: Mapped[Json]  # of a promotion: what was required and what was seen
    since: Mapped[float]


class ShadowResult(Base):
    """What a release in shadow said of a case, beside what the live one said of the same."""

    __tablename__ = "shadow_results"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE)
    live: Mapped[str] = mapped_column(RELEASE)
    kind: Mapped[str] = mapped_column(String(8))  # result | risk
    target: Mapped[str] = mapped_column(String(64))  # of the live one: id of the result, key of the risk
    status: Mapped[str] = mapped_column(String(10))  # scored | refused | failed
    reason: Mapped[str] = mapped_column(String(64), default="")
    said: Mapped[Json]  # findings: name → value, logit, above_threshold; never an explanation
    live_said: Mapped[Json]
    seconds: Mapped[float]
    scored_at: Mapped[float]
    __table_args__ = (UniqueConstraint("release", "kind", "target"), Index("shadow_by_target", "kind", "target"))


class Observation(Base):
    """What is watched of one result: numbers of its input and output, without whose they are."""

    __tablename__ = "observations"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE)
    kind: Mapped[str] = mapped_column(String(8))  # result | risk
    target: Mapped[str] = mapped_column(String(64))  # id of the result, key of the risk: its verdict is looked up by it
    status: Mapped[str] = mapped_column(String(10))
    reason: Mapped[str] = mapped_column(String(64), default="")
    seconds: Mapped[float]
    said: Mapped[Json]  # output → value
    statistics: Mapped[Json]  # stream → number, as models.reference names them
    groups: Mapped[Json]  # sex, age, view, manufacturer, department → group
    observed_at: Mapped[float]
    __table_args__ = (UniqueConstraint("release", "kind", "target"), Index("observed_in_time", "release", "observed_at"))


class WatchDay(Base):
    """One day of one release: counts by stream and bin. Stays when single observations are forgotten."""

    __tablename__ = "watch_days"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE)
    day: Mapped[str] = mapped_column(String(10))  # ISO date, local
    counts: Mapped[Json]
    __table_args__ = (UniqueConstraint("release", "day"),)


class Alarm(Base):
    """Something that is not as it was. Open until it ends or somebody closes it."""

    __tablename__ = "alarms"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE, index=True)
    kind: Mapped[str] = mapped_column(String(32))  # input_drift, output_drift, refusals, agreement, precision, latency, golden
    stream: Mapped[str] = mapped_column(String(96), default="")
    detail: Mapped[Json]  # what was expected, what was seen, since when
    opened_at: Mapped[float]
    closed_at: Mapped[float | None]
    acknowledged_by: Mapped[str] = mapped_column(String(255), default="")
    acknowledged_at: Mapped[float | None]


class WatchState(Base):
    """What was last found of one release, and the reference of its first results here where no other is known."""

    __tablename__ = "watch_states"
    release: Mapped[str] = mapped_column(RELEASE, primary_key=True)
    reference: Mapped[Json]  # models.reference.Reference of the first results here; empty while there are too few
    found: Mapped[Json]  # figures of the last pass: for the page, /metrics and the banner over results
    looked_at: Mapped[float]


class WatchTurn(Base):
    """Whose turn it is to watch: one of several processes does it, until it falls silent."""

    __tablename__ = "watch_turns"
    name: Mapped[str] = mapped_column(String(16), primary_key=True)  # pass | golden
    holder: Mapped[str] = mapped_column(String(64), default="")
    until: Mapped[float]
    done_at: Mapped[float]


class GoldenStudy(Base):
    """A result of this site that is scored again every night; its figures are those it was told with."""

    __tablename__ = "golden_studies"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE, index=True)
    kind: Mapped[str] = mapped_column(String(8))  # result | risk
    target: Mapped[str] = mapped_column(String(64))  # id of the result, key of the risk
    added_by: Mapped[str] = mapped_column(String(255))
    added_at: Mapped[float]
    __table_args__ = (UniqueConstraint("kind", "target"),)


class GoldenRun(Base):
    """One night's scoring of golden inputs and studies again."""

    __tablename__ = "golden_runs"
    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[str] = mapped_column(RELEASE)
    checked: Mapped[int]
    changed: Mapped[int]
    detail: Mapped[Json]
    ran_at: Mapped[float]


class SplitMember(Base):
    """On which side of the split a person is for ever. ``person`` is every key they are known by."""

    __tablename__ = "split_members"
    person: Mapped[str] = mapped_column(PERSON, primary_key=True)
    group: Mapped[str] = mapped_column(String(32), index=True)
    split: Mapped[str] = mapped_column(String(8))  # train | val | test | neither
    since: Mapped[float]


class Pick(Base):
    """A result that was picked to be looked at next: it would teach most, or was drawn. Kept once judged."""

    __tablename__ = "picks"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(8))  # result | risk
    target: Mapped[str] = mapped_column(String(64))
    entry_key: Mapped[str] = mapped_column(String(32))  # of the worklist: where it is opened
    release: Mapped[str] = mapped_column(RELEASE)
    place: Mapped[int]
    why: Mapped[str] = mapped_column(String(10))  # uncertain | unlike | control | test: the last two were drawn at random
    uncertainty: Mapped[float]
    distance: Mapped[float]  # to what was judged before
    picked_at: Mapped[float]
    __table_args__ = (UniqueConstraint("kind", "target"),)
