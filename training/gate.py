"""The gate a faster precision must pass before a manifest may name it: measured on validation images, never assumed.

AUROC alone is no gate: a quantised graph can keep it and get every probability wrong. What counts is how far single
probabilities move, how many decisions flip, whether the map's peak stays, and that the map still sums to the score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models.golden import completeness_of
from models.manifest import Manifest, Precision, read_manifest
from models.session import Session, SessionOptions
from training.measures import auroc

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Bars:
    """What a precision may change. ``auroc_loss`` counts for int8, where small shifts add up."""

    probability: float
    flips: float
    same_peak: float
    auroc_loss: float


BARS = {
    "bf16": Bars(0.06, 0.001, 0.99, 0.005),
    "fp16": Bars(0.06, 0.001, 0.99, 0.005),
    "int8": Bars(1.0, 0.005, 0.85, 0.005),
}


def measure(reference: Arrays, found: Arrays, manifest: Manifest) -> dict[str, float]:
    """Compare one precision's outputs with fp32's on the same inputs (axis 0). Both hold all roles of a classifier."""
    p, q = reference["probability"].astype(np.float64), found["probability"].astype(np.float64)
    thresholds = np.array([o.threshold if o.threshold is not None else 0.5 for o in manifest.outputs])
    columns = [o.index for o in manifest.outputs]
    peaks = [a["map"].reshape(*a["map"].shape[:2], -1).argmax(axis=2) for a in (reference, found)]
    decided = p[:, columns] >= thresholds
    shown = [o.map_index for o in manifest.outputs if o.map_index is not None]
    called = decided[:, 0]
    same = [(peaks[0][called, k] == peaks[1][called, k]) for k in sorted(set(shown))]
    return {
        "max_probability_change": float(np.abs(p - q).max()),
        "flips": float((decided != (q[:, columns] >= thresholds)).mean()),
        "same_peak": float(np.concatenate(same).mean()) if called.any() else 1.0,
        "completeness": completeness_of(found, manifest)[0],
        "auroc_against_reference": auroc(decided[:, 0], q[:, columns[0]]),
    }


def verdict(figures: Mapping[str, float], precision: str, tolerance: float) -> list[str]:
    """Return what keeps a precision out, in words; empty when it passes."""
    bars = BARS[precision]
    rules = (
        ("max_probability_change", figures["max_probability_change"] <= bars.probability, bars.probability),
        ("flips", figures["flips"] <= bars.flips, bars.flips),
        ("same_peak", figures["same_peak"] >= bars.same_peak, bars.same_peak),
        ("completeness", figures["completeness"] <= tolerance, tolerance),
        ("auroc_against_reference", not figures["auroc_against_reference"] < 1 - bars.auroc_loss, 1 - bars.auroc_loss),
    )
    return [f"{name} is {figures[name]:.4g}, the bar is {bar:g}" for name, kept, bar in rules if not kept]


def gate(
    folder: Path, inputs: NDArray[np.float32], backend: Literal["openvino", "cuda", "tensorrt"],
    precision: Literal["bf16", "fp16", "int8"], *, batch: int = 16,
) -> tuple[Precision | None, dict[str, float], list[str]]:
    """Run a release's graph in fp32 and in ``precision`` on ``inputs`` (n, …); return the entry, figures and causes.

    The entry is None when the gate is not passed. Raises BrokenModel when this machine cannot run the precision.
    """
    manifest = read_manifest(folder)
    slow = Session(folder, manifest, SessionOptions("cpu", "fp32"))
    fast = Session(folder, manifest, SessionOptions(backend, precision, gated=False))
    figures = measure(_all(slow, inputs, batch), _all(fast, inputs, batch), manifest)
    causes = verdict(figures, precision, manifest.explains.completeness_tolerance)
    entry = None if causes else Precision(
        backend=backend, precision=precision, max_probability_change=figures["max_probability_change"],
        flips=figures["flips"], same_peak=figures["same_peak"], inputs=len(inputs),
    )
    return entry, figures, causes


def _all(session: Session, inputs: NDArray[np.float32], batch: int) -> dict[str, NDArray[Any]]:
    parts = [session.run(inputs[i : i + batch]) for i in range(0, len(inputs), batch)]
    return {role: np.concatenate([part[role] for part in parts]) for role in parts[0]}
