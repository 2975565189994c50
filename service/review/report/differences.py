"""What changed between two versions of a report, sentence by sentence and within a sentence word by word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from service.reporting.report import SECTIONS, Section, SectionName

Kind = Literal["same", "added", "removed"]
ALIKE = 0.5  # share of words two sentences have in common to be shown as one that was changed
_WORDS = re.compile(r"\s+|[^\s]+")


@dataclass(frozen=True)
class Piece:
    """Words that stayed, came or went."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class ChangedSection:
    """One section: a list of sentences, each in pieces."""

    name: SectionName
    sentences: tuple[tuple[Piece, ...], ...]

    @property
    def changed(self) -> bool:
        """Whether anything in it is not as it was."""
        return any(piece.kind != "same" for pieces in self.sentences for piece in pieces)


def differences(before: Iterable[Section], after: Iterable[Section]) -> tuple[ChangedSection, ...]:
    """Compare two versions, section by section in the order of a report."""
    old, new = ({one.name: [sentence.text for sentence in one.sentences] for one in some} for some in (before, after))
    return tuple(ChangedSection(name, tuple(_sentences(old.get(name, []), new.get(name, [])))) for name in SECTIONS)


def _sentences(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[Piece, ...]]:
    for word, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if word == "equal":
            yield from ((Piece("same", text),) for text in old[old_from:old_to])
            continue
        gone, came = list(old[old_from:old_to]), list(new[new_from:new_to])
        while gone and came:
            first, second = gone.pop(0), came.pop(0)
            pieces = _words(first, second)
            if pieces:
                yield pieces
            else:
                yield (Piece("removed", first),)
                yield (Piece("added", second),)
        yield from ((Piece("removed", text),) for text in gone)
        yield from ((Piece("added", text),) for text in came)


def _words(old: str, new: str) -> tuple[Piece, ...]:
    """Return one sentence with its words that changed, () when the two are not the same sentence changed."""
    first, second = _WORDS.findall(old), _WORDS.findall(new)
    matcher = SequenceMatcher(None, first, second, autojunk=False)
    if matcher.ratio() < ALIKE:
        return ()
    pieces: list[Piece] = []
    for word, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if word == "equal":
            pieces.append(Piece("same", "".join(first[old_from:old_to])))
            continue
        if old_to > old_from:
            pieces.append(Piece("removed", "".join(first[old_from:old_to])))
        if new_to > new_from:
            pieces.append(Piece("added", "".join(second[new_from:new_to])))
    return tuple(pieces)
