"""Reasons for visit: a code of the NCHS Reason for Visit Classification, ICD-10 or SNOMED CT → our group of reasons.

The groups are the ``reason`` rows of `tables/codes_ed.json`. ICD-10 codes match by their longest beginning there, without
the dot; SNOMED CT codes match exactly, since no hierarchy is at hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from models.codes import STATIC
from models.fhir.diagnoses import CLASSIFICATIONS, ICD10

NCHS = "https://www.cdc.gov/nchs/ahcd#reason-for-visit"  # no URI is registered: this names the publisher's page
SNOMED = "http://snomed.info/sct"
INJURY_OF_ANY_KIND = "417163006"  # SNOMED CT: says that the visit is for an injury, and names no reason
GROUPS: Mapping[str, Mapping[str, list[str]]] = {name: row["reason"] for name, row in STATIC.items() if "reason" in row}
INJURIES = frozenset(name for name, row in GROUPS.items() if row.get("injury"))
MOST = 3  # reasons that the survey form has room for
MAIN, FURTHER = 2.0, 1.0
_CODE = re.compile(r"(\d{4})\.?\d?")
_ICD10 = {start: name for name, row in GROUPS.items() for start in row["icd10"]}
_SNOMED = {code: name for name, row in GROUPS.items() for code in row["snomed"]}


def _ranges() -> dict[int, str]:
    found: dict[int, str] = {}
    for name, row in GROUPS.items():
        for stated in row["rfv"]:
            low, _, high = stated.partition("-")
            found |= dict.fromkeys(range(int(low), int(high or low) + 1), name)
    return found


_NCHS = _ranges()


def group_of(system: str, code: str) -> str | None:
    """Return the group of a coded reason; None for what the tables do not know."""
    if system == NCHS:
        whole = _CODE.fullmatch(code)
        return group_of_nchs(int(whole[1])) if whole else None
    if system == SNOMED:
        return _SNOMED.get(code)
    if CLASSIFICATIONS.get(system) == ICD10:
        flat = code.upper().replace(".", "").rstrip("*†+")
        return next((_ICD10[flat[:n]] for n in range(len(flat), 0, -1) if flat[:n] in _ICD10), None)
    return None


def group_of_nchs(number: int) -> str:
    """Return the group of a four-digit code of the classification; the group of other reasons for one without."""
    return _NCHS.get(number, "reason_other")


def facts_of(named: Sequence[str | None], *, injury: bool = False) -> dict[str, float]:
    """Return the value of every group of reasons: 2 for the main one, 1 for a further one, 0 for one not named.

    ``named`` holds the groups in the order they were stated, the main reason first, None for one not understood. An empty
    table comes back when nothing was understood: then nothing is known of any reason. ``injury``: stated in another way.
    """
    understood = [name for name in named[:MOST] if name is not None]
    if not understood:
        return {}
    found = dict.fromkeys(GROUPS, 0.0)
    for place, name in reversed(list(enumerate(named[:MOST]))):
        if name is not None:
            found[name] = max(found[name], MAIN if place == 0 else FURTHER)
    hurt = injury or not INJURIES.isdisjoint(understood)
    return {**found, "reasons_for_visit": float(len(understood)), "injury": float(hurt)}
