"""eICU demo (186 US hospitals, 2014 to 2015): stays in intensive care as the APACHE score saw them, as an outside check.

Each stay has one value a measurement, the worst of its first 24 h; it stands at 48 h, where the model looks. Urine of 24 h
has no counterpart in a model that sums 48 h and is left out.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Mapping
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.manifest import Feature, sha256_of
from models.record import Record, Series
from training.data.cohort import Case, Cohort, cohort_of

FOLDER = Path("clinical/eicu_demo")
FILES = ("patient.csv.gz", "apacheapsvar.csv.gz", "apachepatientresult.csv.gz")
MOMENT_MIN = 2880.0
MEASURED = {
    "wbc": "WBC", "temperature": "Temp", "respiratoryrate": "RespRate", "sodium": "Na", "heartrate": "HR", "meanbp": "NIMAP",
    "ph": "pH", "hematocrit": "HCT", "creatinine": "Creatinine", "albumin": "Albumin", "pao2": "PaO2", "pco2": "PaCO2",
    "bun": "BUN", "glucose": "Glucose", "bilirubin": "Bilirubin",
}
UNITS = {"CCU-CTICU": 1.0, "Cardiac ICU": 1.0, "CTICU": 2.0, "CSICU": 2.0, "MICU": 3.0, "SICU": 4.0}
ADULT_YEARS = 16
BANDS = ((16, 50), (50, 65), (65, 75), (75, 120))
PUBLISHED = "APACHE IVa, as shipped"
Row = Mapping[str, str]


def records(split: str, root: Path) -> list[Case]:
    """Return the adults' stays of one split with a known outcome: train and val to recalibrate with, test to measure."""
    return [_case(row) for row in _rows(split, root)]


def cohort(split: str, features: list[Feature], root: Path) -> Cohort:
    """Return the same cases as arrays, looked at 48 h after the start."""
    cases = records(split, root)
    counts = {split: len(cases), "died": int(sum(case.labels[0] for case in cases))}
    return cohort_of(cases, features, data_sha256(root), counts, MOMENT_MIN / 60)


def data_sha256(root: Path) -> str:
    """Return one hash of the three tables that are read."""
    return hashlib.sha256("".join(sha256_of(root / FOLDER / name) for name in FILES).encode()).hexdigest()


def published(split: str, root: Path) -> NDArray[np.float64]:
    """Return each stay's risk by APACHE IVa, NaN where there is none."""
    stated = {
        row["patientunitstayid"]: float(row["predictedhospitalmortality"])
        for row in _table(root, FILES[2]) if row["apacheversion"] == "IVa"
    }
    risks = [stated.get(row["patientunitstayid"], -1.0) for row in _rows(split, root)]
    return np.array([risk if risk >= 0 else nan for risk in risks])


def _rows(split: str, root: Path) -> list[Row]:
    """Join stays and their physiology; stays without physiology are left out."""
    physiology = {row["patientunitstayid"]: row for row in _table(root, FILES[1])}
    found = []
    for row in _table(root, FILES[0]):
        measured = physiology.get(row["patientunitstayid"])
        if measured is None or row["split"] != split or not row["hospital_death"] or not _age(row) >= ADULT_YEARS:
            continue
        found.append({**measured, **row})
    return found


def _table(root: Path, name: str) -> list[Row]:
    with gzip.open(root / FOLDER / name, "rt", encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _age(row: Row) -> float:
    return 90.0 if row["age"].startswith(">") else float(row["age"] or nan)


def _case(row: Row) -> Case:
    known = {code: float(row[name]) for name, code in MEASURED.items() if row[name] and float(row[name]) >= 0}
    eyes, motor, verbal = (float(row[name] or -1) for name in ("eyes", "motor", "verbal"))
    if min(eyes, motor, verbal) > 0 and row["meds"] != "1":  # sedated: the scale could not be told
        known["GCS"] = eyes + motor + verbal
    if row["fio2"] and float(row["fio2"]) > 0:
        known["FiO2"] = float(row["fio2"]) / 100
    if row["vent"] == "1" or row["intubated"] == "1":
        known["MechVent"] = 1.0
    series = {code: Series(np.array([MOMENT_MIN]), np.array([value])) for code, value in known.items()}
    height = float(row["admissionheight"] or nan)
    static = {
        "age_years": _age(row), "male": {"Male": 1.0, "Female": 0.0}.get(row["gender"], nan), "height_cm": height,
        "icu_type": UNITS.get(row["unittype"], nan),
    }
    band = next(f"{low}-{high - 1}" for low, high in BANDS if low <= _age(row) < high)
    groups = {"age": band, "sex": row["gender"].lower() or "unknown", "race": row["ethnicity"] or "unknown"}
    return Case(Record(series, static), (float(row["hospital_death"]),), row["uniquepid"], groups)
