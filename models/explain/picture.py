"""Pictures of explained results as PNG: a radiograph with its heat map, slices with contours, a risk with its parts.

The original is always shown unmarked beside the explanation. Palettes are perceptually uniform, no meaning rests on
colour alone, and every picture says that a professional must confirm it.
"""

from __future__ import annotations

import io
import json
import textwrap
from math import exp
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from models.explain.additive import strongest
from models.explain.cam import upsample
from models.prediction import Contribution, Finding, Heatmap, Prediction, Refusal, Result
from models.volume import Volume

Language = Literal["en", "fr"]
WORDS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "tables/words.json").read_text("utf-8"))
PALETTE = "inferno"
LABEL_STYLES = (("#E69F00", "solid"), ("#56B4E9", "dashed"), ("#CC79A7", "dotted"))  # told apart without colour too
RAISES, LOWERS, NEUTRAL, INK = "#B2552D", "#2F6FA7", "#9AA0A6", "#1F2328"
LIGHT = "#E8E8E8"
UP, DOWN = 5, 3  # parts shown each way; more is not read
OPACITY = 0.55
LINE_INCH = 0.21
DARK_DPI = 140
LONGEST_SHOWN_PX = 900  # of an image; a panel is some 500 px wide


def draw(result: Result, source: Volume | None = None, *, language: Language = "fr", dark: bool = False) -> bytes:
    """Draw whichever picture fits the result, as PNG. ``dark`` is for reading rooms: light words on black, larger images."""
    if isinstance(result, Refusal):
        return refusal_png(result, source, language=language, dark=dark)
    if source is None:
        return risk_png(result, language=language)
    if result.explanation.mask is not None:
        return slices_png(source, result, language=language, dark=dark)
    return radiograph_png(source, result, language=language, dark=dark)


def radiograph_png(source: Volume, result: Result, *, language: Language = "fr", dark: bool = False) -> bytes:
    """Draw the radiograph unmarked, and again under the heat map of every finding that has one."""
    if isinstance(result, Refusal):
        return refusal_png(result, source, language=language, dark=dark)
    maps = _clearest(result)
    source = _no_larger_than_shown(source)
    figure, panels = _figure(1 + max(1, len(maps)), language, lines=len(result.findings), dark=dark)
    if maps:
        figure.subplots_adjust(right=0.9, wspace=0.3)  # room for the colour bars and their labels
    pixels = source.voxels[0]
    _show(panels[0], pixels, source, _word("original", language))
    labels = {finding.name: _label(finding, language) for finding in result.findings}
    for panel, heatmap in zip(panels[1:], maps, strict=False):
        drawn = upsample(heatmap, source)
        top = max(float(drawn.max()), 1e-6)
        _show(panel, pixels, source, _word("influence", language, finding=labels[heatmap.finding]))
        strength = np.clip(drawn / top, 0, 1)
        aspect = source.spacing_mm[1] / source.spacing_mm[2]
        shown = panel.imshow(
            np.clip(drawn, 0, top), cmap=PALETTE, vmin=0, vmax=top, alpha=OPACITY * strength, aspect=aspect
        )
        if drawn.min() < top / 2 < top:
            panel.contour(drawn, levels=[top / 2], colors="white", linewidths=1.2)
        bar = figure.colorbar(shown, ax=panel, fraction=0.046, pad=0.02)
        bar.set_label(_word("legend", language), fontsize=8)
        if bar.solids is not None:
            bar.solids.set_alpha(1)
    if not maps:
        panels[1].text(0.5, 0.5, _word("no_map", language), ha="center", va="center", fontsize=11, color=INK, wrap=True)
        panels[1].set_axis_off()
    _write_findings(figure, result, language, explained=bool(maps))
    return _png(figure, dark=dark)


