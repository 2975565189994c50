"""What follows from a verdict on a risk: feedback on the card that told it, and the resources that were sent of it revised."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from service.assessment import Assessment
from service.ehr_house import House
from service.fhir.push import NAME
from service.fhir.write_verdict import revised
from service.review.verdict.follow_result import PROMPT, URGENT, told_verdict
from service.review.verdict.reasons import OVERRIDE_SYSTEM
from service.review.verdict.target import Target
from service.store import hooks, messages, risks, verdict_objects
from service.store.hooks import Outcome
from service.store.review_tables import Risk, Verdict
from service.store.store import Transaction

ISSUER = "urn:diaphane:review"  # of feedback that was given on our page and not in the EHR
Json = dict[str, Any]


def prepare(house: House, target: Target, said: Assessment) -> Callable[[Transaction, Verdict], None]:
    """Return what is done in the transaction of a verdict that takes effect."""
    risk = target.risk
    assert risk is not None  # a risk, or an alert's
    alert = risks.alert_of(house.store, risk)

    def follow(session: Transaction, row: Verdict) -> None:
        _feed_back(session, risk, said)
        keys = [] if alert is None else [messages.key_of(alert.episode, "raised")]
        sent = [content for _, content in verdict_objects.letters(session, keys)]
        sent += _about(verdict_objects.letters_near(session, NAME, risk.scored_at), risk)
        for content in sent[:1]:  # a risk that was told twice has the same resources in both
            bundle = revised(content, told_verdict(house, target, said, row))
            if bundle is not None:
                messages.add(session, target=NAME, kind="fhir", key=verdict_objects.letter_key(row), content=bundle,
                             priority=URGENT if said.decision == "reject" else PROMPT)

    return follow


def _feed_back(session: Transaction, risk: Risk, said: Assessment) -> None:
    """Write down what became of the card, as the EHR's own feedback would be."""
    sha256 = str((risk.answer.get("identity") or {}).get("input_sha256", ""))
    outcome = "accepted" if said.decision == "agree" else "overridden"
    for card in verdict_objects.cards_of(session, risk.model, sha256, risk.card):
        code = said.reason_code if outcome == "overridden" else ""
        hooks.add_feedback(session, card.service, ISSUER, [
            Outcome(card.uuid, outcome, said.made_at, (), code, OVERRIDE_SYSTEM if code else "", said.comment),
        ], datetime.now(UTC).timestamp())


def _about(bundles: list[Json], risk: Risk) -> list[Json]:
    """Return the bundles that tell of this very risk: of the same person, from the same input."""
    sha256 = str((risk.answer.get("identity") or {}).get("input_sha256", ""))
    found = []
    for one in bundles:
        subjects = {entry.get("resource", {}).get("subject", {}).get("reference") for entry in one.get("entry", ())}
        if sha256 and risk.subject in subjects and sha256 in json.dumps(one):
            found.append(one)
    return found
