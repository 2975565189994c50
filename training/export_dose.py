"""From a fitted dose model to one ONNX graph: dose, interval, what each fact multiplies it by, and the published equation.

`quantity` (batch, 2) holds our dose, the exponential of the score, and the IWPC equation's; `interval` (batch, 2) is ours.
The trees and the distance from the cohort are those of a risk model (training/export_risk.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.errors import BrokenModel
from training import iwpc_equation as published
from training.checkpoint_risk import load
from training.export import agreement
from training.export_risk import ML_OPSET, OPSET, completeness, made_rows, terms_of, trees_of
from training.fit_dose import BANDS_MG, NEITHER, NO_CYP2C9, NO_VKORC1, score_of
from training.nets.additive import Additive
from training.outside import FARTHEST, outside_of, scales_of
from training.recipe import Recipe
from training.risk_features import features_of

OUTPUTS = {role: role for role in ("quantity", "interval", "logit", "contributions", "ood")}
Floats = NDArray[np.float32]
Fields = dict[str, Any]
Node = onnx.NodeProto


def build_dose(recipe: Recipe, checkpoint: Path, root: Path, folder: Path) -> Fields:  # noqa: ARG001
    """Write model.onnx and golden.npz into `folder`; return the manifest fields to merge over the recipe's.

    `root` is not read, since fitting chose everything. Raises BrokenModel when numpy and ONNX differ by more than 1e-4,
    or the contributions do not sum to the logit.
    """
    nets, found, quantiles = load(checkpoint)
    features = features_of(recipe)
    names = [one.name for one in features]
    settings = {**recipe.fit, **found, "names": names}
    model = helper.make_model(
        graph_of(nets[0], quantiles, settings), ir_version=10, producer_name="diaphane",
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    golden = whole_codes(made_rows(quantiles, recipe.seed), names)
    expected = expected_of(nets[0], quantiles, settings, golden)
    np.savez_compressed(folder / "golden.npz", input=golden, **expected)
    differences = agreement(folder / "model.onnx", golden, expected)
    gap = completeness(nets, expected)
    if gap > 1e-5:
        raise BrokenModel(f"Contributions must sum to the logit within 1e-5, found {gap:.1e}.")
    return {
        "graph": {"input": "features", "input_shape": ["batch", len(features)], "outputs": OUTPUTS, "opset": OPSET},
        "features": [one.model_dump(mode="json") for one in features],
        "terms": terms_of(nets, features, recipe.outputs[:1]),
        "refuses": {"ood": [
            {"name": "far_from_cohort", "limit": float(found["ood_limit"]), "meaning": (
                "Many values lie beyond what 98 % of the training cohort had; a unit may be wrong.")},
            {"name": "beyond_everybody", "limit": 1.0, "meaning": _extremes_in_words(found["extremes"])},
        ]},
        "explains": {"bias": {"0": float(nets[0].bias.detach())}},
        "counts": found["counts"],
        "sha256": found["sha256"],
        "report": {"agreement": differences, "completeness": gap, "held_out": found["held_out"],
                   "terms": len(nets[0].mains) + len(nets[0].pairs), "quick": found["quick"]},
    }


def whole_codes(rows: Floats, names: list[str]) -> Floats:
    """Round what only takes whole numbers, every feature but age, height and weight; nobody without an age is scored."""
    measured = [name.startswith(("age_", "height_", "weight_")) for name in names]
    whole = np.where(np.array(measured)[None], rows, np.round(rows)).astype(np.float32)
    age = whole[:, names.index("age_years_static")]
    whole[:, names.index("age_years_static")] = np.where(np.isnan(age), np.nanmedian(age), age)
    return whole


def graph_of(net: Additive, quantiles: Floats, settings: dict[str, Any]) -> onnx.GraphProto:
    """Build the graph features (batch, F) → quantity and interval (batch, 2), logit, contributions and ood (batch, 2)."""
    names = settings["names"]
    used = sorted({*published.USED, *settings["within"]})
    constants: dict[str, Any] = {
        "axis": np.array([1], np.int64), "zero": np.float32(0), "one": np.float32(1),
        "bias": net.bias.detach().numpy().reshape(1, 1),
        **{name: np.array([names.index(name)], np.int64) for name in used},
    }
    nodes = [
        *(helper.make_node("Gather", ["features", name], [f"{name}_column"], axis=1) for name in used),
        *_score_nodes(net), *_distance_nodes(constants, quantiles), *_extreme_nodes(constants, settings),
        *_equation_nodes(constants, settings["body"]), *_interval_nodes(constants, settings),
        helper.make_node("Exp", ["logit"], ["dose"]),
        helper.make_node("Concat", ["dose", "published"], ["quantity"], axis=1),
        helper.make_node("Concat", ["far", "beyond"], ["ood"], axis=1),
    ]
    sizes = {"quantity": 2, "interval": 2, "logit": 1, "contributions": len(net.mains) + len(net.pairs), "ood": 2}
    return helper.make_graph(
        nodes, "additive_dose",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", quantiles.shape[1]])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", sizes[name]]) for name in OUTPUTS],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def _score_nodes(net: Additive) -> list[Node]:
    trees = trees_of([net])
    return [
        helper.make_node(
            "TreeEnsembleRegressor", ["features"], ["contributions"], domain="ai.onnx.ml",
            n_targets=len(net.mains) + len(net.pairs), aggregate_function="SUM", post_transform="NONE",
            **{f"nodes_{key}": value for key, value in trees.nodes.items()},
            **{f"target_{key}": value for key, value in trees.leaves.items()},
        ),
        helper.make_node("ReduceSum", ["contributions", "axis"], ["sum"], keepdims=1),
        helper.make_node("Add", ["sum", "bias"], ["logit"]),
    ]


def _distance_nodes(constants: dict[str, Any], quantiles: Floats) -> list[Node]:
    """Measure the mean squared bounded distance from the cohort's middle → `far`."""
    middle, scale = scales_of(quantiles)
    constants |= {"middle": middle, "scale": scale, "farthest": np.float32(FARTHEST), "nearest": np.float32(-FARTHEST)}
    return [
        helper.make_node("Sub", ["features", "middle"], ["away"]),
        helper.make_node("Mul", ["away", "scale"], ["distance"]),
        helper.make_node("Clip", ["distance", "nearest", "farthest"], ["bounded"]),
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Where", ["missing", "zero", "bounded"], ["known"]),
        helper.make_node("Mul", ["known", "known"], ["squares"]),
        helper.make_node("ReduceMean", ["squares", "axis"], ["far"], keepdims=1),
    ]


def _extreme_nodes(constants: dict[str, Any], settings: dict[str, Any]) -> list[Node]:
    """Measure height and weight from the middle of their range in half ranges → `beyond`; over 1 is beyond everybody."""
    ends = np.array([settings["extremes"][name] for name in settings["within"]], np.float32)
    constants |= {"centre": ends.mean(axis=1)[None], "half": (ends[:, 1] - ends[:, 0])[None] / 2}
    return [
        helper.make_node("Concat", [f"{name}_column" for name in settings["within"]], ["body"], axis=1),
        helper.make_node("Sub", ["body", "centre"], ["off"]),
        helper.make_node("Div", ["off", "half"], ["halves"]),
        helper.make_node("Abs", ["halves"], ["reach"]),
        helper.make_node("IsNaN", ["reach"], ["unmeasured"]),
        helper.make_node("Where", ["unmeasured", "zero", "reach"], ["reached"]),
        helper.make_node("ReduceMax", ["reached", "axis"], ["beyond"], keepdims=1),
    ]


def _equation_nodes(constants: dict[str, Any], body: dict[str, float]) -> list[Node]:
    """Compute the published equation (training/iwpc_equation.py) → `published` (batch, 1)."""
    age, height, weight, male, alleles, diplotype, inducer, amiodarone = (f"{name}_column" for name in published.USED)
    constants |= {
        "ten": np.float32(10), "nine": np.float32(9), "per_decade": np.float32(published.PER_DECADE),
        "per_cm": np.float32(published.PER_CM), "per_kg": np.float32(published.PER_KG),
        "by_vkorc1": np.array(published.VKORC1, np.float32), "by_cyp2c9": np.array(published.CYP2C9, np.float32),
        "no_vkorc1": np.float32(3), "no_cyp2c9": np.float32(6),
        "per_inducer": np.float32(published.INDUCER), "per_amiodarone": np.float32(published.AMIODARONE),
        "constant": np.float32(published.CONSTANT + published.RACE["Unknown"]),
        **{name: np.float32(value) for name, value in body.items()},
    }

    def known(column: str, other: str, name: str) -> list[Node]:
        return [helper.make_node("IsNaN", [column], [f"{name}_gone"]),
                helper.make_node("Where", [f"{name}_gone", other, column], [name])]

    def looked_up(column: str, other: str, table: str, name: str) -> list[Node]:
        return [*known(column, other, f"{name}_value"),
                helper.make_node("Cast", [f"{name}_value"], [f"{name}_place"], to=TensorProto.INT64),
                helper.make_node("Gather", [table, f"{name}_place"], [name], axis=0)]

    def when_one(column: str, value: str, name: str) -> list[Node]:
        return [helper.make_node("Equal", [column, "one"], [f"{name}_is"]),
                helper.make_node("Where", [f"{name}_is", value, "zero"], [name])]

    return [
        helper.make_node("Div", [age, "ten"], ["decades"]), helper.make_node("Floor", ["decades"], ["whole_decades"]),
        helper.make_node("Min", ["whole_decades", "nine"], ["decade"]),
        helper.make_node("Mul", ["decade", "per_decade"], ["by_age"]),
        helper.make_node("Equal", [male, "one"], ["is_male"]),
        helper.make_node("Where", ["is_male", "height_cm_male", "height_cm_female"], ["height_of_sex"]),
        helper.make_node("IsNaN", [male], ["sex_gone"]),
        helper.make_node("Where", ["sex_gone", "height_cm", "height_of_sex"], ["usual_height"]),
        *known(height, "usual_height", "tall"), helper.make_node("Mul", ["tall", "per_cm"], ["by_height"]),
        *known(weight, "weight_kg", "heavy"), helper.make_node("Mul", ["heavy", "per_kg"], ["by_weight"]),
        *looked_up(alleles, "no_vkorc1", "by_vkorc1", "vkorc1"), *looked_up(diplotype, "no_cyp2c9", "by_cyp2c9", "cyp2c9"),
        *when_one(inducer, "per_inducer", "by_inducer"), *when_one(amiodarone, "per_amiodarone", "by_amiodarone"),
        helper.make_node("Sum", ["constant", "by_age", "by_height", "by_weight", "vkorc1", "cyp2c9", "by_inducer",
                                 "by_amiodarone"], ["root"]),
        helper.make_node("Mul", ["root", "root"], ["published"]),
    ]


