"""What stops a release: a group that lies behind, unless somebody answers for it; and what is told where cases are not at hand."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.manifest import Feature, read_manifest
from models.record import Record, Series
from training import bootstrap
from training import recipe as recipes
from training.data.cohort import Case, Cohort, cohort_of
from training.fairness_published import proof_published
from training.fit_risk import fit
from training.proof import GapBeyondTolerance, proof_of, refuse
from training.recipe import Recipe
from training.release import release
from training.sources import SOURCES
from training.split_scores import scores_of, val_was_fitted

RELEASED = Path(__file__).parents[2] / "models/released"


class Unequal:
    """A source of made-up stays: coma tells of death in men; in women, who are fewer, it tells the reverse."""

    def records(self, split: str, root: Path) -> list[Case]:
        rng = np.random.default_rng(len(split))
        return [replace(one, group=f"{split}-{number}") for number, one in enumerate(self._case(rng) for _ in range(400))]

    def cohort(self, split: str, features: list[Feature], root: Path) -> Cohort:
        return cohort_of(self.records(split, root), features, self.data_sha256(root), {split: 400}, 48)

    def data_sha256(self, root: Path) -> str:
        return "1" * 64

    def _case(self, rng: np.random.Generator) -> Case:
        coma, male = float(rng.integers(3, 16)), bool(rng.random() < 0.7)
        died = rng.random() < 1 / (1 + np.exp((coma - 9) * (0.6 if male else -0.6)))
        values = {"GCS": coma, "BUN": 20.0, "HR": 80.0, "Temp": 37.0, "Urine": 900.0}
        series = {code: Series(np.array([600.0, 2800.0]), np.array([value, value])) for code, value in values.items()}
        return Case(Record(series, {"age_years": 60.0}), (float(died),), "", {"sex": "male" if male else "female"})


@pytest.fixture(scope="module", autouse=True)
def source() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "RESAMPLES", 100)
        patch.setitem(SOURCES, "unequal", Unequal())
        yield


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    raw = deepcopy(recipes.read("icu_mortality").raw)
    raw["features"] = ["last GCS", "last BUN", "last HR"]
    raw["data"] = "unequal"
    raw["fit"] |= {"pairs": 0, "rounds": 40, "pair_rounds": 1, "folds": 2}
    raw["bars"] = []
    raw["prediction_sets"] = {"alpha": 0.2, "tolerance": 0.9}  # so wide that coverage stops nothing
    return Recipe("unequal", raw)


@pytest.fixture(scope="module")
def checkpoint(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit(recipe, tmp_path_factory.mktemp("run"), Path())


def test_a_gap_beyond_tolerance_stops_the_release_and_leaves_nothing_on_the_shelf(
    recipe: Recipe, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(GapBeyondTolerance, match=r"sex female: auroc -0\.\d+ against the rest"):
        release(recipe, checkpoint, Path(), tmp_path / "shelf", report=tmp_path / "report" / "report.html")

    assert not (tmp_path / "shelf").exists()
    assert (tmp_path / "report" / "fairness.json").is_file()


def test_a_gap_that_somebody_answers_for_passes_and_stands_on_the_card(
    recipe: Recipe, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluate_risk.boosted_reference", lambda *_: [])  # trees are another test's matter
    output = recipe.outputs[0]
    accepted = [{"output": output, "by": "sex", "group": group, "figure": figure, "who": "The test board", "why": "Made up unequal."}
                for group in ("female", "male") for figure in ("auroc", "sensitivity", "specificity", "calibration_in_the_large")]
    answered = Recipe("unequal", {**recipe.raw, "fairness": {"accepted_gaps": accepted}})

    folder = release(answered, checkpoint, Path(), tmp_path)

    card = (folder / "CARD.md").read_text(encoding="utf-8")
    assert "The test board answers for the gap of" in card
    assert "sex female: auroc -0." in card
    limits = read_manifest(folder).prediction_sets[output]
    assert (limits.alpha, limits.n0 + limits.n1) == (0.2, 400)
    assert {one.output for one in scores_of_release(folder, answered)} == {output}
    sets = proof_of(folder, Path(), recipe=answered, resamples=20)["prediction_sets"]
    assert [one["guaranteed"] for one in sets] == [False, True]  # val was fitted; one half of the test was not


def scores_of_release(folder: Path, recipe: Recipe) -> list[Any]:
    from models.model import Model

    model = Model(folder)
    assert val_was_fitted(model)
    return scores_of(model, recipe, Path(), "test")


def test_failing_coverage_stops_only_what_releases_its_sets() -> None:
    proof = {"release": "x-1.0.0", "blocking": [], "coverage_failing": ["o, sex female: 0.5 covered"], "sets_are_released": False}
    refuse(proof)
    with pytest.raises(GapBeyondTolerance, match="prediction set, o"):
        refuse({**proof, "sets_are_released": True})


@pytest.mark.parametrize("name", sorted(path.name for path in RELEASED.iterdir()))
def test_published_figures_give_gaps_that_are_said_to_be_approximate(name: str) -> None:
    proof = proof_published(RELEASED / name)

    assert proof["from"] == "published figures"
    assert proof["gaps"] or proof["missing"]
    assert all(one["low"] < one["gap"] < one["high"] for one in proof["gaps"] if one["verdict"] != "too_few")


def test_the_rest_of_a_published_share_is_what_its_counts_leave() -> None:
    """Of 100 ill people 80 were found; of the 40 women among them 24: so of the 60 men 56."""
    found = {"value": 0.8, "low": 0.7, "high": 0.9}
    rows = [{"by": "population", "group": "test", "n": 400, "patients": 400, "events": 100, "figures": {"sensitivity": found}},
            {"by": "sex", "group": "female", "n": 160, "patients": 160, "events": 40,
             "figures": {"sensitivity": {"value": 0.6, "low": 0.45, "high": 0.75}}}]
    from training.fairness import Tolerance
    from training.fairness_published import _gaps

    one = _gaps(rows, "o", Tolerance.of())[0]

    assert one.rest == pytest.approx(56 / 60)
    assert one.gap == pytest.approx(0.6 - 56 / 60)
