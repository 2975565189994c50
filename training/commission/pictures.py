"""Pictures of a commissioning: calibration, the trade-off of thresholds, subgroups, refusals. Figures of groups, never a case."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Drawing

from models.commissioned import Figure, Subgroup
from models.statistics.binary import chance_of, reliability
from training.charts import BLUE, GREY, INK, ORANGE, STYLE
from training.commission import figures, thresholds
from training.commission.cases import Outcome, shifted, sought_out
from training.commission.lines import Fitted
from training.commission.thresholds import Tuned
from training.commission.words import Language, number, percent, say

NAMED_ROWS = 40  # groups in one picture


def calibration(outcome: Outcome, fitted: Fitted | None, language: Language, prevalence: float | None = None) -> Drawing:
    """Observed share against predicted probability in tenths of the cases, with intervals; as it is, and with the line.

    Where the ``prevalence`` of practice is stated, predictions are shown as if it were that of the cases.
    """
    drawing, axes = _drawing((3.5, 3.3), say(language, "Calibration"), say(language, "Predicted probability"),
                             say(language, "Observed share"))
    more = sought_out(outcome.scored(), prevalence)
    scored = shifted(outcome.scored(), more)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    lines = [(scored.p, BLUE, "o", say(language, "as it is"))]
    if fitted is not None and fitted.method:
        lines.append((chance_of(fitted.crossed + more), ORANGE, "s", say(language, "with the line")))
    top = 0.05
    for p, colour, mark, told in lines:
        bins = reliability(scored.y, p, bins=min(10, max(3, scored.n // 40)))
        x, y = [row["predicted"] for row in bins], [row["observed"] for row in bins]
        axes.vlines(x, [row["low"] for row in bins], [row["high"] for row in bins], color=colour, linewidth=1.0, alpha=0.7)
        axes.plot(x, y, mark, linestyle="-", color=colour, markersize=4, linewidth=0.9, label=told)
        top = max([top, *x, *(row["high"] for row in bins)])
    limit = 1.02 if top > 0.6 else min(1.02, 1.08 * top)
    axes.set_xlim(-0.01 * limit, limit)
    axes.set_ylim(-0.01 * limit, limit)
    if len(lines) > 1:
        axes.legend(loc="upper left", fontsize=8, frameon=False)
    return drawing


def trade_off(outcome: Outcome, tuned: Tuned | None, language: Language) -> Drawing:
    """Sensitivity, specificity and the share called against the threshold, with the old and the proposed one."""
    drawing, axes = _drawing((3.5, 3.3), say(language, "Trade-off of the threshold"), say(language, "Threshold"), "")
    curve = thresholds.trade_off(outcome)
    for key, colour, style, told in (("sensitivity", BLUE, "-", say(language, "sensitivity")),
                                     ("specificity", ORANGE, "-", say(language, "specificity")),
                                     ("called", GREY, "--", say(language, "share called"))):
        axes.plot(curve["threshold"], curve[key], color=colour, linestyle=style, linewidth=1.6, label=told)
    old = outcome.output.threshold
    marks = [(old, say(language, "now"), ":")] if old is not None else []
    if tuned is not None and tuned.value is not None:
        marks.append((tuned.value, say(language, "proposed"), "-"))
        axes.axhline(tuned.target, color=GREY, linewidth=0.6, linestyle=":")
    for place, (value, told, style) in enumerate(marks):
        axes.axvline(float(value), color=INK, linewidth=0.9, linestyle=style)
        axes.text(float(value), 0.04 + 0.09 * place, f" {told} {number(language, value, 3)}", fontsize=8, color=INK,
                  transform=axes.get_xaxis_transform(), bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.8})
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.2), fontsize=8, frameon=False)
    return drawing


def forest(subgroups: Sequence[Subgroup], whole: Sequence[Figure], name: str, output: str, label: str,
           language: Language) -> Drawing | None:
    """One figure by group with intervals; the line is the figure of all. Groups too few to say are named so."""
    mine = [one for one in subgroups if any(figure.output == output for figure in one.figures)]
    told = [(one, figures.named(list(one.figures), name, output)) for one in mine][:NAMED_ROWS]
    if not any(figure is not None and figure.value is not None for _, figure in told):
        return None
    overall = figures.named(list(whole), name, output)
    drawing, axes = _drawing((7.0, 0.9 + 0.24 * (len(told) + 1)), label, "", "")
    axes.set_yticks(range(len(told) + 1), [""] * (len(told) + 1))
    names = []
    for place, (one, figure) in enumerate([(None, overall), *told]):
        y = len(told) - place
        who = say(language, "all") if one is None else say(
            language, "{output}: {what}", output=say(language, one.by),
            what=say(language, one.group) if one.group == "not stated" else one.group)
        names.append(f"{who}  (n {figure.n if figure is not None else one.n if one is not None else 0})")
        if figure is None or figure.value is None:
            axes.text(0.01, y, say(language, "too few to say"), va="center", fontsize=7.5, color=GREY,
                      transform=axes.get_yaxis_transform())
            continue
        colour = INK if one is None else BLUE
        if figure.low is not None and figure.high is not None:
            axes.hlines(y, figure.low, figure.high, color=colour, linewidth=1.4)
        axes.plot(figure.value, y, "D" if one is None else "s", color=colour, markersize=4.5)
    if overall is not None and overall.value is not None:
        axes.axvline(overall.value, color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(names) - 1, -1, -1), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.6, len(names) - 0.4)
    low = min([figure.low for _, figure in told if figure is not None and figure.low is not None] or [0.0])
    axes.set_xlim(max(0.0, min(low, 0.9) - 0.05), 1.005)
    return drawing


def reasons(counts: dict[str, int], n: int, language: Language) -> Drawing | None:
    """Why cases were refused, as shares of all cases."""
    if not counts or not n:
        return None
    drawing, axes = _drawing((7.0, 0.8 + 0.28 * len(counts)), say(language, "Refused, by reason"), say(language, "Share of all "
        "cases"), "")
    places = np.arange(len(counts))[::-1]
    for place, value in zip(places, counts.values(), strict=True):
        axes.barh(place, value / n, color=BLUE, alpha=0.85, height=0.6)
        axes.text(value / n, place, f"  {value} ({percent(language, value / n, 1)})", va="center", fontsize=8, color=INK)
    axes.set_yticks(places, [say(language, reason.replace("_", " ")) for reason in counts])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, min(1.18, 1.3 * max(counts.values()) / n))
    return drawing


def svg(drawing: Drawing) -> str:
    """Return the picture as SVG text for a page; the letters are shapes, so no font is needed."""
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        FigureCanvasSVG(drawing).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def png(drawing: Drawing, dots: int = 200) -> bytes:
    """Return the picture as PNG for print."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        drawing.set_dpi(dots)
        FigureCanvasAgg(drawing).print_png(buffer)
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    """Return a PNG as an address that needs no file."""
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _drawing(size: tuple[float, float], title: str, across: str, up: str) -> tuple[Drawing, Axes]:
    with mpl.rc_context(STYLE):
        drawing = Drawing(figsize=size, layout="constrained")
        axes = drawing.add_subplot()
        axes.set_title(title)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
    return drawing, axes
