"""Compare: the release as it was and as it would be, on the very same judged cases, with intervals that know they are the same.

Differences are new less old. The sealed test holds people nobody learnt from; cross-fitted are those that were learnt from,
each scored by fits that did not see them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.statistics.binary import calibration_in_the_large, calibration_line
from models.statistics.paired import Difference, aurocs, proportions
from training import bootstrap
from training.refit.anchored import loss_of

Floats = NDArray[np.float64]
Z_95 = 1.959964
LEAST_OF_GROUP = (20, 5)  # cases of a subgroup, and of either kind, below which it says nothing


@dataclass(frozen=True)
class Both:
    """Cases scored by both: verdicts, old and new logits, whose they are, and the thresholds on probability (None: none)."""

    y: Floats
    old: Floats
    new: Floats
    groups: NDArray[np.str_]
    thresholds: tuple[float | None, float | None] = (None, None)

    def some(self, chosen: NDArray[np.bool_]) -> Both:
        """Return some of the cases."""
        return Both(self.y[chosen], self.old[chosen], self.new[chosen], self.groups[chosen], self.thresholds)

    @property
    def events(self) -> int:
        """How many cases have the finding."""
        return int(self.y.sum())


@dataclass(frozen=True)
class Compared:
    """Figures of old and new. ``level`` is calibration in the large with its 95 % interval, ``slope`` the calibration slope."""

    n: int
    people: int
    events: int
    figures: dict[str, Difference]
    level: dict[str, tuple[float, float, float]]
    slope: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return {**asdict(self), "level": {name: list(one) for name, one in self.level.items()}}


def compare(both: Both) -> Compared:
    """Compare two sets of logits. A figure that the cases cannot carry is left out."""
    figures: dict[str, Difference] = {}
    if min(both.events, len(both.y) - both.events) >= 2:
        with suppress(ValueError):  # all cases of one kind are one person's
            figures["auroc"] = aurocs(both.y > 0.5, both.old, both.new, both.groups.tolist())
    if len(both.y):
        figures["log_loss"] = _mean_of(loss_of(both.old, both.y), loss_of(both.new, both.y), both.groups)
        figures["brier"] = _mean_of((chance(both.old) - both.y) ** 2, (chance(both.new) - both.y) ** 2, both.groups)
    figures |= dict(_at_thresholds(both))
    level, slope = {}, {}
    if both.events and both.events < len(both.y):
        for name, logits in (("old", both.old), ("new", both.new)):
            value, error = calibration_in_the_large(both.y, logits, both.groups.tolist())
            level[name] = (value, value - Z_95 * error, value + Z_95 * error)
            slope[name] = calibration_line(both.y, logits, both.groups.tolist()).slope
    return Compared(len(both.y), len(set(both.groups.tolist())), both.events, figures, level, slope)


def subgroups(both: Both, named: dict[str, NDArray[np.str_]]) -> dict[tuple[str, str], Compared]:
    """Compare inside each subgroup that is large enough; ``named``: sex, age, … → the group of each case."""
    found = {}
    for by, names in named.items():
        for group in sorted(set(names.tolist()) - {""}):
            part = both.some(names == group)
            least, of_each = LEAST_OF_GROUP
            if least <= len(part.y) < len(both.y) and min(part.events, len(part.y) - part.events) >= of_each:
                found[by, group] = compare(part)
    return found


def chance(logits: Floats) -> Floats:
    """Return probabilities."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -40, 40))))


def _mean_of(old: Floats, new: Floats, groups: NDArray[np.str_]) -> Difference:
    found = bootstrap.figure(bootstrap.mean_of(new - old), groups)
    low, high = (float("nan") if one is None else one for one in (found.low, found.high))
    return Difference(float(old.mean()), float(new.mean()), found.value, low, high, None, len(old))


def _at_thresholds(both: Both) -> Iterator[tuple[str, Difference]]:
    before, after = both.thresholds
    if before is None or after is None:
        return
    ill = both.y > 0.5
    called = chance(both.old) >= before, chance(both.new) >= after
    if ill.any():
        yield "sensitivity", proportions(called[0][ill], called[1][ill], both.groups[ill].tolist())
    if (~ill).any():
        yield "specificity", proportions(~called[0][~ill], ~called[1][~ill], both.groups[~ill].tolist())
