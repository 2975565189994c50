"""The nouns of a report: sentences with where they come from, sections, a draft and its versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from service.words import Language, marked

State = Literal["draft", "edited", "validated", "superseded"]
Origin = Literal["ai", "image", "person"]
SectionName = Literal["indication", "technique", "results", "conclusion"]
# The order is that of a report. LOINC codes are those of the French imaging report (IMG-CR-IMG) where it has the section.
SECTIONS: dict[SectionName, tuple[str, str]] = {
    "indication": (marked("Indication"), "55752-0"),
    "technique": (marked("Technique"), "55111-9"),
    "results": (marked("Results"), "59776-5"),
    "conclusion": (marked("Conclusion"), "19005-8"),
}


@dataclass(frozen=True)
class Sentence:
    """One sentence. ``origin`` says who stands behind it: a model, the headers of the images, or a person who wrote it.

    ``source`` names what it was made from: "chest_xray_pediatric-1.0.0/pneumonia" and ``result`` the row of that result; ""
    and None for a person's own words. ``certainty`` is the calibrated probability of the finding, where it has one.
    """

    text: str
    origin: Origin
    source: str = ""
    result: int | None = None
    certainty: float | None = None


@dataclass(frozen=True)
class Section:
    """One section; without sentences it is empty, and pages say so."""

    name: SectionName
    sentences: tuple[Sentence, ...] = ()


@dataclass(frozen=True)
class Draft:
    """One version of a report of one study. ``number`` counts versions from 1; only a validated one may leave as a document."""

    study_uid: str
    number: int
    state: State
    language: Language
    sections: tuple[Section, ...]
    made_at: datetime
    results: tuple[int, ...] = ()  # rows of the results it rests on

    def section(self, name: SectionName) -> Section:
        """Return one section; an empty one when it is not there."""
        return next((one for one in self.sections if one.name == name), Section(name))

    @property
    def text_sha256(self) -> str:
        """What the text is known by: two versions that read the same have the same."""
        return sha256_of_text(self.sections)


def one_line(text: str) -> str:
    """Return text on one line, without what no page can show: controls, and signs that turn the direction of reading."""
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def sha256_of_text(sections: Iterable[Section]) -> str:
    """Hash the words of a report, section by section: not who stands behind them."""
    words = [[one.name, [sentence.text for sentence in one.sentences]] for one in sections if one.sentences]
    return hashlib.sha256(json.dumps(words, ensure_ascii=False).encode()).hexdigest()


def to_json(sections: Iterable[Section]) -> list[dict[str, Any]]:
    """Write sections as the store and the API hold them."""
    return [
        {"name": one.name, "sentences": [
            {"text": sentence.text, "origin": sentence.origin, "source": sentence.source, "result": sentence.result,
             "certainty": sentence.certainty}
            for sentence in one.sentences
        ]}
        for one in sections
    ]


def from_json(written: Iterable[dict[str, Any]]) -> tuple[Section, ...]:
    """Read what ``to_json`` wrote."""
    return tuple(Section(one["name"], tuple(Sentence(**sentence) for sentence in one["sentences"])) for one in written)
