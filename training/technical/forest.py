"""Pictures of gaps and of coverage as SVG text: one row a group, an interval, and the tolerance as a shaded band."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from training.charts import BLUE, GREY, INK, ORANGE, STYLE

GOLD = "#8a6d1b"
COLOURS = {"within": BLUE, "holds": BLUE, "undecided": GOLD, "below": GOLD, "gap": ORANGE}
MARKS = {"within": "s", "holds": "s", "undecided": "D", "below": "D", "gap": "X"}  # never by colour alone
BOTH_SIDES = "calibration_in_the_large"


def gaps(rows: Sequence[Mapping[str, Any]], title: str, figure: str) -> str:
    """Draw the gaps of one figure against the rest; "" where no row has an interval. Left of the band is a worse group."""
    shown = [row for row in rows if row["low"] is not None]
    if not shown:
        return ""
    limit = shown[0]["tolerance"]
    drawing, axes = _panel(len(shown), title)
    if figure == BOTH_SIDES:
        axes.axvspan(-limit, limit, color=BLUE, alpha=0.10, linewidth=0)
    else:
        axes.axvspan(-limit, max(*(row["high"] for row in shown), limit), color=BLUE, alpha=0.10, linewidth=0)
    axes.axvline(0, color=GREY, linewidth=0.8)
    _intervals(axes, shown, "gap")
    axes.set_xlabel(f"Group less everybody else (95 % interval); shaded: within the tolerance of {limit:g}")
    return svg(drawing, title)


def coverage(rows: Sequence[Mapping[str, Any]], title: str, asked: float) -> str:
    """Draw the share covered of each group; the dotted line is what is asked for."""
    shown = [row for row in rows if row["low"] is not None and row["verdict"] != "too_few"]
    if not shown:
        return ""
    drawing, axes = _panel(len(shown), title)
    axes.axvline(asked, color=INK, linewidth=0.9, linestyle=":")
    _intervals(axes, shown, "share")
    axes.set_xlim(min(0.5, min(row["low"] for row in shown) - 0.02), 1.01)
    axes.set_xlabel(f"Share whose truth is in the set (95 % interval); dotted: {asked:.2f} asked for")
    return svg(drawing, title)


def svg(drawing: Figure, title: str) -> str:
    """Return the figure as SVG text with an accessible name; the same figure gives the same text."""
    buffer = io.StringIO()
    with mpl.rc_context({**STYLE, "svg.hashsalt": title, "svg.fonttype": "none"}):  # words stay words: found, read aloud, small
        FigureCanvasSVG(drawing).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
    name = title.replace("\n", ". ").replace("&", "and").replace("<", "").replace('"', "")
    return text[text.index("<svg"):].replace("<svg", f'<svg role="img" aria-label="{name}"', 1)


def _panel(count: int, title: str) -> tuple[Figure, Any]:
    with mpl.rc_context(STYLE):
        drawing = Figure(figsize=(6.8, 1.1 + 0.25 * count), layout="constrained")
        axes = drawing.add_subplot()
        axes.set_title(title)
    return drawing, axes


def _intervals(axes: Any, rows: Sequence[Mapping[str, Any]], value: str) -> None:
    places = np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        colour = COLOURS.get(row["verdict"], GREY)
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=1.5)
        axes.plot(row[value], place, MARKS.get(row["verdict"], "o"), color=colour, markersize=5)
    axes.set_yticks(places, [f"{row['by']}: {row['group']}  (n {row['n']})" for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.tick_params(axis="y", length=0)
