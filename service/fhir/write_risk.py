"""One model's word on one record as a Bundle: RiskAssessment, contributions, Device and Provenance.

https://hl7.org/fhir/R4/riskassessment.html. Probabilities are between 0 and 1, never percent. A dose is an Observation
with its interval and never a MedicationRequest: to order is a person's act. A refusal is a GuidanceResponse. Identifiers
come from the release, the subject and the hash of what the model was given, so that a repeat is the same resource.
"""

from __future__ import annotations

from datetime import timedelta

from models.explain.additive import strongest
from models.prediction import Finding, Prediction, Refusal
from service.fhir.assessed import Assessed
from service.fhir.codes import ours, question_of
from service.fhir.datatypes import (
    TERMINOLOGY,
    Json,
    bundle,
    coding,
    concept,
    id_of,
    identifier,
    instant,
    made,
    narrative,
    paragraph,
    quantity,
    reference,
    rounded,
    urn,
)
from service.fhir.write_contributions import PAIR, direction_words, parts_of, reasons_table, value_words, write_contributions
from service.fhir.write_device import write_device
from service.fhir.write_guidance import MOST_IGNORED, ignored_text, write_guidance
from service.fhir.write_provenance import write_provenance
from service.flags import flag_text
from service.words import Language, in_words, marked, number, of_release, percent, say, unit

RISKS = {  # http://terminology.hl7.org/CodeSystem/risk-probability
    "negligible": (marked("negligible risk"), "Negligible likelihood"), "low": (marked("low risk"), "Low likelihood"),
    "moderate": (marked("moderate risk"), "Moderate likelihood"), "high": (marked("high risk"), "High likelihood"),
}
NOTICE = marked("A result of artificial intelligence, to be confirmed by a professional. Not a medical device.")
REASONS_TOLD = 3


def risk_bundle(*told: Assessed) -> Json:
    """Write everything there is to say of one record's assessments as a collection Bundle, scores first as they come."""
    resources = {one["id"]: one for assessed in told for one in risk_resources(assessed)}
    return bundle("collection", id_of("Bundle", *resources), told[0].made_at, list(resources.values()), told[0].language)


def risk_resources(assessed: Assessed) -> list[Json]:
    """Write the resources of one assessment: the result first, then what explains it, the device and the provenance."""
    result = assessed.result
    device = write_device(assessed.manifest, result.identity, assessed.language)
    told = [write_guidance(assessed, result, device)] if isinstance(result, Refusal) else _scored(assessed, result, device)
    provenance = write_provenance(told, device, result.identity, assessed.basis, assessed.made_at, assessed.language)
    return [*told, device, provenance]


def _scored(assessed: Assessed, result: Prediction, device: Json) -> list[Json]:
    risks = [finding for finding in result.findings if finding.kind == "probability"]
    told = []
    explained: list[tuple[Finding, Json]] = []
    if risks:
        told.append(_risk_assessment(assessed, result, risks, device))
        explained += [(finding, told[0]) for finding in risks]
    for finding in result.findings:
        if finding.kind != "probability":
            told.append(_quantity(assessed, result, finding, device))
            explained.append((finding, told[-1]))
    whys = [write_contributions(assessed, result, finding, focus, device) for finding, focus in explained]
    return told + [why for why in whys if why is not None]


def _risk_assessment(assessed: Assessed, result: Prediction, risks: list[Finding], device: Json) -> Json:
    language = assessed.language
    name = _name(assessed, result, "RiskAssessment")
    told = made(
        "RiskAssessment", name, language,
        text=narrative(
            language, paragraph(assessed.title),
            *(paragraph(_said(finding, language)) + reasons_table(parts_of(result, finding), language) for finding in risks),
            *(paragraph(text) for text in _remarks(assessed, result)),
        ),
        identifier=[identifier(name)],
        status="preliminary",
        method=concept(ours("additive-contributions", language)),
        code=question_of(assessed.manifest, language),
        subject=reference(assessed.reading.subject),
        occurrenceDateTime=instant(assessed.made_at),
        performer=reference(urn(device)),
        prediction=[_prediction(assessed, result, finding) for finding in risks],
        note=[{"text": text} for text in _remarks(assessed, result)],
    )
    if assessed.reading.encounter:
        told["encounter"] = reference(assessed.reading.encounter)
    if assessed.basis:
        told["basis"] = [reference(target) for target in assessed.basis]
    return told


