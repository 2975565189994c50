"""Bundle: one subject's resources, sorted by kind, as they were known at a moment; and how to look at them safely.

Nothing here raises for odd content: what has another type than FHIR states is taken for absent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from models.fhir.times import span_of

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Fact:
    """One value that does not change with time, in our unit, and the resources it was taken from ("Condition/12")."""

    value: float
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """``origin`` is minute 0 (the encounter's start, else the first event), ``moment`` the latest time that may be known.

    ``resources`` holds, by resource type, only what was known at ``moment`` and is not entered in error; of Observations
    only those that stand (final, amended, corrected), before the origin too.
    """

    resources: Mapping[str, tuple[Json, ...]] = field(repr=False)
    origin: datetime
    moment: datetime
    patient: Json | None = field(default=None, repr=False)
    encounter: Json | None = field(default=None, repr=False)

    def of(self, kind: str) -> tuple[Json, ...]:
        """Return the resources of one type, in the order they came."""
        return self.resources.get(kind, ())


def codings(concept: object) -> Iterator[tuple[str, str]]:
    """Yield (system, code) of a CodeableConcept."""
    for coding in listed(table(concept).get("coding")):
        yield text(table(coding).get("system")), text(table(coding).get("code"))


def reference(value: object) -> str:
    """Return "Kind/id" of a Reference, absolute or not; a urn as it is; "" without one."""
    return plain_reference(text(table(value).get("reference")))


def plain_reference(stated: str) -> str:
    """Return "Kind/id" of a literal reference or fullUrl; a urn as it is."""
    if stated.startswith("urn:"):
        return stated
    return "/".join(stated.partition("/_history/")[0].split("/")[-2:])


def own_reference(resource: Json) -> str:
    """Return "Kind/id" of a resource; "" without an id."""
    identifier = text(resource.get("id"))
    return f"{text(resource.get('resourceType'))}/{identifier}" if identifier else ""


def when(resource: Json) -> datetime | None:
    """Return the clinically relevant time of a resource: effective, performed, onset, authored or the period's start."""
    for key in _TIMES:
        value = resource.get(key)
        if isinstance(value, dict):
            value = value.get("start") or value.get("end")
        if (found := moment_of(value)) is not None:
            return found
    return None


def moment_of(value: object) -> datetime | None:
    """Return a dateTime or instant; of a date without clock time its first instant, in UTC; None for anything else."""
    span = span_of(value)
    return None if span is None else span[0]


def table(value: object) -> Json:
    """Return an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """Return an array, or an empty one."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return a string, or an empty one."""
    return value if isinstance(value, str) else ""


_TIMES = (
    "effectiveDateTime", "effectiveInstant", "effectivePeriod", "performedDateTime", "performedPeriod", "onsetDateTime",
    "recordedDate", "authoredOn", "dateAsserted", "period", "issued", "date",
)
