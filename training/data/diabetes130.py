"""Diabetes 130-US hospitals (1999 to 2008): one hospital stay of a person with diabetes → one Case at discharge.

The encounter ids rise with time: of the stays that follow one labelled "readmitted within 30 days" in this order, 98 %
count an earlier stay in their year, 62 % in the reverse order. So what happened after a person's earlier stays is known at
a later one; what happens after the stay itself is the outcome and nothing else.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping
from math import nan
from pathlib import Path

import numpy as np

from models.fhir.diagnoses import ICD9, group_of
from models.fhir.facts_readmission import (
    AGAINST_ADVICE,
    FACILITY,
    HOME,
    HOME_CARE,
    HOSPITAL,
    MOST_DIAGNOSES,
    NURSING,
    PSYCHIATRY,
    REHABILITATION,
    grouped,
)
from models.manifest import Feature, sha256_of
from models.record import Record, Series
from training.data.cohort import Case, Cohort, cohort_of

FILE = Path("clinical/diabetes130/diabetic_data.csv.gz")
SEXES = {"Male": 1.0, "Female": 0.0}
ADMISSION_TYPES = {"1": 1.0, "7": 1.0, "2": 2.0, "3": 3.0}
ADMISSION_SOURCES = {
    "7": 1.0, "1": 2.0, "2": 2.0, "3": 2.0, "4": 3.0, "10": 3.0, "22": 3.0, "25": 3.0, "5": 4.0, "6": 4.0, "26": 4.0,
}
DISPOSITIONS = {
    **dict.fromkeys(("1", "16", "17"), HOME), **dict.fromkeys(("6", "8"), HOME_CARE),
    **dict.fromkeys(("3", "4", "15", "24"), NURSING), "2": HOSPITAL,
    **dict.fromkeys(("5", "23", "27", "29", "30"), FACILITY), "22": REHABILITATION, "28": PSYCHIATRY, "7": AGAINST_ADVICE,
}
HBA1C = {"Norm": 6.5, ">7": 7.5, ">8": 8.5}  # the file has bands; bins are cut half-way, at 7 and 8 %
BANDS = ((0, 40), (40, 60), (60, 70), (70, 80), (80, 100))
TYPES = {1.0: "emergency", 2.0: "urgent", 3.0: "elective"}
Row = Mapping[str, str]


def records(split: str, root: Path) -> list[Case]:
    """Return the stays of one split that end with a living person at home or in care, as the file orders them."""
    with gzip.open(root / FILE, "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split]
    before = history_of(rows)
    return [case_of(row, before[row["encounter_id"]]) for row in rows if row["eligible"] == "1"]


def cohort(split: str, features: list[Feature], root: Path) -> Cohort:
    """Return the same cases as arrays."""
    cases = records(split, root)
    counts = {split: len(cases), "readmitted": int(sum(case.labels[0] for case in cases))}
    return cohort_of(cases, features, data_sha256(root), counts)


def data_sha256(root: Path) -> str:
    """Return the hash of the one file."""
    return sha256_of(root / FILE)


def history_of(rows: Iterable[Row]) -> dict[str, tuple[int, bool, int]]:
    """Return by encounter what its patient's earlier stays in the file say.

    How many there are, whether the latest of them was followed by a readmission within 30 days, and how many were.
    """
    told, latest = {}, {}
    for row in sorted(rows, key=lambda row: int(row["encounter_id"])):
        stays, _, returns = known = latest.get(row["patient_nbr"], (0, False, 0))
        told[row["encounter_id"]] = known
        again = row["readmitted"] == "<30"
        latest[row["patient_nbr"]] = (stays + 1, again, returns + again)
    return told


def case_of(row: Row, before: tuple[int, bool, int]) -> Case:
    """Turn a row of the file into a record that holds its facts, its outcome and its subgroups."""
    static = dict(facts_of(row, before))
    return Case(
        Record(_events(row), static), (float(row["readmitted"] == "<30"),), row["patient_nbr"], subgroups_of(row, static)
    )


def facts_of(row: Row, before: tuple[int, bool, int]) -> Iterator[tuple[str, float]]:
    """Yield what `models.fhir.facts_readmission` would find of the same stay. Race and payer are not among it."""
    low, high = row["age"].strip("[)").split("-")
    inpatient = float(row["number_inpatient"])
    stays, again, returns = before
    yield "age_years", (float(low) + float(high)) / 2
    yield "male", SEXES.get(row["gender"], nan)
    yield "diabetes", 1.0
    yield "discharged_alive", 1.0
    yield "stay_days", float(row["time_in_hospital"])
    yield "prior_inpatient", inpatient
    yield "prior_emergency", float(row["number_emergency"])
    yield "prior_outpatient", float(row["number_outpatient"])
    yield "earlier_stays", max(float(stays), inpatient)
    yield "early_return", float(again and inpatient >= 1)  # 2 % count no stay in their year: not believed
    yield "early_returns", float(returns - (again and inpatient < 1))
    yield "admission_type", ADMISSION_TYPES.get(row["admission_type_id"], nan)
    yield "admission_source", ADMISSION_SOURCES.get(row["admission_source_id"], nan)
    yield "discharge_disposition", DISPOSITIONS.get(row["discharge_disposition_id"], nan)
    yield "procedures_count", float(row["num_procedures"])
    yield "medications_count", float(row["num_medications"])
    yield "diagnoses_count", float(min(int(row["number_diagnoses"]), MOST_DIAGNOSES))
    yield "on_insulin", float(row["insulin"] != "No")
    yield "on_metformin", float(any(value != "No" for drug, value in row.items() if "metformin" in drug))
    yield "on_diabetes_drug", float(row["diabetesMed"] == "Yes")
    codes = [row[f"diag_{place}"] for place in (1, 2, 3)]
    ranked = [group_of(ICD9, code) for place, code in enumerate(codes) if place == 0 or code != "?"]
    yield from grouped(ranked).items()


def subgroups_of(row: Row, static: Mapping[str, float]) -> dict[str, str]:
    """Name the groups that an evaluation reports apart; race is reported and never an input."""
    low = int(row["age"].strip("[)").split("-")[0])
    return {
        "age": next(f"{start}-{stop - 1}" for start, stop in BANDS if start <= low < stop),
        "sex": row["gender"].lower() if row["gender"] in SEXES else "unknown",
        "race": "unknown" if row["race"] == "?" else row["race"],
        "admission": TYPES.get(static["admission_type"], "unknown"),
    }


def _events(row: Row) -> dict[str, Series]:
    value = HBA1C.get(row["A1Cresult"])
    return {} if value is None else {"HbA1c": Series(np.zeros(1), np.array([value]))}
