"""IWPC warfarin cohort (PharmGKB; 21 sites, 9 countries): one stable weekly dose a patient, and what was known of him.

Rows as in the paper (N Engl J Med 2009;360:753, doi:10.1056/NEJMoa0809329): stable dose reached, target INR 2 to 3 or not
given, dose below 300 mg a week, age known. Race is read for subgroups and for imputing VKORC1, never as an input.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping
from math import isnan, nan
from pathlib import Path

import numpy as np

from models.manifest import Feature, sha256_of
from models.record import Event, Record
from training.data.cohort import Case, Cohort, cohort_of

DOSE = "Therapeutic Dose of Warfarin"
VKORC1 = ("VKORC1 -1639 consensus", "VKORC1 1173 consensus", "VKORC1 2255 consensus", "VKORC1 1542 consensus")
DIPLOTYPES = {"*1/*1": 0.0, "*1/*2": 1.0, "*1/*3": 2.0, "*2/*2": 3.0, "*2/*3": 4.0, "*3/*3": 5.0}
LINKED_LESS = ("Black or African American", "Unknown")  # 2255 and 1542 do not tell -1639 there (supplement, S4)
FLAGS = {
    "takes_amiodarone": ("Amiodarone (Cordarone)",),
    "takes_enzyme_inducer": ("Carbamazepine (Tegretol)", "Phenytoin (Dilantin)", "Rifampin or Rifampicin"),
    "takes_statin": (
        "Simvastatin (Zocor)", "Atorvastatin (Lipitor)", "Fluvastatin (Lescol)", "Lovastatin (Mevacor)",
        "Pravastatin (Pravachol)", "Rosuvastatin (Crestor)", "Cerivastatin (Baycol)",
    ),
    "takes_aspirin": ("Aspirin",),
    "smokes": ("Current Smoker",),
    "has_diabetes": ("Diabetes",),
    "has_heart_failure": ("Congestive Heart Failure and/or Cardiomyopathy",),
}
INDICATIONS = {"for_venous_thrombosis": "12", "for_atrial_fibrillation": "3", "for_heart_valve": "4", "for_stroke": "6"}
AGES = ((50, "under 50 years"), (60, "50 to 59 years"), (70, "60 to 69 years"), (80, "70 to 79 years"), (130, "80 years or more"))


def records(split: str, root: Path) -> list[Case]:
    """Read one split (train, val or test), one Case a patient, its label the dose in mg a week."""
    return [
        Case(record_of(row), (float(row[DOSE]),), row["PharmGKB Subject ID"], subgroups_of(row))
        for row in rows_of(split, root)
    ]


def cohort(split: str, features: list[Feature], root: Path) -> Cohort:
    """Read the same cases as arrays; ``y`` (N, 1) is the dose in mg a week."""
    cases = records(split, root)
    return cohort_of(cases, features, data_sha256(root), {split: len(cases)})


def data_sha256(root: Path) -> str:
    """Return the hash of the one file."""
    return sha256_of(path_of(root))


def path_of(root: Path) -> Path:
    """Return where the cohort lies under the folder of the data sets."""
    return root / "clinical/warfarin_iwpc/iwpc_warfarin.csv.gz"


def rows_of(split: str, root: Path) -> list[dict[str, str]]:
    """Return the rows of one split that belong to the cohort, by patient."""
    with gzip.open(path_of(root), "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["split"] == split and _counts(row)]
    return sorted(rows, key=lambda row: row["PharmGKB Subject ID"])


def _counts(row: Mapping[str, str]) -> bool:
    target, dose = row["Target INR"], row[DOSE]
    return (
        row["Subject Reached Stable Dose of Warfarin"] == "1.0"
        and (target == "" or 2 <= float(target) <= 3)
        and dose != "" and float(dose) < 300
        and row["Age"] != ""
    )


def record_of(row: Mapping[str, str]) -> Record:
    """Turn a row into what would be known while ordering; unknown is NaN. Dose, INR reached and race are left behind.

    Ages come in decades: the middle stands for all of it.
    """
    static = {
        "age_years": 95.0 if row["Age"] == "90+" else float(row["Age"][:2]) + 5,
        "male": {"male": 1.0, "female": 0.0}.get(row["Gender"], nan),
        "height_cm": _number(row["Height (cm)"]),
        "vkorc1_a_alleles": vkorc1_of(row),
        "cyp2c9_diplotype": DIPLOTYPES.get(row["CYP2C9 consensus"], nan),
        **{code: _any(row[name] for name in names) for code, names in FLAGS.items()},
        **_indications(row["Indication for Warfarin Treatment"], _any([row["Valve Replacement"]])),
    }
    weight = row["Weight (kg)"]
    return Record.of([Event(0.0, "Weight", float(weight), "kg")] if weight else [], static)


def vkorc1_of(row: Mapping[str, str]) -> float:
    """Return the number of -1639 A alleles, imputed by the decision list of the paper's supplement (S4) where not typed."""
    stated, near, *linked = (row[name] for name in VKORC1)
    if stated or near:
        return float(sum(letter in "AT" for letter in (stated or near)))
    if row["Race"] in LINKED_LESS:
        return nan
    if linked[0]:
        return float(linked[0].count("T"))
    return float(linked[1].count("C")) if linked[1] else nan


def subgroups_of(row: Mapping[str, str]) -> dict[str, str]:
    """Name the groups that an evaluation reports apart."""
    age = float(row["Age"][:2])
    dose = float(row[DOSE])
    typed = row["CYP2C9 consensus"] in DIPLOTYPES and not isnan(vkorc1_of(row))
    return {
        "sex": row["Gender"] or "unknown",
        "age": next(name for below, name in AGES if age < below),
        "dose": "low: up to 21 mg/week" if dose <= 21 else "high: 49 mg/week or more" if dose >= 49 else "middle",
        "genotype": "VKORC1 and CYP2C9 known" if typed else "one or both unknown",
        "race as the source states it": row["Race"],
    }


def _number(stated: str) -> float:
    return float(stated) if stated else nan


def _any(stated: Iterable[str]) -> float:
    """Return 1 when any is stated true, 0 when none is and one is stated false, else NaN."""
    said = list(stated)
    return 1.0 if "1.0" in said else 0.0 if "0.0" in said else nan


def _indications(stated: str, valve: float) -> dict[str, float]:
    """Read codes such as "3; 8" or "1 or 2" (1 deep vein thrombosis, 2 pulmonary embolism, 3 atrial fibrillation, …).

    A replaced ``valve`` is a heart valve indication too: the two columns say the same but for nine patients.
    """
    codes = set(stated.replace("or", ";").replace(" ", "").split(";")) - {""}
    found = {name: float(bool(codes & set(any_of))) if codes else nan for name, any_of in INDICATIONS.items()}
    found["for_heart_valve"] = float(np.fmax(found["for_heart_valve"], valve))
    return found

