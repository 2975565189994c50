"""NHAMCS 2012-2015 (visits to US emergency departments, what is known at triage): rows → one Case per visit.

Only visits without a vital sign in the danger zone of the Emergency Severity Index are read: on the others the outcome
columns of this copy hold the vital signs themselves (its author's ABNORMALVS). Units become ours, negative codes missing.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator, Mapping
from math import nan
from pathlib import Path

from models.fhir.reasons_ed import facts_of, group_of_nchs
from models.manifest import Feature, sha256_of
from models.record import Event, Record
from training.data.cohort import Case, Cohort, cohort_of

FOLDER = "clinical/ed/nhamcs_2012_2015"
FILE = "nhamcs_triage.csv.gz"
TRIAGE_H = 1.0
DOPPLER = 998.0  # stands for a pulse or pressure found by Doppler, without its number
# Our code → column, unit, factor and offset to our unit.
MEASURED: Mapping[str, tuple[str, str, float, float]] = {
    "HR": ("PULSE", "/min", 1.0, 0.0),
    "RespRate": ("RESPR", "/min", 1.0, 0.0),
    "Temp": ("TEMPF", "Cel", 0.1 * 5 / 9, -160 / 9),
    "NISysABP": ("BPSYS", "mm[Hg]", 1.0, 0.0),
    "NIDiasABP": ("BPDIAS", "mm[Hg]", 1.0, 0.0),
    "SaO2": ("POPCT", "%", 1.0, 0.0),
    "Pain": ("PAINSCALE", "{score}", 1.0, 0.0),
}
KNOWN = {"known_cancer": "CANCER", "known_cerebrovascular": "CEBVD", "known_copd": "COPD",
         "known_heart_failure": "CHF", "known_hiv": "EDHIV"}
RACES = {"1": "White, not Hispanic", "2": "Black, not Hispanic", "3": "Hispanic", "4": "another, not Hispanic"}
AGE_BANDS = ((0, 3), (3, 18), (18, 45), (45, 65), (65, 80), (80, 130))
CRITICAL, SEVERAL_RESOURCES = 2, 3  # TRIAGELEVEL at most: died, intensive care, operation; two resources or more


def records(split: str, root: Path) -> list[Case]:
    """Read one split (train, val or test), ordered by visit; every visit is a group of its own: no patient is named."""
    return [
        Case(record_of(row), labels_of(row), row["visit_id"], subgroups_of(row)) for row in rows(root) if row["split"] == split
    ]


def cohort(split: str, features: list[Feature], root: Path) -> Cohort:
    """Read the same visits as arrays: the first hour is what triage knows."""
    cases = records(split, root)
    counts = {
        split: len(cases),
        "several_resources": int(sum(case.labels[0] for case in cases)),
        "critical": int(sum(case.labels[1] for case in cases)),
    }
    return cohort_of(cases, features, data_sha256(root), counts, TRIAGE_H)


def data_sha256(root: Path) -> str:
    """Return the hash of the one file that is read."""
    return hashlib.sha256(sha256_of(root / FOLDER / FILE).encode()).hexdigest()


def rows(root: Path) -> Iterator[dict[str, str]]:
    """Yield the rows with sound outcomes. Raises FileNotFoundError without the data."""
    return (row for row in every_row(root) if row["ABNORMALVS"] and float(row["ABNORMALVS"]) == 0)


def every_row(root: Path) -> Iterator[dict[str, str]]:
    """Yield all rows, those without a sound outcome too."""
    with gzip.open(root / FOLDER / FILE, "rt", encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)


def record_of(row: Mapping[str, str]) -> Record:
    """Turn a row into the record that a Bundle of the same visit gives; outcomes and the nurse's level stay behind."""
    events = []
    for code, (column, unit, factor, offset) in MEASURED.items():
        stated = float(row[column] or -9)
        if stated >= 0 and stated != DOPPLER:
            events.append(Event(0.0, code, round(stated * factor + offset, 2), unit))
    return Record.of(events, static_of(row))


def static_of(row: Mapping[str, str]) -> dict[str, float]:
    """Return what does not change during the visit, by our codes; NaN where the form says nothing."""
    arrived = float(row["ARRTIME"] or -9)
    asked = row["NOCHRON"] in ("0", "1")  # else the whole item was left blank
    known = {code: float(row[column]) if asked else nan for code, column in KNOWN.items()}
    return {
        "age_years": float(row["AGE"]),
        "male": {"1": 0.0, "2": 1.0}.get(row["SEX"], nan),
        "arrival_hour": arrived // 100 if 0 <= arrived < 2400 else nan,
        "arrival_weekday": (float(row["VDAYR"]) - 2) % 7,  # 1 is a Sunday there, 0 a Monday here
        "arrived_by_ambulance": {"1": 1.0, "2": 0.0}.get(row["ARREMS"], nan),
        "seen_within_72h": {"1": 1.0, "2": 0.0}.get(row["SEEN72"], nan),
        **known,
        "chronic_conditions": float(row["TOTCHRON"]) if asked else nan,
        **reasons_of(row),
    }


def reasons_of(row: Mapping[str, str]) -> dict[str, float]:
    """Return the groups of up to three reasons for visit; the form's own item says more visits are for an injury."""
    codes = [int(float(row[column] or 0)) for column in ("RFV13D", "RFV23D", "RFV33D")]
    return facts_of([group_of_nchs(code) if code > 0 else None for code in codes], injury=row["INJURY"] == "1")


def labels_of(row: Mapping[str, str]) -> tuple[float, float]:
    """Return whether two resources or more were used, and whether the outcome was critical."""
    level = float(row["TRIAGELEVEL"])
    return float(level <= SEVERAL_RESOURCES), float(level <= CRITICAL)


def subgroups_of(row: Mapping[str, str]) -> dict[str, str]:
    """Name what an evaluation reports apart. Race is looked at here and nowhere else."""
    age = float(row["AGE"])
    return {
        "age": next((f"{low}-{high - 1}" for low, high in AGE_BANDS if low <= age < high), "unknown"),
        "sex": {"1": "female", "2": "male"}.get(row["SEX"], "unknown"),
        "race": RACES.get(row["RACERETH"], "unknown"),
        "ambulance": {"1": "yes", "2": "no"}.get(row["ARREMS"], "unknown"),
        "year": row["YEAR"],
        "nurse": row["IMMEDR"] if row["IMMEDR"] in ("1", "2", "3", "4", "5") else "unknown",
    }
