"""What is watched of an input: it follows the image, says nothing in answers, and costs next to nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.input_statistics import IMAGE_STREAMS, image_statistics, record_statistics
from models.model import Model
from models.prediction import Prediction, Refusal, to_json
from models.result_json import result_to_json
from models.volume import Header, Volume
from tests.make import icu_record, radiograph_pixels, tiny_release

CHILD = Header(modality="DX", body_part="CHEST", view="AP", age_years=3.0, source="dicom")


def radiograph(pixels: np.ndarray | None = None, **changed: object) -> Volume:
    found = radiograph_pixels(256, 256, pneumonia=True).astype(np.float32) if pixels is None else pixels
    return replace(Volume(found[None], units="display", header=CHILD), **changed)


def streams(volume: Volume) -> dict[str, float]:
    return image_statistics(volume, volume)


def test_an_image_has_every_stream_but_the_spacing_nobody_stated() -> None:
    assert set(streams(radiograph())) == set(IMAGE_STREAMS) - {"input.spacing_mm"}
    spaced = streams(radiograph(spacing_known=True, affine=np.diag([0.5, 0.5, 1.0, 1.0])))
    assert spaced["input.spacing_mm"] == 0.5


def test_left_and_right_swapped_change_nothing() -> None:
    """The regular sample falls on other pixels, so that only what does not depend on them is the same to the last digit."""
    one = radiograph(radiograph_pixels(96, 96, pneumonia=True).astype(np.float32))  # small enough to be looked at whole
    other = radiograph(one.voxels[0, :, ::-1].copy())
    first, second = streams(one), streams(other)
    for name in set(first) - {"input.edges", "input.sharpness", "input.mean", "input.sd"}:
        assert second[name] == pytest.approx(first[name], rel=0.08, abs=0.02), name
    assert second["input.mean"] == pytest.approx(first["input.mean"], rel=0.02)


def test_blur_lowers_sharpness_noise_raises_it_and_contrast_moves_neither() -> None:
    from scipy import ndimage

    pixels = radiograph_pixels(256, 256, pneumonia=True).astype(np.float32)
    plain = streams(radiograph(pixels))
    blurred = streams(radiograph(ndimage.gaussian_filter(pixels, 2).astype(np.float32)))
    noisy = streams(radiograph(pixels + np.random.default_rng(0).normal(0, 20, pixels.shape).astype(np.float32)))
    fainter = streams(radiograph(100 + 0.5 * (pixels - 100)))
    assert blurred["input.sharpness"] < 0.8 * plain["input.sharpness"] < noisy["input.sharpness"]
    assert fainter["input.sd"] == pytest.approx(0.5 * plain["input.sd"], rel=1e-3)
    assert fainter["input.sharpness"] == pytest.approx(plain["input.sharpness"], rel=1e-3)


def test_a_black_border_and_twelve_bits_are_seen() -> None:
    framed = np.full((200, 200), 120.0, np.float32)
    framed[:20], framed[-20:], framed[:, :20], framed[:, -20:] = 0, 0, 0, 0
    assert streams(radiograph(framed))["input.border_black"] == 1.0
    ramp = np.linspace(0, 255, 256 * 256, dtype=np.float32).reshape(256, 256)
    assert streams(radiograph(np.rint(ramp)))["input.levels"] <= 8 < streams(radiograph(ramp))["input.levels"]


def test_a_volume_of_slices_is_looked_at_in_a_few_of_them() -> None:
    voxels = np.random.default_rng(0).uniform(0, 900, (64, 40, 48)).astype(np.float32)
    found = streams(Volume(voxels))
    assert (found["input.slices"], found["input.rows"], found["input.columns"]) == (64, 40, 48)
    assert found["input.mean"] == pytest.approx(450, rel=0.03)


def test_results_and_refusals_carry_them_and_neither_answers_nor_stored_results_tell_them(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    scored, blank = model.predict(radiograph()), model.predict(radiograph(np.full((256, 256), 80.0, np.float32)))
    assert isinstance(scored, Prediction)
    assert isinstance(blank, Refusal)
    assert set(IMAGE_STREAMS) - {"input.spacing_mm"} <= set(scored.input_statistics)
    assert any(name.startswith("ood.") for name in scored.input_statistics)
    assert blank.input_statistics["input.sd"] == 0.0
    for told in (to_json(scored), to_json(blank), result_to_json(scored)):
        assert "input_statistics" not in told
        assert "input.sd" not in str(told)
    assert replace(scored, input_statistics={}) == scored
    assert "input.sd" not in repr(scored)


def test_a_record_has_its_features_by_name_and_what_is_missing_has_no_key(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "risk"))
    result = model.predict(icu_record())
    features = [name for name in result.input_statistics if name.startswith("feature.")]
    assert features
    assert set(features) <= {f"feature.{one.name}" for one in model.manifest.features}
    row = np.full((1, len(model.manifest.features)), np.nan, np.float32)
    row[0, 0] = 7.5
    assert record_statistics(model.manifest, row) == {f"feature.{model.manifest.features[0].name}": 7.5}
