"""The evaluation of a release as drawings: where every curve, point and interval stands, for a template to draw in SVG.

Figures are those of evaluation.json; nothing is computed here but places on the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from service.review.model.figures import FIGURES, GROUPS, figure_words, written
from service.words import Language, marked, number, percent, say

WIDTH, HEIGHT = 340.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 14.0, 10.0, 40.0
Json = dict[str, Any]


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its place and its words."""

    at: float
    words: str


@dataclass(frozen=True)
class Dot:
    """A point with its interval, None where there is none, and the words of it."""

    x: float
    y: float
    r: float
    words: str


@dataclass(frozen=True)
class Plot:
    """One drawing of WIDTH by HEIGHT. ``words`` say what it shows to who does not see it."""

    name: str
    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    words: str
    curve: str = ""  # the points of a polyline
    band: str = ""  # of a polygon
    diagonal: str = ""  # x1 y1 x2 y2 of what would be perfect, or no better than chance
    dots: tuple[Dot, ...] = ()
    width: float = WIDTH
    height: float = HEIGHT


@dataclass(frozen=True)
class ForestRow:
    """One group with its figure. ``at``, ``low`` and ``high`` are places on a scale of 100."""

    group: str
    at: float
    low: float
    high: float
    words: str
    n: str
    is_whole: bool


@dataclass(frozen=True)
class Forest:
    """A figure by groups, so that a group the model serves worse stands out."""

    title: str
    rows: tuple[ForestRow, ...]
    whole: float  # where the figure of all stands
    ends: tuple[str, str]  # of the scale, in words


def plots_of(evaluation: Json, language: Language) -> tuple[Plot, ...]:
    """Return the drawings that an evaluation has the numbers for."""
    curves = evaluation.get("curves", {})
    found = []
    if "roc" in curves:
        found.append(_roc(curves["roc"], evaluation["rows"][0], language))
    if "calibration" in curves:
        found.append(_calibration(curves["calibration"], language))
    if "agreement" in curves:
        found += [_agreement(name, points, language) for name, points in curves["agreement"].items() if name != "whole"]
    return tuple(found)


def forest_of(evaluation: Json, language: Language) -> Forest | None:
    """Return the main figure by groups, None where there are none."""
    rows = evaluation["rows"]
    name = next((one for one in FIGURES if one in rows[0]["figures"] and one in MAIN), "")
    known = [row for row in rows if name in row["figures"] and row["figures"][name]["value"] is not None]
    if not name or len(known) < 3:
        return None
    spread = [value for row in known for value in (row["figures"][name]["low"], row["figures"][name]["high"]) if value is not None]
    low, high = _nice(min(spread), max(spread))

    def place(value: float) -> float:
        return 100 * (value - low) / (high - low)

    lines = []
    for row in known:
        figure = row["figures"][name]
        value = figure["value"]
        lines.append(ForestRow(
            _group(row, language), place(value), place(figure["low"] if figure["low"] is not None else value),
            place(figure["high"] if figure["high"] is not None else value), figure_words(name, figure, language),
            number(language, figure.get("n") or row["n"]), row["by"] == "population",
        ))
    ends = written(name, low, language), written(name, high, language)
    return Forest(figure_name(name, language), tuple(lines), lines[0].at, ends)


def figure_name(name: str, language: Language) -> str:
    """Return what a figure is called."""
    return say(language, FIGURES[name][0])


MAIN = frozenset({"auroc", "dice_anterior", "mean_absolute_error", "covered_90"})  # the figure groups are compared by


def _roc(curve: Json, whole: Json, language: Language) -> Plot:
    x, y = curve["false_positive_rate"], curve["sensitivity"]
    auroc = whole["figures"].get("auroc")
    words = say(language, "Sensitivity against false alarms at every threshold.")
    if auroc:
        words += " " + say(language, "Area under the curve {area}.", area=figure_words("auroc", auroc, language))
    return Plot(
        "roc", say(language, "Found and false alarms (ROC)"), say(language, "False alarms among the well"),
        say(language, "Found among the ill"), *_percent_axes(language), words,
        curve=_line(list(zip(x, y, strict=True))), band=_band(x, curve.get("band")), diagonal=_diagonal(),
    )


