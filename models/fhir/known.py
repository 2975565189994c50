"""What was known at a moment: the Bundle that facts are computed from, without what came later.

A thing is known from when it was recorded, else from when it happened or began; a day without a clock time counts from
its beginning. What says no time is taken for known: patients, practitioners, medications, and what a sender left undated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime, tzinfo

from models.fhir.bundle import Bundle, Json, text
from models.fhir.collect import Collected, Held
from models.fhir.measure import COUNTED
from models.fhir.stay import Stay
from models.fhir.times import Span, span_of

_RECORDED = ("recordedDate", "authoredOn", "dateAsserted", "dateRecorded", "created")
_HAPPENED = ("effectiveDateTime", "effectiveInstant", "effectivePeriod", "performedDateTime", "performedPeriod",
             "onsetDateTime", "onsetPeriod", "occurrenceDateTime", "period", "issued", "date")


def known_at(
    sent: Collected, moment: datetime, zone: tzinfo, origin: datetime, patient: Held | None, stay: Stay | None,
    ignored: Counter[tuple[str, str]],
) -> Bundle:
    """Return what the facts may look at. Observations and Encounters left out are counted where they are read."""
    kept: dict[str, list[Json]] = defaultdict(list)
    for one in sent.held:
        span = known_from(one, zone)
        if span is not None and span[0] > moment:
            if one.kind not in ("Observation", "Encounter"):
                ignored[one.told, "after_moment"] += 1
        elif one.kind != "Observation" or text(one.resource.get("status")) in COUNTED:
            kept[one.kind].append(one.resource)
    return Bundle(
        {kind: tuple(rows) for kind, rows in kept.items()}, origin, moment,
        patient.resource if patient else None, stay.held.resource if stay else None,
    )


def latest(times: Iterable[datetime], sent: Collected, zone: tzinfo) -> datetime | None:
    """Return the latest of some times and of all that was sent; None when nothing says a time."""
    spans = [span for one in sent.held if (span := known_from(one, zone)) is not None]
    return max((*times, *(span[1] for span in spans)), default=None)


def known_from(one: Held, zone: tzinfo) -> Span | None:
    """Return from when on a resource was known; None when it does not say."""
    for name in (*_RECORDED, *_HAPPENED):
        value = one.resource.get(name)
        value = value.get("start") or value.get("end") if isinstance(value, dict) else value
        if (span := span_of(value, zone)) is not None:
            return span
    return None
