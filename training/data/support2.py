"""SUPPORT2 (five US hospitals, 1989 to 1994): seriously ill inpatients on study day 3, as an outside check.

Each person has one value a measurement, the day's; it stands at 48 h, where the model of intensive care looks. What the
file has in another form is left out: urine by day, oxygen as PaO2/FiO2. The SUPPORT coma score (0 awake, 100 deepest) is
laid linearly over the Glasgow scale (15 to 3): its own table is not with the data, so this is an approximation.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.manifest import Feature, sha256_of
from models.record import Record, Series
from training.data.cohort import Case, Cohort, cohort_of

FILE = Path("clinical/support2/support2.csv.gz")
MOMENT_MIN = 2880.0
MEASURED = {
    "meanbp": "NIMAP", "wblc": "WBC", "hrt": "HR", "resp": "RespRate", "temp": "Temp", "alb": "Albumin", "bili": "Bilirubin",
    "crea": "Creatinine", "sod": "Na", "ph": "pH", "glucose": "Glucose", "bun": "BUN",
}
BANDS = ((18, 50), (50, 65), (65, 75), (75, 120))
PUBLISHED = "The SUPPORT model of 1995 (surv2m: survival of two months)"
Row = Mapping[str, str]


def records(split: str, root: Path) -> list[Case]:
    """Return one split: train and val to recalibrate with, test to measure."""
    return [_case(row) for row in _rows(split, root)]


def cohort(split: str, features: list[Feature], root: Path) -> Cohort:
    """Return the same cases as arrays, looked at 48 h after the start."""
    cases = records(split, root)
    counts = {split: len(cases), "died": int(sum(case.labels[0] for case in cases))}
    return cohort_of(cases, features, data_sha256(root), counts, MOMENT_MIN / 60)


def data_sha256(root: Path) -> str:
    """Return the hash of the one file."""
    return sha256_of(root / FILE)


def published(split: str, root: Path) -> NDArray[np.float64]:
    """Return each case's risk by the published model, NaN where the file has none."""
    return np.array([1 - float(row["surv2m"]) if row["surv2m"] else nan for row in _rows(split, root)])


def _rows(split: str, root: Path) -> list[Row]:
    with gzip.open(root / FILE, "rt", encoding="utf-8", newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["split"] == split and row["hospdead"]]


def _case(row: Row) -> Case:
    known = {code: float(row[name]) for name, code in MEASURED.items() if row[name]}
    if row["scoma"]:
        known["GCS"] = round(15 - 12 * float(row["scoma"]) / 100)
    series = {code: Series(np.array([MOMENT_MIN]), np.array([value])) for code, value in known.items()}
    static = {"age_years": float(row["age"]), "male": float(row["sex"] == "male"), "height_cm": nan, "icu_type": nan}
    band = next(f"{low}-{high - 1}" for low, high in BANDS if low <= float(row["age"]) < high)
    groups = {"age": band, "sex": row["sex"], "disease": row["dzclass"], "race": row["race"] or "unknown"}
    return Case(Record(series, static), (float(row["hospdead"]),), row["id"], groups)