def _prediction(assessed: Assessed, result: Prediction, finding: Finding) -> Json:
    language = assessed.language
    told: Json = {
        "outcome": concept(finding.code, in_words(language, finding.label, finding.label_fr)),
        "probabilityDecimal": rounded(finding.value),
    }
    if finding.risk:
        sentence, display = RISKS[finding.risk]
        told["qualitativeRisk"] = concept(coding(f"{TERMINOLOGY}/risk-probability", finding.risk, display),
                                          say(language, sentence))
    start = assessed.looked_until
    if start is not None:
        told["whenPeriod"] = {"start": instant(start)}
        horizon = next(output.horizon_h for output in assessed.manifest.outputs if output.name == finding.name)
        if horizon:
            told["whenPeriod"]["end"] = instant(start + timedelta(hours=horizon))
    reasons = _reasons(result, finding, language)
    if reasons:
        told["rationale"] = reasons
    return told


def _quantity(assessed: Assessed, result: Prediction, finding: Finding, device: Json) -> Json:
    """Write an estimated quantity as an Observation: a figure with its interval, and nothing that could be dispensed."""
    language = assessed.language
    name = _name(assessed, result, "Observation", finding.name)
    label, shown = in_words(language, finding.label, finding.label_fr), unit(language, finding.unit)
    told = made(
        "Observation", name, language,
        text=narrative(language, paragraph(assessed.title), paragraph(_said(finding, language)),
                       reasons_table(parts_of(result, finding), language),
                       *(paragraph(text) for text in _remarks(assessed, result))),
        identifier=[identifier(name)],
        status="preliminary",
        code=concept(finding.code, label),
        subject=reference(assessed.reading.subject),
        issued=instant(assessed.made_at),
        valueQuantity=quantity(finding.value, finding.unit, shown),
        note=[{"text": text} for text in _remarks(assessed, result)],
        method=concept(ours("additive-contributions", language)),
        device=reference(urn(device)),
    )
    ends = {"interval-low": (finding.low, finding.unit), "interval-high": (finding.high, finding.unit),
            "interval-level": (finding.interval_level, "1")}
    components = [
        {"code": concept(ours(end, language)), "valueQuantity": quantity(value, ucum, unit(language, ucum))}
        for end, (value, ucum) in ends.items() if value is not None
    ]
    if components:
        told["component"] = components
    if assessed.reading.encounter:
        told["encounter"] = reference(assessed.reading.encounter)
    if assessed.looked_until is not None:
        told["effectiveDateTime"] = instant(assessed.looked_until)
    observed = [reference(target) for target in assessed.basis if "Observation/" in target or target.startswith("urn:")]
    if observed:
        told["derivedFrom"] = observed
    return told


def _said(finding: Finding, language: Language) -> str:
    label = in_words(language, finding.label, finding.label_fr)
    if finding.kind == "probability":
        risk = f" ({say(language, RISKS[finding.risk][0])})" if finding.risk else ""
        return say(language, PAIR, name=label, value=f"{percent(language, finding.value, 1)}{risk}")
    shown = say(language, PAIR, name=label, value=f"{number(language, finding.value, 1)} {unit(language, finding.unit)}")
    if finding.low is None or finding.high is None or finding.interval_level is None:
        return shown
    return shown + say(language, "; between {low} and {high} in {share} of cases", low=number(language, finding.low, 1),
                       high=number(language, finding.high, 1), share=percent(language, finding.interval_level))


def _reasons(result: Prediction, finding: Finding, language: Language) -> str:
    """Say the strongest reasons in a line."""
    shown, _ = strongest(parts_of(result, finding), up=REASONS_TOLD, down=1)
    told = []
    for part in shown:
        named = f"{in_words(language, part.label, part.label_fr)} {value_words(part, language)}".strip()
        told.append(say(language, PAIR, name=named, value=direction_words(part, language)))
    return "; ".join(told)


def _remarks(assessed: Assessed, result: Prediction) -> list[str]:
    """Say what lowers trust, what must not be done with the result, and that a person must confirm it."""
    language = assessed.language
    told = [flag_text(flag, language) for flag in result.flags]
    told += [ignored_text(one, language) for one in assessed.reading.ignored[:MOST_IGNORED]]
    return [*told, *(of_release(language, one) for one in assessed.manifest.intended_use.must_not), say(language, NOTICE)]


def _name(assessed: Assessed, result: Prediction, *kind: str) -> str:
    identity, scored_at = result.identity, assessed.scored_at
    return id_of(*kind, assessed.manifest.id, identity.manifest_sha256, identity.input_sha256, assessed.reading.subject,
                 assessed.reading.encounter, instant(scored_at) if scored_at else "")
