"""What a professional says of a finding instead of AI, in one sentence: the same in a draft report and in what is sent."""

from __future__ import annotations

from service.assessment import FindingAssessment
from service.words import Language, likely, marked, number, say, unit


def said_instead(finding: FindingAssessment, label: str, language: Language) -> str:
    """Say what was changed of one finding; "" for one that was left as AI gave it."""
    if finding.value is not None:
        shown = f"{number(language, finding.value, 2)} {unit(language, finding.unit)}"
        return say(language, "{finding}: {value} according to the professional.", finding=label, value=shown)
    if finding.taken != "accepted" and finding.contradicts and finding.present is not None:
        sentence = marked("{finding}: present according to the professional (AI: {given}).") if finding.present else marked(
            "{finding}: absent according to the professional (AI: {given}).")
        return say(language, sentence, finding=label, given=_given(finding, language))
    if finding.regions:
        return say(language, "{finding}: the region was drawn anew.", finding=label)
    return ""


def _given(finding: FindingAssessment, language: Language) -> str:
    """Return what AI gave: a probability as one, a volume with its unit."""
    if finding.ai_value is None:
        return "-"
    if finding.kind == "probability":
        return likely(language, finding.ai_value)
    return f"{number(language, finding.ai_value, 2)} {unit(language, finding.unit)}"
