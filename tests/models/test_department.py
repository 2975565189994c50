"""A department: the law of a sum is exact, bands say what they hold, everybody's share adds up, nobody is dropped silently."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.department import (
    MAX_PRESENT,
    MONTHS_BACK,
    Department,
    band_of,
    forecast,
    score_department,
)
from models.errors import UnusableInput
from models.explain.department_picture import department_png
from models.model import Model
from tests.make_department import tiny_department

CHANCES = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(tiny_department(tmp_path_factory.mktemp("shelf")))


def people(*chances: float) -> list[dict[str, float]]:
    """Make people who each have these chances of both outcomes."""
    return [{"multi_resource": one, "critical": one / 10} for one in chances]


def by_counting(chances: list[float]) -> list[float]:
    """Add up the probability of every way it can turn out (2ⁿ ways)."""
    law = [0.0] * (len(chances) + 1)
    for outcome in product((0, 1), repeat=len(chances)):
        law[sum(outcome)] += float(np.prod([p if yes else 1 - p for p, yes in zip(chances, outcome, strict=True)]))
    return law


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=8))
def test_the_distribution_is_that_of_counting_every_way_it_can_turn_out(model: Model, chances: list[float]) -> None:
    found = score_department(model, people(*chances)).outlooks[0]
    assert found.probabilities == pytest.approx(by_counting(chances), abs=1e-6)


@given(CHANCES)
def test_shares_sum_to_the_mean_and_the_variance(model: Model, chances: list[float]) -> None:
    found = score_department(model, people(*chances)).outlooks[0]
    numbers = np.arange(len(found.probabilities))
    mean = float(np.dot(found.probabilities, numbers))
    assert sum(share.of_mean for share in found.shares) == pytest.approx(mean, abs=1e-5)
    variance = float(np.dot(found.probabilities, (numbers - mean) ** 2))
    assert sum(share.of_variance for share in found.shares) == pytest.approx(variance, abs=1e-4)


@given(CHANCES, st.sampled_from([0.5, 0.9]))
def test_a_band_holds_what_it_states_and_none_beside_it_is_nearer_the_level(
    model: Model, chances: list[float], level: float
) -> None:
    pmf = np.array(score_department(model, people(*chances)).outlooks[0].probabilities)
    band = band_of(pmf, level)
    assert band.mass == pytest.approx(float(pmf[band.low : band.high + 1].sum()), abs=1e-6)
    wider = max((pmf[band.low - 1] if band.low else 0.0), (pmf[band.high + 1] if band.high + 1 < len(pmf) else 0.0))
    assert abs(band.mass - level) <= abs(band.mass + float(wider) - level) + 1e-6


def test_five_hundred_people_are_exact_and_one_more_is_too_many(model: Model) -> None:
    rng = np.random.default_rng(1)
    chances = rng.beta(1, 4, MAX_PRESENT)
    found = score_department(model, people(*chances)).outlooks[0]
    assert found.expected == pytest.approx(chances.sum(), rel=1e-6)
    assert sum(found.probabilities) == pytest.approx(1, abs=1e-6)
    assert np.sqrt(found.variance) == pytest.approx(np.sqrt((chances * (1 - chances)).sum()), rel=1e-5)
    with pytest.raises(UnusableInput, match="500") as error:
        score_department(model, people(*chances, 0.5))
    assert error.value.code == "too_many_people"


def test_an_empty_department_needs_nothing_for_sure(model: Model) -> None:
    found = score_department(model, [])
    assert [one.probabilities for one in found.outlooks] == [(1.0,), (1.0,)]
    assert [(band.low, band.high, band.mass) for band in found.outlooks[0].bands] == [(0, 0, 1.0)] * 2


def test_who_could_not_be_scored_is_named_and_in_no_figure(model: Model) -> None:
    found = score_department(model, [*people(0.5), None, *people(0.25)])
    assert (found.present, found.left_out, found.flags) == (3, (1,), ("people_left_out:1",))
    assert [share.place for share in found.outlooks[0].shares] == [0, 2]
    assert found.outlooks[0].expected == 0.75


@pytest.mark.parametrize("chance", [-0.1, 1.5, float("nan"), True, "0.5", None])
def test_a_probability_that_is_none_is_said_without_repeating_it(model: Model, chance: object) -> None:
    with pytest.raises(UnusableInput, match="multi_resource from 0 to 1") as error:
        score_department(model, [{"multi_resource": chance, "critical": 0.1}])  # type: ignore[dict-item]
    assert error.value.code == "bad_probability"


def test_the_order_of_people_changes_only_the_order_of_shares(model: Model) -> None:
    one, other = (score_department(model, people(*chances)).outlooks[0] for chances in ((0.1, 0.8, 0.4), (0.4, 0.1, 0.8)))
    assert one.probabilities == pytest.approx(other.probabilities, abs=1e-7)
    assert sorted(share.of_mean for share in one.shares) == sorted(share.of_mean for share in other.shares)


def test_an_image_or_a_record_model_is_not_for_departments(model: Model) -> None:
    class Other:
        manifest = model.manifest.model_copy(update={"task": "risk"})

    with pytest.raises(UnusableInput, match="department") as error:
        score_department(Other(), people(0.5))  # type: ignore[arg-type]
    assert error.value.code == "wrong_model"


def test_the_picture_is_a_png_that_changes_with_the_language(model: Model, tmp_path: Path) -> None:
    found: Department = score_department(model, [*people(*np.linspace(0.1, 0.9, 30)), None])
    drawn = {language: department_png(found, language=language) for language in ("en", "fr")}
    assert drawn["en"] != drawn["fr"]
    path = tmp_path / "department.png"
    path.write_bytes(drawn["fr"])
    with Image.open(path) as image:
        assert image.size[0] > 700


def test_a_steady_month_is_carried_on_by_its_days(model: Model) -> None:
    days = [30] * MONTHS_BACK + [31]
    found = forecast(model, [3000.0] * MONTHS_BACK, days, month=6)
    trend = json.loads((model.folder / "trend.json").read_text())
    common = trend["weights"]["common_step_last_year"] * trend["common_step"][5]
    assert found.median == pytest.approx(3100 * np.exp(common))
    assert sum(found.steps.values()) == pytest.approx(np.log(found.median))
    assert [level for level, _, _ in found.bands] == [0.5, 0.9]
    assert all(low < found.median < high for _, low, high in found.bands)


@pytest.mark.parametrize("counts", [[100.0] * (MONTHS_BACK - 1), [*[100.0] * (MONTHS_BACK - 1), 0.0], [float("nan")] * MONTHS_BACK])
def test_a_trend_without_a_whole_year_behind_it_is_refused(model: Model, counts: list[float]) -> None:
    with pytest.raises(UnusableInput, match="13 whole months"):
        forecast(model, counts, [30] * (len(counts) + 1), month=1)
