"""Single attributes out of an outlined file, as text or DICOM JSON (PS3.18, annex F), without parsing the rest.

What cannot be read is left out: a wrong value of a peer is no reason to lose its image.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterable
from typing import Any

from pydicom.charset import decode_bytes, python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filereader import read_sequence
from pydicom.tag import Tag
from pydicom.uid import UID

from models.dicom_bytes import BIG_ENDIAN, IMPLICIT, Outline

Json = dict[str, Any]
MAX_VALUE_BYTES = 4096  # of one attribute; the longest text of a VR with a limit has 1,024 characters
MAX_LENGTHS = {"AE": 16, "CS": 16, "SH": 16, "LO": 64, "PN": 324, "DA": 18, "TM": 28}  # PS3.5, 6.2; PN: 5 groups
LONGEST_ID = 256  # of a universal entity, which may be a URI
_IN_CHARACTER_SET = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
_WHOLE = {"US": ("H", 2), "UL": ("I", 4), "SS": ("h", 2), "SL": ("i", 4)}
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")  # of a person name
_CONTROL = dict.fromkeys((*range(32), 127))  # of no use in a header, and PostgreSQL takes no NUL
_RESETS = {ord(sign) for sign in "\\^="}  # an escape to another character set ends there (PS3.5, 6.1.2.5.3)
_CHARACTER_SET = "SpecificCharacterSet"
_UTF_8 = {"vr": "CS", "Value": ["ISO_IR 192"]}  # what JSON is in


class Values:
    """The values of one file, read when asked for."""

    def __init__(self, found: Outline) -> None:
        self._found = found
        self._order = ">" if found.syntax == BIG_ENDIAN else "<"
        self._character_sets = ["iso8859"]
        named = self._texts(*_tag_and_vr(_CHARACTER_SET))
        self._declares_character_set = any(named)
        self._character_sets = [python_encoding[name] for name in named if name in python_encoding] or ["iso8859"]

    def text(self, keyword: str) -> str:
        """Return the first value as stripped text, "" when absent."""
        return next(iter(self._texts(*_tag_and_vr(keyword))), "")

    def json(self, keywords: Iterable[str]) -> Json:
        """Return the attributes that are there as DICOM JSON; an attribute without a value has its VR only."""
        attributes: Json = {}
        for keyword in keywords:
            tag, vr = _tag_and_vr(keyword)
            if tag in self._found.places:
                values = self._items(tag) if vr == "SQ" else self._json_values(tag, vr)
                attributes[f"{tag:08X}"] = {"vr": vr, "Value": values} if values else {"vr": vr}
        if attributes and self._declares_character_set:
            attributes["00080005"] = _UTF_8
        return attributes

    def dataset(self, keywords: Iterable[str]) -> FileDataset:
        """Return a dataset of the named attributes only, converted by pydicom when they are looked at."""
        little, implicit = self._order == "<", self._found.syntax == IMPLICIT
        some = Dataset()
        for keyword in keywords:
            tag, vr = _tag_and_vr(keyword)
            if tag in self._found.places:
                _, start, end = self._found.places[tag]
                value: Any = self._found.body[start:end]
                if end - start <= MAX_VALUE_BYTES:
                    value = bytes(value)
                some[Tag(tag)] = RawDataElement(Tag(tag), vr, end - start, value, start, implicit, little)
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = UID(self._found.syntax)
        return FileDataset("", some, file_meta=meta, is_implicit_VR=implicit, is_little_endian=little)

    def __contains__(self, keyword: str) -> bool:
        return _tag_and_vr(keyword)[0] in self._found.places

    def _raw(self, tag: int) -> bytes:
        _, start, end = self._found.places.get(tag, (b"", 0, 0))
        return bytes(self._found.body[start : min(end, start + MAX_VALUE_BYTES)])

    def _texts(self, tag: int, vr: str) -> list[str]:
        """Return all values as text without control characters, cut to the length of their VR."""
        raw = self._raw(tag)
        if not raw:
            return []
        if vr not in _IN_CHARACTER_SET:
            text = raw.decode("ascii", "replace")
        elif b"\x1b" not in raw:
            text = raw.decode(self._character_sets[0], "replace")
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                text = decode_bytes(raw, self._character_sets, _RESETS)
        longest = MAX_LENGTHS.get(vr, MAX_VALUE_BYTES)
        if vr == "UI":  # none of ours has several, and half of one, or one without its odd characters, is another's
            return [text.rstrip("\0 ")]
        return [value.translate(_CONTROL).strip()[:longest] for value in text.split("\\")]

    def _json_values(self, tag: int, vr: str) -> list[Any]:
        if vr in _WHOLE:
            form, size = _WHOLE[vr]
            raw = self._raw(tag)
            return list(struct.unpack(f"{self._order}{len(raw) // size}{form}", raw[: len(raw) // size * size]))
        values: list[Any] = self._texts(tag, vr)
        if vr == "IS":
            values = [int(value) for value in values if value.lstrip("+-").isdecimal() and len(value) <= 12]
        elif vr == "PN":
            values = [_person(value) for value in values]
        elif not any(values):
            return []
        return [value if value != "" else None for value in values]

    def _items(self, tag: int) -> list[Json]:
        """Return the items of a sequence with what is kept of them: identifiers, by which QIDO-RS matches and people are known."""
        _, start, end = self._found.places[tag]
        if end - start > MAX_VALUE_BYTES:
            return []
        little, implicit = self._order == "<", self._found.syntax == IMPLICIT
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = io.BytesIO(self._found.body[start:end])
                sequence = read_sequence(value, implicit, little, end - start, self._character_sets)
                return [_kept(item, _OF_ITEMS[tag]) for item in sequence]
        except Exception:  # pydicom raises many unrelated classes on damaged values; see the top of the file
            return []


def _kept(item: Dataset, keywords: Iterable[str]) -> Json:
    found: Json = {}
    for keyword in keywords:
        if keyword not in item:
            continue
        tag, vr = _tag_and_vr(keyword)
        if vr == "SQ":
            items = [_kept(one, _OF_ITEMS[tag]) for one in item[keyword].value]
            found[f"{tag:08X}"] = {"vr": vr, "Value": items} if items else {"vr": vr}
            continue
        value = str(item.get(keyword) or "").translate(_CONTROL).strip()[: MAX_LENGTHS.get(vr, LONGEST_ID)]
        found[f"{tag:08X}"] = {"vr": vr, "Value": [value]} if value else {"vr": vr}
    return found


_OF_ITEMS = {  # sequence → what is kept of its items
    0x00400275: ("ScheduledProcedureStepID", "RequestedProcedureID"),  # RequestAttributesSequence
    0x00100024: ("UniversalEntityID", "UniversalEntityIDType"),  # IssuerOfPatientIDQualifiersSequence
    0x00101002: ("PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence"),  # OtherPatientIDsSequence
}


def _person(name: str) -> dict[str, str] | None:
    groups = {group: text for group, text in zip(_GROUPS, name.split("="), strict=False) if text}
    return groups or None


_KNOWN: dict[str, tuple[int, str]] = {}


def _tag_and_vr(keyword: str) -> tuple[int, str]:
    if keyword not in _KNOWN:
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise ValueError(f"{keyword} is no attribute of the standard.")
        _KNOWN[keyword] = int(tag), dictionary_VR(tag)
    return _KNOWN[keyword]
