"""The table beside an archive: one line a file, study or person, with what the files do not say themselves.

Our names of columns, and what they are commonly called elsewhere, are in table_columns.json; ``--column age_years=Alter`` names one,
``--column age_years=`` leaves it out.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from training.archive.scored import ID_KINDS

OLDEST_YEARS = 89  # an age above it is told as 90
_COLUMNS = Path(__file__).with_name("table_columns.json")
_AGE = re.compile(r"0*(\d{1,3}(?:\.\d+)?)\s*([DWMY]?)", re.IGNORECASE)
_YEARS = {"": 1.0, "Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}
# No numbers: one is a man in French coding, and a woman in as many tables of others.
_SEXES = {"m": "M", "male": "M", "h": "M", "homme": "M", "f": "F", "female": "F", "femme": "F", "w": "F", "o": "O", "other": "O"}


@dataclass(frozen=True)
class Line:
    """One line: identifiers by kind (``file`` is a path below the archive's folder) and attributes by our names."""

    ids: dict[str, str] = field(repr=False)
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Table:
    """The lines that were asked for, to be gone through, or joined by the first identifier that both have."""

    lines: tuple[Line, ...]
    by: Mapping[tuple[str, str], Line] = field(repr=False)

    def attributes_of(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """Return what the table says of a case, by file, image, study, accession or person, in this order."""
        for kind in ("file", "sop", "study", "accession", "patient"):
            line = self.by.get((kind, ids.get(kind, "")))
            if line is not None:
                return line.attributes
        return {}


def read_attributes(
    path: Path, columns: Iterable[tuple[str, str]] = (), where: Iterable[tuple[str, str]] = (), keep: Iterable[str] = ()
) -> Table:
    """Read a CSV with a heading. ``where`` pairs of one column are alternatives, of several columns they must all hold.

    Raises UnusableInput for a column that is not there, or a table without any identifier.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, dialect=_dialect(path)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnusableInput(f"{path.name}: the table of attributes must be a CSV file in UTF-8, it cannot be read.",
                            code="bad_table") from error
    heading = list(rows[0]) if rows else []
    found = _columns(heading, dict(columns))
    wanted: dict[str, set[str]] = {}
    for column, value in where:
        wanted.setdefault(column, set()).add(value)
    missing = [one for one in (*wanted, *keep) if one not in heading]
    if missing:
        raise UnusableInput(f"{path.name}: the columns asked for must be there, found no {', '.join(missing)}. "
                            f"It has {', '.join(heading)}.", code="bad_table")
    naming = sorted({found[kind] for kind in ID_KINDS if kind in found} & set(keep))
    if naming:
        raise UnusableInput(f"--keep takes columns that name nobody, found {', '.join(naming)}. Rows have its keyed hash.",
                            code="bad_table")
    if not any(kind in found for kind in ID_KINDS):
        raise UnusableInput(f"{path.name}: a column must say which file, image, study, accession or patient a line is about, "
                            "found none. Name it, for example --column file=Dateiname.", code="bad_table")
    lines = tuple(_line(row, found, tuple(keep)) for row in rows if all(row[one] in values for one, values in wanted.items()))
    return Table(lines, {(kind, text): line for line in reversed(lines) for kind, text in line.ids.items()})


def sex_of(text: str) -> str:
    """Return M, F, O or "" """
    return _SEXES.get(text.strip().lower(), "")


def age_of(text: str) -> float | None:
    """Return years from a number or a DICOM age string, None when there is none."""
    match = _AGE.fullmatch(text.strip().lstrip("> "))
    return None if match is None else float(match[1]) / _YEARS[match[2].upper()]


def told_age(years: float | None) -> float | None:
    """Return the age as a row may tell it: whole years, whole months below two, and 90 for all above 89."""
    if years is None or not 0 <= years < 150:
        return None
    if years < 2:
        return round(int(12 * years + 1e-6) / 12, 2)
    return float(min(int(years), OLDEST_YEARS + 1))


@cache
def _known() -> dict[str, list[str]]:
    known: dict[str, list[str]] = json.loads(_COLUMNS.read_text("utf-8"))
    return known


def _dialect(path: Path) -> type[csv.Dialect]:
    """Tell a semicolon or a tab from a comma by the heading."""
    with path.open(encoding="utf-8-sig") as file:
        heading = file.readline(100_000)
    mark = max(",;\t", key=heading.count)
    return type("Found", (csv.excel,), {"delimiter": mark})


def _columns(heading: list[str], named: dict[str, str]) -> dict[str, str]:
    """Return our name → theirs."""
    unknown = [one for one in named if one not in _known()]
    absent = [one for one in named.values() if one and one not in heading]
    if unknown or absent:
        raise UnusableInput(f"--column takes OURS=THEIRS, ours one of {', '.join(_known())} and theirs a column of the table; "
                            f"found {', '.join(unknown + absent)}.", code="bad_table")
    plain = {_plain(one): one for one in reversed(heading)}
    found = {ours: plain[name] for ours, names in _known().items() for name in reversed(names) if name in plain} | named
    return {ours: theirs for ours, theirs in found.items() if theirs}


def _plain(text: str) -> str:
    return "".join(one for one in (text or "").lower() if one.isalnum())


def _line(row: Mapping[str, str], found: Mapping[str, str], keep: tuple[str, ...]) -> Line:
    stated = {ours: (row[theirs] or "").strip() for ours, theirs in found.items()}
    ids = {kind: stated[kind] for kind in ID_KINDS if stated.get(kind)}
    return Line(ids, dict(_attributes(stated)) | {one: row[one] for one in keep if row[one]})


def _attributes(stated: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, text in stated.items():
        if name in ID_KINDS or not text:
            continue
        value: Any = {"sex": sex_of, "age_years": age_of}.get(name, str)(text)
        if name == "year":
            value = int(text[:4]) if text[:4].isdecimal() else None
        elif name in ("view", "modality", "body_part"):
            value = text.upper()
        if value not in (None, ""):
            yield name, value
