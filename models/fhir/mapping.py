"""A hospital's own codes and units, told once in a file: each gets the public coding or our name, and the unit meant.

    [[codes]]
    system = "urn:oid:1.2.250.1.999.1"      # as it stands in coding.system
    code = "CREA"
    to = "http://loinc.org|14682-9"         # a public coding, or a name of tables/codes_*.json: "Creatinine"
    unit = "umol/L"                         # optional: meant where the sender states none

    [units]
    "micromol par litre" = "umol/L"         # a spelling of this hospital → UCUM

The same as JSON is read too. A mapped code gains a coding and loses none, wherever it stands in a resource.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.codes import MEASURED, MEASURED_ONCE
from models.errors import UnusableInput
from models.fhir.bundle import Json, text

OURS = "urn:diaphane:codes"
MAX_BYTES = 8 * 2**20
MAX_DEPTH = 40
_KEYS = frozenset({"system", "code", "to", "unit"})


@dataclass(frozen=True)
class SiteCodes:
    """``codes``: (system, code) → (system, code) added beside it; ``assumed``: its unit when none is stated."""

    codes: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    assumed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)

    def translate(self, resource: Json) -> Json:
        """Return the resource with the public coding beside each mapped one."""
        if not self.codes:
            return resource
        translated = self._translated(resource, 0)
        return translated if isinstance(translated, dict) else resource

    def _translated(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            return value
        if isinstance(value, dict):
            found = {key: self._translated(inner, depth + 1) for key, inner in value.items()}
            if isinstance(value.get("coding"), list):
                found["coding"] = value["coding"] + self._added(value["coding"])
            return found
        return [self._translated(inner, depth + 1) for inner in value] if isinstance(value, list) else value

    def _added(self, codings: list[Any]) -> list[dict[str, str]]:
        named = [self.codes.get((text(one.get("system")), text(one.get("code")))) for one in codings if isinstance(one, dict)]
        return [{"system": to[0], "code": to[1]} for to in named if to is not None]


NO_CODES = SiteCodes()


def read_mapping(path: Path) -> SiteCodes:
    """Read a mapping file. Raises UnusableInput naming the row and what is wrong with it."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise UnusableInput(f"{path.name}: a mapping file must be at most {MAX_BYTES // 2**20} MiB, found more.")
        told = json.loads(content) if path.suffix == ".json" else tomllib.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise UnusableInput(f"{path.name}: a mapping file must be TOML or JSON text in UTF-8, found something else.") from None
    if not isinstance(told, dict) or told.keys() - {"codes", "units"}:
        raise UnusableInput(f"{path.name}: a mapping file must hold [[codes]] and [units], found other tables.")
    rows, units = told.get("codes", []), told.get("units", {})
    if not isinstance(rows, list) or not isinstance(units, dict) or not all(isinstance(to, str) for to in units.values()):
        raise UnusableInput(f"{path.name}: codes must be a list of tables, and units a table of UCUM units.")
    codes: dict[tuple[str, str], tuple[str, str]] = {}
    assumed: dict[tuple[str, str], str] = {}
    for number, row in enumerate(rows, 1):
        local, public, unit = _row(row, f"{path.name}: row {number} of [[codes]]")
        if local in codes:
            raise UnusableInput(f"{path.name}: row {number} of [[codes]] maps a code a second time. Keep one row for each.")
        codes[local] = public
        if unit:
            assumed[local] = unit
    return SiteCodes(codes, assumed, units)


def _row(row: object, where: str) -> tuple[tuple[str, str], tuple[str, str], str]:
    if not isinstance(row, dict) or row.keys() - _KEYS or not all(isinstance(value, str) for value in row.values()):
        raise UnusableInput(f"{where} must have the texts system, code, to and perhaps unit, found others.")
    if not row.get("code") or not row.get("to"):
        raise UnusableInput(f"{where} must have a code and what it maps to, found none.")
    system, bar, code = str(row["to"]).rpartition("|")
    if not bar and code not in MEASURED and code not in MEASURED_ONCE:
        raise UnusableInput(f"{where}: to must be system|code, or one of {', '.join(sorted({**MEASURED, **MEASURED_ONCE}))}.")
    return (row.get("system", ""), row["code"]), (system, code) if bar else (OURS, code), row.get("unit", "")
