"""A release that is not sound is refused with its cause, before anything in it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from models.errors import BrokenModel
from models.manifest import SCHEMA_PATH, Manifest, read_manifest, write_manifest, write_schema
from models.release import read_release
from tests.make import tiny_release
from tests.make_release import reseal


def edited(folder: Path, **changes: object) -> Path:
    """Change fields of manifest.json as text, past the checks of our own writer."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **changes}))
    return folder


def add(path: Path, data: bytes = b"x") -> None:
    path.write_bytes(data)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "needs manifest.json"),
    "no card": (lambda f: (f / "CARD.md").unlink(), "needs CARD.md, found none"),
    "no evaluation": (lambda f: (f / "evaluation.json").unlink(), "needs evaluation.json"),
    "changed card": (lambda f: add(f / "CARD.md", b"better"), "CARD.md must have sha256"),
    "changed graph": (lambda f: add(f / "model.onnx", b"another"), "model.onnx must have sha256"),
    "a pickle beside it": (lambda f: add(f / "model.pkl"), "'model.pkl' is not in the manifest"),
    "a renamed folder": (lambda f: edited(f, version="1.0.1"), "the folder must be named tiny_chest-1.0.1"),
    "a text for a number": (lambda f: edited(f, schema_version="2"), "manifest.json is not valid at schema_version"),
    "an unknown field": (lambda f: edited(f, trust_me=True), "not valid at trust_me"),
    "not JSON": (lambda f: add(f / "manifest.json", b"{"), "manifest.json is not valid at the file"),
    "an unknown step": (
        lambda f: edited(f, steps=[{"name": "sharpen", "params": {}}]),
        "unknown step 'sharpen'; known: squash",
    ),
    "a step's wrong parameter": (
        lambda f: edited(f, steps=[{"name": "squash", "params": {"rows": 4}}]),
        "step squash does not take the parameters",
    ),
    "a listed file that is absent": (
        lambda f: edited(f, files={**read_manifest(f).files, "extra.json": "0" * 64}),
        "lists extra.json, found none",
    ),
    "a path that leaves the folder": (
        lambda f: edited(f, files={**read_manifest(f).files, "../evil.json": "0" * 64}),
        "files must be plain",
    ),
    "a file without a hash": (
        lambda f: edited(f, files={k: v for k, v in read_manifest(f).files.items() if k != "golden.npz"}),
        "must state the sha256 of golden.npz",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    damage, cause = DAMAGE[case]
    folder = tiny_release(tmp_path, "image_classification")
    damage(folder)
    with pytest.raises(BrokenModel) as caught:
        read_release(folder)
    assert cause in str(caught.value)
    assert "tiny_chest" in str(caught.value)


def test_a_sound_release_is_returned(tmp_path: Path) -> None:
    assert [
        read_release(tiny_release(tmp_path, task)).task
        for task in ("image_classification", "volume_segmentation", "risk")
    ] == ["image_classification", "volume_segmentation", "risk"]


def test_a_pickle_in_the_manifest_is_refused_by_kind(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    add(folder / "weights.pkl")
    reseal(folder)
    with pytest.raises(BrokenModel, match=r"plain \.onnx, \.npz, \.json, \.md files, found 'weights\.pkl'"):
        read_release(folder)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    (tmp_path / "elsewhere.md").write_text((folder / "CARD.md").read_text())
    (folder / "CARD.md").unlink()
    (folder / "CARD.md").symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(BrokenModel, match=r"plain .* files, found 'CARD\.md'"):
        read_release(folder)


def test_an_unknown_feature_function_is_named(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    features = [{**f.model_dump(mode="json"), "function": "guess"} for f in read_manifest(folder).features]
    with pytest.raises(BrokenModel, match="feature age needs unknown function 'guess'; known: "):
        read_release(edited(folder, features=features))


@pytest.mark.parametrize(
    ("task", "changes", "cause"),
    [
        ("image_classification", {"outputs": "shown_only_if"}, "depends on 'nothing', which is no output"),
        ("image_classification", {"outputs": "map_index"}, "needs explains.bias['7']"),
        (
            "image_classification",
            {"graph": {"outputs": {"logit": "logit"}}},
            "needs the roles ['probability', 'map', 'ood']",
        ),
        ("image_classification", {"explains": {"stride_px": None}}, "needs explains.stride_px and offset_px"),
        ("risk", {"explains": {"bias": {}}}, "needs explains.bias['0']"),
        ("risk", {"terms": [{"name": "t", "features": ["none"]}]}, "term t uses features that do not exist"),
    ],
)
def test_names_that_point_nowhere_are_named(tmp_path: Path, task: str, changes: dict[str, object], cause: str) -> None:
    folder = tiny_release(tmp_path, task)
    manifest = json.loads((folder / "manifest.json").read_text())
    for field, change in changes.items():
        if change == "shown_only_if":
            manifest["outputs"][1]["shown_only_if"] = "nothing"
        elif change == "map_index":
            manifest["outputs"][0]["map_index"] = 7
        elif isinstance(change, dict):
            manifest[field].update(change)
        else:
            manifest[field] = change
    with pytest.raises(BrokenModel) as caught:
        read_release(edited(folder, **manifest))
    assert cause in str(caught.value)


def test_a_graph_that_keeps_weights_in_another_file_is_refused(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "image_classification")
    model = onnx.load(str(folder / "model.onnx"))
    onnx.external_data_helper.convert_model_to_external_data(model, location="../outside.bin", size_threshold=0)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    reseal(folder)
    with pytest.raises(BrokenModel, match="must hold all its weights, found a tensor kept in another file"):
        read_release(folder)


def test_a_manifest_survives_writing_and_reading(tmp_path: Path) -> None:
    folder = tiny_release(tmp_path, "risk")
    manifest = read_manifest(folder)
    write_manifest(folder, manifest)
    assert read_manifest(folder) == manifest
    assert manifest.output("death").code.code == "419099009"
    with pytest.raises(StopIteration):
        manifest.output("nothing")


def test_the_published_schema_is_current(tmp_path: Path) -> None:
    """If this fails: python -c "from models.manifest import write_schema; write_schema()"."""
    write_schema(tmp_path / "schema.json")
    assert SCHEMA_PATH.read_text("utf-8") == (tmp_path / "schema.json").read_text("utf-8")


def test_a_manifest_is_valid_by_the_published_schema(tmp_path: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA_PATH.read_text("utf-8"))
    manifest = json.loads((tiny_release(tmp_path, "risk") / "manifest.json").read_text("utf-8"))
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(manifest)) == []
    assert isinstance(Manifest.model_validate(manifest), Manifest)


def test_an_array_of_objects_is_no_golden_input(tmp_path: Path) -> None:
    """numpy stores objects as pickles; loading one would run code."""
    from models.golden import read_golden

    folder = tiny_release(tmp_path, "risk")
    np.savez(folder / "golden.npz", input=np.array([{"run": "code"}], dtype=object))
    with pytest.raises(BrokenModel, match=r"golden\.npz must be a plain archive of arrays"):
        read_golden(folder)
