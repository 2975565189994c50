"""One DICOM object without its person: the Basic Application Level Confidentiality Profile and options (PS3.15, annex E).

Why not a library: dicom-anonymizer (BSD) applies the basic table but none of its options, makes UIDs anew at every run and stops at a
kind of value it does not know; dicognito (MIT) and deid (MIT) follow rules of their own. All three leave texts the table does not
list. Here every text that no list allows is removed, whatever its attribute, so what a maker adds next year goes too.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from models.deidentify import codes, pixels, values, words
from models.deidentify.pseudonym import Pseudonyms
from models.deidentify.rules import Rules, action_of, read
from models.dicom_pixels import text
from models.errors import UnusableInput

IMPLEMENTATION = "2.25.151896203829302617043371286532106423189"
METHOD = "DICOM PS3.15 annex E; text by lists of what may stay"
_CODE = ("CodeValue", "LongCodeValue", "URNCodeValue")
_WHO = frozenset(("PatientID", "OtherPatientIDs", "AccessionNumber", "IssuerOfPatientID", "MilitaryRank", "PatientAddress"))
_HEADS = frozenset(("", "HEAD", "BRAIN", "SKULL", "FACE", "HEADNECK", "ORBIT", "SINUS", "SINUSES", "NECK", "JAW", "WHOLEBODY"))
_BIG_ENDIAN = "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class Report:
    """What was done to one object, without a value of it."""

    removed: int = 0
    emptied: int = 0
    replaced: int = 0
    cleaned: int = 0
    kept: int = 0
    unknown: tuple[str, ...] = ()  # keywords whose coded string is no known term: removed, and worth a look
    notes: tuple[str, ...] = ()  # pixels_rewritten, face_may_show


def deidentify(dataset: FileDataset, rules: Rules, key: bytes, *, person: str = "") -> tuple[FileDataset, Report]:
    """Return a new object that tells nothing of who it is about, and what was done. ``dataset`` is not changed.

    Equal keys give equal UIDs, and for one person equal names and one shift of all dates. ``person`` says who it is where
    the caller knows better than issuer and PatientID. The pixels are as they were: look at them with ``burned_in``.
    Raises UnusableInput for what is text or drawings all through, such as a report.
    """
    sop_class = text(dataset, "SOPClassUID")
    if not sop_class or sop_class.startswith(tuple(read("beyond")["hulls"]["prefixes"])):
        raise UnusableInput(
            "Images and segmentations can be de-identified, found a report, a document, a drawing or no kind at all. "
            "Leave it out; nothing of it would be left.", code="cannot_be_deidentified",
        )
    names = Pseudonyms(key)
    who = person or "\x1f".join((text(dataset, "IssuerOfPatientID"), text(dataset, "PatientID")))
    if not person and not text(dataset, "PatientID"):
        who = text(dataset, "StudyInstanceUID")  # two people of no name are not one
    work = _Work(rules, names, names.shift_days(who), words.echoes_of(list(_naming(dataset))))
    made = FileDataset(None, work.cleaned(dataset), preamble=b"\x00" * 128, file_meta=_meta(dataset, names, rules))
    syntax = made.file_meta.TransferSyntaxUID
    made.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    notes = ["pixels_rewritten"] if pixels.scrub(
        made, big_endian=syntax == _BIG_ENDIAN, encapsulated=syntax.is_encapsulated) else []
    if text(dataset, "Modality") in ("CT", "MR", "PT") and text(dataset, "BodyPartExamined").upper() in _HEADS:
        notes.append("face_may_show")
    _say(made, dataset, rules, names.person(who))
    done = {name: work.counts[name] for name in work.counts}
    return made, Report(**done, unknown=tuple(sorted(work.unknown)), notes=tuple(notes))


def written(dataset: FileDataset) -> bytes:
    """Return a de-identified object as the bytes of a file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


