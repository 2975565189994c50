"""What our objects take over from the images they come from: patient, study, order, identifiers and body part, unchanged.

Text keeps its character set or is rewritten in UTF-8; values stay what they were. Private attributes and those of the
device that made the image are left.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.valuerep import PersonName

from models.dicom_pixels import text
from service.dicom.codes import WORDS

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")
_CHARACTER_SET = 0x00080005
_TEXT_VRS = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
# PS3.3 C.12.1.1.2, table C.12-2: one byte a letter, no escapes. A viewer then compares our headers byte for byte.
_SIMPLE_SETS = frozenset(f"ISO_IR {n}" for n in (100, 101, 109, 110, 126, 127, 138, 144, 148, 203))


def inherit(dataset: Dataset, source: Dataset) -> None:
    """Put into ``dataset`` what describes patient, study and order of ``source``."""
    for keyword in (*WORDS["inherited"]["patient"], *WORDS["inherited"]["study"]):
        _take(dataset, source, keyword)
    for keyword in WORDS["inherited"]["required"]:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    if offset_of(source) is not None:
        _take(dataset, source, "TimezoneOffsetFromUTC")
    part = text(source, "BodyPartExamined").upper()
    if _CODE_STRING.fullmatch(part):
        dataset.BodyPartExamined = part
    if "Rows" in dataset:  # an image; a report has its orders elsewhere and no side
        _take(dataset, source, "RequestAttributesSequence")
        _inherit_side(dataset, source)
    dataset.SpecificCharacterSet = character_set(dataset, source)


def requests(source: Dataset) -> list[Dataset]:
    """Return the orders the images were made for, as a report refers to them (PS3.3 C.17.2, Referenced Request Sequence)."""
    items = list(source.get("RequestAttributesSequence") or [])
    if not items and not text(source, "AccessionNumber"):
        return []
    made = []
    for item in items or [Dataset()]:
        request = Dataset()
        request.StudyInstanceUID = text(source, "StudyInstanceUID")
        for keyword in WORDS["inherited"]["request"]:
            _take(request, item, keyword)
            if keyword not in request and keyword in source:
                _take(request, source, keyword)
        for keyword in (
            "AccessionNumber", "PlacerOrderNumberImagingServiceRequest", "FillerOrderNumberImagingServiceRequest",
            "RequestedProcedureID", "RequestedProcedureDescription",
        ):
            if keyword not in request:
                setattr(request, keyword, "")
        for keyword in ("ReferencedStudySequence", "RequestedProcedureCodeSequence"):
            if keyword not in request:
                setattr(request, keyword, [])
        made.append(request)
    return made


def offset_of(source: Dataset) -> timedelta | None:
    """Return the time zone all times of the source are in, None when it does not state one that can be."""
    found = _OFFSET.fullmatch(text(source, "TimezoneOffsetFromUTC"))
    if not found:
        return None
    minutes = 60 * int(found[2]) + int(found[3])
    return timedelta(minutes=-minutes if found[1] == "-" else minutes) if minutes <= 14 * 60 else None


def local_time(made_at: datetime, source: Dataset) -> datetime:
    """Return ``made_at`` in the zone of the source, for one offset holds for every time of an object."""
    offset = offset_of(source)
    return made_at if offset is None else made_at.astimezone(timezone(offset))


def side_of(source: Dataset) -> str:
    """Return R, L, U (unpaired) or B (both) as the source states, "" when it does not."""
    stated = text(source, "ImageLaterality").upper() or text(source, "Laterality").upper()
    return stated if stated in ("R", "L", "U", "B") else ""


def _inherit_side(dataset: Dataset, source: Dataset) -> None:
    """Say the side, or that it is not known where there may be one: Laterality is required there (PS3.3 C.7.3.1.1.2).

    Segmentations say the side of each segment instead.
    """
    if "SegmentSequence" in dataset:
        return
    if side_of(source):
        dataset.ImageLaterality = side_of(source)
    elif dataset.get("BodyPartExamined") not in WORDS["places"]["unpaired"]:
        dataset.Laterality = ""


def character_set(dataset: Dataset, source: Dataset) -> str:
    """Return the source's character set when it is a simple one that holds our words too, else UTF-8."""
    stated = source.get("SpecificCharacterSet")
    if not isinstance(stated, str) or stated not in _SIMPLE_SETS:
        return "ISO_IR 192"
    try:
        for words in _words(dataset):
            words.encode(python_encoding[stated])
    except UnicodeEncodeError:
        return "ISO_IR 192"
    return stated


def _words(dataset: Dataset) -> Iterator[str]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _words(item)
        elif element.VR in _TEXT_VRS and element.value is not None:
            yield from (str(one) for one in (element.value if isinstance(element.value, MultiValue) else [element.value]))


def _take(dataset: Dataset, source: Dataset, keyword: str) -> None:
    tag = tag_for_keyword(keyword) if keyword else None
    if tag is None or tag not in source:
        return
    element = _copied(source, tag)
    if element is not None and not (element.VR == "SQ" and element.is_empty):
        dataset[tag] = element


def _copied(source: Dataset, tag: int) -> DataElement | None:
    """Return one element with its text decoded, None when it cannot be read or is not of its VR."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            element = source[tag]
            if (element.VR == "SQ") != (dictionary_VR(tag) == "SQ"):
                return None
            value: Any = element.value
            if element.VR == "SQ":
                value = Sequence([made for item in value if len(made := _item(item))])
            elif element.VR == "PN":
                value = _each(value, lambda name: PersonName(str(name)))
            return DataElement(tag, element.VR, value, already_converted=True)
    except Exception:  # lazily converted by pydicom: any class. What cannot be read is not ours to guess
        return None


def _item(item: Dataset) -> Dataset:
    made = Dataset()
    for tag in list(item.keys()):
        if tag.is_private or tag == _CHARACTER_SET:
            continue
        try:
            element = _copied(item, tag)
        except KeyError:  # an attribute the standard does not have
            continue
        if element is not None and not element.is_empty:  # an empty attribute of an item says nothing, and may not be there
            made[tag] = element
    return made


def _each(value: Any, change: Any) -> Any:
    return MultiValue(change, list(value)) if isinstance(value, MultiValue) else change(value)
