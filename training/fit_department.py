"""A department: the exact law of a sum as a graph, and the trend of monthly attendances fitted on all months but the last six.

The law has nothing to fit. The trend weighs four changes of the daily rate; its errors, each month forecast from weights
fitted before it, are the ends of its bands (split conformal, Vovk 2005).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models.department import LEVELS, MAX_STEP, TREND_FILE, changes
from training.build import Fields
from training.data import nhs_ae
from training.data.nhs_ae import Array, Attendances
from training.recipe import Recipe

HELD_OUT = 6  # months at the end that no number here has seen
FIRST = 13  # the first month with everything a forecast looks back on
RIDGE = 0.01
CALIBRATED = 10  # months before the held-out ones whose errors make the bands
OPSET = 20


def fit(recipe: Recipe, out_dir: Path, root: Path, *, quick: bool = False) -> Path:
    """Fit the trend and write `out_dir/checkpoint.json`; return its path. `quick` takes made-up attendances."""
    data = made_up(recipe.seed) if quick else nhs_ae.attendances(root)
    stop = len(data.months) - HELD_OUT
    weights = weights_of(data, stop)
    errors = np.concatenate([
        np.log(data.counts[:, t]) - predicted(data, t, weights_of(data, t)) for t in range(stop - CALIBRATED, stop)
    ])
    found = {
        "weights": weights,
        "common_step": common_steps(data, stop),
        "bands": [
            {"level": level, "low": float(np.quantile(errors, (1 - level) / 2)),
             "high": float(np.quantile(errors, (1 + level) / 2))} for level in LEVELS
        ],
        "fitted_until": "{}-{:02d}".format(*data.months[stop - 1]),
        "providers": len(data.counts),
        "months_fitted": stop,
        "sha256": "0" * 64 if quick else nhs_ae.data_sha256(root),
        "quick": quick,
    }
    out_dir.mkdir(parents=True, exist_ok=True)
    path = out_dir / "checkpoint.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def weights_of(data: Attendances, stop: int) -> dict[str, float]:
    """Return the weight of each change, by ridge regression on the months before `stop`."""
    seen = [changes_of(data, t) for t in range(FIRST + 1, stop)]
    names = list(seen[0])
    x = np.concatenate([np.stack([row[name] for name in names], axis=1) for row in seen])
    rates = np.log(data.counts / data.days)
    y = np.concatenate([rates[:, t] - rates[:, t - 1] for t in range(FIRST + 1, stop)])
    x, y = np.clip(x, -MAX_STEP, MAX_STEP), np.clip(y, -MAX_STEP, MAX_STEP)
    found = np.linalg.solve(x.T @ x + RIDGE * np.eye(len(names)), x.T @ y)
    return dict(zip(names, found.tolist(), strict=True))


def predicted(data: Attendances, t: int, weights: dict[str, float]) -> Array:
    """Return the logarithm of every provider's forecast of month `t` (providers,)."""
    rates = np.log(data.counts / data.days)
    steps = sum(weights[name] * np.clip(value, -MAX_STEP, MAX_STEP) for name, value in changes_of(data, t).items())
    return np.asarray(rates[:, t - 1] + np.log(data.days[t]) + steps, dtype=np.float64)


def changes_of(data: Attendances, t: int) -> dict[str, Array]:
    """Return what is known of each provider before month `t` (providers,), as serving computes it."""
    rates = np.log(data.counts / data.days)
    common = float((rates[:, t - 12] - rates[:, t - 13]).mean())
    rows = [changes(one[:t], common) for one in rates]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def common_steps(data: Attendances, stop: int) -> list[float]:
    """Return the mean change of the logarithm of the daily rate into each calendar month, the latest seen before `stop`."""
    rates = np.log(data.counts / data.days)
    found = dict.fromkeys(range(1, 13), 0.0)
    for t in range(1, stop):
        found[data.months[t][1]] = float((rates[:, t] - rates[:, t - 1]).mean())
    return [found[month] for month in range(1, 13)]


