"""Images for the bench: DICOM files with new UIDs each time, so that no server can say it has them already."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498.88"
STUDY, SERIES, INSTANCE = (f"{ROOT}.{level}.1000000000" for level in (1, 2, 3))  # replaced by others of the same length
CT_SIDE_PX = 512
SAMPLES = Path(__file__).resolve().parents[2] / "data-samples" / "radiograph"


def ct_image() -> bytes:
    """Make one CT slice, 512 x 512 pixels of 16 bits, as a file (0.5 MB)."""
    y, x = np.mgrid[-1 : 1 : CT_SIDE_PX * 1j, -1 : 1 : CT_SIDE_PX * 1j]
    noise = np.random.default_rng(0).normal(0, 12, (CT_SIDE_PX, CT_SIDE_PX))
    body = np.where(x**2 / 0.6 + y**2 / 0.4 < 1, 40.0, -1000.0) + noise
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.Modality = "CT"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "BENCH^CT", "BENCH", "19700101", "O"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20260101"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "120000"
    dataset.AccessionNumber, dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", "1", 1, 1
    dataset.Manufacturer = "Diaphane bench"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-200, -200, 0], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.78, 0.78], 1
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = -1024, 1, "HU"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.Rows = dataset.Columns = CT_SIDE_PX
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = np.clip(body + 1024, 0, 4095).astype(np.uint16).tobytes()
    dataset["PixelData"].VR = "OW"
    return _file(dataset)


def radiographs(side_px: int) -> list[bytes]:
    """Return the chest radiographs of data-samples as files of 16 bits, uncompressed, enlarged to ``side_px`` columns.

    Each pixel is repeated: the picture, and so what a model says of it, stays nearly the same; the file has the size of
    a radiograph from a ward.
    """
    made = []
    for path in sorted(SAMPLES.glob("*.dcm")):
        dataset = pydicom.dcmread(path)
        pixels = dataset.pixel_array.astype(np.uint16)
        times = max(1, math.ceil(side_px / dataset.Columns))
        pixels = np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.BitsAllocated = 16
        for keyword in ("ImagerPixelSpacing", "PixelSpacing"):
            if keyword in dataset:
                setattr(dataset, keyword, [float(value) / times for value in dataset[keyword].value])
        dataset.PixelData = pixels.tobytes()
        dataset["PixelData"].VR = "OW"
        made.append(_file(dataset))
    return made


def renamed(data: bytes, *, study: int, series: int, instance: int) -> bytes:
    """Return the same file under other UIDs, those of these numbers."""
    for old, number in ((STUDY, study), (SERIES, series), (INSTANCE, instance)):
        data = data.replace(old.encode(), uid_of(old, number).encode())
    return data


def uid_of(level: str, number: int) -> str:
    """Return the UID of a number at a level: STUDY, SERIES or INSTANCE."""
    return f"{level.rpartition('.')[0]}.{1_000_000_000 + number}"


def _file(dataset: Dataset) -> bytes:
    """Encode as a file whose UIDs ``renamed`` finds."""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = STUDY, SERIES, INSTANCE
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID(dataset.SOPClassUID)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(INSTANCE)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
