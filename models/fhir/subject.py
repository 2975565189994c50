"""Whom a record is about: one patient and no other, how old at the record's origin, of which sex, in which kind of unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from math import nan

from models.codes import STATIC
from models.errors import UnusableInput
from models.fhir.bundle import Fact, Json, codings, listed, reference, table, text
from models.fhir.collect import Collected, Held
from models.fhir.stay import Stay
from models.fhir.times import span_of

SEXES = {"male": 1.0, "female": 0.0}
NOT_PATIENTS = ("Group/", "Device/", "Location/")


def one_subject(sent: Collected, ignored: Counter[tuple[str, str]]) -> tuple[Collected, Held | None]:
    """Return what is about the one patient, and the Patient. Raises UnusableInput when there is more than one."""
    patients = sent.of("Patient")
    named = {f"|{text(row.get('system'))}|{text(row.get('value'))}": one.key
             for one in patients for row in (table(each) for each in listed(one.resource.get("identifier")))}
    people = {one.key for one in patients}
    kept: list[Held] = []
    for one in sent.held:
        whose = _about(one, sent)
        whose = named.get(whose, whose)
        if whose.startswith(NOT_PATIENTS):
            ignored[one.told, "subject_not_patient"] += 1
            continue
        if whose and one.kind != "Patient":
            people.add(whose)
        kept.append(one)
    people = {one for one in people if not (one.startswith("#") and len(people) == 2 and len(patients) == 1)}
    if len(people) > 1:
        raise UnusableInput(
            f"A Bundle must be about one patient, found {len(people)}. Send one each.", code="several_subjects"
        )
    return replace(sent, held=tuple(kept)), patients[0] if patients else None


def subject_of(sent: Collected) -> str:
    """Return the reference to the patient as the resources write it, where no Patient was sent."""
    return next((found for one in sent.held if (found := reference(one.resource.get("subject")))), "")


def traits(patient: Held | None, stay: Stay | None, at: datetime | None) -> Iterator[tuple[str, Fact]]:
    """Yield the age at a time, sex and kind of unit; NaN where the sender did not say.

    Raises UnusableInput for a birth date that cannot be read, or is after that time.
    """
    if patient is not None:
        sources = (patient.source,) if patient.source else ()
        if at is not None:
            yield "age_years", Fact(_age(patient.resource.get("birthDate"), at), sources)
        yield "male", Fact(SEXES.get(text(patient.resource.get("gender")), nan), sources)
    if stay is not None:
        yield "icu_type", Fact(_unit_kind(stay.held.resource), (stay.held.source,) if stay.held.source else ())


def _about(one: Held, sent: Collected) -> str:
    """Return the key of whom a resource is about; "" when it does not say, or is about no patient."""
    stated = table(one.resource.get("subject") or one.resource.get("patient"))
    literal = text(stated.get("reference"))
    if not literal:
        who = table(stated.get("identifier"))
        value = text(who.get("value"))
        return f"|{text(who.get('system'))}|{value}" if value else ""
    return "" if literal.startswith("#") else sent.key_of(literal)


def _unit_kind(stay: Json) -> float:
    kinds = STATIC["icu_type"]
    places = [table(place).get("physicalType") for place in listed(stay.get("location"))]
    for concept in (*listed(stay.get("type")), stay.get("serviceType"), *places):
        for system, code in codings(concept):
            if system == kinds["system"] and code in kinds["meaning"]:
                return float(kinds["meaning"][code])
    return nan


def _age(born: object, at: datetime) -> float:
    """Return whole years at a time; a birth date without month or day counts as the first of them."""
    if born is None:
        return nan
    span = span_of(born, at.tzinfo or UTC) if isinstance(born, str) and len(born) <= 10 else None
    if span is None:
        raise UnusableInput("Patient.birthDate must be YYYY, YYYY-MM or YYYY-MM-DD.", code="bad_time")
    birth = span[0]
    if birth.date() > at.date():
        raise UnusableInput(
            "Patient.birthDate must be before the Encounter's start or what was measured, found after.", code="bad_time"
        )
    return float(at.year - birth.year - ((at.month, at.day) < (birth.month, birth.day)))