@dataclass
class _Work:
    """One object being done: what holds for all its elements, and the count of what became of them."""

    rules: Rules
    names: Pseudonyms
    shift_days: int
    echoes: frozenset[str]

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(("removed", "emptied", "replaced", "cleaned", "kept"), 0)
        self.unknown: set[str] = set()
        self._beyond = read("beyond")

    def cleaned(self, source: Dataset) -> Dataset:
        """Return the elements of a data set, or of an item, that may stay."""
        made = Dataset()
        for tag in sorted(source.keys()):
            if tag.is_private or tag.element == 0 or tag == 0x00080005:
                self.counts["removed"] += tag.element != 0
                continue
            try:
                element = source[tag]
                kept = self._element(element)
            except Exception:  # lazily converted by pydicom: any class
                kept = None
            if kept is None:
                self.counts["removed"] += 1
            else:
                made.add(kept)
        if self.rules.safe_private:
            self._add_private(source, made)
        return made

    def _element(self, element: DataElement) -> DataElement | None:
        tag, vr = int(element.tag), str(element.VR)
        action = action_of(tag, self.rules)
        if not element.keyword or vr not in dictionary_VR(tag).split(" or ") or action == "X":
            return None  # no attribute of the standard, or not of its kind: nothing is known of it
        if element.is_empty and vr != "SQ":
            return self._count("kept", element, None)
        if vr == "SQ":
            return self._sequence(element, action)
        if vr == "UI":
            return self._uid(element, action)
        if action == "Z":
            return self._count("emptied", element, None)
        if action == "D":
            return self._count("replaced", element, values.dummy(vr))
        if vr in values.DATES:
            return self._date(element, action)
        return self._value(element, vr, action)

    def _sequence(self, element: DataElement, action: str | None) -> DataElement | None:
        if action == "Z":
            return self._count("emptied", element, Sequence())
        items = [self._item(one) for one in element.value]
        if action == "D":
            items = [_dummied(one, self.names) for one in items[:1] if one]
        kept = [one for one in items if one is not None and len(one)]
        if items and not kept:
            return None
        return self._count("cleaned", element, Sequence(kept))

    def _item(self, item: Dataset) -> Dataset | None:
        """Clean an item. One that is a code stays when its code may; so do the modifiers of the code then."""
        made = self.cleaned(item)
        if any(keyword in item for keyword in _CODE):
            code = codes.cleaned(item)
            if code is None or words.names(text(code, "CodeValue"), self.echoes):
                return None
            made.update(code)
        return made

    def _uid(self, element: DataElement, action: str | None) -> DataElement:
        old = _listed(element.value)
        if action == "K" and self.rules.uids:
            return self._count("kept", element, old)
        new = [one if values.is_registered(one) else self.names.uid(one) for one in map(str, old)]
        return self._count("kept" if new == old else "replaced", element, new)

    def _date(self, element: DataElement, action: str | None) -> DataElement | None:
        vr = str(element.VR)
        if action == "K":
            return self._count("kept", element, _listed(element.value))
        if not self.rules.modified_dates:
            return None  # a date that the table does not list
        moved = [values.moved(vr, str(one), self.shift_days) for one in _listed(element.value)]
        return self._count("cleaned", element, moved if all(moved) else None)

    def _value(self, element: DataElement, vr: str, action: str | None) -> DataElement | None:
        several = _listed(element.value)
        if vr == "CS":
            return self._terms(element, [str(one) for one in several])
        if vr == "AS":
            return self._count("cleaned", element, values.pooled(str(element.value), self.rules.oldest_years) or None)
        if vr in ("DS", "IS"):
            sound = all(values.is_number(one) for one in several) and not any(
                len(str(one)) >= 5 and str(one).strip() in self.echoes for one in several)
            return self._count("kept", element, element.value) if sound else None
        if vr in values.NUMBERS:
            return self._count("kept", element, element.value)
        if vr in values.BYTES:
            return self._count("kept", element, element.value) if element.keyword in self._beyond["bytes"] else None
        return self._text(element, [str(one) for one in several], action)

    def _terms(self, element: DataElement, several: list[str]) -> DataElement | None:
        known = [one.strip() for one in several if words.is_term(one)]
        if len(known) < len(several):
            self.unknown.add(element.keyword)
            if element.keyword == "ImageType":  # its values have their places
                known = [one.strip() if words.is_term(one) else "OTHER" for one in several]
        return self._count("kept", element, known) if known else None

    def _text(self, element: DataElement, several: list[str], action: str | None) -> DataElement | None:
        """Clean a text by what is known of its attribute: by words where it may be cleaned, whole where the rules say so."""
        listed = self._beyond["text"].get(element.keyword, "none")
        how = listed if action is None else {"C": "words", "K": "whole"}.get(action, "none")
        if element.keyword == "EthnicGroup" or (how == "whole" and str(element.VR) == "PN"):
            how = "words"
        if how in ("whole", "device"):
            stays = how == "whole" or self.rules.device
            return self._count("kept", element, several) if stays and not any(
                words.names(one, self.echoes) for one in several) else None
        if how == "maker":
            return self._count("kept", element, several) if all(words.is_maker(one) for one in several) else None
        if how == "none":
            return None
        kept = list(filter(None, (words.clean(one, self.rules, self.echoes) for one in several)))
        if not kept:
            return self._count("replaced", element, values.ANONYMOUS) if how == "label" else None
        return self._count("cleaned", element, kept)

    def _add_private(self, source: Dataset, made: Dataset) -> None:
        """Take over the private numbers that are known to be numbers (PS3.15, table E.3.10-1)."""
        groups = {tag.group for tag in source.keys() if tag.is_private}  # noqa: SIM118  iterating would convert every value
        for creator, group, offset, vr in self._beyond["safe_private"] if groups else ():
            if int(group, 16) not in groups:
                continue
            with suppress(Exception):  # not there, or not what it should be: any class
                element = source.private_block(int(group, 16), creator)[int(offset, 16)]
                several = _listed(element.value)
                if element.VR == vr and all(values.is_number(one) for one in several):
                    made.private_block(int(group, 16), creator, create=True).add_new(int(offset, 16), vr, several)
                    self.counts["kept"] += 1

    def _count(self, what: str, element: DataElement, value: Any) -> DataElement:
        self.counts[what] += 1
        several = value[0] if isinstance(value, list) and len(value) == 1 else value
        return DataElement(element.tag, element.VR, several)


