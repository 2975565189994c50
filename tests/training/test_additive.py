"""The additive model: what torch fits is what the graph gives, term by term."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from models.features import FEATURES
from models.manifest import Feature
from training import recipe as recipes
from training.boost import Boost, boost, curvature, design, rank_pairs
from training.checkpoint_risk import load
from training.export_risk import export, trees_of
from training.fit_risk import fit, intercept, score
from training.joint import fit_jointly
from training.nets.additive import Additive, bins_of, scale_of
from training.risk_features import feature_of, features_of


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A quick fit of the real recipe on a made-up cohort, exported."""
    folder = tmp_path_factory.mktemp("risk")
    recipe = recipes.read("icu_mortality")
    checkpoint = fit(recipe, folder, Path(), quick=True)
    return checkpoint, folder, export(checkpoint, recipe, folder)


@pytest.fixture(scope="module")
def session(toy):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(toy[1] / "model.onnx"), options, providers=["CPUExecutionProvider"])


def cases(count: int, width: int, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = (3 * rng.normal(size=(count, width))).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    return x


def test_the_graph_gives_what_torch_gives(toy, session):
    (net,), _, quantiles = load(toy[0])
    x = cases(300, quantiles.shape[1])
    roles = ["probability", "logit", "contributions", "ood"]
    probability, logit, contributions, ood = session.run(roles, {"features": x})
    with torch.no_grad():
        expected_logit, expected_parts = net(torch.from_numpy(x))
    np.testing.assert_allclose(contributions, expected_parts.numpy(), atol=1e-6)
    np.testing.assert_allclose(logit, expected_logit.numpy(), atol=1e-5)
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), atol=1e-6)
    assert ood.shape == (300, 1)


def test_bias_and_contributions_sum_to_the_logit(toy, session):
    x = cases(300, load(toy[0])[2].shape[1])
    logit, contributions = session.run(["logit", "contributions"], {"features": x})
    bias = toy[2]["explains"]["bias"]["0"]
    assert np.abs(contributions.sum(1, dtype=np.float64) + bias - logit[:, 0]).max() <= 1e-5


def test_values_on_the_edges_of_bins_fall_on_the_same_side_in_torch_and_in_the_graph(toy, session):
    (net,), _, quantiles = load(toy[0])
    rows = []
    for f, edges in enumerate(net.edges):
        for edge in edges.numpy()[:3]:
            for value in (np.nextafter(edge, np.float32(-np.inf)), edge, np.nextafter(edge, np.float32(np.inf))):
                row = quantiles[3].copy()
                row[f] = value
                rows.append(row)
    x = np.stack(rows)
    with torch.no_grad():
        expected = net(torch.from_numpy(x))[1].numpy()
    np.testing.assert_allclose(session.run(["contributions"], {"features": x})[0], expected, atol=1e-6)


def test_one_case_alone_scores_as_in_a_batch(toy, session):
    x = cases(20, load(toy[0])[2].shape[1])
    together = session.run(["logit"], {"features": x})[0]
    alone = np.concatenate([session.run(["logit"], {"features": x[i : i + 1]})[0] for i in range(20)])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_terms_name_every_contribution_and_golden_rows_are_nobody(toy):
    fields = toy[2]
    with np.load(toy[1] / "golden.npz", allow_pickle=False) as golden:
        assert golden["contributions"].shape == (len(golden["input"]), len(fields["terms"]))
        assert len(golden["input"]) >= 8
    names = {one["name"] for one in fields["features"]}
    assert len(names) == len(fields["features"])
    assert all(names.issuperset(term["features"]) for term in fields["terms"])


def test_contributions_are_zero_on_average_over_the_cohort(toy):
    from training.fit_risk import made_up

    recipe = recipes.read("icu_mortality")
    cohort = made_up(features_of(recipe), recipe.seed)
    with torch.no_grad():
        parts = load(toy[0])[0][0](torch.from_numpy(cohort.x))[1]
    assert float(parts.mean(dim=0).abs().max()) < 1e-4


def test_the_same_seed_gives_the_same_levels(toy, tmp_path):
    again = load(fit(recipes.read("icu_mortality"), tmp_path, Path(), quick=True))[0][0]
    before = load(toy[0])[0][0]
    assert all(torch.equal(a, b) for a, b in zip(before.mains, again.mains, strict=True))


