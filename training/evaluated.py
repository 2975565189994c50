"""Evaluated: the test cases of a risk release with their outcomes, scores and refusals; Extra: what one model adds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from training.data.cohort import Case
from training.recipe import Recipe

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluated:
    """Arrays follow ``cases``: features (N, F), outcomes and probabilities (N, O), contributions (N, T).

    ``groups`` (N,) names the patients to resample. ``reasons`` (N,) is empty where the model scores, else its reason to
    refuse; everybody is scored here all the same, so that refusing cannot flatter the figures.
    """

    model: Model
    recipe: Recipe
    root: Path
    cases: list[Case]
    features: NDArray[np.float32]
    y: Array
    p: Array
    contributions: NDArray[np.float32]
    completeness_error: Array
    groups: NDArray[np.str_]
    reasons: NDArray[np.str_]
    resamples: int
    quick: bool

    def only(self, chosen: NDArray[np.bool_]) -> Evaluated:
        """Return the chosen cases."""
        return replace(
            self, cases=[case for case, keep in zip(self.cases, chosen.tolist(), strict=True) if keep],
            features=self.features[chosen], y=self.y[chosen], p=self.p[chosen],
            contributions=self.contributions[chosen], completeness_error=self.completeness_error[chosen],
            groups=self.groups[chosen], reasons=self.reasons[chosen],
        )

    def of(self, index: int) -> Evaluated:
        """Return one output alone (y and p with one column), on the cases whose outcome is known."""
        one = replace(self, y=self.y[:, [index]], p=self.p[:, [index]])
        return one.only(~np.isnan(one.y[:, 0]))


@dataclass(frozen=True)
class Extra:
    """What only one model's evaluation has. ``figures``: output name → key → figure, for the bars of the recipe."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)
    audits: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
