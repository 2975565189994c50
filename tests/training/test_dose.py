"""A dose model's parts sum to the logarithm of the dose, its interval covers, and what is unknown widens it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from training import recipe as recipes
from training.checkpoint_risk import load
from training.evaluate_dose import figures_of
from training.export_dose import build_dose
from training.fit_dose import BANDS_MG, fit, folds_of, hide, intervals, made_up, penalised, score_of
from training.iwpc_equation import body_of, published_dose
from training.outside import quantiles_of
from training.risk_features import features_of

RECIPE = recipes.read("warfarin_dose")
FEATURES = features_of(RECIPE)
NAMES = [one.name for one in FEATURES]
TYPED = [NAMES.index(name) for name in RECIPE.fit["genotypes"]]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return fit(RECIPE, tmp_path_factory.mktemp("dose"), Path("nowhere"), quick=True)


@pytest.fixture(scope="module")
def built(fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("release")
    return build_dose(RECIPE, fitted, Path("nowhere"), folder), folder


@pytest.fixture(scope="module")
def run(built):
    session = onnxruntime.InferenceSession(str(built[1] / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return lambda x: dict(zip(names, session.run(names, {"features": x}), strict=True))


def people(cases: int = 200) -> np.ndarray:
    return made_up(FEATURES, 5, cases).x


def test_the_dose_is_the_exponential_of_what_the_facts_add_up_to(built, run):
    x = hide(people(), ())
    found = run(x)
    whole = found["contributions"].sum(axis=1, dtype=np.float64) + built[0]["explains"]["bias"]["0"]
    np.testing.assert_allclose(whole, found["logit"][:, 0], atol=1e-5)
    np.testing.assert_allclose(found["quantity"][:, 0], np.exp(whole), rtol=1e-5)


def test_the_graph_gives_the_published_equation(fitted, run):
    x = people()
    x = x[~np.isnan(x[:, NAMES.index("age_years_static")])]
    _, found, _ = load(fitted)
    np.testing.assert_allclose(run(x)["quantity"][:, 1], published_dose(x, NAMES, found["body"]), rtol=1e-4)


def test_an_unknown_genotype_widens_the_interval(run):
    x = people()
    x = x[~np.isnan(x[:, TYPED]).any(axis=1)]
    (low, high), (lowest, highest) = (run(hide(x, which))["interval"].T for which in ((), tuple(TYPED)))
    assert np.median(highest / lowest) > np.median(high / low)


def test_somebody_beyond_everybody_is_out_of_the_distribution(built, run):
    limit = built[0]["refuses"]["ood"][1]["limit"]
    x = people(50)
    assert (run(x)["ood"][:, 1] <= limit * 1.2).all()
    x[:, NAMES.index("weight_last")] = 260
    assert (run(x)["ood"][:, 1] > limit).all()


def test_the_interval_holds_new_patients_as_often_as_it_says():
    rng = np.random.default_rng(3)
    x = people(4000)
    x[:, TYPED] = np.nan_to_num(x[:, TYPED])
    score = rng.uniform(2, 4.5, len(x))
    noise = rng.normal(0, 0.2 + 0.1 * (score < np.log(BANDS_MG[0])), len(x))
    residuals = dict.fromkeys(((), (TYPED[0],), (TYPED[1],), tuple(TYPED)), noise)
    ends = np.array(intervals(x[:2000], score[:2000], {k: v[:2000] for k, v in residuals.items()}, tuple(TYPED), 0.9))
    group = np.searchsorted(np.log(BANDS_MG), score[2000:], side="right")
    covered = (noise[2000:] >= ends[group, 0]) & (noise[2000:] <= ends[group, 1])
    assert 0.87 < covered.mean() < 0.93
    assert 0.87 < covered[group == 0].mean() < 0.93


def test_a_level_of_an_unknown_genotype_is_fitted_on_those_who_have_one(fitted):
    nets, _, _ = load(fitted)
    x = people(400)
    typed = x[~np.isnan(x[:, TYPED[0]])]
    known, hidden = score_of(nets[0], typed), score_of(nets[0], hide(typed, (TYPED[0],)))
    assert abs(np.sqrt(np.exp(known)).mean() - np.sqrt(np.exp(hidden)).mean()) < 0.15


def test_the_fit_finds_a_dose_that_doubles():
    import torch

    basis = torch.tensor([[0.0], [1.0]] * 200, dtype=torch.float64)
    dose = torch.tensor([20.0, 40.0] * 200, dtype=torch.float64)
    weights, bias = penalised(basis, dose, torch.zeros(1, 1, dtype=torch.float64))
    assert float(weights[0]) == pytest.approx(np.log(2), abs=1e-5)
    assert bias == pytest.approx(np.log(20), abs=1e-5)


def test_folds_keep_a_patient_on_one_side():
    groups = np.array([str(i // 3) for i in range(60)])
    for inside, outside in folds_of(groups, {"seed": 1, "folds": 4}):
        assert not set(groups[inside]) & set(groups[outside])


def test_a_fifth_off_counts_as_near():
    dose = np.linspace(20, 60, 40)
    ends = np.stack([dose - 10, dose + 10], axis=1)
    figures = figures_of(dose, dose * np.where(np.arange(40) < 10, 1.2, 1.21), ends, [str(i) for i in range(40)], 50)
    assert figures["within_20_percent"]["value"] == 0.25
    assert figures["coverage"]["value"] == 1.0


def test_stand_ins_for_the_body_are_the_cohort_s_means():
    x = people(300)
    assert body_of(x, NAMES)["weight_kg"] == pytest.approx(float(np.nanmean(x[:, NAMES.index("weight_last")])), rel=1e-5)
    assert quantiles_of(x).shape == (7, len(NAMES))
