"""Challenge 2012 (MIMIC-II, adults, first 48 h in intensive care): files → one Case per stay, events as a Record."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.features import FEATURES
from models.manifest import Feature, sha256_of
from models.record import Record, Series
from training.data import cohort as cohorts

MOMENT_MIN = 2880.0
ICU_TYPES = {1: "coronary", 2: "cardiac surgery", 3: "medical", 4: "surgical"}
CACHE = Path(__file__).parents[2] / ".cache"
MADE_BY = ("record.py", "features.py", "tables/codes_icu.json")
AGE_BANDS = ((16, 50), (50, 65), (65, 75), (75, 85), (85, 130))


@dataclass(frozen=True)
class Case:
    """One stay: its record, 1 when the patient died in hospital, the patient (one stay each), and its subgroups."""

    record: Record
    label: int
    group: int
    subgroups: Mapping[str, str]


def folder() -> Path:
    """Return where the data lie: `DIAPHANE_DATA`/clinical/challenge2012."""
    root = Path(os.environ.get("DIAPHANE_DATA", Path(__file__).parents[3] / "shared/data"))
    return root / "clinical/challenge2012"


def load(split: str, source: Path | None = None) -> list[Case]:
    """Read one split (train, val or test), ordered by stay number. Raises FileNotFoundError without the data."""
    source = source or folder()
    series = read_events(source / f"events_{split}.csv.gz")
    cases = []
    with gzip.open(source / "stays.csv.gz", "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["split"] == split:
                stay = int(row["RecordID"])
                record = Record(series.get(stay, {}), static_of(row))
                cases.append(Case(record, int(row["in_hospital_death"]), stay, subgroups_of(row)))
    return sorted(cases, key=lambda case: case.group)


def matrix(
    split: str, features: list[Feature], source: Path | None = None
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return features (N, F) at 48 h and outcomes (N,) of one split.

    They are kept under `.cache` for as long as the data, the feature code and the list of features stay the same.
    """
    source = source or folder()
    made_by = [sha256_of(Path(__file__).parents[2] / "models" / name) for name in MADE_BY]
    files = [sha256_of(source / name) for name in ("stays.csv.gz", f"events_{split}.csv.gz")]
    asked = [split, *files, *made_by, *(f"{one.function}{sorted(one.params.items())}" for one in features)]
    kept = CACHE / f"challenge2012-{hashlib.sha256('|'.join(asked).encode()).hexdigest()[:16]}.npz"
    if kept.is_file():
        with np.load(kept, allow_pickle=False) as file:
            return file["x"], file["y"]
    cases = load(split, source)
    views = (case.record.up_to(MOMENT_MIN) for case in cases)
    x = np.array([[FEATURES[one.function](view, **one.params) for one in features] for view in views], np.float32)
    y = np.array([case.label for case in cases], np.int64)
    CACHE.mkdir(parents=True, exist_ok=True)
    np.savez(kept, x=x, y=y)
    return x, y


def records(split: str, root: Path) -> list[cohorts.Case]:
    """Return the stays of one split, ordered by stay number, each a group of its own."""
    return [
        cohorts.Case(case.record, (float(case.label),), str(case.group), case.subgroups)
        for case in load(split, root / "clinical/challenge2012")
    ]


def cohort(split: str, features: list[Feature], root: Path) -> cohorts.Cohort:
    """Return features at 48 h and outcomes of one split, from the cache when nothing they depend on has changed."""
    source = root / "clinical/challenge2012"
    x, y = matrix(split, features, source)
    groups = np.array([str(stay) for stay in range(len(y))])
    counts = {split: len(y), "died": int(y.sum())}
    return cohorts.Cohort(x, y[:, None].astype(np.float32), np.char.add(f"{split}-", groups), fitted_sha256(source), counts)


def data_sha256(root: Path) -> str:
    """Return one hash of the table of stays and the test events, which an evaluation reads."""
    digest = hashlib.sha256()
    for name in ("stays.csv.gz", "events_test.csv.gz"):
        digest.update((root / "clinical/challenge2012" / name).read_bytes())
    return digest.hexdigest()


def fitted_sha256(source: Path) -> str:
    """Return one hash of the files train and val are read from, and the table of stays."""
    names = ("stays.csv.gz", "events_train.csv.gz", "events_val.csv.gz")
    return hashlib.sha256("".join(sha256_of(source / name) for name in names).encode()).hexdigest()


def read_events(path: Path) -> dict[int, dict[str, Series]]:
    """Read the long table (RecordID, minute, param, value) → {stay: {parameter: Series}}."""
    stays: dict[int, dict[str, Series]] = {}
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        next(lines)
        rows = (line.split(",") for line in lines)
        for stay, group in groupby(rows, key=lambda row: row[0]):
            found: dict[str, list[tuple[float, float]]] = {}
            for _, minute, code, value in group:
                found.setdefault(code, []).append((float(minute), float(value)))
            columns = {code: np.array(pairs) for code, pairs in found.items()}
            stays[int(stay)] = {code: Series(both[:, 0], both[:, 1]) for code, both in columns.items()}
    return stays


def static_of(row: Mapping[str, str]) -> dict[str, float]:
    """Turn a row of stays.csv into what does not change; unknown is NaN. Outcomes and scores are left behind."""
    read = {key: float(row[key]) if row[key] else nan for key in ("Age", "Gender", "Height", "ICUType")}
    return {
        "age_years": read["Age"],
        "male": read["Gender"],
        "height_cm": read["Height"],
        "icu_type": read["ICUType"],
    }


def subgroups_of(row: Mapping[str, str]) -> dict[str, str]:
    """Name the age band, sex and unit that an evaluation reports apart."""
    age = float(row["Age"])
    band = next((f"{low}-{high - 1}" for low, high in AGE_BANDS if low <= age < high), "unknown")
    sex = {"0.0": "female", "1.0": "male"}.get(row["Gender"], "unknown")
    return {"age": band, "sex": sex, "unit": ICU_TYPES.get(int(float(row["ICUType"] or 0)), "unknown")}
