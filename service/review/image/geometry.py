"""Where the slices of a case lie: their order, which side of the picture is which side of the patient, and millimetres."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from models.dicom_frames import frame_groups
from models.dicom_pixels import numbers, text
from models.errors import UnusableInput
from service.dicom.inherit import side_of
from service.store.studies import HeldFile

DIRECTION_TOLERANCE = 1e-3  # of a direction cosine, as models.read_dicom
SECOND_LETTER = 0.25  # a direction cosine below this names no second letter: 15 degrees
_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}


@dataclass(frozen=True)
class Slice:
    """One picture of a case: a file, or a frame of one (from 1; None when the file is one picture)."""

    sop_uid: str
    sop_class_uid: str
    sha256: str
    frame: int | None
    rows: int
    columns: int


@dataclass(frozen=True)
class Sides:
    """Which way of the patient lies at the edges of a picture, as DICOM letters (L, R, A, P, H, F; "PL"); "" is not stated."""

    left: str = ""
    right: str = ""
    top: str = ""
    bottom: str = ""


@dataclass(frozen=True)
class Geometry:
    """The pictures of a case in the order they are scrolled. ``spacing_mm`` is between rows, between columns.

    ``at_detector``: the spacing of a radiograph is measured there and not corrected for magnification.
    """

    slices: tuple[Slice, ...]
    sides: Sides
    spacing_mm: tuple[float, float] | None
    at_detector: bool
    laterality: str  # R, L, U, B or ""
    step_mm: float | None  # between slices


@dataclass(frozen=True)
class _Placed:
    place: Slice
    number: int
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None


def geometry_of(files: Sequence[HeldFile], headers: Sequence[FileDataset]) -> Geometry:
    """Order the pictures of a case along the patient, in the direction in which their numbers rise."""
    placed = [one for file, header in zip(files, headers, strict=True) for one in _placed(file, header)]
    ordered, step = _ordered(placed)
    head = headers[[file.sha256 for file in files].index(ordered[0].place.sha256)]
    spacing, at_detector = _spacing(head)
    return Geometry(
        tuple(one.place for one in ordered), _sides(head, ordered[0].orientation), spacing, at_detector, side_of(head), step,
    )


def read_header(source: Path | bytes) -> FileDataset:
    """Parse a file up to its pixels. It was checked when it arrived, or made here."""
    return pydicom.dcmread(io.BytesIO(source) if isinstance(source, bytes) else source, stop_before_pixels=True)


def group_of(header: FileDataset, frame: int | None) -> Dataset:
    """Return what an enhanced object says of one frame; nothing of any other object."""
    groups = frame_groups(header, _frame_count(header))
    return groups[(frame or 1) - 1] if groups else Dataset()


def _placed(file: HeldFile, header: FileDataset) -> list[_Placed]:
    count = _frame_count(header)
    rows, columns = (int(header.get(name) or 0) for name in ("Rows", "Columns"))
    made = []
    for frame in range(1, count + 1) if count > 1 else (None,):
        where = group_of(header, frame) if count > 1 else header
        position, orientation = numbers(where, "ImagePositionPatient"), numbers(where, "ImageOrientationPatient")
        made.append(_Placed(
            Slice(file.sop_uid, file.sop_class_uid, file.sha256, frame, rows, columns),
            file.number if frame is None else frame,
            np.array(position) if len(position) == 3 else None, np.array(orientation) if len(orientation) == 6 else None,
        ))
    return made


def _ordered(placed: list[_Placed]) -> tuple[list[_Placed], float | None]:
    """Return slices along their common normal where they have one, else by number; and the distance between neighbours."""
    by_number = sorted(placed, key=lambda one: one.number)
    first = by_number[0].orientation
    if len(placed) < 2 or first is None or any(
        one.position is None or one.orientation is None or np.abs(one.orientation - first).max() > DIRECTION_TOLERANCE
        for one in placed
    ):
        return by_number, None
    normal = np.cross(first[:3], first[3:])
    at = {id(one): float(normal @ one.position) for one in by_number if one.position is not None}
    ordered = sorted(by_number, key=lambda one: at[id(one)])
    gaps = np.diff([at[id(one)] for one in ordered])
    if at[id(by_number[0])] > at[id(by_number[-1])]:
        ordered.reverse()
    step = float(np.median(gaps))
    return ordered, step if step > 0 else None


def _spacing(header: FileDataset) -> tuple[tuple[float, float] | None, bool]:
    """Return millimetres between rows and columns, and whether they are those at the detector (PS3.3 10.7.1.1)."""
    shared = _first_measures(header)
    for source in (header, shared):
        stated = numbers(source, "PixelSpacing") if source is not None else []
        if len(stated) == 2 and min(stated) > 0:
            detector = numbers(header, "ImagerPixelSpacing")
            uncorrected = bool(detector) and detector == stated and not text(header, "PixelSpacingCalibrationType")
            return (stated[0], stated[1]), uncorrected
    for name in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        stated = numbers(header, name)
        if len(stated) == 2 and min(stated) > 0:
            return (stated[0], stated[1]), True
    return None, False


def _first_measures(header: FileDataset) -> Dataset | None:
    try:
        return group_of(header, 1)
    except UnusableInput:
        return None


def _sides(header: FileDataset, orientation: NDArray[np.float64] | None) -> Sides:
    """Name the edges by ImageOrientationPatient, else by PatientOrientation as the sender stated it."""
    if orientation is not None:
        right, bottom = _letters(orientation[:3]), _letters(orientation[3:])
    else:
        try:
            stated = [str(one).upper().strip() for one in header.get("PatientOrientation") or ()]
        except Exception:  # lazily converted by pydicom: any class
            stated = []
        if len(stated) != 2 or not all(one and set(one) <= _OPPOSITE.keys() and len(one) <= 3 for one in stated):
            return Sides()
        right, bottom = stated
    return Sides(_opposite(right), right, _opposite(bottom), bottom)


def _letters(direction: NDArray[np.float64]) -> str:
    """Return up to two letters of a direction in LPS, the main one first."""
    pairs = (("L", "R"), ("P", "A"), ("H", "F"))
    strong = sorted(range(3), key=lambda axis: -abs(direction[axis]))[:2]
    named = [strong[0], *(axis for axis in strong[1:] if abs(direction[axis]) > SECOND_LETTER)]
    return "".join(pairs[axis][0 if direction[axis] > 0 else 1] for axis in named)


def _opposite(letters: str) -> str:
    return "".join(_OPPOSITE[one] for one in letters)


def _frame_count(header: FileDataset) -> int:
    stated = numbers(header, "NumberOfFrames")
    return int(stated[0]) if stated and stated[0] >= 1 else 1
