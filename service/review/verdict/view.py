"""What the panel of one result shows: what may be said of it, by whom, and what was said before."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.access.caller import Caller
from service.assessment import Assessment, Decision, FindingAssessment, Reader, Reading, TargetKind
from service.review.page import ReviewDesk
from service.review.verdict.plausible import Limits, limits_of
from service.review.verdict.reasons import REASONS, Why, reasons_for
from service.review.verdict.standing import reading_of
from service.review.verdict.target import Target, find_target

Json = dict[str, Any]


@dataclass(frozen=True)
class FindingLine:
    """One finding as it may be corrected. ``said`` is what stands of it."""

    name: str
    label: str
    label_fr: str
    kind: str  # probability | volume | quantity
    value: float
    unit: str
    threshold: float | None
    above: bool | None
    limits: Limits
    said: FindingAssessment | None


@dataclass(frozen=True)
class PastLine:
    """One verdict that was given, unless this reader may not see it yet."""

    number: int
    decision: Decision
    reason: str  # a sentence to be translated, "" for none
    comment: str = field(repr=False)
    readers: tuple[Reader, ...]
    reading: Reading
    made_at: datetime
    in_force: bool
    changes: tuple[FindingAssessment, ...]


@dataclass(frozen=True)
class VerdictView:
    """Everything the panel says. ``hidden``: a first reader has given a verdict that this one may not see before their own."""

    kind: TargetKind
    key: str  # of the target: service/review/targets.py
    action: str
    may: bool
    after: int
    token: str
    state: str  # open | waiting | differing | settled
    effect: str  # "" | validated | corrected | withdrawn
    hidden: bool
    two: bool
    may_ask_second: bool
    reading: Reading
    decisions: tuple[Decision, ...]
    findings: tuple[FindingLine, ...]
    reasons: tuple[Why, ...]
    history: tuple[PastLine, ...]
    draws: bool
    drawn: tuple[Json, ...]  # what readers drew, as it stands: image, frame and points
    about: str

    @property
    def withdrawn(self) -> bool:
        """Whether nobody may go by this result any more."""
        return self.effect == "withdrawn"


def view_of(desk: ReviewDesk, caller: Caller, kind: TargetKind, number: int) -> VerdictView | None:
    """Return the panel of one result for one reader; None when there is nothing to say anything of. Reads the store."""
    target = find_target(desk, kind, number)
    return None if target is None else view(desk, caller, target)


def view(desk: ReviewDesk, caller: Caller, target: Target) -> VerdictView:
    """Return the panel of a target."""
    standing, scored = target.standing, target.status == "scored"
    hidden = standing.hides_from(caller.subject)
    may = caller.kind == "person" and caller.may(target.permission, department=target.department, model=target.model)
    decisions: tuple[Decision, ...] = ("agree", "correct", "reject") if scored else ("agree", "reject")
    shown = standing.in_force if hidden or standing.state != "waiting" else standing.round[0]
    return VerdictView(
        target.kind, target.key, f"{target.page}/verdict", may and target.reachable, target.last, secrets.token_urlsafe(16),
        standing.state, standing.effect, hidden, target.two, not target.two, reading_of(standing, caller.subject), decisions,
        tuple(_finding(one, shown) for one in target.summary.get("findings", ())) if scored else (),
        reasons_for(target.kind, "reject"), _history(desk, target, caller.subject), target.kind == "result" and scored,
        tuple(_drawn(shown)), f"/review/results/{target.key}/about",
    )


def _finding(one: Json, shown: Assessment | None) -> FindingLine:
    return FindingLine(
        str(one["name"]), str(one.get("label", "")), str(one.get("label_fr", "")), str(one.get("kind", "probability")),
        float(one["value"]), str(one.get("unit", "1")), one.get("threshold"), one.get("above_threshold"),
        limits_of(str(one.get("unit", "1"))), None if shown is None else shown.of(str(one["name"])),
    )


def _drawn(shown: Assessment | None) -> Iterator[Json]:
    for finding in shown.findings if shown is not None else ():
        for region in finding.regions:
            yield {"sop": region.sop_uid, "frame": region.frame, "points": region.points}


def _history(desk: ReviewDesk, target: Target, subject: str) -> tuple[PastLine, ...]:
    """Return the verdicts, the last first; those of a reading that is blind are left out."""
    zone = desk.house.site.device.zone
    in_force = next((row.number for row in reversed(target.rows) if row.content.get("effect")), 0)
    rows = target.open_to(subject)
    sentences = {why.code: why.sentence for (kind, _), whys in REASONS.items() if kind == target.kind for why in whys}
    told = []
    for row, one in zip(target.rows, target.given, strict=True):
        if row in rows:
            told.append(PastLine(
                row.number, one.decision, sentences.get(row.reason_code, ""), row.comment, one.readers, one.reading,
                datetime.fromtimestamp(row.made_at, UTC).astimezone(zone), row.number == in_force,
                tuple(finding for finding in one.findings if finding.taken != "accepted"),
            ))
    return tuple(reversed(told))
