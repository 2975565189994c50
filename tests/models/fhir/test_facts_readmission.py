"""What a bundle says of a stay at discharge: the same values as the rows that the model learnt from."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnusableInput
from models.fhir import facts_readmission
from models.fhir.diagnoses import GROUPS, ICD9, ICD10, group_of
from models.model import Model
from models.prediction import Prediction, Refusal
from models.read_fhir import Reading, read_bundle, read_fhir
from tests.make import data_root, needs_data
from training import recipe as recipes
from training.data import diabetes130
from training.data.cohort import matrix_of
from training.risk_features import features_of
from training.samples import readmission_30d as samples
from training.samples.readmission_30d import ADMITTED, ATC, HIGH_RISK, HL7, LOW_RISK, NO_DIABETES, Stay, bundle

ICD9_SYSTEM = "http://hl7.org/fhir/sid/icd-9-cm"
ROW = {
    "encounter_id": "1", "patient_nbr": "1", "race": "?", "gender": "Female", "age": "[70-80)", "admission_type_id": "1",
    "discharge_disposition_id": "1", "admission_source_id": "7", "time_in_hospital": "3", "num_procedures": "1",
    "num_medications": "12", "number_outpatient": "0", "number_emergency": "1", "number_inpatient": "2", "diag_1": "428",
    "diag_2": "250.6", "diag_3": "V45", "number_diagnoses": "6", "A1Cresult": ">7", "insulin": "Up", "metformin": "No",
    "diabetesMed": "Yes", "readmitted": "NO", "eligible": "1", "split": "train",
}
DISPOSITIONS = {code: coding for coding, code in facts_readmission.DISPOSITIONS.items()}
PRIORITIES = {1.0: "EM", 2.0: "UR", 3.0: "EL"}
SOURCES = {1.0: "emd", 2.0: "gp", 3.0: "hosp-trans", 4.0: "nursing"}


def read(stay: Stay) -> Reading:
    return read_bundle(bundle(stay))


def facts(stay: Stay, **changes: Any) -> Mapping[str, float]:
    """Return what does not change of a stay, with fields of its Encounter set."""
    content = bundle(stay)
    for entry in content["entry"]:
        if entry["resource"].get("id") == "e1":
            entry["resource"] |= changes
    return read_bundle(content).record.static


def stay_of(row: Mapping[str, str], before: tuple[int, bool, int]) -> Stay | None:
    """Turn a row of the file into a stay as a hospital would hold it; None where no sequence of stays fits its counts."""
    known = dict(diabetes130.facts_of(row, before))
    earlier, recent = int(known["earlier_stays"]), int(known["prior_inpatient"])
    last, returns = bool(known["early_return"]), int(known["early_returns"])
    ends = [True] * returns if last else [*[True] * returns, False] if earlier else []
    follows = [*[False] * (earlier - len(ends)), *ends]
    days = sum(11 if again else 32 for again in follows[earlier - recent:])
    if len(follows) != earlier or days > 365 or (earlier > recent and any(follows[earlier - recent - 1:earlier - recent])):
        return None
    diagnoses = [(ICD9_SYSTEM, row[f"diag_{place}"]) for place in (1, 2, 3) if place == 1 or row[f"diag_{place}"] != "?"]
    if len(diagnoses) < min(3, int(known["diagnoses_count"])):
        return None
    diagnoses += [(ICD9_SYSTEM, f"E{950 + i}") for i in range(int(known["diagnoses_count"]) - len(diagnoses))]
    if len(set(diagnoses)) != known["diagnoses_count"] or row["diag_1"] == "?":
        return None
    drugs = [*(["A10AB05"] if known["on_insulin"] else []), *(["A10BA02"] if known["on_metformin"] else []),
             *(["A10BB01"] if known["on_diabetes_drug"] else []), "C09AA05"]
    if len(drugs) > known["medications_count"] or (known["on_insulin"] or known["on_metformin"]) > known["on_diabetes_drug"]:
        return None
    return Stay(
        "row", f"{samples.ADMITTED.year - int(known['age_years'])}-01-01", {1.0: "M", 0.0: "F"}.get(known["male"], "?"),
        int(known["stay_days"]), tuple(diagnoses), tuple(follows), earlier - recent, int(known["prior_emergency"]),
        int(known["prior_outpatient"]), int(known["procedures_count"]), int(known["medications_count"]), tuple(drugs),
        DISPOSITIONS.get(known["discharge_disposition"]), PRIORITIES.get(known["admission_type"]),
        SOURCES.get(known["admission_source"]), diabetes130.HBA1C.get(row["A1Cresult"]),
    )


def same(row: Mapping[str, str], before: tuple[int, bool, int]) -> bool | None:
    """Compare the features of a row with those of the bundle made from it; None where no bundle can be made."""
    stay = stay_of(row, before)
    if stay is None:
        return None
    features = features_of(recipes.read("readmission_30d"))
    case = diabetes130.case_of(row, before)
    expected = matrix_of([case], features)[0].tolist()
    found = matrix_of([replace(case, record=read(stay).record)], features)[0].tolist()
    different = {
        feature.name: (a, b) for feature, a, b in zip(features, expected, found, strict=True)
        if a != b and not (math.isnan(a) and math.isnan(b))
    }
    assert not different
    return True


@pytest.mark.parametrize("before", [(0, False, 0), (3, True, 2), (4, False, 1)])
def test_a_row_and_the_bundle_of_the_same_stay_give_the_same_features(before: tuple[int, bool, int]) -> None:
    assert same(ROW, before)


@pytest.mark.parametrize("changes", [
    {"gender": "Unknown/Invalid"}, {"A1Cresult": "None"}, {"admission_type_id": "6", "admission_source_id": "17"},
    {"discharge_disposition_id": "18"}, {"discharge_disposition_id": "6"}, {"discharge_disposition_id": "22"},
    {"diag_2": "?", "diag_3": "?", "number_diagnoses": "1"}, {"number_diagnoses": "16"}, {"number_inpatient": "0"},
    {"insulin": "No", "diabetesMed": "No"}, {"time_in_hospital": "14", "number_emergency": "42"},
])
def test_unknown_and_extreme_rows_too(changes: dict[str, str]) -> None:
    assert same({**ROW, **changes}, (0, False, 0))


@needs_data
def test_real_rows_and_their_bundles_give_the_same_features() -> None:
    with gzip.open(data_root() / diabetes130.FILE, "rt", encoding="utf-8", newline="") as lines:
        rows = list(islice(csv.DictReader(lines), 20_000, 24_000))
    before = diabetes130.history_of(rows)
    chosen = [row for row in rows if row["eligible"] == "1"][::80]
    compared = [same(row, before[row["encounter_id"]]) for row in chosen]
    assert compared.count(True) > 0.8 * len(chosen)


@pytest.mark.parametrize(("classification", "code", "group"), [
    (ICD9, "250.83", "diabetes_other"), (ICD9, "250", "diabetes_plain"), (ICD9, "25060", "diabetes_nerve"),
    (ICD9, "428", "heart_failure"), (ICD9, "8", "infection"), (ICD9, "V57", "rehabilitation"), (ICD9, "E950.1", "injury"),
    (ICD9, "?", None), (ICD9, "abc", None), (ICD10, "I50.0", "heart_failure"), (ICD10, "i500", "heart_failure"),
    (ICD10, "E11.22", "diabetes_kidney"), (ICD10, "E11", "diabetes_plain"), (ICD10, "N18.5", "kidney_chronic"),
    (ICD10, "Z51.1", "rehabilitation"), (ICD10, "diabetes", None), (ICD10, "", None),
])
def test_a_code_belongs_to_the_first_group_whose_range_holds_it(classification: str, code: str, group: str | None) -> None:
    found = group_of(classification, code)
    assert (None if found is None else GROUPS[found]) == group


@given(st.text(max_size=12))
def test_any_text_is_a_group_or_none(code: str) -> None:
    for classification in (ICD9, ICD10):
        found = group_of(classification, code)
        assert found is None or 0 <= found < len(GROUPS)


def test_visits_of_the_year_before_are_counted_and_older_ones_only_as_known() -> None:
    found = facts(replace(LOW_RISK, stays=(False, False, True), old=1, emergencies=2, consultations=0))
    assert (found["prior_inpatient"], found["prior_emergency"], found["prior_outpatient"]) == (2, 2, 0)
    assert (found["earlier_stays"], found["early_return"], found["early_returns"]) == (3, 1, 1)


def test_the_whole_stay_counts_not_the_unit_the_person_left_from() -> None:
    content = bundle(LOW_RISK)
    stay = next(one["resource"] for one in content["entry"] if one["resource"].get("id") == "e1")
    start = samples.ADMITTED + samples.timedelta(days=1)
    content["entry"].append({"resource": {
        **{key: stay[key] for key in ("resourceType", "status", "class", "subject")}, "id": "unit",
        "period": {"start": start.isoformat(), "end": stay["period"]["end"]}, "partOf": {"reference": "Encounter/e1"},
    }})
    found = read_bundle(content).record.static
    assert (found["stay_days"], found["earlier_stays"], found["discharge_disposition"]) == (2, 0, 1)


def test_ranks_decide_which_diagnosis_is_the_main_one() -> None:
    content = bundle(LOW_RISK)
    stay = next(one["resource"] for one in content["entry"] if one["resource"].get("id") == "e1")
    stay["diagnosis"] = [{**one, "rank": 4 - one["rank"]} for one in stay["diagnosis"]]
    found = read_bundle(content).record.static
    assert (found["main_hypertension"], found["main_chest_pain"], found["other_chest_pain"]) == (1, 0, 1)


def test_a_main_diagnosis_in_another_classification_is_unknown_not_absent() -> None:
    found = facts(replace(LOW_RISK, diagnoses=(("http://snomed.info/sct", "29857009"), (samples.ICD10, "I10"))))
    assert not any(name.startswith("main_") for name in found)
    assert (found["other_hypertension"], found["diagnoses_count"]) == (1, 2)


def test_a_refuted_diagnosis_does_not_count() -> None:
    content = bundle(LOW_RISK)
    for entry in content["entry"]:
        if entry["resource"].get("id") in ("d2", "problem"):
            entry["resource"]["verificationStatus"] = {"coding": [{"code": "refuted"}]}
    found = read_bundle(content).record.static
    assert found["diagnoses_count"] == 2
    assert "diabetes" not in found


def test_medications_without_an_atc_code_leave_the_diabetes_drugs_unknown() -> None:
    content = bundle(replace(LOW_RISK, drugs=()))
    drugs = [one["resource"] for one in content["entry"] if one["resource"]["resourceType"] == "MedicationRequest"]
    drugs[0]["medicationCodeableConcept"] = {"text": "Insuline"}
    found = read_bundle(content).record.static
    assert found["medications_count"] == 9
    assert not any(name.startswith("on_") for name in found)
    drugs[1]["medicationCodeableConcept"] = {
        "coding": [{"system": "https://smt.esante.gouv.fr/terminologie-atc", "code": "A10BA02"}]
    }
    found = read_bundle(content).record.static
    assert (found["on_metformin"], found["on_diabetes_drug"], "on_insulin" in found) == (1, 1, False)


def test_orders_ended_at_discharge_were_given_and_those_not_to_give_were_not() -> None:
    content = bundle(replace(LOW_RISK, medications=3))
    drugs = [one["resource"] for one in content["entry"] if one["resource"]["resourceType"] == "MedicationRequest"]
    drugs[0]["status"], drugs[1]["status"], drugs[2]["doNotPerform"] = "stopped", "completed", True
    assert read_bundle(content).record.static["medications_count"] == 2


@pytest.mark.parametrize(("ended", "counted"), [(timedelta(0), 0), (timedelta(minutes=-30), 0), (timedelta(hours=2), 0),
                                                (timedelta(hours=-3), 1)])
def test_the_emergency_visit_that_led_to_the_stay_is_no_earlier_one(ended: timedelta, counted: int) -> None:
    content = bundle(replace(LOW_RISK, emergencies=1))
    visit = next(one["resource"] for one in content["entry"] if one["resource"].get("id") == "emer0")
    visit["period"] = {"start": (ADMITTED - timedelta(hours=8)).isoformat(), "end": (ADMITTED + ended).isoformat()}
    assert read_bundle(content).record.static["prior_emergency"] == counted


@pytest.mark.parametrize("verified", ["unconfirmed", "provisional", "differential", "refuted"])
def test_a_diabetes_that_is_only_thought_of_is_not_known(verified: str) -> None:
    content = bundle(replace(LOW_RISK, diagnoses=LOW_RISK.diagnoses[:1]))
    problem = next(one["resource"] for one in content["entry"] if one["resource"].get("id") == "problem")
    assert read_bundle(content).record.static["diabetes"] == 1
    problem["verificationStatus"] = {"coding": [{"code": verified}]}
    assert "diabetes" not in read_bundle(content).record.static


def test_what_is_given_before_the_stay_or_to_nobody_is_not_counted() -> None:
    content = bundle(replace(LOW_RISK, medications=3))
    drugs = [one["resource"] for one in content["entry"] if one["resource"]["resourceType"] == "MedicationRequest"]
    drugs[0]["status"] = "cancelled"
    drugs[1] |= {"encounter": {"reference": "Encounter/other"}}
    assert read_bundle(content).record.static["medications_count"] == 1


def test_facts_name_the_resources_they_were_taken_from() -> None:
    references = read(replace(LOW_RISK, emergencies=1)).references
    assert references["prior_emergency"] == ((0.0, "Encounter/emer0"),)
    assert references["main_chest_pain"] == ((0.0, "Condition/d1"),)
    assert {name for _, name in references["on_metformin"]} == {"MedicationRequest/m0"}


@pytest.mark.parametrize("wrong", [
    {"hospitalization": "home"}, {"diagnosis": {"condition": 1}}, {"priority": []}, {"partOf": {"reference": "Encounter/none"}},
    {"diagnosis": [{"condition": {"reference": "Condition/none"}}]}, {"hospitalization": {"dischargeDisposition": {"text": "?"}}},
])
def test_odd_encounters_are_read_as_far_as_they_can_be(wrong: dict[str, Any]) -> None:
    assert facts(LOW_RISK, **wrong)["stay_days"] == 2


def test_death_is_no_discharge() -> None:
    assert "discharged_alive" not in facts(replace(LOW_RISK, disposition=(HL7 + "discharge-disposition", "exp")))
    assert "discharged_alive" not in facts(replace(LOW_RISK, disposition=(HL7 + "discharge-disposition", "hosp")))
    for told in ({"deceasedBoolean": True}, {"deceasedDateTime": "2026-03-05T10:00:00+01:00"}):
        content = bundle(LOW_RISK)
        content["entry"][0]["resource"] |= told
        assert "discharged_alive" not in read_bundle(content).record.static


@pytest.mark.parametrize(("disposition", "alive"), [
    ({"coding": [{"system": HL7 + "discharge-disposition", "code": "oth"}]}, True),
    ({"coding": [{"system": "urn:example:mode-de-sortie", "code": "9"}]}, False), ({"text": "décès"}, False),
    ({"coding": [{"system": "urn:example:mode-de-sortie", "code": "8"},
                 {"system": HL7 + "discharge-disposition", "code": "home"}]}, True),
])
def test_an_end_that_cannot_be_read_may_be_a_death(disposition: dict[str, Any], alive: bool) -> None:
    assert ("discharged_alive" in facts(LOW_RISK, hospitalization={"dischargeDisposition": disposition})) is alive


def test_insulin_and_metformin_are_told_by_atc() -> None:
    found = facts(replace(LOW_RISK, drugs=("A10AB05", "C09AA05")))
    assert (found["on_insulin"], found["on_metformin"], found["on_diabetes_drug"]) == (1, 0, 1)
    assert ATC in facts_readmission.ATC


@pytest.fixture(scope="module")
def released() -> Model:
    return Model(Path(__file__).parents[3] / "models/released/readmission_30d-1.0.0")


def test_the_samples_are_scored_and_refused_as_they_should_be(released: Model) -> None:
    low, high, refused = (released.predict(read(stay).record) for stay in (LOW_RISK, HIGH_RISK, NO_DIABETES))
    assert isinstance(low, Prediction)
    assert isinstance(high, Prediction)
    assert low.main.value < 0.1
    assert high.main.value > 0.25
    assert isinstance(refused, Refusal)
    assert "diabetes" in refused.message


def test_earlier_visits_are_history_and_no_reason_to_ask_which_stay_is_meant() -> None:
    record = read_fhir(json.dumps(bundle(HIGH_RISK)))
    assert record.static["prior_inpatient"] == 5
    content = bundle(LOW_RISK)
    overlapping = json.loads(json.dumps(content["entry"][1]["resource"])) | {"id": "e2"}
    content["entry"].append({"resource": overlapping})
    with pytest.raises(UnusableInput, match="one Encounter"):
        read_fhir(json.dumps(content))
