"""Small FHIR resources about nobody, for the tests of reading."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
CREATININE, HEART_RATE, HEIGHT = "2160-0", "8867-4", "8302-2"


def observation(
    name: str = "o1", code: str = CREATININE, value: float = 1.0, unit: str = "mg/dL", at: str = "2026-03-01T10:00:00Z",
    **more: Any,
) -> Json:
    """Make a final Observation of patient p1."""
    found = {
        "resourceType": "Observation", "id": name, "status": "final", "subject": {"reference": "Patient/p1"},
        "code": {"coding": [{"system": LOINC, "code": code}]}, "effectiveDateTime": at,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit}, **more,
    }
    return {key: inner for key, inner in found.items() if inner is not None}


def encounter(name: str = "e1", start: str = "2026-03-01T08:00:00Z", end: str | None = None, **more: Any) -> Json:
    """Make an Encounter of patient p1, under way unless it has an end."""
    period = {"start": start, **({"end": end} if end else {})}
    return {
        "resourceType": "Encounter", "id": name, "status": "finished" if end else "in-progress",
        "class": {"code": "IMP"}, "subject": {"reference": "Patient/p1"}, "period": period, **more,
    }


def patient(name: str = "p1", **more: Any) -> Json:
    """Make a Patient."""
    return {"resourceType": "Patient", "id": name, "gender": "female", "birthDate": "1956-03-02", **more}


def bundle(*resources: Any, kind: str = "collection", **more: Any) -> Json:
    """Put resources into a Bundle."""
    return {"resourceType": "Bundle", "type": kind, "entry": [{"resource": one} for one in resources], **more}
