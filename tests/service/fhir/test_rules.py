"""The standard's invariants, each by its key: what breaks one is told, what keeps it is not."""

from typing import Any

import pytest

from service.fhir.judge import judge

Json = dict[str, Any]
WHO = {"reference": "Patient/1"}
UID = "1.2.826.0.1.3680043.8.498.2"
FR = "https://hl7.fr/ig/fhir/core/StructureDefinition/"


def study(**instance: Any) -> Json:
    series = {"uid": UID, "modality": {"code": "DX"}, "instance": [{"uid": UID, "sopClass": {"code": "x"}, **instance}]}
    return {"resourceType": "ImagingStudy", "status": "available", "subject": WHO, "series": [series]}


def condition(**more: Any) -> Json:
    return {"resourceType": "Condition", "subject": WHO, **more}


def coded(code: str) -> Json:
    return {"coding": [{"code": code}]}


def risk(**prediction: Any) -> Json:
    return {"resourceType": "RiskAssessment", "status": "final", "subject": WHO, "prediction": [prediction]}


def bundled(kind: str, *entries: Json, **more: Any) -> Json:
    return {"resourceType": "Bundle", "type": kind, **({"entry": list(entries)} if entries else {}), **more}


def communicated(content: Json) -> Json:
    return {"resourceType": "Communication", "status": "completed", "payload": [{"contentAttachment": content}]}


def dosed(repeat: Json) -> Json:
    return {"resourceType": "MedicationRequest", "status": "draft", "intent": "proposal", "subject": WHO,
            "medicationCodeableConcept": {"text": "x"}, "dosageInstruction": [{"timing": {"repeat": repeat}}]}


def observed(ratio: Json) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "valueRatio": ratio}


BASIC = {"resource": {"resourceType": "Basic", "code": {"text": "x"}}}
COMPOSITION = {"resource": {"resourceType": "Composition", "status": "preliminary", "type": {"text": "x"}, "date": "2026-03-01",
                            "author": [{"display": "x"}], "title": "x"}}


@pytest.mark.parametrize(
    ("broken", "told", "mended"),
    [
        (study(uid="1.02"), "ImagingStudy.series[0].instance[0].uid", study(uid=UID)),
        (study(uid="1." + "2" * 63), "ImagingStudy.series[0].instance[0].uid", study()),
        (study(sopClass={"system": "urn:ietf:rfc:3986", "code": "1.2"}), "ImagingStudy.series[0].instance[0].sopClass",
         study(sopClass={"system": "urn:ietf:rfc:3986", "code": "urn:oid:1.2"})),
        ({**study(), "identifier": [{"system": "urn:dicom:uid", "value": "1.2.3"}]}, "ImagingStudy.identifier[0].value",
         {**study(), "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.3"}]}),
        (condition(abatementDateTime="2026", clinicalStatus=coded("active")), "con-4",
         condition(abatementDateTime="2026", clinicalStatus=coded("resolved"))),
        (condition(clinicalStatus=coded("active"), verificationStatus=coded("entered-in-error")), "con-5",
         condition(verificationStatus=coded("entered-in-error"))),
        (risk(probabilityDecimal=-0.1), "ras-2", risk(probabilityDecimal=0)),
        (risk(probabilityDecimal=31), "per cent", risk(probabilityDecimal=1)),
        (risk(probabilityRange={"low": {"value": 1}, "high": {"value": 101}}), "ras-1",
         risk(probabilityRange={"low": {"value": 1}, "high": {"value": 100}})),
        ({"resourceType": "Patient", "contact": [{"gender": "male"}]}, "pat-1",
         {"resourceType": "Patient", "contact": [{"gender": "male", "name": {"text": "x"}}]}),
        ({"resourceType": "Patient", "telecom": [{"value": "1"}]}, "cpt-2",
         {"resourceType": "Patient", "telecom": [{"value": "1", "system": "phone"}]}),
        ({"resourceType": "Device", "identifier": [{"system": "urn:uuid:1", "value": "x"}]}, "Device.identifier[0].system",
         {"resourceType": "Device", "identifier": [{"system": "urn:uuid:0b4a3f2e-9c1d-4a57-8f0a-1f2e3d4c5b6a", "value": "x"}]}),
        ({"resourceType": "Device", "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:uuid:1"}]}, "whole URI",
         {"resourceType": "Device", "identifier": [{"system": "urn:ietf:rfc:3986", "value": "https://a.example/1"}]}),
        (communicated({"data": "eA=="}), "att-1", communicated({"data": "eA==", "contentType": "text/plain"})),
        (communicated({"data": "e", "contentType": "text/plain"}), "base64", communicated({"title": "x"})),
        (dosed({"duration": 1}), "tim-1", dosed({"duration": 1, "durationUnit": "d"})),
        (dosed({"period": 1, "periodUnit": "day"}), "MedicationRequest.dosageInstruction[0].timing.repeat.periodUnit",
         dosed({"period": 1, "periodUnit": "d"})),
        (dosed({"periodMax": 2}), "tim-6", dosed({"period": 1, "periodMax": 2, "periodUnit": "d"})),
        (dosed({"when": ["AC"], "timeOfDay": ["08:00:00"]}), "tim-10", dosed({"timeOfDay": ["08:00:00"]})),
        ({"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": WHO,
          "target": [{"detailString": "x"}]}, "gol-1",
         {"resourceType": "Goal", "lifecycleStatus": "active", "description": {"text": "x"}, "subject": WHO,
          "target": [{"detailString": "x", "measure": {"text": "x"}}]}),
        ({"resourceType": "AllergyIntolerance", "patient": WHO}, "ait-1",
         {"resourceType": "AllergyIntolerance", "patient": WHO, "clinicalStatus": coded("active")}),
        ({"resourceType": "Organization", "active": True}, "org-1", {"resourceType": "Organization", "name": "x"}),
        (observed({"numerator": {"value": 1}}), "rat-1", observed({"numerator": {"value": 1}, "denominator": {"value": 2}})),
        (bundled("collection", {**BASIC, "fullUrl": "https://a.example/Basic/1/_history/2"}), "bdl-8", bundled("collection", BASIC)),
        (bundled("document", COMPOSITION, timestamp="2026-03-01T10:00:00Z"), "bdl-9",
         bundled("document", COMPOSITION, timestamp="2026-03-01T10:00:00Z", identifier={"system": "urn:x", "value": "y"})),
        (bundled("document", COMPOSITION, identifier={"system": "urn:x", "value": "y"}), "bdl-10", bundled("batch")),
        (bundled("message", BASIC), "bdl-12", bundled("searchset", BASIC, total=1)),
    ],
)
def test_a_broken_invariant_is_told_and_a_kept_one_is_not(broken, told, mended):
    assert any(told == fault.expression or told in fault.message for fault in judge(broken))
    assert judge(mended) == []


