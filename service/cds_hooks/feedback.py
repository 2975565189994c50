"""Feedback: what a clinician did with a card, kept as the client told it, also for cards that are not known any more."""

from __future__ import annotations

import time
from collections import Counter

from service.cds_hooks.hooks import Feedback, Told, read
from service.store.hooks import Outcome, add_feedback
from service.store.store import Store


def keep(store: Store, service: str, issuer: str, told: object) -> Counter[tuple[str, str]]:
    """Keep what was told; count (outcome, known or unknown card). A repeat changes nothing. Raises ProblemError, StoreError."""
    outcomes = [_outcome(one) for one in read(Feedback, told).feedback]
    with store.session() as session:
        known = add_feedback(session, service, issuer, outcomes, time.time())
    return Counter((one.outcome, "known" if one.card in known else "unknown") for one in outcomes)


def _outcome(one: Told) -> Outcome:
    reason = one.override_reason
    coding = reason.reason if reason else None
    comment = (reason.user_comment or "") if reason else ""
    return Outcome(
        one.card, one.outcome, one.outcome_timestamp.timestamp(),
        tuple(suggestion.id for suggestion in one.accepted_suggestions or ()),
        coding.code if coding else "", coding.system if coding else "", comment.replace("\0", " "),  # PostgreSQL takes no NUL
    )
