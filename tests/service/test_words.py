"""Words: every sentence of the service is translated with its places kept, and a client gets the language it asked for."""

from __future__ import annotations

import ast
import gettext
import re
import string
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import catalog
from service.problem import problem_of
from service.words import (
    DOMAIN,
    LOCALE,
    PROBLEM_WORDS,
    RELEASES,
    Language,
    as_language,
    day,
    in_words,
    language_of,
    listed,
    moment,
    number,
    of_problem,
    of_release,
    percent,
    say,
    unbroken,
    unit,
)
from tests.make import ROOT


def _compiled(domain: str) -> gettext.GNUTranslations:
    with (LOCALE / "fr" / "LC_MESSAGES" / f"{domain}.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def _places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("domain", [DOMAIN, RELEASES, PROBLEM_WORDS])
def test_every_sentence_is_translated_in_the_catalog_that_is_read(domain: str) -> None:
    compiled = _compiled(domain)
    found = [str(one.id) for one in catalog.gather(domain) if one.id]
    assert found
    assert [] == [one for one in found if one not in compiled._catalog]  # type: ignore[attr-defined]


def test_every_translation_keeps_the_places_of_its_sentence() -> None:
    translated = {str(one.id): str(one.string) for one in catalog.read(DOMAIN, "fr") if one.id}
    assert {} == {one: french for one, french in translated.items() if _places(one) != _places(french)}


@pytest.mark.parametrize("domain", [DOMAIN, RELEASES, PROBLEM_WORDS])
def test_the_files_are_what_make_words_writes(domain: str) -> None:
    po = catalog.as_po(catalog.renewed(domain, "fr"))
    assert (LOCALE / "fr" / "LC_MESSAGES" / f"{domain}.po").read_bytes() == po
    assert (LOCALE / f"{domain}.pot").read_bytes() == catalog.as_po(catalog.gather(domain))
    assert (LOCALE / "fr" / "LC_MESSAGES" / f"{domain}.mo").read_bytes() == catalog.as_mo(po)


def test_what_is_said_is_a_literal_or_stands_in_a_table_that_is_marked() -> None:
    """A sentence in a variable would not be gathered: its file must mark, or import, the table it comes from."""
    loose = []
    for path in sorted((ROOT / "service").rglob("*.py")):
        if path.is_relative_to(ROOT / "service/dicom") or path.name in ("words.py", "catalog.py"):
            continue
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say" and len(node.args) > 1:
                told = node.args[1]
                literal = isinstance(told, ast.Constant) and isinstance(told.value, str)
                if not literal and not re.search(r"\bmarked\(|SECTIONS|_MARK\b|_WORDS\b|FLAGS|TITLES|verdict\.reasons import", text):
                    loose.append(f"{path.relative_to(ROOT)}:{node.lineno}")
                if isinstance(told, ast.JoinedStr):
                    loose.append(f"{path.relative_to(ROOT)}:{node.lineno} is an f-string")
    assert [] == loose


@pytest.mark.parametrize(("header", "default", "expected"), [
    (None, "fr", "fr"), ("", "en", "en"), ("fr", "en", "fr"), ("FR-ca", "en", "fr"), ("en-GB,en;q=0.9,fr;q=0.8", "fr", "en"),
    ("de, fr;q=0.5", "en", "fr"), ("de", "fr", "fr"), ("*", "fr", "fr"), ("*;q=0.5, en;q=0.1", "en", "fr"),
    ("en;q=0, *", "en", "fr"), ("fr;q=0.001", "en", "fr"), ("fr;q=0", "en", "en"), ("fr;q=2", "en", "en"), ("fr;level=1", "en", "en"),
    ("en;q=0.5, fr;q=0.5", "fr", "en"), (";;,=,q", "en", "en"), ("fr;q=0.8, fr-BE;q=1, en;q=0.9", "en", "fr"),
    ("x" * 900 + "," * 200 + "fr", "en", "en"),
])
def test_the_language_a_client_likes_best_is_chosen(header: str | None, default: Language, expected: Language) -> None:
    assert expected == language_of(header, default)


@given(st.text(max_size=200), st.sampled_from(["en", "fr"]))
def test_any_header_gives_one_of_our_languages(header: str, default: Language) -> None:
    assert language_of(header, default) in ("en", "fr")


def test_numbers_dates_and_units_are_written_as_each_language_does() -> None:
    assert ("12\u202f345,60", "12,345.60") == (number("fr", 12345.6, 2), number("en", 12345.6, 2))
    assert ("23\u00a0%", "23%") == (percent("fr", 0.23), percent("en", 0.23))
    assert ("01/03/2026", "1 Mar 2026") == (day("fr", date(2026, 3, 1)), day("en", date(2026, 3, 1)))
    when = datetime(2026, 3, 1, 9, 5, tzinfo=UTC)
    assert ("01/03/2026 à 9 h 05 (UTC+00:00)", "1 Mar 2026, 09:05 (UTC+00:00)") == (moment("fr", when), moment("en", when))
    assert ("mmHg", "ans", "mg/L") == (unit("fr", "mm[Hg]"), unit("fr", "a"), unit("fr", "mg/L{x}"))
    assert ("a, b ou c", "a or b", "a", "") == (listed("fr", ["a", "b", "c"]), listed("en", ["a", "b"]), listed("en", ["a"]),
                                                listed("en", []))


def test_a_problem_is_said_in_french() -> None:
    problem = problem_of("not_found", "There is nothing here.")
    assert ("Adresse inconnue", "Il n'y a rien ici.") == (of_problem("fr", problem.title), of_problem("fr", problem.detail))
    assert "No such address" == of_problem("en", problem.title)


def test_french_signs_stay_on_the_line_of_their_word() -> None:
    assert "a\u00a0: b\u00a0; «\u00a0c\u00a0»\u00a0? 5\u00a0%, d:e" == unbroken("a : b ; « c » ? 5 %, d:e")
    assert "Motif\u00a0: fièvre" == in_words("fr", "Reason : fever", "Motif : fièvre")
    assert "Reason : fever" == in_words("en", "Reason : fever", "Motif : fièvre")
    catalogs = [_compiled(domain)._catalog for domain in (DOMAIN, RELEASES, PROBLEM_WORDS)]  # type: ignore[attr-defined]
    compiled = [str(words) for one in catalogs for words in one.values()]
    assert [] == [words for words in compiled if re.search(" [;:?!%»]|« ", words)]


def test_a_value_with_braces_or_percent_signs_is_said_as_it_is() -> None:
    assert "Motif indiqué\u00a0: {rpps} 100 % %s" == say("fr", "Reason given: {words}", words="{rpps} 100 % %s")


def test_a_sentence_nobody_translated_comes_in_english() -> None:
    assert ("Never said.", "Never said.") == (say("fr", "Never said."), of_release("fr", "Never said."))
    assert ("oui", "yes", "yes") == (in_words("fr", "yes", "oui"), in_words("fr", "yes", ""), in_words("en", "yes", "oui"))
    assert ("fr", "en") == (as_language("fr", "en"), as_language("de", "en"))
