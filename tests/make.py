"""Factories for tests: synthetic radiographs, MR series, ICU stays, and where the real data and peer programs are.

Nothing here is a real patient's. The tiny releases are in tests/make_release.py and are offered here too.
"""

from __future__ import annotations

import io
import os
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from models.record import Event, Record
from tests.make_release import tiny_release

__all__ = [
    "data_root",
    "dicom_bytes",
    "icu_bundle",
    "icu_record",
    "mr_series",
    "mr_voxels",
    "needs_data",
    "needs_peer",
    "radiograph_dataset",
    "radiograph_pixels",
    "tiny_release",
]

ROOT = Path(__file__).resolve().parents[1]
REQUIRED = frozenset(filter(None, os.environ.get("DIAPHANE_REQUIRE", "").split(",")))
ADMISSION = datetime(2026, 3, 1, 8, 0, tzinfo=timezone.utc)  # noqa: UP017  the alias is no clearer here


def data_root() -> Path:
    """Return the folder of the real data: ``DIAPHANE_DATA``, by default ``../shared/data`` beside the repository."""
    return Path(os.environ.get("DIAPHANE_DATA") or ROOT / "../shared/data").resolve()


needs_data = pytest.mark.skipif(
    not data_root().is_dir() and "data" not in REQUIRED,
    reason="the real data are not here: set DIAPHANE_DATA to their folder (DIAPHANE_REQUIRE=data makes this a failure)",
)


def needs_peer(program: str) -> pytest.MarkDecorator:
    """Skip when a Debian program is not installed; with DIAPHANE_REQUIRE=peers the test runs, and fails."""
    return pytest.mark.skipif(
        shutil.which(program) is None and "peers" not in REQUIRED,
        reason=f"{program} is not installed (DIAPHANE_REQUIRE=peers makes this a failure)",
    )


def radiograph_pixels(rows: int = 256, columns: int = 256, *, pneumonia: bool = False, seed: int = 0) -> NDArray[Any]:
    """Draw a chest-like image, uint8 (rows, columns): two dark lungs in a bright body, a bright patch if pneumonia."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    image = np.full((rows, columns), 160.0)
    for centre in (0.3, 0.7):
        image -= 110 * np.exp(-(((x - centre) / 0.13) ** 4) - ((y - 0.5) / 0.32) ** 4)
    if pneumonia:
        image += 230 * np.exp(-((((x - 0.3) ** 2 + (y - 0.6) ** 2) / 0.11**2) ** 2))
    noise = np.random.default_rng(seed).normal(0, 2, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def radiograph_dataset(pixels: NDArray[Any] | None = None, **changes: Any) -> Dataset:
    """Make a DX chest radiograph of a child of 3 years, AP, 8 bits. ``changes`` set attributes; None deletes one.

    >>> radiograph_dataset(Modality="CT", ViewPosition=None).Modality
    'CT'
    """
    image = radiograph_pixels() if pixels is None else pixels
    dataset = _image("1.2.840.10008.5.1.4.1.1.1.1", image, serial="1")
    dataset.Modality = "DX"
    dataset.BodyPartExamined = "CHEST"
    dataset.ViewPosition = "AP"
    dataset.PatientAge = "003Y"
    dataset.PatientSex = "F"
    dataset.PresentationIntentType = "FOR PRESENTATION"
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.ImagerPixelSpacing = [0.5, 0.5]
    dataset.BurnedInAnnotation = "NO"
    return _change(dataset, changes)


def mr_voxels(slices: int = 12, rows: int = 24, columns: int = 20) -> NDArray[Any]:
    """Draw a background of 40 with a block of 200 (anterior) and one of 120 (posterior), int16 (z, y, x)."""
    voxels = np.full((slices, rows, columns), 40, dtype=np.int16)
    voxels[slices // 4 : slices // 2, 4:14, 5:15] = 200
    voxels[slices // 2 : 3 * slices // 4, 6:18, 5:15] = 120
    return voxels


def mr_series(
    voxels: NDArray[Any] | None = None,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    **changes: Any,
) -> list[Dataset]:
    """Make one MR series, one dataset a slice, from int16 voxels (z, y, x); spacing is (z, y, x)."""
    cube = mr_voxels() if voxels is None else voxels
    normal = np.cross(orientation[:3], orientation[3:])
    series = []
    for z, pixels in enumerate(cube):
        dataset = _image("1.2.840.10008.5.1.4.1.1.4", pixels.astype(np.int16), serial=f"2.{z + 1}")
        dataset.Modality = "MR"
        dataset.PatientAge = "045Y"
        dataset.PatientSex = "M"
        dataset.PixelSpacing = [spacing_mm[1], spacing_mm[2]]
        dataset.SliceThickness = spacing_mm[0]
        dataset.ImageOrientationPatient = [float(v) for v in orientation]
        dataset.ImagePositionPatient = [round(float(v), 6) for v in (-50.0, -30.0, 10.0) + normal * z * spacing_mm[0]]
        dataset.InstanceNumber = z + 1
        series.append(_change(dataset, changes))
    return series


def dicom_bytes(dataset: Dataset, *, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Encode a dataset as a DICOM file, in an uncompressed syntax."""
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def icu_record(
    *,
    age_years: float | None = 70.0,
    heart_rate: float = 80.0,
    gcs: float | None = 15.0,
    creatinine_mg_dl: float | None = 1.0,
    hours: int = 48,
) -> Record:
    """Make an ICU stay with hourly heart rates and one GCS and creatinine every six hours. None leaves a code out."""
    events = [Event(60.0 * hour, "HR", heart_rate + (hour % 3), "/min") for hour in range(hours)]
    for code, value, unit in (("GCS", gcs, "{score}"), ("Creatinine", creatinine_mg_dl, "mg/dL")):
        if value is not None:
            events += [Event(60.0 * hour, code, value, unit) for hour in range(0, hours, 6)]
    static = {} if age_years is None else {"age_years": age_years}
    return Record.of(events, static, ADMISSION)