def slices_png(
    source: Volume, result: Result, *, language: Language = "fr", count: int = 5, dark: bool = False
) -> bytes:
    """Draw the slices that hold most of the mask, each with the contours of its labels."""
    if isinstance(result, Refusal):
        return refusal_png(result, source, language=language, dark=dark)
    mask = result.explanation.mask
    labels = np.zeros(source.shape, np.uint8) if mask is None else mask.labels
    places = _best_slices(labels, count)
    figure, panels = _figure(
        len(places), language, width=max(7.5, 2.6 * len(places)), height=4.8, lines=len(result.findings), dark=dark
    )
    names = {finding.name: finding for finding in result.findings}
    low, high = np.percentile(source.voxels, (0.5, 99.5))
    for panel, z in zip(panels, places, strict=True):
        _show(panel, source.voxels[z], source, _word("slice", language, n=z + 1), limits=(float(low), float(high)))
        for value, (colour, line) in enumerate(LABEL_STYLES, start=1):
            part = labels[z] == value
            if part.any() and not part.all():
                panel.contour(part.astype(float), levels=[0.5], colors=colour, linestyles=line, linewidths=1.6)
    if mask is None or not labels.any():
        figure.text(0.5, 0.12, _word("no_voxel", language), ha="center", fontsize=11, color=INK)
    for place, name in enumerate(() if mask is None else mask.names[: len(LABEL_STYLES)]):
        colour, line = LABEL_STYLES[place]
        panels[0].plot([], [], color=colour, linestyle=line, label=_label(names[name], language))
    if mask is not None:
        panels[0].legend(loc="lower left", fontsize=7, framealpha=0.8)
    _write_findings(figure, result, language)
    return _png(figure, dark=dark)


def risk_png(result: Result, *, language: Language = "fr") -> bytes:
    """Draw what raises and what lowers each outcome: at most five and three parts, the rest as one."""
    if isinstance(result, Refusal):
        return refusal_png(result, language=language)
    explained = [finding for finding in result.findings if finding.name in result.explanation.bias]
    parts = [
        strongest(tuple(part for part in result.explanation.measurements if part.finding == finding.name), up=UP, down=DOWN)
        for finding in explained
    ]
    rows = [len(shown) + bool(rest) for shown, rest in parts]
    figure, (first,) = _figure(1, language, height=2.2 + sum(1 + 0.45 * max(count, 4) for count in rows), width=9.5,
                               lines=len(result.findings))
    height = float(figure.get_size_inches()[1])
    bottom = (1.75 + LINE_INCH * (len(result.findings) - 1)) / height  # room for the axis above the text
    figure.subplots_adjust(left=0.38, bottom=bottom, hspace=0.3)
    panels = [first]
    if len(explained) > 1:
        figure.delaxes(first)
        panels = list(figure.subplots(len(explained), 1, gridspec_kw={"height_ratios": [max(count, 4) for count in rows]}))
    for panel, finding, (shown, rest) in zip(panels, explained, parts, strict=True):
        _draw_parts(panel, finding, shown, rest, language)
        if len(explained) > 1:
            panel.set_title(_label(finding, language), fontsize=9, color=INK)
    _write_findings(figure, result, language)
    return _png(figure)


def _draw_parts(
    panel: Axes, finding: Finding, shown: list[Contribution], rest: list[Contribution], language: Language
) -> None:
    rows = [(_part_label(part, language), part.logit, part.missing) for part in shown]
    if rest:
        rows.append((_word("others", language, n=len(rest)), float(sum(part.logit for part in rest)), False))
    dose = finding.kind == "quantity"
    for place, (_, logit, missing) in enumerate(rows):
        colour = NEUTRAL if place == len(shown) else RAISES if logit > 0 else LOWERS
        panel.barh(place, logit, color=colour, hatch="///" if missing else None, edgecolor="white", height=0.66)
        factor = _number(exp(max(-50.0, min(50.0, logit))), 2, language)
        word = ("▲ " if logit > 0 else "▼ ") + _word("factor" if dose else "odds", language, n=factor)
        panel.annotate(
            word,
            (logit, place),
            xytext=(4 if logit >= 0 else -4, 0),
            textcoords="offset points",
            ha="left" if logit >= 0 else "right",
            va="center",
            fontsize=8,
            color=INK,
        )
    panel.set_yticks(range(len(rows)), [label for label, _, _ in rows], fontsize=8)
    panel.invert_yaxis()
    panel.axvline(0, color=INK, linewidth=0.8)
    panel.margins(x=0.28)
    panel.spines[["top", "right", "left"]].set_visible(False)
    panel.tick_params(axis="y", length=0)
    lowers, legend, raises = (_word(f"dose_{word}" if dose else word, language) for word in ("lowers", "legend", "raises"))
    panel.set_xlabel(f"◀ {lowers}      {legend}      {raises} ▶", fontsize=8)