def _calibration(told: Json, language: Language) -> Plot:
    bins = [one for one in told["bins"] if one["n"]]
    most = max((one["n"] for one in bins), default=1)
    _, end = _nice(0.0, max((one[name] for one in bins for name in ("predicted", "observed")), default=1.0))
    end = min(1.0, end)
    dots = tuple(
        Dot(_x(one["predicted"] / end), _y(one["observed"] / end), 2.5 + 3.5 * math.sqrt(one["n"] / most),
            say(language, "said {said}, was {was} (of {n})", said=percent(language, one["predicted"], 1),
                was=percent(language, one["observed"], 1), n=number(language, one["n"])))
        for one in bins
    )
    words = say(language, "What was said against what was, in tenths of the cases; on the diagonal they are the same.")
    words += " " + "; ".join(dot.words for dot in dots) + "."
    return Plot("calibration", say(language, "What was said and what was (calibration)"), say(language, "Probability that was said"),
                say(language, "Share that had it"), *_percent_axes(language, end), words,
                curve=_line([(one["predicted"] / end, one["observed"] / end) for one in bins]), diagonal=_diagonal(), dots=dots)


def _agreement(name: str, points: Json, language: Language) -> Plot:
    reference, found = points["reference_ml"], points["found_ml"]
    low, high = _nice(min(*reference, *found), max(*reference, *found))

    def share(value: float) -> float:
        return (value - low) / (high - low)

    dots = tuple(
        Dot(_x(share(one)), _y(share(other)), 3.0, f"{number(language, one, 2)} / {number(language, other, 2)} mL")
        for one, other in zip(reference, found, strict=True)
    )
    ticks = _steps(low, high, 4)
    part = say(language, PARTS[name]) if name in PARTS else name
    return Plot(
        f"agreement-{name}", say(language, "Volumes, {part}", part=part), say(language, "Drawn by people, mL"),
        say(language, "Measured by the model, mL"), tuple(Tick(_x(share(one)), number(language, one, 1)) for one in ticks),
        tuple(Tick(_y(share(one)), number(language, one, 1)) for one in ticks),
        say(language, "Each point is one volume, drawn by people against measured by the model; on the diagonal they agree."),
        diagonal=_diagonal(), dots=dots,
    )


PARTS = {"anterior": marked("front part"), "posterior": marked("back part")}


def _group(row: Json, language: Language) -> str:
    """Name a group as its release does, with what it is a group of."""
    if row["by"] == "population":
        return str(row["group"])
    by = str(row["by"])
    return say(language, "{by}: {group}", by=say(language, GROUPS[by]) if by in GROUPS else by, group=row["group"])


def _percent_axes(language: Language, end: float = 1.0) -> tuple[tuple[Tick, ...], tuple[Tick, ...]]:
    shares = (0.0, 0.25, 0.5, 0.75, 1.0)
    words = [percent(language, one * end, 0 if end > 0.2 else 1) for one in shares]
    return (tuple(Tick(_x(one), said) for one, said in zip(shares, words, strict=True)),
            tuple(Tick(_y(one), said) for one, said in zip(shares, words, strict=True)))


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _line(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points)


def _band(x: Sequence[float], band: Any) -> str:
    """Return the outline of a confidence band: ``band`` is a list of lower and one of upper limits on a grid of its own."""
    if not isinstance(band, dict) or "low" not in band:
        return ""
    grid = band.get("false_positive_rate") or x
    return _line([*zip(grid, band["low"], strict=False), *reversed(list(zip(grid, band["high"], strict=False)))])


def _diagonal() -> str:
    return f"M{_x(0):.1f},{_y(0):.1f} L{_x(1):.1f},{_y(1):.1f}"


def _nice(low: float, high: float) -> tuple[float, float]:
    """Widen a range to round numbers."""
    step = _step(low, high, 4)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _step(low: float, high: float, wanted: int) -> float:
    rough = (high - low or 1.0) / wanted
    size = 10 ** math.floor(math.log10(rough))
    return float(next(one * size for one in (1, 2, 2.5, 5, 10) if one * size >= rough))


def _steps(low: float, high: float, wanted: int) -> list[float]:
    step = _step(low, high, wanted)
    return [round(low + step * place, 10) for place in range(int((high - low) / step + 0.5) + 1)]