def _interval_nodes(constants: dict[str, Any], settings: dict[str, Any]) -> list[Node]:
    """Choose the group's ends and put them around the score → `interval` (batch, 2). Groups: training/fit_dose.py."""
    low, high = np.log(BANDS_MG)
    constants |= {
        "ends": np.array(settings["interval"], np.float32), "low_dose": np.float32(low), "high_dose": np.float32(high),
        "only_cyp2c9": np.int64(NO_VKORC1), "only_vkorc1": np.int64(NO_CYP2C9), "neither": np.int64(NEITHER),
    }
    vkorc1, cyp2c9 = (f"{name}_column" for name in settings["genotypes"])
    return [
        helper.make_node("GreaterOrEqual", ["logit", "low_dose"], ["not_low"]),
        helper.make_node("GreaterOrEqual", ["logit", "high_dose"], ["is_high"]),
        helper.make_node("Cast", ["not_low"], ["step1"], to=TensorProto.INT64),
        helper.make_node("Cast", ["is_high"], ["step2"], to=TensorProto.INT64),
        helper.make_node("Add", ["step1", "step2"], ["band"]),
        helper.make_node("IsNaN", [vkorc1], ["untyped_vkorc1"]), helper.make_node("IsNaN", [cyp2c9], ["untyped_cyp2c9"]),
        helper.make_node("And", ["untyped_vkorc1", "untyped_cyp2c9"], ["untyped"]),
        helper.make_node("Where", ["untyped_cyp2c9", "only_vkorc1", "band"], ["group1"]),
        helper.make_node("Where", ["untyped_vkorc1", "only_cyp2c9", "group1"], ["group2"]),
        helper.make_node("Where", ["untyped", "neither", "group2"], ["group3"]),
        helper.make_node("Squeeze", ["group3", "axis"], ["group"]),
        helper.make_node("Gather", ["ends", "group"], ["around"], axis=0),
        helper.make_node("Add", ["logit", "around"], ["log_interval"]),
        helper.make_node("Exp", ["log_interval"], ["interval"]),
    ]


def expected_of(net: Additive, quantiles: Floats, settings: dict[str, Any], x: Floats) -> dict[str, Floats]:
    """Return what the graph must give for cases (N, F), computed without ONNX."""
    names = settings["names"]
    with torch.no_grad():
        logit, contributions = net(torch.from_numpy(x))
    score = score_of(net, x)
    missing = np.isnan(x[:, [names.index(name) for name in settings["genotypes"]]])
    group = np.searchsorted(np.log(BANDS_MG), score, side="right")
    group = np.where(missing[:, 1], NO_CYP2C9, group)
    group = np.where(missing[:, 0], NO_VKORC1, group)
    group = np.where(missing.all(axis=1), NEITHER, group)
    ends = np.array([settings["extremes"][name] for name in settings["within"]])
    reach = np.abs(x[:, [names.index(name) for name in settings["within"]]] - ends.mean(axis=1)) / (np.diff(ends)[:, 0] / 2)
    equation = published.published_dose(x, names, settings["body"])
    return {
        "quantity": np.stack([np.exp(score), equation], axis=1).astype(np.float32),
        "interval": np.exp(score[:, None] + np.array(settings["interval"])[group]).astype(np.float32),
        "logit": logit.numpy(), "contributions": contributions.numpy(),
        "ood": np.concatenate([outside_of(x, quantiles), np.nan_to_num(reach).max(axis=1, keepdims=True)], axis=1).astype(
            np.float32),
    }


def _extremes_in_words(extremes: dict[str, list[float]]) -> str:
    said = ", ".join(f"{name.rsplit('_', 1)[0]} {low:g} to {high:g}" for name, (low, high) in extremes.items())
    return f"Nobody in the training cohort was so short, tall, light or heavy ({said})."
