"""Charts of an evaluation as SVG text and pictures as PNG, for one self-contained page that also prints well.

Two colours that colour-blind readers tell apart, thin axes, direct labels; a picture never carries more than one idea.
"""

from __future__ import annotations

import base64
import io
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from training.findings import Picture

BLUE, ORANGE, GREY, INK = "#1f6f8b", "#c8553d", "#9aa5b1", "#1f2933"
STYLE = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.edgecolor": GREY, "axes.linewidth": 0.8,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "svg.fonttype": "path", "svg.hashsalt": "diaphane", "axes.titlesize": 10,
    "axes.titlelocation": "left", "axes.titleweight": "bold", "legend.frameon": False, "legend.fontsize": 8,
}


def roc(curve: dict[str, Any], auroc: str) -> str:
    """Sensitivity against false positive rate, with the band over patients."""
    figure, axes = _square("ROC", "False positive rate", "Sensitivity")
    band = curve["band"]
    axes.fill_between(band["false_positive_rate"], band["low"], band["high"], color=BLUE, alpha=0.18, linewidth=0)
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    axes.plot(curve["false_positive_rate"], curve["sensitivity"], color=BLUE, linewidth=1.8)
    axes.text(0.97, 0.06, f"AUROC {auroc}", ha="right", transform=axes.transAxes, color=BLUE)
    return _svg(figure)


def precision_recall(curve: dict[str, Any], area: str) -> str:
    """Positive predictive value against sensitivity; the dotted line is the prevalence."""
    figure, axes = _square("Precision and recall", "Sensitivity (recall)", "Positive predictive value")
    axes.axhline(curve["prevalence"], color=GREY, linewidth=0.8, linestyle=":")
    axes.plot(curve["sensitivity"], curve["ppv"], color=BLUE, linewidth=1.8)
    axes.text(0.03, 0.06, f"AP {area}", transform=axes.transAxes, color=BLUE)
    return _svg(figure)


def calibration(curve: dict[str, Any]) -> str:
    """Observed share against predicted probability in tenths of the cases, with Wilson intervals and a histogram."""
    figure, axes = _square("Calibration", "Predicted probability", "Observed share")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    bins = curve["bins"]
    x, y, n = (np.array([b[key] for b in bins]) for key in ("predicted", "observed", "n"))
    centre, half = wilson(y, n)
    axes.vlines(x, centre - half, centre + half, color=BLUE, linewidth=1.2)
    axes.plot(x, y, "o-", color=BLUE, markersize=4, linewidth=1.0)
    return _svg(figure)


def decision(curve: dict[str, Any], threshold: float | None) -> str:
    """Net benefit against threshold: the model, treating all, treating none."""
    figure, axes = _square("Decision curve", "Threshold probability", "Net benefit per person", square=False)
    model, everyone = np.array(curve["model"]), np.array(curve["all"])
    axes.plot(curve["threshold"], everyone, color=ORANGE, linewidth=1.2, linestyle="--", label="act on all")
    axes.axhline(0, color=GREY, linewidth=1.0, label="act on none")
    axes.plot(curve["threshold"], model, color=BLUE, linewidth=1.8, label="act on the model")
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=0.8, linestyle=":")
        axes.text(threshold, 0.03, " threshold", transform=axes.get_xaxis_transform(), fontsize=8, color=INK)
    top = max(float(model.max()), 0.01)
    axes.set_ylim(-0.25 * top, 1.1 * top)
    axes.set_xlim(0, 1)
    axes.legend(loc="upper right")
    return _svg(figure)


