"""The catalogs of words: gather every sentence of service/, of its problems and of the released manifests; renew locale/.

    python -m service.catalog        (make words; needs Babel, of the extra dev)

No date and no line number is written: the same sentences are the same files. What nobody says any more is dropped.
"""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2 import Environment, nodes

from service.problem import PROBLEMS
from service.words import DOMAIN, LOCALE, PROBLEM_WORDS, RELEASES, unbroken

SERVICE = Path(__file__).parent
TEMPLATES = SERVICE / "review" / "templates"
RELEASED = SERVICE.parent / "models" / "released"
# Function → which argument is the sentence, when it is a literal
SENTENCE_AT = {"say": 1, "marked": 0}
PROBLEM_AT = {"ProblemError": 1, "problem_of": 1}
_OWN_WORDS = "service/dicom/"  # that room says its few words from words.toml, in the language of the site
TRANSLATED = ("fr",)
_NO_DATE = datetime(2000, 1, 1, tzinfo=UTC)  # Babel writes one; the same sentences are to be the same bytes
# What manifests say in English only, and readers of cards, reports and refusals are shown. Titles, labels and notes have
# their French beside them; the rest is for the model card.
OF_MANIFEST = (
    ("summary",), ("refuses", "ood", "meaning"), ("intended_use", "purpose"), ("intended_use", "decision_role"),
    ("intended_use", "users"), ("intended_use", "population"), ("intended_use", "must_not"),
    ("intended_use", "limits"), ("intended_use", "regulatory"), ("intended_use", "human_oversight"),
    ("training_data", "period"),
)


def gather(domain: str) -> Catalog:
    """Return a catalog of the sentences as they are now, none translated."""
    made = Catalog(project="Diaphane", domain=domain)
    for sentence, place in sorted(GATHERED[domain]()):
        made.add(sentence, locations=[(place, 0)])
    return made


def read(domain: str, language: str) -> Catalog:
    """Read a catalog of translations; an empty one where there is none yet."""
    path = _po(domain, language)
    if not path.is_file():
        return Catalog(locale=language, domain=domain)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=domain)


def renewed(domain: str, language: str) -> Catalog:
    """Return the sentences of now with the translations there are."""
    made, known = gather(domain), read(domain, language)
    made.locale = language
    for message in made:
        if message.id and message.id in known:
            message.string = known[message.id].string
    return made


def as_po(catalog: Catalog) -> bytes:
    """Write a catalog as a .po file."""
    buffer = io.BytesIO()
    write_po(buffer, catalog, width=0, omit_header=True, sort_output=True, include_lineno=False)
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n'
    language = f'"Language: {catalog.locale}\\n"\n' if catalog.locale else ""
    return head.encode() + language.encode() + b"\n" + buffer.getvalue().lstrip()


def as_mo(po: bytes) -> bytes:
    """Compile a .po file, with the blanks that do not break put in: in a .po nobody would see them."""
    catalog = read_po(io.BytesIO(po))
    made = Catalog(charset="utf-8", creation_date=_NO_DATE, revision_date=_NO_DATE)
    for message in catalog:
        if message.id and message.string:
            made.add(message.id, unbroken(str(message.string)))
    buffer = io.BytesIO()
    write_mo(buffer, made)
    return buffer.getvalue()


def untranslated(domain: str, language: str) -> list[str]:
    """Return the sentences that have no words in ``language``."""
    return [str(message.id) for message in renewed(domain, language) if message.id and not message.string]


def main() -> None:
    """Renew all catalogs and compile them; say what is not translated."""
    for domain in GATHERED:
        (LOCALE / f"{domain}.pot").write_bytes(as_po(gather(domain)))
        for language in TRANSLATED:
            path = _po(domain, language)
            path.parent.mkdir(parents=True, exist_ok=True)
            po = as_po(renewed(domain, language))
            path.write_bytes(po)
            path.with_suffix(".mo").write_bytes(as_mo(po))
            for sentence in untranslated(domain, language):
                sys.stdout.write(f"{domain} {language}: {sentence!r}\n")


def _po(domain: str, language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / f"{domain}.po"


def _of_service() -> Iterator[tuple[str, str]]:
    yield from _literals(SENTENCE_AT)
    yield from _of_templates()


def _of_templates() -> Iterator[tuple[str, str]]:
    """Yield what the templates of the pages say: the literal sentences given to ``_``."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        file = path.relative_to(SERVICE.parent).as_posix()
        for call in Environment(autoescape=True).parse(path.read_text("utf-8")).find_all(nodes.Call):
            if isinstance(call.node, nodes.Name) and call.node.name == "_" and call.args:
                sentence = call.args[0]
                if not isinstance(sentence, nodes.Const):
                    raise SystemExit(f"{file}:{call.lineno}: _() takes a literal sentence; say what a table holds with say_marked.")
                yield str(sentence.value), file


def _of_problems() -> Iterator[tuple[str, str]]:
    yield from ((title, "service/problem.py") for _, title in PROBLEMS.values())
    yield from _literals(PROBLEM_AT)


def _literals(called: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yield the literal sentences that functions of these names are given, with the file they stand in."""
    for path in sorted(SERVICE.rglob("*.py")):
        file = path.relative_to(SERVICE.parent).as_posix()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))) if not file.startswith(_OWN_WORDS) else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in called:
                told = node.args[called[node.func.id]:][:1]
                yield from ((one.value, file) for one in told if isinstance(one, ast.Constant) and isinstance(one.value, str))


def _of_releases() -> Iterator[tuple[str, str]]:
    for path in sorted(RELEASED.glob("*/manifest.json")):
        manifest = json.loads(path.read_text("utf-8"))
        for keys in OF_MANIFEST:
            yield from ((sentence, f"models/released/{path.parent.name}") for sentence in _at(manifest, keys) if sentence)


def _at(part: Any, keys: tuple[str, ...]) -> Iterator[str]:
    if isinstance(part, list):
        for one in part:
            yield from _at(one, keys)
    elif keys:
        yield from _at(part.get(keys[0]), keys[1:]) if isinstance(part, dict) else ()
    elif isinstance(part, str):
        yield part


GATHERED: dict[str, Callable[[], Iterator[tuple[str, str]]]] = {
    DOMAIN: _of_service, RELEASES: _of_releases, PROBLEM_WORDS: _of_problems,
}

if __name__ == "__main__":
    main()
