"""Truth from reports by simple rules: terms, negation, uncertainty and history, in French and English.

After NegEx (Chapman 2001, doi:10.1006/jbin.2001.1029): a finding is denied or doubted by words before it in the same clause,
or right after it. Rules are wrong at times: ``measure`` says how often on labelled sentences; do the same on a hundred of
your own reports before you trust them.
"""

from __future__ import annotations

import json
import re
import tomllib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from models.errors import UnusableInput

TABLE = Path(__file__).with_name("report_rules.toml")
EXAMPLES = Path(__file__).with_name("report_examples.jsonl")
Label = int | None
_CLAUSE = re.compile(r"[.;!?\n]+")
_HEADING = re.compile(r"(?:^|[.\n])\s*([^:.\n]{3,40}?)\s*:")
_ASKING, _ASKED = re.compile(r"(?<!\S)\?(?=\w)"), re.compile(r"\s*\?")  # "?pneumonia" and "pneumonia ?" state nothing
AFTER = 4  # words between a finding and the word that denies it


@dataclass(frozen=True)
class Rules:
    """The table, ready for use: ``findings`` name → pattern, the rest lists of phrases as patterns."""

    findings: dict[str, re.Pattern[str]]
    denied: tuple[re.Pattern[str], re.Pattern[str]]  # before, after
    doubted: tuple[re.Pattern[str], re.Pattern[str]]
    history: re.Pattern[str]
    seeming: re.Pattern[str]  # denies something else: "no change in"
    ends: re.Pattern[str]
    words: int
    left_out: frozenset[str]


@dataclass(frozen=True)
class Measured:
    """How the rules do on labelled texts: of those they decide, and how many they leave open."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    open_positive: int  # labelled 1, left unknown
    open_negative: int
    open_right: int  # labelled unknown, left unknown
    decided_unknown: int  # labelled unknown, decided

    @property
    def sensitivity(self) -> float:
        """Of the positive ones that were decided."""
        return self.true_positive / max(self.true_positive + self.false_negative, 1)

    @property
    def specificity(self) -> float:
        """Of the negative ones that were decided."""
        return self.true_negative / max(self.true_negative + self.false_positive, 1)


@cache
def rules(path: Path = TABLE) -> Rules:
    """Read the table."""
    table = tomllib.loads(path.read_text("utf-8"))
    return Rules(
        {name: _pattern([*terms["en"], *terms["fr"]]) for name, terms in table["findings"].items()},
        (_pattern(table["negation"]["before"]), _pattern(table["negation"]["after"])),
        (_pattern(table["uncertain"]["before"]), _pattern(table["uncertain"]["after"])),
        _pattern(table["history"]["before"]), _pattern(table["negation"]["seeming"]),
        _pattern(table["scope"]["ends"]), int(table["scope"]["words"]),
        frozenset(table["scope"]["left_out"]),
    )


def read_report(text: str, finding: str) -> Label:
    """Return 1 when the report states the finding, 0 when it denies it or says nothing of it, None when it doubts or is empty.

    One statement outweighs any denial: "no effusion on the right; effusion on the left". Raises UnusableInput for a finding
    that the table does not have.

    >>> read_report("Pas de foyer. Pas d'épanchement pleural.", "pneumonia"), read_report("Right lower lobe pneumonia.", "pneumonia")
    (0, 1)
    """
    known = rules()
    if finding not in known.findings:
        raise UnusableInput(f"Reports are read for {', '.join(sorted(known.findings))}, found another finding. Add its words to "
                            f"{TABLE.name}.", code="unknown_finding")
    if not text.strip():
        return None
    said = [label for clause in _clauses(text, known) for label in _mentions(clause, known, finding)]
    if 1 in said:
        return 1
    return None if None in said else 0


def measure(examples: Iterable[tuple[str, str, Label]]) -> Measured:
    """Count how the rules do on (text, finding, label)."""
    cells = dict.fromkeys(("tp", "fp", "fn", "tn", "op", "on", "oo", "du"), 0)
    for text, finding, label in examples:
        found = read_report(text, finding)
        cells[{(1, 1): "tp", (0, 1): "fp", (1, 0): "fn", (0, 0): "tn", (1, None): "op", (0, None): "on", (None, None): "oo"}.get(
            (label, found), "du")] += 1
    return Measured(*cells.values())


def examples(path: Path = EXAMPLES) -> list[tuple[str, str, Label]]:
    """Return the labelled sentences that were written to measure the rules; none is of a person."""
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [(one["text"], one["finding"], one["label"]) for one in lines]


def _clauses(text: str, known: Rules) -> list[str]:
    """Return what the report states, clause by clause: plain words, without what stands under a heading that is left out."""
    kept, place, skipping = [], 0, False
    flat = "".join(one for one in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(one))
    flat = _ASKED.sub(" questioned . ", _ASKING.sub(" questionable ", flat))
    for heading in _HEADING.finditer(flat):
        if not skipping:
            kept.append(flat[place : heading.start()])
        skipping, place = heading.group(1).strip() in known.left_out, heading.end()
    if not skipping:
        kept.append(flat[place:])
    parts = [part for one in kept for part in _CLAUSE.split(one)]
    return [" ".join(re.findall(r"[a-z0-9]+", clause)) for part in parts for clause in known.ends.split(_spaced(part))]


def _mentions(clause: str, known: Rules, finding: str) -> list[Label]:
    said: list[Label] = []
    for match in known.findings[finding].finditer(clause):
        before = known.seeming.sub("", " ".join(clause[: match.start()].split()[-known.words :]))
        after = " ".join(clause[match.end() :].split()[: AFTER + 3])
        if known.history.search(before):
            continue
        doubted = known.doubted[0].search(before) or known.doubted[1].search(after)
        denied = known.denied[0].search(before) or known.denied[1].search(after)
        said.append(None if doubted else 0 if denied else 1)
    return said


def _spaced(part: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", part))


def _pattern(phrases: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of whole words: the longest phrase first, * for any ending."""
    escaped = [re.escape(one).replace(r"\*", r"\w*").replace(r"\ ", r"\s+") for one in sorted(phrases, key=len, reverse=True)]
    return re.compile(rf"\b(?:{'|'.join(escaped)})\b")
