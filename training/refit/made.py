"""Made: the folder of a refitted release. Everything before the head stays; maps, tables and bias move together.

The version's middle number rises by one; thresholds, counts, cautions, evaluation and card are of this hospital from now on,
and the history of both says what changed, on which cases, with which intervals.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from models.check import check
from models.errors import BrokenModel
from models.golden import read_golden
from models.manifest import Manifest, Output
from training.card import write_card
from training.evaluate import plain, write_evaluation
from training.export import AGREEMENT, agreement
from training.refit.graphs import POOLED, Head, head_of, runner, with_head, with_pooled, with_slopes
from training.refit.learn import Lesson
from training.release import seal

Json = dict[str, Any]
Floats = NDArray[np.float64]


def write_release(base: Path, old: Manifest, lessons: list[Lesson], evaluation: Json, said: Json, folder: Path) -> Manifest:
    """Write ``folder`` from the graph in ``base`` with the heads that were learnt; return its manifest.

    ``evaluation`` becomes evaluation.json as it is, but for the names of the model and its graph. Raises BrokenModel when the
    written graph does not give what was learnt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graph, golden = onnx.load(str(base / "model.onnx")), read_golden(base)
    make = _tables if old.task == "risk" else _maps
    made, expected, bias = make(graph, old, golden, lessons)
    onnx.checker.check_model(made)
    onnx.save(made, str(folder / "model.onnx"))
    np.savez_compressed(folder / "golden.npz", **expected)
    agreement(folder / "model.onnx", expected["input"], {key: value for key, value in expected.items() if key != "input"})
    manifest = manifest_of(old, lessons, bias, said)
    (folder / "evaluation.json").write_text("{}\n", encoding="utf-8")
    (folder / "CARD.md").write_text("Not yet evaluated.\n", encoding="utf-8")
    seal(folder, manifest)
    sealed = manifest.model_copy(update={"files": {"model.onnx": hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()}})
    told = plain({**evaluation, "model": manifest.id, "onnx_sha256": sealed.files["model.onnx"]})
    write_evaluation(folder / "evaluation.json", told)
    write_card(folder, sealed, told)
    seal(folder, manifest)
    check(folder)
    return manifest


def next_version(version: str) -> str:
    """Return the version of a refit.

    >>> next_version("1.0.3")
    '1.1.0'
    """
    major, minor, _ = version.split(".")
    return f"{major}.{int(minor) + 1}.0"


def manifest_of(old: Manifest, lessons: list[Lesson], bias: Floats, said: Json) -> Manifest:
    """Return the manifest of the refit. ``bias``: of every logit, in order; ``said``: what the verdicts were."""
    learnt = {lesson.of.output.name: lesson for lesson in lessons}
    sentence = (
        f"Refitted on {said['learnt']} verdicts of one hospital, from {old.id}: {said['fits']}. Verdicts are what readers said, and "
        f"readers saw the model's answer first. Figures and card are of {said['tested']} sealed cases of the same hospital."
    )
    data = old.training_data
    return old.model_copy(update={
        "version": next_version(old.version),
        "outputs": [_output(one, learnt.get(one.name), old.id) for one in old.outputs],
        "explains": old.explains.model_copy(update={"bias": {
            key: float(np.float32(bias[int(key)])) for key in old.explains.bias}}),
        "training_data": data.model_copy(update={
            "counts": {**data.counts, "verdicts_learnt_from": said["learnt"], "verdicts_tested": said["tested"]},
            "cautions": [*data.cautions, sentence],
            "sha256": hashlib.sha256(f"{data.sha256}{said['sha256']}".encode()).hexdigest(),
        }),
        "provenance": old.provenance.model_copy(update={"created": datetime.now(UTC).date().isoformat()}),
        "precisions": [],  # measured on another graph
    })


def history_of(folder: Path) -> list[Json]:
    """Return what the evaluation of a release says of its past."""
    told: Json = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return list(told.get("history", []))


def _output(one: Output, lesson: Lesson | None, old: str) -> Output:
    if lesson is None:
        return one
    moved = lesson.threshold != one.threshold
    line = {"slope": lesson.fit.slope, "intercept": lesson.fit.intercept}
    before = one.calibration or {"slope": 1.0, "intercept": 0.0}
    reason = f" Lowered at the refit, so that no more is missed here than by {old}." if moved else ""
    return one.model_copy(update={
        "threshold": lesson.threshold, "threshold_reason": f"{one.threshold_reason}{reason}",
        "calibration": {"slope": before["slope"] * line["slope"],
                        "intercept": before["intercept"] * line["slope"] + line["intercept"]},
    })


def _maps(graph: onnx.ModelProto, old: Manifest, golden: Mapping[str, Any],
          lessons: list[Lesson]) -> tuple[onnx.ModelProto, dict[str, Any], Floats]:
    head = head_of(graph, old)
    weights, bias = head.weights.copy(), head.bias.copy()
    for lesson in lessons:
        k, fit = lesson.of.logit, lesson.fit
        weights[k], bias[k] = fit.slope * weights[k] + fit.weights, fit.slope * bias[k] + fit.intercept
    made = with_head(graph, old, Head(head.features, weights, bias))
    roles = old.graph.outputs
    found = dict(zip(roles, runner(made)(list(roles.values()), golden["input"]), strict=True))
    (pooled,) = runner(with_pooled(graph, head))([POOLED], golden["input"])
    gap = np.abs(found["logit"] - (pooled @ weights.T + bias)) / (1 + np.abs(found["logit"]))
    if gap.max() > AGREEMENT:
        raise BrokenModel(f"The new graph must give the logits that were learnt within {AGREEMENT}, found {gap.max():.1e} off.")
    return made, {"input": golden["input"], **found}, bias


def _tables(graph: onnx.ModelProto, old: Manifest, golden: Mapping[str, Any],
            lessons: list[Lesson]) -> tuple[onnx.ModelProto, dict[str, Any], Floats]:
    first = old.outputs[0].name
    whose = np.array([old.output(term.output or first).index for term in old.terms])
    slopes, bias = np.ones(len(old.terms)), np.array([old.explains.bias[key] for key in sorted(old.explains.bias, key=int)])
    for lesson in lessons:
        k, fit = lesson.of.logit, lesson.fit
        slopes[whose == k] = fit.slope + fit.weights[whose == k]
        bias[k] = fit.slope * bias[k] + fit.intercept
    made = with_slopes(graph, slopes, bias)
    parts = (golden["contributions"] * slopes.astype(np.float32)).astype(np.float32)
    sums = [parts[:, whose == k].sum(axis=1) + np.float32(value) for k, value in enumerate(bias)]
    logit = np.stack(sums, axis=1).astype(np.float32)
    expected = {**golden, "contributions": parts, "logit": logit, "probability": (1 / (1 + np.exp(-logit))).astype(np.float32)}
    return made, expected, bias
