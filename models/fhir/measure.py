"""One Observation → what it measures, in our codes and units, at a time; or why it cannot be used.

https://hl7.org/fhir/R4/observation.html. Whatever is not used is said with a reason that a program can act on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from math import isfinite

from models.codes import DESCRIBED, MEASURED, MEASURED_ONCE, Concept, concept_of, our_concept
from models.errors import UnusableInput
from models.fhir.bundle import Json, codings, listed, table, text
from models.fhir.mapping import OURS, SiteCodes
from models.fhir.times import span_of
from models.fhir.units import UCUM, in_our_unit

COUNTED = frozenset({"final", "amended", "corrected"})
NOT_YET = frozenset({"registered", "preliminary", "unknown"})
MAX_NUMERAL = 60  # characters of a text that may be a number with its unit
LOINC, SNOMED = "http://loinc.org", "http://snomed.info/sct"
YES_NO = {
    (SNOMED, "373066001"): 1.0, (SNOMED, "373067005"): 0.0, (LOINC, "LA33-6"): 1.0, (LOINC, "LA32-8"): 0.0,
    ("http://terminology.hl7.org/CodeSystem/v2-0136", "Y"): 1.0,
    ("http://terminology.hl7.org/CodeSystem/v2-0136", "N"): 0.0,
}
_NUMERAL = re.compile(r"(<=|>=|<|>|≤|≥)?\s*(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([^\s0-9,.].{0,30})?")
_COMMA = re.compile(r"[<>≤≥=]*\s*-?[0-9]+,[0-9]+.*", re.DOTALL)


@dataclass(frozen=True)
class Measured:
    """A value of one of our codes in our unit; ``beyond``: the sender wrote < or >, and the value is the limit."""

    code: str
    value: float
    beyond: bool = False


@dataclass(frozen=True)
class Unused:
    """Why a part of an Observation is not used. ``error`` says it to the sender, where the sender can mend it."""

    code: str
    why: str
    error: UnusableInput | None = None


def concepts_of(code: object) -> list[Concept]:
    """Return what the codings of a concept mean to us: one of our codes, in the quantities that the codings allow."""
    found: list[Concept] = []
    for system, word in codings(code):
        one = our_concept(word) if system == OURS and (word in MEASURED or word in MEASURED_ONCE) else concept_of(system, word)
        if one is not None and one not in found:
            found.append(one)
    return found


def measured_by(observation: Json, codes: SiteCodes) -> Iterator[Measured | Unused]:
    """Yield what an Observation and its components measure of what the tables know. Others yield nothing."""
    status = text(observation.get("status"))
    for part in (observation, *(table(one) for one in listed(observation.get("component")))):
        concepts = concepts_of(part.get("code"))
        if not concepts:
            continue
        name = concepts[0].name
        if len({one.name for one in concepts}) > 1:
            yield Unused(name, "ambiguous_code")
        elif status not in COUNTED:
            yield Unused(name, status if status in NOT_YET else "no_status")
        elif listed(observation.get("focus")):
            yield Unused(name, "other_focus")  # measured on the unborn child or a device, not on the subject
        elif "modifierExtension" in observation or "modifierExtension" in part:
            yield Unused(name, "modifier_extension")  # R4: who does not know a modifier must not use what it modifies
        else:
            yield from _value(part, concepts, codes)


def instant_of(observation: Json, zone: tzinfo) -> datetime | None:
    """Return when a measurement was surely known: its time, the end of its day or period; else when it was issued."""
    period = table(observation.get("effectivePeriod"))
    stated = observation.get("effectiveDateTime") or observation.get("effectiveInstant")
    stated = stated or period.get("end") or period.get("start")
    if stated is None:
        events = [span_of(one, zone) for one in listed(table(observation.get("effectiveTiming")).get("event"))]
        known = [span[1] for span in events if span is not None]
        if known and len(known) == len(events):
            return max(known)
        stated = observation.get("issued")
    span = span_of(stated, zone)
    return span[1] if span else None


def _value(part: Json, concepts: Sequence[Concept], codes: SiteCodes) -> Iterator[Measured | Unused]:
    name = concepts[0].name
    unit = next((codes.assumed[one] for one in codings(part.get("code")) if one in codes.assumed), "")
    kinds = [key for key in part if key.startswith("value") and part[key] is not None]
    if part.get("dataAbsentReason") is not None or (not kinds and "_valueQuantity" in part):
        yield Unused(name, "data_absent")
        return
    if not kinds:
        if not listed(part.get("component")) and not listed(part.get("hasMember")):
            yield Unused(name, "no_value")
        return
    if len(kinds) > 1:
        yield Unused(name, "several_values")
        return
    value = part[kinds[0]]
    if kinds[0] == "valueQuantity":
        # What is there and no Quantity is a value that cannot be read, and not one that is said to be absent.
        yield _quantity(value, concepts, unit, codes) if isinstance(value, dict) else Unused(name, "bad_value")
    elif kinds[0] in ("valueBoolean", "valueInteger"):
        right = type(value) is (bool if kinds[0] == "valueBoolean" else int)
        yield _converted(concepts, int(value), unit or "1", codes) if right else Unused(name, "bad_value")
    elif kinds[0] == "valueString":
        yield _string(text(value), concepts, unit, codes)
    elif kinds[0] == "valueCodeableConcept":
        yield _answer(value, concepts[0])
    else:
        yield Unused(name, "value_type")


def _quantity(quantity: Json, concepts: Sequence[Concept], assumed: str, codes: SiteCodes) -> Measured | Unused:
    name = concepts[0].name
    if "value" not in quantity:
        return Unused(name, "data_absent")
    code, spoken = text(quantity.get("code")), text(quantity.get("unit"))
    coded = bool(code) and text(quantity.get("system")) in ("", UCUM)
    unit = code if coded else spoken or code
    found = _converted(concepts, quantity["value"], unit or assumed, codes)
    beyond = quantity.get("comparator") is not None
    return Measured(found.code, found.value, True) if beyond and isinstance(found, Measured) else found


def _string(value: str, concepts: Sequence[Concept], assumed: str, codes: SiteCodes) -> Measured | Unused:
    """Read "12.5", "< 5" or "7.2 mmol/L". A comma may part thousands or decimals: nobody can tell which, so it is not read."""
    said = value.strip() if len(value) <= MAX_NUMERAL else ""
    if _COMMA.fullmatch(said):
        return Unused(concepts[0].name, "decimal_comma")
    numeral = _NUMERAL.fullmatch(said)
    if numeral is None:
        return Unused(concepts[0].name, "not_a_number")
    found = _converted(concepts, float(numeral.group(2)), (numeral.group(3) or assumed).strip(), codes)
    return Measured(found.code, found.value, True) if numeral.group(1) and isinstance(found, Measured) else found


def _answer(value: object, concept: Concept) -> Measured | Unused:
    row = DESCRIBED[concept.name]
    answers = row.get("answers", {})
    for system, code in codings(value):
        if f"{system}|{code}" in answers:
            return Measured(concept.name, float(answers[f"{system}|{code}"]))
        if row["unit"] == "1" and (system, code) in YES_NO:
            return Measured(concept.name, YES_NO[system, code])
    return Unused(concept.name, "unknown_answer")


def _converted(concepts: Sequence[Concept], value: object, unit: str, codes: SiteCodes) -> Measured | Unused:
    """Convert in each quantity that the codings allow; they must agree, as urea and urea nitrogen do not."""
    name = concepts[0].name
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else float("nan")
    except OverflowError:
        number = float("nan")
    if not isfinite(number):
        return Unused(name, "bad_value", UnusableInput(
            f"{name}: the value must be a finite number, found another.", code="bad_value"))
    found: list[float] = []
    wrong: UnusableInput | None = None
    for concept in concepts:
        try:
            found.append(in_our_unit(concept, number, unit, codes.units))
        except UnusableInput as error:
            wrong = wrong or error
    if not found:
        return Unused(name, "unknown_unit" if unit else "no_unit", wrong)
    if any(one != found[0] for one in found):
        return Unused(name, "ambiguous_code")
    return Measured(name, found[0]) if isfinite(found[0]) else Unused(name, "bad_value")
