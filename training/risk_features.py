"""From a recipe's lines ("highest GCS newer_h=12") to manifest Features with labels, units, codes and ranges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.codes import DESCRIBED, coded, meanings_of, range_of
from models.features import FEATURES
from models.manifest import Feature, Range
from training.recipe import Recipe

TABLES = Path(__file__).parents[1] / "models/tables"
WORDS: dict[str, Any] = {
    name: words
    for path in sorted(TABLES.glob("functions*.json"))
    for name, words in json.loads(path.read_text(encoding="utf-8")).items()
}


def features_of(recipe: Recipe) -> list[Feature]:
    """Return the features of a risk recipe, in order. Raises ValueError naming a line that cannot be read."""
    return [feature_of(line) for line in recipe.raw["features"]]


def feature_of(line: str) -> Feature:
    """Read one line: function, code, then parameters.

    >>> feature_of("highest GCS newer_h=12").label
    'Glasgow coma score, highest, last 12 h'
    """
    function, code, *rest = line.split()
    params = {key: float(value) for key, value in (item.split("=") for item in rest)}
    if function not in FEATURES or code not in DESCRIBED:
        raise ValueError(f"A feature must be a known function of a known code, found {line!r}.")
    words, about = WORDS[function], DESCRIBED[code]
    return Feature(
        name=_name(code, function, params),
        function=function,
        params={"code": code, **params},
        label=_label(words, about, params, "en"),
        label_fr=_label(words, about, params, "fr"),
        unit=_unit(words["unit"], about["unit"]),
        code=coded(code),
        plausible=range_of(code, "plausible"),
        usual=range_of(code, "usual"),
        reference=range_of(code, "reference") if words.get("reference", True) else Range(),
        meanings=meanings_of(code) if function in ("static", "last", "first") else {},
    )


def _name(code: str, function: str, params: dict[str, float]) -> str:
    parts = [code.lower(), function, *(f"{key}_{value:g}" for key, value in params.items())]
    return "_".join(parts).replace(".", "_")


def _label(words: dict[str, Any], about: dict[str, Any], params: dict[str, float], language: str) -> str:
    limit = f"{params['limit']:g}" if "limit" in params else ""
    shown = {key: f"{value:g}" for key, value in params.items()}
    text = str(words[language]).format(**{**shown, "code": about["label"][language], "limit": limit})
    for key in ("newer_h", "older_h"):
        if key in params:
            text = str(WORDS[key][language]).format(text=text, hours=f"{params[key]:g}")
    return text if language == "en" else text.replace(".", ",") if "limit" in params else text


def _unit(rule: str, unit: str) -> str:
    found = unit if rule == "same" else rule.replace("{same}", "1" if unit == "1" else unit)
    return found.replace("1/d", "/d")
