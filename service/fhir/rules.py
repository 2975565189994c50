"""Rules across the elements of one R4 resource or data type, by the keys of the standard's invariants.

Only rules that the shape of a type cannot say are here; those of presence alone are the table `invariants.json`. A rule
sees JSON of any kind and judges what it can read.
https://hl7.org/fhir/R4/conformance-rules.html#constraints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from math import nan
from pathlib import Path
from typing import Any

from service.fhir.fr_core import judge_patient
from service.fhir.outcome import Fault, error, warning
from service.fhir.primitives import is_oid, is_uuid

Json = Mapping[str, Any]
Rule = Callable[[Json, str], Iterator[Fault]]
_DICOM_UID = re.compile(r"[0-2](\.(0|[1-9][0-9]*))+")
_DICOM_SYSTEM, _URI_SYSTEM = "urn:dicom:uid", "urn:ietf:rfc:3986"
_ENDED = frozenset({"inactive", "resolved", "remission"})


def extension(value: Json, path: str) -> Iterator[Fault]:
    """Judge ext-1: an extension has a value or extensions, not both and not none."""
    has_value = any(key.lstrip("_").startswith("value") for key in value)
    if has_value == ("extension" in value):
        yield error("invariant", path, "ext-1: an extension must have either a value or extensions.")


def period(value: Json, path: str) -> Iterator[Fault]:
    """Judge per-1: the start is not after the end, where both are equally precise."""
    start, end = value.get("start"), value.get("end")
    if not isinstance(start, str) or not isinstance(end, str):
        return
    if "T" in start and "T" in end:
        try:
            late = datetime.fromisoformat(start) > datetime.fromisoformat(end)
        except (ValueError, TypeError):
            return
    else:
        late = len(start) == len(end) and start > end
    if late:
        yield error("invariant", path, "per-1: the start must be before or at the end.")


def span(value: Json, path: str) -> Iterator[Fault]:
    """Judge rng-2: low is at most high, in one unit."""
    low, high = _table(value.get("low")), _table(value.get("high"))
    if low.get("code") == high.get("code") and _number(low.get("value")) > _number(high.get("value")):
        yield error("invariant", path, "rng-2: low must be at most high.")


def identifier(value: Json, path: str) -> Iterator[Fault]:
    """Judge what an identifier's system says about it: OIDs and UUIDs well formed, DICOM UIDs as urn:oid."""
    system, text = value.get("system"), value.get("value")
    if isinstance(system, str) and (
        (system.startswith("urn:oid:") and not is_oid(system)) or (system.startswith("urn:uuid:") and not is_uuid(system))
    ):
        yield error("value", f"{path}.system", "The system must be a well-formed urn:oid or urn:uuid.")
    if not isinstance(text, str):
        return
    if system == _DICOM_SYSTEM and not (is_oid(text) and len(text) <= 72):
        yield error("value", f"{path}.value", "A DICOM UID must be written as urn:oid: and the UID.")
    if system == _URI_SYSTEM and (":" not in text or (text.startswith("urn:oid:") and not is_oid(text))
                                  or (text.startswith("urn:uuid:") and not is_uuid(text))):
        yield error("value", f"{path}.value", "A value of this system must be a whole URI, well formed.")


def observation(value: Json, path: str) -> Iterator[Fault]:
    """Judge obs-6 and obs-7: no reason for absence beside a value, no value beside components of the same code."""
    valued = any(key.startswith("value") for key in value)
    if valued and "dataAbsentReason" in value:
        yield error("invariant", f"{path}.dataAbsentReason", "obs-6: dataAbsentReason must be absent where a value is.")
    parts = [_table(part) for part in _list(value.get("component"))]
    codes = _codings(value.get("code"))
    if valued and codes and any(codes & _codings(part.get("code")) for part in parts):
        yield error("invariant", f"{path}.value", "obs-7: no value where a component has the same code.")


