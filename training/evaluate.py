"""Score the released folder on the test split, through models.Model as serving does; write JSON and a report.

Nothing is fitted and no threshold is chosen here: whatever the manifest states is what is measured.
"""

from __future__ import annotations

import hashlib
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
from training.data import chest_xray, hippocampus
from training.evaluate_radiographs import evaluate_radiographs
from training.evaluate_risk import evaluate_risk
from training.evaluate_volumes import evaluate_volumes
from training.findings import Assessment
from training.provenance import machine, versions
from training.report import write_report

EVALUATIONS: dict[str, Callable[..., Assessment]] = {
    "image_classification": evaluate_radiographs,
    "volume_segmentation": evaluate_volumes,
    "risk": evaluate_risk,
}
DATA_SHA256: dict[str, Callable[[Path], str]] = {
    "image_classification": chest_xray.data_sha256,
    "volume_segmentation": hippocampus.data_sha256,
}


def evaluate(folder: Path, root: Path, *, quick: bool = False, report: Path | None = None) -> dict[str, Any]:
    """Return evaluation.json of a release as a dict; also write the HTML report when ``report`` names a file.

    ``folder`` must be a sound release, ``root`` holds the data sets. ``quick`` takes a few cases and 100 resamples:
    it shows that everything runs, and says so in the result. The report shows real images of the data set and stays
    where the data may stay; the dict has none.
    """
    console = Console(stderr=True)
    model = Model(folder, SessionOptions(provider="cpu", precision="fp32"))
    with console.status("") as status:
        found = EVALUATIONS[model.manifest.task](model, root, quick=quick, say=lambda text: status.update(f"{text} …"))
    figures = _as_json(model, found, root, quick=quick)
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


def _as_json(model: Model, found: Assessment, root: Path, *, quick: bool) -> dict[str, Any]:
    manifest = model.manifest
    parts = {f.name: getattr(found, f.name) for f in fields(found) if f.name not in ("pictures", "title")}
    hashing = DATA_SHA256.get(manifest.task)
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
                 "sha256": hashing(root) if hashing else _stays_sha256(root)},
        "method": {"interval": "95 % percentile of a bootstrap over patients", "unit": "patient",
                   "resamples": 100 if quick else bootstrap.RESAMPLES, "seed": bootstrap.SEED,
                   "ece": "15 bins of equal width between 0 and 1",
                   "bars": "a bar is met when the value keeps it; the interval is shown beside it"},
        **parts,
    }
    plain: dict[str, Any] = _plain(figures)
    return plain


def _stays_sha256(root: Path) -> str:
    """Hash of the table of stays and the test events."""
    digest = hashlib.sha256()
    for name in ("stays.csv.gz", "events_test.csv.gz"):
        digest.update((root / "clinical" / "challenge2012" / name).read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Turn numpy numbers into plain ones, and what is not finite into None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 8) if np.isfinite(value) else None
    return value
