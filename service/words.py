"""Words for people: English sentences of the code through gettext catalogs, and numbers and dates as each language writes them.

The English sentence is the key: ``say("fr", "Sent to {count} targets.", count=2)``. Sentences that stand in a table are
marked with ``marked`` where they stand and given to ``say`` later. ``make words`` gathers both from service/, and what the
manifests of the releases say in English only, and compiles locale/fr; a test says when a sentence is not translated.
"""

from __future__ import annotations

import gettext
import re
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from models.explain.picture import WORDS as PICTURE_WORDS
from service.problem import Problem

Language = Literal["en", "fr"]
LANGUAGES: tuple[Language, ...] = ("en", "fr")
LOCALE = Path(__file__).with_name("locale")
DOMAIN = "diaphane"  # sentences of service/
PROBLEM_WORDS = "problems"  # titles and details of what goes wrong
RELEASES = "releases"  # sentences of the released manifests that state no French themselves
LONGEST_HEADER = 1000  # characters of Accept-Language that are read; browsers send some 50
_MONTHS_EN = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_QUALITY = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)")
NARROW_BLANK = "\u202f"  # no line breaks there; between groups of digits in French
_BEFORE_SIGN = re.compile(" ([;:?!%»])")


def say(language: Language, sentence: str, /, **values: Any) -> str:
    """Return a sentence in ``language`` with its {places} filled; in English when the catalog does not have it.

    >>> say("en", "Slice {n}", n=3)
    'Slice 3'
    """
    return _catalog(language, DOMAIN).gettext(sentence).format(**values) if sentence else ""


def marked(sentence: str) -> str:
    """Return the sentence as it is: it stands in a table, and is to be translated."""
    return sentence


def of_release(language: Language, english: str) -> str:
    """Return what a manifest says in English only (its limits, its uses) in ``language``; in English when nobody translated it."""
    return _catalog(language, RELEASES).gettext(english) if english else ""


def of_problem(language: Language, english: str) -> str:
    """Return the title or the detail of a problem in ``language``; a detail that holds a value stays in English."""
    return _catalog(language, PROBLEM_WORDS).gettext(english) if english else ""


def problem_in(language: Language, problem: Problem) -> Problem:
    """Return a problem with its title and detail in ``language``."""
    said = {"title": of_problem(language, problem.title), "detail": of_problem(language, problem.detail)}
    return problem.model_copy(update=said)


def in_words(language: Language, english: str, french: str) -> str:
    """Return whichever of two texts that a release states is in ``language``; English where there is no French."""
    return unbroken(french) if language == "fr" and french else english


def unbroken(french: str) -> str:
    """Keep the signs of French on the line of their word: blanks before ; : ? ! % » and after « that do not break.

    The compiled catalogs have them so already.
    """
    return _BEFORE_SIGN.sub("\u00a0\\1", french).replace("« ", "«\u00a0")


def language_of(accept_language: str | None, default: Language) -> Language:
    """Return the language of ours that a client likes best (RFC 9110, 12.5.4), ``default`` when it likes none or all alike.

    >>> language_of("de, fr-CA;q=0.8, en;q=0.7", "en")
    'fr'
    """
    liked: dict[str, float] = {}
    for part in (accept_language or "")[:LONGEST_HEADER].split(","):
        tag, _, rest = part.partition(";")
        tag, rest = tag.strip().lower(), rest.strip().lower()
        weight = 1.0 if not rest else _weight(rest)
        if tag and weight is not None:
            primary = tag.partition("-")[0]
            liked[primary] = max(liked.get(primary, 0.0), weight)
    order = sorted(LANGUAGES, key=lambda one: (-liked.get(one, liked.get("*", 0.0)), _place_of(one, liked), one != default))
    best = order[0]
    return best if liked.get(best, liked.get("*", 0.0)) > 0 else default


def as_language(word: str, default: Language) -> Language:
    """Return a word as one of our languages, ``default`` when it is none."""
    return word if word in LANGUAGES else default


def number(language: Language, value: float, digits: int = 0) -> str:
    """Write a number with ``digits`` decimals: 12 345,6 in French, 12,345.6 in English.

    >>> number("fr", 0.125, 2)
    '0,12'
    """
    text = f"{value:,.{digits}f}"
    if language == "en":
        return text
    return text.replace(",", NARROW_BLANK).replace(".", ",")


def percent(language: Language, share: float, digits: int = 0) -> str:
    """Write a share of 1 in percent: 12 % in French with a blank that does not break, 12% in English."""
    return number(language, 100 * share, digits) + ("\u00a0%" if language == "fr" else "%")


def likely(language: Language, share: float, digits: int = 0) -> str:
    """Write an estimated probability in percent, never as certainty."""
    if share < 0.01:
        return say(language, "below {share}", share=percent(language, 0.01))
    if share > 0.99:
        return say(language, "above {share}", share=percent(language, 0.99))
    return percent(language, share, digits)


def day(language: Language, when: date) -> str:
    """Write a day: 22/11/2026 in French, 22 Nov 2026 in English, which no reader takes for another."""
    if language == "fr":
        return f"{when.day:02d}/{when.month:02d}/{when.year:04d}"
    return f"{when.day} {_MONTHS_EN[when.month - 1]} {when.year:04d}"


def moment(language: Language, when: datetime) -> str:
    """Write a day and a time with its offset from UTC, where it has one."""
    offset = when.strftime("%z")
    zone = f" (UTC{offset[:3]}:{offset[3:5]})" if offset else ""
    time = f"{when.hour} h {when.minute:02d}" if language == "fr" else f"{when.hour:02d}:{when.minute:02d}"
    joint = " à " if language == "fr" else ", "
    return day(language, when) + joint + time + zone


def unit(language: Language, ucum: str) -> str:
    """Write a UCUM unit as people do: mmHg for mm[Hg], nothing for 1."""
    known = PICTURE_WORDS["units"].get(ucum)
    return str(known[language]) if known else re.sub(r"\{[^}]*\}", "", ucum)


def listed(language: Language, words: list[str]) -> str:
    """Join words as a list: a, b or c."""
    if len(words) < 2:
        return "".join(words)
    joint = " ou " if language == "fr" else " or "
    return ", ".join(words[:-1]) + joint + words[-1]


@cache
def _catalog(language: Language, domain: str) -> gettext.NullTranslations:
    if language == "en":
        return gettext.NullTranslations()
    with (LOCALE / language / "LC_MESSAGES" / f"{domain}.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def _weight(parameter: str) -> float | None:
    name, _, value = parameter.partition("=")
    value = value.strip()
    return float(value) if name.strip() == "q" and _QUALITY.fullmatch(value) else None


def _place_of(language: str, liked: dict[str, float]) -> int:
    places = list(liked)
    return places.index(language) if language in liked else places.index("*") if "*" in liked else len(places)

