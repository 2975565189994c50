"""Intake: what was sent, singly, as a Bundle or by a Subscription → what was heard, written before it is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isnan
from typing import Any

from models.errors import UnusableInput
from models.fhir.bundle import listed, table, text
from models.read_fhir import read_bundle
from service.fhir.exchange import Refused
from service.fhir.outcome import Fault, error, outcome, sound
from service.monitoring.observations import Taken, is_id, take
from service.problem import ProblemError
from service.store import monitoring as rows
from service.store.store import Store

MAX_ENTRIES = 5000
KEEP_S = 24 * 3600.0  # what is older is not looked at by any release, and not kept
Json = dict[str, Any]
Due = frozenset[tuple[str, str]]
Who = Callable[[Json, str], Json]  # a Patient and the reference to it


@dataclass(frozen=True)
class Told:
    """The answer, and who is to be scored."""

    answer: Json
    due: Due = field(default=frozenset(), repr=False)
    source: str = field(default="", repr=False)  # Observation/id of the one that was taken


@dataclass(frozen=True)
class _Entry:
    """One entry of a Bundle: an Observation to be taken, one to be taken back, or what only goes with them."""

    place: int
    kind: str  # Observation | delete | other
    taken: Taken = field(default_factory=Taken)
    gone: str = field(default="", repr=False)
    created: bool = False


class Intake:
    """Takes measurements for the releases that monitor. ``models``: name → codes it rests on.

    ``who`` returns what is kept of a Patient beside age and sex, for a page that shows alerts; None where there is none.
    """

    def __init__(self, store: Store, models: Mapping[str, Collection[str]], now: float, who: Who | None = None) -> None:
        self.store, self.models, self.now, self.who = store, models, now, who
        self.codes = frozenset(code for codes in models.values() for code in codes)

    def single(self, observation: Json, name: str = "") -> Told:
        """Take one Observation; ``name``: the id it was put under. Raises Refused 422 when nothing of it can be used."""
        if observation.get("resourceType") != "Observation":
            raise Refused([error("invalid", "resourceType", "This address takes an Observation.")])
        taken = self._take(observation, {}, name)
        if not taken.used or not sound(taken.faults):
            raise Refused(taken.faults, 422)
        due = self._hear([taken], {})
        return Told(outcome(taken.faults), due, taken.heard[0].source)

    def remove(self, name: str) -> Told:
        """Take an Observation back. One that was never heard of is back already."""
        if not is_id(name):
            raise ProblemError("not_found", "An id is letters, digits, - and ., at most 64.")
        return Told({}, frozenset(rows.take_back(self.store, f"Observation/{name}", self.models, now=self.now)))

    def bundle(self, body: Json) -> Told:
        """Take a Bundle. A transaction is taken whole or not at all; of a batch, each entry says what became of it."""
        kind = text(body.get("type"))
        entries = self._entries(body)
        if kind == "transaction":
            faults = [_placed(fault, one.place) for one in entries for fault in one.taken.faults if fault.severity != "warning"]
            if faults:
                raise Refused(faults, 422)
        due = self._write(entries, body)
        if kind in ("transaction", "batch"):
            return Told({"resourceType": "Bundle", "type": f"{kind}-response", "entry": [_response(one) for one in entries]}, due)
        return Told(_summary(entries), due)

    def notification(self, body: Json) -> Told:
        """Take what a Subscription sent: one resource, a Bundle, or only a sign of life. Never refused for its content."""
        if body.get("resourceType") == "Bundle":
            entries = self._entries(body)
            return Told(_summary(entries), self._write(entries, body))
        if body.get("resourceType") == "Observation":
            entries = self._entries({"resourceType": "Bundle", "entry": [{"resource": body}]})
            return Told(_summary(entries), self._write(entries, {}))
        return Told(outcome([]))

    def _take(self, observation: Json, people: Mapping[str, str], name: str = "") -> Taken:
        return take(observation, self.codes, now=self.now, keep_s=KEEP_S, resolve=lambda one: people.get(one, one), name=name)

    def _entries(self, body: Json) -> list[_Entry]:
        sent = listed(body.get("entry"))
        if body.get("resourceType") != "Bundle":
            raise Refused([error("invalid", "resourceType", "This address takes a Bundle.")])
        if len(sent) > MAX_ENTRIES:
            raise ProblemError("too_large", f"A Bundle must hold at most {MAX_ENTRIES} entries, found {len(sent)}. Send several.")
        people = _people(sent)
        return [self._entry(place, table(one), people) for place, one in enumerate(sent)]

    def _entry(self, place: int, entry: Mapping[str, Any], people: Mapping[str, str]) -> _Entry:
        resource, request = table(entry.get("resource")), table(entry.get("request"))
        method, url = text(request.get("method")), text(request.get("url"))
        if method == "DELETE" and url.startswith("Observation/") and is_id(url.removeprefix("Observation/")):
            return _Entry(place, "delete", gone=url)
        if resource.get("resourceType") != "Observation":
            return _Entry(place, "other")
        name = url.removeprefix("Observation/") if method == "PUT" and url.startswith("Observation/") else ""
        return _Entry(place, "Observation", self._take(dict(resource), people, name), created=method != "PUT")

    def _write(self, entries: Sequence[_Entry], body: Json) -> Due:
        traits = _traits(listed(body.get("entry")), self.now, self.who)
        due = self._hear([one.taken for one in entries if one.kind == "Observation"], traits)
        for one in entries:
            if one.kind == "delete":
                due |= rows.take_back(self.store, one.gone, self.models, now=self.now)
        return due

    def _hear(self, taken: Sequence[Taken], traits: Mapping[str, Json]) -> Due:
        heard = [value for one in taken if sound(one.faults) for value in one.heard]
        if not heard:
            return frozenset()
        about: dict[str, Json] = {subject: dict(told) for subject, told in traits.items()}
        for one in taken:
            for value in one.heard[:1]:
                if one.zone_min is not None:
                    about.setdefault(value.subject, {})["zone_min"] = one.zone_min
        return frozenset(rows.hear(self.store, heard, self.models, now=self.now, traits=about))


def _people(sent: Sequence[Any]) -> dict[str, str]:
    """Return which lasting reference a fullUrl inside the Bundle stands for."""
    people: dict[str, str] = {}
    for entry in sent:
        resource, url = table(table(entry).get("resource")), text(table(entry).get("fullUrl"))
        if resource.get("resourceType") == "Patient" and text(resource.get("id")) and url:
            people[url] = f"Patient/{resource['id']}"
    return people


def _traits(sent: Sequence[Any], now: float, who: Who | None) -> dict[str, Json]:
    """Return age and sex of the Patients that came along, and what ``who`` says of them; what cannot be read is not known."""
    found: dict[str, Json] = {}
    for entry in sent:
        patient = table(table(entry).get("resource"))
        if patient.get("resourceType") != "Patient" or not text(patient.get("id")):
            continue
        alone = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": dict(patient)}]}
        try:
            static = read_bundle(alone, moment=datetime.fromtimestamp(now, UTC), encounter=None).record.static
        except UnusableInput:
            continue
        subject = f"Patient/{patient['id']}"
        found[subject] = {"static": {name: value for name, value in static.items() if not isnan(value)}}
        found[subject] |= who(dict(patient), subject) if who else {}
    return found


def _response(one: _Entry) -> Json:
    if one.kind == "delete":
        return {"response": {"status": "204 No Content"}}
    if one.kind == "other":
        said = Fault("information", "informational", "", "It was read for what it says of the person, and is not kept here.")
        return {"response": {"status": "200 OK", "outcome": outcome([said])}}
    if one.taken.used and sound(one.taken.faults):
        status = "201 Created" if one.created else "200 OK"
        return {"response": {"status": status} | ({"outcome": outcome(one.taken.faults)} if one.taken.faults else {})}
    return {"response": {"status": "422 Unprocessable Entity", "outcome": outcome(one.taken.faults)}}


def _summary(entries: Sequence[_Entry]) -> Json:
    """Say how much was taken, and what was not and why, each reason once."""
    used = sum(one.taken.used and sound(one.taken.faults) for one in entries)
    gone = sum(one.kind == "delete" for one in entries)
    said = Fault("information", "informational", "", f"{used} Observations were taken, {gone} taken back.")
    reasons = Counter(fault for one in entries for fault in one.taken.faults)
    return outcome([said, *(Fault("warning", fault.code, fault.expression, f"{fault.message} ({count} Observations)")
                            for fault, count in reasons.items())])


def _placed(fault: Fault, place: int) -> Fault:
    inside = fault.expression.removeprefix("Observation")
    return Fault(fault.severity, fault.code, f"Bundle.entry[{place}].resource{inside}", fault.message)
