"""A draft order of warfarin: which drafts are one, what weekly dose they state, and the same draft with another dose.

Doses are in mg. The rule of rounding: the same dose every day, made of whole and half tablets of the strengths in
warfarin.json (2 and 5 mg, those sold in France), the one nearest to the dose that was computed.
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
DAYS_A_WEEK = 7.0
_WORD = re.compile(rf"\b({'|'.join(DRUG['words'])})\b", re.IGNORECASE)
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
    """One draft order. ``weekly_mg`` is None when its dose is not stated or cannot be read as one weekly dose."""

    resource: Json = field(repr=False)
    weekly_mg: float | None

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
        if one.get("resourceType") == "MedicationRequest" and named and _is_warfarin(_medication(one, resources)):
            found.append(Draft(dict(one), weekly_mg(one, _strength_mg(_medication(one, resources)))))
    return found


def weekly_mg(order: Mapping[str, Any], tablet_mg: float | None = None) -> float | None:
    """Return what a MedicationRequest adds up to in a week; None when one of its instructions cannot be read."""
    doses = [_weekly(table(one), tablet_mg) for one in listed(order.get("dosageInstruction"))]
    if not doses or any(one is None for one in doses):
        return None
    return sum(one for one in doses if one is not None)


@cache
def daily_doses_mg() -> tuple[float, ...]:
    """Return the daily doses that whole and half tablets give, ascending."""
    counts = [one / 2 for one in range(2 * MOST_TABLETS + 1)]
    strengths = DRUG["strengths_mg"]
    days = itertools.product(counts, repeat=len(strengths))
    sums = {sum(n * mg for n, mg in zip(day, strengths, strict=True)) for day in days}
    return tuple(sorted(one for one in sums if one > 0))


def rounded_daily_mg(weekly: float) -> float:
    """Return the daily dose that tablets give, nearest to a weekly dose; the lower of two."""
    return min(daily_doses_mg(), key=lambda one: (abs(one - weekly / DAYS_A_WEEK), one))


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
    repeat = table(timing.get("repeat"))
    if not repeat:
        times = next((_TIMES_A_DAY[code] for _, code in codings(timing.get("code")) if code in _TIMES_A_DAY), None)
        return None if times is None else DAYS_A_WEEK * times
    if any(name in repeat for name in ("frequencyMax", "periodMax", "count", "countMax")):
        return None
    frequency, period = repeat.get("frequency", 1), repeat.get("period", 1)
    weeks = _PERIODS_IN_A_WEEK.get(text(repeat.get("periodUnit")) or "d")
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) and one > 0 for one in (frequency, period))
    if not numbers or weeks is None:
        return None
    daily = max(float(frequency), float(len(listed(repeat.get("timeOfDay")))), float(len(listed(repeat.get("when")))))
    days = set(listed(repeat.get("dayOfWeek")))
    return daily * len(days) if days else daily * weeks / float(period)
