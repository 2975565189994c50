"""Recipe: one TOML file that says how a model is made and what its manifest will state. Data, not code."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECIPES = Path(__file__).parent / "recipes"
UNFITTED = frozenset({"manifest", "bars", "evaluation", "data", "fairness", "prediction_sets"})


@dataclass(frozen=True)
class Recipe:
    """A parsed recipe. ``raw`` is the whole table; the properties name the parts every recipe has."""

    name: str
    raw: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.raw["version"])

    @property
    def task(self) -> str:
        return str(self.raw["task"])

    @property
    def seed(self) -> int:
        return int(self.raw["seed"])

    @property
    def sha256(self) -> str:
        """Hash of what decides the fitted weights; wording, bars and evaluation may change without a new fit.

        The name of the data is left out too: the data have a hash of their own.
        """
        decides = {key: value for key, value in self.raw.items() if key not in UNFITTED}
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()

    @property
    def steps(self) -> list[tuple[str, dict[str, Any]]]:
        return [(step["name"], dict(step.get("params", {}))) for step in self.raw.get("steps", [])]

    @property
    def net(self) -> dict[str, Any]:
        return dict(self.raw["net"])

    @property
    def fit(self) -> dict[str, Any]:
        return dict(self.raw["fit"])

    @property
    def outputs(self) -> list[str]:
        """Names of what the model gives, in the order of the graph's columns."""
        return [str(output["name"]) for output in self.raw["manifest"]["outputs"]]

    @property
    def bars(self) -> list[dict[str, Any]]:
        """What has to be reached: {what, rule, value | low and high, figure, output}."""
        return [dict(one) for one in self.raw.get("bars", [])]

    @property
    def evaluation(self) -> dict[str, Any]:
        """How an evaluation words things: title, cases, unknown, events."""
        return dict(self.raw.get("evaluation", {}))

    @property
    def manifest(self) -> dict[str, Any]:
        return dict(self.raw["manifest"])


def names() -> list[str]:
    """Return the recipes that exist."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read(name: str) -> Recipe:
    """Read ``training/recipes/<name>.toml``. Raises FileNotFoundError naming the recipes there are."""
    path = RECIPES / f"{name}.toml"
    if not path.is_file():
        raise FileNotFoundError(f"No recipe {name!r}; there are: {', '.join(names())}.")
    return Recipe(name, tomllib.loads(path.read_text(encoding="utf-8")))