def made_up(seed: int, providers: int = 12) -> Attendances:
    """Make three years of attendances with a yearly wave, for tests and for machines without the data."""
    rng = np.random.default_rng(seed)
    months = tuple((2016 + (3 + t) // 12, (3 + t) % 12 + 1) for t in range(36))
    rates = np.exp(5 + 0.05 * np.sin(np.arange(36) * np.pi / 6) + 0.02 * rng.normal(size=(providers, 36)))
    return Attendances(np.round(rates * Attendances(rates, months).days), months)


def build(recipe: Recipe, checkpoint: Path, root: Path, folder: Path) -> Fields:  # noqa: ARG001
    """Write model.onnx, golden.npz and the trend's numbers into `folder`; return the manifest fields."""
    found = json.loads(checkpoint.read_text("utf-8"))
    model = helper.make_model(
        graph(), ir_version=10, producer_name="diaphane", opset_imports=[helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(folder / "model.onnx"))
    golden = made_departments(recipe.seed)
    np.savez_compressed(
        folder / "golden.npz", input=golden, mean=golden.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32),
        pmf=np.stack([law(row.astype(np.float64)) for row in golden]).astype(np.float32),
    )
    trend = {key: found[key] for key in ("weights", "common_step", "bands", "fitted_until", "providers")}
    (folder / TREND_FILE).write_text(json.dumps(trend, indent=1) + "\n", encoding="utf-8")
    return {
        "graph": {"input": "probabilities", "input_shape": ["outcomes", "present"],
                  "outputs": {"pmf": "pmf", "mean": "mean"}, "opset": OPSET},
        "explains": {"bias": {}}, "refuses": {},
        "counts": {"providers": found["providers"], "months_fitted": found["months_fitted"]},
        "sha256": found["sha256"],
        "report": {"weights": found["weights"], "bands": found["bands"], "quick": found["quick"]},
    }


def graph() -> onnx.GraphProto:
    """Build the graph probabilities (outcomes, present) → pmf (outcomes, present + 1) and mean (outcomes, 1).

    One convolution a patient, in float64: every number is a sum of products of what lies in 0 to 1, so nothing cancels.
    """
    double = TensorProto.DOUBLE
    body = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["p", "axis"], ["yes"]),
            helper.make_node("Sub", ["one", "yes"], ["no"]),
            helper.make_node("Mul", ["before", "no"], ["stay"]),
            helper.make_node("Slice", ["before", "start", "end", "axis"], ["shorter"]),
            helper.make_node("Mul", ["shorter", "yes"], ["move"]),
            helper.make_node("Mul", ["yes", "zero"], ["nobody"]),
            helper.make_node("Concat", ["nobody", "move"], ["moved"], axis=1),
            helper.make_node("Add", ["stay", "moved"], ["after"]),
        ],
        "one_more_patient",
        [helper.make_tensor_value_info("before", double, ["outcomes", "numbers"]),
         helper.make_tensor_value_info("p", double, ["outcomes"])],
        [helper.make_tensor_value_info("after", double, ["outcomes", "numbers"])],
    )
    constants = {
        "axis": np.array([1], np.int64), "start": np.array([0], np.int64), "end": np.array([-1], np.int64),
        "one": np.float64(1), "zero": np.float64(0),
    }
    nodes = [
        helper.make_node("Cast", ["probabilities"], ["precise"], to=double),
        helper.make_node("Transpose", ["precise"], ["by_patient"], perm=[1, 0]),
        helper.make_node("Mul", ["precise", "zero"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros", "axis"], ["none"], keepdims=1),
        helper.make_node("Add", ["none", "one"], ["surely"]),
        helper.make_node("Concat", ["surely", "zeros"], ["nobody_yet"], axis=1),
        helper.make_node("Scan", ["nobody_yet", "by_patient"], ["law"], body=body, num_scan_inputs=1),
        helper.make_node("Cast", ["law"], ["pmf"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["precise", "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["mean"], to=TensorProto.FLOAT),
    ]
    return helper.make_graph(
        nodes, "poisson_binomial",
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["outcomes", "present"])],
        [helper.make_tensor_value_info("pmf", TensorProto.FLOAT, ["outcomes", "numbers"]),
         helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["outcomes", 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def law(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of 0 … n by the discrete Fourier transform (Hong 2013, doi:10.1016/j.csda.2012.10.006).

    Another way than the graph's, so that the golden inputs check the graph and not themselves.
    """
    n = len(p)
    turns = np.exp(2j * np.pi * np.arange(n + 1) / (n + 1))
    spectrum = np.prod(1 - p[None, :] + p[None, :] * turns[:, None], axis=1)
    return np.clip(np.fft.fft(spectrum).real / (n + 1), 0.0, 1.0)


def made_departments(seed: int, present: int = 60) -> NDArray[np.float32]:
    """Make departments of nobody (8, present): few and many, sure and unsure, with zeros where nobody is."""
    rng = np.random.default_rng(seed)
    rows = [rng.beta(a, b, present) for a, b in ((2, 1), (1, 40), (5, 5), (0.3, 0.3))]
    rows += [np.zeros(present), np.ones(present), np.full(present, 0.5), np.r_[rng.beta(2, 1, 5), np.zeros(present - 5)]]
    return np.stack(rows).astype(np.float32)
