"""People on warfarin who never were, as FHIR R4 Bundles: what an EHR holds while the dose is ordered.

Two are scored (one needs little, one much), one without genotypes is scored with a wider interval, one is refused because
nobody weighed him. Every value was chosen by hand; no row of the cohort was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from math import isnan
from pathlib import Path
from typing import Any

from training.samples.bundles import IDENTIFIER_TYPES, LOINC, UCUM
from training.samples.wrap import INS_TEST_OID, Patient

VISIT = datetime(2026, 3, 3, 9, 30, tzinfo=timezone(timedelta(hours=1)))
ICD10, ATC, SNOMED = "http://hl7.org/fhir/sid/icd-10", "http://www.whocc.no/atc", "http://snomed.info/sct"
GENES = "http://www.genenames.org/geneId"
FOLDER = "warfarin_dose"
Json = dict[str, Any]
CONDITIONS = {
    "has_diabetes": ("E11.9", "Diabète de type 2"),
    "has_heart_failure": ("I50.0", "Insuffisance cardiaque congestive"),
    "for_venous_thrombosis": ("I82.4", "Thrombose veineuse"),
    "for_atrial_fibrillation": ("I48.1", "Fibrillation auriculaire"),
    "for_heart_valve": ("I34.0", "Insuffisance mitrale"),
    "for_stroke": ("I63.9", "Infarctus cérébral"),
}
DRUGS = {
    "takes_amiodarone": ("C01BD01", "amiodarone"),
    "takes_enzyme_inducer": ("N03AF01", "carbamazépine"),
    "takes_statin": ("C10AA05", "atorvastatine"),
    "takes_aspirin": ("B01AC06", "acide acétylsalicylique"),
}
VKORC1 = ("C/C", "C/T", "T/T")  # rs9923231 on the forward strand, by number of -1639 A alleles
CYP2C9 = ("*1/*1", "*1/*2", "*1/*3", "*2/*2", "*2/*3", "*3/*3")
NOTHING = {**dict.fromkeys(CONDITIONS, 0.0), **dict.fromkeys(DRUGS, 0.0), "smokes": 0.0}
LOW_DOSE = {
    **NOTHING, "age_years": 79, "male": 0.0, "height_cm": 158, "Weight": 54, "vkorc1_a_alleles": 2, "cyp2c9_diplotype": 2,
    "takes_amiodarone": 1.0, "for_atrial_fibrillation": 1.0, "has_heart_failure": 1.0,
}
HIGH_DOSE = {
    **NOTHING, "age_years": 42, "male": 1.0, "height_cm": 183, "Weight": 96, "vkorc1_a_alleles": 0, "cyp2c9_diplotype": 0,
    "smokes": 1.0, "for_venous_thrombosis": 1.0,
}
UNTYPED = {
    **NOTHING, "age_years": 66, "male": 1.0, "height_cm": 174, "Weight": 81, "for_atrial_fibrillation": 1.0,
    "takes_statin": 1.0,
}
UNWEIGHED = {name: value for name, value in LOW_DOSE.items() if name != "Weight"}
SAMPLES: Mapping[str, tuple[Mapping[str, float], Patient]] = {
    "low-dose": (LOW_DOSE, Patient("TEST^MARCELLE", "DIA-TEST-301", "19460718", "F", "2460799000001", "079Y")),
    "high-dose": (HIGH_DOSE, Patient("TEST^BASTIEN", "DIA-TEST-302", "19831012", "M", "1831099000002", "042Y")),
    "genotype-unknown": (UNTYPED, Patient("TEST^GILBERT", "DIA-TEST-303", "19591205", "M", "1591299000003", "066Y")),
    "no-weight": (UNWEIGHED, Patient("TEST^MARCELLE", "DIA-TEST-301", "19460718", "F", "2460799000001", "079Y")),
}

_SCORED = {"model": FOLDER, "status": "scored"}
EXPECTED: Mapping[str, Json] = {
    f"{FOLDER}/low-dose.json": {**_SCORED, "note": "Made-up patient: VKORC1 A/A, CYP2C9 *1/*3, amiodarone"},
    f"{FOLDER}/high-dose.json": {**_SCORED, "note": "Made-up patient: young, heavy, VKORC1 G/G"},
    f"{FOLDER}/genotype-unknown.json": {**_SCORED, "note": "Made-up patient without genotypes: a wider interval"},
    f"{FOLDER}/no-weight.json": {
        "model": FOLDER, "status": "refused", "reason": "too_few_measurements", "note": "The low-dose patient, not weighed"},
}


def make(out: Path, seed: int) -> list[Path]:  # noqa: ARG001  nothing is drawn; the other samples take a seed
    """Write the samples under ``out`` and return the files."""
    files = []
    for name, (values, patient) in SAMPLES.items():
        path = out / FOLDER / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(bundle(values, patient), ensure_ascii=False, separators=(",", ":"))
        path.write_text(content + "\n", encoding="utf-8")
        files.append(path)
    return files


def bundle(values: Mapping[str, float], patient: Patient | None = None) -> Json:
    """Write what is known of one person, by our codes, as a collection Bundle; NaN or absent is unknown.

    Of a list that is sent, an unknown diagnosis is one not confirmed and an unknown drug one nobody could say.
    """
    known = {name: value for name, value in values.items() if not isnan(value)}
    resources = [
        _patient(known, patient), _encounter(), *_genotypes(known), *_measured(known), *_diagnoses(known), *_drugs(known),
    ]
    entries = [{"fullUrl": f"https://diaphane.example/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "collection", "timestamp": VISIT.isoformat(), "entry": entries}


def _patient(known: Mapping[str, float], patient: Patient | None) -> Json:
    found: Json = {"resourceType": "Patient", "id": "p1"}
    if "age_years" in known:
        found["birthDate"] = date(VISIT.year - int(known["age_years"]), 1, 1).isoformat()
    if "male" in known:
        found["gender"] = "male" if known["male"] else "female"
    if patient is not None:
        family, given = patient.name.split("^")
        found["birthDate"] = f"{patient.birth[:4]}-{patient.birth[4:6]}-{patient.birth[6:]}"
        found["name"] = [{"use": "official", "family": family, "given": [given]}]
        found["identifier"] = [{
            "use": "official", "system": f"urn:oid:{INS_TEST_OID}", "value": patient.matricule,
            "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": "INS-NIR-TEST"}]},
        }]
    return found


def _encounter() -> Json:
    return {
        "resourceType": "Encounter", "id": "e1", "status": "in-progress", "subject": {"reference": "Patient/p1"},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "period": {"start": VISIT.isoformat()},
    }


def _genotypes(known: Mapping[str, float]) -> Iterator[Json]:
    """Yield genotypes as HL7 Genomics Reporting writes them."""
    for gene, code, number, names, before in (
        ("CYP2C9", "HGNC:2623", known.get("cyp2c9_diplotype"), CYP2C9, "CYP2C9 "),
        ("VKORC1", "HGNC:23663", known.get("vkorc1_a_alleles"), VKORC1, "VKORC1 rs9923231 "),
    ):
        if number is not None:
            yield {
                **_observation(f"gene-{gene.lower()}", "84413-4", "Genotype display name", "laboratory"),
                "valueCodeableConcept": {"text": before + names[int(number)]},
                "component": [{
                    "code": {"coding": [{"system": LOINC, "code": "48018-6", "display": "Gene studied [ID]"}]},
                    "valueCodeableConcept": {"coding": [{"system": GENES, "code": code, "display": gene}]},
                }],
            }


def _measured(known: Mapping[str, float]) -> Iterator[Json]:
    for code, loinc, name, unit in (("Weight", "29463-7", "Poids", "kg"), ("height_cm", "8302-2", "Taille", "cm")):
        if code in known:
            yield {
                **_observation(code.lower().replace("_", "-"), loinc, name, "vital-signs"),
                "valueQuantity": {"value": known[code], "unit": unit, "system": UCUM, "code": unit},
            }
    if "smokes" in known:
        code, name = ("77176002", "Fumeur") if known["smokes"] else ("266919005", "N'a jamais fumé")
        yield {
            **_observation("smoking", "72166-2", "Tabagisme", "social-history"),
            "valueCodeableConcept": {"coding": [{"system": SNOMED, "code": code}], "text": name},
        }


def _diagnoses(known: Mapping[str, float]) -> Iterator[Json]:
    """Yield a problem list in ICD-10, when any diagnosis is known; one known to be absent is left out if another says so."""
    if not any(name in known for name in CONDITIONS):
        return
    present = any(known.get(name) == 1 for name in CONDITIONS)
    for name, (code, said) in CONDITIONS.items():
        verified = {None: "unconfirmed", 1.0: "confirmed", 0.0: "refuted"}[known.get(name)]
        if verified == "refuted" and present:
            continue
        yield {
            "resourceType": "Condition", "id": name.replace("_", "-"), "subject": {"reference": "Patient/p1"},
            "verificationStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": verified}]},
            "code": {"coding": [{"system": ICD10, "code": code}], "text": said},
            **({"clinicalStatus": {"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]}}
               if verified == "confirmed" else {}),
        }


def _drugs(known: Mapping[str, float]) -> Iterator[Json]:
    """Yield a list of drugs in ATC, when any is known."""
    if not any(name in known for name in DRUGS):
        return
    present = any(known.get(name) == 1 for name in DRUGS)
    for name, (code, said) in DRUGS.items():
        status = {None: "unknown", 1.0: "active", 0.0: "not-taken"}[known.get(name)]
        if status == "not-taken" and present:
            continue
        yield {
            "resourceType": "MedicationStatement", "id": name.replace("_", "-"), "status": status,
            "subject": {"reference": "Patient/p1"}, "dateAsserted": VISIT.isoformat(),
            "medicationCodeableConcept": {"coding": [{"system": ATC, "code": code}], "text": said},
        }


def _observation(name: str, code: str, said: str, category: str) -> Json:
    return {
        "resourceType": "Observation", "id": name, "status": "final",
        "category": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": category}]}],
        "code": {"coding": [{"system": LOINC, "code": code}], "text": said},
        "subject": {"reference": "Patient/p1"}, "effectiveDateTime": VISIT.isoformat(),
    }
