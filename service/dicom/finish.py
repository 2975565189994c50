"""The last step of every writer: names, dates, equipment and encoding, so that the same result is the same bytes."""

from __future__ import annotations

import io
import re

import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID

from models.dicom_bytes import outline
from models.model import SOFTWARE
from models.prediction import Prediction
from service.dicom.arrival import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION, levels
from service.dicom.codes import LONGEST_TEXT, Language, say, short
from service.dicom.inherit import inherit, local_time
from service.dicom.source import case_key, first
from service.dicom.told import Kind, NotAssessed, Told, Written
from service.dicom.uids import uid_of
from service.dicom.values import Values

MANUFACTURER = "Diaphane"
SERIES_NUMBERS: dict[Kind, int] = {
    "sr": 9001, "sr-roi": 9002, "seg": 9003, "map": 9004, "capture": 9005, "report": 9006,
    "verified": 9011, "verified-roi": 9012, "rejection": 9013,
}
_DATE = re.compile(r"[0-9]{8}")

# Odd values of a source are passed on as they are; what is ours is checked by the validators in the tests.
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE


def series_uid(told: Told, kind: Kind) -> str:
    """Return the series of one kind of object of this case, model and revision."""
    return uid_of(told.device.uid_root, case_key(told), told.model, told.revision, kind, "series")


def sop_uid(told: Told, kind: Kind, part: str = "") -> str:
    """Return SOPInstanceUID; ``part`` tells objects of one kind apart."""
    return uid_of(told.device.uid_root, case_key(told), told.model, told.revision, kind, "instance", part)


def device_uid(told: Told) -> str:
    """Return what identifies the model at this site (Device Observer UID)."""
    return uid_of(told.device.uid_root, "device", told.device.institution, told.device.station, told.model)


def tracking_uid(told: Told, finding: str) -> str:
    """Return what a finding of this case is followed by, through revisions and versions of the model."""
    name = "" if isinstance(told.result, NotAssessed) else told.result.identity.model
    return uid_of(told.device.uid_root, case_key(told), name, "tracking", finding)


def model_name(told: Told) -> str:
    """Return the model's name, or the project's when none was involved."""
    return MANUFACTURER if isinstance(told.result, NotAssessed) else told.result.identity.model


def title(told: Told) -> str:
    """Return the model's title in the site's language."""
    if told.manifest is None:
        return MANUFACTURER
    return told.manifest.title_fr if told.device.language == "fr" and told.manifest.title_fr else told.manifest.title


def software(told: Told) -> list[str]:
    """Return the versions of what made the object."""
    if isinstance(told.result, NotAssessed):
        return [SOFTWARE]
    return [short(told.result.identity.software), short(f"{told.result.identity.model} {told.result.identity.version}")]


def describe(told: Told, kind: Kind) -> str:
    """Return SeriesDescription."""
    language: Language = told.device.language
    scored = isinstance(told.result, Prediction)
    text = say("series", kind if scored else "not-assessed", language=language)
    text += model_name(told) if scored else ""  # not its title: "AI result: Pneumonia on…" would stand over a normal chest
    more = say("series", "revision", language=language, n=told.revision) if told.revision > 1 else ""
    return short(text, most=LONGEST_TEXT - len(more.encode())) + more


def finish(dataset: Dataset, told: Told, kind: Kind, *, number: int = 1) -> Written:
    """Complete an object that highdicom made, and encode it."""
    _leave_clock(dataset, told)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBERS[kind], number
    dataset.SeriesDescription = describe(told, kind)
    dataset.Manufacturer = MANUFACTURER
    dataset.ManufacturerModelName = short(model_name(told))
    dataset.SoftwareVersions = software(told)
    dataset.DeviceSerialNumber = told.device.station
    dataset.StationName = told.device.station
    dataset.DeviceUID = device_uid(told)
    if told.device.institution:
        dataset.InstitutionName = told.device.institution
    if "ContributingEquipmentSequence" in dataset:  # highdicom names itself there, with the time of day
        del dataset.ContributingEquipmentSequence
    inherit(dataset, first(told))
    return encode(dataset, kind)


def _leave_clock(dataset: Dataset, told: Told) -> None:
    """Put the time of the revision wherever highdicom put the time of day."""
    made_at = local_time(told.made_at, first(told))
    date, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S")
    for stem in ("InstanceCreation", "Content", "Series", "DateOfSecondaryCapture"):
        names = ("DateOfSecondaryCapture", "TimeOfSecondaryCapture") if stem.startswith("Date") else (stem + "Date", stem + "Time")
        if names[0] in dataset or stem == "Series":
            setattr(dataset, names[0], date)
            setattr(dataset, names[1], time)
    for equipment in dataset.get("ContributingEquipmentSequence", []):  # highdicom names itself, and when
        if equipment.get("ManufacturerModelName") == "highdicom":
            equipment.ContributionDateTime = date + time


def encode(dataset: Dataset, kind: Kind) -> Written:
    """Write a data set as a file (PS3.10), with what a query may ask of it."""
    syntax = dataset.file_meta.TransferSyntaxUID
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    buffer = io.BytesIO()
    FileDataset(buffer, dict(dataset), b"\0" * 128, meta, is_implicit_VR=False).save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    values = Values(outline(data))
    study, series, instance = levels(values)
    return Written(
        kind=kind, sop_uid=str(dataset.SOPInstanceUID), sop_class_uid=str(dataset.SOPClassUID),
        series_uid=str(dataset.SeriesInstanceUID), study_uid=str(dataset.StudyInstanceUID), transfer_syntax=str(syntax),
        modality=str(dataset.Modality), data=data, patient_id=values.text("PatientID"),
        patient_name=values.text("PatientName"), study_date=date if _DATE.fullmatch(date := values.text("StudyDate")) else "",
        accession_number=values.text("AccessionNumber"), study_attributes=study, series_attributes=series,
        instance_attributes=instance,
    )
