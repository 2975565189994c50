"""One line of every action, outcome and kind, as the store gives them."""

from __future__ import annotations

from service.audit.line import ACTIONS
from service.store.audit import Line
from tests.service.audit.audit_house import KEY

UID = "1.2.826.0.1.3680043.8.498.2026.1"
KINDS = (("study", UID), ("study", KEY), ("risk", KEY), ("", ""), ("settings", ""), ("audit", ""), ("person", ""))


def every_line() -> list[Line]:
    """Return lines that no two of are alike."""
    made = []
    for action in ACTIONS:
        for place, (kind, item) in enumerate(KINDS):
            outcome = ("success", "denied", "failed")[place % 3]
            named = place % 2 == 0
            made.append(Line(
                id=len(made) + 1, at=1_763_787_600.25 + len(made), actor="rpps:10000000001" if named else "service",
                actor_name="Alix <Essai> & É" if named else "", roles="clinician radiologist" if named else "", action=action,
                kind=kind, item=item, persons=("a" * 32, "b" * 32)[: place % 3], outcome=outcome,
                detail={"address": "10.1.2.3", "count": 3, "models": ["icu-1.0.0"], "decision": "reject"} if named else {},
                previous="0" * 64, hash="f" * 64))
    return made
