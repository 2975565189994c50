"""The drawings of an evaluation show its own numbers, inside their frame, for every release there is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from models.shelf import RELEASED
from service.review.model.figures import figure_words, goal_words
from service.review.model.plots import HEIGHT, LEFT, WIDTH, forest_of, plots_of

EVALUATIONS = sorted(RELEASED.glob("*/evaluation.json"))


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("path", EVALUATIONS, ids=lambda path: path.parent.name)
@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_point_of_every_release_lies_in_its_frame(path: Path, language: Any) -> None:
    evaluation = read(path)
    for plot in plots_of(evaluation, language):
        places = [tuple(map(float, pair.split(","))) for pair in f"{plot.curve} {plot.band}".split()]
        places += [(dot.x, dot.y) for dot in plot.dots]
        assert places
        assert all(LEFT - 0.1 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
        assert plot.words
    forest = forest_of(evaluation, language)
    if forest:
        assert all(0 <= row.low <= row.at <= row.high <= 100 for row in forest.rows)
    for bar in evaluation["bars"]:
        assert all(goal_words(bar, language))


def test_the_curve_ends_where_everybody_is_called() -> None:
    curve = {"false_positive_rate": [0.0, 0.5, 1.0], "sensitivity": [0.0, 0.9, 1.0]}
    [plot] = plots_of({"rows": [{"figures": {}}], "curves": {"roc": curve}}, "en")
    first, _, last = [tuple(map(float, pair.split(","))) for pair in plot.curve.split()]
    found = re.fullmatch(r"M([\d.]+),([\d.]+) L([\d.]+),([\d.]+)", plot.diagonal)
    assert found
    assert (*first, *last) == tuple(map(float, found.groups()))


def test_a_figure_comes_with_its_interval_in_the_language_of_the_page() -> None:
    figure = {"value": 0.9731, "low": 0.9577, "high": 0.9862}
    assert "0.973 (0.958 to 0.986)" == figure_words("auroc", figure, "en")
    assert "0,973" in figure_words("auroc", figure, "fr")
    assert "98.7%" == figure_words("sensitivity", {"value": 0.987, "low": None, "high": None}, "en")


@pytest.mark.parametrize(("bar", "wanted"), [
    ({"rule": ">=", "bar": 0.965, "value": 0.97310872, "low": 0.95774046, "high": 0.98625239}, ("≥ 0.965", "0.973 (0.958 to 0.986)")),
    ({"rule": "within", "bar": [0.9, 1.1], "value": 1.01, "low": None, "high": None}, ("0.900 to 1.100", "1.010")),
    ({"rule": "<=", "bar": 1e-4, "value": 1.9e-7, "low": None, "high": None}, ("≤ 1e-4", "2e-7")),
])
def test_a_goal_is_written_in_as_many_digits_as_it_needs(bar: dict[str, Any], wanted: tuple[str, str]) -> None:
    assert wanted == goal_words(bar, "en")
