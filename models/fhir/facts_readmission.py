"""Facts of a hospital stay at discharge: earlier visits, how it began and ends, its diagnoses, procedures and medications.

Earlier visits, procedures and diabetes drugs that are not among the resources count as none, so the year before the stay
must be sent with it. Diagnoses are read by ICD-10 or ICD-9-CM alone; a stay coded otherwise has no group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from models.fhir.bundle import Bundle, Fact, Json, codings, listed, moment_of, own_reference, reference, table, text, when
from models.fhir.diagnoses import CLASSIFICATIONS, GROUPS, group_of

YEAR, SOON = timedelta(days=365), timedelta(days=30)
MOST_PROCEDURES, MOST_DIAGNOSES, RANKED = 6, 9, 3  # as counted in the data that were learnt from
HL7 = "http://terminology.hl7.org/CodeSystem/"
NUBC = "https://www.nubc.org/CodeSystem/PatDischargeStatus"
ATC = frozenset({
    "http://www.whocc.no/atc", "https://smt.esante.gouv.fr/terminologie-atc", "urn:oid:2.16.840.1.113883.6.73",
})
VISITS = {
    "IMP": "prior_inpatient", "ACUTE": "prior_inpatient", "NONAC": "prior_inpatient", "SS": "prior_inpatient",
    "OBSENC": "prior_inpatient", "EMER": "prior_emergency", "AMB": "prior_outpatient", "VR": "prior_outpatient",
    "HH": "prior_outpatient", "FLD": "prior_outpatient",
}
PRIORITIES = {"EM": 1.0, "S": 1.0, "UR": 2.0, "A": 2.0, "EL": 3.0, "R": 3.0}  # v3-ActPriority
SOURCES = {
    "emd": 1.0, "gp": 2.0, "mp": 2.0, "outp": 2.0, "hosp-trans": 3.0, "nursing": 4.0, "rehab": 4.0, "psych": 4.0,
}  # admit-source
HOME, HOME_CARE, NURSING, HOSPITAL, FACILITY, REHABILITATION, PSYCHIATRY, AGAINST_ADVICE = map(float, range(1, 9))
DISPOSITIONS: Mapping[tuple[str, str], float] = {
    **{(HL7 + "discharge-disposition", code): place for code, place in {
        "home": HOME, "alt-home": HOME, "snf": NURSING, "long": NURSING, "other-hcf": FACILITY,
        "rehab": REHABILITATION, "psy": PSYCHIATRY, "aadvice": AGAINST_ADVICE}.items()},
    **{(NUBC, code): place for code, place in {
        "01": HOME, "06": HOME_CARE, "03": NURSING, "04": NURSING, "61": NURSING, "64": NURSING, "02": HOSPITAL,
        "66": HOSPITAL, "05": FACILITY, "43": FACILITY, "63": FACILITY, "70": FACILITY, "62": REHABILITATION,
        "65": PSYCHIATRY, "07": AGAINST_ADVICE}.items()},
}
# Dead, or to a hospice ("hosp" of HL7's table)
NOT_ALIVE = frozenset({
    (HL7 + "discharge-disposition", "exp"), (HL7 + "discharge-disposition", "hosp"),
    *((NUBC, code) for code in ("20", "40", "41", "42", "50", "51")),
})
ELSEWHERE = frozenset({
    (HL7 + "discharge-disposition", "oth"), *((NUBC, code) for code in ("09", "21", "30", "69")),
})  # alive, to where is not told
DIABETES = {"http://snomed.info/sct": frozenset({"73211009", "44054006", "46635009"})}
INSULIN, METFORMIN, DIABETES_DRUG = "A10A", ("A10BA02", "A10BD"), "A10"
MEDICATIONS = ("MedicationRequest", "MedicationAdministration", "MedicationStatement")
NOT_GIVEN = frozenset({"cancelled", "not-done", "draft", "intended", "not-taken", "unknown"})  # stopped: given until then
UNSURE = frozenset({"unconfirmed", "provisional", "differential", "refuted", "entered-in-error"})
WAY_IN = timedelta(hours=1)  # a visit to the emergency department that ends so near to the stay led to it
NOT_HELD = frozenset({"planned", "cancelled", "entered-in-error"})


def facts(bundle: Bundle) -> dict[str, Fact]:
    """Return what is known of the stay as a whole; nothing without an Encounter."""
    stay = whole_stay(bundle)
    if stay is None:
        return {}
    return {
        **_course(bundle, stay), **_visits(bundle, stay), **_diagnoses(bundle, stay), **_medications(bundle, stay),
        **_procedures(bundle, stay), **_diabetes(bundle),
    }


def whole_stay(bundle: Bundle) -> Json | None:
    """Return the stay in hospital that the record's encounter is a part of, or that encounter."""
    by_name = {own_reference(one): one for one in bundle.of("Encounter")}
    stay, seen = bundle.encounter, set[str]()
    while stay is not None and (outer := reference(stay.get("partOf"))) in by_name and outer not in seen:
        seen.add(outer)
        stay = by_name[outer]
    return stay


