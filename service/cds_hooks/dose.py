"""A draft order of warfarin: which drafts are one, what weekly dose they state, and the same draft with another dose.

Doses are in mg. The rule of rounding: the same dose every day, made of whole and half tablets, the one nearest to the dose
that was computed: tablets of the strength that the draft names, else of those in warfarin.json (2 and 5 mg, sold in France).
"""

from __future__ import annotations

import copy
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from models.fhir.bundle import codings, listed, table, text
from service.fhir.datatypes import UCUM

DRUG: Mapping[str, Any] = json.loads(Path(__file__).with_name("warfarin.json").read_text("utf-8"))
MOST_TABLETS = 3  # of each strength in a day
MOST_TABLET_MG = 10  # the strongest tablet sold anywhere
DAYS_A_WEEK = 7.0
_WORD = re.compile(rf"\b({'|'.join(DRUG['words'])})\b", re.IGNORECASE)
_MG = re.compile(r"(?<![\d.,/])(\d+(?:[.,]\d+)?)\s*mg\b", re.IGNORECASE)
_PERIODS_IN_A_WEEK = {"h": 168.0, "d": 7.0, "wk": 1.0}
# GTSAbbreviation, https://terminology.hl7.org/CodeSystem-v3-GTSAbbreviation.html
_TIMES_A_DAY = {"QD": 1.0, "AM": 1.0, "PM": 1.0, "BED": 1.0, "BID": 2.0, "TID": 3.0, "QID": 4.0, "QOD": 0.5}
# What a dose replaces in a dosage instruction; the rest of it (route, method, site) stays.
_REPLACED = ("text", "timing", "doseAndRate", "doseQuantity", "doseRange", "asNeededBoolean", "asNeededCodeableConcept",
             "patientInstruction", "additionalInstruction", "sequence", "maxDosePerPeriod", "maxDosePerAdministration",
             "rateQuantity", "rateRatio", "rateRange")
Json = dict[str, Any]


@dataclass(frozen=True)
class Draft:
    """One draft order. ``weekly_mg`` is None when its dose is not stated or cannot be read as one weekly dose.

    ``strengths_mg``: the tablets that a dose can be made of.
    """

    resource: Json = field(repr=False)
    weekly_mg: float | None
    strengths_mg: tuple[float, ...] = tuple(DRUG["strengths_mg"])

    @property
    def id(self) -> str:
        """The id of the MedicationRequest."""
        return text(self.resource.get("id"))


def drafts_of(orders: Json, selections: Sequence[str] | None) -> list[Draft]:
    """Return the drafts of warfarin, of those selected where there are ``selections`` (references or bare ids)."""
    resources = [table(table(entry).get("resource")) for entry in listed(table(orders).get("entry"))]
    chosen = None if selections is None else {one.rpartition("/")[2] for one in selections}
    found = []
    for one in resources:
        named = chosen is None or text(one.get("id")) in chosen
        if one.get("resourceType") != "MedicationRequest" or not named or one.get("doNotPerform") is True:
            continue
        concepts = _medication(one, resources)
        if _is_warfarin(concepts):
            found.append(Draft(dict(one), weekly_mg(one, _strength_mg(concepts)), strengths_of(concepts)))
    return found


def weekly_mg(order: Mapping[str, Any], tablet_mg: float | None = None) -> float | None:
    """Return what a MedicationRequest adds up to in a week; None when one of its instructions cannot be read.

    Instructions that follow each other (a sequence, bounds) are no sum: then there is no one weekly dose.
    """
    lines = [table(one) for one in listed(order.get("dosageInstruction"))]
    doses = [_weekly(one, tablet_mg) for one in lines]
    if not doses or any(one is None for one in doses) or (len(lines) > 1 and _follow_each_other(lines)):
        return None
    return sum(one for one in doses if one is not None)


@cache
def daily_doses_mg(strengths: tuple[float, ...] = Draft.strengths_mg) -> tuple[float, ...]:
    """Return the daily doses that whole and half tablets give, ascending."""
    counts = [one / 2 for one in range(2 * MOST_TABLETS + 1)]
    days = itertools.product(counts, repeat=len(strengths))
    sums = {sum(n * mg for n, mg in zip(day, strengths, strict=True)) for day in days}
    return tuple(sorted(one for one in sums if one > 0))


def rounded_daily_mg(weekly: float, strengths: tuple[float, ...] = Draft.strengths_mg) -> float:
    """Return the daily dose that tablets give, nearest to a weekly dose; the lower of two."""
    return min(daily_doses_mg(strengths), key=lambda one: (abs(one - weekly / DAYS_A_WEEK), one))


def with_dose(order: Json, daily_mg: float, words: str) -> Json:
    """Return the whole order with one instruction, ``daily_mg`` once a day, said in ``words``; nothing else changes."""
    changed = copy.deepcopy(order)
    old = table(next(iter(listed(order.get("dosageInstruction"))), {}))
    kept = {name: value for name, value in old.items() if name.lstrip("_") not in _REPLACED}
    repeat: Json = {"frequency": 1, "period": 1, "periodUnit": "d"}
    told = table(table(old.get("timing")).get("repeat"))
    repeat |= {name: told[name] for name in ("boundsDuration", "boundsPeriod", "boundsRange") if name in told}
    value = int(daily_mg) if daily_mg == int(daily_mg) else daily_mg
    quantity = {"value": value, "unit": "mg", "system": UCUM, "code": "mg"}
    changed["dosageInstruction"] = [
        {"sequence": 1, "text": words, "timing": {"repeat": repeat}, **kept, "doseAndRate": [{"doseQuantity": quantity}]},
    ]
    changed.pop("text", None)  # the narrative states the former dose
    return changed


