"""The department release: an exact law beside an independent one, and a trend that never looks ahead."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.department import forecast_with
from models.model import Model
from tests.make import data_root, needs_data
from tests.make_department import tiny_department
from training import fit_department, recipe
from training.data import nhs_ae
from training.evaluate_department import Visits, drawn_shift, shift_row, trend_row
from training.fit_department import HELD_OUT, common_steps, law, made_up, predicted, weights_of
from training.samples.ed_triage import department

SEED = 3


def test_the_golden_law_is_that_of_a_coin_and_of_certainty() -> None:
    assert law(np.full(2, 0.5)) == pytest.approx([0.25, 0.5, 0.25])
    assert law(np.ones(3)) == pytest.approx([0, 0, 0, 1])


def test_a_forecast_does_not_change_with_what_comes_after() -> None:
    data = made_up(SEED)
    stop = len(data.months) - HELD_OUT
    later = data.counts.copy()
    later[:, stop:] *= 3
    changed = replace(data, counts=later)
    assert weights_of(changed, stop) == pytest.approx(weights_of(data, stop))
    assert common_steps(changed, stop) == common_steps(data, stop)
    assert predicted(changed, stop, weights_of(data, stop)) == pytest.approx(predicted(data, stop, weights_of(data, stop)))


def test_serving_forecasts_what_was_fitted() -> None:
    data = made_up(SEED)
    t = len(data.months) - HELD_OUT
    trend = {"weights": weights_of(data, t), "common_step": common_steps(data, t), "bands": []}
    fitted = predicted(data, t, trend["weights"])
    for series, expected in zip(data.counts, fitted, strict=True):
        made = forecast_with(trend, series[:t], data.days[: t + 1], data.months[t][1])
        assert np.log(made.median) == pytest.approx(expected)


def test_the_made_up_months_follow_each_other() -> None:
    months = made_up(SEED).months
    assert months[0] == (2016, 4)
    assert all(12 * later[0] + later[1] == 12 * month[0] + month[1] + 1 for month, later in pairwise(months))


def test_a_shift_holds_only_visits_of_its_hours_and_bands_of_true_chances_hold_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(SEED)
    n = 4000
    p = np.stack([rng.beta(2, 1, n), rng.beta(1, 40, n)], axis=1)
    visits = Visits(
        weekday=rng.integers(0, 7, n).astype(float), hour=rng.integers(0, 24, n).astype(float), p=p,
        y=(rng.random((n, 2)) < p).astype(float), names=("multi_resource", "critical"), refused=0,
    )
    arrivals = np.full((7, 24), 4.0)
    arrivals[:, :6] = 0.0
    shifts = [drawn_shift(rng, arrivals, visits, 8) for _ in range(200)]
    assert min(visits.hour[who].min() for who in shifts if len(who)) >= 6
    from models.department import score_department

    model = Model(tiny_department(tmp_path))
    scored = [score_department(model, [dict(zip(visits.names, row, strict=True)) for row in p[who].tolist()]) for who in shifts]
    for k in range(2):
        figures = shift_row(visits, shifts, scored, k, 50)["figures"]
        assert figures["covered_90"]["value"] == pytest.approx(figures["stated_90"]["value"], abs=0.06)


def test_a_checkpoint_of_made_up_attendances_says_so(tmp_path: Path) -> None:
    found = json.loads(fit_department.fit(recipe.read("ed_demand"), tmp_path, tmp_path, quick=True).read_text())
    assert (found["quick"], found["sha256"]) == (True, "0" * 64)


def test_the_made_up_department_is_the_same_for_the_same_seed() -> None:
    assert department(1) == department(1) != department(2)


@needs_data
def test_the_last_value_errs_as_the_baseline_says_and_the_trend_errs_less(tmp_path: Path) -> None:
    read = recipe.read("ed_demand")
    checkpoint = fit_department.fit(read, tmp_path / "fit", data_root())
    folder = tiny_department(tmp_path)
    (folder / "trend.json").write_text(checkpoint.read_text())

    class Opened:  # the trend's numbers alone are looked at
        def __init__(self, place: Path) -> None:
            self.folder = place

    figures = trend_row(Opened(folder), data_root(), 50)["figures"]  # type: ignore[arg-type]
    assert len(nhs_ae.attendances(data_root()).counts) == 130
    assert figures["mape_last_value"]["value"] == pytest.approx(5.32, abs=0.02)
    assert figures["mape_last_year"]["value"] == pytest.approx(8.43, abs=0.01)
    assert figures["mape"]["value"] < 3.2
    assert figures["mape_less_last_value"]["high"] < 0
