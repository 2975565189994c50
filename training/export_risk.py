"""From a fitted additive model to one ONNX graph: every table becomes one decision tree of a TreeEnsembleRegressor.

One node looks up all terms at once; their sum and the bias are the calibrated logit. A tree compares float32 with the
same edges as torch does, so both choose the same bin. NaN takes the branch of its own level.
https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.errors import BrokenModel
from models.manifest import Feature
from training.export import agreement
from training.fit_risk import load
from training.nets.additive import Additive
from training.outside import FARTHEST, outside_of, scales_of
from training.recipe import Recipe
from training.risk_features import features_of

OPSET = 20
ML_OPSET = 3
OUTPUTS = {role: role for role in ("probability", "logit", "contributions", "ood")}
Floats = NDArray[np.float32]
Fields = dict[str, Any]
NODE_KEYS = (
    "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids", "missing_value_tracks_true",
)
LEAF_KEYS = ("treeids", "nodeids", "ids", "weights")


@dataclass
class Trees:
    """The node and leaf lists that TreeEnsembleRegressor takes, one tree and one target a term."""

    nodes: dict[str, list[Any]] = field(default_factory=lambda: {key: [] for key in NODE_KEYS})
    leaves: dict[str, list[Any]] = field(default_factory=lambda: {key: [] for key in LEAF_KEYS})

    counts: dict[int, int] = field(default_factory=dict)

    def node(self, tree: int, mode: str, feature: int = 0, value: float = 0.0, *, missing: bool = False) -> int:
        """Add a node and return its place in the lists; its id inside the tree is in `nodeids`."""
        number = self.counts.get(tree, 0)
        self.counts[tree] = number + 1
        row = (tree, number, feature, value, mode, 0, 0, int(missing))
        for key, item in zip(NODE_KEYS, row, strict=True):
            self.nodes[key].append(item)
        return len(self.nodes["nodeids"]) - 1

    def leaf(self, tree: int, weight: float) -> int:
        """Add a leaf that gives `weight` to its tree's own target."""
        place = self.node(tree, "LEAF")
        for key, item in zip(self.leaves, (tree, self.nodes["nodeids"][place], tree, weight), strict=True):
            self.leaves[key].append(item)
        return place

    def branch(self, place: int, true: int, false: int) -> None:
        """Point a node at the nodes that follow."""
        self.nodes["truenodeids"][place] = self.nodes["nodeids"][true]
        self.nodes["falsenodeids"][place] = self.nodes["nodeids"][false]


def export(checkpoint: Path, recipe: Recipe, folder: Path) -> Fields:
    """Write model.onnx and golden.npz into `folder`; return the manifest fields to merge over the recipe's.

    Raises BrokenModel when torch and ONNX differ by more than 1e-4, or the contributions do not sum to the logit.
    """
    net, found, quantiles = load(checkpoint)
    features = features_of(recipe)
    model = helper.make_model(
        graph_of(net, quantiles), ir_version=10, producer_name="diaphane",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    golden = made_rows(quantiles, recipe.seed)
    expected = run_torch(net, quantiles, golden)
    np.savez_compressed(folder / "golden.npz", input=golden, **expected)
    differences = agreement(folder / "model.onnx", golden, expected)
    bias = float(net.bias.detach())
    gap = float(np.abs(expected["contributions"].sum(1, dtype=np.float64) + bias - expected["logit"][:, 0]).max())
    if gap > 1e-5:
        raise BrokenModel(f"Contributions must sum to the logit within 1e-5, found {gap:.1e}.")
    return {
        "graph": {
            "input": "features", "input_shape": ["batch", len(features)], "outputs": OUTPUTS, "opset": OPSET,
        },
        "features": [one.model_dump(mode="json") for one in features],
        "terms": terms_of(net, features),
        "refuses": {
            "ood": [{"name": "far_from_cohort", "limit": float(found["ood_limit"]), "meaning": (
                "Many values lie beyond what 98 % of the training cohort had; a unit may be wrong."
            )}],
        },
        "explains": {"bias": {"0": bias}},
        "thresholds": {"in_hospital_death": found["threshold"]},
        "calibration": {"in_hospital_death": found["calibration"]},
        "counts": found["counts"],
        "sha256": found["sha256"],
        "report": {
            "agreement": differences, "completeness": gap, "out_of_fold_auroc": found["out_of_fold_auroc"],
            "terms": len(net.mains) + len(net.pairs), "quick": found["quick"],
        },
    }


def build_risk(recipe: Recipe, checkpoint: Path, root: Path, folder: Path) -> Fields:  # noqa: ARG001
    """Export as the other builders do; `root` is not read, since fitting chose everything."""
    return export(checkpoint, recipe, folder)


def graph_of(net: Additive, quantiles: Floats) -> onnx.GraphProto:
    """Build the graph features (batch, F) → contributions (batch, T), logit, probability and ood (batch, 1)."""
    trees = trees_of(net)
    count = len(net.mains) + len(net.pairs)
    middle, scale = scales_of(quantiles)
    constants = {
        "axis": np.array([1], np.int64), "bias": net.bias.detach().numpy().reshape(1, 1),
        "middle": middle, "scale": scale, "zero": np.float32(0),
        "farthest": np.float32(FARTHEST), "nearest": np.float32(-FARTHEST),
    }
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["contributions"], domain="ai.onnx.ml", n_targets=count,
            aggregate_function="SUM", post_transform="NONE",
            **{f"nodes_{key}": value for key, value in trees.nodes.items()},
            **{f"target_{key}": value for key, value in trees.leaves.items()},
        ),
        helper.make_node("ReduceSum", ["contributions", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Sub", ["features", "middle"], ["away"]),
        helper.make_node("Mul", ["away", "scale"], ["distance"]),
        helper.make_node("Clip", ["distance", "nearest", "farthest"], ["bounded"]),
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "bounded"], ["known"]),
        helper.make_node("Mul", ["known", "known"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "axis"], ["ood"], keepdims=1),
    ]
    sizes = {"contributions": count, "logit": 1, "probability": 1, "ood": 1}
    return helper.make_graph(
        nodes, "additive_risk",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", quantiles.shape[1]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", sizes[name]]) for name in OUTPUTS],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def trees_of(net: Additive) -> Trees:
    """Turn every table of levels into a balanced tree of comparisons."""
    trees = Trees()
    for f, table in enumerate(net.mains):
        _grow(trees, f, [(f, net.edges[f].numpy())], table.detach().numpy())
    for p, ((a, b), table) in enumerate(zip(net.pairs, net.pair_levels, strict=True)):
        axes = [(a, net.pair_edges[a].numpy()), (b, net.pair_edges[b].numpy())]
        _grow(trees, len(net.mains) + p, axes, table.detach().numpy())
    return trees


