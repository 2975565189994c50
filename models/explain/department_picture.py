"""The picture of a department: for each outcome the probability of every number, with its bands and who makes the mean."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from models.department import Department, Outlook
from models.explain.picture import INK, LOWERS, NEUTRAL, RAISES, WORDS, Language

SAID = {
    "title": {"en": "{present} present, {scored} scored", "fr": "{present} personnes présentes, {scored} évaluées"},
    "expected": {"en": "expected {mean:.1f}, median {median}", "fr": "attendu {mean:.1f}, médiane {median}"},
    "band": {"en": "{percent}% band: {low} to {high} (holds {held}%)",
             "fr": "bande à {percent} % : {low} à {high} (contient {held} %)"},
    "probability": {"en": "Probability", "fr": "Probabilité"},
    "people": {"en": "Number of people", "fr": "Nombre de personnes"},
    "left_out": {"en": "Not scored and in no figure: {count}. Add them yourself.",
                 "fr": "Non évalués et dans aucun chiffre : {count}. Ajoutez-les vous-même."},
}
LEAST = 1e-4  # numbers less likely than this at both ends are not drawn


def department_png(department: Department, *, language: Language = "fr") -> bytes:
    """Draw one panel an outcome, as PNG."""
    panels = len(department.outlooks)
    figure = Figure(figsize=(max(7.5, 5.2 * panels), 4.6), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    figure.suptitle(str(WORDS["title"][language]), fontsize=11, fontweight="bold", color=INK, y=0.985)
    scored = department.present - len(department.left_out)
    figure.text(0.5, 0.905, _said("title", language, present=department.present, scored=scored), ha="center", fontsize=9, color=INK)
    for axes, outlook in zip(figure.subplots(1, panels, squeeze=False)[0], department.outlooks, strict=True):
        _panel(axes, outlook, language)
    figure.subplots_adjust(left=0.08, right=0.98, top=0.80, bottom=0.27, wspace=0.25)
    if department.left_out:
        words = _said("left_out", language, count=len(department.left_out))
        figure.text(0.5, 0.075, words, ha="center", fontsize=9, fontweight="bold", color=RAISES)
    figure.text(0.5, 0.025, f"{department.identity.model} {department.identity.version}", ha="center", fontsize=8, color=NEUTRAL)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": "Diaphane"})
    return buffer.getvalue()


def _panel(axes: Axes, outlook: Outlook, language: Language) -> None:
    """Draw bars: inside the narrow band dark, inside the wide one lighter, outside grey; the bands also as lines below."""
    probabilities = np.array(outlook.probabilities)
    shown = np.flatnonzero(probabilities >= LEAST)
    low, high = int(shown.min()), int(shown.max())
    numbers = np.arange(low, high + 1)
    colours = [_colour(int(number), outlook) for number in numbers]
    axes.bar(numbers, probabilities[low : high + 1], width=0.85, color=colours)
    axes.axvline(outlook.median, color=INK, linewidth=0.9, linestyle=":")
    label = outlook.label if language == "en" else outlook.label_fr
    expected = _said("expected", language, mean=outlook.expected, median=outlook.median)
    axes.set_title(f"{label}\n{expected if language == 'en' else expected.replace('.', ',')}", fontsize=9, color=INK)
    axes.set_xlabel(
        "\n".join([_said("people", language), *(
            _said("band", language, percent=round(100 * band.level), low=band.low, high=band.high, held=round(100 * band.mass))
            for band in outlook.bands
        )]), fontsize=8, color=INK,
    )
    axes.set_ylabel(_said("probability", language), fontsize=8, color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(labelsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _colour(number: int, outlook: Outlook) -> str:
    narrow, wide = outlook.bands[0], outlook.bands[-1]
    if narrow.low <= number <= narrow.high:
        return LOWERS
    return "#9CC0DE" if wide.low <= number <= wide.high else "#D9DCE0"


def _said(key: str, language: Language, **values: object) -> str:
    return SAID[key][language].format(**values)
