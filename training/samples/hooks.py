"""Calls of CDS Hooks made from the bundles of data-samples/: what an EHR sends when a chart opens, or an order is written.

https://cds-hooks.hl7.org: the hook, its context, and as prefetch the resources of one sample, key by key.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]
KEYS: Mapping[str, str] = {  # prefetch key → what it holds, a searchset each but for the patient
    "encounters": "Encounter", "observations": "Observation", "conditions": "Condition", "procedures": "Procedure",
    "medicationRequests": "MedicationRequest", "medicationStatements": "MedicationStatement",
}
CALLS: Mapping[str, tuple[str, str]] = {  # file → hook, bundle
    "patient-view.json": ("patient-view", "stay/high-risk.json"),
    "encounter-start.json": ("encounter-start", "ed_triage/high-risk.json"),
    "encounter-discharge.json": ("encounter-discharge", "readmission_30d/high-risk.json"),
    "order-sign.json": ("order-sign", "warfarin_dose/low-dose.json"),
}
WARFARIN = {"system": "http://www.whocc.no/atc", "code": "B01AA03", "display": "warfarin"}
DRAFT_MG = 5.0  # a day, as many begin


def make_calls(out: Path) -> list[Path]:
    """Write ``out/cds-hooks/*.json`` from the bundles that lie in ``out``; return them."""
    folder = out / "cds-hooks"
    folder.mkdir(exist_ok=True)
    written = []
    for name, (hook, sample) in CALLS.items():
        call = call_of(json.loads((out / sample).read_text(encoding="utf-8")), hook)
        (folder / name).write_text(json.dumps(call, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(folder / name)
    return written


def call_of(bundle: Json, hook: str) -> Json:
    """Return the call an EHR would send at a hook about the patient of a bundle."""
    resources = [entry["resource"] for entry in bundle["entry"]]
    patient = next(one for one in resources if one["resourceType"] == "Patient")
    encounters = [one for one in resources if one["resourceType"] == "Encounter"]
    prefetch: Json = {"patient": patient}
    for key, kind in KEYS.items():
        prefetch[key] = {"resourceType": "Bundle", "type": "searchset",
                         "entry": [{"resource": one} for one in resources if one["resourceType"] == kind]}
    context: Json = {"userId": "Practitioner/example", "patientId": patient["id"]}
    if encounters:
        stay = max(encounters, key=lambda one: str(one.get("period", {}).get("start", "")))
        context["encounterId"] = stay["id"]
        prefetch["encounter"] = stay
    if hook.startswith("order-"):
        order = _draft(str(patient["id"]))
        context["draftOrders"] = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": order}]}
    return {"hook": hook, "hookInstance": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{hook}/{patient['id']}")), "context": context,
            "prefetch": prefetch}


def _draft(patient: str) -> Json:
    """Return a draft order of warfarin, not yet adjusted."""
    return {
        "resourceType": "MedicationRequest", "id": "draft-1", "status": "draft", "intent": "order",
        "medicationCodeableConcept": {"coding": [WARFARIN], "text": "warfarin"},
        "subject": {"reference": f"Patient/{patient}"},
        "dosageInstruction": [{
            "text": f"{DRAFT_MG:g} mg once a day", "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
            "doseAndRate": [{"doseQuantity": {"value": DRAFT_MG, "unit": "mg", "system": "http://unitsofmeasure.org", "code": "mg"}}],
        }],
    }