def _grow(trees: Trees, tree: int, axes: list[tuple[int, Floats]], levels: Floats) -> int:
    """Add the nodes that choose along the first axis, then along the rest; the root comes first."""
    if not axes:
        return trees.leaf(tree, float(levels))
    feature, rest = axes[0][0], axes[1:]
    root = trees.node(tree, "BRANCH_LT", feature, -np.inf, missing=True)  # true only for NaN
    missing = _grow(trees, tree, rest, levels[-1])
    trees.branch(root, missing, _split(trees, tree, axes, levels[:-1]))
    return root


def _split(trees: Trees, tree: int, axes: list[tuple[int, Floats]], levels: Floats) -> int:
    (feature, edges), rest = axes[0], axes[1:]
    if len(levels) == 1:
        return _grow(trees, tree, rest, levels[0])
    cut = len(levels) // 2
    place = trees.node(tree, "BRANCH_LT", feature, float(edges[cut - 1]))
    low = _split(trees, tree, [(feature, edges[: cut - 1]), *rest], levels[:cut])
    high = _split(trees, tree, [(feature, edges[cut:]), *rest], levels[cut:])
    trees.branch(place, low, high)
    return place


def run_torch(net: Additive, quantiles: Floats, x: Floats) -> dict[str, Floats]:
    """Return what the graph must give for cases (N, F)."""
    with torch.no_grad():
        logit, contributions = net(torch.from_numpy(x))
        probability = torch.sigmoid(logit)
    return {
        "probability": probability.numpy(), "logit": logit.numpy(), "contributions": contributions.numpy(),
        "ood": outside_of(x, quantiles),
    }


def made_rows(quantiles: Floats, seed: int) -> Floats:
    """Make cases of nobody: the cohort's quantiles, mixtures of them drawn feature by feature, and missing values."""
    rng = np.random.default_rng(seed)
    rows = [*quantiles, np.full(quantiles.shape[1], np.nan, np.float32)]
    for share in (0.0, 0.1, 0.3, 0.6):
        drawn = quantiles[rng.integers(0, len(quantiles), quantiles.shape[1]), np.arange(quantiles.shape[1])]
        rows.append(np.where(rng.random(drawn.shape) < share, np.nan, drawn).astype(np.float32))
    return np.stack(rows).astype(np.float32)


def terms_of(net: Additive, features: list[Feature]) -> list[dict[str, Any]]:
    """Name the terms in the order of the contributions: a feature each, then the pairs."""
    single = [{"name": one.name, "features": [one.name]} for one in features]
    pairs = [(features[a], features[b]) for a, b in net.pairs]
    return [*single, *({"name": f"{a.name}__{b.name}", "features": [a.name, b.name]} for a, b in pairs)]
