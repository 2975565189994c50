"""Stays in hospital that never happened, told at discharge as FHIR R4 Bundles: one of low, one of high risk, one refused.

Numbers lie between the quartiles of the training stays, or far out where a high risk is wanted; no real stay was looked
at. The year before is sent along as earlier Encounters, which is what most of the score comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from training.samples.bundles import IDENTIFIER_TYPES, LOINC, UCUM
from training.samples.wrap import INS_TEST_OID, Patient

HL7 = "http://terminology.hl7.org/CodeSystem/"
ICD10 = "http://hl7.org/fhir/sid/icd-10"
ATC, INFUSION = "http://www.whocc.no/atc", "B05BB"  # solutions affecting the electrolyte balance: what fills a list up
CCAM = "urn:oid:1.2.250.1.213.2.5"
ADMITTED = datetime(2026, 3, 3, 9, 30, tzinfo=timezone(timedelta(hours=1)))
FOLDER = "readmission_30d"
SHORT_DAYS, LONG_DAYS, VISIT_DAYS = 10, 31, 9  # from the end of one stay to the next: a return, no return; visits apart
Json = dict[str, Any]
Coding = tuple[str, str]


@dataclass(frozen=True)
class Stay:
    """One stay at its end. ``diagnoses`` are by rank; ``drugs`` are ATC codes, ``medications`` counts all of them.

    ``stays`` says of each earlier stay, the oldest first, whether another followed within 30 days; ``old`` counts those
    that began more than a year before. None leaves out what a record may lack.
    """

    name: str
    born: str
    sex: str
    days: int
    diagnoses: tuple[Coding, ...]
    stays: tuple[bool, ...] = ()
    old: int = 0
    emergencies: int = 0
    consultations: int = 0
    procedures: int = 0
    medications: int = 1
    drugs: tuple[str, ...] = ()
    disposition: Coding | None = (HL7 + "discharge-disposition", "home")
    priority: str | None = "EM"
    source: str | None = "emd"
    hba1c: float | None = None
    diabetes: bool = True
    patient: Patient | None = None


LOW_RISK = Stay(
    "low-risk", "1962-05-17", "F", 2, ((ICD10, "R07.4"), (ICD10, "E11.9"), (ICD10, "I10")), consultations=1, procedures=2,
    medications=9, drugs=("A10BA02", "C09AA05", "B01AC06"), hba1c=6.4, priority="UR", source="gp",
    patient=Patient("TEST^OCTAVIE", "DIA-TEST-301", "19620517", "F", "2620599000031", "063Y"),
)
HIGH_RISK = Stay(
    "high-risk", "1948-11-02", "M", 8,
    ((ICD10, "I50.0"), (ICD10, "N18.5"), (ICD10, "E11.4"), (ICD10, "D64.9"), (ICD10, "E87.1"), (ICD10, "J44.1"), (ICD10, "I48"),
     (ICD10, "L97"), (ICD10, "K21.9")),
    stays=(False, False, True, False, True), emergencies=2, consultations=1, procedures=1, medications=24,
    drugs=("A10AB05", "A10AE04", "C03CA01", "C07AB07"), hba1c=8.9, disposition=(HL7 + "discharge-disposition", "rehab"),
    patient=Patient("TEST^ANATOLE", "DIA-TEST-302", "19481102", "M", "1481199000032", "077Y"),
)
NO_DIABETES = Stay(
    "no-diabetes", "1975-08-23", "F", 3, ((ICD10, "K80.2"),), procedures=1, medications=7, diabetes=False,
    drugs=("N02BE01",), priority="EL", source="mp",
    patient=Patient("TEST^PHILOMENE", "DIA-TEST-303", "19750823", "F", "2750899000033", "050Y"),
)


def bundle(stay: Stay) -> Json:
    """Return the stay, what came before it, and whose it is."""
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in _resources(stay)]}


def make(out: Path, seed: int) -> list[Path]:  # noqa: ARG001  nothing is drawn; the other samples take a seed
    """Write the samples under ``out`` and return the files."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for stay in (LOW_RISK, HIGH_RISK, NO_DIABETES):
        made.append(folder / f"{stay.name}.json")
        made[-1].write_text(json.dumps(bundle(stay), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return made


def _resources(stay: Stay) -> Iterator[Json]:
    end = ADMITTED + timedelta(days=stay.days, hours=4)
    yield _patient(stay)
    conditions = list(_conditions(stay))
    yield _encounter(stay, end, conditions)
    yield from conditions
    yield from _earlier(stay)
    yield from _given(stay)
    for number in range(stay.procedures):
        yield {
            "resourceType": "Procedure", "id": f"act{number}", "status": "completed", "subject": _to("Patient/p1"),
            "encounter": _to("Encounter/e1"), "performedDateTime": (ADMITTED + timedelta(hours=5 + number)).isoformat(),
            "code": {"coding": [{"system": CCAM, "code": "YYYY001"}], "text": "Acte"},
        }
    if stay.hba1c is not None:
        yield {
            "resourceType": "Observation", "id": "hba1c", "status": "final", "subject": _to("Patient/p1"),
            "encounter": _to("Encounter/e1"), "effectiveDateTime": (ADMITTED + timedelta(hours=3)).isoformat(),
            "code": _concept(LOINC, "4548-4", "Hémoglobine A1c"),
            "valueQuantity": {"value": stay.hba1c, "unit": "%", "system": UCUM, "code": "%"},
        }


def _patient(stay: Stay) -> Json:
    found: Json = {"resourceType": "Patient", "id": "p1", "gender": {"F": "female", "M": "male"}.get(stay.sex, "unknown"),
                   "birthDate": stay.born}
    if stay.patient is not None:
        family, given = stay.patient.name.split("^")
        kind = {"coding": [{"system": IDENTIFIER_TYPES, "code": "INS-NIR-TEST"}]}
        found["identifier"] = [
            {"use": "official", "type": kind, "system": f"urn:oid:{INS_TEST_OID}", "value": stay.patient.matricule}
        ]
        found["name"] = [{"use": "official", "family": family, "given": [given]}]
    return found


def _encounter(stay: Stay, end: datetime, conditions: Sequence[Json]) -> Json:
    hospital: Json = {}
    if stay.source is not None:
        hospital["admitSource"] = _concept(HL7 + "admit-source", stay.source)
    if stay.disposition is not None:
        hospital["dischargeDisposition"] = _concept(*stay.disposition)
    found: Json = {
        "resourceType": "Encounter", "id": "e1", "status": "finished", "class": {"system": HL7 + "v3-ActCode", "code": "IMP"},
        "subject": _to("Patient/p1"), "period": {"start": ADMITTED.isoformat(), "end": end.isoformat()},
        "diagnosis": [
            {"condition": _to(f"Condition/{one['id']}"), "rank": rank}
            for rank, one in enumerate((one for one in conditions if "encounter" in one), start=1)
        ],
    }
    if stay.priority is not None:
        found["priority"] = _concept(HL7 + "v3-ActPriority", stay.priority)
    return {**found, **({"hospitalization": hospital} if hospital else {})}


def _conditions(stay: Stay) -> Iterator[Json]:
    """Yield the stay's diagnoses by rank, then diabetes as the list of problems has it."""
    rows: list[tuple[str, Coding, Json]] = [
        (f"d{rank}", coding, {"encounter": _to("Encounter/e1")}) for rank, coding in enumerate(stay.diagnoses, start=1)
    ]
    if stay.diabetes:
        rows.append(("problem", ("http://snomed.info/sct", "73211009"), {}))
    for name, coding, more in rows:
        category = "encounter-diagnosis" if more else "problem-list-item"
        yield {
            "resourceType": "Condition", "id": name, "subject": _to("Patient/p1"), "code": _concept(*coding),
            "category": [_concept(HL7 + "condition-category", category)],
            "recordedDate": (ADMITTED + timedelta(hours=2)).isoformat(),
            "clinicalStatus": _concept(HL7 + "condition-clinical", "active"), **more,
        }


def _earlier(stay: Stay) -> Iterator[Json]:
    """Yield earlier stays back in time from this one, a day each, then emergency visits and consultations."""
    start = ADMITTED
    for number, again in reversed(list(enumerate(stay.stays))):
        end = start - timedelta(days=SHORT_DAYS if again else LONG_DAYS)
        if number < stay.old:
            end = min(end, ADMITTED - timedelta(days=370))
        start = end - timedelta(days=1)
        yield _visit(f"s{number}", "IMP", start, end)
    for kind, count in (("EMER", stay.emergencies), ("AMB", stay.consultations)):
        for number in range(count):
            at = ADMITTED - timedelta(days=2 + VISIT_DAYS * (number % 40), hours=number // 40)
            yield _visit(f"{kind.lower()}{number}", kind, at, at + timedelta(hours=1))


def _visit(name: str, kind: str, start: datetime, end: datetime) -> Json:
    return {
        "resourceType": "Encounter", "id": name, "status": "finished", "class": {"system": HL7 + "v3-ActCode", "code": kind},
        "subject": _to("Patient/p1"), "period": {"start": start.isoformat(), "end": end.isoformat()},
    }


def _given(stay: Stay) -> Iterator[Json]:
    others = ([("urn:diaphane:sample-drugs", f"drug-{number}"), (ATC, INFUSION)] for number in range(stay.medications))
    codes = [*([(ATC, code)] for code in stay.drugs), *others][: stay.medications]
    for number, marks in enumerate(codes):
        drug = {"coding": [{"system": system, "code": code} for system, code in marks]}
        yield {
            "resourceType": "MedicationRequest", "id": f"m{number}", "status": "active", "intent": "order",
            "subject": _to("Patient/p1"), "encounter": _to("Encounter/e1"), "medicationCodeableConcept": drug,
            "authoredOn": (ADMITTED + timedelta(hours=1)).isoformat(),
        }


def _concept(system: str, code: str, words: str = "") -> Json:
    return {"coding": [{"system": system, "code": code}], **({"text": words} if words else {})}


def _to(reference: str) -> Json:
    return {"reference": reference}
