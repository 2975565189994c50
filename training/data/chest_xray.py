"""Chest radiographs: children one to five years old, normal, bacterial or viral pneumonia; adults as outsiders.

Children: Kermany 2018 (Cell 172:1122), two tiers. Adults, used only to learn whom the model must refuse: NIH
ChestX-ray14 (Wang 2017) and Hannover COVID-19. Source and label are confounded across sources, so every figure is
given by source and never pooled.
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
from models.read_image import read_raster
from models.steps import apply_steps
from models.volume import Volume
from training.data.split import check_split

CHILDREN = ("kermany-pediatric", "kermany-pediatric-224")
ADULTS = ("nih-chestxray14", "hannover-covid19")
PNEUMONIA, BACTERIAL = 0, 1  # columns of RadiographCase.targets


@dataclass(frozen=True)
class RadiographCase:
    """One radiograph: where it is, whose it is, what it shows.

    ``targets`` are (pneumonia, bacterial): 1, 0, or NaN where the question does not arise.
    """

    path: Path
    patient: str
    source: str
    official_split: str
    targets: tuple[float, float]
    lung_mask: Path | None
    age_years: float | None
    sex: str
    view: str
    tier: str

    @property
    def is_child(self) -> bool:
        return self.source in CHILDREN

    def subgroups(self) -> dict[str, str]:
        """The groups every figure is also reported for."""
        return {"source": self.source, "official_split": self.official_split}


def load(root: Path, split: str, *, sources: tuple[str, ...] = CHILDREN) -> list[RadiographCase]:
    """Return the cases of one split ("train", "val", "test") in file order, after checking that no patient leaks."""
    folder = root / "chest-xray"
    with (folder / "metadata.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    check_split(((row["patient_id"], row["split"]) for row in rows), what="radiographs")
    return [_case(folder, row) for row in rows if row["split"] == split and row["source"] in sources]


def _case(folder: Path, row: dict[str, str]) -> RadiographCase:
    ill = 1.0 if row["labels"] == "Pneumonia" else 0.0
    bacterial = {"bacteria": 1.0, "virus": 0.0}.get(row["sublabel"], float("nan"))
    child = row["source"] in CHILDREN
    return RadiographCase(
        path=folder / row["path"],
        patient=row["patient_id"],
        source=row["source"],
        official_split=row["official_split"],
        targets=(ill, bacterial) if child else (float("nan"), float("nan")),
        lung_mask=folder / row["lung_mask"] if row["lung_mask"] else None,
        age_years=float(row["age"]) if row["age"] else None,
        sex=row["sex"],
        view=row["view"],
        tier="224" if row["source"].endswith("224") else "320",
    )


def prepare(cases: list[RadiographCase], steps: list[tuple[str, dict[str, Any]]]) -> NDArray[np.uint8]:
    """Read and run ``steps`` on every case: uint8 (case, rows, columns). The steps must end in one common size."""
    return np.stack([np.rint(apply_steps(read_raster(c.path), steps).voxels[0]).astype(np.uint8) for c in cases])


def prepare_crops(
    cases: list[RadiographCase], steps: list[tuple[str, dict[str, Any]]], rng: np.random.Generator, *, keep: float = 0.6
) -> NDArray[np.uint8]:
    """As ``prepare``, each case collimated at random first: every side is cut, and ``keep`` to all of each axis stays.

    In these data ill children are collimated more tightly than healthy ones; another hospital will differ.
    """
    cropped = []
    for case in cases:
        source = read_raster(case.path)
        _, rows, columns = source.shape
        top, left = (int(rng.uniform(0, (1 - keep) / 2) * size) for size in (rows, columns))
        bottom, right = (size - int(rng.uniform(0, (1 - keep) / 2) * size) for size in (rows, columns))
        cropped.append(apply_steps(source.with_voxels(source.voxels[:, top:bottom, left:right].copy()), steps).voxels[0])
    return np.rint(np.stack(cropped)).astype(np.uint8)


def prepare_masks(cases: list[RadiographCase], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return lung masks as uint8 (case, rows, columns): 0 outside, 255 lung, and 128 everywhere where there is none."""
    masks = np.full((len(cases), *size), 128, np.uint8)
    for index, case in enumerate(cases):
        if case.lung_mask is not None:
            squashed = apply_steps(read_raster(case.lung_mask), [("squash", {"rows": size[0], "columns": size[1]})])
            masks[index] = np.where(squashed.voxels[0] > 127, 255, 0)
    return masks


def adults_of(cases: list[RadiographCase]) -> list[RadiographCase]:
    """Keep the adults (18 and over, or a source that holds adults only)."""
    return [c for c in cases if not c.is_child and (c.age_years is None or c.age_years >= 18)]


def data_sha256(root: Path) -> str:
    """Hash of the table, which itself holds the hash of every image."""
    return hashlib.sha256((root / "chest-xray" / "metadata.csv").read_bytes()).hexdigest()


def read_case(case: RadiographCase) -> Volume:
    """Read one radiograph as serving would. Raises UnusableInput when the file is damaged."""
    if not case.path.is_file():
        raise UnusableInput(f"{case.path.name}: listed in metadata.csv but not on disk. Fetch the data again.",
                            code="missing_file")
    return read_raster(case.path)
