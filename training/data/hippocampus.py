"""Hippocampus MR crops with anterior (1) and posterior (2) labels: Medical Segmentation Decathlon Task04.

Antonelli 2022, Nat Commun 13:4128; CC BY-SA 4.0. Volumes 2k-1 and 2k are the same person, so the subject is the
unit of every split. Pairs that cannot be right are rejected with the reason before anything is fitted.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UnusableInput
from models.read_image import read_nifti
from models.steps import apply_steps
from models.volume import Volume
from training.data.split import check_split

LABELS = {1: "anterior", 2: "posterior"}
PLAUSIBLE_ML = (0.2, 4.0)  # per label; adults have 1-2 mL each, so ten times off means a wrong label or spacing


@dataclass(frozen=True)
class VolumeCase:
    """One MR crop with its reference segmentation."""

    image: Path
    label: Path
    subject: str

    @property
    def name(self) -> str:
        return self.image.name.removesuffix(".nii.gz")


def load(root: Path, split: str) -> list[VolumeCase]:
    """Return the cases of one split in file order, after checking that no subject leaks."""
    folder = root / "hippocampus"
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check_split(((row["subject"], row["split"]) for row in rows), what="volumes")
    return [
        VolumeCase(folder / "images" / row["file"], folder / "labels" / row["file"], row["subject"])
        for row in rows
        if row["split"] == split
    ]


def read_pair(case: VolumeCase) -> tuple[Volume, Volume]:
    """Read image and label. Raises UnusableInput with the reason when the pair cannot be right."""
    for path, what in ((case.image, "image"), (case.label, "label")):
        if not path.is_file():
            raise UnusableInput(f"{case.name}: every image needs a label of the same name, the {what} is missing. "
                                "Leave the pair out or fetch it again.", code="pair_incomplete")
    image, label = read_nifti(case.image), read_nifti(case.label)
    check_pair(image, label, name=case.name)
    return image, label


def check_pair(image: Volume, label: Volume, *, name: str) -> None:
    """Raise UnusableInput when image and label do not share a grid, or the label cannot be a hippocampus."""
    if image.shape != label.shape:
        raise UnusableInput(f"{name}: image and label must share one grid, found {image.shape} and {label.shape} "
                            "(z, y, x). The label belongs to another image.", code="pair_shape")
    if not np.allclose(image.affine, label.affine, atol=1e-3):
        raise UnusableInput(f"{name}: image and label must share one affine, found a difference of "
                            f"{np.abs(image.affine - label.affine).max():.3f}. Resample the label.", code="pair_affine")
    found = sorted(int(v) for v in np.unique(label.voxels))
    if found != [0, *LABELS]:
        raise UnusableInput(f"{name}: the label must hold 0, 1 and 2, found {found}. "
                            "Both parts must be drawn.", code="pair_labels")
    for value, part in LABELS.items():
        ml = float((label.voxels == value).sum()) * label.voxel_ml
        if not PLAUSIBLE_ML[0] <= ml <= PLAUSIBLE_ML[1]:
            raise UnusableInput(f"{name}: the {part} hippocampus must measure {PLAUSIBLE_ML[0]}-{PLAUSIBLE_ML[1]} mL, "
                                f"found {ml:.2f}. Check label and spacing.", code="pair_volume")
    if float(np.ptp(image.voxels)) == 0.0:
        raise UnusableInput(f"{name}: the image must not be constant.", code="pair_blank")


def prepare(
    cases: list[VolumeCase], steps: list[tuple[str, dict[str, Any]]]
) -> list[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Read, check and run ``steps`` on every case: list of (voxels float32, labels uint8), both (z, y, x)."""
    prepared = []
    for case in cases:
        image, label = read_pair(case)
        # Labels take the geometric steps only in as far as the training grid is the serving grid: crops are 1 mm.
        moved = apply_steps(image, steps)
        onto = label.back_onto(moved, order=0)
        prepared.append((moved.voxels, np.rint(onto).astype(np.uint8)))
    return prepared


def data_sha256(root: Path) -> str:
    """Hash of the table, which itself holds the hash of every image and label."""
    return hashlib.sha256((root / "hippocampus" / "metadata.csv").read_bytes()).hexdigest()
