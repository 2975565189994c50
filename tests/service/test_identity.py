"""Identities: the INS key to the letter, and no match on a wrong key, an unqualified identity or a name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from service.identity import (
    Environment,
    Identity,
    Match,
    Mismatch,
    Person,
    Traits,
    ins_identity,
    ins_key,
    local_identity,
    mismatch_text,
    same_person,
)
from service.persons import (
    INS_PROFILE,
    RELIABILITY,
    STATUS_SYSTEM,
    STATUS_SYSTEMS,
    identities_of_dataset,
    identities_of_patient,
    person_of_dataset,
    person_of_patient,
    person_of_pid,
    traits_of_patient,
    write_patient,
)
from tests.make import data_root, needs_data, radiograph_dataset
from tests.service.dicom.tell import hospital

NIR, NIA, TEST, DEMO, OLD = (f"1.2.250.1.213.1.4.{n}" for n in (8, 9, 10, 11, 2))
PAT = "279035121518989"  # a fictitious identity of the public test set, under the test OID


def keyed(nir13: str) -> str:
    return nir13 + ins_key(nir13)


# The key --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("matricule", ["279035121518989", "277076322082910", "146026322000196"])
def test_the_key_of_public_test_identities_is_right(matricule: str) -> None:
    assert matricule[13:] == ins_key(matricule[:13])


CASES: list[tuple[str, str, str | None, str]] = [
    (PAT, TEST, "VALI", ""), (PAT, NIR, "VALI", ""), (PAT, NIA, "VALI", ""), (PAT, DEMO, "VALI", ""),
    (PAT, OLD, "VALI", "obsolete"), (PAT, OLD, None, "obsolete"),
    (PAT, TEST, None, "status_not_stated"), (PAT, TEST, "PROV", "not_qualified"), (PAT, TEST, "DOUT", "not_qualified"),
    (PAT, TEST, "FICT", "not_qualified"), (PAT, TEST, "VIDE", "not_qualified"), (PAT, TEST, "vali", "not_qualified"),
    (PAT, TEST, "", "not_qualified"), (PAT, TEST, "unknown", "not_qualified"),
    ("279035121518988", TEST, "VALI", "wrong_key"), ("279035121518998", TEST, "VALI", "wrong_key"),
    ("297035121518989", TEST, "VALI", "wrong_key"), ("279035121518900", TEST, "VALI", "wrong_key"),
    ("2 79 03 51 215 189 89", TEST, "VALI", ""), ("2\u00a079\u202f03 51215 189 89 ", TEST, "VALI", ""),
    ("27903512151898", TEST, "VALI", "wrong_form"), ("2790351215189890", TEST, "VALI", "wrong_form"),
    ("2790351215189", TEST, "VALI", "wrong_form"), ("", TEST, "VALI", "wrong_form"), ("x" * 15, TEST, "VALI", "wrong_form"),
    ("27903512151898a", TEST, "VALI", "wrong_form"), ("279035121518\u0661\u0661\u0661", TEST, "VALI", "wrong_form"),
    ("123456789012244", TEST, "VALI", "wrong_form"),  # month 45: printed in a French guide as an example
    (keyed("1990126004001"), NIR, "VALI", ""),
    (keyed("199012A004001"), NIR, "VALI", ""), (keyed("199012B004001"), NIR, "VALI", ""),
    (keyed("199012A004001").lower(), NIR, "VALI", ""),
    ("199012C00400112", NIR, "VALI", "wrong_form"), ("1990A2900400112", NIR, "VALI", "wrong_form"),
    (keyed("199012A004001")[:13] + ins_key("1990120004001"), NIR, "VALI", "wrong_key"),
    (keyed("1992026004001"), NIR, "VALI", ""), (keyed("1995026004001"), NIR, "VALI", ""), (keyed("1999926004001"), NIR, "VALI", ""),
    (keyed("1991326004001"), NIR, "VALI", "wrong_form"), (keyed("1990026004001"), NIR, "VALI", "wrong_form"),
    (keyed("1994326004001"), NIR, "VALI", "wrong_form"), (keyed("1990199100001"), NIR, "VALI", ""),
    (keyed("7990126004001"), NIR, "VALI", "wrong_form"), (keyed("7990126004001"), NIA, "VALI", ""),
    (keyed("3990126004001"), NIA, "VALI", ""), (keyed("8990126004001"), TEST, "VALI", ""),
    (keyed("5990126004001"), NIA, "VALI", "wrong_form"), (keyed("0990126004001"), NIA, "VALI", "wrong_form"),
    (keyed("9990126004001"), NIR, "VALI", "wrong_form"),
]


@pytest.mark.parametrize(("matricule", "oid", "status", "reason"), CASES)
def test_an_ins_is_judged(matricule: str, oid: str, status: str | None, reason: str) -> None:
    judged = ins_identity(matricule, oid, status=status)
    assert (reason, not reason) == (judged.reason, judged.qualified)


def test_corsica_counts_as_19_and_18() -> None:
    assert ins_key("199012A004001") == ins_key("1990119004001")
    assert ins_key("199012B004001") == ins_key("1990118004001")


def test_a_remainder_of_zero_gives_the_key_97() -> None:
    body = next(n for n in range(1990126004000, 1990126004999) if n % 97 == 0)
    assert "97" == ins_key(str(body))
    assert ins_identity(f"{body}97", NIR, status="VALI").qualified
    assert not ins_identity(f"{body}00", NIR, status="VALI").qualified


@given(st.integers(0, 999_999), st.sampled_from(["12", "2A", "2B", "99"]), st.sampled_from("12"), st.integers(0, 96))
def test_one_key_of_97_is_right(rank: int, department: str, sex: str, shift: int) -> None:
    nir = f"{sex}9001{department}{rank:06d}"
    wrong = f"{(int(ins_key(nir)) + shift - 1) % 97 + 1:02d}"
    assert (shift == 0) == ins_identity(nir + wrong, NIR, status="VALI").qualified


@given(st.integers(0, 12), st.sampled_from("0123456789"))
def test_any_one_digit_that_is_wrong_is_found(place: int, digit: str) -> None:
    typed = PAT[:place] + digit + PAT[place + 1:]
    assert (typed == PAT) == ins_identity(typed, TEST, status="VALI").qualified


@given(st.text(max_size=40), st.sampled_from([NIR, NIA, TEST, DEMO, OLD]), st.one_of(st.none(), st.text(max_size=6)))
def test_no_text_makes_the_judge_stumble(matricule: str, oid: str, status: str | None) -> None:
    judged = ins_identity(matricule, oid, status=status)
    assert judged.qualified == (judged.reason == "")


# Who is who -----------------------------------------------------------------------------------------------------------


def ins(matricule: str = PAT, oid: str = TEST, status: str | None = "VALI") -> Identity:
    return ins_identity(matricule, oid, status=status)


def person(*identities: Identity, sex: Any = "F", born: str = "19790328", name: str = "PAT-TROIS", usual: str = "",
           replaced: bool = False) -> Person:
    return Person(Traits(birth_name=name, given="DOMINIQUE", usual_name=usual, birth_date=born, sex=sex), identities, replaced)


IPP = local_identity("0042", "1.2.250.1.999.7")
OTHER_TEST = ins(keyed("1990126004001"))
PAIRS: list[tuple[str, Person, Person, Environment, Match | Mismatch]] = [
    ("same INS", person(ins()), person(ins()), "test", Match("ins")),
    ("same INS with blanks", person(ins("2 79 03 51 215 189 89")), person(ins()), "test", Match("ins")),
    ("a test INS in production", person(ins()), person(ins()), "production", Mismatch("wrong_environment")),
    ("a production INS in test", person(ins(oid=NIR)), person(ins(oid=NIR)), "test", Mismatch("wrong_environment")),
    ("a production INS", person(ins(oid=NIR)), person(ins(oid=NIR)), "production", Match("ins")),
    ("NIR against NIA", person(ins(oid=NIR)), person(ins(oid=NIA)), "production", Mismatch("no_common_identifier")),
    ("other INS", person(ins()), person(OTHER_TEST), "test", Mismatch("other_ins")),
    ("other INS though the number is shared", person(ins(), IPP), person(OTHER_TEST, IPP), "test", Mismatch("other_ins")),
    ("wrong key on both", person(ins(PAT[:13] + "88")), person(ins(PAT[:13] + "88")), "test", Mismatch("wrong_key")),
    ("wrong key in the record", person(ins()), person(ins(PAT[:13] + "88")), "test", Mismatch("wrong_key")),
    ("not qualified on both", person(ins(status="PROV")), person(ins(status="PROV")), "test", Mismatch("not_qualified")),
    ("no status", person(ins()), person(ins(status=None)), "test", Mismatch("not_qualified")),
    ("INS-C", person(ins(oid=OLD)), person(ins(oid=OLD)), "production", Mismatch("not_qualified")),
    ("same number, same issuer", person(IPP), person(IPP), "test", Match("local")),
    ("wrong key but same number", person(ins(PAT[:13] + "88"), IPP), person(ins(), IPP), "test", Match("local")),
    ("same number, other issuer", person(IPP), person(local_identity("0042", "1.2.250.1.999.8")), "test",
     Mismatch("no_common_identifier")),
    ("same issuer, other number", person(IPP), person(local_identity("0043", "1.2.250.1.999.7")), "test",
     Mismatch("other_identifier")),
    ("leading noughts count", person(IPP), person(local_identity("42", "1.2.250.1.999.7")), "test", Mismatch("other_identifier")),
    ("no issuer on either side", person(local_identity("0042", "")), person(local_identity("0042", "")), "test",
     Mismatch("no_common_identifier")),
    ("the name alone", person(), person(), "test", Mismatch("no_common_identifier")),
    ("other sex", person(ins()), person(ins(), sex="M"), "test", Mismatch("other_sex")),
    ("sex not known", person(ins(), sex=""), person(ins()), "test", Match("ins")),
    ("sex other", person(ins(), sex="O"), person(ins()), "test", Match("ins")),
    ("other birth date", person(ins()), person(ins(), born="19790327"), "test", Mismatch("other_birth_date")),
    ("birth date by year", person(ins(), born="1979"), person(ins()), "test", Match("ins")),
    ("other year", person(IPP, born="1978"), person(IPP), "test", Mismatch("other_birth_date")),
    ("birth date not known", person(IPP, born=""), person(IPP), "test", Match("local")),
    ("other name", person(ins(), name="AUTRE"), person(ins()), "test", Match("ins", ("name_differs",))),
    ("usual name on the image", person(ins(), name="DUPONT"), person(ins(), usual="Dupont"), "test", Match("ins")),
    ("accents and hyphens", person(ins(), name="Pât Trois"), person(ins()), "test", Match("ins")),
    ("record replaced", person(ins()), person(ins(), replaced=True), "test", Mismatch("replaced")),
    ("nobody", Person.nobody(), Person.nobody(), "test", Mismatch("no_common_identifier")),
    ("two INS on one side", person(ins(), OTHER_TEST), person(ins()), "test", Mismatch("other_ins")),
    ("two INS on one side though the number is shared", person(ins(), OTHER_TEST, IPP), person(ins(), IPP), "test",
     Mismatch("other_ins")),
    ("the same INS twice on one side", person(ins(), ins()), person(ins()), "test", Match("ins")),
]


@pytest.mark.parametrize(("image", "record", "accept", "expected"), [case[1:] for case in PAIRS], ids=[case[0] for case in PAIRS])
def test_image_and_record(image: Person, record: Person, accept: Environment, expected: Match | Mismatch) -> None:
    assert expected == same_person(image, record, accept=accept)


@pytest.mark.parametrize(("image", "record", "accept", "expected"), [case[1:] for case in PAIRS], ids=[case[0] for case in PAIRS])
def test_it_makes_no_difference_which_is_which(image: Person, record: Person, accept: Environment,
                                               expected: Match | Mismatch) -> None:
    assert expected == same_person(record, image, accept=accept)


def test_an_issuer_can_be_named_in_two_ways_when_the_site_says_so() -> None:
    image, record = person(local_identity("0042", "CHU")), person(IPP)
    assert Mismatch("no_common_identifier") == same_person(image, record)
    assert Match("local") == same_person(image, record, issuers={"CHU": "urn:oid:1.2.250.1.999.7"})


def test_the_reason_names_nobody_and_is_said_in_both_languages() -> None:
    reasons = {expected for *_, expected in PAIRS if isinstance(expected, Mismatch)}
    said = {mismatch_text(one, "en") for one in reasons} | {mismatch_text(one, "fr") for one in reasons}
    assert len(said) == 2 * len(reasons)
    assert not any(word in text for text in said for word in (PAT, "PAT-TROIS", "0042", "1979"))


# Readers --------------------------------------------------------------------------------------------------------------


@needs_data
def test_the_fr_core_patient_of_the_samples_is_read_whole() -> None:
    patient = json.loads((data_root() / "interop/fhir-samples/ok/patient.json").read_text("utf-8"))
    read = person_of_patient(patient)
    assert Traits("PAT-TROIS", "DOMINIQUE", "DOMINIQUE MARIE-LOUISE", "", "19790328", "F", "51215") == read.traits
    assert read.ins("test") == ins()
    assert read.ins("production") is None
    assert ("local", "1234567890121") == (read.identities[1].kind, read.identities[1].matricule)


@needs_data
def test_a_matricule_with_a_wrong_key_is_read_and_never_used() -> None:
    patient = json.loads((data_root() / "interop/fhir-samples/bad/pat_ins_bad_key.json").read_text("utf-8"))
    assert ["wrong_key", "local"] == [one.reason for one in identities_of_patient(patient)]
    assert person_of_patient(patient).ins("test") is None


@needs_data
def test_the_public_hl7_message_is_read() -> None:
    message = (data_root() / "interop/hl7v2-ans/teleradiologie/flux3_ORU_R01_reponse.hl7").read_text("utf-8")
    segment = next(line for line in message.splitlines() if line.startswith("PID"))
    read = person_of_pid(segment)
    assert Traits("PAT-TROIS", "DOMINIQUE", "DOMINIQUE", "", "19790328", "F", "63220") == read.traits
    assert read.ins("test") == ins()


def patient(status: str = "VALI", system: str = STATUS_SYSTEM, use: str = "official", **more: Any) -> dict[str, Any]:
    coding = {"url": "identityStatus", "valueCoding": {"system": system, "code": status}}
    return {"resourceType": "Patient", "extension": [{"url": RELIABILITY, "extension": [coding]}],
            "identifier": [{"use": use, "system": f"urn:oid:{TEST}", "value": PAT}], **more}


@pytest.mark.parametrize(("resource", "reason"), [
    (patient(), ""), (patient("PROV"), "not_qualified"), (patient("DOUT"), "not_qualified"), (patient(use="usual"), "not_qualified"),
    (patient(system="http://elsewhere.example/0445"), "not_qualified"), ({**patient(), "extension": []}, "status_not_stated"),
    (patient(identifier=[{"use": "official", "system": f"URN:OID:{TEST}", "value": PAT}]), ""),
    (patient(identifier=[{"use": "official", "system": f"urn:oid:{TEST}", "value": PAT},
                         {"use": "official", "system": "urn:x", "value": "1"}]), "several_official"),
])
def test_only_a_validated_official_identity_is_qualified(resource: dict[str, Any], reason: str) -> None:
    assert reason == identities_of_patient(resource)[0].reason


@pytest.mark.parametrize("system", sorted(STATUS_SYSTEMS))
def test_the_status_is_known_under_each_name_its_code_system_has_had(system: str) -> None:
    assert identities_of_patient(patient(system=system))[0].qualified


def test_an_old_identifier_is_left_out_and_a_replaced_record_is_noticed() -> None:
    assert () == identities_of_patient({"identifier": [{"use": "old", "system": "urn:oid:1.2.3", "value": "7"}]})
    assert person_of_patient({"link": [{"type": "replaced-by"}]}).replaced


_JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8),
                     lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                         st.sampled_from(["identifier", "system", "value", "name", "extension", "url", "use", "given", "family",
                                          "birthDate", "gender", "link", "valueCoding", "valueAddress"]), inner, max_size=4))


@given(st.dictionaries(st.sampled_from(["identifier", "name", "extension", "birthDate", "gender", "link"]), _JSON, max_size=6))
def test_no_patient_resource_makes_the_reader_stumble(resource: dict[str, Any]) -> None:
    read = person_of_patient(resource)
    assert read.ins("production") is None
    assert write_patient(read)["resourceType"] == "Patient"


@given(st.text(alphabet="PID|^~\\&FSTRE0123456789.Lé\r\n", max_size=120), st.text(max_size=5))
def test_no_segment_makes_the_reader_stumble(segment: str, encoding: str) -> None:
    assert person_of_pid("PID" + segment, encoding=encoding).ins("test") is None


def test_an_image_carries_local_number_and_ins() -> None:
    read = person_of_dataset(hospital(radiograph_dataset()))
    assert [("CANARI-0001", "CHU"), (PAT, TEST)] == [(one.matricule, one.authority) for one in read.identities]
    assert ("CANARI-NÉ", "Élodie", "20230228", "F") == (read.traits.birth_name, read.traits.given, read.traits.birth_date,
                                                       read.traits.sex)
    assert read.ins("test") is not None


def test_an_ins_named_without_its_oid_is_a_local_number() -> None:
    dataset = Dataset()
    dataset.PatientID, dataset.IssuerOfPatientID = PAT, "ASIP-SANTE-INS-NIR"
    [found] = identities_of_dataset(dataset)
    assert ("local", False) == (found.kind, found.qualified)


def test_an_image_without_a_patient_is_of_nobody() -> None:
    assert Person.nobody() == person_of_dataset(Dataset())


def test_escapes_of_hl7_are_undone() -> None:
    read = person_of_pid("PID|||7^^^A\\T\\B||L\\S\\A^X^^^^^L||1979")
    assert ("L^A", "A&B", "1979") == (read.traits.birth_name, read.identities[0].issuer, read.traits.birth_date)


def test_what_hl7_says_is_deleted_is_not_known() -> None:
    assert Person.nobody() == person_of_pid('PID|||""^^^X||""^""^^^^^L||""|""')


# FR Core out ----------------------------------------------------------------------------------------------------------


WHOLE = Person(Traits("PAT-TROIS", "DOMINIQUE", "DOMINIQUE MARIE-LOUISE", "DURAND", "19790328", "F", "51215"), (ins(), IPP))


def test_a_patient_written_is_read_back_the_same() -> None:
    assert WHOLE == person_of_patient(write_patient(WHOLE, accept="test"))


def test_the_ins_profile_is_claimed_only_when_all_it_asks_for_is_there() -> None:
    assert [INS_PROFILE] == write_patient(WHOLE, accept="test")["meta"]["profile"]
    assert "meta" not in write_patient(Person(Traits("A", "B", sex="F", birth_date="1979"), (ins(),)), accept="test")


@pytest.mark.parametrize("identity", [ins(PAT[:13] + "88"), ins(status="PROV"), ins(oid=OLD), ins(oid=NIR)])
def test_what_may_not_be_sent_is_not_written(identity: Identity) -> None:
    written = write_patient(Person(WHOLE.traits, (identity, IPP)), accept="test")
    assert ["0042"] == [one["value"] for one in written["identifier"]]
    assert "PROV" == written["extension"][0]["extension"][0]["valueCoding"]["code"]


def test_what_is_written_keeps_the_invariants_of_fr_core() -> None:
    if not (data_root() / "interop/fr-core-2.2.0").is_dir():
        pytest.skip("the FR Core package is not here")
    from fhirpathpy import evaluate
    from fhirpathpy.models import models

    profile = json.loads((data_root() / "interop/fr-core-2.2.0/package/StructureDefinition-fr-core-patient-ins.json").read_text())
    rules = [rule for element in profile["differential"]["element"] for rule in element.get("constraint", [])]
    assert len(rules) == 3
    for one in (WHOLE, Person(WHOLE.traits, (IPP,))):
        written = write_patient(one, accept="test")
        assert {rule["key"]: [True] for rule in rules} == {rule["key"]: evaluate(written, rule["expression"], {}, models["r4"])
                                                           for rule in rules}


def test_traits_of_odd_dates_and_places_are_not_known() -> None:
    odd = {"birthDate": "28/03/1979", "gender": "F", "name": [{"use": "official", "family": " A ", "given": "B"}]}
    assert Traits(birth_name="A", sex="F") == traits_of_patient(odd)
    assert ["", "", "19000228", "20000229"] == [traits_of_patient({"birthDate": one}).birth_date for one in (
        "1979-02-31", "1900-02-29", "1900-02-28", "2000-02-29")]
