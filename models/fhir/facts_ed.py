"""Facts at the door of an emergency department: how and when somebody came, why, and the diseases already known.

What the resources do not say is left out. That a disease is absent is concluded only when some diagnosis can be read, or
when a Condition says that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from models.fhir.bundle import Bundle, Fact, Json, codings, listed, moment_of, own_reference, reference, table, text, when
from models.fhir.diagnoses import CLASSIFICATIONS, ICD9, ICD10
from models.fhir.reasons_ed import INJURY_OF_ANY_KIND, SNOMED, facts_of, group_of

_TABLE: Mapping[str, Any] = json.loads(
    (Path(__file__).parents[1] / "tables/conditions_ed.json").read_text(encoding="utf-8")
)
MODE_OF_ARRIVAL = "http://hl7.org/fhir/StructureDefinition/encounter-modeOfArrival"  # a coding of HL7 table 0430
ARRIVAL_MODES = "http://terminology.hl7.org/CodeSystem/v2-0430"
BY_AMBULANCE = {"A": 1.0, "H": 1.0, "C": 0.0, "F": 0.0, "O": 0.0, "P": 0.0}  # ambulance, helicopter; car, foot, other, public
EMERGENCY = "EMER"
RETURN = timedelta(hours=72)
TRIAGE = timedelta(hours=1)  # a diagnosis recorded later was made during this visit
UNSURE = frozenset({"unconfirmed", "provisional", "differential", "refuted", "entered-in-error"})
OVER = frozenset({"inactive", "remission", "resolved"})


def facts(bundle: Bundle) -> dict[str, Fact]:
    """Return what the bundle says; what it does not say is left out."""
    return {**arrival(bundle), **reasons(bundle), **conditions(bundle)}


def arrival(bundle: Bundle) -> dict[str, Fact]:
    """Return hour and weekday by the clock of the place, the way of arrival, and whether it is a return within 72 h."""
    encounter = bundle.encounter
    if encounter is None:
        return {}
    own = _source(encounter)
    found = {
        "arrival_hour": Fact(float(bundle.origin.hour), own),
        "arrival_weekday": Fact(float(bundle.origin.weekday()), own),
    }
    for extension in map(table, listed(encounter.get("extension"))):
        coding = table(extension.get("valueCoding"))
        if extension.get("url") == MODE_OF_ARRIVAL and coding.get("system") == ARRIVAL_MODES:
            by_ambulance = BY_AMBULANCE.get(text(coding.get("code")))
            if by_ambulance is not None:
                found["arrived_by_ambulance"] = Fact(by_ambulance, own)
    return {**found, **_return(bundle, encounter)}


def _return(bundle: Bundle, encounter: Json) -> dict[str, Fact]:
    """Look at the visits before this one; without any, nothing is known of them."""
    earlier = []
    for other in bundle.of("Encounter"):
        period = table(other.get("period"))
        ended = moment_of(period.get("end")) or moment_of(period.get("start"))
        if other is not encounter and ended is not None and ended < bundle.origin:
            earlier.append((other, ended))
    recent = [
        other for other, ended in earlier
        if bundle.origin - ended <= RETURN and table(other.get("class")).get("code") == EMERGENCY
    ]
    sources = tuple(name for other in (recent or [one for one, _ in earlier]) for name in _source(other))
    return {"seen_within_72h": Fact(float(bool(recent)), sources)} if earlier else {}


def reasons(bundle: Bundle) -> dict[str, Fact]:
    """Return the groups of Encounter.reasonCode, then of the Conditions of reasonReference; the first is the main reason."""
    if bundle.encounter is None:
        return {}
    stated = list(_stated(bundle, bundle.encounter))
    marks = {coding for concept, _ in stated for coding in codings(concept)}
    injury = (SNOMED, INJURY_OF_ANY_KIND) in marks
    concepts = [
        (concept, source) for concept, source in stated if set(codings(concept)) != {(SNOMED, INJURY_OF_ANY_KIND)}
    ]
    named = [next(filter(None, (group_of(*coding) for coding in codings(concept))), None) for concept, _ in concepts]
    sources = tuple(dict.fromkeys(name for _, source in concepts for name in source))
    return {code: Fact(value, sources) for code, value in facts_of(named, injury=injury).items()}


def _stated(bundle: Bundle, encounter: Json) -> Iterator[tuple[object, tuple[str, ...]]]:
    for concept in listed(encounter.get("reasonCode")):
        yield concept, _source(encounter)
    known = {own_reference(one): one for one in bundle.of("Condition")}
    for pointer in listed(encounter.get("reasonReference")):
        condition = known.get(reference(pointer))
        if condition is not None:
            yield condition.get("code"), _source(condition)


def conditions(bundle: Bundle) -> dict[str, Fact]:
    """Return the known chronic diseases of the survey form and how many there are."""
    by_row: dict[str, list[str]] = {}
    readable = False
    for condition in bundle.of("Condition"):
        recorded = when(condition)
        states = {code for _, code in codings(condition.get("verificationStatus"))}
        if states & UNSURE or (recorded is not None and recorded > bundle.origin + TRIAGE):
            continue
        over = bool({code for _, code in codings(condition.get("clinicalStatus"))} & OVER)
        known = [(kind, code) for system, code in codings(condition.get("code")) if (kind := _kind(system))]
        readable = readable or bool(known)
        for row in _TABLE["conditions"]:
            if (row.get("history") or not over) and any(_matches(row, kind, code) for kind, code in known):
                by_row.setdefault(row["name"], []).extend(_source(condition))
    if not readable:
        return {}
    every = tuple(dict.fromkeys(name for names in by_row.values() for name in names))
    found = {"chronic_conditions": Fact(float(len(by_row)), every)}
    for row in _TABLE["conditions"]:
        if "code" in row:
            found[row["code"]] = Fact(float(row["name"] in by_row), tuple(by_row.get(row["name"], ())))
    return found


def _kind(system: str) -> str:
    return "snomed" if system == SNOMED else CLASSIFICATIONS.get(system, "")


def _matches(row: Mapping[str, Any], kind: str, code: str) -> bool:
    if kind in (ICD10, ICD9):
        flat = code.upper().replace(".", "")
        return any(flat.startswith(start) for start in row[kind])
    return code in row["snomed"]


def _source(resource: Json) -> tuple[str, ...]:
    name = own_reference(resource)
    return (name,) if name else ()
