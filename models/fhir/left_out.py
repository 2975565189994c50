"""Why something sent was left out, in words for people: `tables/ignored.json`, by the reasons of `Ignored.why`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

REASONS: Mapping[str, Mapping[str, str]] = json.loads(
    (Path(__file__).parents[1] / "tables/ignored.json").read_text("utf-8")
)


def why_left_out(why: str, language: Literal["en", "fr"]) -> str:
    """Return a reason in words.

    >>> why_left_out("no_unit", "fr")
    'sans unité'
    """
    return REASONS[why][language]
