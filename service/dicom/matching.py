"""Query parameters of QIDO-RS and UPS-RS (PS3.18, 8.3.4), and matching them against DICOM JSON (PS3.4, C.2.2.2).

What cannot be matched is refused: leaving a condition out would show studies that were not asked for.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

from service.problem import ProblemError

MAX_RESULTS = 5_000
MAX_PARAMETERS = 100
MAX_VALUE = 4_096
_NUMBERS = frozenset(("DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"))
_MOMENTS = frozenset(("DA", "TM", "DT"))
_DATES = re.compile(r"[0-9.+:]*(-[0-9.+:]*)?", re.ASCII)
_NOT_MATCHED = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ"))
Attributes = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """One attribute that must match: its tags from the outermost sequence in, in hexadecimal, and the value asked for."""

    path: tuple[str, ...]
    vr: str
    value: str

    @property
    def keyword(self) -> str:
        """The keywords joined by dots."""
        return ".".join(keyword_for_tag(int(tag, 16)) for tag in self.path)

    def holds(self, attributes: Attributes) -> bool:
        """Tell whether a dataset matches."""
        return _holds(self.path, self.vr, self.value, attributes)


@dataclass(frozen=True)
class Question:
    """What was asked for. ``fields`` are top-level tags to return beside the usual ones; ``everything`` is includefield=all."""

    conditions: tuple[Condition, ...]
    fields: frozenset[str]
    everything: bool
    limit: int
    offset: int
    fuzzy: bool


def read_question(pairs: Iterable[tuple[str, str]], held: Container[str]) -> Question:
    """Read query parameters; ``held`` are the tags that can be matched. Raises ProblemError naming the rule, never a value."""
    conditions: dict[tuple[str, ...], Condition] = {}
    fields: list[str] = []
    numbers = {"limit": MAX_RESULTS, "offset": 0}
    fuzzy = False
    for count, (name, value) in enumerate(pairs):
        if count >= MAX_PARAMETERS or len(value) > MAX_VALUE:
            raise ProblemError("bad_query", f"A query may hold {MAX_PARAMETERS} parameters of {MAX_VALUE:,} characters, found more.")
        if name in numbers:
            if not (value.isascii() and value.isdigit() and len(value) <= 9):
                raise ProblemError("bad_query", f"{name} must be a whole number, 0 or more.")
            numbers[name] = int(value)
        elif name == "fuzzymatching":
            if value not in ("true", "false"):
                raise ProblemError("bad_query", "fuzzymatching must be true or false.")
            fuzzy = value == "true"
        elif name == "includefield":
            fields += [field for field in value.split(",") if field]
        elif name != "accept":
            one = _condition(name, value, held)
            if one.path in conditions:
                raise ProblemError("bad_query", "An attribute may be given once, found one given twice.")
            conditions[one.path] = one
    asked = tuple(one for one in conditions.values() if one.value.strip("*"))
    tags = {path_of(field)[0] for field in fields if field != "all"} | {path[0] for path in conditions}
    return Question(asked, frozenset(tags), "all" in fields, min(numbers["limit"], MAX_RESULTS), numbers["offset"], fuzzy)


def _condition(name: str, value: str, held: Container[str]) -> Condition:
    path = path_of(name)
    vr = _vr(path[-1])
    if value and (path[0] not in held or vr in _NOT_MATCHED):
        raise ProblemError("bad_query", "An attribute that is not kept for queries was given; the conformance statement lists "
                                        "those that are.")
    if vr in _MOMENTS and not _DATES.fullmatch(value):
        raise ProblemError("bad_query", "Dates and times are digits, or a range of them with a hyphen.")
    return Condition(path, vr, value)


def path_of(name: str) -> tuple[str, ...]:
    """Return the tags of an attribute given as keywords or tags with dots between. Raises ProblemError for another word."""
    path = []
    for word in name.split(".")[:8]:
        tag = int(word, 16) if re.fullmatch("[0-9A-Fa-f]{8}", word) else tag_for_keyword(word)
        if tag is None or not keyword_for_tag(tag):
            raise ProblemError("bad_query", "Query parameters are attributes of the standard by keyword or tag, limit, offset, "
                                            "fuzzymatching and includefield; found another.")
        path.append(f"{tag:08X}")
    if any(_vr(tag) != "SQ" for tag in path[:-1]):
        raise ProblemError("bad_query", "Only attributes inside a sequence are named with a dot.")
    return tuple(path)


def _vr(tag: str) -> str:
    return str(dictionary_VR(int(tag, 16))).split(" or ", maxsplit=1)[0]


def _holds(path: tuple[str, ...], vr: str, value: str, attributes: Attributes) -> bool:
    found = attributes.get(path[0], {}).get("Value") or []
    if len(path) > 1:
        return any(isinstance(item, dict) and _holds(path[1:], vr, value, item) for item in found)
    return any(_equal(one, vr, value) for one in found if one is not None)


def _equal(found: Any, vr: str, value: str) -> bool:
    if vr == "UI":
        return found in re.split(r"[,\\]", value)
    if vr in _NUMBERS:
        try:
            return float(found) == float(value)
        except (TypeError, ValueError):
            return False
    if vr in _MOMENTS:
        return _within(str(found), value)
    if vr == "PN":
        groups = found.values() if isinstance(found, dict) else (found,)
        return any(_alike(str(group).casefold(), value.casefold()) for group in groups)
    return any(_alike(str(found), one) for one in value.split("\\"))


def _alike(found: str, value: str) -> bool:
    return fnmatch.fnmatchcase(found, value.replace("[", "[[]")) if "*" in value or "?" in value else found == value


def _within(found: str, value: str) -> bool:
    """Compare dates and times as far as both are told: 2026 matches 20260301, and is within 20260201-."""
    first, hyphen, last = (part.replace(":", "") for part in value.partition("-"))
    if not hyphen:
        return found.startswith(first)
    return (not first or found[: len(first)] >= first) and (not last or found[: len(last)] <= last)
