"""Visits to an emergency department that never happened, as FHIR R4 Bundles, for triage and for a whole department.

Two are scored (one of low, one of high risk), one is refused for a vital sign in the danger zone and one because no reason
for visit is coded. The department is drawn from marginal frequencies: no real visit was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from models.fhir.facts_ed import ARRIVAL_MODES, EMERGENCY, MODE_OF_ARRIVAL
from models.fhir.reasons_ed import SNOMED
from training.samples.bundles import IDENTIFIER_TYPES, LOINC, UCUM
from training.samples.wrap import INS_TEST_OID, Patient

ICD10 = "http://hl7.org/fhir/sid/icd-10"
CLASSES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
ARRIVED = datetime(2026, 2, 12, 10, 20, tzinfo=timezone(timedelta(hours=1)))
NO_DISEASE = (SNOMED, "160245001")
FOLDER = "ed_triage"
DEPARTMENT = "ed_demand/department.json"
Json = dict[str, Any]
# Our code → LOINC, French name, UCUM unit, decimals.
VITALS: Mapping[str, tuple[str, str, str, int]] = {
    "HR": ("8867-4", "Fréquence cardiaque", "/min", 0),
    "RespRate": ("9279-1", "Fréquence respiratoire", "/min", 0),
    "Temp": ("8310-5", "Température", "Cel", 2),
    "SaO2": ("59408-5", "SpO2", "%", 0),
    "Pain": ("72514-3", "Douleur (0 à 10)", "{score}", 0),
}
PRESSURES: Mapping[str, tuple[str, str]] = {
    "NISysABP": ("8480-6", "Pression systolique"), "NIDiasABP": ("8462-4", "Pression diastolique"),
}


@dataclass(frozen=True)
class Visit:
    """One visit. ``mode`` is a code of HL7 table 0430, "" unknown; ``vitals`` by our code, in our units.

    ``reasons`` and ``diseases`` are (system, code), the main reason first; ``diseases`` None: nothing is known of any.
    ``earlier``: days before this visit that others ended, None: no other is sent.
    """

    birth: date
    male: bool | None
    vitals: Mapping[str, float]
    reasons: Sequence[tuple[str, str]]
    arrived: datetime = ARRIVED
    mode: str = ""
    diseases: Sequence[tuple[str, str]] | None = None
    earlier: Sequence[float] | None = None
    patient: Patient | None = field(default=None, repr=False)
    number: int = 1


LOW_RISK = Visit(
    date(1998, 5, 14), male=True, mode="C",
    vitals={"HR": 74, "RespRate": 15, "Temp": 36.8, "SaO2": 99, "NISysABP": 124, "NIDiasABP": 76, "Pain": 4},
    reasons=[(SNOMED, "16001004")], diseases=[NO_DISEASE],
    patient=Patient("TEST^LUCIEN", "DIA-TEST-201", "19980514", "M", "1980599000001", "027Y"),
)
HIGH_RISK = Visit(
    date(1942, 11, 3), male=False, mode="A",
    vitals={"HR": 96, "RespRate": 20, "Temp": 36.4, "SaO2": 93, "NISysABP": 98, "NIDiasABP": 58},
    reasons=[(SNOMED, "267036007"), (SNOMED, "29857009"), (SNOMED, "84229001")],
    diseases=[(ICD10, "I50.0"), (ICD10, "J44.9"), (ICD10, "I25.1"), (ICD10, "I10"), (ICD10, "E11.9"), (ICD10, "N18.3")],
    patient=Patient("TEST^HORTENSE", "DIA-TEST-202", "19421103", "F", "2421199000002", "083Y"),
)
DANGER_ZONE = Visit(
    date(1971, 2, 20), male=True, mode="A",
    vitals={"HR": 128, "RespRate": 26, "Temp": 38.9, "SaO2": 90, "NISysABP": 101, "NIDiasABP": 60},
    reasons=[(SNOMED, "386661006"), (SNOMED, "49727002")], diseases=[NO_DISEASE],
    patient=Patient("TEST^ANSELME", "DIA-TEST-203", "19710220", "M", "1710299000003", "054Y"),
)
NO_REASON = Visit(
    date(1985, 8, 9), male=False, mode="F",
    vitals={"HR": 82, "RespRate": 16, "Temp": 37.0, "SaO2": 98, "NISysABP": 117, "NIDiasABP": 71}, reasons=[],
    patient=Patient("TEST^OPHELIE", "DIA-TEST-204", "19850809", "F", "2850899000004", "040Y"),
)
SAMPLES: Mapping[str, Visit] = {
    "low-risk": LOW_RISK, "high-risk": HIGH_RISK, "danger-zone": DANGER_ZONE, "no-reason-for-visit": NO_REASON,
}
EXPECTED: Mapping[str, Json] = {f"{FOLDER}/{name}.json": {"model": "ed_triage", **said} for name, said in {
    "low-risk": {"status": "scored", "above_threshold": False, "note": "Made-up visit for an earache"},
    "high-risk": {"status": "scored", "above_threshold": True, "note": "Made-up visit: short of breath, by ambulance"},
    "danger-zone": {"status": "refused", "reason": "out_of_distribution", "note": "Vital signs in the ESI danger zone"},
    "no-reason-for-visit": {"status": "refused", "reason": "too_few_measurements", "note": "No coded reason for visit"},
}.items()}
# What brings people, with the share of visits roughly: marginal frequencies of emergency departments, nobody's visit.
COMMON_REASONS: Mapping[str, float] = {
    "21522001": 0.16, "29857009": 0.10, "386661006": 0.08, "49727002": 0.08, "25064002": 0.07, "161891005": 0.07,
    "422400008": 0.07, "267036007": 0.06, "404640003": 0.05, "162397003": 0.05, "82271004": 0.05, "10601006": 0.05,
    "271807003": 0.04, "312608009": 0.04, "16001004": 0.03,
}
USUAL: Mapping[str, tuple[float, float]] = {
    "HR": (62, 99), "RespRate": (13, 20), "SaO2": (94, 100), "Temp": (36.2, 38.4), "NISysABP": (102, 168),
    "NIDiasABP": (60, 95), "Pain": (0, 9),
}


def make(out: Path, seed: int) -> list[Path]:
    """Write the samples and the department under ``out``; return the files. The same seed makes the same bytes."""
    files = {f"{FOLDER}/{name}.json": bundle(visit) for name, visit in SAMPLES.items()}
    files[DEPARTMENT] = department(seed)
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    return [out / name for name in files]


def department(seed: int, people: int = 24) -> Json:
    """Return what ``POST /v1/department`` takes: Bundles of made-up visits, and two years of made-up attendances."""
    rng = np.random.default_rng([seed, people])
    codes, weights = list(COMMON_REASONS), np.array(list(COMMON_REASONS.values()))
    present = []
    for number in range(people):
        age = int(rng.integers(9, 93))
        chosen = rng.choice(codes, size=int(rng.integers(1, 4)), replace=False, p=weights / weights.sum())
        vitals = {what: round(rng.uniform(low, high), 1 if what == "Temp" else None) for what, (low, high) in USUAL.items()}
        present.append(bundle(Visit(
            date(ARRIVED.year - age - 1, 6, 15), male=bool(rng.integers(2)), vitals=vitals,
            mode=str(rng.choice(["A", "C"], p=[0.2, 0.8])), reasons=[(SNOMED, str(code)) for code in chosen],
            arrived=ARRIVED - timedelta(minutes=10 * number), number=number + 1,
        )))
    months = [(2024 + t // 12, t % 12 + 1) for t in range(24)]
    visits = [round(3600 * (1 + 0.04 * np.sin(month * np.pi / 6) + 0.015 * rng.standard_normal())) for _, month in months]
    history = [{"month": f"{year}-{month:02d}", "attendances": count} for (year, month), count in zip(months, visits, strict=True)]
    return {"present": present, "history": history}


def bundle(visit: Visit) -> Json:
    """Write one visit as a collection Bundle."""
    resources = [_patient(visit), _encounter(visit), *_earlier(visit), *_diseases(visit), *_vitals(visit)]
    entries = [{"fullUrl": f"https://diaphane.example/{one['resourceType']}/{one['id']}", "resource": one} for one in resources]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _patient(visit: Visit) -> Json:
    found: Json = {"resourceType": "Patient", "id": f"p{visit.number}", "birthDate": visit.birth.isoformat()}
    if visit.male is not None:
        found["gender"] = "male" if visit.male else "female"
    if visit.patient is not None:
        family, given = visit.patient.name.split("^")
        found["name"] = [{"use": "official", "family": family, "given": [given]}]
        found["identifier"] = [{
            "use": "official", "system": f"urn:oid:{INS_TEST_OID}", "value": visit.patient.matricule,
            "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": "INS-NIR-TEST"}]},
        }]
    return found


def _encounter(visit: Visit) -> Json:
    found = {
        "resourceType": "Encounter", "id": f"e{visit.number}", "status": "in-progress",
        "class": {"system": CLASSES, "code": EMERGENCY}, "subject": _of(visit), "period": {"start": visit.arrived.isoformat()},
    }
    if visit.reasons:
        found["reasonCode"] = [{"coding": [{"system": system, "code": code}]} for system, code in visit.reasons]
    if visit.mode:
        found["extension"] = [{"url": MODE_OF_ARRIVAL, "valueCoding": {"system": ARRIVAL_MODES, "code": visit.mode}}]
    return found


def _earlier(visit: Visit) -> list[Json]:
    rows = []
    for place, days in enumerate(visit.earlier or ()):
        end = visit.arrived - timedelta(days=days)
        rows.append({
            "resourceType": "Encounter", "id": f"e{visit.number}-{place}", "status": "finished",
            "class": {"system": CLASSES, "code": EMERGENCY}, "subject": _of(visit),
            "period": {"start": (end - timedelta(hours=2)).isoformat(), "end": end.isoformat()},
        })
    return rows


def _diseases(visit: Visit) -> list[Json]:
    return [
        {
            "resourceType": "Condition", "id": f"c{visit.number}-{place}", "subject": _of(visit),
            "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}]},
            "code": {"coding": [{"system": system, "code": code}]},
        }
        for place, (system, code) in enumerate(visit.diseases or ())
    ]


def _vitals(visit: Visit) -> list[Json]:
    rows = [
        {**_observation(visit, what), "code": _concept(VITALS[what][0], VITALS[what][1]),
         "valueQuantity": _quantity(value, *VITALS[what][2:])}
        for what, value in visit.vitals.items() if what in VITALS
    ]
    parts = [
        {"code": _concept(*PRESSURES[what]), "valueQuantity": _quantity(value, "mm[Hg]", 0)}
        for what, value in visit.vitals.items() if what in PRESSURES
    ]
    panel = {**_observation(visit, "pressure"), "code": _concept("85354-9", "Pression artérielle"), "component": parts}
    return [*rows, panel] if parts else rows


def _observation(visit: Visit, what: str) -> Json:
    return {
        "resourceType": "Observation", "id": f"o{visit.number}-{what.lower()}", "status": "final", "subject": _of(visit),
        "encounter": {"reference": f"Encounter/e{visit.number}"}, "effectiveDateTime": visit.arrived.isoformat(),
        "category": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
    }


def _of(visit: Visit) -> Json:
    return {"reference": f"Patient/p{visit.number}"}


def _concept(code: str, name: str) -> Json:
    return {"coding": [{"system": LOINC, "code": code}], "text": name}


def _quantity(value: float, unit: str, decimals: int) -> Json:
    number = round(value, decimals)
    return {"value": int(number) if decimals == 0 else number, "unit": unit.replace("mm[Hg]", "mmHg"), "system": UCUM, "code": unit}
