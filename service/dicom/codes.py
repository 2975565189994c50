"""Words and codes of what we write: the standard's own from pydicom's dictionary, ours from words.toml (99DIAPHANE)."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Literal

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from models.explain.picture import WORDS as PICTURE_WORDS
from models.manifest import Code
from service.dicom.uids import uid_of

Language = Literal["en", "fr"]
WORDS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
OURS = "99DIAPHANE"
LONGEST_TEXT = 64  # LO: in bytes, though the standard counts letters, for receivers that count bytes
_LANGUAGES = {"en": "English", "fr": "French"}
_TAG_OF_MEANING = re.compile(r"\s*\([a-z ]+\)$")  # SNOMED CT's "(disorder)" is no part of a DICOM meaning


def ours(name: str, language: Language) -> CodedConcept:
    """Return a concept of our own coding scheme."""
    return CodedConcept(name, OURS, WORDS["concepts"][name][language])


def concept(code: Code, meaning: str = "") -> CodedConcept:
    """Return a manifest's code as DICOM writes it; a system without a designator becomes one of ours."""
    scheme = WORDS["schemes"].get(code.system, OURS)
    display = _TAG_OF_MEANING.sub("", code.display) if scheme == "SCT" else code.display
    return CodedConcept(code.code, scheme, short(meaning or display or code.code))


def reason_concept(reason: str, language: Language) -> CodedConcept:
    """Return why something was not assessed, as a code of ours with its meaning in words."""
    known = PICTURE_WORDS["reasons"].get(reason)
    meaning = known[language] if known else reason.replace("_", " ") or "unknown"
    return CodedConcept((reason or "unknown").replace("_", "-"), OURS, short(meaning))


def own_concept(code: str, meaning: str) -> CodedConcept:
    """Return a code of our own scheme in the words of whoever tells it."""
    return CodedConcept(code, OURS, short(meaning))


def language_concept(language: Language) -> CodedConcept:
    """Return the language of a report (CID 5000)."""
    return CodedConcept(language, "RFC5646", _LANGUAGES[language])


def procedure(modality: str) -> CodedConcept:
    """Return what kind of examination was looked at (CID 100)."""
    keyword = WORDS["procedures"].get(modality, "ImagingProcedure")
    return CodedConcept.from_code(getattr(codes.CID100, keyword))


def category(code: Code) -> CodedConcept:
    """Return whether a structure or something abnormal was outlined (CID 7150), as SNOMED CT's own words say."""
    abnormal = code.display.endswith(("(disorder)", "(morphologic abnormality)", "(finding)"))
    found = codes.SCT.MorphologicallyAbnormalStructure if abnormal else codes.SCT.AnatomicalStructure
    return CodedConcept.from_code(found)


def source() -> CodedConcept:
    """Return the purpose of an image that was looked at, without SNOMED CT's tag."""
    return CodedConcept(codes.SCT.Source.value, "SCT", "Source")


def method() -> CodedConcept:
    """Return the name under which the method of an explanation stands."""
    return CodedConcept(codes.SCT.MeasurementMethod.value, "SCT", "Measurement Method")


def coding_scheme() -> CodingSchemeIdentificationItem:
    """Return the item that says whose 99DIAPHANE is."""
    return CodingSchemeIdentificationItem(
        designator=OURS, name="Diaphane", uid=uid_of("2.25", "coding scheme"), responsible_organization="Diaphane"
    )


def short(text: str, *, most: int = LONGEST_TEXT) -> str:
    """Cut a text to what a long string (LO) holds."""
    return text.encode()[:most].decode(errors="ignore").strip()


def say(*keys: str, language: Language, **values: Any) -> str:
    """Return a phrase of words.toml."""
    found: Any = WORDS
    for key in keys:
        found = found[key]
    return str(found[language]).format(**values)
