"""Where a probability lies among those of the cases a release was evaluated on, and what became of cases like that.

The release's evaluation.json holds tenths of its test cases by predicted probability, for its first output. Where it holds
none, nothing is said: a distribution is not guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.manifest import Manifest
from models.prediction import Finding


@dataclass(frozen=True)
class Tenth:
    """A tenth of the cases of the evaluation: ``low`` to ``high`` are their probabilities, ``observed`` how often it came true."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


@dataclass(frozen=True)
class Position:
    """``place`` is that of the tenth (0 the lowest); about ``below`` of 100 cases had a lower probability."""

    tenths: tuple[Tenth, ...]
    place: int
    below: int
    cases: int
    data: str  # where the cases of the evaluation come from
    value: float

    @property
    def tenth(self) -> Tenth:
        """The tenth this probability lies in."""
        return self.tenths[self.place]

    @property
    def is_last(self) -> bool:
        """Tell whether it lies in the highest tenth: how many there are lower is not known, only that at least ``below`` are."""
        return self.place == len(self.tenths) - 1

    @property
    def at(self) -> float:
        """Where it lies on a drawing of the tenths side by side, in percent of its width."""
        one = self.tenth
        inside = (self.value - one.low) / (one.high - one.low) if one.high > one.low else 0.5
        return 100 * (self.place + min(1.0, max(0.0, inside))) / len(self.tenths)


def position(folder: Path, manifest: Manifest, finding: Finding) -> Position | None:
    """Return where a finding lies; None when the evaluation says nothing of this output."""
    if finding.kind != "probability" or finding.name != manifest.outputs[0].name:
        return None
    tenths, data = _tenths(folder)
    if len(tenths) < 2:
        return None
    place = max(index for index, one in enumerate(tenths) if index == 0 or finding.value >= one.low)
    cases = sum(one.count for one in tenths)
    lower = sum(one.count for one in tenths[:place])
    one = tenths[place]
    # Inside a tenth cases are taken to lie evenly; the last one ends at 1 though few lie there, so only its beginning is said.
    inside = 0.0 if place == len(tenths) - 1 or one.high <= one.low else (finding.value - one.low) / (one.high - one.low)
    below = 100 * (lower + inside * one.count) / cases
    return Position(tenths, place, round(min(99, max(0, below))), cases, data, finding.value)


@lru_cache(maxsize=64)
def _tenths(folder: Path) -> tuple[tuple[Tenth, ...], str]:
    """Read the tenths of a release; nothing when its evaluation has none, or is not there."""
    try:
        told: Any = json.loads((folder / "evaluation.json").read_text("utf-8"))
        bins = told["curves"]["calibration"]["bins"]
        tenths = tuple(
            Tenth(float(one["low"]), float(one["high"]), int(one["n"]), float(one["predicted"]), float(one["observed"]))
            for one in bins
        )
        return tenths, str(told.get("data", {}).get("name", ""))
    except (OSError, ValueError, KeyError, TypeError):
        return (), ""
