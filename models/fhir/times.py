"""Dates and times of FHIR: instants with their zone, and dates that say only a day, a month or a year.

A date without a clock time is a span. What was *measured* then is used at its end, when it was surely known; what is
*listed* (a diagnosis, an order) counts from its beginning. https://hl7.org/fhir/R4/datatypes.html#dateTime.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta, tzinfo

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")
_LEAP = re.compile(r"(T\d{2}:\d{2}):60")
_FRACTION = re.compile(r"(\.\d{6})\d+")
MAX_LENGTH = 50
Span = tuple[datetime, datetime]


def span_of(value: object, zone: tzinfo = UTC) -> Span | None:
    """Return the first and last instant that a dateTime, instant or date may mean; None when it cannot be read.

    ``zone`` is that of dates without a clock time. A clock time without its zone means nothing, and is not read.
    """
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        return None
    try:
        if len(value) <= 10:
            partial = _DATE.fullmatch(value)
            return _partial(partial, zone) if partial else None
        if ":60" in value or "." in value:
            value = _FRACTION.sub(r"\1", _LEAP.sub(r"\1:59", value))
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            return None
        found.astimezone(UTC)  # a year 1 that time zones push out of range fails here, not when compared
    except (ValueError, OverflowError):
        return None
    return found, found


def zone_of(*values: object) -> tzinfo:
    """Return the zone of the first value that states one, else UTC."""
    for value in values:
        span = span_of(value)
        if span is not None and isinstance(value, str) and len(value) > 10:
            return span[0].tzinfo or UTC
    return UTC


def _partial(parts: re.Match[str], zone: tzinfo) -> Span:
    year, month, day = (int(part) if part else None for part in parts.groups())
    first = datetime(year or 0, month or 1, day or 1, tzinfo=zone)
    last_month = month or 12
    last_day = day or monthrange(first.year, last_month)[1]
    last = datetime(first.year, last_month, last_day, 23, 59, 59, tzinfo=zone)
    (first - timedelta(days=1)).astimezone(UTC)
    (last + timedelta(days=1)).astimezone(UTC)
    return first, last
