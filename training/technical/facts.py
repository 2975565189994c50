"""All that is known of one release, gathered for the technical file: manifest, evaluation, gaps, coverage, local commissioning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.commissioned import Commissioning, read_commissioning
from models.errors import UnusableInput
from models.manifest import Manifest, read_manifest
from training import recipe as recipes
from training.report import interval, label

SENSITIVE = ("race", "ethnic", "age", "sex", "gender", "insurance", "payer", "language")
MAIN = ("auroc", "sensitivity", "specificity", "calibration_slope", "calibration_in_the_large", "dice_whole", "mean_absolute_error",
        "within_20_percent", "coverage", "covered_90", "mape")
NOT_EVALUATED: dict[str, Any] = {"rows": [], "bars": [], "refusals": [], "audits": {}, "references": [], "unknown": [],
                                 "confusion": {}, "method": {}}


@dataclass(frozen=True)
class Facts:
    """One release. ``evaluation`` has no rows, and ``proof`` and ``commissioning`` are None, where nobody made them."""

    manifest: Manifest
    evaluation: dict[str, Any]
    proof: dict[str, Any] | None
    commissioning: Commissioning | None
    recipe: dict[str, Any]
    card: bool

    @property
    def main(self) -> dict[str, Any] | None:
        """The row of figures that the release is judged by."""
        rows = self.evaluation.get("rows") or []
        return rows[0] if rows else None

    def words(self, parts: dict[str, bool]) -> dict[str, Any]:
        """Return what the checklists' answers are made of. ``parts``: has_monitor and so on, whether a room is there."""
        e, m = self.evaluation, self.manifest
        inputs = [feature.label for feature in m.features]
        sensitive = sorted({one for one in inputs if any(word in one.lower().split() for word in SENSITIVE)})
        rows = e.get("rows") or []
        return {
            "m": m, "e": e, "p": self.proof, "main": self.main, "recipe": self.recipe, **parts,
            "missed": [one for one in e.get("bars", []) if not one["met"]],
            "groups": sorted({row["by"] for row in rows if row["by"] not in ("population", "external")}),
            "external": sorted({row["group"] for row in rows if row["by"] == "external"}),
            "sensitive": sensitive, "sensitive_race": any("race" in one.lower() or "ethnic" in one.lower() for one in sensitive),
            "performance": self.performance(), "fairness": self.fairness(), "faithfulness": self.faithfulness(),
            "commissioned": self.commissioned(), "commissioned_groups": self.commissioned_groups(),
        }

    def performance(self) -> str:
        """Say the main figures with their intervals; "" where there is no evaluation."""
        if self.main is None:
            return ""
        told = [f"{label(name)} {interval(self.main['figures'][name])}" for name in MAIN if name in self.main["figures"]]
        return f"{self.main['group']}: {', '.join(told)} (n {self.main['n']})."

    def fairness(self) -> str:
        """Say how many gaps were judged and how they came out; "" where nobody looked."""
        if self.proof is None or not self.proof["gaps"]:
            return ""
        counts = {verdict: sum(one["verdict"] == verdict for one in self.proof["gaps"]) for verdict in
                  ("gap", "undecided", "within", "too_few")}
        return (f"{len(self.proof['gaps'])} gaps of subgroups against everybody else: {counts['gap']} beyond the tolerance, "
                f"{counts['undecided']} undecided, {counts['within']} not beyond it, {counts['too_few']} too few to say.")

    def judged_coverage(self) -> bool:
        """Tell whether any group had enough cases to judge the coverage of its prediction sets."""
        sets = self.proof["prediction_sets"] if self.proof else []
        return any(row["verdict"] != "too_few" for one in sets for row in one["coverage"])

    def faithfulness(self) -> str:
        """Say what the audits of the explanation found; "" where there was none."""
        audits = self.evaluation.get("audits") or {}
        told = []
        if "completeness_max_error" in audits:
            told.append(f"parts and score differ by {audits['completeness_max_error']:.0e} at most (relative)")
        if "outside" in (audits.get("peaks_outside_lungs") or {}):
            told.append(f"peaks outside the lungs {interval(audits['peaks_outside_lungs']['outside'])}")
        if "deletion" in audits:
            told.append(f"deletion: area under the curve {interval(audits['deletion']['map'])}, of edges alone "
                        f"{interval(audits['deletion']['edges'])}")
        if (audits.get("randomised_weights") or {}).get("rho") is not None:
            told.append(f"with random weights rho {audits['randomised_weights']['rho']:.2f}")
        return "; ".join(told)

    def commissioned(self) -> str:
        """Say how commissioning at a site ended; "" where there was none."""
        found = self.commissioning
        if found is None:
            return ""
        figures = ", ".join(f"{label(one.name)} {interval(one.model_dump())}" for one in found.figures if one.name in MAIN)
        return f"{found.decision.replace('_', ' ')}: {found.n} cases of an archive, {found.refused} refused. {figures}".strip()

    def commissioned_groups(self) -> str:
        """Say for which groups commissioning has figures; "" where there was none."""
        groups = self.commissioning.subgroups if self.commissioning else ()
        return f"by {', '.join(sorted({one.by for one in groups}))}" if groups else ""


def facts_of(folder: Path, out: Path) -> Facts:
    """Gather what is known of the release in ``folder``; ``out`` is where fairness and commissioning were written.

    What was made of another graph is left out, as if it were not there. Raises BrokenModel without a manifest.
    """
    manifest = read_manifest(folder)
    evaluation = _json(folder / "evaluation.json")
    onnx = manifest.files.get("model.onnx")
    if evaluation.get("onnx_sha256") != onnx:
        evaluation = {}
    evaluation = {**NOT_EVALUATED, **evaluation}
    proof = _json(out / "fairness" / f"{manifest.id}.json")
    if proof.get("onnx_sha256") != onnx:
        proof = {}
    raw = recipes.read(manifest.name).raw if manifest.name in recipes.names() else {}
    return Facts(manifest, evaluation, proof or None, _commissioning(out / "commission" / manifest.id, onnx), raw,
                 (folder / "CARD.md").is_file())


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _commissioning(folder: Path, onnx: str | None) -> Commissioning | None:
    try:
        found = read_commissioning(folder / "commissioning.json")
    except UnusableInput:
        return None
    return found if found.onnx_sha256 == onnx else None
