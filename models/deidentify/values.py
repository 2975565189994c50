"""Values: what becomes of one value of one kind (VR) when it is moved, pooled, replaced by a dummy, or looked at."""

from __future__ import annotations

import math
import re
from datetime import date, datetime, timedelta
from typing import Any

from pydicom.uid import UID_dictionary

DATES = frozenset(("DA", "DT", "TM"))
TEXTS = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
NUMBERS = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))
BYTES = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
ANONYMOUS = "ANONYMIZED"
_TIME = re.compile(r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:[0-6][0-9](?:\.[0-9]{1,6})?)?)?")
_DATETIME = re.compile(r"([0-9]{8})([0-9]{0,6}(?:\.[0-9]{1,6})?)([+-][0-9]{4})?")
_AGE = re.compile(r"([0-9]{3})([DWMY])")
_DUMMIES: dict[str, Any] = {
    "AS": "000D", "CS": ANONYMOUS, "DA": "19000101", "DS": "0", "DT": "19000101000000", "IS": "0", "TM": "000000",
    "UR": "http://anonymized.invalid", "AT": 0, "FD": 0.0, "FL": 0.0,
}


def dummy(vr: str) -> Any:
    """Return a value of a kind that says nothing (action D)."""
    if vr in _DUMMIES:
        return _DUMMIES[vr]
    if vr in BYTES:
        return b"\x00\x00"
    return 0 if vr in NUMBERS else ANONYMOUS


def moved(vr: str, value: str, days: int) -> str:
    """Return a date, time or both, moved by whole days; "" when it is none. The time of day stays: the steps of a day are data."""
    written = value.strip()
    if vr == "TM":
        return written if _TIME.fullmatch(written) else ""
    found = _DATETIME.fullmatch(written)
    if found is None or (vr == "DA" and len(written) != 8):
        return ""
    try:
        there = datetime.strptime(found[1], "%Y%m%d").date() + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    time = found[2] if _TIME.fullmatch(found[2]) else ""
    return f"{there.year:04}{there:%m%d}{time}{found[3] or '' if time else ''}"


def pooled(age: str, oldest_years: int) -> str:
    """Return an age; of the oldest only that they are older (the rule of many laws: above 89 years few are left)."""
    found = _AGE.fullmatch(age.strip())
    if found is None:
        return ""
    years = int(found[1]) / {"Y": 1.0, "M": 12.0, "W": 52.18, "D": 365.25}[found[2]]
    return f"{oldest_years + 1:03}Y" if years > oldest_years else found[0]


def age_between(birth: str, study: str) -> str:
    """Return the age at a study as DICOM writes it: days, months below two years, years; "" when it cannot be told."""
    try:
        born, seen = (datetime.strptime(one.strip(), "%Y%m%d").date() for one in (birth, study))
    except ValueError:
        return ""
    return _age(born, seen) if born <= seen else ""


def _age(born: date, seen: date) -> str:
    months = 12 * (seen.year - born.year) + seen.month - born.month - (seen.day < born.day)
    if months >= 24:
        return f"{min(months // 12, 999):03}Y"
    return f"{months:03}M" if months else f"{(seen - born).days:03}D"


def is_number(value: Any) -> bool:
    """Tell whether a value is one finite number, also where it was written as text."""
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def is_registered(uid: str) -> bool:
    """Tell whether a UID is one of the standard's own: a kind of object, a transfer syntax, a frame of reference of an atlas."""
    return uid in UID_dictionary
