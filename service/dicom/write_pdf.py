"""A report's pages as Encapsulated PDF (PS3.3 A.45.1): same patient, study and order as the images, the INS among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from models.model import SOFTWARE
from service.dicom.codes import short
from service.dicom.finish import MANUFACTURER, SERIES_NUMBERS, encode
from service.dicom.inherit import inherit, local_time
from service.dicom.told import Written
from service.dicom.uids import uid_of
from service.site import Device


@dataclass(frozen=True)
class Pages:
    """The PDF of one version of a report. ``title`` and ``description`` are in the site's language."""

    pdf: bytes
    study_uid: str
    number: int
    text_sha256: str
    title: str
    description: str
    made_at: datetime
    is_validated: bool
    sources: Sequence[tuple[str, str]] = ()  # class and UID of the images the report is about


def write_pdf(pages: Pages, source: Dataset, device: Device) -> Written:
    """Write the object. ``source`` is the header of one image of the study; the same pages are the same bytes."""
    parts = (pages.study_uid, "report", pages.number, pages.text_sha256, pages.is_validated)
    made_at = local_time(pages.made_at, source)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = uid_of(device.uid_root, *parts, "instance")
    dataset.SeriesInstanceUID = uid_of(device.uid_root, *parts, "series")
    dataset.Modality = "DOC"
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBERS["report"], pages.number or 1
    dataset.SeriesDescription = short(pages.description)
    dataset.SeriesDate = dataset.ContentDate = dataset.InstanceCreationDate = made_at.strftime("%Y%m%d")
    dataset.SeriesTime = dataset.ContentTime = dataset.InstanceCreationTime = made_at.strftime("%H%M%S")
    dataset.AcquisitionDateTime = ""
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, "report"
    dataset.SoftwareVersions = SOFTWARE
    dataset.DeviceSerialNumber = dataset.StationName = device.station
    if device.institution:
        dataset.InstitutionName = device.institution
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"  # the pages name the patient
    dataset.VerificationFlag = "VERIFIED" if pages.is_validated else "UNVERIFIED"
    dataset.DocumentTitle = short(pages.title)
    dataset.ConceptNameCodeSequence = [
        _item(CodeValue="18748-4", CodingSchemeDesignator="LN", CodeMeaning="Diagnostic imaging study")
    ]
    dataset.SourceInstanceSequence = [
        _item(ReferencedSOPClassUID=sop_class, ReferencedSOPInstanceUID=sop_uid) for sop_class, sop_uid in pages.sources
    ]
    if not pages.sources:
        del dataset.SourceInstanceSequence
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    dataset.EncapsulatedDocument = pages.pdf + b"\0" * (len(pages.pdf) % 2)
    dataset.EncapsulatedDocumentLength = len(pages.pdf)
    inherit(dataset, source)
    dataset.StudyInstanceUID = pages.study_uid
    if "BodyPartExamined" in dataset:  # no attribute of a document
        del dataset.BodyPartExamined
    return encode(dataset, "report")


def _item(**values: str) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
