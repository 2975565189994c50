"""DEFINITIONS: what describes us in FHIR's own words, by type: operations, codes, extensions. Served, and judged in tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from models.shelf import Shelf
from service.fhir.codes import code_system
from service.fhir.datatypes import CONTRIBUTION, Json, narrative, paragraph
from service.fhir.predict import OPERATIONS

CHANGED = "2026-11-22"
VERSION = "4.0.1"
_EXTENSION_PARTS = {
    "log": ("decimal", "What this measurement adds to the score: to the natural logarithm of the odds, or of the quantity."),
    "multiplier": ("decimal", "The exponential of it: what this measurement multiplies the odds or the quantity by."),
    "measurement": ("string", "The release's name of the measurement, the same in every answer."),
}


def operation_definitions(base: str, _: Shelf | None) -> list[Json]:
    """Return the operations, from operations.json."""
    return [_operation(name, row, base) for name, row in OPERATIONS.items()]


def code_systems(_: str, shelf: Shelf | None) -> list[Json]:
    """Return our codes, with those of the releases that are open."""
    return [code_system([model.manifest for model in shelf.models.values()] if shelf else [])]


def structure_definitions(_: str, __: Shelf | None) -> list[Json]:
    """Return our extensions."""
    return [_contribution()]


DEFINITIONS: dict[str, Callable[[str, Shelf | None], list[Json]]] = {
    "OperationDefinition": operation_definitions,
    "CodeSystem": code_systems,
    "StructureDefinition": structure_definitions,
}


def searchset(found: list[Json], base: str, kind: str, query: Mapping[str, str]) -> Json:
    """Return those that ``url``, ``name`` and ``_id`` select; a parameter that is not known is left out of the link to itself."""
    used = {name: query[name] for name in ("url", "name", "_id") if name in query}
    for name, wanted in used.items():
        key = name.removeprefix("_")
        found = [one for one in found if _matches(str(one.get(key, "")), wanted, exactly=name != "name")]
    link = f"{base}/{kind}" + (f"?{urlencode(used)}" if used else "")
    told: Json = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": [{"relation": "self", "url": link}]}
    if found:
        told["entry"] = [{"fullUrl": f"{base}/{kind}/{one['id']}", "resource": one, "search": {"mode": "match"}} for one in found]
    return told


def _matches(value: str, wanted: str, *, exactly: bool) -> bool:
    return value == wanted if exactly else value.lower().startswith(wanted.lower())


def _operation(name: str, row: Mapping[str, Any], base: str) -> Json:
    return {
        "resourceType": "OperationDefinition", "id": name, "language": "en",
        "text": narrative("en", paragraph(row["title"]), paragraph(row["description"])),
        "url": f"{base}/OperationDefinition/{name}", "version": "1", "name": name.capitalize(), "title": row["title"],
        "status": "active", "kind": "operation", "experimental": True, "date": CHANGED, "publisher": "Diaphane",
        "description": row["description"], "affectsState": True, "code": name, "comment": row["comment"],
        "system": True, "type": False, "instance": False, "parameter": row["parameters"],
    }


def _contribution() -> Json:
    elements: list[Json] = [
        {"id": "Extension", "path": "Extension", "short": "Part of a score", "min": 0, "max": "1",
         "definition": "What one measurement adds to the score of one outcome. The starting point and all parts sum to the score."},
    ]
    for part, (kind, meaning) in _EXTENSION_PARTS.items():
        where = f"Extension.extension:{part}"
        elements += [
            {"id": where, "path": "Extension.extension", "sliceName": part, "short": meaning, "definition": meaning, "min": 1,
             "max": "1"},
            {"id": f"{where}.extension", "path": "Extension.extension.extension", "max": "0"},
            {"id": f"{where}.url", "path": "Extension.extension.url", "fixedUri": part},
            {"id": f"{where}.value[x]", "path": "Extension.extension.value[x]", "min": 1, "type": [{"code": kind}]},
        ]
    elements += [
        {"id": "Extension.url", "path": "Extension.url", "fixedUri": CONTRIBUTION},
        {"id": "Extension.value[x]", "path": "Extension.value[x]", "max": "0"},
    ]
    return {
        "resourceType": "StructureDefinition", "id": "contribution", "language": "en",
        "text": narrative("en", paragraph("What one measurement adds to a score.")),
        "url": CONTRIBUTION, "version": "1", "name": "Contribution", "title": "Contribution to a score", "status": "active",
        "experimental": True, "date": CHANGED, "publisher": "Diaphane",
        "description": "What one measurement adds to the score of one outcome, on a component of the Observation that explains it.",
        "fhirVersion": VERSION, "kind": "complex-type", "abstract": False,
        "context": [{"type": "element", "expression": "Observation.component"}],
        "type": "Extension", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Extension", "derivation": "constraint",
        "differential": {"element": elements},
    }
