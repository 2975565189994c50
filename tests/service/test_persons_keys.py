"""Keys of persons: the same for one person wherever they are met, and never the same for two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from service.persons_keys import UNQUALIFIED, called, keys_of_dicom, keys_of_fhir, keys_typed, known_issuers
from service.site import Site
from service.store.store import Store
from tests.make_store import store_for

CHU, CLINIC = "https://chu.example/ipp", "https://clinic.example/id"
SITE = Site.model_validate({
    "identity": {"issuers": {"CHU": CHU, "1.2.3": CHU}}, "organisation": {"oid": "1.2.250.9"},
    "fhir_server": {"url": "https://fhir.example/r4"},
})
INS, TEST_OID = "279035121518989", "1.2.250.1.213.1.4.10"  # a test matricule with a right key


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_for(tmp_path_factory.mktemp("keys"))


def patient_of(identifier: str, issuer: str = "", oid: str = "") -> Dataset:
    dataset = Dataset()
    dataset.PatientID = identifier
    if issuer:
        dataset.IssuerOfPatientID = issuer
    if oid:
        qualifiers = Dataset()
        qualifiers.UniversalEntityID, qualifiers.UniversalEntityIDType = oid, "ISO"
        dataset.IssuerOfPatientIDQualifiersSequence = [qualifiers]
    return dataset


def fhir_patient(*identifiers: tuple[str, str], status: str = "") -> dict[str, Any]:
    told: list[dict[str, Any]] = [{"system": one, "value": value} for one, value in identifiers]
    patient: dict[str, Any] = {"resourceType": "Patient", "identifier": told}
    for one in told:
        if one["system"].endswith(TEST_OID):
            one["use"] = "official"
    if status:
        coding = {"system": "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0445", "code": status}
        patient["extension"] = [{"url": "https://hl7.fr/ig/fhir/core/StructureDefinition/fr-core-identity-reliability",
                                 "extension": [{"url": "identityStatus", "valueCoding": coding}]}]
    return patient


def test_image_and_record_of_one_person_meet_by_the_issuers_of_the_site(store: Store) -> None:
    by_name = keys_of_dicom(store, SITE, patient_of("12", "CHU"))
    assert by_name == keys_of_dicom(store, SITE, patient_of("12", "", "1.2.3"))
    assert by_name[0] == keys_of_fhir(store, SITE, fhir_patient((CHU, "12")), "Patient/7")[0]
    assert by_name == keys_typed(store, SITE, f"{CHU}|12") == keys_typed(store, SITE, "12", "CHU")


def test_same_number_of_two_hospitals_is_two_people(store: Store) -> None:
    told = [
        keys_of_dicom(store, SITE, patient_of("12", "CHU")), keys_of_dicom(store, SITE, patient_of("12", "CLINIC")),
        keys_of_dicom(store, SITE, patient_of("12")), keys_of_fhir(store, SITE, fhir_patient((CLINIC, "12")), ""),
        keys_of_fhir(store, SITE, fhir_patient(("", "12")), "")[:0] + keys_typed(store, SITE, "Patient/12"),
    ]
    assert len({key for keys in told for key in keys}) == sum(map(len, told)) == 5


def test_identifier_without_issuer_is_never_taken_for_one_with(store: Store) -> None:
    assert keys_typed(store, SITE, "12") == keys_of_dicom(store, SITE, patient_of("12"))
    assert not set(keys_typed(store, SITE, "12")) & set(keys_typed(store, SITE, "12", CHU))


def test_ins_is_found_in_images_records_and_by_hand(store: Store) -> None:
    (of_image,) = keys_of_dicom(store, SITE, patient_of(INS, oid=TEST_OID))
    of_record = keys_of_fhir(store, SITE, fhir_patient((CHU, "12"), (f"urn:oid:{TEST_OID}", INS), status="VALI"), "Patient/1")
    assert of_image == of_record[0], "the INS is the primary key, wherever it stands"
    assert of_image in keys_typed(store, SITE, "2 79 03 51 215 189 89")
    assert (of_image,) == keys_typed(store, SITE, INS, f"urn:oid:{TEST_OID}")


def test_ins_that_may_not_be_matched_on_matches_nobody(store: Store) -> None:
    qualified = keys_of_dicom(store, SITE, patient_of(INS, oid=TEST_OID))[0]
    doubtful = [
        keys_of_fhir(store, SITE, fhir_patient((f"urn:oid:{TEST_OID}", INS)), "")[0],  # nobody says that it is qualified
        keys_of_fhir(store, SITE, fhir_patient((f"urn:oid:{TEST_OID}", INS), status="PROV"), "")[0],
        keys_of_dicom(store, SITE, patient_of(INS[:-1] + "8", oid=TEST_OID))[0],  # a wrong key
        keys_of_dicom(store, SITE, patient_of(INS, oid="1.2.250.1.213.1.4.8"))[0],  # of real people, at a site of tests
        keys_of_dicom(store, SITE, patient_of(INS))[0],  # without its OID it is a number like others
    ]
    assert qualified not in doubtful
    assert doubtful[0] == doubtful[1]
    assert 4 == len(set(doubtful))


def test_reference_is_one_of_the_sites_own_server_however_it_is_written(store: Store) -> None:
    alone = keys_of_fhir(store, SITE, None, "Patient/12")
    assert alone == keys_of_fhir(store, SITE, None, "https://fhir.example/r4/Patient/12")
    assert alone == keys_typed(store, SITE, "Patient/12")
    assert alone != keys_of_fhir(store, SITE, None, "https://other.example/r4/Patient/12")
    assert alone[0] == keys_of_fhir(store, SITE, fhir_patient((CHU, "12")), "Patient/12")[-1]
    assert () == keys_of_fhir(store, SITE, None, "")


def test_dicom_json_gives_the_keys_of_its_data_set(store: Store) -> None:
    for one in (patient_of("12", "CHU"), patient_of("É 12", "", "1.2.3"), patient_of(INS, oid=TEST_OID)):
        assert keys_of_dicom(store, SITE, one) == keys_of_dicom(store, SITE, one.to_json_dict())


@pytest.mark.parametrize("attributes", [
    {}, {"00100020": {}}, {"00100020": {"vr": "LO", "Value": []}},
    {"00100024": {"vr": "SQ", "Value": ["x"]}},
])
def test_malformed_attributes_name_nobody(store: Store, attributes: dict[str, Any]) -> None:
    assert () == keys_of_dicom(store, SITE, attributes)


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
@settings(max_examples=60, deadline=None)
def test_only_the_same_identifier_of_the_same_issuer_has_the_same_key(
    store: Store, one: str, of_one: str, other: str, of_other: str,
) -> None:
    plain = Site()
    mine, theirs = keys_typed(store, plain, one, of_one), keys_typed(store, plain, other, of_other)
    if mine and mine == theirs:
        assert (one.strip(), of_one.strip()) == (other.strip(), of_other.strip()) or "urn:oid:" in (of_one + of_other).lower() or \
            not (one + of_one + other + of_other).isascii()


def test_keys_of_another_store_are_others(store: Store, tmp_path: Path) -> None:
    other = store_for(tmp_path)
    assert keys_typed(store, SITE, "12", CHU) != keys_typed(other, SITE, "12", CHU)
    other.close()


def test_known_issuers_are_those_the_site_names() -> None:
    national = ("urn:oid:1.2.250.1.213.1.4.10", "urn:oid:1.2.250.1.213.1.4.11")
    assert (CHU, "urn:oid:1.2.250.9", *national, *(UNQUALIFIED + one for one in national)) == known_issuers(SITE)


def test_a_national_identity_that_nobody_checked_is_found_when_it_is_asked_for_as_such(store: Store) -> None:
    site = Site.model_validate({"identity": {"accept": "test"}})
    patient = {"resourceType": "Patient", "identifier": [{"system": f"urn:oid:{TEST_OID}", "value": INS}]}
    stated = keys_of_fhir(store, site, patient, "")
    assert stated != keys_typed(store, site, INS), "an identity that was not checked is nobody's who was"
    offered = [one for one in known_issuers(site) if keys_typed(store, site, INS, one) == stated]
    assert offered == [f"{UNQUALIFIED}urn:oid:{TEST_OID}"]
    assert called(offered[0], "en") == f"INS-NIR-TEST (urn:oid:{TEST_OID}), identity not qualified"
    assert keys_typed(store, site, INS, f"{UNQUALIFIED}1.2.3") == ()
