"""Score the released folder on the test split, through models.Model as serving does; write JSON and a report.

Nothing is fitted and no threshold is chosen here: whatever the manifest states is what is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from models.model import Model
from models.session import SessionOptions
from training import bootstrap
from training import recipe as recipes
from training.data import chest_xray, hippocampus
from training.findings import Assessment
from training.provenance import machine, versions
from training.recipe import Recipe
from training.report import write_report
from training.sources import source_of
from training.tasks import TASKS

IMAGES_SHA256: dict[str, Callable[[Path], str]] = {
    "radiograph": chest_xray.data_sha256,
    "volume": hippocampus.data_sha256,
}


def evaluate(
    folder: Path, root: Path, *, recipe: Recipe | None = None, quick: bool = False, report: Path | None = None
) -> dict[str, Any]:
    """Return evaluation.json of a release as a dict; also write the HTML report when ``report`` names a file.

    ``folder`` must be a sound release, ``root`` holds the data sets. ``recipe`` says which of them, what had to be
    reached and how to measure it; by default the one that the release is named after. ``quick`` takes a few cases and 100 resamples:
    it shows that everything runs, and says so in the result. The report shows real images of the data set and stays
    where the data may stay; the dict has none.
    """
    console = Console(stderr=True)
    model = Model(folder, SessionOptions(provider="cpu", precision="fp32"))
    recipe = recipe or recipes.read(model.manifest.name)
    with console.status("") as status:
        found = TASKS[recipe.task].evaluate(
            model, recipe, root, quick=quick, say=lambda text: status.update(f"{text} …")
        )
    figures = _as_json(model, found, _data_sha256(recipe, root), quick=quick)
    if report is not None:
        report.parent.mkdir(parents=True, exist_ok=True)
        write_report(report, model.manifest, figures, found.pictures)
    return figures


def write_evaluation(path: Path, figures: dict[str, Any]) -> None:
    """Write the figures as stable, readable JSON."""
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def summary(figures: dict[str, Any]) -> Table:
    """Return the bars as a table for a terminal."""
    table = Table(title=f"{figures['model']}: {figures['title']}", title_justify="left")
    for name in ("what", "reached", "95 % interval", "bar", ""):
        table.add_column(name, justify="left" if name == "what" else "right")
    for one in figures["bars"]:
        low, high = one["low"], one["high"]
        interval = "" if low is None or high is None else f"{shown(low)} to {shown(high)}"
        limit = " to ".join(shown(v) for v in one["bar"]) if isinstance(one["bar"], list) else shown(one["bar"])
        verdict = "[green]met[/green]" if one["met"] else "[red]missed[/red]"
        table.add_row(one["name"], shown(one["value"]), interval, f"{one['rule']} {limit}", verdict)
    return table


def shown(value: float | None) -> str:
    """Write a number as a reader wants it: three digits after the point, or powers of ten for tiny ones."""
    if value is None:
        return "not measured"
    if value and abs(value) < 5e-4:
        return f"{value:.0e}"
    return f"{value:.3f}"


def _as_json(model: Model, found: Assessment, data_sha256: str, *, quick: bool) -> dict[str, Any]:
    manifest = model.manifest
    parts = {f.name: getattr(found, f.name) for f in fields(found) if f.name not in ("pictures", "title")}
    figures = {
        "schema_version": "1",
        "model": manifest.id,
        "title": found.title,
        "task": manifest.task,
        "quick": quick,
        "created": datetime.now(UTC).date().isoformat(),
        "onnx_sha256": manifest.files["model.onnx"],
        "ran_on": {"backend": model.session.backend, "precision": model.session.precision, "machine": machine(),
                   "versions": versions()},
        "data": {"name": manifest.training_data.name, "split": "test", "licence": manifest.training_data.licence,
                 "sha256": data_sha256},
        "method": {"interval": "95 % percentile of a bootstrap over patients", "unit": "patient",
                   "resamples": 100 if quick else bootstrap.RESAMPLES, "seed": bootstrap.SEED,
                   "ece": "15 bins of equal width between 0 and 1",
                   "bars": "a bar is met when the value keeps it; the interval is shown beside it"},
        **parts,
    }
    found_plain: dict[str, Any] = plain(figures)
    return found_plain


def _data_sha256(recipe: Recipe, root: Path) -> str:
    hashing = IMAGES_SHA256.get(recipe.task) or source_of(recipe).data_sha256
    return hashing(root)


def plain(value: Any) -> Any:
    """Turn numpy numbers into plain ones, and what is not finite into None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 8) if np.isfinite(value) else None
    return value