def french(**changes: Any) -> Json:
    """Make a Patient that keeps every rule of fr-core-patient-ins, then change it."""
    insee = {"url": f"{FR}fr-core-address-insee-code", "valueCoding": {"code": "51215"}}
    status = {"url": "identityStatus", "valueCoding": {"code": "VALI"}}
    patient = {
        "resourceType": "Patient", "meta": {"profile": [f"{FR}fr-core-patient-ins"]}, "gender": "female", "birthDate": "1979-03-28",
        "extension": [
            {"url": f"{FR}fr-core-identity-reliability", "extension": [status]},
            {"url": "http://hl7.org/fhir/StructureDefinition/patient-birthPlace", "valueAddress": {"extension": [insee]}},
        ],
        "identifier": [{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.10", "value": "279035121518989"}],
        "name": [{"use": "official", "family": "TEST", "given": ["CAMILLE"], "extension": [
            {"url": f"{FR}fr-core-patient-birth-list-given-name", "valueString": "CAMILLE MARIE"}]}],
        **changes,
    }
    return {key: value for key, value in patient.items() if value is not None}


NAME = french()["name"][0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []), ({"gender": None}, ["Patient.gender"]), ({"birthDate": None}, ["Patient.birthDate"]),
        ({"name": [{**NAME, "given": ["A", "B"]}]}, ["Patient.name[0].given"]),
        ({"name": [{key: value for key, value in NAME.items() if key != "family"}]}, ["Patient.name[0].family"]),
        ({"name": [{key: value for key, value in NAME.items() if key != "extension"}]}, ["Patient.name[0].extension"]),
        ({"name": [NAME, NAME]}, ["Patient.name"]),
        ({"identifier": [{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.8", "value": "279035121518989"}]},
         ["Patient.identifier"]),  # the NIR needs its type too
        ({"identifier": [{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.8", "value": "279035121518989",
                          "type": {"coding": [{"code": "INS-NIR"}]}}]}, []),
        ({"identifier": None}, ["Patient.identifier"] * 3),
    ],
)
def test_a_french_patient_keeps_the_rules_of_the_ins(changes, told):
    assert [fault.expression for fault in judge(french(**changes))] == told


def test_an_unknown_place_of_birth_is_a_warning():
    patient = french()
    patient["extension"][1]["valueAddress"]["extension"][0]["valueCoding"]["code"] = "99999"
    assert [(fault.severity, fault.message[:9]) for fault in judge(patient)] == [("warning", "fr-core-3")]


@pytest.mark.parametrize("value", ["2790351215189", "27903512151898A", "２７９０３５１２１５１８９８９", 279035121518989, None])
def test_a_matricule_of_another_form_has_no_good_key(value):
    patient = french(identifier=[{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.10", "value": value}])
    assert "Patient.identifier[0].value" in [fault.expression for fault in judge(patient)]


def test_a_corsican_matricule_has_its_key():
    patient = french(identifier=[{"use": "official", "system": "urn:oid:1.2.250.1.213.1.4.10", "value": "100012A00400111"}])
    assert "Patient.identifier[0].value" not in [fault.expression for fault in judge(patient)]
