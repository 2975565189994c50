"""FHIR R4 Bundle → Record: codes to our names, units to ours by table, times to minutes since the encounter's start.

Reads Patient (birthDate, gender), Encounter (period.start, kind of unit) and Observation (final, amended, corrected).
https://hl7.org/fhir/R4/bundle.html. What is not in `tables/codes_*.json` is left out; what is, must be readable.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite, nan
from typing import Any

from models.codes import STATIC, Concept, concept_of, to_our_unit, unit_of
from models.errors import UnusableInput
from models.record import Event, Record

MAX_BYTES = 32 * 2**20
MAX_RESOURCES = 50_000
MAX_PARTS = 100
COUNTED = frozenset({"final", "amended", "corrected"})
SEXES = {"male": 1.0, "female": 0.0}
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Ignored:
    """What was not used: ``what`` kind of resource or code, ``why`` in a word a program can act on, how often."""

    what: str
    why: str
    count: int


@dataclass(frozen=True)
class Reading:
    """A record, and where it came from. ``references``: our code → (minute, "Observation/1") of every value used, by time.

    ``subject`` and ``encounter`` are references as the sender wrote them ("Patient/1"), "" when there is none.
    """

    record: Record
    references: Mapping[str, tuple[tuple[float, str], ...]] = field(default_factory=dict, repr=False)
    ignored: tuple[Ignored, ...] = ()
    subject: str = field(default="", repr=False)
    encounter: str = field(default="", repr=False)
    patient: Json | None = field(default=None, repr=False)


def read_bundle(bundle: object, *, moment: datetime | None = None, encounter: str = "") -> Reading:  # noqa: ARG001
    """Read resources about one subject. Raises UnusableInput as `read_fhir` does."""
    return Reading(record_of(bundle))


def read_fhir(content: bytes | str) -> Record:
    """Read one Bundle about one subject and one stay.

    Raises UnusableInput when the text is not a Bundle, is too large, speaks of several subjects or stays, has no
    Encounter with a start, or measures a known code in an unknown unit. Messages never say who it is about.
    """
    if len(content) > MAX_BYTES:
        raise UnusableInput(
            f"A Bundle must be at most {MAX_BYTES // 2**20} MiB, found {len(content) // 2**20}. Send one stay alone.",
            code="too_large",
        )
    try:
        bundle = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise UnusableInput("A Bundle must be JSON text in UTF-8, found something else.", code="not_json") from None
    return record_of(bundle)


def record_of(bundle: object) -> Record:
    """Turn a parsed Bundle into a Record. Raises UnusableInput as `read_fhir` does."""
    kinds: dict[str, list[Json]] = {"Patient": [], "Encounter": [], "Observation": []}
    for resource in _resources(bundle):
        kinds.get(_text(resource.get("resourceType")), []).append(resource)
    people = {_reference(one.get("subject")) for one in kinds["Observation"]} - {""}
    if len(kinds["Patient"]) > 1 or len(people) > 1:
        raise UnusableInput(
            f"A Bundle must be about one patient, found {max(len(kinds['Patient']), len(people))}. Send one each.",
            code="several_subjects",
        )
    stay = _stay(kinds["Encounter"])
    origin = _moment(_table(stay.get("period")).get("start"), "Encounter.period.start")
    static = {"age_years": nan, "male": nan, "height_cm": nan, "icu_type": _unit_kind(stay)}
    for patient in kinds["Patient"]:
        static["age_years"] = _age(patient.get("birthDate"), origin)
        static["male"] = SEXES.get(_text(patient.get("gender")), nan)
    events = [event for one in kinds["Observation"] for event in _events(one, origin)]
    heights = [event for event in events if event.code == "height_cm"]
    if heights:
        static["height_cm"] = min(heights, key=lambda event: abs(event.minute)).value
    during = (event for event in events if event.code != "height_cm" and event.minute >= 0)
    return Record.of(during, static, origin)


def _refuse_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON (RFC 8259)")


def _resources(bundle: object) -> Iterator[Json]:
    table = _table(bundle)
    entries = table.get("entry", [])
    if table.get("resourceType") != "Bundle" or not isinstance(entries, list):
        raise UnusableInput("A record must be a FHIR Bundle with a list of entries, found another.", code="no_bundle")
    if len(entries) > MAX_RESOURCES:
        raise UnusableInput(
            f"A Bundle must hold at most {MAX_RESOURCES} resources, found {len(entries)}. Send one stay alone.",
            code="too_large",
        )
    for entry in entries:
        yield _table(_table(entry).get("resource"))


def _stay(encounters: list[Json]) -> Json:
    """Choose the innermost encounter: the stay in a unit is part of the stay in the hospital."""
    outer = {_reference(one.get("partOf")) for one in encounters} - {""}
    inner = [
        one
        for one in encounters
        if _text(one.get("id")) not in outer and one.get("status") not in ("cancelled", "entered-in-error")
    ]
    if len(inner) != 1:
        raise UnusableInput(
            f"A Bundle must hold one Encounter, the stay in the unit, found {len(inner)}. Send that stay alone.",
            code="no_single_stay",
        )
    return inner[0]


def _unit_kind(stay: Json) -> float:
    kinds = STATIC["icu_type"]
    places = [_table(place).get("physicalType") for place in _list(stay.get("location"))]
    for concept in (*_list(stay.get("type")), stay.get("serviceType"), *places):
        for system, code in _codings(concept):
            if system == kinds["system"] and code in kinds["meaning"]:
                return float(kinds["meaning"][code])
    return nan


def _age(born: object, origin: datetime) -> float:
    """Return whole years at the origin; a birth date without month or day counts as the first of them."""
    if born is None:
        return nan
    try:
        birth = datetime.fromisoformat(_text(born) + "0001-01-01"[len(_text(born)) :]).replace(tzinfo=origin.tzinfo)
    except ValueError:
        raise UnusableInput("Patient.birthDate must be YYYY, YYYY-MM or YYYY-MM-DD.", code="bad_time") from None
    if birth.date() > origin.date():
        raise UnusableInput("Patient.birthDate must be before the Encounter's start, found after.", code="bad_time")
    return float(origin.year - birth.year - ((origin.month, origin.day) < (birth.month, birth.day)))


def _events(observation: Json, origin: datetime) -> Iterator[Event]:
    """Yield the known measurements of one Observation: its own value and its components', all at its time."""
    if _text(observation.get("status")) not in COUNTED:
        return
    components = _list(observation.get("component"))[:MAX_PARTS]
    for part in (observation, *(_table(component) for component in components)):
        concept = _concept(part.get("code"))
        if concept is None:
            continue
        measured = _measured(part, concept)
        if measured is not None:
            yield Event(_minute(observation, concept, origin), concept.name, measured, unit_of(concept.name))


