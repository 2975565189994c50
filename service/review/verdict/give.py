"""Give: write a verdict down and set in motion what follows from it, all in one transaction, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from service.access.caller import Caller
from service.assessment import Assessment, to_json
from service.ehr_house import House
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.review.verdict import follow_result, follow_risk
from service.review.verdict.form import Sent
from service.review.verdict.standing import Standing, standing_of
from service.review.verdict.target import Target, counted_by
from service.store import entries, verdicts
from service.store.entries import State
from service.store.review_tables import Verdict
from service.store.store import Transaction
from service.store.verdicts import NewVerdict, VerdictConflict

STATES: dict[str, State] = {"validated": "validated", "corrected": "corrected", "withdrawn": "rejected"}
Follow = Callable[[Transaction, Verdict], None]


def give(desk: ReviewDesk, caller: Caller, target: Target, sent: Sent, assessment: Assessment) -> None:
    """Take a verdict. Raises ProblemError when another was given since its reader looked."""
    house, two = desk.house, target.two or sent.second_asked
    after = standing_of([*target.given, assessment], two=two, effective=target.effective)
    settled = after.state == "settled" and after.in_force is not None
    content = {
        **to_json(assessment), "effect": after.effect if settled else "", "second_asked": sent.second_asked,
        "joint": [asdict(one) for one in after.in_force.joint] if settled and after.in_force else [],
    }
    new = NewVerdict(
        sent.token, target.kind, target.id, sent.after, target.model, assessment.decision, assessment.reason_code, assessment.comment,
        content, assessment.reading, asdict(assessment.reader), counted_by(target), assessment.made_at,
    )
    follow = _follow(house, target, after) if settled else None
    try:
        with house.store.session() as session:
            row = verdicts.add(session, new)
            if row.key != new.key:  # the same form, taken at this very moment by another process
                return
            if follow is not None:
                follow(session, row)
            _mark(session, caller, target, after)
            house.audit.append(
                session, caller, "verdict", kind=target.kind, item=target.key, persons=target.persons,
                detail={"decision": row.decision, "model": row.model, "number": row.number, "reason": row.reason_code},
            )
    except VerdictConflict:
        raise ProblemError("verdict_changed", "Somebody gave a verdict since this page was opened. Open it again, read theirs, "
                                              "then give yours.") from None


def _follow(house: House, target: Target, after: Standing) -> Follow:
    """Prepare what follows: whatever takes long is done before the transaction."""
    assert after.in_force is not None  # the caller looked
    prepare = follow_result.prepare if target.kind == "result" else follow_risk.prepare
    return prepare(house, target, after.in_force)


def _mark(session: Transaction, caller: Caller, target: Target, after: Standing) -> None:
    """Say in the worklist what stands: a study is decided when every score on it is."""
    if target.line is None:
        return
    state: State
    if after.state != "settled":  # it waits for a reader, whatever stood before
        state = "seen"
    elif target.judged is not None:
        state = _of_study(verdicts.standings_of_study(session, target.judged.study_uid))
    else:
        state = STATES[after.effect]
    reason = after.in_force.reason_code if after.in_force is not None and state == "rejected" else ""
    entries.set_state(session, kind=target.line.kind, target=target.line.target, state=state, reason=reason, actor=caller.subject,
                      reopen=after.state != "settled")


def _of_study(standings: dict[int, str]) -> State:
    stood = set(standings.values())
    if "" in stood or not stood:
        return "seen"
    if len(stood) == 1:
        return STATES[stood.pop()]
    return "corrected"
