"""Make a release folder: build, describe, evaluate through models.Model, write the card, hash, check, move into place.

The folder appears in ``models/released`` only when it is whole and sound and no group of people lies further behind the
others than is tolerated (training/proof.py); an older release is never changed.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

from rich.console import Console

from models.check import check
from models.errors import UnusableInput
from models.manifest import Manifest, read_manifest, sha256_of, write_manifest
from models.model import Model
from models.reference import write_reference
from training.build import Fields
from training.card import write_card
from training.evaluate import evaluate, plain, write_evaluation
from training.prediction_sets import Aim, for_manifest
from training.proof import proof_of, refuse
from training.provenance import provenance
from training.recipe import Recipe
from training.reference import make_reference
from training.split_scores import scores_of
from training.tasks import TASKS


def release(recipe: Recipe, checkpoint: Path, root: Path, shelf: Path, *, report: Path | None = None) -> Path:
    """Release ``checkpoint`` as ``shelf/<name>-<version>`` and return the folder.

    Raises FileExistsError when that version is there (raise the version in the recipe instead), ValueError for a
    checkpoint of ``--quick``, BrokenModel when the result is not sound, and GapBeyondTolerance when a subgroup has a gap that
    nobody answers for; the figures that say so stay in ``report``'s folder as fairness.json.
    """
    target = shelf / f"{recipe.name}-{recipe.version}"
    if target.exists():
        raise FileExistsError(f"{target} exists and releases never change. Raise the version in the recipe.")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="release-") as staging:
        folder = Path(staging) / target.name
        folder.mkdir()
        console.print(f"[bold]{target.name}[/bold]: building the graph")
        fields = TASKS[recipe.task].build(recipe, checkpoint, root, folder)
        if fields["report"].get("quick"):
            raise ValueError(f"{checkpoint} is a toy made with --quick. Fit again without it.")
        console.print(json.dumps(fields["report"], indent=1))
        (folder / "evaluation.json").write_text("{}\n", encoding="utf-8")
        (folder / "CARD.md").write_text("Not yet evaluated.\n", encoding="utf-8")
        seal(folder, manifest_of(recipe, fields))
        with_sets(folder, recipe, root)
        console.print("[bold]subgroups[/bold]")
        proof = proof_of(folder, root, recipe=recipe)
        if report is not None:
            report.parent.mkdir(parents=True, exist_ok=True)
            write_evaluation(report.with_name("fairness.json"), proof)
        refuse(proof)
        with_reference(folder, root)
        assess(folder, root, recipe=recipe, report=report, proof=proof)
        shelf.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, target)
    console.print(f"released {target}")
    return target


def with_reference(folder: Path, root: Path) -> bool:
    """Put reference.json into a folder and seal it again: what drift is measured against until the site has commissioned it.

    False where a release has no inputs of its own to watch.
    """
    try:
        made = make_reference(Model(folder), root)
    except UnusableInput:
        return False
    write_reference(folder / "reference.json", made)
    seal(folder, read_manifest(folder))
    return True


def assess(
    folder: Path, root: Path, *, recipe: Recipe | None = None, report: Path | None = None, proof: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Evaluate a folder as it stands, write evaluation.json and CARD.md into it, seal it again and check it.

    ``proof``: gaps and coverage by subgroup, kept with the evaluation and told on the card.
    """
    figures = evaluate(folder, root, recipe=recipe, report=report)
    if proof is not None:
        figures["fairness"] = plain(proof)
    write_evaluation(folder / "evaluation.json", figures)
    manifest = read_manifest(folder)
    write_card(folder, manifest, figures)
    seal(folder, manifest)
    check(folder)
    return figures


def with_sets(folder: Path, recipe: Recipe, root: Path) -> None:
    """Put the limits of prediction sets into the manifest where the recipe asks for them, from the validation split."""
    if "prediction_sets" not in recipe.raw:
        return
    aim, model = Aim.of(recipe.raw["prediction_sets"]), Model(folder)
    limits = {one.output: for_manifest(one, aim) for one in scores_of(model, recipe, root, "val") if not one.figures}
    seal(folder, read_manifest(folder).model_copy(update={"prediction_sets": limits}))


def manifest_of(recipe: Recipe, fields: Fields) -> Manifest:
    """Join what the recipe states and what building found. Hashes are added by ``seal``."""
    stated = deepcopy(recipe.manifest)
    for output in stated["outputs"]:
        if output["name"] in fields.get("thresholds", {}):
            output["threshold"] = fields["thresholds"][output["name"]]
        if output["name"] in fields.get("calibration", {}):
            output["calibration"] = fields["calibration"][output["name"]]
    stated["explains"] = {**stated["explains"], **fields["explains"]}
    stated["refuses"] = {**stated.get("refuses", {}), **fields["refuses"]}
    stated["training_data"] = {**stated["training_data"], "counts": fields["counts"], "sha256": fields["sha256"]}
    for part in ("features", "terms", "accepts", "moment_h"):
        if part in fields:
            stated[part] = fields[part]
    steps = [{"name": name, "params": params} for name, params in recipe.steps]
    return Manifest.model_validate({
        **stated, "name": recipe.name, "version": recipe.version, "task": TASKS[recipe.task].manifest, "steps": steps,
        "graph": fields["graph"], "provenance": provenance(recipe), "files": {},
    })


def seal(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json with the sha256 of every other file in the folder."""
    files = {p.name: sha256_of(p) for p in sorted(folder.iterdir()) if p.name != "manifest.json"}
    write_manifest(folder, manifest.model_copy(update={"files": files}))
