"""Codes: what an action of the audit is called in DICOM and in FHIR, out of codes.json."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from service.store.audit import Line

_UID = re.compile(r"[0-2](\.[0-9]+){3,}")


@dataclass(frozen=True)
class Coded:
    """One line in codes: DICOM's event and its type, C R U D or E, FHIR's interaction, the outcome."""

    event: tuple[str, str]
    type: tuple[str, str] | None
    does: str
    interaction: str
    outcome: tuple[str, str]


def coded(line: Line) -> Coded:
    """Return the codes of a line."""
    codes = _codes()
    told = codes["actions"][line.action]
    event, kind = told.get("of", {}).get(line.kind, told["event"]), told.get("type", "")
    number, words = codes["outcomes"][line.outcome]
    return Coded((event, codes["events"][event]), (kind, codes["types"][kind]) if kind else None, told["does"],
                 told.get("interaction", ""), (number, words))


def uid_of(line: Line) -> str:
    """Return the item where it is a UID of DICOM, else ""."""
    return line.item if _UID.fullmatch(line.item) else ""


def urn_of(line: Line) -> str:
    """Return what names the item of a line anywhere."""
    return f"urn:oid:{line.item}" if uid_of(line) else f"urn:diaphane:{line.kind or 'item'}:{line.item}"


@cache
def _codes() -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Path(__file__).with_name("codes.json").read_text(encoding="utf-8"))
    return told