def refusal_png(
    result: Refusal, source: Volume | None = None, *, language: Language = "fr", dark: bool = False
) -> bytes:
    """Draw a refusal with the same weight as a score: the image if there is one, the reason, and what to do."""
    figure, panels = _figure(1 if source is None else 2, language, width=None if source is not None else 7.5, dark=dark)
    if source is not None:
        source = _no_larger_than_shown(source)
        middle = source.shape[0] // 2
        _show(panels[0], source.voxels[middle], source, _word("original", language))
    text = panels[-1]
    text.set_axis_off()
    reason = WORDS["reasons"][str(result.reason)][language]
    text.text(
        0.03,
        0.93,
        textwrap.fill(f"{_word('not_given', language)}{_colon(language)}{reason}", 36),
        fontsize=13,
        fontweight="bold",
        va="top",
        color=INK,
        transform=text.transAxes,
    )
    advice = textwrap.fill(advice_in(str(result.reason), result.advice, language), 52)
    todo = f"{_word('advice', language)}{_colon(language)}\n{advice}"
    body = f"{textwrap.fill(result.message, 52)}\n\n{todo}"
    text.text(0.03, 0.68, body, fontsize=9.5, va="top", color=INK, transform=text.transAxes)
    figure.text(0.01, 0.015, f"{result.identity.model} {result.identity.version}", fontsize=7, color=INK)
    return _png(figure, dark=dark)


def advice_in(reason: str, advice: str, language: Language) -> str:
    """Say what to do in the language of the reader: by the reason, where there are words for it."""
    return str(WORDS["what_to_do"].get(reason, {}).get(language, advice))


