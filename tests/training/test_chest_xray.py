"""The radiograph source: labels, splits and masks as the table states them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from models.errors import UnusableInput
from tests.make import data_root, needs_data
from tests.make_data import radiograph_data
from training.data import chest_xray

SQUASH = [("squash", {"rows": 32, "columns": 32})]


def test_question_of_bacteria_arises_only_with_pneumonia(tmp_path: Path) -> None:
    cases = chest_xray.load(radiograph_data(tmp_path), "train")
    assert {c.targets[0] for c in cases} == {0.0, 1.0}
    assert all(math.isnan(c.targets[1]) == (c.targets[0] == 0.0) for c in cases)


def test_adults_are_loaded_only_when_asked_for_and_have_no_targets(tmp_path: Path) -> None:
    root = radiograph_data(tmp_path)
    assert all(c.is_child for c in chest_xray.load(root, "train"))
    adults = chest_xray.adults_of(chest_xray.load(root, "train", sources=chest_xray.ADULTS))
    assert adults
    assert all(math.isnan(c.targets[0]) for c in adults)


def test_mask_is_grey_where_none_is_known(tmp_path: Path) -> None:
    cases = chest_xray.load(radiograph_data(tmp_path), "val")
    assert np.unique(chest_xray.prepare_masks(cases, (32, 32))).tolist() == [128]
    assert chest_xray.prepare(cases, SQUASH).shape == (len(cases), 32, 32)


def test_random_collimation_keeps_size_and_changes_the_image_the_same_way_twice(tmp_path: Path) -> None:
    cases = chest_xray.load(radiograph_data(tmp_path), "val")
    first, again = (chest_xray.prepare_crops(cases, SQUASH, np.random.default_rng(3)) for _ in range(2))
    whole = chest_xray.prepare(cases, SQUASH)
    assert first.shape == whole.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, whole)


def test_image_missing_on_disk_is_named(tmp_path: Path) -> None:
    case = chest_xray.load(radiograph_data(tmp_path), "val")[0]
    case.path.unlink()
    with pytest.raises(UnusableInput, match="not on disk"):
        chest_xray.read_case(case)


@needs_data
def test_real_splits_share_no_patient_and_keep_the_official_test_images() -> None:
    cases = {split: chest_xray.load(data_root(), split) for split in ("train", "val", "test")}
    patients = [{c.patient for c in part} for part in cases.values()]
    assert patients[0].isdisjoint(patients[1])
    assert patients[2].isdisjoint(patients[0] | patients[1])
    assert all(c.official_split != "test" for c in cases["train"] + cases["val"])
    assert sum(c.official_split == "test" for c in cases["test"]) == 618
    assert all(c.lung_mask is None or c.lung_mask.is_file() for part in cases.values() for c in part)
