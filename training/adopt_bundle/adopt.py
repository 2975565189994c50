"""Adopt a bundle: its config becomes steps and a window, its network a graph, and what nobody knows of it is written down."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.check import check
from models.describe import describe
from models.errors import BrokenModel
from models.manifest import Manifest, read_manifest
from training.adopt_bundle.after import region_of, window_of
from training.adopt_bundle.before import steps_before
from training.adopt_bundle.bundle import Bundle, opened
from training.adopt_bundle.config import target_of
from training.adopt_bundle.description import UNKNOWN, Description, Told, completed, labels_of
from training.adopt_bundle.network import INPUT, SCORES, WindowGraph, golden_windows, network_of, scores_of, write_graph
from training.export import AGREEMENT, OPSET
from training.provenance import commit, machine, versions
from training.release import seal

BEFORE_NAMES = ("preprocessing", "pre_transforms", "transform")
AFTER_NAMES = ("postprocessing", "post_transforms")
NOT_EVALUATED = "Not evaluated here. Commission it on the hospital's own cases before anybody relies on it."
ALWAYS_UNKNOWN = (
    "how well it does: no figure of its makers was checked, and none was measured here",
    "whether it does equally well by sex, age, scanner and hospital",
    "when an image is unlike those it learnt from: it has no limit beyond which it declines",
    "which of its training patients, if any, are among yours",
)


@dataclass(frozen=True)
class Adopted:
    """The new folder, what became of each transform of the bundle, what is not known, and the largest torch - ONNX gap."""

    folder: Path
    became: list[tuple[str, str]]
    gaps: list[str]
    worst: float


def adopt(source: Path, description: Description, shelf: Path) -> Adopted:
    """Write ``shelf/<name>-<version>`` from a bundle and return what became of it.

    Raises BrokenModel for a bundle that cannot be taken over with the same numbers, naming what stands in the way, and
    FileExistsError when that version is there.
    """
    with opened(source) as bundle, tempfile.TemporaryDirectory(prefix="adopt-") as staging:
        told, gaps = completed(description, bundle)
        target = shelf / f"{told.name}-{told.version}"
        if target.exists():
            raise FileExistsError(f"{target} exists and releases never change. Give another version in the description.")
        folder = Path(staging) / target.name
        folder.mkdir()
        before = _entry(bundle, BEFORE_NAMES)
        steps, became = steps_before(_listed(before), orientation=told.orientation)
        inferer = bundle.config.at("inferer") if "inferer" in bundle.config else None
        region = region_of(inferer, steps)
        component = bundle.config.at("network_def" if "network_def" in bundle.config else "network")
        net = network_of(component, bundle.weights)
        classes = scores_of(WindowGraph(net).eval(), golden_windows(region, 1)).shape[1]
        window, after = window_of(inferer, _listed(_entry(bundle, AFTER_NAMES)), before, steps, classes)
        labels = labels_of(told, bundle, classes)
        worst = write_graph(net, window.roi, folder)
        fields = _fields(told, labels, bundle) | {
            "steps": steps,
            "graph": {"input": INPUT, "input_shape": ["batch", 1, *window.roi], "outputs": {SCORES: SCORES}, "opset": OPSET,
                      "window": window},
        }
        done = Adopted(target, [*became, *after], [*ALWAYS_UNKNOWN, *gaps], worst)
        _finish(folder, Manifest.model_validate(fields), bundle, target_of(component), done)
        check(folder)
        shelf.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, target)
        return done


def _entry(bundle: Bundle, names: tuple[str, ...]) -> Any:
    found = next((name for name in names if name in bundle.config), None)
    if found is None:
        raise BrokenModel(f"The bundle's inference config must have the entry {names[0]}, found none.")
    return bundle.config.at(found)


def _listed(component: Any) -> list[Any]:
    """Return the transforms of a Compose, or of a plain list; those inside another Compose in their place."""
    if isinstance(component, dict) and str(component.get("_target_", "")).rsplit(".", 1)[-1] == "Compose":
        component = component.get("transforms", [])
    if not isinstance(component, list):
        component = [component]
    flat: list[Any] = []
    for one in component:
        inner = isinstance(one, list) or (isinstance(one, dict) and str(one.get("_target_", "")).endswith("Compose"))
        flat += _listed(one) if inner else [one]
    return flat


def _fields(told: Description, labels: list[Told], bundle: Bundle) -> dict[str, Any]:
    """Return the fields of the manifest that words make, not numbers."""
    return {
        "name": told.name, "version": told.version, "title": told.title, "title_fr": told.title_fr, "task": "volume_segmentation",
        "summary": told.summary, "licence": told.licence, "contact": told.contact,
        "accepts": {"modalities": [told.modality], "body_parts": told.body_parts, "age_years": told.age_years, "slices": {"low": 2}},
        "outputs": [{
            "name": one.name, "label": f"{one.text} volume", "label_fr": f"Volume ({one.text_fr})", "code": one.code,
            "kind": "volume", "unit": "mL", "index": one.label - 1,
        } for one in labels],
        "explains": {
            "method": "segmentation", "completeness_tolerance": 1e-4,
            "baseline": "none: the outline is the explanation, and the volume is the count of its voxels",
            "note": "The contour is what was measured: each volume is the number of voxels inside it. Check the contour before "
                    "using the volume.",
            "note_fr": "Le contour est ce qui a été mesuré : chaque volume est le nombre de voxels qu'il contient. Vérifiez le "
                       "contour avant d'utiliser le volume.",
            "known_limits": ["Adopted from a MONAI Bundle; how well it outlines here is not known."],
        },
        "intended_use": {
            "purpose": told.purpose, "users": told.users, "population": told.population, "decision_role": "Informs. It measures.",
            "must_not": told.must_not or ["Do not use on a patient before it is commissioned here and signed off."],
            "limits": [NOT_EVALUATED, *told.limits],
            "human_oversight": "The reader looks at the contour on every slice and may reject it; a volume without a checked contour "
                               "is not a result.",
        },
        "training_data": {
            "name": UNKNOWN if told.training_data == UNKNOWN else "As its makers tell", "description": told.training_data,
            "period": UNKNOWN, "licence": told.training_data_licence, "citation": told.citation, "counts": {}, "split": UNKNOWN,
            "sha256": UNKNOWN, "cautions": ["Told by others, checked by nobody here."],
        },
        "provenance": {
            "recipe_sha256": bundle.sha256, "seed": 0, "git_commit": commit(), "versions": versions(), "machine": machine(),
            "created": datetime.now(UTC).date().isoformat(),
        },
        "files": {},
    }


def _finish(folder: Path, manifest: Manifest, bundle: Bundle, architecture: str, done: Adopted) -> None:
    """Write evaluation.json, the card and the hashes."""
    seal(folder, manifest)  # the card quotes the hash of the graph
    figures = {
        "status": "not evaluated", "model": manifest.id, "onnx_sha256": read_manifest(folder).files["model.onnx"],
        "created": manifest.provenance.created, "said": NOT_EVALUATED,
        "adopted": {
            "kind": "MONAI Bundle", "architecture": architecture, "bundle": bundle.told("name") or UNKNOWN,
            "version": bundle.told("version") or UNKNOWN, "monai": bundle.told("monai_version") or UNKNOWN, "sha256": bundle.sha256,
            "became": [list(pair) for pair in done.became],
        },
        "checks": [{"name": "class scores: torch against the released graph", "value": done.worst, "allowed": AGREEMENT}],
        "unknown": done.gaps,
    }
    (folder / "evaluation.json").write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True,  # noqa: S701
                              lstrip_blocks=True, keep_trailing_newline=True)  # Markdown, not HTML
    sealed = read_manifest(folder)
    text = environment.get_template("card.md.j2").render(
        m=sealed, described=describe(sealed).strip(), e=figures,
    )
    (folder / "CARD.md").write_text(text, encoding="utf-8")
    seal(folder, manifest)
