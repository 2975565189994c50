"""Factories for writers' tests: what a writer is told of a radiograph, a series or a failure, from DICOM bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage

from models.model import Model
from models.read_dicom import read_dicom
from service.dicom.told import Decline, NotAssessed, Told
from service.site import Device
from tests.make import dicom_bytes

MADE_AT = datetime(2026, 11, 21, 22, 30, 5, tzinfo=UTC)
FRENCH = Device(language="fr", institution="CHU Exemple")


def header(data: bytes) -> Dataset:
    """Return a file's header without its pixels."""
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)


def told(model: Model, datasets: Sequence[Dataset], *, device: Device = FRENCH, writes: list[str] | None = None) -> Told:
    """Read and score a case as a worker does, and tell a writer of it; ``writes`` replaces what the manifest asks for."""
    return told_of_files(model, [dicom_bytes(dataset) for dataset in datasets], device=device, writes=writes)


def told_of_files(
    model: Model, files: Sequence[bytes], *, device: Device = FRENCH, writes: list[str] | None = None
) -> Told:
    """Do the same from files."""
    volume = read_dicom(files)
    headers = tuple(header(data) for data in files)
    manifest = model.manifest if writes is None else model.manifest.model_copy(update={"writes": writes})
    return Told(headers, volume, manifest, model.predict(volume), 1, MADE_AT, device)


def not_assessed(source: Dataset, **changes: Any) -> Told:
    """Tell of an image that no model takes."""
    reasons = (
        Decline("chest-1.0.0", "A chest model", "wrong_modality", "This model takes Modality DX, found MR.", "Send DX."),
        Decline("brain-1.0.0", "A brain model", "wrong_body_part", "This model takes BodyPartExamined HEAD, found KNEE.", ""),
    )
    result = NotAssessed(changes.pop("status", "unfit"), changes.pop("reasons", reasons))
    return Told((header(dicom_bytes(source)),), None, None, result, 1, MADE_AT, changes.pop("device", FRENCH))


def hospital(dataset: Dataset) -> Dataset:
    """Add what a hospital states of patient, order and study: accents, an INS, an order, a time zone."""
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "CANARI-NÉ^Élodie"
    dataset.PatientID = "CANARI-0001"
    dataset.IssuerOfPatientID = "CHU"
    dataset.PatientBirthDate, dataset.PatientSex = "20230228", "F"
    national = Dataset()
    national.PatientID, national.TypeOfPatientID = "279035121518989", "TEXT"
    national.IssuerOfPatientID = "ASIP-SANTE-INS-NIR"
    national.IssuerOfPatientIDQualifiersSequence = [_with(UniversalEntityID="1.2.250.1.213.1.4.10", UniversalEntityIDType="ISO")]
    dataset.OtherPatientIDsSequence = [national]
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID = "20260301", "101500", "S1"
    dataset.StudyDescription = "Thorax de face (été)"
    dataset.AccessionNumber = "ACC0001"
    dataset.IssuerOfAccessionNumberSequence = [_with(LocalNamespaceEntityID="RIS")]
    dataset.ReferringPhysicianName = "MÉDECIN^Référent"
    dataset.PatientWeight = "14.5"
    dataset.PatientComments = "né à terme"
    dataset.TimezoneOffsetFromUTC = "+0100"
    request = _with(RequestedProcedureID="RP1", AccessionNumber="ACC0001", StudyInstanceUID=dataset.StudyInstanceUID)
    request.RequestedProcedureCodeSequence = [
        _with(CodeValue="36643-5", CodingSchemeDesignator="LN", CodeMeaning="XR Chest 2 Views")
    ]
    dataset.RequestAttributesSequence = [request]
    dataset.PlacerOrderNumberImagingServiceRequest = "PLACER1"
    return dataset


def enhanced(series: Sequence[Dataset], order: Sequence[int]) -> Dataset:
    """Make one enhanced MR object of a series, its frames in ``order``: frame n is slice order[n]."""
    made = Dataset()
    made.update(series[0])
    made.file_meta = series[0].file_meta
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(made, keyword)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    made.NumberOfFrames = len(order)
    made.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.2026.9"
    first = series[0]
    measures = _with(PixelSpacing=first.PixelSpacing, SliceThickness=first.SliceThickness)
    plane = _with(ImageOrientationPatient=first.ImageOrientationPatient)
    made.SharedFunctionalGroupsSequence = [_with(PixelMeasuresSequence=[measures], PlaneOrientationSequence=[plane])]
    made.PerFrameFunctionalGroupsSequence = [
        _with(PlanePositionSequence=[_with(ImagePositionPatient=series[z].ImagePositionPatient)]) for z in order
    ]
    made.PixelData = b"".join(series[z].PixelData for z in order)
    return made


def _with(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
