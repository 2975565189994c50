"""Stays in intensive care that never happened, as FHIR R4 Bundles in the units of French laboratories.

Two are scored (one of low, one of high risk), one is refused because next to nothing was measured, and one holds an
impossible value. Trajectories are lines between stated values with a little noise; no real stay was looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.random import Generator

from training.samples.wrap import INS_TEST_OID, Patient

LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
UNITS_OF_CARE = "https://www.cdc.gov/nhsn/cdaportal/terminology/codesystem/hsloc.html"
IDENTIFIER_TYPES = "https://hl7.fr/ig/fhir/core/CodeSystem/fr-core-cs-v2-0203"
ADMISSION = datetime(2026, 1, 15, 8, 0, tzinfo=timezone(timedelta(hours=1)))
Json = dict[str, Any]
# What → (code, French name, UCUM unit, decimals, spread of the noise as share of the value).
MEASURES: dict[str, tuple[str, str, str, int, float]] = {
    "heart_rate": ("8867-4", "Fréquence cardiaque", "/min", 0, 0.04),
    "respiration": ("9279-1", "Fréquence respiratoire", "/min", 0, 0.06),
    "temperature": ("8310-5", "Température", "Cel", 1, 0.004),
    "glasgow": ("9269-2", "Score de Glasgow", "{score}", 0, 0.0),
    "urine": ("9187-6", "Diurèse", "mL", 0, 0.15),
    "weight": ("29463-7", "Poids", "kg", 1, 0.002),
    "urea": ("22664-7", "Urée", "mmol/L", 1, 0.03),
    "creatinine": ("14682-9", "Créatinine", "umol/L", 0, 0.03),
    "glucose": ("15074-8", "Glycémie", "mmol/L", 1, 0.08),
    "bicarbonate": ("1963-8", "Bicarbonates", "mmol/L", 0, 0.03),
    "sodium": ("2951-2", "Sodium", "mmol/L", 0, 0.005),
    "potassium": ("2823-3", "Potassium", "mmol/L", 1, 0.04),
    "magnesium": ("2601-3", "Magnésium", "mmol/L", 2, 0.03),
    "haematocrit": ("4544-3", "Hématocrite", "%", 0, 0.02),
    "leucocytes": ("6690-2", "Leucocytes", "10*9/L", 1, 0.05),
    "platelets": ("777-3", "Plaquettes", "10*9/L", 0, 0.04),
    "pao2": ("2703-7", "PaO2", "kPa", 1, 0.05),
    "paco2": ("2019-8", "PaCO2", "kPa", 1, 0.04),
    "ph": ("2744-1", "pH artériel", "[pH]", 2, 0.002),
    "fio2": ("3150-6", "FiO2", "%", 0, 0.0),
    "lactate": ("2524-7", "Lactate", "mmol/L", 1, 0.06),
    "bilirubin": ("14631-6", "Bilirubine totale", "umol/L", 0, 0.04),
    "albumin": ("1751-7", "Albumine", "g/L", 0, 0.02),
    "height": ("8302-2", "Taille", "cm", 0, 0.0),
}
HOURLY, FOUR_HOURLY, TWICE_DAILY, DAILY, ONCE = (
    range(0, 48),
    range(0, 48, 4),
    range(6, 48, 12),
    range(6, 48, 24),
    range(1),
)


@dataclass(frozen=True)
class Stay:
    """A made-up stay. ``course``: what → (hours of measuring, value at admission, value at 48 h)."""

    name: str
    patient: Patient
    unit_of_care: str
    pressure: tuple[tuple[float, float], tuple[float, float]]  # systolic and diastolic at admission and at 48 h; mmHg
    pressure_hours: range
    course: dict[str, tuple[range, float, float]]
    ventilated: range = range(0)


LOW_RISK = Stay(
    "low-risk",
    Patient("TEST^CAMILLE", "DIA-TEST-101", "19790412", "F", "2790499000011", "046Y"),
    "1032-2",
    ((118, 64), (124, 68)),
    HOURLY,
    {
        "heart_rate": (HOURLY, 88, 76),
        "respiration": (HOURLY, 16, 15),
        "temperature": (FOUR_HOURLY, 36.4, 37.0),
        "glasgow": (FOUR_HOURLY, 15, 15),
        "urine": (HOURLY, 95, 90),
        "weight": (DAILY, 68, 68),
        "height": (ONCE, 166, 166),
        "urea": (TWICE_DAILY, 5.1, 4.6),
        "creatinine": (TWICE_DAILY, 66, 62),
        "glucose": (FOUR_HOURLY, 8.2, 6.1),
        "bicarbonate": (TWICE_DAILY, 24, 25),
        "sodium": (TWICE_DAILY, 139, 138),
        "potassium": (TWICE_DAILY, 4.3, 4.1),
        "magnesium": (DAILY, 0.92, 0.88),
        "haematocrit": (TWICE_DAILY, 31, 32),
        "leucocytes": (DAILY, 11.5, 9.2),
        "platelets": (DAILY, 182, 190),
        "pao2": (range(0, 8, 4), 22.0, 15.0),
        "paco2": (range(0, 8, 4), 5.2, 5.3),
        "ph": (range(0, 8, 4), 7.40, 7.41),
        "fio2": (range(0, 8, 4), 50, 40),
    },
    ventilated=range(0, 5),
)
HIGH_RISK = Stay(
    "high-risk",
    Patient("TEST^ACHILLE", "DIA-TEST-102", "19410930", "M", "1410999000012", "084Y"),
    "1027-2",
    ((86, 44), (78, 38)),
    HOURLY,
    {
        "heart_rate": (HOURLY, 118, 126),
        "respiration": (HOURLY, 27, 30),
        "temperature": (FOUR_HOURLY, 38.8, 35.6),
        "glasgow": (FOUR_HOURLY, 6, 3),
        "urine": (HOURLY, 22, 6),
        "weight": (DAILY, 71, 75),
        "height": (ONCE, 171, 171),
        "urea": (TWICE_DAILY, 21.0, 33.0),
        "creatinine": (TWICE_DAILY, 248, 371),
        "glucose": (FOUR_HOURLY, 11.4, 13.8),
        "bicarbonate": (TWICE_DAILY, 16, 12),
        "sodium": (TWICE_DAILY, 146, 149),
        "potassium": (TWICE_DAILY, 5.1, 5.9),
        "magnesium": (DAILY, 0.95, 1.10),
        "haematocrit": (TWICE_DAILY, 29, 26),
        "leucocytes": (DAILY, 24.0, 31.0),
        "platelets": (DAILY, 88, 41),
        "pao2": (FOUR_HOURLY, 9.1, 7.8),
        "paco2": (FOUR_HOURLY, 6.4, 7.0),
        "ph": (FOUR_HOURLY, 7.24, 7.12),
        "fio2": (FOUR_HOURLY, 70, 100),
        "lactate": (FOUR_HOURLY, 5.6, 9.4),
        "bilirubin": (DAILY, 62, 118),
        "albumin": (DAILY, 21, 18),
    },
    ventilated=range(0, 48),
)
TOO_FEW = Stay(
    "too_few_measurements",
    Patient("TEST^SOLENE", "DIA-TEST-103", "19600221", "F", "2600299000013", "065Y"),
    "1027-2",
    ((128, 72), (128, 72)),
    range(0),
    {"temperature": (range(2, 5, 2), 37.1, 37.0), "weight": (ONCE, 61, 61)},
)


def bundle(stay: Stay, seed: int, *, impossible: bool = False) -> bytes:
    """Write one stay as a collection Bundle. ``impossible`` makes the last pH 74 and the last temperature 3.7 °C."""
    rng = np.random.default_rng([seed, *stay.name.encode()])
    resources = [_patient(stay.patient), _encounter(stay), *_observations(stay, rng, impossible=impossible)]
    entries = [{"fullUrl": f"https://diaphane.example/{r['resourceType']}/{r['id']}", "resource": r} for r in resources]
    table = {"resourceType": "Bundle", "type": "collection", "timestamp": _time(48), "entry": entries}
    return (json.dumps(table, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _observations(stay: Stay, rng: Generator, *, impossible: bool) -> Iterator[Json]:
    number = 0
    for what, (hours, first, last) in stay.course.items():
        code, name, unit, decimals, spread = MEASURES[what]
        for hour in hours:
            value = (first + (last - first) * hour / 48) * (1 + spread * float(rng.standard_normal()))
            if impossible and hour == hours[-1] and what in ("ph", "temperature"):
                value = {"ph": 74.0, "temperature": 3.7}[what]
            number += 1
            yield {**_observation(number, hour, LOINC, code, name), "valueQuantity": _quantity(value, unit, decimals)}
    for hour in stay.pressure_hours:
        number += 1
        panel = _observation(number, hour, LOINC, "85354-9", "Pression artérielle")
        jitter = 1 + 0.04 * float(rng.standard_normal())
        parts = (("8480-6", "Pression systolique", 0), ("8462-4", "Pression diastolique", 1))
        (at_admission, at_48_h) = stay.pressure
        yield {
            **panel,
            "component": [
                {
                    "code": _concept(LOINC, code, name),
                    "valueQuantity": _quantity(
                        (at_admission[i] + (at_48_h[i] - at_admission[i]) * hour / 48) * jitter, "mm[Hg]", 0
                    ),
                }
                for code, name, i in parts
            ],
        }
    for hour in stay.ventilated:
        number += 1
        yield {**_observation(number, hour, SNOMED, "40617009", "Ventilation mécanique"), "valueBoolean": True}


def _observation(number: int, hour: int, system: str, code: str, name: str) -> Json:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": _concept(system, code, name),
        "subject": {"reference": "Patient/p1"},
        "encounter": {"reference": "Encounter/e1"},
        "effectiveDateTime": _time(hour),
    }


def _patient(patient: Patient) -> Json:
    family, given = patient.name.split("^")
    born = f"{patient.birth[:4]}-{patient.birth[4:6]}-{patient.birth[6:]}"
    return {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [
            {
                "use": "official",
                "system": f"urn:oid:{INS_TEST_OID}",
                "value": patient.matricule,
                "type": {"coding": [{"system": IDENTIFIER_TYPES, "code": "INS-NIR-TEST"}]},
            }
        ],
        "name": [{"use": "official", "family": family, "given": [given]}],
        "gender": {"F": "female", "M": "male"}[patient.sex],
        "birthDate": born,
    }


def _encounter(stay: Stay) -> Json:
    return {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "in-progress",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "type": [_concept(UNITS_OF_CARE, stay.unit_of_care, "Soins critiques")],
        "subject": {"reference": "Patient/p1"},
        "period": {"start": _time(0)},
    }


def _concept(system: str, code: str, name: str) -> Json:
    return {"coding": [{"system": system, "code": code}], "text": name}


def _quantity(value: float, unit: str, decimals: int) -> Json:
    rounded = round(value, decimals)
    number = int(rounded) if decimals == 0 else rounded
    return {
        "value": number,
        "unit": unit.replace("umol", "µmol").replace("mm[Hg]", "mmHg"),
        "system": UCUM,
        "code": unit,
    }


def _time(hour: int) -> str:
    return (ADMISSION + timedelta(hours=hour)).isoformat()
