"""Open a release folder and say whether it may be loaded: files, hashes, names. Nothing is run here.

No file of a release is ever unpickled: the graph is ONNX without external data, arrays are read without pickle.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from models.errors import BrokenModel
from models.features import FEATURES
from models.manifest import Manifest, read_manifest, sha256_of
from models.onnx_file import check_self_contained
from models.steps import STEPS

REQUIRED = ("model.onnx", "golden.npz", "evaluation.json", "CARD.md")
ALLOWED_SUFFIXES = (".onnx", ".npz", ".json", ".md")
ROLES = {
    "image_classification": ("probability", "logit", "map"),
    "volume_segmentation": ("labels", "class_probability", "volume_ml"),
    "risk": ("logit", "contributions"),
    "department": (),
}
FIGURES = {"probability": "probability", "quantity": "quantity", "volume": "volume_ml"}  # kind of output → its role


def read_release(folder: Path) -> Manifest:
    """Return the manifest of a release that is sound on paper.

    Raises BrokenModel, naming the cause, unless all of this holds:

    - manifest.json is valid and its id is the folder's name;
    - model.onnx, golden.npz, evaluation.json and CARD.md are there, and nothing the manifest does not list;
    - every file is a plain file of an allowed kind and has the sha256 the manifest states;
    - every step and feature is known and takes the parameters given;
    - the graph names the roles its task needs, outputs and terms point at things that exist;
    - no ONNX file keeps weights in another file.
    """
    manifest = read_manifest(folder)
    if manifest.id != folder.name:
        raise BrokenModel(f"{folder.name}: the folder must be named {manifest.id}, as its manifest says.")
    _check_files(folder, manifest)
    _check_names(folder.name, manifest)
    _check_references(folder.name, manifest)
    for name in manifest.files:
        if name.endswith(".onnx"):
            check_self_contained(folder / name, release=folder.name)
    return manifest


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name in REQUIRED:
        if not (folder / name).is_file():
            raise BrokenModel(f"{folder.name}: a release needs {name}, found none.")
        if name not in manifest.files:
            raise BrokenModel(f"{folder.name}: the manifest must state the sha256 of {name}, found none.")
    for path in sorted(folder.iterdir()):
        if path.name != "manifest.json" and path.name not in manifest.files:
            raise BrokenModel(f"{folder.name}: {path.name!r} is not in the manifest. Remove it or release again.")
    for name, stated in manifest.files.items():
        path = folder / name
        if Path(name).name != name or path.is_symlink() or path.suffix not in ALLOWED_SUFFIXES:
            raise BrokenModel(
                f"{folder.name}: files must be plain {', '.join(ALLOWED_SUFFIXES)} files, found {name!r}."
            )
        if not path.is_file():
            raise BrokenModel(f"{folder.name}: the manifest lists {name}, found none.")
        found = sha256_of(path)
        if found != stated:
            raise BrokenModel(
                f"{folder.name}: {name} must have sha256 {stated[:12]}…, found {found[:12]}…. "
                "The file changed after the release; fetch the release again."
            )


def _check_window(release: str, manifest: Manifest) -> None:
    window = manifest.graph.window
    if window is None:
        return
    if manifest.task != "volume_segmentation" or manifest.refuses.ood:
        raise BrokenModel(f"{release}: a window needs a volume_segmentation without out-of-distribution scores.")
    if min(window.roi) < 1 or manifest.graph.input_shape[1:] != [1, *window.roi]:
        raise BrokenModel(f"{release}: a window of {list(window.roi)} needs an input of that size, "
                          f"found {manifest.graph.input_shape}.")
    if not all(0 <= share < 1 for share in window.overlap):
        raise BrokenModel(f"{release}: windows may overlap by 0 up to but not including 1, found {list(window.overlap)}.")


def _check_names(release: str, manifest: Manifest) -> None:
    for step in manifest.steps:
        if step.name not in STEPS:
            raise BrokenModel(f"{release}: unknown step {step.name!r}; known: {', '.join(STEPS)}.")
        _check_parameters(f"{release}: step {step.name}", STEPS[step.name], step.params)
    for feature in manifest.features:
        if feature.function not in FEATURES:
            raise BrokenModel(
                f"{release}: feature {feature.name} needs unknown function {feature.function!r}; "
                f"known: {', '.join(FEATURES)}."
            )
        _check_parameters(f"{release}: feature {feature.name}", FEATURES[feature.function], feature.params)


def _check_parameters(what: str, function: Any, params: dict[str, Any]) -> None:
    try:
        inspect.signature(function).bind(None, **params)
    except TypeError as error:
        raise BrokenModel(f"{what} does not take the parameters {sorted(params)}: {error}.") from error


def _check_references(release: str, manifest: Manifest) -> None:
    needed = ROLES[manifest.task] if manifest.graph.window is None else ("class_scores",)
    missing = [role for role in needed if role not in manifest.graph.outputs]
    if manifest.task == "risk":
        missing += sorted({FIGURES[output.kind] for output in manifest.outputs} - manifest.graph.outputs.keys())
    if manifest.refuses.ood and "ood" not in manifest.graph.outputs:
        missing.append("ood")
    if missing:
        raise BrokenModel(f"{release}: a {manifest.task} graph needs the roles {missing}, found none.")
    _check_window(release, manifest)
    names = {output.name for output in manifest.outputs}
    for output in manifest.outputs:
        if output.shown_only_if is not None and output.shown_only_if not in names:
            raise BrokenModel(f"{release}: {output.name} depends on {output.shown_only_if!r}, which is no output.")
        if output.map_index is not None and str(output.map_index) not in manifest.explains.bias:
            raise BrokenModel(f"{release}: {output.name} needs explains.bias[{str(output.map_index)!r}], found none.")
    features = {feature.name for feature in manifest.features}
    for term in manifest.terms:
        if term.output and term.output not in names:
            raise BrokenModel(f"{release}: term {term.name} is a part of {term.output!r}, which is no output.")
        if not features.issuperset(term.features):
            raise BrokenModel(f"{release}: term {term.name} uses features that do not exist: {term.features}.")
    if manifest.task == "risk" and "0" not in manifest.explains.bias:
        raise BrokenModel(f"{release}: a risk model needs explains.bias['0'], found none.")
    if manifest.task == "image_classification" and None in (manifest.explains.stride_px, manifest.explains.offset_px):
        raise BrokenModel(f"{release}: a class activation map needs explains.stride_px and offset_px, found none.")
