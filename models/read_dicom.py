"""DICOM files of one series → Volume: sorted along the slice normal, checked to be a regular grid, in known units.

Patient names, identifiers, dates and free text are never kept: Header has no place for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from models.dicom_bytes import MAX_PIXEL_BYTES, check_pixel_claims, parse, whole_number
from models.dicom_frames import frame_groups, frame_rescale, items_of
from models.dicom_pixels import PIXEL_KEYWORDS, decode, numbers, text, units_of
from models.errors import UnusableInput
from models.volume import Header, Volume

MAX_FILES = 5_000
DIRECTION_TOLERANCE = 1e-3  # of a direction cosine; GE sends 1e-4 off
GAP_TOLERANCE = 0.02  # share of the gap between slices, plus
POSITION_TOLERANCE_MM = 0.02  # the rounding of positions in decimal strings
# What images at one position may differ in, most telling first.
_APART = (
    "TemporalPositionIdentifier", "EchoTime", "DiffusionBValue", "AcquisitionNumber", "ImageType", "ConvolutionKernel", "ContentTime",
)
CALIBRATED = ("RescaleSlope", "RescaleIntercept", "ModalityLUTSequence")  # without these, values of CT are no Hounsfield units
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}


@dataclass(frozen=True)
class _Plane:
    """Where one slice lies (mm, LPS) and what its values mean."""

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]  # (6,): direction of a row, then of a column
    spacing: tuple[float, float] | None  # between rows, between columns
    thickness: float | None


def read_dicom(sources: Sequence[Path | bytes]) -> Volume:
    """Read all files of one series, in any order, as one Volume.

    A series is one radiograph, the slices of one volume in one file each, or one multi-frame object. What must hold:

    - all files share SeriesInstanceUID, Modality, Rows and Columns, and are images;
    - slices share ImageOrientationPatient (within 1e-3) and PixelSpacing (within 0.1 %);
    - no two slices share a position, and gaps along the normal are equal within 2 % + 0.02 mm;
    - slices lie straight above each other (within 2 % of the gap + 0.02 mm): a tilted gantry is not a grid;
    - a radiograph comes alone: two of them are two cases.

    Raises UnusableInput otherwise, and for anything that cannot be parsed, decoded or would not fit in memory. Frames
    without positions (a cine) are stacked in their order with ``spacing_known`` False and a warning.
    """
    if not sources:
        raise UnusableInput("A series needs at least one file, found none.", code="empty")
    if len(sources) > MAX_FILES:
        raise UnusableInput(f"A series may hold {MAX_FILES:,} files, found {len(sources):,}.", code="too_many_files")
    datasets = [parse(source) for source in sources]
    for dataset in datasets:
        if not any(keyword in dataset for keyword in PIXEL_KEYWORDS):
            raise UnusableInput(
                f"Every file must hold an image, found {text(dataset, 'Modality') or 'one'} without pixels. "
                "Send the images of the study.",
                code="no_pixels",
            )
    if sum(check_pixel_claims(dataset) for dataset in datasets) > MAX_PIXEL_BYTES:
        raise UnusableInput(
            f"A series may take {MAX_PIXEL_BYTES:,} bytes decoded, found more. Send one series at a time.",
            code="too_many_pixels",
        )
    for keyword in ("SeriesInstanceUID", "Modality", "Rows", "Columns"):
        found = {text(dataset, keyword) for dataset in datasets}
        if len(found) > 1:
            code = "several_series" if keyword == "SeriesInstanceUID" else "slices_not_a_grid"
            raise UnusableInput(
                f"All files of a series must share {keyword}, found {len(found)} values. Send one series at a time.",
                code=code,
            )
    if len(datasets) == 1:
        return _one_file(datasets[0])
    return _many_files(datasets)


def read_header(source: Path | bytes) -> Header:
    """Read only the header of one file, to choose a model by. Raises UnusableInput as ``read_dicom`` does."""
    return header_of(parse(source))


def group_instances(sources: Sequence[Path | bytes]) -> list[list[Path | bytes]]:
    """Group files into the cases ``read_dicom`` takes, in order of arrival: slices by series, radiographs alone."""
    cases: dict[str, list[Path | bytes]] = {}
    for place, source in enumerate(sources):
        dataset = parse(source)
        sliced = "ImagePositionPatient" in dataset and whole_number(dataset, "NumberOfFrames", 1) == 1
        cases.setdefault(text(dataset, "SeriesInstanceUID") if sliced else f"file {place}", []).append(source)
    return list(cases.values())


def header_of(dataset: Dataset) -> Header:
    """Return the facts a model may be chosen or refused by; nothing that identifies."""
    region = text(dataset, "BodyPartExamined").upper()
    if not region:
        items = items_of(dataset, "AnatomicRegionSequence")
        region = text(items[0], "CodeMeaning").upper() if items else ""
    meta = getattr(dataset, "file_meta", Dataset())
    syntax = getattr(meta, "TransferSyntaxUID", "")
    return Header(
        modality=text(dataset, "Modality").upper(),
        body_part=region,
        view=text(dataset, "ViewPosition").upper(),
        age_years=_age_years(dataset),
        sex=text(dataset, "PatientSex").upper(),
        burned_in_annotation=text(dataset, "BurnedInAnnotation").upper(),
        source="dicom",
        manufacturer=text(dataset, "Manufacturer"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        lossy=text(dataset, "LossyImageCompression") == "01" or str(syntax) in _LOSSY,
    )


_LOSSY = frozenset(
    f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 81)
)  # JPEG processes 1-12, near-lossless JPEG-LS


def _one_file(dataset: FileDataset) -> Volume:
    count = whole_number(dataset, "NumberOfFrames", 1)
    groups = frame_groups(dataset, count)
    found = [_plane(group) for group in groups or ([dataset] if count == 1 else [])]
    planes = [plane for plane in found if plane]
    voxels = decode(dataset, rescale=frame_rescale(groups))
    uids = (text(dataset, "SOPInstanceUID"),) * len(voxels)
    if len(planes) == len(voxels) > 1:
        order, affine, known = _grid(planes, groups)
        return _volume(dataset, voxels if order == sorted(order) else voxels[order], affine, uids, known, groups=groups)
    if len(voxels) > 1:
        return _volume(dataset, voxels, np.eye(4), uids, False, "frames_without_position", groups=groups)
    if planes:
        affine, known = _single(planes[0])
    else:
        spacing = numbers(dataset, "PixelSpacing") or numbers(dataset, "ImagerPixelSpacing")
        known = len(spacing) == 2 and min(spacing) > 0
        affine = np.diag([spacing[1], spacing[0], 1.0, 1.0]) if known else np.eye(4)
    return _volume(dataset, voxels, affine, uids, known, groups=groups)


def _many_files(datasets: list[FileDataset]) -> Volume:
    planes = []
    for dataset in datasets:
        plane = _plane(dataset) if whole_number(dataset, "NumberOfFrames", 1) == 1 else None
        if plane is None:
            raise UnusableInput(
                "Images that come together must be slices with a position, found one without. "
                "Send radiographs and multi-frame objects one at a time.",
                code="several_images",
            )
        planes.append(plane)
    order, affine, known = _grid(planes, datasets)
    first = datasets[order[0]]
    voxels = np.empty((len(order), whole_number(first, "Rows"), whole_number(first, "Columns")), dtype=np.float32)
    for z, place in enumerate(order):
        voxels[z] = decode(datasets[place])[0]
    return _volume(first, voxels, affine, tuple(text(datasets[place], "SOPInstanceUID") for place in order), known)


def _volume(
    dataset: FileDataset,
    voxels: NDArray[np.float32],
    affine: NDArray[np.float64],
    uids: tuple[str, ...],
    known: bool,
    *warnings: str,
    groups: Sequence[Dataset] = (),
) -> Volume:
    flags = list(warnings)
    if units_of(dataset) == "HU" and not any(keyword in one for keyword in CALIBRATED for one in (dataset, *groups[:1])):
        flags.append("ct_without_rescale")
    if text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING":
        flags.append("not_for_presentation")
    return Volume(
        np.ascontiguousarray(voxels, dtype=np.float32),
        affine,
        units_of(dataset),
        header_of(dataset),
        uids if all(uids) else (),
        known,
        tuple(flags),
    )


def _plane(dataset: Dataset) -> _Plane | None:
    """Return where a slice lies; None when it does not say. Raises UnusableInput when what it says is impossible."""
    position, orientation = numbers(dataset, "ImagePositionPatient"), numbers(dataset, "ImageOrientationPatient")
    if not position or not orientation:
        return None
    if len(position) != 3 or len(orientation) != 6:
        raise UnusableInput(
            "ImagePositionPatient must hold 3 numbers and ImageOrientationPatient 6, "
            f"found {len(position)} and {len(orientation)}. Correct the header.",
            code="bad_geometry",
        )
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    if abs(np.linalg.norm(row) - 1) > 0.01 or abs(np.linalg.norm(column) - 1) > 0.01 or abs(row @ column) > 0.01:
        raise UnusableInput(
            "ImageOrientationPatient must be two perpendicular unit vectors. Correct the header.", code="bad_geometry"
        )
    spacing = numbers(dataset, "PixelSpacing")
    if spacing and (len(spacing) != 2 or min(spacing) <= 0):
        raise UnusableInput("PixelSpacing must be two positive numbers. Correct the header.", code="bad_geometry")
    thickness = numbers(dataset, "SpacingBetweenSlices") or numbers(dataset, "SliceThickness")
    return _Plane(
        np.array(position),
        np.array(orientation),
        (spacing[0], spacing[1]) if spacing else None,
        abs(thickness[0]) if thickness and thickness[0] else None,
    )


def _single(plane: _Plane) -> tuple[NDArray[np.float64], bool]:
    known = plane.spacing is not None and plane.thickness is not None
    return _affine(plane, (plane.thickness or 1.0) * _normal(plane)), known


def _grid(planes: list[_Plane], headers: Sequence[Dataset]) -> tuple[list[int], NDArray[np.float64], bool]:
    """Return the order of slices along their normal, the affine, and whether the spacing was stated.

    ``headers``, one a plane, are only looked at to say what images at one position differ in.
    """
    first = planes[0]
    for plane in planes:
        if np.abs(plane.orientation - first.orientation).max() > DIRECTION_TOLERANCE:
            raise UnusableInput(
                "All slices must share ImageOrientationPatient, found several. Send one orientation a series.",
                code="slices_not_a_grid",
            )
        if (plane.spacing is None) != (first.spacing is None) or (
            plane.spacing and first.spacing and not np.allclose(plane.spacing, first.spacing, rtol=1e-3, atol=0)
        ):
            raise UnusableInput(
                "All slices must share one PixelSpacing, found several. Send one reconstruction per series.",
                code="slices_not_a_grid",
            )
    normal = _normal(first)
    positions = np.array([plane.position for plane in planes])
    along = positions @ normal
    order = [int(i) for i in np.argsort(along, kind="stable")]
    steps = np.diff(positions[order], axis=0)
    gaps = steps @ normal
    gap = float(np.median(gaps))
    allowed = GAP_TOLERANCE * gap + POSITION_TOLERANCE_MM
    if gaps.min() <= POSITION_TOLERANCE_MM:
        pairs = [(headers[order[i]], headers[order[i + 1]]) for i in np.flatnonzero(gaps <= POSITION_TOLERANCE_MM)]
        raise UnusableInput(
            f"No two slices may share a position, found {len(planes)} at {len(planes) - len(pairs)} positions, {_apart(pairs)}. "
            "Send one time point, echo and reconstruction a series, and every slice once.",
            code="duplicate_positions",
        )
    if np.abs(gaps - gap).max() > allowed:
        raise UnusableInput(
            f"Gaps between slices must be equal within {allowed:.2f} mm, found {gaps.min():.2f} to "
            f"{gaps.max():.2f} mm. A slice is missing: send the whole series.",
            code="missing_slices",
        )
    aside = np.linalg.norm(steps - gaps[:, None] * normal, axis=1)
    if aside.max() > allowed:
        raise UnusableInput(
            f"Slices must lie straight above each other, found a shift of {aside.max():.2f} mm a slice "
            f"(gantry tilt, {np.degrees(np.arctan2(aside.max(), gap)):.1f} degrees). Send an untilted reconstruction.",
            code="gantry_tilt",
        )
    step = (positions[order[-1]] - positions[order[0]]) / (len(planes) - 1)
    return order, _affine(planes[order[0]], step), first.spacing is not None


def _apart(pairs: list[tuple[Dataset, Dataset]]) -> str:
    """Say what images at one position differ in, of the attributes that split a series."""
    for keyword in _APART:
        if all(_raw(one, keyword) != _raw(other, keyword) for one, other in pairs):
            return f"different in {keyword}"
    return "alike in their headers"


def _raw(dataset: Dataset, keyword: str) -> Any:
    return getattr(dataset.get_item(keyword), "value", None)


def _normal(plane: _Plane) -> NDArray[np.float64]:
    normal = np.cross(plane.orientation[:3], plane.orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def _affine(plane: _Plane, step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (x, y, z, 1) → LPS mm by PS3.3 C.7.6.2.1.1: x runs along a row, y down a column, z over the slices."""
    rows_mm, columns_mm = plane.spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3, 0] = plane.orientation[:3] * columns_mm
    affine[:3, 1] = plane.orientation[3:] * rows_mm
    affine[:3, 2] = step
    affine[:3, 3] = plane.position
    return affine


def _age_years(dataset: Dataset) -> float | None:
    """Return PatientAge (nnnD, W, M or Y), or the years from birth to study; None when neither is stated."""
    stated = text(dataset, "PatientAge").upper()
    if len(stated) > 1 and stated[:-1].isdigit() and stated[-1] in _DAYS:
        return int(stated[:-1]) * _DAYS[stated[-1]] / _DAYS["Y"]
    try:
        born = datetime.strptime(text(dataset, "PatientBirthDate"), "%Y%m%d")
        seen = datetime.strptime(text(dataset, "StudyDate"), "%Y%m%d")
    except ValueError:
        return None
    days = (seen - born).days
    return days / _DAYS["Y"] if days >= 0 else None
