"""An image with something in every attribute of the dictionary, each value telling where it stood."""

from __future__ import annotations

import numpy as np
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

from models.deidentify.rules import read

KEY = b"a key for tests, 32 bytes long.."
DX = "1.2.840.10008.5.1.4.1.1.1.1"
TEXTS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS", "DA", "DT", "TM"))
BYTES = frozenset(("OB", "OW", "UN"))
TABLES = frozenset(read("beyond")["bytes"])
CANARY = "CANARI"


def plain_image(**values: object) -> FileDataset:
    """Return a small radiograph whose pixels count up."""
    made = FileDataset(None, {}, preamble=b"\0" * 128, file_meta=FileMetaDataset())
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.SourceApplicationEntityTitle = f"{CANARY}_META"
    made.SOPClassUID, made.SOPInstanceUID = DX, "1.2.3.4"
    made.StudyInstanceUID, made.SeriesInstanceUID = "1.2.3", "1.2.3.1"
    made.PatientName, made.PatientID, made.IssuerOfPatientID = "ESSAI^CAMILLE", "P-0042", "CHU"
    made.PatientBirthDate, made.StudyDate, made.StudyTime, made.Modality = "19640217", "20260301", "101500", "DX"
    made.Rows = made.Columns = 8
    made.SamplesPerPixel, made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 1, 16, 12, 11, 0
    made.PhotometricInterpretation = "MONOCHROME2"
    made.PixelData = np.arange(64, dtype="<u2").tobytes()
    made["PixelData"].VR = "OW"
    for name, value in values.items():
        setattr(made, name, value)
    return made


def full_image() -> tuple[FileDataset, int]:
    """Return an image with a canary in every attribute that holds text or bytes, in items of sequences too, and how many.

    Attributes that hold pixels, their tables or plain numbers are left out: these are bytes of the image.
    """
    made = plain_image()
    filled, count = _filled(TEXTS | BYTES)
    for element in filled:
        if element.tag not in made:
            made.add(element)
    for place, tag in enumerate(tag for tag, entry in DicomDictionary.items() if entry[0] == "SQ"):
        inner, more = _filled(TEXTS, first=place % 400, step=400)
        made.add(DataElement(tag, "SQ", Sequence([inner])))
        count += more
    block = made.private_block(0x0051, "CANARI MAKER", create=True)
    block.add_new(0x10, "LO", f"{CANARY}-private")
    made.add(DataElement(0x60000010, "US", 8))
    made.add(DataElement(0x60004000, "LT", f"{CANARY}-overlay"))
    return made, count + 2


def _filled(vrs: frozenset[str], *, first: int = 0, step: int = 1) -> tuple[Dataset, int]:
    made, count = Dataset(), 0
    for place, tag in list(enumerate(sorted(DicomDictionary)))[first::step]:
        vr, keyword = dictionary_VR(tag).split(" or ")[0], keyword_for_tag(tag)
        if vr not in vrs or tag >> 16 in (0, 2) or tag == 0x00080005 or 0x7FE00000 <= tag or keyword in TABLES:
            continue
        value = f"{CANARY}{place:04}"
        made.add(DataElement(tag, vr, value.encode() if vr in BYTES else value))
        count += 1
    return made, count
