"""Case and Cohort: what every source of patient records gives, one case at a time for scoring, as arrays for fitting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features import FEATURES
from models.manifest import Feature
from models.record import Record

Floats = NDArray[np.float32]
Texts = NDArray[np.str_]


@dataclass(frozen=True)
class Case:
    """One thing to predict: its record, an outcome (0 or 1) for each output, whose it is, and its subgroups by name."""

    record: Record
    labels: tuple[float, ...]
    group: str
    subgroups: Mapping[str, str]


@dataclass(frozen=True)
class Cohort:
    """Features (N, F), NaN where missing, and outcomes (N, O), both float32; ``groups`` (N,) names each row's patient.

    Rows of one group never part in folds. ``subgroups`` maps "sex", "age", … to (N,) names. ``sha256`` is that of the
    files the rows came from; ``counts`` is what a manifest states about them.
    """

    x: Floats
    y: Floats
    groups: Texts
    sha256: str
    counts: Mapping[str, int]
    subgroups: Mapping[str, Texts] = field(default_factory=dict)


def matrix_of(cases: Sequence[Case], features: Sequence[Feature], moment_h: float | None = None) -> Floats:
    """Return the features (N, F) of records at ``moment_h`` hours after their start, or at their latest event."""
    rows = []
    for case in cases:
        view = case.record.up_to(case.record.latest_minute if moment_h is None else 60 * moment_h)
        rows.append([FEATURES[one.function](view, **one.params) for one in features])
    return np.array(rows, dtype=np.float32).reshape(len(cases), len(features))


def cohort_of(
    cases: Sequence[Case], features: Sequence[Feature], sha256: str, counts: Mapping[str, int],
    moment_h: float | None = None,
) -> Cohort:
    """Turn cases into arrays with the very functions that serve them."""
    return Cohort(
        x=matrix_of(cases, features, moment_h),
        y=np.array([case.labels for case in cases], dtype=np.float32),
        groups=np.array([case.group for case in cases], dtype=np.str_),
        sha256=sha256,
        counts=counts,
        subgroups={by: np.array([case.subgroups[by] for case in cases]) for by in (cases[0].subgroups if cases else ())},
    )


def joined(source: ModuleType | Any, features: Sequence[Feature], root: Any, splits: Sequence[str]) -> Cohort:
    """Read several splits of a source as one cohort: shapes, calibration and threshold are all cross-fitted.

    Raises ValueError when a group lies in two splits: its rows would tell of each other.
    """
    parts = [source.cohort(split, list(features), root) for split in splits]
    seen: set[str] = set()
    for part in parts:
        groups = set(part.groups.tolist())
        if seen & groups:
            raise ValueError(f"A group must lie in one split, found {len(seen & groups)} in two. Split by group again.")
        seen |= groups
    counts: dict[str, int] = {}
    for part in parts:
        for name, number in part.counts.items():
            counts[name] = counts.get(name, 0) + number
    return Cohort(
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        groups=np.concatenate([part.groups for part in parts]),
        sha256=parts[0].sha256,
        counts=counts,
        subgroups={by: np.concatenate([part.subgroups[by] for part in parts]) for by in parts[0].subgroups},
    )


def folds_of(y: Floats, groups: Texts, folds: int, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Deal groups into ``folds`` parts of like size and number of events (of the first outcome).

    Returns (inside, outside) row numbers of each fold; the rows of one group always lie together.
    """
    names, place = np.unique(groups, return_inverse=True)
    if len(names) == len(groups):  # one row each: nothing to keep together
        from sklearn.model_selection import StratifiedKFold  # noqa: PLC0415  slow to import

        parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(y, y[:, 0])
        return [(inside, outside) for inside, outside in parts]
    rows, events = np.bincount(place), np.bincount(place, weights=y[:, 0])
    chance = np.random.default_rng(seed).random(len(names))
    fold = np.empty(len(names), np.intp)
    fold[np.lexsort((chance, rows, events))] = np.arange(len(names)) % folds
    every = np.arange(len(groups))
    return [(every[fold[place] != k], every[fold[place] == k]) for k in range(folds)]
