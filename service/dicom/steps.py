"""Unified Procedure Steps as PS3.4, annex CC, wants them: what must be there when, and what a change of state does.

Pure: DICOM JSON in, DICOM JSON out. Who asks and how he is answered is in ups.py.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from typing import Any

from pydicom.datadict import keyword_for_tag

from service.problem import ProblemError

Attributes = dict[str, Any]
PUSH_CLASS = "1.2.840.10008.5.1.4.34.6.1"
SCHEDULED, IN_PROGRESS, COMPLETED, CANCELED = "SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"
PRIORITIES = {"HIGH": 1, "MEDIUM": 0, "LOW": -1}
MAX_DEPTH, MAX_VALUES = 16, 20_000

STATE, TRANSACTION, PRIORITY, LABEL, START = "00741000", "00081195", "00741200", "00741204", "00404005"
WORKLIST, READINESS, INPUTS, CHANGED = "00741202", "00404041", "00404021", "00404010"
PROGRESS, PERFORMED, STUDY, SERIES = "00741002", "00741216", "0020000D", "0020000E"
CANCELED_AT, REASON, REASON_CODE = "00404052", "00741238", "0074100E"
_CLASS, _UID = "00080016", "00080018"

# PS3.4, table CC.2.5-3: type 1 when created; type 2, made empty here when left out; never changed afterwards.
NEEDED = (PRIORITY, LABEL, START, READINESS, STATE)
EMPTY = {
    "00741210": "SQ", "00404025": "SQ", "00404026": "SQ", "00404027": "SQ", "00404018": "SQ", "00400400": "LT", INPUTS: "SQ",
    "00100010": "PN", "00100020": "LO", "00100030": "DA", "00100040": "CS", "00101002": "SQ", "00380010": "LO", "00380014": "SQ",
    "00081080": "LO", "00081084": "SQ", "0040A370": "SQ", PROGRESS: "SQ", PERFORMED: "SQ",
}
FIXED = frozenset((_CLASS, _UID, TRANSACTION, STATE, CHANGED, "00100010", "00100020", "00100021", "00100024", "00100030",
                   "00100040", "00101002", "00380010", "00380014", "0040A370"))
# What a step needs before it may be COMPLETED, in the first item of the performed procedure sequence.
FINAL = ("00404028", "00404050", "00404019", "00404051")  # station, start, workitem code, end
OUTPUT = "00404033"  # must be there; a step may have made nothing
_VALUE_KEYS = frozenset(("vr", "Value", "InlineBinary"))


def read_dataset(body: bytes) -> Attributes:
    """Read one dataset of DICOM JSON, alone or in a list of one. Raises ProblemError (400)."""
    try:
        found = json.loads(body, parse_constant=_no_number, parse_float=_finite)
        if isinstance(found, list) and len(found) == 1:
            found = found[0]
        _check(found, [0], 0)
    except (ValueError, RecursionError):
        raise ProblemError("bad_workitem", "The body must be one dataset as DICOM JSON (PS3.18, annex F), "
                                           f"up to {MAX_DEPTH} deep and without bulk data.") from None
    return dict(found)


def text(attributes: Attributes, tag: str) -> str:
    """Return the first value of an attribute as text, "" when it has none."""
    values = attributes.get(tag, {}).get("Value") or [""]
    return str(values[0]) if isinstance(values[0], str | int | float) else ""


def items(attributes: Attributes, tag: str) -> list[Attributes]:
    """Return the items of a sequence."""
    return [one for one in attributes.get(tag, {}).get("Value") or [] if isinstance(one, dict)]


def created(sent: Attributes, uid: str, label: str) -> tuple[Attributes, bool]:
    """Return a new step as it is kept, and whether something was added to it. Raises ProblemError (400)."""
    for tag in NEEDED:
        if not text(sent, tag):
            raise _bad(tag, "must have a value when a workitem is created")
    if text(sent, STATE) != SCHEDULED:
        raise _bad(STATE, "must be SCHEDULED when a workitem is created")
    if text(sent, PRIORITY) not in PRIORITIES:
        raise _bad(PRIORITY, f"must be one of {', '.join(PRIORITIES)}")
    if text(sent, READINESS) not in ("READY", "INCOMPLETE", "UNAVAILABLE"):
        raise _bad(READINESS, "must be READY, INCOMPLETE or UNAVAILABLE")
    for tag in (TRANSACTION, PROGRESS, PERFORMED):
        if sent.get(tag, {}).get("Value"):
            raise _bad(tag, "must be empty when a workitem is created")
    if text(sent, _UID) not in ("", uid) or text(sent, _CLASS) not in ("", PUSH_CLASS):
        raise _bad(_UID, "and SOPClassUID, where given, must be those of the address and of UPS Push")
    added = {tag: {"vr": vr} for tag, vr in EMPTY.items() if tag not in sent}
    if not text(sent, WORKLIST):
        added[WORKLIST] = value("LO", label)
    kept = {tag: element for tag, element in sent.items() if tag != TRANSACTION}
    own = {_CLASS: value("UI", PUSH_CLASS), _UID: value("UI", uid), CHANGED: value("DT", now())}
    return kept | added | own, bool(added)


def changed(step: Attributes, sent: Attributes) -> Attributes:
    """Return a step with attributes set anew. Raises ProblemError (400) for one that may not be."""
    for tag in sent:
        if tag in FIXED:
            raise _bad(tag, "may not be changed")
    for tag in (PRIORITY, LABEL, START, READINESS):
        if tag in sent and not text(sent, tag):
            raise _bad(tag, "may not be emptied")
    if PRIORITY in sent and text(sent, PRIORITY) not in PRIORITIES:
        raise _bad(PRIORITY, f"must be one of {', '.join(PRIORITIES)}")
    return step | sent | {CHANGED: value("DT", now())}


def lacking(step: Attributes) -> list[str]:
    """List, by keyword, what a step lacks to be COMPLETED."""
    performed = (items(step, PERFORMED) or [{}])[0]
    missing = [tag for tag in FINAL if not performed.get(tag, {}).get("Value")]
    return [keyword_for_tag(int(tag, 16)) for tag in (*missing, *(() if OUTPUT in performed else (OUTPUT,)))]


def cancelled(step: Attributes, told: Attributes | None = None) -> Attributes:
    """Return a step with when and why it was cancelled; what was said before, or is told now, stays."""
    progress = (items(step, PROGRESS) or [{}])[0]
    said = {tag: element for tag, element in (told or {}).items() if tag in (REASON, REASON_CODE)}
    unspecified = code("110513", "DCM", "Discontinued for unspecified reason")
    usual = {CANCELED_AT: value("DT", now()), REASON_CODE: {"vr": "SQ", "Value": [unspecified]}}
    progress = usual | {tag: element for tag, element in (progress | said).items() if element.get("Value")}
    return step | {PROGRESS: {"vr": "SQ", "Value": [progress]}, CHANGED: value("DT", now())}


def shown(step: Attributes, state: str) -> Attributes:
    """Return a step as it is given out, in the order of tags: never with its Transaction UID (PS3.18, 11.5)."""
    known = {tag: element for tag, element in step.items() if len(tag) == 8 and tag != TRANSACTION}
    return dict(sorted((known | {STATE: value("CS", state)}).items()))


def study_of(step: Attributes) -> str:
    """Return the study a step is about: of its inputs, else of its request; "" when it names none."""
    for tag in (INPUTS, "0040A370"):
        for item in items(step, tag):
            if text(item, STUDY):
                return text(item, STUDY)
    return text(step, STUDY)


def code(word: str, scheme: str, meaning: str) -> Attributes:
    """Write a coded entry."""
    return {"00080100": value("SH", word), "00080102": value("SH", scheme), "00080104": value("LO", meaning)}


def value(vr: str, *values: Any) -> Attributes:
    """Write one attribute."""
    return {"vr": vr, "Value": list(values)}


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID (PS3.5, 9.1); components padded with zeros are let pass, real devices send them."""
    return len(text) <= 64 and re.fullmatch(r"[0-9]+(\.[0-9]+)*", text, re.ASCII) is not None


