"""Diagnoses by group: an ICD-10, CIM-10, ICD-10-CM or ICD-9-CM code → one of the groups of `tables/diagnosis_groups.json`.

The groups follow chapters and blocks of the classifications, finer where diabetes, heart and kidney are concerned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

_TABLE = json.loads((Path(__file__).parents[1] / "tables/diagnosis_groups.json").read_text("utf-8"))
GROUPS: tuple[str, ...] = tuple(row["name"] for row in _TABLE["groups"])
ICD10, ICD9 = "icd10", "icd9"
CLASSIFICATIONS = {
    "http://hl7.org/fhir/sid/icd-10": ICD10,
    "http://hl7.org/fhir/sid/icd-10-cm": ICD10,
    "http://hl7.org/fhir/sid/icd-10-fr": ICD10,
    "https://smt.esante.gouv.fr/terminologie-cim-10": ICD10,
    "urn:oid:2.16.840.1.113883.6.3": ICD10,
    "urn:oid:2.16.840.1.113883.6.90": ICD10,
    "http://hl7.org/fhir/sid/icd-9-cm": ICD9,
    "http://hl7.org/fhir/sid/icd-9": ICD9,
    "urn:oid:2.16.840.1.113883.6.103": ICD9,
}
_ICD10 = re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z+]{0,5})?[*†]?")
_ICD9 = re.compile(r"(\d{1,3}|V\d{1,2}|E\d{1,3})(\.?\d{0,2})?")


def _ranges(kind: str) -> Iterator[tuple[str, str, int]]:
    for index, row in enumerate(_TABLE["groups"]):
        for stated in row[kind]:
            low, _, high = stated.replace(".", "").partition("-")
            yield low, high or low, index


_RANGES = {kind: tuple(_ranges(kind)) for kind in (ICD10, ICD9)}


def group_of(classification: str, code: str) -> int | None:
    """Return the place in GROUPS of a code, with or without its dot; None for what is no code of the classification."""
    word = code.strip().upper()
    if classification == ICD9:
        if not _ICD9.fullmatch(word):
            return None
        whole, _, rest = word.partition(".")
        if "." not in word and len(whole) > (4 if whole[0] == "E" else 3):
            cut = 4 if whole[0] == "E" else 3
            whole, rest = whole[:cut], whole[cut:]
        flat = (whole.zfill(3) if whole[0].isdigit() else whole[0] + whole[1:].zfill(3 if whole[0] == "E" else 2)) + rest
    elif _ICD10.fullmatch(word):
        flat = word.replace(".", "").rstrip("*†+")
    else:
        return None
    for low, high, index in _RANGES.get(classification, ()):
        if low <= flat[: len(low)] <= high and len(flat) >= len(low):
            return index
    return None