def prediction(value: Json, path: str) -> Iterator[Fault]:
    """Judge ras-2 (a probability is at most 100), and advise probabilities of 0 to 1, which is what we write."""
    found = _number(value.get("probabilityDecimal"))
    if found < 0 or found > 100:
        yield error("invariant", f"{path}.probability", "ras-2: a probability must be 0 to 100, better 0 to 1.")
    elif found > 1:
        yield warning("value", f"{path}.probability", "A probability above 1 is read as per cent. Send 0 to 1.")
    for end in ("low", "high"):
        if _number(_table(_table(value.get("probabilityRange")).get(end)).get("value")) > 100:
            yield error("invariant", f"{path}.probability", "ras-1: the ends of a probability must be at most 100 %.")


def condition(value: Json, path: str) -> Iterator[Fault]:
    """Judge con-4 and con-5: a condition that ended is not active, one entered in error has no clinical status."""
    clinical = {code for _, code in _codings(value.get("clinicalStatus"))}
    in_error = "entered-in-error" in {code for _, code in _codings(value.get("verificationStatus"))}
    if any(key.startswith("abatement") for key in value) and clinical and not clinical & _ENDED:
        yield error("invariant", f"{path}.clinicalStatus", "con-4: with an abatement the status must be an ended one.")
    if in_error and "clinicalStatus" in value:
        yield error("invariant", f"{path}.clinicalStatus", "con-5: no clinicalStatus where entered in error.")


def imaging_study(value: Json, path: str) -> Iterator[Fault]:
    """Judge that series and instances are named by DICOM UIDs (PS3.5 section 9)."""
    for i, series in enumerate(_table(one) for one in _list(value.get("series"))):
        yield from _dicom_uid(series, f"{path}.series[{i}]")
        for j, instance in enumerate(_table(one) for one in _list(series.get("instance"))):
            yield from _dicom_uid(instance, f"{path}.series[{i}].instance[{j}]")
            sop = _table(instance.get("sopClass"))
            if sop.get("system") == _URI_SYSTEM and isinstance(sop.get("code"), str) and not is_oid(sop["code"]):
                yield error("value", f"{path}.series[{i}].instance[{j}].sopClass", "A SOP class must be a urn:oid.")


def parameter(value: Json, path: str) -> Iterator[Fault]:
    """Judge inv-1: a parameter has a value, a resource or parts: one of them."""
    held = sum((any(key.lstrip("_").startswith("value") for key in value), "resource" in value, "part" in value))
    if held != 1:
        yield error("invariant", path, "inv-1: a parameter must have one of value, resource and part.")


def bundle(value: Json, path: str) -> Iterator[Fault]:
    """Judge bdl-2 to bdl-8: what the entries of each type of Bundle must, may and must not hold."""
    kind, entries = value.get("type"), [_table(entry) for entry in _list(value.get("entry"))]
    seen: set[tuple[str, str]] = set()
    for i, entry in enumerate(entries):
        where = f"{path}.entry[{i}]"
        if "search" in entry and kind != "searchset":
            yield error("invariant", f"{where}.search", "bdl-2: only entries of a searchset have search.")
        if ("request" in entry) != (kind in ("batch", "transaction", "history")):
            yield error("invariant", f"{where}.request",
                        "bdl-3: request must be in each entry of a batch, transaction or history, and in no other.")
        if ("response" in entry) != (kind in ("batch-response", "transaction-response", "history")):
            yield error("invariant", f"{where}.response",
                        "bdl-4: response must be in each entry of a response or history, and in no other.")
        if not {"resource", "request", "response"} & entry.keys():
            yield error("invariant", where, "bdl-5: an entry must have a resource, a request or a response.")
        url = entry.get("fullUrl")
        if not isinstance(url, str):
            continue
        version = _table(_table(entry.get("resource")).get("meta")).get("versionId")
        key = (url, version if isinstance(version, str) else "")
        if key in seen and kind != "history":
            yield error("invariant", f"{where}.fullUrl", "bdl-7: fullUrl must be unique, or name another version.")
        seen.add(key)
        if "/_history/" in url:
            yield error("invariant", f"{where}.fullUrl", "bdl-8: fullUrl must not name a version.")


