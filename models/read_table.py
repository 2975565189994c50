"""CSV in long form → Record: one measurement a row, with columns minute (or time), code, value, unit.

`minute` counts from admission to the unit; `time` is ISO 8601 with its zone, and then a row with the code `admission`
gives minute 0. What does not change has rows too, without a time: age_years, sex (male or female), height_cm, icu_type.
Codes are our names (`tables/codes_*.json`) or LOINC.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime
from math import isfinite, nan

from models.codes import LOINC, Concept, concept_of, our_concept, to_our_unit, unit_of
from models.errors import UnusableInput
from models.record import Event, Record

MAX_BYTES = 32 * 2**20
MAX_ROWS = 500_000
SEXES = {"male": 1.0, "m": 1.0, "female": 0.0, "f": 0.0}
Row = dict[str, str]


def read_table(content: bytes | str) -> Record:
    """Read one stay. Raises UnusableInput naming the row and column that cannot be read, never what is in them."""
    if len(content) > MAX_BYTES:
        raise UnusableInput(f"A table must be at most {MAX_BYTES // 2**20} MiB. Send one stay alone.", code="too_large")
    rows = _rows(content)
    origin = next((_time(row["time"], number) for number, row in rows if row["code"] == "admission"), None)
    static = {"age_years": nan, "male": nan, "height_cm": nan, "icu_type": nan}
    events = []
    for number, row in rows:
        code = row["code"]
        if code == "admission":
            continue
        if code == "sex":
            static["male"] = SEXES.get(row["value"].lower(), nan)
        elif code in ("age_years", "icu_type"):
            static[code] = _number(row["value"], number)
        else:
            concept = _concept(code)
            value = to_our_unit(concept, _number(row["value"], number), row["unit"])
            if concept.name == "height_cm":
                static["height_cm"] = value
                continue
            minute = _minute(row, number, origin)
            if minute >= 0:
                events.append(Event(minute, concept.name, value, unit_of(concept.name)))
    return Record.of(events, static, origin)


def _rows(content: bytes | str) -> list[tuple[int, Row]]:
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="more", restval="")
        names = {str(name).strip().lower() for name in reader.fieldnames or ()}
        if not {"code", "value"} <= names or not names & {"minute", "time"}:
            raise UnusableInput(
                "A table must have the columns minute (or time), code, value and unit, found others.", code="bad_table"
            )
        rows: list[tuple[int, Row]] = []
        for row in reader:
            if len(rows) >= MAX_ROWS or "more" in row:
                raise UnusableInput(
                    f"A table must have at most {MAX_ROWS} rows, each as long as its header.", code="bad_table"
                )
            known = {str(name).strip().lower(): (value or "").strip() for name, value in row.items()}
            rows.append((reader.line_num, {"unit": "", "time": "", "minute": "", **known}))
    except (UnicodeDecodeError, csv.Error):
        raise UnusableInput("A table must be CSV text in UTF-8, found something else.", code="bad_table") from None
    return rows


def _concept(code: str) -> Concept:
    return concept_of(LOINC, code) or our_concept(code)


def _minute(row: Row, number: int, origin: datetime | None) -> float:
    if row["minute"]:
        return _number(row["minute"], number)
    if origin is None:
        raise UnusableInput("Rows with a time need one row with the code admission, found none.", code="bad_table")
    return (_time(row["time"], number) - origin).total_seconds() / 60


def _time(text: str, number: int) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    except ValueError:
        pass
    raise UnusableInput(f"Line {number}: time must be ISO 8601 with its zone.", code="bad_time")


def _number(text: str, number: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = nan
    if not isfinite(value):
        raise UnusableInput(f"Line {number}: minute and value must be finite numbers.", code="bad_value")
    return value
