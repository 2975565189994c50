"""Traces of a glucose sensor nobody wore, as FHIR R4 Bundles: one falling, one steady, one with too few readings.

Each is a line between stated values with a little noise; no trace of a subject was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from training.samples.bundles import IDENTIFIER_TYPES, LOINC, UCUM
from training.samples.wrap import INS_TEST_OID, Patient

STARTED = datetime(2026, 4, 7, 2, 0, tzinfo=timezone(timedelta(hours=2)))
FOLDER = "hypoglycaemia_60min"
MMOL = 18.0156  # mg/dL in one mmol/L of glucose
Json = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """Corners of a trace (minutes since the start, mg/dL), the minutes between readings, and the unit it is sent in."""

    corners: Sequence[tuple[float, float]]
    every_min: float
    patient: Patient
    unit: str = "mg/dL"


FALLING = Trace(
    ((0, 168), (90, 150), (180, 112), (225, 86), (240, 77)), 15,
    Patient("TEST^ODETTE", "DIA-TEST-401", "19580322", "F", "2580399000001", "068Y"),
)
STEADY = Trace(
    ((0, 142), (120, 156), (240, 149)), 5,
    Patient("TEST^RAOUL", "DIA-TEST-402", "19671130", "M", "1671199000002", "058Y"), "mmol/L",
)
TOO_FEW = Trace(
    ((0, 96), (30, 88)), 15, Patient("TEST^ODETTE", "DIA-TEST-401", "19580322", "F", "2580399000001", "068Y"),
)
SAMPLES: Mapping[str, Trace] = {"falling": FALLING, "steady": STEADY, "too-few-readings": TOO_FEW}

EXPECTED: Mapping[str, Json] = {
    f"{FOLDER}/falling.json": {
        "model": FOLDER, "status": "scored", "above_threshold": True, "note": "Made-up trace of 4 h that falls to 77 mg/dL"},
    f"{FOLDER}/steady.json": {
        "model": FOLDER, "status": "scored", "above_threshold": False, "note": "Made-up steady trace, every 5 min, in mmol/L"},
    f"{FOLDER}/too-few-readings.json": {
        "model": FOLDER, "status": "refused", "reason": "too_few_measurements", "note": "Three readings only"},
}


def make(out: Path, seed: int) -> list[Path]:
    """Write the samples under ``out`` and return the files. The same seed makes the same bytes."""
    files = []
    for name, trace in SAMPLES.items():
        path = out / FOLDER / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng([seed, *name.encode()])
        minutes = np.arange(0, trace.corners[-1][0] + 1, trace.every_min)
        values = np.interp(minutes, *zip(*trace.corners, strict=True)) + noise.normal(0, 1.2, len(minutes))
        content = bundle(minutes.tolist(), np.round(values, 0).tolist(), trace.patient, trace.unit)
        path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        files.append(path)
    return files


def bundle(minutes: Sequence[float], values: Sequence[float], patient: Patient | None = None, unit: str = "mg/dL") -> Json:
    """Write readings (minutes since the start, mg/dL) as a collection Bundle of interstitial glucose, in ``unit``."""
    code = {"mg/dL": "99504-3", "mmol/L": "105272-9"}[unit]
    person: Json = {"resourceType": "Patient", "id": "p1"}
    if patient is not None:
        family, given = patient.name.split("^")
        person |= {
            "name": [{"use": "official", "family": family, "given": [given]}],
            "gender": {"F": "female", "M": "male"}[patient.sex],
            "birthDate": f"{patient.birth[:4]}-{patient.birth[4:6]}-{patient.birth[6:]}",
            "identifier": [{
                "use": "official", "system": f"urn:oid:{INS_TEST_OID}", "value": patient.matricule,
                "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": "INS-NIR-TEST"}]},
            }],
        }
    watched: Json = {
        "resourceType": "Encounter", "id": "e1", "status": "in-progress", "subject": {"reference": "Patient/p1"},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR", "display": "virtual"},
        "period": {"start": STARTED.isoformat()},
    }
    readings = [
        {
            "resourceType": "Observation", "id": f"g{number}", "status": "final",
            "category": [{"coding": [{
                "system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}]}],
            "code": {"coding": [{"system": LOINC, "code": code}], "text": "Glucose interstitiel"},
            "subject": {"reference": "Patient/p1"},
            "effectiveDateTime": (STARTED + timedelta(minutes=minute)).isoformat(),
            "valueQuantity": {
                "value": value if unit == "mg/dL" else round(value / MMOL, 1), "unit": unit, "system": UCUM, "code": unit},
        }
        for number, (minute, value) in enumerate(zip(minutes, values, strict=True), start=1)
    ]
    entries = [
        {"fullUrl": f"https://diaphane.example/{one['resourceType']}/{one['id']}", "resource": one}
        for one in (person, watched, *readings)
    ]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}
