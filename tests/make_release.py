"""Make tiny, sound release folders with onnx.helper: one for each task, a few kilobytes, scored in a millisecond.

They keep the contract of the real releases (roles, shapes, explanation, refusal) on rules a reader can check by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from models.manifest import Manifest, sha256_of, write_manifest

Task = Literal["image_classification", "volume_segmentation", "risk"]
SNOMED = "http://snomed.info/sct"
FEATURE_MEANS = (65.0, 85.0, 12.0, 1.2)
FEATURE_WEIGHTS = (0.04, 0.02, -0.25, 0.5)
FEATURE_MISSING = (0.0, 0.1, 0.2, -0.1)
FEATURE_SPREADS = (15.0, 20.0, 4.0, 1.0)


def tiny_release(folder: Path, task: Task, *, version: str = "1.0.0", **changes: Any) -> Path:
    """Write a sound release for a task into ``folder/<name>-<version>`` and return it.

    ``changes`` replace fields of the manifest, for example ``accepts={"modalities": ["DX"]}``.
    """
    graph, golden, fields = {"image_classification": _radiograph, "volume_segmentation": _volume, "risk": _risk}[task]()
    release = folder / f"{fields['name']}-{version}"
    release.mkdir(parents=True)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10, producer_name="diaphane-tests"
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(release / "model.onnx"))
    session = onnxruntime.InferenceSession(str(release / "model.onnx"), providers=["CPUExecutionProvider"])
    roles = fields["graph"]["outputs"]
    arrays = session.run(list(roles.values()), {fields["graph"]["input"]: golden})
    np.savez_compressed(release / "golden.npz", input=golden, **dict(zip(roles, arrays, strict=True)))
    (release / "evaluation.json").write_text('{"note": "a tiny release for tests has no figures"}\n')
    (release / "CARD.md").write_text(f"# {fields['title']}\n\nA tiny release for tests.\n")
    files = {path.name: sha256_of(path) for path in sorted(release.iterdir())}
    write_manifest(
        release, Manifest.model_validate({**_common(), **fields, "version": version, "files": files, **changes})
    )
    return release


def reseal(release: Path) -> None:
    """Write the hashes of the files as they are now into the manifest, as a forger would."""
    path = release / "manifest.json"
    manifest = Manifest.model_validate_json(path.read_bytes())
    files = {p.name: sha256_of(p) for p in sorted(release.iterdir()) if p.name != "manifest.json"}
    write_manifest(release, manifest.model_copy(update={"files": files}))


def _common() -> dict[str, Any]:
    return {
        "licence": "Apache-2.0",
        "contact": "https://example.org/diaphane",
        "summary": "A rule for tests that keeps the contract of a real release.",
        "intended_use": {
            "purpose": "Test the code that runs releases.",
            "users": "Developers",
            "population": "Synthetic inputs",
            "decision_role": "None",
            "must_not": ["Be used on a patient."],
            "limits": ["It learnt nothing."],
            "human_oversight": "Not applicable.",
        },
        "training_data": {
            "name": "none",
            "description": "Nothing was fitted.",
            "period": "2026",
            "licence": "none",
            "citation": "none",
            "counts": {"train": 0},
            "split": "none",
            "sha256": "0" * 64,
            "cautions": ["Written by hand."],
        },
        "provenance": {
            "recipe_sha256": "0" * 64,
            "seed": 0,
            "git_commit": "",
            "versions": {},
            "machine": "",
            "created": "2026-11-21",
        },
    }


def _constant(name: str, value: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype=dtype), name)


def _radiograph() -> tuple[onnx.GraphProto, np.ndarray, dict[str, Any]]:
    """Pneumonia = -2 + twice the mean of what exceeds 190; bacterial = brighter than 118 on average."""
    shape = ["batch", 1, 192, 192]
    nodes = [
        helper.make_node("Sub", ["pixels", "bright"], ["over"]),
        helper.make_node("Relu", ["over"], ["patch"]),
        helper.make_node("Sub", ["pixels", "grey"], ["lightness"]),
        helper.make_node("Concat", ["patch", "lightness"], ["both"], axis=1),
        helper.make_node("AveragePool", ["both"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
        helper.make_node("Mul", ["pooled", "scale"], ["map"]),
        helper.make_node("ReduceMean", ["map", "plane"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["sigma"]),
        helper.make_node("Split", ["sigma"], ["ill", "kind"], axis=1, num_outputs=2),
        helper.make_node("Mul", ["ill", "kind"], ["bacterial"]),
        helper.make_node("Sub", ["ill", "bacterial"], ["viral"]),
        helper.make_node("Concat", ["ill", "bacterial", "viral"], ["probability"], axis=1),
        helper.make_node("ReduceMean", ["pixels", "plane"], ["average"], keepdims=0),
        helper.make_node("Sub", ["average", "grey"], ["off"]),
        helper.make_node("Abs", ["off"], ["brightness"]),
        helper.make_node("Slice", ["pixels", "one", "end", "last"], ["right"]),
        helper.make_node("Slice", ["pixels", "zero", "minus", "last"], ["left"]),
        helper.make_node("Sub", ["right", "left"], ["step"]),
        helper.make_node("Abs", ["step"], ["jump"]),
        helper.make_node("ReduceMean", ["jump", "plane"], ["roughness"], keepdims=0),
        helper.make_node("Concat", ["brightness", "roughness"], ["ood"], axis=1),
    ]
    constants = [
        _constant("bright", 190),
        _constant("grey", 118),
        _constant("scale", np.reshape([2.0, 0.05], (1, 2, 1, 1))),
        _constant("bias", [-2.0, 0.1]),
        _constant("plane", [2, 3], np.int64),
        _constant("one", [1], np.int64),
        _constant("zero", [0], np.int64),
        _constant("end", [10000], np.int64),
        _constant("minus", [-1], np.int64),
        _constant("last", [3], np.int64),
    ]
    outputs = {"probability": ["batch", 3], "logit": ["batch", 2], "map": ["batch", 2, 12, 12], "ood": ["batch", 2]}
    graph = _graph(nodes, "pixels", shape, outputs, constants)
    golden = np.stack([np.full((1, 192, 192), 110.0), np.linspace(20, 250, 192 * 192).reshape(1, 192, 192)])
    fields = {
        "name": "tiny_chest",
        "title": "Tiny chest rule",
        "title_fr": "Règle thoracique minimale",
        "task": "image_classification",
        "accepts": {
            "modalities": ["DX", "CR"],
            "body_parts": ["CHEST", "THORAX"],
            "views": ["AP"],
            "age_years": {"low": 0, "high": 15},
            "min_rows": 96,
            "min_columns": 96,
        },
        "steps": [{"name": "squash", "params": {"rows": 192, "columns": 192}}],
        "graph": _roles("pixels", shape, outputs),
        "outputs": [
            _output("pneumonia", "Pneumonia", "Pneumonie", "233604007", 0, threshold=0.5, map_index=0),
            _output("bacterial", "Bacterial", "Bactérienne", "53084003", 1, map_index=1, shown_only_if="pneumonia"),
            _output("viral", "Viral", "Virale", "75570004", 2, map_index=1, shown_only_if="pneumonia"),
        ],
        "refuses": {
            "ood": [
                {"name": "brightness", "limit": 60.0, "meaning": "Too dark or too bright on the whole."},
                {"name": "roughness", "limit": 20.0, "meaning": "Neighbouring pixels differ too much."},
            ],
            "min_spread": 4.0,
            "max_clipped_share": 0.7,
        },
        "explains": {
            "method": "class_activation_map",
            "baseline": "a map of zeros",
            "completeness_tolerance": 1e-4,
            "stride_px": 16.0,
            "offset_px": [7.5, 7.5],
            "offset_reason": "an average of 16 x 16 pixels",
            "upsampling": "bicubic",
            "bias": {"0": -2.0, "1": 0.1},
            "note": "The zones that weighed most; they do not outline a lesion.",
            "note_fr": "Zones ayant le plus contribué au score ; ne délimitent pas la lésion.",
        },
    }
    return graph, golden.astype(np.float32), fields


def _volume() -> tuple[onnx.GraphProto, np.ndarray, dict[str, Any]]:
    """A voxel belongs to the nearest of 40 (background), 200 (anterior) and 120 (posterior)."""
    shape = ["batch", 1, "z", "y", "x"]
    nodes = [
        helper.make_node("Sub", ["voxels", "centres"], ["distance"]),
        helper.make_node("Mul", ["distance", "distance"], ["square"]),
        helper.make_node("Mul", ["square", "sharpness"], ["score"]),
        helper.make_node("Softmax", ["score"], ["class_probability"], axis=1),
        helper.make_node("ArgMax", ["class_probability"], ["winner"], axis=1, keepdims=0),
        helper.make_node("Cast", ["winner"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Equal", ["winner", "first"], ["is_first"]),
        helper.make_node("Equal", ["winner", "second"], ["is_second"]),
        helper.make_node("Cast", ["is_first"], ["first_f"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["is_second"], ["second_f"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["first_f", "space"], ["n_first"], keepdims=0),
        helper.make_node("ReduceSum", ["second_f", "space"], ["n_second"], keepdims=0),
        helper.make_node("Unsqueeze", ["n_first", "one"], ["c_first"]),
        helper.make_node("Unsqueeze", ["n_second", "one"], ["c_second"]),
        helper.make_node("Concat", ["c_first", "c_second"], ["counts"], axis=1),
        helper.make_node("Mul", ["counts", "milli"], ["volume_ml"]),
        helper.make_node("Max", ["voxels", "zero"], ["positive"]),
        helper.make_node("ReduceMean", ["positive", "all"], ["ood"], keepdims=0),
    ]
    constants = [
        _constant("centres", np.reshape([40.0, 200.0, 120.0], (1, 3, 1, 1, 1))),
        _constant("sharpness", -0.01),
        _constant("first", 1, np.int64),
        _constant("second", 2, np.int64),
        _constant("space", [1, 2, 3], np.int64),
        _constant("one", [1], np.int64),
        _constant("milli", 0.001),
        _constant("zero", 0.0),
        _constant("all", [2, 3, 4], np.int64),
    ]
    outputs: dict[str, list[int | str]] = {
        "labels": ["batch", "z", "y", "x"],
        "class_probability": ["batch", 3, "z", "y", "x"],
        "volume_ml": ["batch", 2],
        "ood": ["batch", 1],
    }
    graph = _graph(nodes, "voxels", shape, outputs, constants)
    golden = np.full((2, 1, 16, 24, 24), 40.0)
    golden[:, 0, 4:8, 4:12, 5:15] = 200
    golden[1, 0, 8:12, 4:12, 5:15] = 120
    fields = {
        "name": "tiny_volume",
        "title": "Tiny volume rule",
        "title_fr": "Règle volumique minimale",
        "task": "volume_segmentation",
        "accepts": {
            "modalities": ["MR"],
            "slices": {"low": 4, "high": 256},
            "spacing_mm": {"low": 0.4, "high": 2.0},
            "extent_mm": {"low": 8, "high": 120},
            "age_years": {"low": 18},
        },
        "steps": [
            {"name": "reorient", "params": {"axes": "LPS"}},
            {"name": "resample", "params": {"spacing_mm": [1.0, 1.0, 1.0]}},
            {"name": "pad_to_multiple", "params": {"of": 8}},
        ],
        "graph": _roles("voxels", shape, outputs),
        "outputs": [
            _output("anterior", "Anterior part", "Partie antérieure", "113289008", 0, kind="volume", unit="mL"),
            _output("posterior", "Posterior part", "Partie postérieure", "113289009", 1, kind="volume", unit="mL"),
        ],
        "refuses": {
            "ood": [{"name": "intensity", "limit": 100.0, "meaning": "Brighter on average than any MR crop."}],
            "min_spread": 1.0,
        },
        "explains": {
            "method": "segmentation",
            "baseline": "no voxel",
            "completeness_tolerance": 1e-5,
            "note": "The volume is the sum of the voxels drawn.",
            "note_fr": "Le volume est la somme des voxels tracés.",
        },
    }
    return graph, golden.astype(np.float32), fields


def _risk() -> tuple[onnx.GraphProto, np.ndarray, dict[str, Any]]:
    """logit = -2 + sum of weight x (value - mean); a missing value adds its own constant."""
    shape = ["batch", 4]
    nodes = [
        helper.make_node("IsNaN", ["features"], ["missing"]),
        helper.make_node("Sub", ["features", "means"], ["centred"]),
        helper.make_node("Mul", ["centred", "weights"], ["slope"]),
        helper.make_node("Where", ["missing", "levels", "slope"], ["mains"]),
        helper.make_node("Where", ["missing", "zero", "centred"], ["known"]),
        helper.make_node("Gather", ["known", "first"], ["a"], axis=1),
        helper.make_node("Gather", ["known", "third"], ["b"], axis=1),
        helper.make_node("Mul", ["a", "b"], ["product"]),
        helper.make_node("Mul", ["product", "tiny"], ["pair"]),
        helper.make_node("Concat", ["mains", "pair"], ["contributions"], axis=1),
        helper.make_node("ReduceSum", ["contributions", "axis"], ["total"], keepdims=1),
        helper.make_node("Add", ["total", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
        helper.make_node("Div", ["known", "spreads"], ["z"]),
        helper.make_node("Mul", ["z", "z"], ["zz"]),
        helper.make_node("ReduceMean", ["zz", "axis"], ["ood"], keepdims=1),
    ]
    constants = [
        _constant("means", [FEATURE_MEANS]),
        _constant("weights", [FEATURE_WEIGHTS]),
        _constant("levels", [FEATURE_MISSING]),
        _constant("zero", 0.0),
        _constant("first", [0], np.int64),
        _constant("third", [2], np.int64),
        _constant("tiny", 0.001),
        _constant("axis", [1], np.int64),
        _constant("bias", [-2.0]),
        _constant("spreads", [FEATURE_SPREADS]),
    ]
    outputs = {"probability": ["batch", 1], "logit": ["batch", 1], "contributions": ["batch", 5], "ood": ["batch", 1]}
    graph = _graph(nodes, "features", shape, outputs, constants)
    golden = np.array([FEATURE_MEANS, [80, 120, 6, 3.0], [np.nan, 90, np.nan, 0.8]], dtype=np.float32)
    names = ("age", "heart_rate_last", "gcs_lowest", "creatinine_last")
    fields = {
        "name": "tiny_risk",
        "title": "Tiny risk rule",
        "title_fr": "Règle de risque minimale",
        "task": "risk",
        "accepts": {"age_years": {"low": 16}},
        "features": [
            _feature("age", "static", "age_years", "Age", "Âge", "a"),
            _feature(
                "heart_rate_last",
                "last",
                "HR",
                "Heart rate, last",
                "Fréquence cardiaque, dernière",
                "/min",
                reference={"low": 60, "high": 100},
            ),
            _feature(
                "gcs_lowest",
                "lowest",
                "GCS",
                "Glasgow score, lowest",
                "Glasgow, minimum",
                "{score}",
                reference={"low": 15, "high": 15},
            ),
            _feature(
                "creatinine_last",
                "last",
                "Creatinine",
                "Creatinine, last",
                "Créatinine, dernière",
                "mg/dL",
                reference={"low": 0.6, "high": 1.2},
            ),
        ],
        "terms": [{"name": name, "features": [name]} for name in names]
        + [{"name": "age x gcs_lowest", "features": ["age", "gcs_lowest"]}],
        "moment_h": 48.0,
        "graph": _roles("features", shape, outputs),
        "outputs": [_output("death", "In-hospital death", "Décès à l'hôpital", "419099009", 0, threshold=0.3)],
        "refuses": {
            "ood": [{"name": "distance", "limit": 12.0, "meaning": "Values far from any seen before."}],
            "min_measured": 2,
            "core_codes": ["HR", "GCS", "Creatinine"],
        },
        "explains": {
            "method": "additive_contributions",
            "baseline": "the mean of each feature",
            "completeness_tolerance": 1e-4,
            "bias": {"0": -2.0},
            "note": "Each part is exact; together they are the score.",
            "note_fr": "Chaque part est exacte ; leur somme est le score.",
        },
    }
    return graph, golden, fields


def _graph(
    nodes: list[onnx.NodeProto], name: str, shape: list[Any], outputs: dict[str, Any], constants: list[onnx.TensorProto]
) -> onnx.GraphProto:
    ends = [
        helper.make_tensor_value_info(role, TensorProto.UINT8 if role == "labels" else TensorProto.FLOAT, dims)
        for role, dims in outputs.items()
    ]
    start = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)]
    return helper.make_graph(nodes, "tiny", start, ends, constants)


def _roles(name: str, shape: list[Any], outputs: dict[str, Any]) -> dict[str, Any]:
    return {"input": name, "input_shape": shape, "outputs": {role: role for role in outputs}, "opset": 20}


def _output(
    name: str,
    label: str,
    label_fr: str,
    code: str,
    index: int,
    *,
    kind: str = "probability",
    unit: str = "1",
    **more: Any,
) -> dict[str, Any]:
    coded = {"system": SNOMED, "code": code, "display": label}
    return {
        "name": name,
        "label": label,
        "label_fr": label_fr,
        "code": coded,
        "kind": kind,
        "unit": unit,
        "index": index,
        **more,
    }


def _feature(name: str, function: str, code: str, *labels: str, **more: Any) -> dict[str, Any]:
    label, label_fr, unit = labels
    return {
        "name": name,
        "function": function,
        "params": {"code": code},
        "label": label,
        "label_fr": label_fr,
        "unit": unit,
        **more,
    }
