"""Volume: voxels with their place in the patient, and the few header facts a model may be chosen or refused by.

A radiograph is a Volume with one slice. Nothing here identifies a patient.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Units = Literal["display", "HU", "arbitrary"]


@dataclass(frozen=True)
class Header:
    """Facts the sender stated about the image; None or "" means not stated, which is not the same as wrong."""

    modality: str = ""  # DICOM Modality (0008,0060): DX, CR, MR, CT…
    body_part: str = ""  # BodyPartExamined (0018,0015) or the code meaning of the anatomic region, upper case
    view: str = ""  # ViewPosition (0018,5101): AP, PA, LL…
    age_years: float | None = None  # PatientAge (0010,1010) or from birth and study dates
    sex: str = ""  # PatientSex (0010,0040): M, F, O
    burned_in_annotation: str = ""  # BurnedInAnnotation (0028,0301): YES, NO
    source: str = ""  # how it came: dicom, nifti, image, array
    manufacturer: str = ""
    series_uid: str = ""
    study_uid: str = ""
    lossy: bool = False  # LossyImageCompression (0028,2110)


@dataclass(frozen=True)
class Volume:
    """Voxels on a regular grid.

    ``voxels`` float32 (z, y, x): slice, row, column. ``affine`` float64 (4, 4) maps (x, y, z, 1) voxel indices to
    patient millimetres in LPS (DICOM PS3.3 C.7.6.2.1.1). ``units``: "display" 0-255 for projections after VOI LUT,
    "HU" for CT, "arbitrary" for MR. ``sop_uids`` holds one UID a slice, or nothing when the source has none.
    ``spacing_known`` is False when the source gave no spacing and 1 mm was assumed.
    """

    voxels: NDArray[np.float32]
    affine: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    units: Units = "arbitrary"
    header: Header = Header()
    sop_uids: tuple[str, ...] = ()
    spacing_known: bool = False
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or 0 in self.voxels.shape:
            raise ValueError(f"Volume.voxels must be (z, y, x) and not empty, found shape {self.voxels.shape}.")
        if self.affine.shape != (4, 4):
            raise ValueError(f"Volume.affine must be (4, 4), found {self.affine.shape}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slices, rows, columns)."""
        z, y, x = self.voxels.shape
        return z, y, x

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxels along z, y, x in millimetres."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def with_voxels(self, voxels: NDArray[np.float32], affine: NDArray[np.float64] | None = None) -> Volume:
        """Return the same Volume with other voxels and, where the grid moved, its new affine."""
        return replace(self, voxels=voxels, affine=self.affine if affine is None else affine)

    def back_onto(self, source: Volume, *, order: int = 1, outside: float = 0.0) -> NDArray[np.float32]:
        """Resample these voxels onto the grid of ``source``; float32 (z, y, x) of source's shape.

        ``order`` is the spline order (0 nearest for labels, 1 linear, 3 cubic). Voxels of source outside this
        grid get ``outside``; rounding at the border counts as inside. Used to put masks on the original slices.
        """
        to_self = np.linalg.inv(self.affine) @ source.affine  # (x, y, z) of source -> (x, y, z) of self
        flip = np.eye(4)[[2, 1, 0, 3]]  # ndimage indexes (z, y, x)
        matrix = flip @ to_self @ flip
        moved: NDArray[np.float32] = ndimage.affine_transform(
            self.voxels, matrix[:3, :3], matrix[:3, 3], output_shape=source.shape, order=order, mode="grid-constant",
            cval=outside, output=np.float32,
        )
        return moved
