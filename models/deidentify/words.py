"""Words: what may stay of a text. Only what is on a list stays; nothing is searched for and struck out."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from models.deidentify.rules import Rules, read

_TOKEN = re.compile(r"[^\W_]+")
_MEASURE = re.compile(r"[0-9]{1,3}(?:mm|cm|kv|kvp|ma|mas|ms|s|d)?")
_KERNEL = re.compile(r"[abdiqtu][a-z]?[0-9]{2}[a-z]?")  # B30f, Br40d: Siemens' names
SHORTEST_ECHO = 3
SHORTEST_PART = 4  # of what is looked for inside other words
MOST_WORDS = 12


def clean(value: str, rules: Rules, echoes: frozenset[str]) -> str:
    """Return the words of a description that are on the list or are short measures, without those that name the person."""
    kept = [one for one in _TOKEN.findall(value) if (low := fold(one)) not in echoes and _stays(low, rules)]
    return " ".join(kept[:MOST_WORDS])[:64]


def is_term(value: str) -> bool:
    """Tell whether a coded string (VR CS) is a term that is known to say nothing of a person."""
    return value.strip() in _terms()


def is_maker(value: str) -> bool:
    """Tell whether a text is the name of a maker of devices."""
    return value.strip().upper() in _makers()


def echoes_of(values: list[str]) -> frozenset[str]:
    """Return the words of values that name a person, and the values whole, so that they are found wherever else they stand."""
    told = [part for value in values for part in re.split(r"[\^=]", value)]
    parts = [fold(one).strip() for one in told] + [fold(one) for value in told for one in _TOKEN.findall(value)]
    return frozenset(one for one in parts if len(one) >= SHORTEST_ECHO)


def names(value: str, echoes: frozenset[str]) -> bool:
    """Tell whether a text is, or holds, one of the words that name a person, or such a word as a part of another."""
    low = fold(value)
    whole_or_token = (low.strip(), *_TOKEN.findall(low))
    return any(one in low for one in echoes if len(one) >= SHORTEST_PART) or any(one in echoes for one in whole_or_token)


def fold(word: str) -> str:
    """Return a word in lower case without accents."""
    plain = unicodedata.normalize("NFKD", word)
    return "".join(one for one in plain if not unicodedata.combining(one)).lower()


def _stays(word: str, rules: Rules) -> bool:
    return word in _words() or word in rules.words or bool(_MEASURE.fullmatch(word) or _KERNEL.fullmatch(word))


@cache
def _words() -> frozenset[str]:
    return frozenset(read("vocabulary")["words"])


@cache
def _terms() -> frozenset[str]:
    return frozenset(read("vocabulary")["terms"]) | {""}


@cache
def _makers() -> frozenset[str]:
    return frozenset(read("vocabulary")["makers"])