def forest(rows: list[dict[str, Any]], name: str, label: str) -> str:
    """One figure by group, with intervals, on one axis."""
    shown = [r for r in rows if name in r["figures"] and r["figures"][name]["value"] is not None]
    if not shown:
        return ""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.8, 1.0 + 0.27 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
    places = np.arange(len(shown))[::-1]
    for place, row in zip(places, shown, strict=True):
        one = row["figures"][name]
        if one["low"] is not None:
            axes.hlines(place, one["low"], one["high"], color=BLUE, linewidth=1.4)
        axes.plot(one["value"], place, "s", color=BLUE, markersize=5)
    axes.axvline(shown[0]["figures"][name]["value"], color=GREY, linewidth=0.8, linestyle=":")
    axes.set_yticks(places, [f"{r['group']}  (n {r['n']})" for r in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label)
    return _svg(figure)


def refusals(rows: list[dict[str, Any]]) -> str:
    """Share refused of each set; sets that must be refused in blue, those that must be scored in orange."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.8, 1.0 + 0.27 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    for place, row in zip(places, rows, strict=True):
        one = row["refused"]
        colour = ORANGE if row["set"] in ("children", "members") else BLUE
        axes.barh(place, one["value"] or 0, color=colour, alpha=0.8, height=0.6)
        if one["low"] is not None:
            axes.hlines(place, one["low"], one["high"], color=INK, linewidth=1.2)
    axes.set_yticks(places, [f"{r['set'].replace('_', ' ')}  (n {r['refused']['n']})" for r in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("Share refused, with 95 % interval")
    return _svg(figure)


def agreement(points: dict[str, Any], part: str) -> str:
    """Bland-Altman: found less reference volume against their mean, with the 95 % limits of agreement."""
    across, up = "Mean of model and reference (mL)", "Model less reference (mL)"
    figure, axes = _square(f"Volume, {part}", across, up, square=False)
    reference, found = np.array(points["reference_ml"]), np.array(points["found_ml"])
    axes.plot((reference + found) / 2, found - reference, "o", color=BLUE, markersize=4, alpha=0.75)
    axes.axhline(0, color=GREY, linewidth=0.8)
    for key, style in (("bias", "-"), ("low", "--"), ("high", "--")):
        if key in points:
            axes.axhline(points[key], color=ORANGE, linewidth=1.1, linestyle=style)
            axes.text(1.0, points[key], f" {points[key]:+.2f}", transform=axes.get_yaxis_transform(), va="center",
                      color=ORANGE, fontsize=8)
    return _svg(figure)


def overlap(scores: dict[str, list[float]]) -> str:
    """Dice of every volume, one row of dots a part."""
    figure, axes = _square("Dice of every volume", "Dice", "", square=False)
    for place, (_, values) in enumerate(reversed(scores.items())):
        jitter = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
        heights = place + np.random.default_rng(0).permutation(jitter)
        axes.plot(values, heights, "o", color=BLUE, markersize=4, alpha=0.7)
        axes.plot([np.mean(values)] * 2, [place - 0.32, place + 0.32], color=ORANGE, linewidth=2)
    axes.set_yticks(range(len(scores)), list(reversed(scores)))
    return _svg(figure)


def picture(one: Picture) -> str:
    """Return a PNG as a data URI: the image, with its map as an overlay or its masks as outlines."""
    with mpl.rc_context(STYLE):
        rows, columns = one.image.shape
        figure = Figure(figsize=(2.4, min(3.2, 2.4 * rows / columns)), dpi=110)
        axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.imshow(one.image, cmap="gray", extent=extent, interpolation="bilinear")
    if one.overlay is not None and one.overlay.max() > 0:
        strength = np.clip(one.overlay / one.overlay.max(), 0, 1)
        axes.imshow(strength, cmap="inferno", alpha=0.55 * strength, extent=extent, interpolation="bilinear")
    for index, mask in enumerate(one.outlines):
        if mask.any():  # reference first, then the model; two labels each
            axes.contour(mask.astype(float), levels=[0.5], colors=[(ORANGE, BLUE)[index % 2]], linewidths=1.2,
                         linestyles=("dashed" if index < len(one.outlines) // 2 else "solid"))
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def wilson(share: np.ndarray, n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centre and half width of Wilson's 95 % interval of a share (1927, doi:10.1080/01621459.1927.10502953)."""
    z2 = 1.96**2
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = 1.96 * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return centre, half


def _square(title: str, across: str, up: str, *, square: bool = True) -> tuple[Figure, Axes]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.4, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        if square:
            axes.set_xlim(-0.01, 1.01)
            axes.set_ylim(-0.01, 1.02)
            axes.set_aspect("equal")
    return figure, axes


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    with mpl.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
