"""Units as hospitals spell them → a unit that the tables convert: UCUM first, then known spellings, then sloppy ones.

Sloppy is what cannot mean anything else for that code: blanks, letter case, an annotation in braces. https://ucum.org/ucum.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cache

from models.codes import DESCRIBED, SYNONYMS, Concept, to_our_unit

UCUM = "http://unitsofmeasure.org"
MAX_LENGTH = 40
_ANNOTATION = re.compile(r"(?<=.)\{[^{}]*\}|\{[^{}]*\}(?=.)")
_DIMENSIONLESS = frozenset({"1", "{score}", "[pH]"})


def in_our_unit(concept: Concept, value: float, unit: str, local: Mapping[str, str]) -> float:
    """Convert a value. Raises UnusableInput naming code and unit when the table has no way."""
    return to_our_unit(concept, value, known_unit(concept, local.get(unit, unit)))


def known_unit(concept: Concept, unit: str) -> str:
    """Return the unit under a spelling that the code's table knows, the unit itself when there is none or more than one."""
    ways = DESCRIBED[concept.name]["conversion"][concept.quantity]
    if SYNONYMS.get(unit, unit) in ways:
        return unit
    if not unit:
        return next((way for way in ways if way in _DIMENSIONLESS), unit)
    if len(unit) > MAX_LENGTH:
        return unit
    plain = _plain(unit)
    found = _by_plain(concept).get(plain, set()) | (_SLOPPY.get(plain, set()) & ways.keys())
    return next(iter(found)) if len(found) == 1 else unit


def _plain(unit: str) -> str:
    """Return a spelling without what people vary: case, blanks, kinds of mu, signs of a power, annotations."""
    bare = _ANNOTATION.sub("", unit.replace("μ", "u").replace("µ", "u"))
    return re.sub(r"\s", "", bare).replace("^", "*").replace("**", "*").casefold()


@cache
def _by_plain(concept: Concept) -> Mapping[str, set[str]]:
    return _grouped((way, way) for way in DESCRIBED[concept.name]["conversion"][concept.quantity])


def _grouped(spellings: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for spelling, way in spellings:
        found[_plain(spelling)].add(way)
    return dict(found)


_SLOPPY = _grouped(SYNONYMS.items())
