"""Where a figure lies among the cases of an evaluation: only what the evaluation holds is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.manifest import read_manifest
from models.prediction import Finding
from models.shelf import RELEASED
from service.review.risk.population import position

ICU = RELEASED / "icu_mortality-1.0.0"


def finding(value: float, name: str = "in_hospital_death") -> Finding:
    output = read_manifest(ICU).outputs[0]
    return Finding(name, output.label, output.label_fr, output.code, "probability", value, "1")


@pytest.mark.parametrize(("value", "place", "below"), [
    (0.001, 0, (0, 3)), (0.0121, 2, (19, 21)), (0.06, 5, (50, 60)), (0.999, 9, (89, 91)),
])
def test_a_figure_lies_in_its_tenth(value: float, place: int, below: tuple[int, int]) -> None:
    found = position(ICU, read_manifest(ICU), finding(value))
    assert found is not None
    assert found.place == place
    assert below[0] <= found.below <= below[1]
    assert 10 * place <= found.at <= 10 * (place + 1)


def test_it_never_says_that_all_are_below() -> None:
    found = position(ICU, read_manifest(ICU), finding(1.0))
    assert found is not None
    assert found.below <= 99


def test_the_tenths_are_those_of_the_evaluation() -> None:
    found = position(ICU, read_manifest(ICU), finding(0.5))
    bins = json.loads((ICU / "evaluation.json").read_text("utf-8"))["curves"]["calibration"]["bins"]
    assert found is not None
    assert [one.observed for one in found.tenths] == [one["observed"] for one in bins]
    assert found.cases == sum(one["n"] for one in bins)


def test_of_another_output_or_without_an_evaluation_nothing_is_said(tmp_path: Path) -> None:
    manifest = read_manifest(ICU)
    assert position(ICU, manifest, finding(0.5, "other")) is None
    assert position(tmp_path, manifest, finding(0.5)) is None
    assert position(ICU, manifest, replace(finding(0.5), kind="quantity")) is None


def test_in_the_highest_tenth_at_least_nine_tenths_are_lower_and_no_more_is_said() -> None:
    found = position(ICU, read_manifest(ICU), finding(0.999))
    assert found is not None
    assert (True, 90) == (found.is_last, found.below)
    lower = position(ICU, read_manifest(ICU), finding(0.06))
    assert lower is not None
    assert not lower.is_last
