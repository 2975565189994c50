"""Control charts as drawings: where every point and limit stands, for a template to draw in SVG. Nothing is judged here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from models.manifest import Manifest
from service.review.monitor.spoken import stream_words
from service.words import Language, day, number, percent, say

WIDTH, HEIGHT = 420.0, 170.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 10.0, 10.0, 28.0
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One week. ``out``: beyond its limits, which is drawn as another shape too."""

    x: float
    y: float
    out: bool
    week: str
    value: str
    limits: str
    n: int

    @property
    def words(self) -> str:
        """What a pointer over it says."""
        return f"{self.week}: {self.value} ({self.limits}), n = {self.n}"


@dataclass(frozen=True)
class Chart:
    """One chart of WIDTH by HEIGHT. ``band`` is a polygon between the limits, ``line`` a polyline, ``centre`` a height."""

    name: str
    title: str
    words: str
    points: tuple[Point, ...]
    line: str
    band: str
    centre: float
    y_ticks: tuple[tuple[float, str], ...]
    x_ticks: tuple[tuple[float, str, str], ...]
    width: float = WIDTH
    height: float = HEIGHT


def charts_of(found: Json, manifest: Manifest | None, language: Language) -> tuple[Chart, ...]:
    """Return the charts that have two weeks or more."""
    return tuple(_chart(one, manifest, language) for one in found.get("charts", ())
                 if sum(point["value"] is not None for point in one["points"]) >= 2)


def _chart(told: Json, manifest: Manifest | None, language: Language) -> Chart:
    points: Sequence[Json] = told["points"]
    share = not str(told["name"]).startswith("mean.")
    known = [point for point in points if point["value"] is not None]
    spread = [one for point in known for one in (point["value"], point["low"], point["high"])]
    low, high = _range([*spread, told["centre"]], share=share)

    def x(place: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (place + 0.5) / len(points)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (min(max(value, low), high) - low) / (high - low))

    def said(value: float) -> str:
        return percent(language, value, 1) if share else number(language, value, _digits(high - low))

    drawn = tuple(
        Point(x(place), y(point["value"]), not point["low"] <= point["value"] <= point["high"],
              day(language, date.fromisoformat(point["week"])), said(point["value"]),
              f"{said(point['low'])}–{said(point['high'])}", point["n"])
        for place, point in enumerate(points) if point["value"] is not None
    )
    upper = [(x(place), y(point["high"])) for place, point in enumerate(points) if point["value"] is not None]
    lower = [(x(place), y(point["low"])) for place, point in enumerate(points) if point["value"] is not None]
    title = stream_words(str(told["name"]), manifest, language)
    out = sum(one.out for one in drawn)
    words = say(language, "{title}, week by week: last {last}, usual {centre}; {out} of {count} weeks beyond the limits.",
                title=title, last=drawn[-1].value, centre=said(told["centre"]), out=out, count=len(drawn))
    ends = ((drawn[0], "start"), (drawn[-1], "end"))
    return Chart(
        str(told["name"]), title[:1].upper() + title[1:], words, drawn, _line([(one.x, one.y) for one in drawn]),
        _line([*upper, *reversed(lower)]), y(told["centre"]),
        tuple((y(value), said(value)) for value in (low, (low + high) / 2, high)),
        tuple((one.x, one.week, anchor) for one, anchor in ends),
    )


def _range(values: Sequence[float], *, share: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - room, high + room
    return (max(0.0, low), min(1.0, high)) if share else (low, high)


def _digits(width: float) -> int:
    return max(0, min(4, 1 - math.floor(math.log10(width)))) if width > 0 else 2


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
