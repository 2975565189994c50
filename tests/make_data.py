"""Tiny data sets on disk in the layout of the real ones, so that fitting and reading are tested without them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image

from tests.make import radiograph_pixels
from training.recipe import Recipe

COLUMNS = ("path", "source", "patient_id", "labels", "sublabel", "view", "age", "sex", "lung_mask", "official_split", "split")


def radiograph_data(root: Path, *, per_split: int = 8, size: int = 48) -> Path:
    """Write children (half with pneumonia) and adults for train, val and test under ``root/chest-xray``."""
    folder = root / "chest-xray"
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for split in ("train", "val", "test"):
        for i in range(per_split):
            ill, adult = i % 2 == 1, i % 4 == 3
            name = f"images/{split}{i}.png"
            Image.fromarray(radiograph_pixels(size, size + 8, pneumonia=ill, seed=i)).save(folder / name)
            rows.append({
                "path": name, "source": "nih-chestxray14" if adult else "kermany-pediatric", "patient_id": f"{split}-{i}",
                "labels": "Pneumonia" if ill else "No Finding", "sublabel": ("bacteria", "virus")[i // 2 % 2] if ill else "",
                "view": "AP", "age": "40" if adult else "", "sex": "", "lung_mask": "",
                "official_split": "test" if split == "test" else "train", "split": split,
            })
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return root


def volume_data(root: Path, *, per_split: int = 2) -> Path:
    """Write MR crops with two touching bright ellipsoids, labelled 1 and 2, under ``root/hippocampus``."""
    folder = root / "hippocampus"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    rows = []
    for split in ("train", "val", "test"):
        for i in range(per_split):
            rng = np.random.default_rng(i)
            x, y, z = np.mgrid[0:24, 0:32, 0:20].astype(float)
            label = np.zeros(x.shape, np.uint8)
            label[((x - 12) / 6) ** 2 + ((y - 20) / 7) ** 2 + ((z - 10) / 5) ** 2 < 1] = 1
            label[((x - 12) / 5) ** 2 + ((y - 9) / 7) ** 2 + ((z - 10) / 5) ** 2 < 1] = 2
            image = 60 + 90 * (label > 0) + rng.normal(0, 6, x.shape)
            name = f"{split}{i}.nii.gz"
            nibabel.Nifti1Image(image.astype(np.float32), np.eye(4)).to_filename(folder / "images" / name)
            nibabel.Nifti1Image(label, np.eye(4)).to_filename(folder / "labels" / name)
            rows.append({"file": name, "subject": f"{split}-{i}", "split": split})
    with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ("file", "subject", "split"))
        writer.writeheader()
        writer.writerows(rows)
    return root


def radiograph_recipe(**fit: Any) -> Recipe:
    """A recipe for ``radiograph_data`` that fits in seconds."""
    return Recipe("chest_xray_pediatric", {
        "version": "0.0.1", "task": "radiograph", "seed": 7,
        "steps": [{"name": "squash", "params": {"rows": 32, "columns": 32}}],
        "net": {"name": "radiograph", "findings": 2, "width": 8, "blocks": [1, 1, 1]},
        "fit": {"batch": 2, "rate": 0.001, "weight_decay": 0.01, "average": 0.9,
                "stages": [{"size": 32, "epochs": 3}], **fit},
    })


def volume_recipe(**fit: Any) -> Recipe:
    """A recipe for ``volume_data`` that fits in seconds."""
    return Recipe("hippocampus_mr", {
        "version": "0.0.1", "task": "volume", "seed": 7, "steps": [{"name": "pad_to_multiple", "params": {"of": 8}}],
        "net": {"name": "volume", "classes": 3, "widths": [4, 8, 8, 8]},
        "fit": {"batch": 1, "rate": 0.01, "weight_decay": 0.0, "average": 0.5,
                "stages": [{"size": [16, 24, 24], "epochs": 8}], **fit},
    })
