"""Make what commissioning would have found of a release, go or no-go, with figures that are plainly invented."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.commissioned import Commissioning, Decision, Figure, Gate, write_commissioning
from models.manifest import read_manifest, sha256_of


def commissioning_of(release: Path, decision: Decision = "go", **changes: Any) -> Commissioning:
    """Return a finding bound to a release folder as it is now."""
    manifest = read_manifest(release)
    output = manifest.outputs[0].name
    fields: dict[str, Any] = {
        "release": manifest.id, "manifest_sha256": sha256_of(release / "manifest.json"), "onnx_sha256": manifest.files["model.onnx"],
        "made_at": "2026-11-01T08:00:00+00:00", "archive": {"kind": "folder", "files": 400, "persons": 380},
        "truth": {"kind": "table", "known": 400}, "n": 400, "scored": 396, "refused": 4, "failed": 0,
        "figures": (Figure(name="auroc", output=output, value=0.93, low=0.9, high=0.96, n=396),
                    Figure(name="sensitivity", output=output, value=0.91, low=0.85, high=0.95, n=120)),
        "gates": (Gate(name="auroc", required="at least 0.85", seen="0.93", met=decision != "no_go"),),
        "decision": decision, "reasons": ("It does here as it was said to.",) if decision == "go" else ("It does not do here.",),
    }
    return Commissioning.model_validate({**fields, **changes})


def write_report(folder: Path, release: Path, decision: Decision = "go") -> Path:
    """Write commissioning.json of a release into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_commissioning(folder / "commissioning.json", commissioning_of(release, decision))
    return folder