def test_boosting_finds_the_feature_that_matters_and_the_intercept():
    torch.manual_seed(0)
    x = torch.randn(2000, 6)
    x[::10, 2] = float("nan")
    risk = torch.sigmoid(2 * x[:, 1] - 1)
    y = (torch.rand(2000) < risk).float()
    scales = [scale_of(column, bins=20, knots=6) for column in x.numpy().T]
    basis = design(x, scales)
    found = boost(basis, y, curvature(scales), Boost(2.0, 0.3, 60), torch.zeros(2000))
    logits = score(basis, found)
    assert int(found.abs().sum(dim=1).argmax()) == 1
    assert float(torch.sigmoid(logits + intercept(y, logits)).mean()) == pytest.approx(float(y.mean()), abs=1e-4)


def test_the_joint_fit_shares_a_risk_between_two_copies_of_one_feature():
    torch.manual_seed(0)
    x = torch.randn(2000, 3)
    x[:, 1] = x[:, 0]
    y = (torch.rand(2000) < torch.sigmoid(2 * x[:, 0] - 1)).float()
    scales = [scale_of(column, bins=20, knots=6) for column in x.numpy().T]
    basis = design(x, scales)
    found = fit_jointly(basis, y, curvature(scales, ridge=1.0))
    parts = torch.einsum("ntk,tk->nt", basis, found)
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=0)
    assert float(parts[:, 0].std()) > 5 * float(parts[:, 2].std())


def test_the_joint_fit_stops_where_the_penalised_likelihood_is_flat():
    torch.manual_seed(2)
    x = torch.randn(800, 2)
    y = (torch.rand(800) < torch.sigmoid(x[:, 0])).float()
    scales = [scale_of(column, bins=10, knots=4) for column in x.numpy().T]
    basis, penalties = design(x, scales), curvature(scales, ridge=1.0)
    found = fit_jointly(basis, y, penalties)
    logits = score(basis, found)
    residual = y - torch.sigmoid(logits + intercept(y, logits))
    pull = torch.einsum("ntk,n->tk", basis, residual).double()
    lost = torch.einsum("tij,tj->ti", penalties, found.double())
    torch.testing.assert_close(pull, lost, atol=0.05, rtol=0)


def test_a_planted_pair_ranks_first():
    torch.manual_seed(1)
    x = torch.randn(3000, 5)
    residual = torch.sign(x[:, 1]) * torch.sign(x[:, 4])
    scales = [scale_of(column, bins=8, knots=4) for column in x.numpy().T]
    assert rank_pairs(x, scales, residual)[0][1:] == (1, 4)


def test_missing_values_have_a_bin_of_their_own():
    scale = scale_of(np.array([1, 2, 2, 3, np.nan], np.float32), bins=10, knots=4)
    assert bins_of(torch.tensor([1.0, 2.0, 3.0, torch.nan]), torch.from_numpy(scale.edges)).tolist() == [0, 1, 2, 3]
    assert scale.bins == 4


def test_a_feature_never_measured_still_has_a_scale():
    assert scale_of(np.full(9, np.nan, np.float32), bins=10, knots=4).bins == 2


def test_trees_hold_one_leaf_for_every_level():
    edges = np.array([0.0, 1.0], np.float32)
    net = Additive(
        [edges, edges], [np.arange(4, dtype=np.float32)] * 2, pairs=[(0, 1)], pair_edges={0: edges, 1: edges},
        pair_levels=[np.zeros((4, 4), np.float32)], bias=0.0,
    )
    assert len(trees_of([net]).leaves["ids"]) == 4 + 4 + 16


def test_every_feature_of_the_recipe_is_labelled_in_both_languages():
    features = features_of(recipes.read("icu_mortality"))
    assert all(isinstance(one, Feature) and one.label and one.label_fr and one.function in FEATURES for one in features)
    assert len({one.name for one in features}) == len({one.label for one in features}) == len(features)


def test_a_line_of_a_recipe_says_function_code_and_parameters():
    one = feature_of("highest GCS newer_h=12")
    assert (one.function, one.params, one.unit) == ("highest", {"code": "GCS", "newer_h": 12.0}, "{score}")
    assert one.label_fr == "Score de Glasgow, maximum, 12 dernières h"
    with pytest.raises(ValueError, match="known function"):
        feature_of("guess GCS")
