"""Continuous glucose monitoring: Shanghai (15 min, split by subject) and Hall (5 min, external) → one Case a moment.

Zhao 2023, doi:10.1038/s41597-023-01940-7; Hall 2018, doi:10.1371/journal.pbio.2005143. The outcome is any reading below
70 mg/dL in the next 60 min; moments that are below already, or whose hour before or after has gaps, are left out.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path

import numpy as np

from models.features import FEATURES
from models.manifest import Feature, sha256_of
from models.record import Floats, Record, Series
from training.data.cohort import Case, Cohort

LIMIT_MG_DL = 70.0
AHEAD_MIN = 60.0
WINDOW_MIN = 240.0
GRID_MIN = 15.0
SLACK_MIN = 2.5  # clocks of sensors wander
SHANGHAI, HALL = "clinical/remote/shanghai_cgm/shanghai_cgm.csv.gz", "clinical/remote/hall_cgm/hall_cgm.csv.gz"
KEPT = Path(__file__).parents[2] / ".cache"


@dataclass(frozen=True)
class Wearing:
    """One sensor's readings of one subject: minutes of the wall clock and mg/dL, both (n,), and the named groups."""

    subject: str
    minutes: Floats
    values: Floats
    groups: Mapping[str, str]


def records(split: str, root: Path) -> list[Case]:
    """Read one split: train, val or test of Shanghai, or "hall", whose readings are scored every 15 min.

    A record holds the 4 h before its moment, which is its latest event.
    """
    return [
        Case(Record({"GlucoseCGM": Series(one.minutes[start : place + 1], one.values[start : place + 1])}, {}),
             (float(low),), one.subject, one.groups)
        for one in wearings(split, root) for start, place, low in moments(one)
    ]


def cohort(split: str, features: list[Feature], root: Path) -> Cohort:
    """Read the same cases as arrays, kept under `.cache` while data, code and features stay the same."""
    code = [sha256_of(Path(__file__).parents[2] / name) for name in (
        "models/features.py", "models/features_window.py", "models/tables/codes_glucose.json", "training/data/cgm.py")]
    asked = [split, sha256_of(root / (HALL if split == "hall" else SHANGHAI)), *code, *(
        f"{one.function}{sorted(one.params.items())}" for one in features)]
    kept = KEPT / f"cgm-{hashlib.sha256('|'.join(asked).encode()).hexdigest()[:16]}.npz"
    cases = records(split, root)
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as file:
            x = file["x"]
    else:
        views = (case.record.up_to(case.record.latest_minute, WINDOW_MIN) for case in cases)
        x = np.array([[FEATURES[one.function](view, **one.params) for one in features] for view in views], np.float32)
        KEPT.mkdir(parents=True, exist_ok=True)
        np.savez(kept, x=x)
    y = np.array([case.labels for case in cases], np.float32)
    return Cohort(
        x=x, y=y, groups=np.array([case.group for case in cases]), sha256=data_sha256(root),
        counts={split: len(cases), f"{split}_subjects": len({case.group for case in cases}), "events": int(y.sum())},
        subgroups={by: np.array([case.subgroups[by] for case in cases]) for by in cases[0].subgroups},
    )


def data_sha256(root: Path) -> str:
    """Return the hash of what is fitted to."""
    return sha256_of(root / SHANGHAI)


def wearings(split: str, root: Path) -> list[Wearing]:
    """Return the sensors of one split, by subject and recording; readings that are not there are left out."""
    return list(_hall(root / HALL) if split == "hall" else _shanghai(root / SHANGHAI, split))


def moments(one: Wearing) -> Iterator[tuple[int, int, bool]]:
    """Yield (first reading in sight, reading of the moment, whether one of the next 60 min is low), every 15 min at most.

    A moment counts when it is not low itself, when 4 readings of the last hour are there on a grid of 15 min, and when
    the next hour is whole on that grid.
    """
    last = -np.inf
    for place, (minute, value) in enumerate(zip(one.minutes, one.values, strict=True)):
        if minute - last < GRID_MIN - SLACK_MIN:
            continue
        last = minute
        start = int(one.minutes.searchsorted(minute - WINDOW_MIN))
        stop = int(one.minutes.searchsorted(minute + AHEAD_MIN + SLACK_MIN, side="right"))
        before, after = one.minutes[start : place + 1], one.minutes[place + 1 : stop]
        if value >= LIMIT_MG_DL and _on_grid(minute - before) >= 4 and _on_grid(after - minute) >= 4:
            yield start, place, bool((one.values[place + 1 : stop] < LIMIT_MG_DL).any())


def _on_grid(apart: Floats) -> int:
    """Count the quarters of an hour, up to an hour away, near which there is a reading."""
    near = apart[apart <= AHEAD_MIN + SLACK_MIN]
    return len(set(np.round(near / GRID_MIN).astype(int).tolist()))


def _shanghai(path: Path, split: str) -> Iterator[Wearing]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        subject, recording, kind, time, value, part = map(
            next(rows).index, ("subject", "recording", "diabetes_type", "time", "cgm_mg_dl", "split"))
        kept = [row for row in rows if row[part] == split and row[value]]
    for (who, _), group in groupby(kept, key=lambda row: (row[subject], row[recording])):
        mine = list(group)
        groups = {"diabetes": {"T1DM": "type 1", "T2DM": "type 2"}[mine[0][kind]]}
        yield _worn(who, [(row[time], row[value]) for row in mine], groups)


def _hall(path: Path) -> Iterator[Wearing]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["gl"]]
    for subject, group in groupby(sorted(rows, key=lambda row: row["id"]), key=lambda row: row["id"]):
        mine = list(group)
        yield _worn(subject, [(row["time"], row["gl"]) for row in mine], {"diabetes": mine[0]["diagnosis"]})


def _worn(subject: str, readings: list[tuple[str, str]], groups: dict[str, str]) -> Wearing:
    """Sort by time; of two readings at one minute the first counts."""
    stated = sorted((datetime.fromisoformat(time), float(value)) for time, value in readings)
    minutes = np.array([(time - stated[0][0]).total_seconds() / 60 for time, _ in stated])
    keep = np.concatenate([[True], np.diff(minutes) > 0])
    return Wearing(subject, minutes[keep], np.array([value for _, value in stated])[keep], groups)