def _figure(
    panels: int, language: Language, *, height: float = 5.4, width: float | None = None, lines: int = 1, dark: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of axes below the title that every picture carries, in both languages.

    ``lines`` is how many findings will be written below the axes: the figure grows with them.
    """
    height += LINE_INCH * (lines - 1)
    figure = Figure(figsize=(width or max(7.5, 4.2 * panels), height), dpi=DARK_DPI if dark else 110, facecolor="white")
    FigureCanvasAgg(figure)
    other: Language = "en" if language == "fr" else "fr"
    figure.suptitle(_word("title", language), fontsize=11, fontweight="bold", color=INK, y=0.985)
    figure.text(0.5, 1 - 0.42 / height, _word("title", other), ha="center", va="center", fontsize=8, color=INK)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    figure.subplots_adjust(left=0.03, right=0.97, top=1 - 0.85 / height, bottom=(1.15 + LINE_INCH * (lines - 1)) / height,
                           wspace=0.12)
    return figure, list(axes)


def _clearest(result: Prediction) -> list[Heatmap]:
    """Return the maps of the two findings that lie furthest above their thresholds, in the order of the release."""
    above = {one.name: one.value - (one.threshold or 0.0) for one in result.findings}
    first = sorted(result.explanation.heatmaps, key=lambda one: -above.get(one.finding, 0.0))[:2]
    return [one for one in result.explanation.heatmaps if any(one is each for each in first)]


def _no_larger_than_shown(source: Volume) -> Volume:
    """Shrink large images before they are drawn: drawing 8 megapixels takes a gigabyte and shows no more."""
    rows, columns = source.shape[1:]
    share = LONGEST_SHOWN_PX / max(rows, columns)
    if share >= 1 or source.shape[0] > 1:
        return source
    size = (max(1, round(columns * share)), max(1, round(rows * share)))
    small = np.asarray(Image.fromarray(source.voxels[0]).resize(size, Image.Resampling.BOX), dtype=np.float32)
    affine = source.affine.copy()
    affine[:3, 0] *= columns / size[0]
    affine[:3, 1] *= rows / size[1]
    return source.with_voxels(small[None], affine)


def _show(
    panel: Axes, pixels: NDArray[np.float32], source: Volume, title: str, limits: tuple[float, float] | None = None
) -> None:
    if limits is None:
        limits = (0.0, 255.0) if source.units == "display" else tuple(np.percentile(pixels, (0.5, 99.5)))
    low, high = limits
    panel.imshow(
        pixels, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), aspect=source.spacing_mm[1] / source.spacing_mm[2]
    )
    panel.set_title(title, fontsize=9, color=INK)
    panel.set_axis_off()


def _write_findings(figure: Figure, result: Prediction, language: Language, *, explained: bool = True) -> None:
    """Write the figures, what the explanation means, and which model this was, below the panels."""
    lines = [_finding_line(finding, language) for finding in result.findings]
    note = result.explanation.note_fr if language == "fr" else result.explanation.note
    height = float(figure.get_size_inches()[1])
    for place, line in enumerate(lines):  # the first finding is the main one
        above = 0.92 + LINE_INCH * (len(lines) - 1 - place)
        weight = "bold" if place == 0 else "normal"
        figure.text(0.03, above / height, line, fontsize=9.5, fontweight=weight, color=INK, va="center")
    wide = int(float(figure.get_size_inches()[0]) * 15)
    if explained:  # without a map there is no zone to read
        figure.text(0.03, 0.52 / height, textwrap.fill(note, wide), fontsize=8, color=INK, va="center")
    identity = result.identity
    foot = f"{identity.model} {identity.version} · {identity.backend} · {identity.precision}"
    figure.text(
        0.03,
        0.14 / height,
        foot + (f" · {', '.join(result.flags)}" if result.flags else ""),
        fontsize=7,
        color=INK,
        va="center",
    )


def _finding_line(finding: Finding, language: Language) -> str:
    if finding.kind == "volume":
        return f"{_label(finding, language)}{_colon(language)}{_number(finding.value, 2, language)} {finding.unit}"
    if finding.kind == "quantity":
        unit = _unit(finding.unit, language)
        text = f"{_label(finding, language)}{_colon(language)}{_number(finding.value, 1, language)} {unit}"
        if finding.low is None or finding.high is None or finding.interval_level is None:
            return text
        level = round(100 * finding.interval_level)
        low, high = _number(finding.low, 1, language), _number(finding.high, 1, language)
        return f"{text} ({_word('interval', language, level=level, low=low, high=high)} {unit})"
    text = f"{_label(finding, language)}{_colon(language)}{_number(finding.value, 2, language)}"
    if finding.threshold is not None:
        text += f" ({_word('threshold', language)} {_number(finding.threshold, 2, language)}, "
        text += _word("above" if finding.above_threshold else "below", language) + ")"
    return text


def _part_label(part: Contribution, language: Language) -> str:
    label = part.label_fr if language == "fr" else part.label
    if part.missing:
        return f"{label}\n{_word('missing', language)}"
    if part.value is None:
        return label
    if part.value_text:
        return f"{label}\n{part.value_text_fr if language == 'fr' else part.value_text}"
    digits = 0 if part.value.is_integer() else 1
    text = f"{label}\n{_number(part.value, digits, language)} {_unit(part.unit, language)}".rstrip()
    low, high = part.reference_low, part.reference_high
    if low is not None and high is not None:
        span = f"{_number(low, 1, language)}–{_number(high, 1, language)}"
        text += f" ({_word('reference', language, range=span)})"
    return text + (f", {_word(part.flag, language)}" if part.flag in ("low", "high") else "")


def _label(finding: Finding, language: Language) -> str:
    return finding.label_fr if language == "fr" else finding.label


def _number(value: float, digits: int, language: Language) -> str:
    text = f"{value:.{digits}f}"
    return text.replace(".", ",") if language == "fr" else text


def _colon(language: Language) -> str:
    return "\u00a0: " if language == "fr" else ": "


def _unit(ucum: str, language: Language) -> str:
    """Return a UCUM unit as the ward writes it."""
    known = WORDS["units"].get(ucum)
    if known is None and ucum.startswith("{"):  # a count: what is counted stands in the label
        return ""
    return str(known[language]) if known else ucum


def _word(key: str, language: Language, **values: Any) -> str:
    return str(WORDS[key][language]).format(**values)


def _best_slices(labels: NDArray[np.uint8], count: int) -> list[int]:
    """Return slices spread evenly over those that hold mask, or over the whole volume when none does."""
    held = np.flatnonzero(labels.any(axis=(1, 2)))
    if not len(held):
        held = np.arange(labels.shape[0])
    chosen = np.unique(np.round(np.linspace(0, len(held) - 1, min(count, len(held)))).astype(int))
    return [int(z) for z in held[chosen]]


def _png(figure: Figure, *, dark: bool = False) -> bytes:
    if dark:
        _darken(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "Diaphane"})
    return buffer.getvalue()


def _darken(figure: Figure) -> None:
    """Turn ink to light on black; images, maps and contours keep their colours."""
    figure.set_facecolor("black")
    for words in figure.findobj(Text):
        words.set_color(LIGHT)
    for panel in figure.axes:
        panel.tick_params(colors=LIGHT)
        for spine in panel.spines.values():
            spine.set_edgecolor(LIGHT)
        legend = panel.get_legend()
        if legend is not None:
            legend.get_frame().set_facecolor("black")