def grouped(ranked: Sequence[int | None]) -> dict[str, float]:
    """Return the flags of up to three diagnoses by rank, each a place in GROUPS or None where its code is not known.

    Without a known main diagnosis nothing is said of it; secondary ones are said where there is none or one is known.
    """
    found: dict[str, float] = {}
    if ranked and ranked[0] is not None:
        found |= {f"main_{name}": float(index == ranked[0]) for index, name in enumerate(GROUPS)}
    others = ranked[1:RANKED]
    if not others or any(one is not None for one in others):
        found |= {f"other_{name}": float(index in others) for index, name in enumerate(GROUPS)}
    return found


def stay_days_of(days: int) -> float:
    """Count a stay without a night as one day, as the data that were learnt from do."""
    return float(max(1, days))


def _course(bundle: Bundle, stay: Json) -> dict[str, Fact]:
    """Return how long the stay lasted until the moment, how it began, and where it ends."""
    own = _source(stay)
    start = moment_of(table(stay.get("period")).get("start")) or bundle.origin
    days = (bundle.moment.astimezone(start.tzinfo).date() - start.date()).days
    found = {"stay_days": Fact(stay_days_of(days), own)} if days >= 0 else {}
    hospital = table(stay.get("hospitalization"))
    ends = set(codings(hospital.get("dischargeDisposition")))
    words = {
        "admission_type": [PRIORITIES.get(code) for _, code in codings(stay.get("priority"))],
        "admission_source": [SOURCES.get(code) for _, code in codings(hospital.get("admitSource"))],
        "discharge_disposition": [DISPOSITIONS.get(coding) for coding in sorted(ends)],
    }
    for name, known in words.items():
        value = next((one for one in known if one is not None), None)
        if value is not None:
            found[name] = Fact(value, own)
    patient = table(bundle.patient)
    died = patient.get("deceasedBoolean") is True or bool(text(patient.get("deceasedDateTime")))
    unread = bool(table(hospital.get("dischargeDisposition"))) and not ends & (DISPOSITIONS.keys() | ELSEWHERE)
    if not ends & NOT_ALIVE and not died and not unread:  # an end that cannot be read may be a death
        found["discharged_alive"] = Fact(1.0, own)
    return found


def _visits(bundle: Bundle, stay: Json) -> dict[str, Fact]:
    """Count the visits that began before the stay, parts of a visit with it, and the returns within 30 days.

    The visit to the emergency department through which this stay began is a part of it, stated or not.
    """
    start = moment_of(table(stay.get("period")).get("start")) or bundle.origin
    names = {own_reference(one) for one in bundle.of("Encounter")} - {""}
    recent: dict[str, list[Json]] = {name: [] for name in ("prior_inpatient", "prior_emergency", "prior_outpatient")}
    stays: list[tuple[datetime, Json]] = []
    for one in bundle.of("Encounter"):
        began = moment_of(table(one.get("period")).get("start"))
        kind = VISITS.get(text(table(one.get("class")).get("code")))
        if one is stay or reference(one.get("partOf")) in names or kind is None or began is None:
            continue
        if text(one.get("status")) in NOT_HELD or began >= start:
            continue
        end = moment_of(table(one.get("period")).get("end"))
        if kind == "prior_emergency" and end is not None and end >= start - WAY_IN:
            continue
        if kind == "prior_inpatient":
            stays.append((began, one))
        if began >= start - YEAR:
            recent[kind].append(one)
    told = {name: Fact(float(len(visits)), _source(*visits)) for name, visits in recent.items()}
    earlier = [one for _, one in sorted(stays, key=lambda row: row[0])]
    returned = [_soon(one, after) for one, after in pairwise([*earlier, stay])]
    again = [one for one, soon in zip(earlier, returned, strict=True) if soon]
    return {
        **told,
        "earlier_stays": Fact(float(len(earlier)), _source(*earlier)),
        "early_return": Fact(float(bool(returned and returned[-1])), _source(*earlier[-1:])),
        "early_returns": Fact(float(len(again)), _source(*again)),
    }


def _soon(stay: Json, after: Json) -> bool:
    """Say whether the second stay began within 30 days of the end of the first."""
    end = moment_of(table(stay.get("period")).get("end"))
    start = moment_of(table(after.get("period")).get("start"))
    return end is not None and start is not None and start - end <= SOON


