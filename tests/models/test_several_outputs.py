"""A release with two outcomes, and one with a dose: every output has its own parts, and the parts are checked for each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from models.manifest import Manifest, sha256_of, write_manifest
from models.model import Model
from models.prediction import Prediction, Reason, Refusal
from models.record import Event, Record
from tests.make_release import _common, _feature, _output

PARTS = [{"name": "age", "features": ["age"], "output": "first"}, {"name": "hr", "features": ["hr"], "output": "first"},
         {"name": "age again", "features": ["age"], "output": "second"}]


def release(folder: Path, kind: str, **changes: Any) -> Path:
    """Write a release whose parts are age·0.01 and HR·0.02 of the first output, age·0.03 of the second; biases 1 and 2."""
    weights = np.array([[0.01, 0.0, 0.03], [0.0, 0.02, 0.0]], np.float32)
    gathers = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    constants = {"weights": weights, "gathers": gathers, "bias": np.array([[1.0, 2.0]], np.float32),
                 "spread": np.array([[0.5, 2.0, 0.5, 2.0]], np.float32), "pick": np.array([0, 0, 1, 1], np.int64)}
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["contributions"]),
        helper.make_node("MatMul", ["contributions", "gathers"], ["sums"]),
        helper.make_node("Add", ["sums", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Exp", ["logit"], ["quantity"]),
        helper.make_node("Gather", ["quantity", "pick"], ["twice"], axis=1),
        helper.make_node("Mul", ["twice", "spread"], ["interval"]),
    ]
    sizes = {"contributions": 3, "logit": 2} | ({"probability": 2} if kind == "probability" else {"quantity": 2, "interval": 4})
    graph = helper.make_graph(
        nodes, "two", [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size]) for name, size in sizes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    target = folder / "two-1.0.0"
    target.mkdir(parents=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(target / "model.onnx"))
    golden = np.array([[70, 80], [40, 60]], np.float32)
    session = onnxruntime.InferenceSession(str(target / "model.onnx"), providers=["CPUExecutionProvider"])
    np.savez(target / "golden.npz", input=golden, **dict(zip(sizes, session.run(list(sizes), {"features": golden}), strict=True)))
    (target / "evaluation.json").write_text("{}\n")
    (target / "CARD.md").write_text("# Two\n")
    unit, more = ("1", {}) if kind == "probability" else ("mg/wk", {"interval_level": 0.9})
    fields = {
        "name": "two", "version": "1.0.0", "title": "Two", "title_fr": "Deux", "task": "risk",
        "features": [_feature("age", "static", "age_years", "Age", "Âge", "a", meanings={"70": ["seventy", "soixante-dix"]}),
                     _feature("hr", "last", "HR", "Heart rate", "Fréquence cardiaque", "/min", usual={"low": 40, "high": 150})],
        "terms": PARTS,
        "graph": {"input": "features", "input_shape": ["batch", 2], "outputs": {name: name for name in sizes}, "opset": 20},
        "outputs": [_output("first", "First", "Premier", "1", 0, kind=kind, unit=unit, **more),
                    _output("second", "Second", "Second", "2", 1, kind=kind, unit=unit, **more)],
        "explains": {"method": "additive_contributions", "baseline": "zero", "completeness_tolerance": 1e-5,
                     "bias": {"0": 1.0, "1": 2.0}, "note": "", "note_fr": "", "link": "logit" if unit == "1" else "log"},
        "files": {path.name: sha256_of(path) for path in sorted(target.iterdir())},
    }
    write_manifest(target, Manifest.model_validate({**_common(), **fields, **changes}))
    return target


def record(**static: float) -> Record:
    return Record.of([Event(0.0, "HR", 80.0, "/min")], {"age_years": 70.0, **static})


def test_every_output_has_its_own_parts_and_they_sum_to_it(tmp_path: Path) -> None:
    result = Model(release(tmp_path, "probability")).predict(record())
    assert isinstance(result, Prediction)
    first, second = result.findings
    assert [first.logit, second.logit] == pytest.approx([3.3, 4.1])
    told = result.explanation
    assert [part.finding for part in told.contributions] == ["first", "first", "second"]
    for finding, bias in ((first, 1.0), (second, 2.0)):
        mine = [part for part in told.measurements if part.finding == finding.name]
        assert bias + sum(part.logit for part in mine) == pytest.approx(finding.logit, abs=1e-6)
    assert {part.value_text for part in told.contributions} == {"seventy", ""}
    assert told.completeness_error < 1e-6


def test_parts_that_do_not_sum_to_the_second_output_refuse_the_score(tmp_path: Path) -> None:
    wrong = {"method": "additive_contributions", "baseline": "zero", "completeness_tolerance": 1e-5,
             "bias": {"0": 1.0, "1": 2.5}, "note": "", "note_fr": ""}
    result = Model(release(tmp_path, "probability", explains=wrong)).predict(record())
    assert isinstance(result, Refusal)
    assert result.reason is Reason.INCOMPLETE_EXPLANATION


def test_rows_scored_at_once_state_the_worst_of_their_outputs(tmp_path: Path) -> None:
    arrays = Model(release(tmp_path, "probability")).score_features(np.array([[70, 80], [1, 2]], np.float32))
    assert arrays["logit"].shape == (2, 2)
    assert arrays["completeness_error"].max() < 1e-6


def test_a_quantity_comes_with_its_interval_and_its_parts_multiply(tmp_path: Path) -> None:
    result = Model(release(tmp_path, "quantity")).predict(record())
    assert isinstance(result, Prediction)
    dose = result.main
    assert (dose.value, dose.low, dose.high) == pytest.approx((math.exp(3.3), 0.5 * math.exp(3.3), 2 * math.exp(3.3)), rel=1e-5)
    assert dose.interval_level == 0.9
    product = math.exp(1.0) * math.prod(part.odds_multiplier for part in result.explanation.contributions if part.finding == "first")
    assert product == pytest.approx(dose.value, rel=1e-5)


def test_a_quantity_shown_beside_needs_no_parts(tmp_path: Path) -> None:
    alone = {"method": "additive_contributions", "baseline": "zero", "completeness_tolerance": 1e-5, "link": "log",
             "bias": {"0": 1.0}, "note": "", "note_fr": ""}
    result = Model(release(tmp_path, "quantity", explains=alone)).predict(record())
    assert isinstance(result, Prediction)
    assert [finding.name for finding in result.findings] == ["first", "second"]
    assert set(result.explanation.bias) == {"first"}


def test_what_it_cannot_do_without_is_named(tmp_path: Path) -> None:
    model = Model(release(tmp_path, "probability", refuses={"required": ["age_years", "GCS", "Lactate"]}))
    result = model.predict(record())
    assert isinstance(result, Refusal)
    assert result.message.startswith("Too few measurements: GCS, Lactate missing.")


def test_too_few_or_too_old_readings_are_refused(tmp_path: Path) -> None:
    model = Model(release(tmp_path, "probability", refuses={"recent": {"HR": [3, 60.0]}, "newest_min": {"HR": 20.0}}))
    rows = [Event(minute, "HR", 80.0, "/min") for minute in (0.0, 30.0, 59.0)]
    assert isinstance(model.predict(Record.of(rows, {"age_years": 70.0})), Prediction)
    early = model.predict(Record.of(rows[1:], {"age_years": 70.0}))
    assert isinstance(early, Refusal)
    assert "HR needs 3 values in the last 60 min, found 2" in early.message
    late = model.predict(Record.of([*rows, Event(80.0, "GCS", 15.0, "{score}")], {"age_years": 70.0}))
    assert isinstance(late, Refusal)


def test_an_impossible_value_is_refused_and_an_unusual_one_flagged(tmp_path: Path) -> None:
    model = Model(release(tmp_path, "probability", refuses={"impossible_values": True}))
    impossible = model.predict(Record.of([Event(0.0, "HR", 900.0, "/min")], {"age_years": 70.0}))
    assert isinstance(impossible, Refusal)
    assert impossible.reason is Reason.IMPOSSIBLE_VALUE
    assert "900" not in impossible.message + impossible.advice
    unusual = model.predict(Record.of([Event(0.0, "HR", 170.0, "/min")], {"age_years": 70.0}))
    assert "implausible_value:HR" in unusual.flags


def test_a_value_the_model_learnt_from_nobody_with_is_outside(tmp_path: Path) -> None:
    model = Model(release(tmp_path, "probability", refuses={"within": {"HR": {"high": 100}, "male": {"high": 0}}}))
    assert isinstance(model.predict(record()), Prediction)
    fast = model.predict(Record.of([Event(0.0, "HR", 101.0, "/min")], {"age_years": 70.0}))
    man = model.predict(record(male=1.0))
    for result, code in ((fast, "HR"), (man, "male")):
        assert isinstance(result, Refusal)
        assert result.reason is Reason.OUT_OF_DISTRIBUTION
        assert f"takes {code} up to" in result.message


@pytest.mark.parametrize(("value", "word"), [(0.01, "negligible"), (0.05, "low"), (0.2, "moderate"), (0.9, "high")])
def test_a_probability_has_a_word_where_the_release_states_bands(tmp_path: Path, value: float, word: str) -> None:
    outputs = [_output("first", "First", "Premier", "1", 0, bands={"low": 0.05, "moderate": 0.2, "high": 0.5}),
               _output("second", "Second", "Second", "2", 1)]
    folder = release(tmp_path, "probability", outputs=outputs)
    assert Model(folder).manifest.output("first").risk(value) == word
    assert Model(folder).predict(record()).main.risk == "high"
