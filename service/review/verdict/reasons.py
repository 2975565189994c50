"""Why a result is corrected or rejected: coded reasons, in words, and what each means for the objects that were sent.

Those of risks are the ones cards offer (service/cds_hooks/write_card.py): the EHR's feedback counts both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from service.assessment import Decision, TargetKind
from service.cds_hooks.write_card import OVERRIDE_REASONS, OVERRIDE_SYSTEM
from service.words import marked

__all__ = ["OTHER", "OVERRIDE_SYSTEM", "Rejection", "Why", "reasons_for"]
OTHER = "other"  # its comment says which
Rejection = Literal["quality", "safety"]  # DCM 113001 and 113037, the titles of a rejection note (PS3.16, CID 7011)


@dataclass(frozen=True)
class Why:
    """One reason. ``rejection`` is under which title the objects of a rejected result are withdrawn."""

    code: str
    sentence: str
    rejection: Rejection = "quality"


IMAGE_REJECT = (
    Why("false-positive", marked("What it found is not there")),
    Why("missed", marked("It missed what is there")),
    Why("wrong-place", marked("It looked at the wrong place")),
    Why("image-quality", marked("The image does not allow it")),
    Why("not-meant", marked("The model is not meant for this examination")),
    Why("other-patient", marked("The image is not this patient's"), "safety"),
    Why(OTHER, marked("Other: say it in the comment")),
)
IMAGE_CORRECT = (
    Why("false-positive", marked("What it found is not there")),
    Why("missed", marked("It missed what is there")),
    Why("wrong-place", marked("The region is drawn wrong")),
    Why("wrong-value", marked("The value is measured wrong")),
    Why(OTHER, marked("Other: say it in the comment")),
)
RISK = (*(Why(code, sentence) for code, sentence in OVERRIDE_REASONS.items()), Why(OTHER, marked("Other: say it in the comment")))
REASONS: dict[tuple[str, Decision], tuple[Why, ...]] = {
    ("result", "reject"): IMAGE_REJECT, ("result", "correct"): IMAGE_CORRECT,
    ("risk", "reject"): RISK, ("risk", "correct"): RISK, ("alert", "reject"): RISK,
}


def reasons_for(kind: TargetKind, decision: Decision) -> tuple[Why, ...]:
    """Return the reasons there are for a decision; none for agreeing."""
    return REASONS.get((kind, decision), ())