def _concept(code: object) -> Concept | None:
    return next((found for system, word in _codings(code) if (found := concept_of(system, word))), None)


def _measured(part: Json, concept: Concept) -> float | None:
    """Return the value in our unit; None when absent for a stated reason, or not a number."""
    for key in ("valueBoolean", "valueInteger"):
        if isinstance(part.get(key), int):
            return to_our_unit(concept, float(_finite(part[key], concept)), "1")
    quantity = _table(part.get("valueQuantity"))
    if "value" not in quantity:
        return None
    unit = _text(quantity.get("code")) or _text(quantity.get("unit"))
    return to_our_unit(concept, _finite(quantity["value"], concept), unit)


def _finite(value: object, concept: Concept) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else nan
    except OverflowError:
        number = nan
    if not isfinite(number):
        raise UnusableInput(f"{concept.name}: the value must be a finite number, found another.", code="bad_value")
    return number


def _minute(observation: Json, concept: Concept, origin: datetime) -> float:
    period = _table(observation.get("effectivePeriod"))
    stated = observation.get("effectiveDateTime") or observation.get("effectiveInstant") or period.get("start")
    return (_moment(stated, f"The time of {concept.name}") - origin).total_seconds() / 60


def _moment(value: object, what: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
        if moment.tzinfo is not None:
            moment.astimezone(UTC)  # a year 1 that time zones push out of range fails here, not when compared
            return moment
    except (ValueError, OverflowError):
        pass
    raise UnusableInput(
        f"{what} must be a date and time with its zone, such as 2026-01-31T08:00:00+01:00.", code="bad_time"
    )


def _codings(concept: object) -> Iterator[tuple[str, str]]:
    for coding in _list(_table(concept).get("coding")):
        yield _text(_table(coding).get("system")), _text(_table(coding).get("code"))


def _reference(value: object) -> str:
    """Return the last part of a reference, so that Patient/1 and urn:uuid:1 are one."""
    return _text(_table(value).get("reference")).replace(":", "/").rsplit("/", 1)[-1]


def _table(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
