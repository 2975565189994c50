"""The images a result comes from, as writers refer to them: one flat reference a slice, whatever kind of object it was.

highdicom reads many attributes of a source and trusts them all. It is given these references instead: they hold only
what was checked when the volume was read, so a source with an odd header can still be written about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import MRImageStorage

from models.dicom_pixels import numbers, text
from models.volume import Volume
from service.dicom.told import Told
from service.dicom.uids import uid_of

FRAME_POSITION_TOLERANCE_MM = 0.5  # a frame belongs to the slice it lies nearest to


_TOWARDS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
_OPPOSITE = {"L": "LR", "R": "LR", "P": "AP", "A": "AP", "H": "HF", "F": "HF"}


@dataclass(frozen=True)
class Frame:
    """One slice of the volume: the instance it is in, and its number there (from 1) when that one has several frames."""

    sop_class_uid: str
    sop_uid: str
    number: int | None


def first(told: Told) -> Dataset:
    """Return the source whose patient, study and order everything made here takes over."""
    return told.sources[0]


def case_key(told: Told) -> str:
    """Return what names the case: SeriesInstanceUID of slices, SOPInstanceUID of an image that is a case of its own."""
    source = first(told)
    sliced = "ImagePositionPatient" in source and frame_count(source) == 1
    return text(source, "SeriesInstanceUID" if sliced else "SOPInstanceUID")


def class_of(source: Dataset) -> str:
    """Return SOPClassUID."""
    return text(source, "SOPClassUID")


def frame_count(source: Dataset) -> int:
    """Return NumberOfFrames, 1 when it is not stated or no number."""
    stated = numbers(source, "NumberOfFrames")
    return int(stated[0]) if stated and stated[0] >= 1 else 1


def frames(told: Told) -> list[Frame]:
    """Return one Frame for each slice of the volume, in its order; for each source when nothing could be read."""
    by_uid = {text(source, "SOPInstanceUID"): source for source in told.sources}
    if told.volume is None or len(told.volume.sop_uids) != told.volume.shape[0]:
        return [Frame(class_of(source), uid, None) for uid, source in by_uid.items()]
    uids = told.volume.sop_uids
    if len(set(uids)) == len(uids) > 1:
        return [Frame(class_of(by_uid.get(uid, first(told))), uid, None) for uid in uids]
    source = by_uid.get(uids[0], first(told))
    count = frame_count(source)
    if count == 1:
        return [Frame(class_of(source), uids[0], None)]
    return [Frame(class_of(source), uids[0], number) for number in _frame_numbers(source, told.volume, count)]


def positioned(told: Told) -> bool:
    """Tell whether the sources say where they lie in the patient."""
    source = first(told)
    if numbers(source, "ImagePositionPatient") and numbers(source, "ImageOrientationPatient"):
        return True
    return told.volume is not None and told.volume.spacing_known and bool(_frame_positions(source).size)


def frame_of_reference(told: Told) -> str:
    """Return FrameOfReferenceUID of the sources, or one derived for this case alone when they state none."""
    return text(first(told), "FrameOfReferenceUID") or uid_of(told.device.uid_root, case_key(told), "frame of reference")


def references(told: Told, rows: int, columns: int) -> list[Dataset]:
    """Return one slice-like reference for each slice of the volume, on a grid of ``rows`` x ``columns`` over its field.

    SOPInstanceUID is a name of this list only, no valid UID: ``point_at_sources`` puts the true ones in what was written.
    Maps and segmentations must lie in a frame of reference (PS3.3 A.51, A.75). Images that state none are given one of
    their own, at its origin, turned as PatientOrientation says.
    """
    if told.volume is None:
        raise ValueError("references needs a volume")
    volume, source = told.volume, first(told)
    grid = _regrid(volume if positioned(told) else replace(volume, affine=_own_plane(volume, source)), rows, columns)
    positions = _stated_positions(told) if (rows, columns) == volume.shape[1:] else None
    made = []
    for z in range(volume.shape[0]):
        reference = Dataset()
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"):
            setattr(reference, keyword, "")
        reference.StudyDate = reference.StudyTime = reference.ReferringPhysicianName = ""
        reference.StudyInstanceUID = text(source, "StudyInstanceUID")
        reference.SeriesInstanceUID = text(source, "SeriesInstanceUID")
        reference.SOPInstanceUID = _name(z)
        reference.SOPClassUID = MRImageStorage
        reference.Rows, reference.Columns = rows, columns
        reference.PixelSpacing = [_decimal(np.linalg.norm(grid[:3, axis])) for axis in (1, 0)]
        reference.FrameOfReferenceUID = frame_of_reference(told)
        reference.PositionReferenceIndicator = text(source, "PositionReferenceIndicator")
        reference.ImageOrientationPatient = _orientation(grid)
        place = positions[z] if positions is not None else (grid @ (0, 0, z, 1))[:3]
        reference.ImagePositionPatient = [_decimal(v) for v in place]
        reference.SliceThickness = _decimal(volume.spacing_mm[0])
        made.append(reference)
    return made


def point_at_sources(dataset: Dataset, told: Told, *, same_grid: bool) -> None:
    """Put the sources' own UIDs and frame numbers where ``references`` stood, and whether pixels match one to one."""
    found = frames(told)
    instances = list(dict.fromkeys((frame.sop_class_uid, frame.sop_uid) for frame in found))
    dataset.SourceImageSequence = [_instance(*one) for one in instances]
    series = Dataset()
    series.SeriesInstanceUID = text(first(told), "SeriesInstanceUID")
    series.ReferencedInstanceSequence = [_instance(*one) for one in instances]
    dataset.ReferencedSeriesSequence = [series]
    groups = [*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence]
    by_name = {_name(z): frame for z, frame in enumerate(found)}
    for derivation in (item for group in groups for item in group.get("DerivationImageSequence", ())):
        for item in derivation.SourceImageSequence:
            frame = by_name.get(item.ReferencedSOPInstanceUID)
            if frame is None:  # segments on one slice share the item: it was seen before
                continue
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class_uid, frame.sop_uid
            if frame.number is not None:
                item.ReferencedFrameNumber = frame.number
            item.SpatialLocationsPreserved = "YES" if same_grid else "NO"


