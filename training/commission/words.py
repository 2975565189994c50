"""What commissioning says, in English or French: one sentence in, the same with its values out, numbers as readers write them."""

from __future__ import annotations

import json
from functools import cache
from math import isfinite
from pathlib import Path
from typing import Literal

from models.commissioned import Figure

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")
_FRENCH = Path(__file__).with_name("words_fr.json")


@cache
def french() -> dict[str, str]:
    """Return the French of every sentence."""
    words: dict[str, str] = json.loads(_FRENCH.read_text("utf-8"))
    return words


def say(language: Language, text: str, **values: str | int) -> str:
    """Return the sentence in a language; English where the table has no other. ``values`` fill {names}.

    Whole numbers get thin spaces; shares and other figures come as text, from ``number``, ``percent`` or ``span``.
    """
    told = french().get(text, text) if language == "fr" else text
    return told.format(**{key: count(value) if isinstance(value, int) else value for key, value in values.items()})


def count(value: int) -> str:
    """Write a whole number: 12 345 with a narrow blank that does not break."""
    return f"{value:,}".replace(",", "\u202f")


def number(language: Language, value: float | None, digits: int = 3) -> str:
    """Write a figure; an en dash where there is none."""
    if value is None or not isfinite(value):
        return "–"
    text = f"{round(value, digits) + 0.0:.{digits}f}"  # no minus before nothing
    return text.replace(".", ",") if language == "fr" else text


def percent(language: Language, share: float | None, digits: int = 0) -> str:
    """Write a share as a percentage. What is not all or nothing is never rounded to 0 or 100."""
    if share is None or not isfinite(share):
        return "–"
    shown = round(100 * share, digits)
    if shown in (0.0, 100.0) and 0 < share < 1:
        mark, nearest = ("<", 10**-digits) if shown == 0 else (">", 100 - 10**-digits)
        return f"{mark}\u202f{number(language, nearest, digits)}\u00a0%"
    return f"{number(language, shown, digits)}\u00a0%"


def span(language: Language, one: Figure | None, digits: int = 3) -> str:
    """Write a figure with its interval: 0.953 (0.941 to 0.964)."""
    if one is None or one.value is None:
        return "–"
    if one.low is None or one.high is None:
        return number(language, one.value, digits)
    ends = (number(language, one.low, digits), number(language, one.high, digits))
    return say(language, "{value} ({low} to {high})", value=number(language, one.value, digits), low=ends[0], high=ends[1])