def _diagnoses(bundle: Bundle, stay: Json) -> dict[str, Fact]:
    """Return how many diagnoses the stay has, and the groups of the first three by rank."""
    ranked = list(_ranked(bundle, stay))
    if not ranked:
        return {}
    groups = [next((found for mark in codings(one.get("code")) if (found := _group(*mark)) is not None), None)
              for one in ranked]
    told = {"diagnoses_count": Fact(float(min(len(ranked), MOST_DIAGNOSES)), _source(*ranked))}
    for name, value in grouped(groups[:RANKED]).items():
        shown = ranked[:1] if name.startswith("main_") else ranked[1:RANKED]
        told[name] = Fact(value, _source(*shown))
    return told


def _ranked(bundle: Bundle, stay: Json) -> Iterator[Json]:
    """Yield the stay's diagnoses, each once: those the Encounter lists by rank, else its own Conditions as they came."""
    by_name = {own_reference(one): one for one in bundle.of("Condition")}
    listing = [table(one) for one in listed(stay.get("diagnosis"))]
    ranks = [one.get("rank") for one in listing]
    order = sorted(range(len(listing)), key=lambda i: (ranks[i] if isinstance(ranks[i], int) else len(listing), i))
    found = [by_name[name] for i in order if (name := reference(listing[i].get("condition"))) in by_name]
    if not found:
        own = own_reference(stay)
        found = [one for one in bundle.of("Condition") if own and reference(one.get("encounter")) == own]
    told: set[object] = set()
    for one in found:
        mark = next(iter(codings(one.get("code"))), None) or own_reference(one)
        refuted = {code for _, code in codings(one.get("verificationStatus"))} & {"refuted", "entered-in-error"}
        if mark not in told and not refuted:
            told.add(mark)
            yield one


def _group(system: str, code: str) -> int | None:
    return group_of(CLASSIFICATIONS[system], code) if system in CLASSIFICATIONS else None


def _medications(bundle: Bundle, stay: Json) -> dict[str, Fact]:
    """Count distinct medications of the stay, and tell the diabetes drugs by ATC; absent only where every drug has a code."""
    named: dict[object, Json] = {}
    drugs: list[tuple[str, Json]] = []
    complete = True
    by_name = {own_reference(one): one for one in bundle.of("Medication")}
    for kind in MEDICATIONS:
        for one in bundle.of(kind):
            unused = text(one.get("status")) in NOT_GIVEN or one.get("doNotPerform") is True
            if unused or not _during(bundle, stay, one):
                continue
            concept = table(one.get("medicationCodeableConcept"))
            concept = concept or table(by_name.get(reference(one.get("medicationReference")), {}).get("code"))
            marks = list(codings(concept))
            named.setdefault(marks[0] if marks else text(concept.get("text")) or own_reference(one), one)
            coded = [(code.upper(), one) for system, code in marks if system in ATC]
            complete = complete and bool(coded)
            drugs += coded
    if not named:
        return {}
    told = {"medications_count": Fact(float(len(named)), _source(*named.values()))}
    for name, starts in (("on_insulin", INSULIN), ("on_metformin", METFORMIN), ("on_diabetes_drug", DIABETES_DRUG)):
        whose = [one for code, one in drugs if code.startswith(starts)]
        if whose or complete:
            told[name] = Fact(float(bool(whose)), _source(*whose))
    return told


def _procedures(bundle: Bundle, stay: Json) -> dict[str, Fact]:
    done = [one for one in bundle.of("Procedure")
            if text(one.get("status")) in ("completed", "in-progress") and _during(bundle, stay, one)]
    return {"procedures_count": Fact(float(min(len(done), MOST_PROCEDURES)), _source(*done))}


def _diabetes(bundle: Bundle) -> dict[str, Fact]:
    """Say that diabetes is known; never that there is none, since an empty list of problems does not say so."""
    for one in bundle.of("Condition"):
        verified = {code for _, code in codings(one.get("verificationStatus"))}
        for system, code in codings(one.get("code")):
            group = _group(system, code)
            known = (group is not None and GROUPS[group].startswith("diabetes_")) or code in DIABETES.get(system, ())
            if known and not verified & UNSURE:
                return {"diabetes": Fact(1.0, _source(one))}
    return {}


def _during(bundle: Bundle, stay: Json, one: Json) -> bool:
    """Say whether something belongs to the stay: by its reference, else by its time."""
    whose = reference(one.get("encounter") or one.get("context"))
    names = {own_reference(stay), own_reference(bundle.encounter or {})} - {""}
    if whose:
        return whose in names or reference(_encounter(bundle, whose).get("partOf")) in names
    at, start = when(one), moment_of(table(stay.get("period")).get("start")) or bundle.origin
    return at is not None and start <= at <= bundle.moment


def _encounter(bundle: Bundle, name: str) -> Json:
    return next((one for one in bundle.of("Encounter") if own_reference(one) == name), {})


def _source(*resources: Json) -> tuple[str, ...]:
    return tuple(name for name in map(own_reference, resources) if name)