def new_uid() -> str:
    """Make a UID that nobody has (PS3.5, B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def now() -> str:
    """Return this moment as DT."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S+0000")


def _bad(tag: str, rule: str) -> ProblemError:
    return ProblemError("bad_workitem", f"{keyword_for_tag(int(tag, 16))} {rule} (PS3.4, table CC.2.5-3).")


def _check(dataset: Any, seen: list[int], depth: int) -> None:
    """Raise ValueError for what is not DICOM JSON of bounded size."""
    if not isinstance(dataset, dict) or depth > MAX_DEPTH:
        raise ValueError
    for tag, element in dataset.items():
        seen[0] += 1
        if not (re.fullmatch("[0-9A-F]{8}", tag) and isinstance(element, dict) and _VALUE_KEYS.issuperset(element)):
            raise ValueError
        values, vr = element.get("Value", []), element.get("vr")
        if not (isinstance(vr, str) and re.fullmatch("[A-Z]{2}", vr) and isinstance(values, list)):
            raise ValueError
        seen[0] += len(values)
        if seen[0] > MAX_VALUES:
            raise ValueError
        for one in values:
            if vr == "SQ":
                _check(one, seen, depth + 1)
            elif vr == "PN":
                if not (one is None or (isinstance(one, dict) and all(isinstance(part, str) for part in one.values()))):
                    raise ValueError
            elif not (one is None or isinstance(one, str | int | float)) or (isinstance(one, str) and "\0" in one):
                raise ValueError


def _no_number(_: str) -> float:
    raise ValueError


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError
    return number
