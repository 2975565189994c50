"""Contributions as one Observation: what was measured, its usual range, and its exact part of the score.

https://hl7.org/fhir/R4/observation.html. A component is one measurement: its value as it was sent, and in the extension
``urn:diaphane:extension:contribution`` what it adds to the score. The components *starting-point* and *score* close the
sum: starting point + all contributions = score.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from models.explain.additive import MAX_EXPONENT, strongest
from models.prediction import Contribution, Finding, Prediction
from service.fhir.assessed import Assessed
from service.fhir.codes import ours
from service.fhir.datatypes import (
    CONTRIBUTION,
    TERMINOLOGY,
    Json,
    concept,
    id_of,
    identifier,
    instant,
    limits,
    made,
    narrative,
    paragraph,
    quantity,
    reference,
    rounded,
    table,
    urn,
)
from service.words import Language, in_words, marked, number, say, unit

PAIR = marked("{name}: {value}")  # French has a blank before the colon
_FLAGS = {"low": ("L", "Low"), "normal": ("N", "Normal"), "high": ("H", "High")}


def parts_of(result: Prediction, finding: Finding) -> tuple[Contribution, ...]:
    """Return the contributions to one finding, one a measurement; their sum and the starting point are its score."""
    told = result.explanation.measurements or result.explanation.contributions
    first = result.findings[0].name
    return tuple(part for part in told if (part.finding or first) == finding.name)


def starting_point(assessed: Assessed, finding: Finding) -> float:
    """Return the score of a finding before anything is counted."""
    index = next(output.index for output in assessed.manifest.outputs if output.name == finding.name)
    return assessed.manifest.explains.bias.get(str(index), 0.0)


def write_contributions(assessed: Assessed, result: Prediction, finding: Finding, focus: Json, device: Json) -> Json | None:
    """Write why one finding has its value; None when its score has no parts."""
    parts = parts_of(result, finding)
    if not parts or finding.logit is None:
        return None
    language = assessed.language
    name = id_of("contributions", focus["id"], finding.name)
    looked_until = assessed.looked_until
    label = in_words(language, finding.label, finding.label_fr)
    told = made(
        "Observation", name, language,
        text=narrative(language, paragraph(say(language, PAIR, name=assessed.title, value=label)), reasons_table(parts, language),
                       paragraph(in_words(language, result.explanation.note, result.explanation.note_fr))),
        identifier=[identifier(name)],
        status="preliminary",
        code=concept(ours("contributions", language), say(language, "What the score for {finding} is made of", finding=label)),
        subject=reference(assessed.reading.subject),
        focus=[reference(urn(focus))],
        issued=instant(assessed.made_at),
        performer=[],
        device=reference(urn(device)),
        method=concept(ours("additive-contributions", language)),
        component=[
            _sum_part("starting-point", starting_point(assessed, finding), language),
            *(_component(part, language) for part in parts),
            _sum_part("score", finding.logit, language),
        ],
    )
    del told["performer"]  # a device is none: Observation.device says which
    if assessed.reading.encounter:
        told["encounter"] = reference(assessed.reading.encounter)
    if looked_until is not None:
        told["effectiveDateTime"] = instant(looked_until)
    observed = [reference(target) for target in assessed.basis if _may_be_derived_from(target)]
    if observed:
        told["derivedFrom"] = observed
    return told


def value_words(part: Contribution, language: Language) -> str:
    """Write a value as people read it: 7,35, 120 mmHg, yes, not measured."""
    if part.value is None:
        return say(language, "not measured") if part.missing else ""
    word = in_words(language, part.value_text, part.value_text_fr)
    return word or f"{_short(language, part.value)} {unit(language, part.unit)}".strip()


def range_words(part: Contribution, language: Language) -> str:
    """Write a reference range: 3.5 to 5, at most 20, at least 92."""
    low, high = part.reference_low, part.reference_high
    if low is not None and high is not None:
        ends = (_short(language, low), _short(language, high))
        return ends[0] if low == high else say(language, "{low} to {high}", low=ends[0], high=ends[1])
    if low is not None:
        return say(language, "at least {limit}", limit=_short(language, low))
    return "" if high is None else say(language, "at most {limit}", limit=_short(language, high))


def direction_words(part: Contribution, language: Language) -> str:
    """Say which way a part moves the score, and what it multiplies the odds or the quantity by."""
    way = say(language, "raises") if part.logit > 0 else say(language, "lowers") if part.logit < 0 else say(language, "no change")
    return f"{way} (× {number(language, part.odds_multiplier, 2)})"


def reasons_table(parts: tuple[Contribution, ...], language: Language) -> str:
    """Return the strongest reasons as XHTML: value, usual range and direction; the others counted."""
    shown, others = strongest(parts)
    head = [say(language, "Measurement"), say(language, "Value"), say(language, "Usual range"), say(language, "Effect on the score")]
    rows = [
        [in_words(language, part.label, part.label_fr), value_words(part, language), range_words(part, language),
         direction_words(part, language)]
        for part in shown
    ]
    return table(head, rows) + paragraph(others_words(others, language))


def others_words(others: Sequence[Contribution], language: Language) -> str:
    """Say what all that is not shown does together; nothing when nothing is left."""
    if not others:
        return ""
    together = math.exp(max(-MAX_EXPONENT, min(MAX_EXPONENT, sum(part.logit for part in others))))
    factor = number(language, together, 2)
    return say(language, "All other measurements together, {count}: × {factor}", count=len(others), factor=factor)


def _component(part: Contribution, language: Language) -> Json:
    label = in_words(language, part.label, part.label_fr)
    pair = part.value is None and not part.missing
    code = part.code or ours("pair" if pair else "measurement", language)
    told: Json = {
        "extension": [{"url": CONTRIBUTION, "extension": [
            {"url": "log", "valueDecimal": rounded(part.logit)},
            {"url": "multiplier", "valueDecimal": rounded(part.odds_multiplier)},
            {"url": "measurement", "valueString": part.term},
        ]}],
        "code": concept(code, label),
    }
    if part.value is None:
        reason = "not-applicable" if pair else "unknown"
        told["dataAbsentReason"] = concept({"system": f"{TERMINOLOGY}/data-absent-reason", "code": reason})
    elif part.value_text:
        told["valueCodeableConcept"] = {"text": in_words(language, part.value_text, part.value_text_fr)}
    else:
        told["valueQuantity"] = quantity(part.value, part.unit, unit(language, part.unit))
    if part.flag and part.value is not None:
        letter, display = _FLAGS[part.flag]
        told["interpretation"] = [concept({"system": f"{TERMINOLOGY}/v3-ObservationInterpretation", "code": letter,
                                           "display": display})]
    span = limits(part.reference_low, part.reference_high, part.unit, unit(language, part.unit))
    if span:
        told["referenceRange"] = [span]
    return told


def _sum_part(name: str, value: float, language: Language) -> Json:
    return {"code": concept(ours(name, language)), "valueQuantity": quantity(value, "1")}


def _may_be_derived_from(target: str) -> bool:
    """Tell whether Observation.derivedFrom may point there: at Observations; what else was looked at is in Provenance."""
    return target.startswith(("Observation/", "urn:")) or "/Observation/" in target


def _short(language: Language, value: float) -> str:
    text = f"{value:.4g}"
    digits = len(text.partition(".")[2]) if "e" not in text else 0
    return number(language, value, digits)
