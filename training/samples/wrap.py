"""Pixels into DICOM files: digital radiographs, MR and CT slices of test patients, byte for byte the same every time.

Every name, number and date is made up. Identities carry an INS of the French test domain; UIDs are hashes of names.
DICOM PS3.3 A.26 (DX), A.4 (MR), A.3 (CT); checked with dciodvfy.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
)

INS_TEST_OID = "1.2.250.1.213.1.4.10"  # matricules of this domain belong to no one
ISSUER = "ASIP-SANTE-INS-NIR"
DAY = "20260115"  # the day of every study: never the day of making
Tags = dict[str, Any]


@dataclass(frozen=True)
class Patient:
    """Somebody who does not exist. ``nir`` is 13 digits with place 99000, which no one is born in."""

    name: str
    number: str
    birth: str  # YYYYMMDD
    sex: str
    nir: str
    age: str  # at DAY, as DICOM writes it: 003Y

    @property
    def matricule(self) -> str:
        return self.nir + ins_key(self.nir)


def ins_key(nir: str) -> str:
    """Return the two control digits of a NIR of 13 characters: 97 minus its remainder by 97.

    >>> ins_key("2790351215189")
    '89'
    """
    return f"{97 - int(nir.replace('2A', '19').replace('2B', '18')) % 97:02d}"


def uid(*names: str) -> UID:
    """Make a UID from names: the same names give the same UID (PS3.5 B.2, under 2.25)."""
    digest = hashlib.sha256("/".join(("diaphane samples", *names)).encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def radiograph(
    pixels: NDArray[np.floating[Any]],
    patient: Patient,
    name: str,
    *,
    bits: int = 12,
    inverse: bool = False,
    spacing_mm: float = 0.5,
    **changes: Any,
) -> Dataset:
    """Wrap display values 0-255 (rows, columns) as DX. ``inverse`` stores MONOCHROME1; ``changes`` set attributes.

    The window covers the whole range of ``bits``, so a reader gets the display values back within rounding.
    """
    top = 2**bits - 1
    stored = np.rint(np.clip(pixels, 0, 255) * (top / 255)).astype(np.uint16 if bits > 8 else np.uint8)
    stored = top - stored if inverse else stored
    dataset = _image(DigitalXRayImageStorageForPresentation, stored, bits, patient, series=name, name=name)
    dataset.PhotometricInterpretation = "MONOCHROME1" if inverse else "MONOCHROME2"
    dataset.PresentationLUTShape = "INVERSE" if inverse else "IDENTITY"
    tags: Tags = {
        "Modality": "DX",
        "SeriesDescription": "Thorax de face",
        "StudyDescription": "RADIO THORAX",
        "BodyPartExamined": "CHEST",
        "ViewPosition": "AP",
        "PatientOrientation": ["L", "F"],
        "ImageType": ["ORIGINAL", "PRIMARY", ""],
        "ImageLaterality": "U",
        "AnatomicRegionSequence": [_code("51185008", "SCT", "Chest")],
        "ViewCodeSequence": [_code("399348003", "SCT", "antero-posterior")],
        "PresentationIntentType": "FOR PRESENTATION",
        "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1,
        "RescaleIntercept": 0,
        "RescaleSlope": 1,
        "RescaleType": "US",
        "LossyImageCompression": "00",
        "DetectorType": "SCINTILLATOR",
        "DetectorID": "",
        "DetectorConfiguration": "AREA",
        "ImagerPixelSpacing": [spacing_mm] * 2,
        "PixelSpacing": [spacing_mm] * 2,
        "PositionerType": "NONE",
        "BurnedInAnnotation": "NO",
        "AcquisitionContextSequence": [],
        "WindowCenter": 2 ** (bits - 1),
        "WindowWidth": 2**bits,
        "KVP": 70,
        "AcquisitionDate": DAY,
        "AcquisitionTime": "090000",
    }
    return _change(dataset, {**tags, **changes})


def mr_slices(
    voxels: NDArray[np.floating[Any]],
    patient: Patient,
    name: str,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    **changes: Any,
) -> Iterator[Dataset]:
    """Wrap voxels (z, y, x), axes S, P, L, as one axial MR series of 12 bits, a dataset a slice."""
    z_mm, y_mm, x_mm = spacing_mm
    for z, stored in enumerate(np.rint(np.clip(voxels, 0, 4095)).astype(np.uint16)):
        dataset = _image(MRImageStorage, stored, 12, patient, series=name, name=f"{name}/{z}")
        dataset.PhotometricInterpretation = "MONOCHROME2"
        tags: Tags = {
            "Modality": "MR",
            "SeriesDescription": "T1 3D hippocampe",
            "StudyDescription": "IRM CEREBRALE",
            "BodyPartExamined": "BRAIN",
            "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"],
            "ScanningSequence": ["GR", "IR"],
            "SequenceVariant": ["SP", "MP"],
            "ScanOptions": "",
            "MRAcquisitionType": "3D",
            "RepetitionTime": 2300,
            "EchoTime": 3,
            "InversionTime": 900,
            "EchoTrainLength": 1,
            "FlipAngle": 9,
            "MagneticFieldStrength": 3,
            "PatientPosition": "HFS",
            "FrameOfReferenceUID": uid(name, "frame"),
            "PositionReferenceIndicator": "",
            "InstanceNumber": z + 1,
            "PixelSpacing": [y_mm, x_mm],
            "SliceThickness": z_mm,
            "SpacingBetweenSlices": z_mm,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [-40.0, -30.0, -20.0 + z * z_mm],
            "WindowCenter": 1000,
            "WindowWidth": 2000,
            "AcquisitionDate": DAY,
            "AcquisitionTime": "100000",
        }
        yield _change(dataset, {**tags, **changes})


def ct_slice(hounsfield: NDArray[np.floating[Any]], patient: Patient, name: str, **changes: Any) -> Dataset:
    """Wrap Hounsfield units (rows, columns) as one axial CT slice."""
    stored = np.rint(np.clip(hounsfield + 1024, 0, 4095)).astype(np.uint16)
    dataset = _image(CTImageStorage, stored, 12, patient, series=name, name=name)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    tags: Tags = {
        "Modality": "CT",
        "SeriesDescription": "Fantome",
        "StudyDescription": "SCANNER THORAX",
        "BodyPartExamined": "CHEST",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "RescaleIntercept": -1024,
        "RescaleSlope": 1,
        "RescaleType": "HU",
        "KVP": 100,
        "PatientPosition": "HFS",
        "FrameOfReferenceUID": uid(name, "frame"),
        "PositionReferenceIndicator": "",
        "PixelSpacing": [1.5, 1.5],
        "SliceThickness": 2,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "ImagePositionPatient": [-96, -96, 0],
        "AcquisitionNumber": 1,
        "WindowCenter": -400,
        "WindowWidth": 1500,
        "AcquisitionDate": DAY,
        "AcquisitionTime": "110000",
    }
    return _change(dataset, {**tags, **changes})


def encode(dataset: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return the file: plain, deflated, or with compressed pixels, always without loss."""
    if syntax.is_encapsulated:
        dataset.compress(syntax, generate_instance_uid=False)
    elif syntax not in (ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian):
        raise ValueError(f"encode() writes little endian or compressed files, found {syntax.name}.")
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _image(
    sop_class: UID, stored: NDArray[Any], bits: int, patient: Patient, *, series: str, name: str
) -> Dataset:
    """Start a dataset: file meta, patient, study, series, equipment and pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = uid(name, "instance")
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.ImplementationClassUID = uid("implementation")
    dataset.file_meta.ImplementationVersionName = "DIAPHANE"
    tags: Tags = {
        "SpecificCharacterSet": "ISO_IR 192",
        "PatientName": patient.name,
        "PatientID": patient.number,
        "IssuerOfPatientID": "DIAPHANE-TEST",
        "PatientBirthDate": patient.birth,
        "PatientSex": patient.sex,
        "PatientAge": patient.age,
        "OtherPatientIDsSequence": [_ins(patient)],
        "PatientComments": "Patient fictif, image synthetique",
        "StudyInstanceUID": uid(series, "study"),
        "SeriesInstanceUID": uid(series, "series"),
        "StudyDate": DAY,
        "StudyTime": "083000",
        "SeriesDate": DAY,
        "SeriesTime": "084500",
        "ContentDate": DAY,
        "ContentTime": "090000",
        "AccessionNumber": uid(series, "accession")[-8:],
        "ReferringPhysicianName": "",
        "StudyID": "1",
        "SeriesNumber": 1,
        "InstanceNumber": 1,
        "Manufacturer": "Diaphane",
        "ManufacturerModelName": "Generative model",
        "InstitutionName": "Hopital de test",
        "DeviceSerialNumber": "0",
        "SoftwareVersions": "1",
        "SamplesPerPixel": 1,
        "PixelRepresentation": 0,
        "BitsAllocated": 8 * stored.itemsize,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
    }
    _change(dataset, tags)
    content = np.ascontiguousarray(stored).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB" if stored.itemsize == 1 else "OW"
    return dataset


def _ins(patient: Patient) -> Dataset:
    qualifier, item = Dataset(), Dataset()
    qualifier.UniversalEntityID, qualifier.UniversalEntityIDType = INS_TEST_OID, "ISO"
    item.PatientID, item.IssuerOfPatientID, item.TypeOfPatientID = patient.matricule, ISSUER, "TEXT"
    item.IssuerOfPatientIDQualifiersSequence = Sequence([qualifier])
    return item


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _change(dataset: Dataset, changes: Tags) -> Dataset:
    for keyword, value in changes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset
