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
from training.checkpoint_risk import load
from training.export import agreement
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
    nets, found, quantiles = load(checkpoint)
    features = features_of(recipe)
    model = helper.make_model(
        graph_of(nets, quantiles), ir_version=10, producer_name="diaphane",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    golden = made_rows(quantiles, recipe.seed)
    expected = run_torch(nets, quantiles, golden)
    np.savez_compressed(folder / "golden.npz", input=golden, **expected)
    differences = agreement(folder / "model.onnx", golden, expected)
    gap = completeness(nets, expected)
    if gap > 1e-5:
        raise BrokenModel(f"Contributions must sum to the logit within 1e-5, found {gap:.1e}.")
    by_output = dict(zip(recipe.outputs, found["outputs"], strict=True))
    return {
        "graph": {
            "input": "features", "input_shape": ["batch", len(features)], "outputs": OUTPUTS, "opset": OPSET,
        },
        "features": [one.model_dump(mode="json") for one in features],
        "terms": terms_of(nets, features, recipe.outputs),
        "refuses": {
            "ood": [{"name": "far_from_cohort", "limit": float(found["ood_limit"]), "meaning": (
                "Many values lie beyond what 98 % of the training cohort had; a unit may be wrong."
            )}],
        },
        "explains": {"bias": {str(k): float(net.bias.detach()) for k, net in enumerate(nets)}},
        "thresholds": {name: one["threshold"] for name, one in by_output.items()},
        "calibration": {name: one["calibration"] for name, one in by_output.items()},
        "counts": found["counts"],
        "sha256": found["sha256"],
        "report": {
            "agreement": differences, "completeness": gap,
            "out_of_fold_auroc": {name: one["out_of_fold_auroc"] for name, one in by_output.items()},
            "terms": sum(term_counts(nets)), "quick": found["quick"],
        },
    }


def completeness(nets: list[Additive], arrays: dict[str, Floats]) -> float:
    """Return the largest difference between a logit and its bias and contributions, over rows and outputs."""
    parts = np.split(arrays["contributions"].astype(np.float64), np.cumsum(term_counts(nets))[:-1], axis=1)
    return max(
        float(np.abs(part.sum(axis=1) + float(net.bias.detach()) - arrays["logit"][:, k]).max())
        for k, (net, part) in enumerate(zip(nets, parts, strict=True))
    )


def term_counts(nets: list[Additive]) -> list[int]:
    """Count the terms of each output."""
    return [len(net.mains) + len(net.pairs) for net in nets]


def build_risk(recipe: Recipe, checkpoint: Path, root: Path, folder: Path) -> Fields:  # noqa: ARG001
    """Export as the other builders do; `root` is not read, since fitting chose everything."""
    return export(checkpoint, recipe, folder)


def graph_of(nets: list[Additive], quantiles: Floats) -> onnx.GraphProto:
    """Build the graph features (batch, F) → contributions (batch, T), logit and probability (batch, O), ood (batch, 1).

    The terms of all outputs follow one another in the contributions.
    """
    trees = trees_of(nets)
    counts = term_counts(nets)
    middle, scale = scales_of(quantiles)
    constants = {
        "axis": np.array([1], np.int64),
        "bias": np.concatenate([net.bias.detach().numpy().reshape(1, 1) for net in nets], axis=1),
        "middle": middle, "scale": scale, "zero": np.float32(0),
        "farthest": np.float32(FARTHEST), "nearest": np.float32(-FARTHEST),
    }
    if len(nets) > 1:
        constants["sizes"] = np.array(counts, np.int64)
    nodes = [
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["contributions"], domain="ai.onnx.ml", n_targets=sum(counts),
            aggregate_function="SUM", post_transform="NONE",
            **{f"nodes_{key}": value for key, value in trees.nodes.items()},
            **{f"target_{key}": value for key, value in trees.leaves.items()},
        ),
        *_sum_nodes(len(nets)),
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
    sizes = {"contributions": sum(counts), "logit": len(nets), "probability": len(nets), "ood": 1}
    return helper.make_graph(
        nodes, "additive_risk",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", quantiles.shape[1]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", sizes[name]]) for name in OUTPUTS],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def _sum_nodes(outputs: int) -> list[onnx.NodeProto]:
    """Sum the contributions of each output by itself → `sum` (batch, O)."""
    if outputs == 1:
        return [helper.make_node("ReduceSum", ["contributions", "axis"], ["sum"], keepdims=1)]
    parts = [f"parts{k}" for k in range(outputs)]
    sums = [f"sum{k}" for k in range(outputs)]
    return [
        helper.make_node("Split", ["contributions", "sizes"], parts, axis=1),
        *(helper.make_node("ReduceSum", [a, "axis"], [b], keepdims=1) for a, b in zip(parts, sums, strict=True)),
        helper.make_node("Concat", sums, ["sum"], axis=1),
    ]


def trees_of(nets: list[Additive]) -> Trees:
    """Turn every table of levels into a balanced tree of comparisons, in the order of the contributions."""
    trees = Trees()
    first = 0
    for net in nets:
        for f, table in enumerate(net.mains):
            _grow(trees, first + f, [(f, net.edges[f].numpy())], table.detach().numpy())
        first += len(net.mains)
        for p, ((a, b), table) in enumerate(zip(net.pairs, net.pair_levels, strict=True)):
            axes = [(a, net.pair_edges[a].numpy()), (b, net.pair_edges[b].numpy())]
            _grow(trees, first + p, axes, table.detach().numpy())
        first += len(net.pairs)
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


def run_torch(nets: list[Additive], quantiles: Floats, x: Floats) -> dict[str, Floats]:
    """Return what the graph must give for cases (N, F)."""
    with torch.no_grad():
        found = [net(torch.from_numpy(x)) for net in nets]
    logit = torch.cat([one[0] for one in found], dim=1)
    return {
        "probability": torch.sigmoid(logit).numpy(), "logit": logit.numpy(),
        "contributions": torch.cat([one[1] for one in found], dim=1).numpy(), "ood": outside_of(x, quantiles),
    }


def made_rows(quantiles: Floats, seed: int) -> Floats:
    """Make cases of nobody: the cohort's quantiles, mixtures of them drawn feature by feature, and missing values."""
    rng = np.random.default_rng(seed)
    rows = [*quantiles, np.full(quantiles.shape[1], np.nan, np.float32)]
    for share in (0.0, 0.1, 0.3, 0.6):
        drawn = quantiles[rng.integers(0, len(quantiles), quantiles.shape[1]), np.arange(quantiles.shape[1])]
        rows.append(np.where(rng.random(drawn.shape) < share, np.nan, drawn).astype(np.float32))
    return np.stack(rows).astype(np.float32)


def terms_of(nets: list[Additive], features: list[Feature], outputs: list[str]) -> list[dict[str, Any]]:
    """Name the terms in the order of the contributions: for each output a feature each, then its pairs.

    With several outputs a term's name starts with its output's, which the term states too.
    """
    named = []
    for net, output in zip(nets, outputs, strict=True):
        terms = [(one.name, [one.name]) for one in features]
        terms += [(f"{features[a].name}__{features[b].name}", [features[a].name, features[b].name]) for a, b in net.pairs]
        if len(nets) == 1:
            named += [{"name": name, "features": used} for name, used in terms]
        else:
            named += [{"name": f"{output}__{name}", "features": used, "output": output} for name, used in terms]
    return named
