"""Curves over time: risks of a stay, or what a sensor measured. Places are in percent of the drawing's width and height."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.review.risk.scale import Scale, Tick, plain_ticks, scale_over

HOURS = (0.25, 0.5, 1, 2, 3, 6, 12, 24, 48, 96, 168, 336, 720)
MOST_TIMES = 6


@dataclass(frozen=True)
class Dot:
    """One point. ``joined``: a line comes to it from the one before. ``key`` names the page it leads to, "" for none."""

    x: float
    y: float
    value: float
    at: datetime
    key: str = ""
    here: bool = False
    joined: bool = True


@dataclass(frozen=True)
class Zone:
    """A band across the drawing, from ``top`` down by ``height``, with its name."""

    name: str
    top: float
    height: float


@dataclass(frozen=True)
class Curve:
    """What is drawn. ``limit``: a threshold from the top, in percent. ``times``: where a time stands on the axis."""

    dots: tuple[Dot, ...]
    zones: tuple[Zone, ...]
    limit: float | None
    values: tuple[Tick, ...]  # at: percent from the top
    times: tuple[tuple[float, datetime], ...]
    days: bool  # the axis needs days, not only hours
    spans: tuple[tuple[float, float], ...] = ()  # stretches of time that are marked, in percent from the left: start, width


@dataclass(frozen=True)
class Given:
    """One value over time as it is given to a curve."""

    at: datetime
    value: float
    key: str = ""
    here: bool = False
    joined: bool = True


def curve(given: Sequence[Given], *, bands: Sequence[tuple[str, float, float]] = (), limit: float | None = None,
          low: float | None = None, high: float | None = None, ticks: Callable[[Scale], tuple[Tick, ...]] = plain_ticks,
          spans: Sequence[tuple[datetime, datetime]] = ()) -> Curve | None:
    """Draw values over time; None when there is nothing. ``bands`` are (name, low, high); ``low``, ``high`` ends that must show."""
    if not given:
        return None
    ordered = sorted(given, key=lambda one: one.at)
    shown = [one.value for one in ordered] + [one for one in (limit, low, high) if one is not None]
    upright = scale_over(shown, pad=0.08, least=1e-3)
    if low is not None and min(shown) >= low:  # nothing lies below the end that was given
        upright = Scale(low, upright.high)
    start, end = ordered[0].at, ordered[-1].at
    if spans:
        start, end = min(start, *(one[0] for one in spans)), max(end, *(one[1] for one in spans))
    length = max((end - start).total_seconds(), 60.0)
    along = scale_over([0.0, length], pad=0.03)

    def x(at: datetime) -> float:
        return along.at((at - start).total_seconds() if end > start else length / 2)

    times, days = _times(start, end)
    return Curve(
        tuple(Dot(x(one.at), 100 - upright.at(one.value), one.value, one.at, one.key, one.here, one.joined) for one in ordered),
        tuple(_zone(upright, *band) for band in bands if band[1] < upright.high and band[2] > upright.low),
        None if limit is None else 100 - upright.at(limit),
        tuple(Tick(100 - one.at, one.value) for one in ticks(upright)),
        tuple((x(one), one) for one in times), days,
        tuple((x(first), max(0.5, x(last) - x(first))) for first, last in spans),
    )


def _zone(upright: Scale, name: str, low: float, high: float) -> Zone:
    top = 100 - upright.at(min(high, upright.high))
    return Zone(name, top, 100 - upright.at(max(low, upright.low)) - top)


def _times(start: datetime, end: datetime) -> tuple[list[datetime], bool]:
    """Return round hours for the axis, and whether they need their day."""
    hours = (end - start).total_seconds() / 3600
    step = next((one for one in HOURS if hours / one <= MOST_TIMES), HOURS[-1])
    first = start.replace(minute=0, second=0, microsecond=0)
    if step >= 24:
        first = first.replace(hour=0)
    elif step >= 1:
        first = first.replace(hour=int(first.hour // step * step))
    found: list[datetime] = []
    at = first
    while at <= end and len(found) < 50:
        if at >= start:
            found.append(at)
        at += timedelta(hours=step)
    return found or [start], step >= 24 or start.date() != end.date()
