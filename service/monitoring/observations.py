"""Observations as they are sent → what was heard of whom: the TLSVObservation profile and any other of R4.

https://hl7.org/fhir/R4/observation.html and the French guide for remote monitoring (ans.fhir.fr.telesurveillance). What is
not used is told with its element and rule, never its value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from models.fhir.bundle import listed, table, text
from models.fhir.mapping import NO_CODES
from models.fhir.measure import COUNTED, Measured, Unused, instant_of, measured_by
from models.fhir.times import span_of
from service.fhir.outcome import Fault, error, warning
from service.store.monitoring import Heard

AHEAD_S = 600.0  # clocks of sensors are so far ahead at most
LONGEST = 255
OUR_ID = "diaphane-"  # begins the ids given to Observations that came without one
DELETED = frozenset({"data_absent", "no_value"})  # a value that was sent before is not meant any more
TAKEN_BACK = frozenset({"entered-in-error", "cancelled"})
EFFECTIVE = "Observation.effective[x]"
NO_SUBJECT = "subject.reference must name a Patient, such as Patient/123, or one in the same Bundle that has an id."
NOT_USED = "No release that monitors here uses this code: it was not kept."
TOO_EARLY = f"It may be {AHEAD_S / 60:.0f} minutes ahead of the clock here at most. See to the clock of the sensor."
TOO_OLD = "It is older than the {hours} hours that are looked at: it was not kept."
NOT_FINAL = "{code}: the status must be final, amended or corrected to be used."
_SUBJECT = re.compile(r"Patient/(?!\.{1,2}$)[A-Za-z0-9.-]{1,64}|https?://[!-~]{1,180}/Patient/[A-Za-z0-9.-]{1,64}")
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9.-]{1,64}")
_CLOCK = re.compile(r"\d{4}-\d{2}-\d{2}T")
Json = dict[str, Any]
Resolve = Callable[[str], str]


@dataclass(frozen=True)
class Taken:
    """What one Observation came to: what was heard, and what is wrong with it."""

    heard: tuple[Heard, ...] = field(default=(), repr=False)
    faults: tuple[Fault, ...] = ()
    zone_min: int | None = None  # offset of its clock from UTC, for features that look at the time of day

    @property
    def used(self) -> bool:
        return bool(self.heard)


def take(observation: Json, codes: Collection[str], *, now: float, keep_s: float, resolve: Resolve, name: str = "") -> Taken:
    """Read one Observation. ``codes``: ours, that some release here rests on; ``keep_s``: what is older is not used.

    ``resolve`` turns a reference inside a Bundle into one that lasts. ``name``: the id in the address it was put to.
    """
    if name and text(observation.get("id")) != name:
        return _not(error("invalid", "Observation.id", "The id must be that of the address."))
    if "id" in observation and not is_id(observation["id"]):
        return _not(error("invalid", "Observation.id", "It must be letters, digits, - and ., at most 64."))
    subject = resolve(text(table(observation.get("subject")).get("reference")))
    if not is_subject(subject):
        return _not(error("required", "Observation.subject", NO_SUBJECT))
    parts = [part for part in measured_by(observation, NO_CODES) if part.code in codes]
    if not parts:
        return _not(warning("not-supported", "Observation.code", NOT_USED))
    taken_back = _status(observation) in TAKEN_BACK
    moment = instant_of(observation, UTC) if _CLOCK.match(_stated_time(observation)) else None
    if moment is None and taken_back:
        moment = datetime.fromtimestamp(now, UTC)
    if moment is None:
        return _not(error("invalid", EFFECTIVE, "It must be a date and time with its zone."))
    at = moment.timestamp()
    if at > now + AHEAD_S and not taken_back:
        return _not(error("business-rule", EFFECTIVE, TOO_EARLY))
    if at < now - keep_s and not taken_back:
        return _not(warning("business-rule", EFFECTIVE, TOO_OLD.format(hours=f"{keep_s / 3600:.0f}")))
    heard, faults = [], []
    for part in parts:
        if isinstance(part, Unused) and not taken_back and part.why not in DELETED:
            faults.append(_fault(part))
        else:
            heard.append(_heard(observation, part, subject, at))
    offset = moment.utcoffset()
    return Taken(tuple(heard), tuple(faults), None if offset is None else int(offset.total_seconds() // 60))


def is_id(value: object) -> bool:
    """Tell whether something is an id (https://hl7.org/fhir/R4/datatypes.html#id) that can stand in an address."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def is_subject(reference: str) -> bool:
    """Tell whether a reference names a Patient, here or elsewhere."""
    return _SUBJECT.fullmatch(reference) is not None


def _not(fault: Fault) -> Taken:
    return Taken(faults=(fault,))


def _heard(observation: Json, part: Measured | Unused, subject: str, at: float) -> Heard:
    status = _status(observation)
    value = part.value if isinstance(part, Measured) else 0.0
    if isinstance(part, Unused) and status in COUNTED:
        status = "data-absent"  # a value that was sent before is deleted so (TLSVObservation, value[x])
    return Heard(subject, _source(observation, subject, part.code, at, value), _identifier(observation), part.code, value, at, status,
                 _version(observation))


def _status(observation: Json) -> str:
    status = text(observation.get("status"))
    return status if re.fullmatch(r"[a-z-]{1,24}", status) else ""


def _fault(part: Unused) -> Fault:
    if part.error is not None:
        return error("value", "Observation.value[x]", str(part.error))
    if part.why in ("registered", "preliminary", "unknown", "no_status"):
        return warning("business-rule", "Observation.status", NOT_FINAL.format(code=part.code))
    return error("value", "Observation.value[x]", f"{part.code}: the value cannot be used ({part.why.replace('_', ' ')}).")


def _source(observation: Json, subject: str, code: str, at: float, value: float) -> str:
    """Return what tells an Observation from others: its id, or one made of its identifier, or else of what it says."""
    if own := text(observation.get("id")):
        return f"Observation/{own}"
    told: list[Any] = [subject, _identifier(observation)]
    if not told[1]:
        told += [code, at, value, observation.get("device"), observation.get("performer")]
    return f"Observation/{OUR_ID}{hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]}"


def _identifier(observation: Json) -> str:
    for one in listed(observation.get("identifier")):
        system, value = text(table(one).get("system")), text(table(one).get("value"))
        if value:
            told = f"{system}|{value}"
            plain = len(told) <= LONGEST and told.isprintable()
            return told if plain else f"urn:sha256:{hashlib.sha256(told.encode('utf-8', 'backslashreplace')).hexdigest()}"
    return ""


def _version(observation: Json) -> float:
    for stated in (table(observation.get("meta")).get("lastUpdated"), observation.get("issued")):
        span = span_of(stated)
        if span is not None:
            return span[0].timestamp()
    return 0.0


def _stated_time(observation: Json) -> str:
    period = table(observation.get("effectivePeriod"))
    stated = observation.get("effectiveDateTime") or observation.get("effectiveInstant")
    return text(stated or period.get("end") or period.get("start"))