def evidence(told: Told) -> list[Dataset]:
    """Return the sources as references for a report: what they are and which study and series they are in."""
    made = []
    for source in told.sources:
        one = Dataset()
        for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
            setattr(one, keyword, text(source, keyword))
        made.append(one)
    return made


def _name(z: int) -> str:
    return f"slice {z}"


def _instance(sop_class_uid: str, sop_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_uid
    return item


def _decimal(value: float | np.floating) -> float:
    """Round to what a decimal string of 16 characters holds (PS3.5, 6.2) for any place in a scanner."""
    return round(float(value), 8) + 0.0  # no negative zero


def _orientation(affine: NDArray[np.float64]) -> list[float]:
    axes = affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)
    return [_decimal(v) for v in (*axes[:, 0], *axes[:, 1])]


def _own_plane(volume: Volume, source: Dataset) -> NDArray[np.float64]:
    """Return an affine at the origin, its axes along PatientOrientation (PS3.3 C.7.6.1.1.1), as a frontal view if not stated."""
    try:
        stated = [str(one)[:1].upper() for one in source.get("PatientOrientation") or ()]
    except Exception:  # lazily converted by pydicom: any class
        stated = []
    turned = len(stated) == 2 and all(one in _TOWARDS for one in stated) and stated[0] not in _OPPOSITE[stated[1]]
    row, column = (_TOWARDS[one] for one in (stated if turned else "LF"))
    z, y, x = volume.spacing_mm
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = np.array(row) * x, np.array(column) * y
    affine[:3, 2] = np.cross(row, column) * z
    return affine


def _regrid(volume: Volume, rows: int, columns: int) -> NDArray[np.float64]:
    """Return the affine of a grid of other size over the same field, edge on edge."""
    _, source_rows, source_columns = volume.shape
    scale_y, scale_x = source_rows / rows, source_columns / columns
    moved = volume.affine.copy()
    moved[:3, 3] = (volume.affine @ ((scale_x - 1) / 2, (scale_y - 1) / 2, 0, 1))[:3]
    moved[:3, 0] *= scale_x
    moved[:3, 1] *= scale_y
    return moved


def _stated_positions(told: Told) -> list[Sequence[float]] | None:
    """Return ImagePositionPatient of each slice as it was sent, so that viewers match slices to the last digit."""
    by_uid = {text(source, "SOPInstanceUID"): numbers(source, "ImagePositionPatient") for source in told.sources}
    stated = [by_uid.get(frame.sop_uid, []) for frame in frames(told)]
    return list(stated) if all(len(one) == 3 for one in stated) and len(told.sources) == len(stated) else None


def _frame_positions(source: Dataset) -> NDArray[np.float64]:
    """Return (frames, 3) of an enhanced object, empty when not every frame says where it lies."""
    found = []
    shared = source.get("SharedFunctionalGroupsSequence") or []
    for group in source.get("PerFrameFunctionalGroupsSequence") or []:
        planes = group.get("PlanePositionSequence") or [item for one in shared for item in one.get("PlanePositionSequence") or []]
        found.append(numbers(planes[0], "ImagePositionPatient") if planes else [])
    return np.array(found) if found and all(len(one) == 3 for one in found) else np.empty((0, 3))


def _frame_numbers(source: Dataset, volume: Volume, count: int) -> list[int]:
    """Return the number of the frame that each slice of the volume is: the nearest one, or the same place in order."""
    positions = _frame_positions(source)
    if len(positions) != count:
        return list(range(1, volume.shape[0] + 1))
    slices = np.array([(volume.affine @ (0, 0, z, 1))[:3] for z in range(volume.shape[0])])
    return [int(np.linalg.norm(positions - place, axis=1).argmin()) + 1 for place in slices]
