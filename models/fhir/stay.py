"""Which encounter a record is about: the one asked for, else the one under way, else the latest, and its innermost part.

https://hl7.org/fhir/R4/encounter.html. Minute 0 of a record is its start; nothing after its end was known at its end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

from models.errors import UnusableInput
from models.fhir.bundle import reference, table, text
from models.fhir.collect import Collected, Held
from models.fhir.times import Span, span_of

NOT_HELD = frozenset({"planned", "cancelled", "entered-in-error"})
ENDED = frozenset({"finished"})


@dataclass(frozen=True)
class Stay:
    """The chosen encounter. ``end`` is None while it goes on, or when it is not stated."""

    held: Held
    start: datetime
    end: datetime | None


def choose_stay(
    sent: Collected, asked: str, moment: datetime | None, zone: tzinfo, ignored: Counter[tuple[str, str]]
) -> Stay | None:
    """Return the encounter a record is about, None when there is none that has begun.

    Raises UnusableInput when the one asked for is not there or does not say when it began.
    """
    found = sent.of("Encounter")
    if asked:
        return _asked(found, sent, asked, zone)
    begun: list[tuple[Held, Span]] = []
    for one in found:
        if text(one.resource.get("status")) in NOT_HELD:
            ignored["Encounter", "not_held"] += 1
        elif (span := _span(one, "start", zone)) is None:
            ignored["Encounter", "no_start"] += 1
        elif moment is not None and span[0] > moment:
            ignored["Encounter", "after_moment"] += 1
        else:
            begun.append((one, span))
    under_way = [row for row in begun if _goes_on(row[0], zone, moment)]
    pool = _innermost(under_way or begun, sent)
    if not pool:
        return None
    held, span = max(pool, key=lambda row: (row[1][0].astimezone(UTC), row[0].key))
    for one, _ in _innermost(begun, sent):
        if one.key == held.key:
            continue
        end = _end(one, zone)
        # A visit that was over before this one began is its history, which facts may count: nothing to choose between.
        ignored["Encounter", "earlier_encounter" if end is not None and end <= span[0] else "other_encounter"] += 1
    return Stay(held, span[0], _end(held, zone))


def _asked(found: list[Held], sent: Collected, asked: str, zone: tzinfo) -> Stay:
    names = {asked, sent.key_of(asked), f"Encounter/{asked}"}
    held = next((one for one in found if one.key in names), None)
    if held is None:
        raise UnusableInput(
            "The encounter asked for must be among the resources, found none of that reference.", code="no_such_encounter"
        )
    span = _span(held, "start", zone)
    if span is None:
        raise UnusableInput(
            "Encounter.period.start must be a date and time with its zone, such as 2026-01-31T08:00:00+01:00.",
            code="bad_time",
        )
    return Stay(held, span[0], _end(held, zone))


def _span(one: Held, name: str, zone: tzinfo) -> Span | None:
    return span_of(table(one.resource.get("period")).get(name), zone)


def _end(one: Held, zone: tzinfo) -> datetime | None:
    span = _span(one, "end", zone)
    return span[1] if span else None


def _goes_on(one: Held, zone: tzinfo, moment: datetime | None) -> bool:
    end = _end(one, zone)
    if moment is not None and end is not None:
        return end > moment
    return end is None and text(one.resource.get("status")) not in ENDED


def _innermost(rows: list[tuple[Held, Span]], sent: Collected) -> list[tuple[Held, Span]]:
    """Leave out what another one of them is part of: the stay in a unit is part of the stay in the hospital."""
    outer = {sent.key_of(reference(one.resource.get("partOf"))) for one, _ in rows}
    return [row for row in rows if row[0].key not in outer]