def icu_bundle(
    *,
    birth_date: str = "1956-01-15",
    heart_rate: float = 80.0,
    gcs: float | None = 15.0,
    creatinine_mg_dl: float | None = 1.0,
    hours: int = 48,
) -> dict[str, Any]:
    """Make the same stay as a FHIR R4 collection Bundle: Patient, Encounter and Observations with LOINC codes."""
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": birth_date, "gender": "female"}
    encounter = {
        "resourceType": "Encounter",
        "id": "e1",
        "status": "in-progress",
        "subject": {"reference": "Patient/p1"},
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
        "period": {"start": ADMISSION.isoformat()},
    }
    rows = [(hour, "8867-4", "Heart rate", heart_rate + (hour % 3), "/min") for hour in range(hours)]
    for code, name, value, unit in (
        ("9269-2", "Glasgow coma score total", gcs, "{score}"),
        ("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", creatinine_mg_dl, "mg/dL"),
    ):
        if value is not None:
            rows += [(hour, code, name, value, unit) for hour in range(0, hours, 6)]
    observations = [
        {
            "resourceType": "Observation",
            "id": f"o{i}",
            "status": "final",
            "subject": {"reference": "Patient/p1"},
            "encounter": {"reference": "Encounter/e1"},
            "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}]},
            "effectiveDateTime": (ADMISSION + timedelta(hours=hour)).isoformat(),
            "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
        }
        for i, (hour, code, name, value, unit) in enumerate(rows)
    ]
    entries = [{"fullUrl": f"urn:example:{r['id']}", "resource": r} for r in (patient, encounter, *observations)]
    return {"resourceType": "Bundle", "type": "collection", "entry": entries}


def _image(sop_class: str, pixels: NDArray[Any], *, serial: str) -> Dataset:
    root = "1.2.826.0.1.3680043.8.498.2026"
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(f"{root}.3.{serial}")
    dataset.SOPClassUID = UID(sop_class)
    dataset.SOPInstanceUID = UID(f"{root}.3.{serial}")
    dataset.StudyInstanceUID = f"{root}.1"
    dataset.SeriesInstanceUID = f"{root}.2.{serial.split('.', maxsplit=1)[0]}"
    dataset.PatientName = "CANARI^TEST"
    dataset.PatientID = "CANARI-0001"
    dataset.Manufacturer = "Diaphane tests"
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.BitsAllocated = 8 * pixels.itemsize
    dataset.BitsStored = 8 * pixels.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OW" if pixels.itemsize > 1 else "OB"
    return dataset


def _change(dataset: Dataset, changes: dict[str, Any]) -> Dataset:
    for keyword, value in changes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def read_back(data: bytes) -> pydicom.FileDataset:
    """Parse bytes again, as a receiver would."""
    return pydicom.dcmread(io.BytesIO(data))
