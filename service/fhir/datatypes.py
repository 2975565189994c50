"""FHIR R4 datatypes as JSON: identifiers derived from what they name, codings, quantities, references, narrative.

https://hl7.org/fhir/R4/datatypes.html. Numbers are rounded to six digits: graphs compute in float32, and 1.2000000477 is noise.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape
from math import isfinite
from typing import Any

from models.manifest import Code

Json = dict[str, Any]

OURS = "urn:diaphane:codes"  # our own codes: service/fhir/codes.json, served as CodeSystem/diaphane
RESULT = "urn:diaphane:result"  # system of the identifier that every result carries, its own id
RELEASE = "urn:diaphane:release"  # system of a release's identifier, name-version
INPUT = "urn:diaphane:input-sha256"  # system of the hash of what a model was given
CONTRIBUTION = "urn:diaphane:extension:contribution"
LOINC, SNOMED, UCUM = "http://loinc.org", "http://snomed.info/sct", "http://unitsofmeasure.org"
DICOM_UID = "urn:dicom:uid"
TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
ABSENT_REASON = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
DIGITS = 6
_BLANKS = {0x00A0: " ", 0x2009: " ", 0x202F: " "}
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:diaphane:result")
# Asserted by an AI system (https://terminology.hl7.org/CodeSystem-v3-ObservationValue.html).
SECURITY = [{
    "system": f"{TERMINOLOGY}/v3-ObservationValue", "code": "AIAST", "display": "Artificial Intelligence asserted",
}]


def id_of(*parts: str | int) -> str:
    """Return the UUID of what ``parts`` name (RFC 9562, version 5): always the same, so that a repeat is the same resource."""
    return str(uuid.uuid5(_NAMESPACE, "".join(f"{len(str(part))}:{part}" for part in parts)))


def urn(resource: Mapping[str, Any]) -> str:
    """Return the fullUrl of a resource made here."""
    return f"urn:uuid:{resource['id']}"


def made(resource_type: str, name: str, language: str, /, **more: Any) -> Json:
    """Begin a resource made here: its id, marked as made by an AI system, with its language."""
    return {"resourceType": resource_type, "id": name, "meta": {"security": SECURITY}, "language": language, **more}


def identifier(value: str, system: str = RESULT) -> Json:
    """Return an Identifier."""
    return {"system": system, "value": value}


def coding(system: str, code: str, display: str = "") -> Json:
    """Return a Coding."""
    return {"system": system, "code": code} | ({"display": display} if display else {})


def concept(code: Code | Json | None, text: str = "") -> Json:
    """Return a CodeableConcept of one code with the words a person reads; of words alone without a code."""
    told: Json = {}
    if code is not None:
        told["coding"] = [code if isinstance(code, dict) else coding(code.system, code.code, code.display)]
    if text:
        told["text"] = text
    return told


def rounded(value: float) -> float | int:
    """Round to six digits; whole numbers without a decimal point."""
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short


def quantity(value: float, unit: str, shown: str = "") -> Json:
    """Return a Quantity in a UCUM unit."""
    ucum = unit or "1"
    return {"value": rounded(value), "unit": shown or ucum, "system": UCUM, "code": ucum}


def limits(low: float | None, high: float | None, unit: str, shown: str = "") -> Json:
    """Return the low and high of a range, whichever there is."""
    told = {"low": low, "high": high}
    return {name: quantity(value, unit, shown) for name, value in told.items() if value is not None and isfinite(value)}


def reference(target: str, display: str = "") -> Json:
    """Return a Reference; of an unknown target one that says that it is unknown."""
    if not target:
        return {"extension": [{"url": ABSENT_REASON, "valueCode": "unknown"}]}
    return {"reference": target} | ({"display": display} if display else {})


def instant(moment: datetime) -> str:
    """Write a moment with its zone, to the second."""
    return moment.isoformat(timespec="seconds")


def narrative(language: str, *blocks: str) -> Json:
    """Return a generated Narrative of XHTML blocks that ``paragraph`` and ``table`` made."""
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml" lang="{language}" xml:lang="{language}">{"".join(blocks)}</div>',
    }


def paragraph(text: str) -> str:
    """Return one paragraph of text; nothing of it is markup."""
    return f"<p>{_shown(text)}</p>" if text else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of text; nothing of it is markup."""
    if not rows:
        return ""
    top = "".join(f"<th>{_shown(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{_shown(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def bundle(kind: str, name: str, made_at: datetime, resources: Sequence[Json], language: str) -> Json:
    """Return a Bundle of resources made here, each under the urn:uuid of its id."""
    return {
        "resourceType": "Bundle", "id": name, "meta": {"security": SECURITY}, "language": language,
        "identifier": identifier(name), "type": kind, "timestamp": instant(made_at),
        "entry": [{"fullUrl": urn(one), "resource": plain(one)} for one in resources],
    }


def plain(value: Any) -> Any:
    """Return a resource whose text has ordinary blanks only, but for its narrative.

    FHIR's string is ``[ \\r\\n\\t\\S]+``: the blanks that do not break, which French typography asks for, are none of these.
    """
    if isinstance(value, dict):
        return {key: inner if key == "div" else plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.translate(_BLANKS) if isinstance(value, str) else value


def _shown(text: str) -> str:
    """Escape for XHTML; letters that XML cannot hold are left out."""
    return escape(_NOT_XML.sub("", text))
