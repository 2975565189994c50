"""The gate: rules are stated with what was found, and nothing that could identify is repeated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.features import clean
from models.gate import (
    clipped_share,
    decline_geometry,
    decline_header,
    decline_measurements,
    decline_outsider,
    impossible_codes,
    quality_of,
)
from models.manifest import Accepts, Manifest, Range, read_manifest
from models.prediction import Reason
from models.volume import Header, Volume
from tests.make import icu_record, mr_voxels, tiny_release


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(tiny_release(tmp_path_factory.mktemp("brain"), "volume_segmentation"))


@pytest.fixture(scope="module")
def risk(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(tiny_release(tmp_path_factory.mktemp("risk"), "risk"))


def crop(z: float = 1.0, y: float = 1.0, x: float = 1.0, *, slices: int = 12) -> Volume:
    return Volume(mr_voxels(slices).astype(np.float32), np.diag([x, y, z, 1.0]), spacing_known=True)


def test_geometry_rules_state_limit_and_finding(brain: Manifest) -> None:
    found = [decline_geometry(brain, volume) for volume in (crop(), crop(3.0), crop(0.5), crop(slices=3))]
    assert [decline and decline.reason for decline in found] == [
        None,
        Reason.WRONG_GEOMETRY,
        Reason.WRONG_GEOMETRY,
        Reason.WRONG_GEOMETRY,
    ]
    assert [decline.message for decline in found[1:]] == [
        "This model takes voxel spacings from 0.4 to 2 mm, found 3.00 x 1.00 x 1.00 mm (z, y, x).",
        "This model takes a field of view from 8 to 120 mm on every axis, found 6 x 24 x 20 mm (z, y, x).",
        "This model takes from 4 to 256 slices, found 3.",
    ]


def test_open_limits_read_as_at_least_and_up_to() -> None:
    messages = [
        decline_header(Accepts(age_years=limits), Header(age_years=40.0)).message
        for limits in (Range(low=60), Range(high=15), Range(low=3, high=3))
    ]
    assert messages == [
        "This model takes ages of at least 60 years, found another.",
        "This model takes ages up to 15 years, found another.",
        "This model takes ages of 3 years, found another.",
    ]


def test_free_text_in_a_header_is_not_repeated() -> None:
    decline = decline_header(Accepts(body_parts=["CHEST"]), Header(body_part="KNEE OF MR CANARI, ROOM 4"))
    assert decline.message == "This model takes BodyPartExamined CHEST, found another value."
    short = decline_header(Accepts(body_parts=["CHEST", "THORAX", "LUNG"]), Header(body_part="knee"))
    assert short.message == "This model takes BodyPartExamined CHEST, THORAX or LUNG, found KNEE."


def test_headers_are_compared_without_case() -> None:
    assert decline_header(Accepts(body_parts=["CHEST"], views=["AP"]), Header(body_part="Chest", view="ap")) is None


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0.0), (0.25, 0.25), (1.0, 1.0)])
def test_clipped_share_counts_both_ends(share: float, expected: float) -> None:
    pixels = np.random.default_rng(0).uniform(10, 240, 100_000).astype(np.float32)
    pixels[: int(share * 50_000)] = 0
    pixels[50_000 : 50_000 + int(share * 50_000)] = 255
    volume = Volume(np.random.default_rng(1).permutation(pixels).reshape(1, 400, 250))
    assert clipped_share(volume) == pytest.approx(expected, abs=0.01)


def test_enough_core_measurements_pass_and_too_few_name_the_absent(risk: Manifest) -> None:
    assert decline_measurements(risk, icu_record().up_to(2880)) is None
    decline = decline_measurements(risk, icu_record(gcs=None, heart_rate=9999).up_to(2880))
    assert decline.message == "This model needs 2 of 3 core measurements, found 1."
    assert "HR, GCS" in decline.advice
    free = risk.model_copy(update={"refuses": risk.refuses.model_copy(update={"min_measured": 0})})
    assert decline_measurements(free, icu_record(gcs=None, heart_rate=9999).up_to(2880)) is None


def test_impossible_values_are_told_from_absent_ones() -> None:
    view = icu_record(heart_rate=9999, gcs=None).up_to(2880)
    assert impossible_codes(["HR", "GCS", "Creatinine"], view) == ["HR"]
    assert len(clean(view, "HR").values) == 0


def test_quality_is_a_share_of_the_limit_even_when_the_limit_is_not_positive(tmp_path: Path) -> None:
    rules = [
        {"name": "distance", "limit": 2.0, "meaning": "far"},
        {"name": "domain", "limit": -3.0, "meaning": "elsewhere"},
    ]
    manifest = read_manifest(tiny_release(tmp_path, "image_classification", refuses={"ood": rules}))
    inside, outside = (quality_of(manifest, np.array(scores, np.float32)) for scores in ([1.0, -4.0], [1.0, -2.5]))
    assert inside == {"distance": 0.5, "domain": 0.0}
    assert outside == {"distance": 0.5, "domain": 1.5}
    assert decline_outsider(manifest, inside) is None
    assert decline_outsider(manifest, outside).message.endswith("domain is 1.50 times its limit. elsewhere")


def test_a_score_that_is_no_number_is_outside(brain: Manifest) -> None:
    assert decline_outsider(brain, quality_of(brain, np.array([np.nan], np.float32))).reason == (
        Reason.OUT_OF_DISTRIBUTION
    )
