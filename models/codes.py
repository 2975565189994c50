"""Codes and units of a record: LOINC, SNOMED CT or our own word → our name, UCUM unit → our unit, by table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from models.manifest import Code, Range

_FOLDER = Path(__file__).parent / "tables"


def _merged(kind: str) -> dict[str, Any]:
    """Join one part of all tables. Raises ValueError when two tables describe one name."""
    joined: dict[str, Any] = {}
    for path in sorted(_FOLDER.glob("codes_*.json")):
        part = json.loads(path.read_text("utf-8")).get(kind, {})
        if twice := joined.keys() & part.keys():
            raise ValueError(f"{path.name}: {', '.join(sorted(twice))} must be described once, found in another table too.")
        joined |= part
    return joined


MEASURED: Mapping[str, Any] = _merged("codes")
STATIC: Mapping[str, Any] = _merged("static")
DESCRIBED: Mapping[str, Any] = {**MEASURED, **_merged("derived"), **STATIC}
# What does not change with time but is measured, such as the height: read from Observations, the nearest one.
MEASURED_ONCE: Mapping[str, Any] = {name: row for name, row in STATIC.items() if "conversion" in row}
SYNONYMS: Mapping[str, str] = json.loads((_FOLDER / "units.json").read_text("utf-8"))["ucum"]
LOINC = "http://loinc.org"
_SAFE = re.compile(r"[\w/%\[\]{}*^.°µμ]{1,16}")


@dataclass(frozen=True)
class Concept:
    """One of our codes, and which quantity a sender's code means by it (urea and urea nitrogen differ by 2.14)."""

    name: str
    quantity: str


_BY_CODE: Mapping[tuple[str, str], Concept] = {
    (row["system"], code): Concept(name, str(quantity))
    for name, row in {**MEASURED, **MEASURED_ONCE}.items()
    for code, quantity in row["meaning"].items()
}


def concept_of(system: str, code: str) -> Concept | None:
    """Return what a coded measurement means to us, None when the tables do not know it."""
    return _BY_CODE.get((system, code))


def to_our_unit(concept: Concept, value: float, unit: str) -> float:
    """Convert a value to our unit. Raises UnusableInput naming code and unit when the table has no way."""
    row = DESCRIBED[concept.name]
    ways = row["conversion"][concept.quantity]
    way = ways.get(SYNONYMS.get(unit, unit))
    if way is None:
        shown = repr(unit) if _SAFE.fullmatch(unit) else "none" if not unit else "an unreadable one"
        raise UnusableInput(
            f"{concept.name} must come in one of {', '.join(ways)}, found {shown}. Send the UCUM unit.",
            code="unknown_unit",
        )
    factor, offset = way if isinstance(way, list) else (way, 0.0)
    return float(value * factor + offset)


def our_concept(name: str) -> Concept:
    """Return our own word for a measurement, in the quantity of our unit. Raises UnusableInput when unknown."""
    row = {**MEASURED, **MEASURED_ONCE}.get(name)
    if row is None:
        raise UnusableInput(f"A code must be one of {', '.join(MEASURED)}, found another.", code="unknown_code")
    return Concept(name, next(iter(row["conversion"])))


def unit_of(name: str) -> str:
    """Return the UCUM unit that our features use for one code."""
    return str(DESCRIBED[name]["unit"])


def coded(name: str) -> Code | None:
    """Return the first public code of one of ours, None for a derived quantity."""
    row = DESCRIBED[name]
    if "meaning" not in row or ("conversion" not in row and name in STATIC):
        return None
    return Code(system=row["system"], code=next(iter(row["meaning"])), display=row["label"]["en"])


def meanings_of(name: str) -> dict[str, tuple[str, str]]:
    """Return what the values of one code stand for, in English and French, where they are words."""
    return {value: (str(words[0]), str(words[1])) for value, words in DESCRIBED[name].get("meanings", {}).items()}


def range_of(name: str, kind: str) -> Range:
    """Return the `plausible`, `usual` or `reference` range of one code; open where the table gives none."""
    limits = DESCRIBED[name].get(kind)
    return Range(low=limits[0], high=limits[1]) if limits else Range()
