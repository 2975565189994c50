"""Diabetes 130 is read by patient, without race, and with no more of the past than a ward knows at discharge."""

from __future__ import annotations

import csv
import gzip
from itertools import pairwise
from pathlib import Path

import pytest

from tests.make import data_root, needs_data
from training import recipe as recipes
from training.data import diabetes130
from training.data.cohort import Case

FIELDS = {
    "encounter_id": "10", "patient_nbr": "1", "race": "Caucasian", "gender": "Male", "age": "[60-70)",
    "admission_type_id": "1", "discharge_disposition_id": "6", "admission_source_id": "7", "time_in_hospital": "4",
    "num_procedures": "0", "num_medications": "10", "number_outpatient": "0", "number_emergency": "0",
    "number_inpatient": "1", "diag_1": "428", "diag_2": "250", "diag_3": "?", "number_diagnoses": "5", "A1Cresult": ">8",
    "insulin": "No", "metformin": "No", "glyburide-metformin": "Steady", "diabetesMed": "Yes", "readmitted": "NO",
    "split": "train", "eligible": "1",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three stays of one person in the file's odd order, one that ends in death, and one of somebody else's split."""
    rows = [
        {"encounter_id": "30", "number_inpatient": "2"}, {"encounter_id": "10", "readmitted": "<30", "number_inpatient": "0"},
        {"encounter_id": "20", "readmitted": ">30"}, {"encounter_id": "40", "eligible": "0", "discharge_disposition_id": "11"},
        {"encounter_id": "5", "patient_nbr": "2", "split": "test"},
    ]
    path = tmp_path / diabetes130.FILE
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(FIELDS))
        writer.writeheader()
        writer.writerows({**FIELDS, **row} for row in rows)
    return tmp_path


def test_earlier_stays_tell_what_followed_them_and_later_ones_nothing(root: Path) -> None:
    last, first, second = (case.record.static for case in diabetes130.records("train", root))
    names = ("earlier_stays", "early_return", "early_returns")
    assert [first[name] for name in names] == [0, 0, 0]
    assert [second[name] for name in names] == [1, 1, 1]
    assert [last[name] for name in names] == [2, 0, 1]


def test_a_stay_that_ends_in_death_is_no_case(root: Path) -> None:
    assert [case.labels for case in diabetes130.records("train", root)] == [(0,), (1,), (0,)]
    assert len(diabetes130.records("test", root)) == 1


def test_facts_of_a_row(root: Path) -> None:
    case: Case = diabetes130.records("train", root)[0]
    known = case.record.static
    assert (known["discharge_disposition"], known["admission_type"], known["admission_source"]) == (2, 1, 1)
    assert (known["on_insulin"], known["on_metformin"], known["on_diabetes_drug"]) == (0, 1, 1)
    assert (known["main_heart_failure"], known["other_diabetes_plain"], known["other_heart_failure"]) == (1, 1, 0)
    assert case.record.up_to(0).series("HbA1c").values.tolist() == [8.5]
    assert case.group == "1"


def test_race_is_reported_and_no_input() -> None:
    features = recipes.read("readmission_30d").raw["features"]
    assert not any(word in line for line in features for word in ("race", "ethnic", "payer"))
    assert diabetes130.subgroups_of(FIELDS, {"admission_type": 1.0})["race"] == "Caucasian"


def test_the_outcome_of_a_stay_is_not_among_its_facts() -> None:
    before = (0, False, 0)
    stays = [dict(diabetes130.facts_of({**FIELDS, "readmitted": said}, before)) for said in ("<30", ">30", "NO")]
    assert stays[0] == stays[1] == stays[2]


@needs_data
def test_the_file_is_split_by_patient_and_its_ids_follow_time() -> None:
    with gzip.open(data_root() / diabetes130.FILE, "rt", encoding="utf-8", newline="") as lines:
        rows = [(row["patient_nbr"], int(row["encounter_id"]), row["split"], row["readmitted"], int(row["number_inpatient"]))
                for row in csv.DictReader(lines)]
    assert len({(patient, split) for patient, _, split, _, _ in rows}) == len({row[0] for row in rows})
    rows.sort()
    after = [b[4] >= 1 for a, b in pairwise(rows) if a[0] == b[0] and a[3] == "<30"]
    assert sum(after) > 0.97 * len(after)