def _medication(order: Mapping[str, Any], resources: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the concepts that say what is ordered: of the order itself, or of the Medication it points at."""
    found = [table(order.get("medicationCodeableConcept"))]
    target = text(table(order.get("medicationReference")).get("reference"))
    inside = [table(one) for one in listed(order.get("contained"))]
    for one in (*inside, *resources):
        name = text(one.get("id"))
        if one.get("resourceType") == "Medication" and name and target in (f"#{name}", f"Medication/{name}"):
            found.append(table(one.get("code")))
    if display := text(table(order.get("medicationReference")).get("display")):
        found.append({"text": display})
    return found


def _is_warfarin(concepts: Sequence[Mapping[str, Any]]) -> bool:
    for concept in concepts:
        for system, code in codings(concept):
            if code in DRUG["codes"].get(system, ()) or code in DRUG["tablets_mg"].get(system, {}):
                return True
        if any(_WORD.search(words) for words in _names(concept)):
            return True
    return False


def _names(concept: Mapping[str, Any]) -> Iterator[str]:
    yield text(concept.get("text"))
    for coding in listed(concept.get("coding")):
        yield text(table(coding).get("display"))


def _strength_mg(concepts: Sequence[Mapping[str, Any]]) -> float | None:
    found = {float(DRUG["tablets_mg"][system][code]) for concept in concepts for system, code in codings(concept)
             if code in DRUG["tablets_mg"].get(system, {})}
    return found.pop() if len(found) == 1 else None


def strengths_of(concepts: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """Return the strength of the tablet that is ordered, by its code or its name; those sold where neither says it."""
    coded = _strength_mg(concepts)
    named = {float(one.replace(",", ".")) for concept in concepts for words in _names(concept) for one in _MG.findall(words)}
    found = {coded} if coded else named
    return tuple(found) if len(found) == 1 and 0 < min(found) <= MOST_TABLET_MG else Draft.strengths_mg


def _follow_each_other(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether instructions hold one after another, not together: R4 Dosage.sequence, unless each names its weekdays."""
    repeats = [table(table(one.get("timing")).get("repeat")) for one in lines]
    bounded = any(name.startswith("bounds") for one in repeats for name in one)
    in_sequence = len({one["sequence"] for one in lines if isinstance(one.get("sequence"), int)}) > 1
    return bounded or (in_sequence and not all(listed(one.get("dayOfWeek")) for one in repeats))


def _weekly(dosage: Mapping[str, Any], tablet_mg: float | None) -> float | None:
    """Return the mg a week of one instruction; None when it leaves a choice, or states no dose."""
    if dosage.get("asNeededBoolean") is True or dosage.get("asNeededCodeableConcept"):
        return None
    once, times = _once_mg(dosage, tablet_mg), _times_a_week(table(dosage.get("timing")))
    return None if once is None or times is None else once * times


def _once_mg(dosage: Mapping[str, Any], tablet_mg: float | None) -> float | None:
    rates = [table(one) for one in listed(dosage.get("doseAndRate"))]
    if len(rates) > 1:
        return None
    quantity = table((rates[0] if rates else dosage).get("doseQuantity"))  # some senders put it where STU3 had it
    value, unit = quantity.get("value"), text(quantity.get("code")) or text(quantity.get("unit"))
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1000:
        return None
    if unit.lower() == "mg":
        return float(value)
    return float(value) * tablet_mg if unit in DRUG["tablet_units"] and tablet_mg else None


def _times_a_week(timing: Mapping[str, Any]) -> float | None:
    """Return how often in a week; None where it is not said, or could be more than one number."""
    repeat = table(timing.get("repeat"))
    if timing.get("code"):  # R4 Timing.code: a complete statement, to which only bounds add
        times = next((_TIMES_A_DAY[code] for _, code in codings(timing.get("code")) if code in _TIMES_A_DAY), None)
        if times is not None:
            return DAYS_A_WEEK * times
    if any(name in repeat for name in ("frequencyMax", "periodMax", "count", "countMax")):
        return None
    hours = max(len({text(one) for one in listed(repeat.get(name))}) for name in ("timeOfDay", "when"))
    days = len({text(one) for one in listed(repeat.get("dayOfWeek"))})
    if "period" not in repeat and "frequency" not in repeat:
        return (hours or 1.0) * (days or DAYS_A_WEEK) if hours or days else None
    frequency, period, unit = _positive(repeat.get("frequency", 1)), _positive(repeat.get("period")), text(repeat.get("periodUnit"))
    weeks = _PERIODS_IN_A_WEEK.get(unit)
    if frequency is None or period is None or weeks is None:
        return None
    daily = max(frequency, float(hours))
    if not days:
        return daily * weeks / period
    if period != 1.0 or unit == "h" or (unit == "wk" and (frequency not in (1, days) or hours > 1)):
        return None
    return float(days) if unit == "wk" else daily * days


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