def _dummied(item: Dataset | None, names: Pseudonyms) -> Dataset | None:
    """Return an item of the same elements that says nothing."""
    if item is None:
        return None
    made = Dataset()
    for element in item:
        if element.VR == "SQ":
            inner = [_dummied(one, names) for one in element.value[:1]]
            made.add(DataElement(element.tag, "SQ", Sequence([one for one in inner if one is not None])))
        elif element.VR == "UI":
            made.add(DataElement(element.tag, "UI", names.uid(str(element.value))))
        else:
            made.add(DataElement(element.tag, element.VR, values.dummy(str(element.VR))))
    return made


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _naming(dataset: Dataset) -> Iterator[str]:
    """Yield every text that names somebody: all person names, at any depth, and the identifiers of the patient."""
    for tag in list(dataset.keys()):
        with suppress(Exception):  # lazily converted by pydicom: any class; what cannot be read cannot be compared
            element = dataset[tag]
            if element.VR == "SQ":
                for item in element.value:
                    yield from _naming(item)
            elif element.VR == "PN" or element.keyword in _WHO:
                yield from (str(one) for one in _listed(element.value) if one)


def _meta(dataset: FileDataset, names: Pseudonyms, rules: Rules) -> FileMetaDataset:
    made = FileMetaDataset()
    uid = text(dataset, "SOPInstanceUID")
    made.MediaStorageSOPClassUID = text(dataset, "SOPClassUID")
    made.MediaStorageSOPInstanceUID = uid if rules.uids else names.uid(uid)
    made.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    made.ImplementationClassUID = IMPLEMENTATION
    return made


def _say(made: Dataset, source: Dataset, rules: Rules, pseudonym: str) -> None:
    """Write who it is about now, and by which method it was de-identified (PS3.15, E.1.1; codes of CID 7050)."""
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName = made.PatientID = pseudonym
    for keyword in ("PatientBirthDate", "PatientSex"):
        if keyword not in made:
            setattr(made, keyword, "")
    if rules.patient and not made.get("PatientAge"):
        age = values.age_between(text(source, "PatientBirthDate"), text(source, "StudyDate"))
        if age:
            made.PatientAge = values.pooled(age, rules.oldest_years)
    made.PatientIdentityRemoved = "YES"
    made.LongitudinalTemporalInformationModified = (
        "UNMODIFIED" if rules.full_dates else "MODIFIED" if rules.modified_dates else "REMOVED")
    made.DeidentificationMethod = METHOD
    methods = read("beyond")["methods"]
    made.DeidentificationMethodCodeSequence = Sequence([_method(*methods[name]) for name in ("basic", *rules.taken)])
    for group in range(0x0002, 0x0008):
        made.pop(Tag(group, 0), None)


def _method(code: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = code, "DCM", meaning
    return made
