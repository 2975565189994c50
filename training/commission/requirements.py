"""Requirements: what a release must show here, as a table that the hospital may replace."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.errors import UnusableInput
from training.fairness import Tolerance

DEFAULTS = Path(__file__).with_name("requirements.toml")
Consequence = Literal["no_go", "condition"]
_Span = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    unmet: Consequence
    unknown: Consequence


class Cases(_Part):
    positives: int = Field(ge=1)
    negatives: int = Field(ge=1)


class Known(_Part):
    known: float = Field(ge=0, le=1)
    conflicting: float = Field(ge=0, le=1)


class Population(_Part):
    outside: float = Field(ge=0, le=1)
    stated: float = Field(ge=0, le=1)


class AtMost(_Part):
    most: float = Field(ge=0, le=1)


class Ranking(_Part):
    auroc: float = Field(ge=0, le=1)


class Threshold(_Part):
    target: float = Field(ge=0, lt=1)
    next: int = Field(ge=0)
    least: float = Field(ge=0, le=1)


class CalibrationRule(_Part):
    slope: _Span
    observed_over_expected: _Span
    in_the_large: _Span

    def spans(self) -> dict[str, _Span]:
        """Return figure → where its whole interval must lie."""
        return {"calibration_slope": self.slope, "observed_over_expected": self.observed_over_expected,
                "calibration_in_the_large": self.in_the_large}


class Subgroups(_Part):
    few: int = Field(ge=1)


class Requirements(BaseModel):
    """The whole table, for one task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: Cases
    truth: Known
    population: Population
    refusals: AtMost
    failures: AtMost
    ranking: Ranking
    threshold: Threshold
    calibration: CalibrationRule
    subgroups: Subgroups
    fairness: dict[str, Any] = {}

    def tolerance(self) -> Tolerance:
        """Return the tolerances of subgroup gaps. Raises ValueError for an accepted gap that nobody answers for."""
        return Tolerance.of(self.fairness)


def read_requirements(task: str, path: Path | None = None) -> Requirements:
    """Return the defaults with the values of ``path`` over them. Raises UnusableInput naming what is wrong."""
    merged: dict[str, Any] = {}
    for one in (DEFAULTS, path):
        if one is None:
            continue
        try:
            table = tomllib.loads(one.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise UnusableInput(f"{one.name}: requirements must be TOML, it cannot be read. Start from requirements.toml.",
                                code="bad_requirements") from error
        by_task = table.pop("task", {})
        for part in (table, by_task.get(task, {})):
            for name, values in part.items():
                merged[name] = {**merged.get(name, {}), **values}
    try:
        return Requirements.model_validate(merged)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise UnusableInput(f"{(path or DEFAULTS).name} is not valid at {'.'.join(map(str, first['loc']))}: {first['msg']}. "
                            "Start from requirements.toml.", code="bad_requirements") from error
