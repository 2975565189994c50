"""The hippocampus source: pairs that cannot be right are rejected with the reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import UnusableInput
from models.volume import Volume
from tests.make import data_root, needs_data
from tests.make_data import volume_data
from training.data import hippocampus
from training.data.hippocampus import VolumeCase, check_pair, read_pair


def pair(tmp_path: Path) -> tuple[Volume, Volume]:
    return read_pair(hippocampus.load(volume_data(tmp_path), "train")[0])


def test_sound_pair_is_read_on_one_grid(tmp_path: Path) -> None:
    image, label = pair(tmp_path)
    assert image.shape == label.shape == (20, 32, 24)
    assert np.unique(label.voxels).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("spoil", "code"), [
    (lambda v: replace(v, voxels=v.voxels[:-1]), "pair_shape"),
    (lambda v: replace(v, affine=v.affine + np.diag([0.5, 0, 0, 0])), "pair_affine"),
    (lambda v: replace(v, voxels=np.minimum(v.voxels, 1)), "pair_labels"),
    (lambda v: replace(v, voxels=v.voxels + 1), "pair_labels"),
    (lambda v: replace(v, voxels=np.where(np.arange(v.voxels.size).reshape(v.shape) < 40, v.voxels + 1, 0)), "pair_labels"),
])
def test_label_that_cannot_belong_is_rejected(tmp_path: Path, spoil: object, code: str) -> None:
    image, label = pair(tmp_path)
    with pytest.raises(UnusableInput) as error:
        check_pair(image, spoil(label), name="made")
    assert error.value.code == code


def test_label_ten_times_too_small_is_rejected(tmp_path: Path) -> None:
    image, label = pair(tmp_path)
    small = np.diag([0.3, 0.3, 0.3, 1.0])
    with pytest.raises(UnusableInput, match="mL"):
        check_pair(replace(image, affine=small), replace(label, affine=small), name="made")


def test_constant_image_is_rejected(tmp_path: Path) -> None:
    image, label = pair(tmp_path)
    with pytest.raises(UnusableInput, match="constant"):
        check_pair(replace(image, voxels=np.zeros_like(image.voxels)), label, name="made")


@needs_data
def test_every_planted_bad_pair_is_rejected_with_a_reason() -> None:
    """One image has no label, one label no image, one label is another organ's."""
    bad = data_root() / "hippocampus" / "planted-bad"
    names = sorted({p.name for p in bad.rglob("*.nii.gz")})
    codes = []
    for name in names:
        with pytest.raises(UnusableInput) as error:
            read_pair(VolumeCase(bad / "images" / name, bad / "labels" / name, "planted"))
        codes.append(error.value.code)
    assert codes == ["pair_incomplete"] * len(names)
    assert len(names) == 3


@needs_data
def test_planted_label_of_another_organ_is_rejected_beside_any_image() -> None:
    root = data_root() / "hippocampus"
    image = sorted((root / "images").glob("*.nii.gz"))[0]
    with pytest.raises(UnusableInput) as error:
        read_pair(VolumeCase(image, root / "planted-bad" / "labels" / "hippocampus_281.nii.gz", "planted"))
    assert error.value.code == "pair_shape"


@needs_data
def test_subjects_are_whole_in_the_real_splits() -> None:
    subjects = [{c.subject for c in hippocampus.load(data_root(), split)} for split in ("train", "val", "test")]
    assert subjects[0].isdisjoint(subjects[1])
    assert subjects[2].isdisjoint(subjects[0] | subjects[1])
