"""A form that was sent, as an assessment: what is said of each finding, checked against the result it is about.

    decision=correct  present.pneumonia=no  value.anterior=3,4  regions.pneumonia=[{"sop": …, "frame": null, "points": [[x, y], …]}]
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from service.access.caller import Caller
from service.assessment import DECISIONS, Assessment, Decision, FindingAssessment, Reader, Reading, Region, Taken
from service.problem import ProblemError
from service.reporting.report import one_line
from service.review.verdict.plausible import is_far, limits_of, number_of
from service.review.verdict.reasons import OTHER, reasons_for
from service.review.verdict.target import Target
from service.store.verdicts import MAX_COMMENT

Json = dict[str, Any]
TOKEN = re.compile(r"[A-Za-z0-9_-]{22}")
MOST_REGIONS, MOST_POINTS = 40, 400
LARGEST_PIXEL = 65_536.0
PRESENT = {"yes": True, "no": False}
DERIVED = (("wrong-value", "value"), ("wrong-place", "regions"))


@dataclass(frozen=True)
class Sent:
    """What came besides the assessment: which verdict its reader had seen, the form's token, whether a second reader is wanted."""

    token: str
    after: int
    second_asked: bool


def read_sent(form: Mapping[str, str]) -> Sent:
    """Read what a form names itself by. Raises ProblemError."""
    token, after = form.get("token", ""), form.get("after", "")
    if not TOKEN.fullmatch(token) or not re.fullmatch(r"[0-9]{1,6}", after):
        raise _bad("The form must name itself and the verdict it follows, found neither. Open the page again.")
    return Sent(token, int(after), form.get("second") == "1")


def read_assessment(form: Mapping[str, str], target: Target, caller: Caller, reading: Reading) -> Assessment:
    """Read what a person says of a target. Raises ProblemError naming what is wrong, never what was typed."""
    decision = form.get("decision", "")
    if decision not in DECISIONS or (decision == "correct" and target.status != "scored"):
        raise _bad("Say whether you agree, correct or reject.")
    comment = _comment(form)
    findings = _findings(form, target, decision)
    if decision == "correct" and all(one.taken == "accepted" for one in findings):
        raise _bad("A correction must change something, found every finding as the model gave it. Change one, or agree.")
    reader = Reader(caller.subject, caller.family or caller.name, caller.given, caller.rpps, caller.profession, caller.structure)
    reason = _reason(form, target, decision, findings, comment)
    return Assessment(decision, reason, comment, findings, reader, reading, time.time())


def _comment(form: Mapping[str, str]) -> str:
    comment = one_line(form.get("comment", ""))
    if len(comment) > MAX_COMMENT:
        raise _bad(f"A comment must have {MAX_COMMENT} characters at most, found more. Shorten it.")
    return comment


def _reason(form: Mapping[str, str], target: Target, decision: Decision, findings: tuple[FindingAssessment, ...],
            comment: str) -> str:
    if decision == "agree":
        return ""
    known = [why.code for why in reasons_for(target.kind, decision)]
    given = form.get("reason_code", "")
    if decision == "correct" and not given:
        given = _derived(findings) if target.kind == "result" else OTHER
        return given if given in known else OTHER
    if given not in known:
        raise _bad("A rejection must have a reason. Choose one of the list.")
    if given == OTHER and not comment:
        raise _bad("The reason 'other' needs a comment. Say in a few words what is wrong.")
    return given


def _derived(findings: tuple[FindingAssessment, ...]) -> str:
    """Return why a result was corrected, as the correction itself says."""
    for one in findings:
        if one.present is not None and one.ai_present is not None and one.present != one.ai_present:
            return "missed" if one.present else "false-positive"
    for reason, what in DERIVED:
        if any(getattr(one, what) for one in findings):
            return reason
    return "false-positive" if any(one.taken == "rejected" for one in findings) else OTHER


def _findings(form: Mapping[str, str], target: Target, decision: Decision) -> tuple[FindingAssessment, ...]:
    told: list[FindingAssessment] = []
    for one in target.summary.get("findings", ()) if target.status == "scored" else ():
        told.append(_finding(form, one, target, decision))
    gone = {one.name for one in told if one.present is False and one.taken == "rejected"}
    return tuple(
        _without(one) if target.follows.get(one.name) in gone and not form.get(f"present.{one.name}") else one for one in told
    )


def _finding(form: Mapping[str, str], one: Json, target: Target, decision: Decision) -> FindingAssessment:
    name, kind, unit, value = str(one["name"]), str(one.get("kind", "probability")), str(one.get("unit", "1")), float(one["value"])
    ai_present = one.get("above_threshold")
    given = FindingAssessment(name, "accepted", kind, unit, value, ai_present)
    if decision != "correct":
        taken: Taken = "accepted" if decision == "agree" else "rejected"
        return FindingAssessment(name, taken, kind, unit, value, ai_present, ai_present if decision == "agree" else None)
    said = form.get(f"present.{name}", "")
    present = PRESENT.get(said, ai_present)
    corrected = None if kind == "probability" else _value(form, name, unit, value)
    regions = _regions(form, name, target)
    taken = "accepted"
    if said == "no" and ai_present is not False:
        taken = "rejected"
    elif corrected is not None or regions or (said == "yes" and ai_present is not True):
        taken = "modified"
    return FindingAssessment(name, taken, kind, unit, given.ai_value, ai_present, present, corrected, regions if said != "no" else ())


def _without(one: FindingAssessment) -> FindingAssessment:
    """Return a finding that follows from another which is not there: what is not there is of no kind."""
    return FindingAssessment(one.name, "rejected", one.kind, one.unit, one.ai_value, one.ai_present, False)


def _value(form: Mapping[str, str], name: str, unit: str, of_model: float) -> float | None:
    typed = form.get(f"value.{name}", "").strip()
    if not typed:
        return None
    value, limits = number_of(typed), limits_of(unit)
    if value is None or not limits.low <= value <= limits.high:
        raise _bad(f"A value in {unit or '1'} must lie between {limits.low:g} and {limits.high:g}, found another. Check the unit.")
    if abs(value - of_model) < 0.005:
        return None
    if is_far(value, of_model) and form.get(f"checked.{name}") != "1":
        raise _bad("The value is more than three times away from the model's. Check the unit, then confirm that it is right.")
    return value


def _regions(form: Mapping[str, str], name: str, target: Target) -> tuple[Region, ...]:
    sent = form.get(f"regions.{name}", "")
    if not sent or target.judged is None:
        return ()
    try:
        drawn = json.loads(sent)
        regions = tuple(_region(one) for one in drawn)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise _bad("A region must be a list of points on one image, found something else. Draw it again.") from None
    if len(regions) > MOST_REGIONS or any(one.sop_uid not in target.judged.images for one in regions):
        raise _bad(f"At most {MOST_REGIONS} regions may be drawn, on images of this result; found others. Draw them again.")
    return regions


def _region(one: Mapping[str, Any]) -> Region:
    points = tuple((float(x), float(y)) for x, y in one["points"])
    if not 3 <= len(points) <= MOST_POINTS or not all(isfinite(v) and 0 <= v <= LARGEST_PIXEL for point in points for v in point):
        raise ValueError("points")
    frame = one.get("frame")
    if frame is not None and not (isinstance(frame, int) and 1 <= frame <= LARGEST_PIXEL):
        raise ValueError("frame")
    return Region(str(one["sop"]), frame, points)


def _bad(detail: str) -> ProblemError:
    return ProblemError("bad_verdict", detail)
