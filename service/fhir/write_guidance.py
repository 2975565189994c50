"""GuidanceResponse: that a release gives no score, why, and which data it would need.

https://hl7.org/fhir/R4/guidanceresponse.html. A RiskAssessment without a probability could be taken for an all-clear, so a
refusal is none. Status *data-required* when more data would do, *failure* otherwise.
"""

from __future__ import annotations

from math import isnan, nan

from models.codes import DESCRIBED, coded
from models.features import clean
from models.manifest import Manifest
from models.prediction import Reason, Refusal
from models.raw_codes import raw_codes
from models.read_fhir import Ignored
from models.record import View
from service.fhir.assessed import Assessed
from service.fhir.codes import question_of, reason_of
from service.fhir.datatypes import (
    OURS,
    Json,
    coding,
    id_of,
    identifier,
    instant,
    made,
    narrative,
    paragraph,
    reference,
    urn,
)
from service.flags import flag_text
from service.left_out import what_words, why_words
from service.refusals import advice_text, reason_text
from service.words import Language, say

MOST_IGNORED = 20
_OF_PATIENT = {"age_years": "birthDate", "male": "gender"}


def write_guidance(assessed: Assessed, refusal: Refusal, device: Json) -> Json:
    """Write why nothing was scored. ``dataRequirement`` names what is missing, in the codes it would be read by."""
    language, manifest = assessed.language, assessed.manifest
    scored_at = assessed.scored_at
    too_few = refusal.reason == Reason.TOO_FEW_MEASUREMENTS
    missing = [_requirement(code, language) for code in missing_codes(manifest, assessed.view)] if too_few else []
    if manifest.needs_encounter and not assessed.reading.stay:
        missing.insert(0, {"type": "Encounter", "mustSupport": ["period"]})
    name = id_of("GuidanceResponse", manifest.id, device["id"], assessed.reading.subject, assessed.reading.encounter,
                 str(refusal.reason), refusal.message, scored_at.isoformat() if scored_at else "")
    why, advice = reason_text(refusal, language), advice_text(refusal, language)
    told = made(
        "GuidanceResponse", name, language,
        text=narrative(language, paragraph(say(language, "{title}: no score is given", title=assessed.title)), paragraph(why),
                       paragraph(advice), paragraph(say(language, "That is no all-clear."))),
        contained=[_outcome(refusal, why, assessed)],
        identifier=[identifier(name)],
        moduleCodeableConcept=question_of(manifest, language),
        status="data-required" if missing else "failure",
        subject=reference(assessed.reading.subject),
        occurrenceDateTime=instant(assessed.made_at),
        performer=reference(urn(device)),
        reasonCode=[reason_of(str(refusal.reason), language, why)],
        evaluationMessage=[{"reference": "#why"}],
    )
    if assessed.reading.encounter:
        told["encounter"] = reference(assessed.reading.encounter)
    if advice:
        told["note"] = [{"text": advice}]
    if missing:
        told["dataRequirement"] = missing
    return told


def ignored_text(ignored: Ignored, language: Language) -> str:
    """Say what of the input was not used, and why."""
    return say(language, "Not used: {count} × {kind} ({why})", count=ignored.count, kind=what_words(ignored.what, language),
               why=why_words(ignored.why, language))


def missing_codes(manifest: Manifest, view: View) -> tuple[str, ...]:
    """Return the codes of ours whose absence makes the release decline: required ones first, then core ones."""
    refuses = manifest.refuses
    asked = (*refuses.required, *refuses.recent, *refuses.newest_min, *refuses.core_codes)
    absent = [code for code in asked if isnan(view.static.get(code, nan)) and not len(clean(view, code).values)]
    return tuple(dict.fromkeys(absent or (*refuses.recent, *refuses.newest_min)))  # or what is there is too old, or too little


def _outcome(refusal: Refusal, why: str, assessed: Assessed) -> Json:
    """Say why, and what lowers trust or was left out on the way."""
    code = "incomplete" if refusal.reason == Reason.TOO_FEW_MEASUREMENTS else "business-rule"
    issues: list[Json] = [{"severity": "warning", "code": code, "details": {"text": why}, "diagnostics": str(refusal.reason)}]
    told = [flag_text(flag, assessed.language) for flag in refusal.flags]
    told += [ignored_text(one, assessed.language) for one in assessed.reading.ignored[:MOST_IGNORED]]
    issues += [{"severity": "information", "code": "informational", "details": {"text": text}} for text in told]
    return {"resourceType": "OperationOutcome", "id": "why", "issue": issues}


def _requirement(name: str, language: Language) -> Json:
    """Say what would be needed in the codes it is read by, any of them; what has no public code by our own word for it."""
    if name in _OF_PATIENT:
        return {"type": "Patient", "mustSupport": [_OF_PATIENT[name]]}
    codes = [code for raw in raw_codes(name) if raw in DESCRIBED and (code := coded(raw))]
    if not codes:
        label = str(DESCRIBED.get(name, {}).get("label", {}).get(language, name))
        return {"type": "Resource", "codeFilter": [{"path": "code", "code": [coding(OURS, name, label)]}]}
    return {"type": "Observation", "codeFilter": [{"path": "code", "code": [coding(c.system, c.code, c.display) for c in codes]}]}
