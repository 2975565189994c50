"""A release with a new line: the same tables times a slope, another bias, the next patch version, figures of the new place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.errors import BrokenModel
from models.golden import read_golden
from models.manifest import Manifest, read_manifest
from training import recipe as recipes
from training.export import agreement
from training.recalibrate import DATA_SETS
from training.recipe import Recipe
from training.release import assess, seal


def release_recalibrated(folder: Path, data_set: str, line: dict[str, float], root: Path, shelf: Path) -> Path:
    """Write ``shelf/<name>-<x.y.z+1>`` from the additive release in ``folder`` and return it.

    ``line``: slope and intercept put on its logit. Raises BrokenModel for a model that is not additive on one logit, and
    FileExistsError when the next version is there.
    """
    old = read_manifest(folder)
    if old.explains.method != "additive_contributions" or old.explains.link != "logit" or len(old.outputs) != 1:
        raise BrokenModel(f"{old.id}: only an additive model with one probability can be recalibrated.")
    manifest = manifest_of(old, data_set, line)
    target = shelf / manifest.id
    if target.exists():
        raise FileExistsError(f"{target} exists and releases never change.")
    with tempfile.TemporaryDirectory(prefix="recalibrated-") as staging:
        made = Path(staging) / manifest.id
        made.mkdir()
        graph = rescaled(onnx.load(str(folder / "model.onnx")), **line)
        onnx.save(graph, str(made / "model.onnx"))
        golden = _golden(read_golden(folder), **line)
        np.savez_compressed(made / "golden.npz", **golden)
        agreement(made / "model.onnx", golden["input"], {key: value for key, value in golden.items() if key != "input"})
        (made / "evaluation.json").write_text("{}\n", encoding="utf-8")
        (made / "CARD.md").write_text("Not yet evaluated.\n", encoding="utf-8")
        seal(made, manifest)
        assess(made, root, recipe=_recipe(old.name, data_set))
        shelf.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, target)
    return target


def rescaled(model: onnx.ModelProto, slope: float, intercept: float) -> onnx.ModelProto:
    """Multiply every leaf by the slope and move the bias: the contributions then sum to the new logit as exactly as before."""
    return rescaled_terms(model, {0: (slope, intercept)}, None)


def rescaled_terms(
    model: onnx.ModelProto, lines: Mapping[int, tuple[float, float]], whose: Sequence[int] | None
) -> onnx.ModelProto:
    """Put a line on some outputs of an additive graph. ``lines``: output → slope, intercept; ``whose``: each term's output.

    ``whose`` None: there is one output. Raises BrokenModel for a graph of another form.
    """
    trees = next((node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"), None)
    bias = next((one for one in model.graph.initializer if one.name == "bias"), None)
    parts = {one.name: one for one in trees.attribute} if trees is not None else {}
    if bias is None or not {"target_weights", "target_ids"} <= set(parts):
        raise BrokenModel("A graph to recalibrate needs a TreeEnsembleRegressor and a bias, found another.")
    weights, terms = parts["target_weights"], parts["target_ids"].ints
    slopes = np.array([lines.get(0 if whose is None else whose[term], (1.0, 0.0))[0] for term in terms], np.float32)
    scaled = (np.array(weights.floats, np.float32) * slopes).tolist()
    del weights.floats[:]
    weights.floats.extend(scaled)
    old = numpy_helper.to_array(bias)
    moved = old.reshape(-1).astype(np.float32)
    for output, (slope, intercept) in lines.items():
        moved[output] = moved[output] * np.float32(slope) + np.float32(intercept)
    bias.CopyFrom(numpy_helper.from_array(moved.reshape(old.shape).astype(np.float32), "bias"))
    return model


def relined_map(model: onnx.ModelProto, names: Mapping[str, str], lines: Mapping[int, tuple[float, float]],
                channels: int) -> onnx.ModelProto:
    """Put a line on some channels of a class activation graph: map × slope, logit × slope + intercept, all inside the graph.

    ``names``: role → output; ``lines``: channel → slope, intercept. Whatever the graph makes of its logit (a probability) it
    then makes of the new one, and the mean of the new map with the new bias is the new logit. Raises BrokenModel where map
    or logit is not made by a node of its own.
    """
    slope, intercept = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    for channel, (one, other) in lines.items():
        slope[channel], intercept[channel] = one, other
    constants = {"local_slope_map": slope.reshape(1, -1, 1, 1), "local_slope": slope.reshape(1, -1),
                 "local_intercept": intercept.reshape(1, -1)}
    if {one.name for one in model.graph.initializer} & set(constants):
        raise BrokenModel("A graph gets one local line, found one already. Start from the release it was made from.")
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    inner = {role: f"{names[role]}_before" for role in ("map", "logit")}
    nodes = list(model.graph.node)
    for role, name in inner.items():
        maker = next((node for node in nodes if names[role] in node.output), None)
        if maker is None:
            raise BrokenModel(f"A graph to recalibrate must make its {role} by a node, found none.")
        maker.output[list(maker.output).index(names[role])] = name
    for node in nodes:  # what is made of the map is the old logit; what is made of the logit is to be made of the new one
        for place, name in enumerate(node.input):
            if name == names["map"]:
                node.input[place] = inner["map"]
    made = next(place for place, node in enumerate(nodes) if inner["logit"] in node.output)
    nodes[made + 1 : made + 1] = [
        helper.make_node("Mul", [inner["logit"], "local_slope"], ["logit_times_slope"]),
        helper.make_node("Add", ["logit_times_slope", "local_intercept"], [names["logit"]]),
    ]
    nodes.append(helper.make_node("Mul", [inner["map"], "local_slope_map"], [names["map"]]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model, full_check=True)
    return model


def manifest_of(old: Manifest, data_set: str, line: dict[str, float]) -> Manifest:
    """Return the manifest of the new version. The threshold moves with the scale: it calls the same patients."""
    slope, intercept = line["slope"], line["intercept"]
    major, minor, patch = old.version.split(".")
    output = old.outputs[0]
    before = output.calibration or {"slope": 1.0, "intercept": 0.0}
    said = (
        f"Recalibrated on {data_set}: the logit of {old.id} times {slope:.3f} plus {intercept:.3f}. "
        "Figures and card are of that data set's test split."
    )
    return old.model_copy(update={
        "version": f"{major}.{minor}.{int(patch) + 1}",
        "outputs": [output.model_copy(update={
            "threshold": None if output.threshold is None else moved(output.threshold, slope, intercept),
            "threshold_reason": f"{output.threshold_reason} Moved with the scale: it calls the same patients as {old.id}.",
            "calibration": {"slope": before["slope"] * slope, "intercept": before["intercept"] * slope + intercept},
        })],
        "explains": old.explains.model_copy(update={
            "bias": {"0": float(np.float32(old.explains.bias["0"]) * np.float32(slope) + np.float32(intercept))},
        }),
        "training_data": old.training_data.model_copy(update={"cautions": [*old.training_data.cautions, said]}),
        "provenance": old.provenance.model_copy(update={"created": datetime.now(UTC).date().isoformat()}),
        "precisions": [],
    })


def moved(probability: float, slope: float, intercept: float) -> float:
    """Return the probability that a line makes of a probability."""
    return 1 / (1 + exp(-(slope * log(probability / (1 - probability)) + intercept)))


def _golden(old: dict[str, Any], slope: float, intercept: float) -> dict[str, Any]:
    logit = (old["logit"] * np.float32(slope) + np.float32(intercept)).astype(np.float32)
    return {
        **old, "logit": logit, "probability": (1 / (1 + np.exp(-logit))).astype(np.float32),
        "contributions": (old["contributions"] * np.float32(slope)).astype(np.float32),
    }


def _recipe(name: str, data_set: str) -> Recipe:
    """Return the recipe as the new place is to be evaluated: its people, its words, and calibration as the only bars."""
    return Recipe(f"{name}_on_{data_set}", {**recipes.read(name).raw, "data": data_set, "evaluation": {
        "title": f"{name} recalibrated, on the test split of {data_set}", "cases": f"{data_set} test cases",
        "unknown": [" ".join((DATA_SETS[data_set].__doc__ or "").split())],
    }, "bars": [
        {"what": "Calibration slope", "figure": "calibration_slope", "rule": "within", "low": 0.8, "high": 1.25},
        {"what": "Observed / expected", "figure": "observed_over_expected", "rule": "within", "low": 0.8, "high": 1.25},
    ]})