def bundle_head(value: Json, path: str) -> Iterator[Fault]:
    """Judge bdl-1 and bdl-9 to bdl-12: what a Bundle says of itself, and what documents and messages begin with."""
    kind, entries = value.get("type"), [_table(entry) for entry in _list(value.get("entry"))]
    if "total" in value and kind not in ("searchset", "history"):
        yield error("invariant", f"{path}.total", "bdl-1: only a searchset or history has a total.")
    first = _table(entries[0].get("resource")).get("resourceType") if entries else None
    if kind == "document" and not ({"system", "value"} <= _table(value.get("identifier")).keys()):
        yield error("invariant", f"{path}.identifier", "bdl-9: a document must have an identifier with its system.")
    if kind == "document" and "timestamp" not in value:
        yield error("invariant", f"{path}.timestamp", "bdl-10: a document must have a timestamp.")
    for of, needs, number in (("document", "Composition", "bdl-11"), ("message", "MessageHeader", "bdl-12")):
        if kind == of and first != needs:
            yield error("invariant", f"{path}.entry[0].resource", f"{number}: a {of} must begin with a {needs}.")


def allergy(value: Json, path: str) -> Iterator[Fault]:
    """Judge ait-1 and ait-2: an allergy has a clinical status, unless it was entered in error."""
    in_error = "entered-in-error" in {code for _, code in _codings(value.get("verificationStatus"))}
    if in_error == ("clinicalStatus" in value):
        yield error("invariant", f"{path}.clinicalStatus", "ait-1: clinicalStatus must be there, unless entered in error.")


def presence(row: Mapping[str, Any]) -> Rule:
    """Make a rule of a row of invariants.json: what must be there with what, or must not."""

    def rule(value: Json, path: str) -> Iterator[Fault]:
        if "any_of" in row:
            broken, where = not any(_has(value, name) for name in row["any_of"]), path
        elif "not_both" in row:
            broken, where = all(_has(value, name) for name in row["not_both"]), path
        else:
            broken = _has(value, row["if"]) and not any(_has(value, name) for name in row["then"])
            where = f"{path}.{row['if'].removesuffix('[x]')}"
        if broken:
            yield error("invariant", where, f"{row['key']}: {row['text']}")

    return rule


_ACROSS: Mapping[str, tuple[Rule, ...]] = {
    "AllergyIntolerance": (allergy,),
    "Bundle": (bundle_head, bundle),
    "Condition": (condition,),
    "Extension": (extension,),
    "Identifier": (identifier,),
    "ImagingStudy": (imaging_study,),
    "Observation": (observation,),
    "ParametersParameter": (parameter,),
    "Patient": (judge_patient,),
    "Period": (period,),
    "Range": (span,),
    "RiskAssessmentPrediction": (prediction,),
}
_PRESENCE: Mapping[str, list[Json]] = json.loads((Path(__file__).parent / "invariants.json").read_text("utf-8"))
RULES: dict[str, tuple[Rule, ...]] = {
    name: (*_ACROSS.get(name, ()), *(presence(row) for row in _PRESENCE.get(name, ())))
    for name in (*_ACROSS, *_PRESENCE)
}
RULES |= dict.fromkeys(("Age", "Count", "Distance", "Duration"), RULES["Quantity"])


def _has(value: Json, name: str) -> bool:
    """Tell whether an element is there, as value or with an extension alone; name[x] stands for each of its types."""
    if name.endswith("[x]"):
        stem = name.removesuffix("[x]")
        return any(key.lstrip("_").startswith(stem) for key in value)
    return value.get(name) is not None or f"_{name}" in value


def _dicom_uid(value: Json, path: str) -> Iterator[Fault]:
    uid = value.get("uid")
    if isinstance(uid, str) and (len(uid) > 64 or _DICOM_UID.fullmatch(uid) is None):
        yield error("value", f"{path}.uid", "A DICOM UID must be numbers and points, at most 64 characters.")


def _codings(concept: object) -> set[tuple[str, str]]:
    codings = [_table(coding) for coding in _list(_table(concept).get("coding"))]
    return {(str(one.get("system", "")), one["code"]) for one in codings if isinstance(one.get("code"), str)}


def _number(value: object) -> float:
    """Return a JSON number; NaN, which no comparison holds for, for anything else."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return nan
    return value if isinstance(value, float) else float(max(min(value, 2**63), -(2**63)))


def _table(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
