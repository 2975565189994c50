"""What doses warfarin is read from FHIR as laboratories and prescribers write it, and nothing is taken for absent lightly."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.fhir.bundle import Bundle
from models.fhir.facts_warfarin import facts

NOW = datetime(2026, 3, 3, tzinfo=UTC)
ICD10, ATC, SNOMED = "http://hl7.org/fhir/sid/icd-10", "http://www.whocc.no/atc", "http://snomed.info/sct"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


def values(*resources: dict[str, Any]) -> dict[str, float]:
    kinds: dict[str, list[dict[str, Any]]] = {}
    for one in resources:
        kinds.setdefault(one["resourceType"], []).append(one)
    bundle = Bundle({kind: tuple(rows) for kind, rows in kinds.items()}, NOW, NOW)
    return {code: fact.value for code, fact in facts(bundle).items()}


def genotype(gene: str, said: str, day: int = 1, identifier: str = "g") -> dict[str, Any]:
    hgnc = {"CYP2C9": "HGNC:2623", "VKORC1": "HGNC:23663"}[gene]
    return {
        "resourceType": "Observation", "id": identifier, "status": "final", "effectiveDateTime": f"2026-01-{day:02d}T08:00:00Z",
        "code": {"coding": [{"system": "http://loinc.org", "code": "84413-4"}]}, "valueCodeableConcept": {"text": said},
        "component": [{"code": {"coding": [{"system": "http://loinc.org", "code": "48018-6"}]},
                       "valueCodeableConcept": {"coding": [{"system": "http://www.genenames.org/geneId", "code": hgnc}]}}],
    }


def condition(code: str, system: str = ICD10, verified: str = "confirmed") -> dict[str, Any]:
    return {"resourceType": "Condition", "id": code, "code": {"coding": [{"system": system, "code": code}]},
            "verificationStatus": {"coding": [{"code": verified}]}}


def drug(code: str, system: str = ATC, status: str = "active", kind: str = "MedicationStatement") -> dict[str, Any]:
    return {"resourceType": kind, "id": code, "status": status,
            "medicationCodeableConcept": {"coding": [{"system": system, "code": code}]}}


@pytest.mark.parametrize(("said", "expected"), [
    ("CYP2C9*1/*1", 0), ("CYP2C9 *1/*3", 2), ("*3/*1", 2), ("CYP2C9 *2 / *3", 4), ("*3/*3", 5),
])
def test_a_cyp2c9_diplotype_is_read_as_hl7_genomics_writes_it(said, expected):
    assert values(genotype("CYP2C9", said)) == {"cyp2c9_diplotype": expected}


@pytest.mark.parametrize("said", ["CYP2C9*1/*11", "CYP2C9 normal", "*1", "", "*1/*99"])
def test_an_unreadable_or_rare_diplotype_stays_unknown(said):
    assert values(genotype("CYP2C9", said)) == {}


@pytest.mark.parametrize(("said", "expected"), [
    ("VKORC1 rs9923231 C/T", 1), ("VKORC1 rs9923231 T/T", 2), ("VKORC1 -1639 G/A", 1), ("VKORC1 -1639 A/A", 2),
    ("VKORC1 rs9923231 C/C", 0), ("VKORC1 -1639G>A: G/G", 0), ("VKORC1 rs9934438 A/G", 1), ("VKORC1 1173 T/T", 2),
])
def test_vkorc1_counts_the_same_on_either_strand(said, expected):
    assert values(genotype("VKORC1", said)) == {"vkorc1_a_alleles": expected}


@pytest.mark.parametrize("said", ["VKORC1 rs9923231 A/C", "VKORC1 C/T", "VKORC1 rs8050894 C/G", "VKORC1 -1639G>A detected"])
def test_a_vkorc1_result_that_could_mean_two_things_stays_unknown(said):
    assert values(genotype("VKORC1", said)) == {}


def test_the_typed_variant_counts_before_a_linked_one_and_the_latest_before_an_earlier_one():
    linked, old, new = (genotype("VKORC1", said, day, said) for said, day in (
        ("rs9934438 C/C", 9), ("rs9923231 C/C", 2), ("rs9923231 C/T", 5)))
    assert values(linked, new, old)["vkorc1_a_alleles"] == 1


def test_absence_follows_only_from_a_list_that_can_be_read_as_a_whole():
    assert values(condition("I48.0"))["has_diabetes"] == 0
    assert "has_diabetes" not in values(condition("49436004", SNOMED))
    assert "has_diabetes" not in values(condition("I48.0"), condition("38341003", SNOMED))
    assert values(condition("49436004", SNOMED))["for_atrial_fibrillation"] == 1


def test_refuted_is_absent_and_unconfirmed_is_unknown():
    assert values(condition("E11.9", verified="refuted"))["has_diabetes"] == 0
    assert "has_diabetes" not in values(condition("E11.9", verified="unconfirmed"), condition("I48.0"))


def test_the_drug_being_ordered_says_nothing_of_the_others():
    assert values(drug("B01AA03", status="draft", kind="MedicationRequest")) == {}
    assert values(drug("B01AA03"), drug("C10AA05"))["takes_amiodarone"] == 0


@pytest.mark.parametrize(("gene", "test", "said", "expected"), [
    ("CYP2C9", "CYP2C9 *2/*3", "*1/*1", {"cyp2c9_diplotype": 0}),
    ("CYP2C9", "CYP2C9 *2/*3", "wild type", {}),
    ("CYP2C9", "CYP2C9", "*1/*2 (not *1/*3)", {}),
    ("VKORC1", "VKORC1 c.-1639G/A", "A/A", {"vkorc1_a_alleles": 2}),
    ("VKORC1", "VKORC1 c.-1639G/A", "homozygous", {}),
])
def test_the_name_of_a_genetic_test_is_not_its_result(gene, test, said, expected):
    named = genotype(gene, said)
    named["code"] = {"text": test, **named["code"]}
    assert values(named) == expected


@pytest.mark.parametrize("status", ["stopped", "completed"])
def test_a_stopped_drug_that_acts_on_for_weeks_is_unknown(status):
    found = values(drug("C01BD01", status=status), drug("J04AB02", status=status), drug("C10AA05", status=status), drug("A02BC01"))
    assert not {"takes_amiodarone", "takes_enzyme_inducer"} & set(found)
    assert found["takes_statin"] == 0


def test_a_dose_given_by_a_nurse_does_not_say_that_the_drug_is_not_taken():
    given = drug("C10AA05", status="completed", kind="MedicationAdministration")
    assert "takes_statin" not in values(given, drug("A02BC01"))


def test_an_order_not_to_give_a_drug_is_no_drug():
    forbidden = drug("C01BD01", kind="MedicationRequest") | {"doNotPerform": True}
    assert values(forbidden, drug("A02BC01"))["takes_amiodarone"] == 0


def test_drugs_count_while_they_are_taken():
    assert values(drug("C01BD01", status="active", kind="MedicationRequest"))["takes_amiodarone"] == 1
    assert values(drug("703", RXNORM)) == {"takes_amiodarone": 1}
    assert "takes_amiodarone" not in values(drug("C01BD01", status="unknown"), drug("A02BC01"))


def test_a_drug_named_by_reference_is_found():
    medication = {"resourceType": "Medication", "id": "m1", "code": {"coding": [{"system": ATC, "code": "N03AF01"}]}}
    request = {"resourceType": "MedicationRequest", "id": "r1", "status": "active",
               "medicationReference": {"reference": "Medication/m1"}}
    assert values(medication, request)["takes_enzyme_inducer"] == 1


def test_the_latest_answer_on_smoking_counts():
    def asked(code: str, day: int) -> dict[str, Any]:
        return {"resourceType": "Observation", "id": code, "effectiveDateTime": f"2026-01-{day:02d}T08:00:00Z",
                "code": {"coding": [{"system": "http://loinc.org", "code": "72166-2"}]},
                "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": code}]}}

    assert values(asked("449868002", 1), asked("8517006", 9)) == {"smokes": 0}
    assert values(asked("266927001", 9), asked("449868002", 1)) == {"smokes": 1}


def test_every_fact_names_what_it_was_taken_from():
    bundle = Bundle({"Condition": (condition("I48.0"), condition("E11.9"))}, NOW, NOW)
    assert facts(bundle)["has_diabetes"].sources == ("Condition/E11.9",)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(("coding", "code", "system", "text", "display", "reference", "valueCodeableConcept")), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(alphabet="*/123ACGT rsVKORC1CYP2C9-6>", max_size=40))
def test_any_words_of_a_laboratory_are_read_or_left(said):
    for gene, code, highest in (("CYP2C9", "cyp2c9_diplotype", 5), ("VKORC1", "vkorc1_a_alleles", 2)):
        assert all(0 <= value <= highest for name, value in values(genotype(gene, said)).items() if name == code)


@given(st.sampled_from(("Observation", "Condition", "MedicationStatement", "MedicationRequest", "Medication")), st.dictionaries(
    st.sampled_from(("code", "valueCodeableConcept", "component", "verificationStatus", "status", "id", "effectiveDateTime",
                     "medicationCodeableConcept", "medicationReference", "valueString")), JSON, max_size=5))
def test_resources_of_any_shape_are_read_or_left(kind, content):
    assert set(values({**content, "resourceType": kind}).values()) <= {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}
