"""check: what the golden inputs gave at export, they give here."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from models import golden as golden_module
from models.check import check, check_model
from models.errors import BrokenModel
from models.golden import golden_faults, read_golden
from models.manifest import Precision, read_manifest
from models.model import Model
from tests.make import tiny_release
from tests.make_release import reseal

TASKS = ("image_classification", "volume_segmentation", "risk")


@pytest.mark.parametrize("task", TASKS)
def test_a_sound_release_says_what_was_checked(tmp_path: Path, task: str) -> None:
    words = check(tiny_release(tmp_path, task))
    assert len(words) == 5
    assert "golden inputs reproduce on onnxruntime" in words[3]


@pytest.mark.parametrize(
    ("task", "role"),
    [
        ("image_classification", "probability"),
        ("image_classification", "map"),
        ("risk", "contributions"),
        ("volume_segmentation", "labels"),
        ("volume_segmentation", "volume_ml"),
    ],
)
def test_a_golden_output_that_does_not_reproduce_is_named(tmp_path: Path, task: str, role: str) -> None:
    folder = tiny_release(tmp_path, task)
    arrays = read_golden(folder)
    arrays[role] = arrays[role] + (1 if role == "labels" else np.float32(0.01))
    np.savez(folder / "golden.npz", **arrays)
    reseal(folder)
    with pytest.raises(BrokenModel, match=rf"golden inputs must reproduce on onnxruntime .*: {role} differ"):
        check(folder)


def test_a_golden_file_without_a_role_or_of_another_shape_is_named(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    arrays = read_golden(folder)
    np.savez(
        folder / "golden.npz",
        input=arrays["input"],
        logit=arrays["logit"][:1],
        probability=arrays["probability"],
        contributions=arrays["contributions"],
    )
    reseal(folder)
    with pytest.raises(
        BrokenModel, match=r"logit has shape \(3, 1\), golden \(1, 1\); golden\.npz has no array for the role 'ood'"
    ):
        check(folder)


def test_parts_that_do_not_sum_to_the_score_are_named(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    wrong = model.manifest.explains.model_copy(update={"bias": {"0": -2.2, "1": 0.1}})
    model.manifest = model.session.manifest = model.manifest.model_copy(update={"explains": wrong})
    with pytest.raises(BrokenModel, match="the explanation misses the score by"):
        check_model(model)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not an archive"])
def test_a_damaged_golden_file_is_named(tmp_path: Path, damage: bytes) -> None:
    folder = tiny_release(tmp_path, "risk")
    (folder / "golden.npz").write_bytes(damage)
    with pytest.raises(BrokenModel, match=r"golden\.npz must be a plain archive"):
        read_golden(folder)


def test_a_golden_file_without_input_is_named(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    np.savez(folder / "golden.npz", logit=np.zeros(3))
    with pytest.raises(BrokenModel, match="must hold the array 'input'"):
        read_golden(folder)


def test_a_golden_file_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_module, "MAX_GOLDEN_BYTES", 1000)
    folder = tiny_release(tmp_path, "risk")
    with zipfile.ZipFile(folder / "golden.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("input.npy", b"\0" * 100_000)
    with pytest.raises(BrokenModel, match=r"may unpack to 1,000 bytes, found 100,000"):
        read_golden(folder)


def test_a_faster_precision_is_held_to_its_gate_and_not_to_fp32(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "image_classification")
    model, golden = Model(folder), read_golden(folder)
    gate = Precision(backend="openvino", precision="bf16", max_probability_change=0.02, flips=0, same_peak=1, inputs=9)

    def moved(by: float):
        def run(batch):
            arrays = model.session.run(batch)
            return {**arrays, "probability": arrays["probability"] + np.float32(by)}

        return run

    verdicts = [
        bool(golden_faults(moved(by), golden, model.manifest, precision, gate))
        for by, precision in ((0.05, "bf16"), (0.07, "bf16"), (0.05, "fp32"))
    ]
    assert verdicts == [False, True, True]


def test_values_that_are_not_numbers_never_pass_a_gate(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "volume_segmentation")
    model, golden = Model(folder), read_golden(folder)

    def run(batch):
        arrays = model.session.run(batch)
        return {**arrays, "class_probability": arrays["class_probability"] * np.float32(np.nan)}

    assert golden_faults(run, golden, read_manifest(folder), "bf16") == [
        "class_probability holds values that are not finite"
    ]
    assert golden_faults(run, golden, read_manifest(folder), "fp32") != []
