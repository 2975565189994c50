"""Rules: which options of PS3.15 annex E are taken, and what they make of each attribute."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# The columns of the table that are options. Structured content and graphics are never cleaned: they go.
OPTIONS = ("safe_private", "uids", "device", "institution", "patient", "full_dates", "modified_dates", "descriptors")
REPEATING = range(0x5000, 0x5100), range(0x6000, 0x6100)  # curves and overlays: many groups with one meaning


@dataclass(frozen=True)
class Rules:
    """The options taken. By default what training needs: dates moved as one, who the patients are like, and clean descriptors."""

    safe_private: bool = True
    uids: bool = False
    device: bool = False
    institution: bool = False
    patient: bool = True
    full_dates: bool = False
    modified_dates: bool = True
    descriptors: bool = True
    oldest_years: int = 89  # an age above it is told as one more
    words: frozenset[str] = field(default=frozenset(), repr=False)  # more words that may stay in a description, in lower case

    def __post_init__(self) -> None:
        if self.full_dates and self.modified_dates:
            raise ValueError("Rules: dates are kept or moved, found both. Choose full_dates or modified_dates.")

    @property
    def taken(self) -> tuple[str, ...]:
        """The names of the options taken, in the order of the table."""
        return tuple(name for name in OPTIONS if getattr(self, name))


@cache
def read(name: str) -> dict[str, Any]:
    """Read one of the tables of this folder."""
    found: dict[str, Any] = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    return found


@cache
def actions(rules: Rules) -> dict[str, str]:
    """Return tag (8 hexadecimal digits) → action: X remove, Z empty, D dummy, U new UID, K keep, C clean.

    Of alternatives such as X/Z/D the last is taken: it never breaks an object, and tells no more than the others.
    """
    found = {}
    for tag, row in read("actions")["attributes"].items():
        action = row["basic"].rpartition("/")[2].strip("*")
        for option in rules.taken:
            action = row.get(option, action)
        found[tag] = action
    return found


def action_of(tag: int, rules: Rules) -> str | None:
    """Return what the table says of an attribute; None when it is silent."""
    if any(tag >> 16 in groups for groups in REPEATING):
        return "X"  # of an overlay without its data, and of what is drawn, nothing is of use
    return actions(rules).get(f"{tag:08x}")
