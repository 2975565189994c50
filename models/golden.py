"""Golden inputs: what a release must still answer, on this machine, at this precision."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import BrokenModel
from models.manifest import Manifest, Precision

MAX_GOLDEN_BYTES = 512_000_000
FP32_TOLERANCE = 1e-4  # |found - golden| ≤ 1e-4 (1 + |golden|); two machines differ by about 1e-6
LABEL_SHARE = 1e-4  # voxels whose two best classes tie may fall either way
# Faster precisions: the bars of their gate. A probability may move this much, a volume this share.
GATE_PROBABILITY = 0.06
GATE_LABEL_SHARE = 0.005
GATE_VOLUME_SHARE = 0.03

Arrays = dict[str, NDArray[Any]]


def read_golden(folder: Path) -> Arrays:
    """Return golden.npz: ``input`` and one array a role. Raises BrokenModel for pickles, bombs and damaged files."""
    path = folder / "golden.npz"
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_GOLDEN_BYTES:
            raise BrokenModel(f"{folder.name}: golden.npz may unpack to {MAX_GOLDEN_BYTES:,} bytes, found {size:,}.")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError) as error:
        raise BrokenModel(
            f"{folder.name}: golden.npz must be a plain archive of arrays; it could not be read."
        ) from error
    if "input" not in arrays or not len(arrays["input"]):
        raise BrokenModel(f"{folder.name}: golden.npz must hold the array 'input' with at least one case.")
    return arrays


def golden_faults(
    run: Callable[[NDArray[Any]], Mapping[str, NDArray[Any]]],
    golden: Arrays,
    manifest: Manifest,
    precision: str = "fp32",
    gate: Precision | None = None,
) -> list[str]:
    """Return what does not reproduce, in words; empty when all golden inputs do.

    fp32 must agree within FP32_TOLERANCE on every role. Other precisions must keep every probability within the
    gate's bar (or the change the gate measured, if larger), labels and volumes within theirs, and stay complete.
    """
    found = run(golden["input"])
    faults = []
    for role in manifest.graph.outputs:
        if role not in golden:
            faults.append(f"golden.npz has no array for the role {role!r}")
        elif found[role].shape != golden[role].shape:
            faults.append(f"{role} has shape {found[role].shape}, golden {golden[role].shape}")
        else:
            fault = _fault(role, found[role], golden[role], precision, gate)
            if fault:
                faults.append(fault)
    worst, allowed = completeness_of(found, manifest)
    if not worst <= allowed:
        faults.append(f"the explanation misses the score by {worst:.1e}, allowed {allowed:.1e}")
    return faults


def completeness_of(found: Mapping[str, NDArray[Any]], manifest: Manifest) -> tuple[float, float]:
    """Return the largest relative |bias + parts - score| over all cases of a run, and what is allowed.

    The error is divided by 1 + |score|, so one tolerance holds for small and large scores.
    """
    bias, allowed = manifest.explains.bias, manifest.explains.completeness_tolerance
    if manifest.graph.window is not None:  # labels are counted after the windows are blended: here only scores can be judged
        gap = np.where(np.isfinite(found["class_scores"]).all(), 0.0, np.nan)
    elif manifest.task == "volume_segmentation":
        labels, volumes = found["labels"], found["volume_ml"].astype(np.float64)
        axes = tuple(range(1, labels.ndim))
        parts = np.stack([(labels == k + 1).sum(axis=axes) / 1000 for k in range(volumes.shape[1])], axis=1)
        gap = np.abs(parts - volumes) / (1 + np.abs(volumes))
    elif manifest.task == "department":
        pmf = found["pmf"].astype(np.float64)
        parts = pmf @ np.arange(pmf.shape[1])
        gap = np.abs(parts - found["mean"][:, 0]) / (1 + np.abs(parts)) + np.abs(pmf.sum(axis=1) - 1)
    elif manifest.task == "risk":
        gap = _additive_gap(found, manifest)
    else:
        logits = found["logit"].astype(np.float64)
        maps = found["map"]
        parts = maps.mean(axis=(2, 3), dtype=np.float64) + [bias.get(str(k), np.nan) for k in range(maps.shape[1])]
        gap = np.abs(parts - logits) / (1 + np.abs(logits))
    return float(gap.max()), allowed


def _additive_gap(found: Mapping[str, NDArray[Any]], manifest: Manifest) -> NDArray[np.float64]:
    """Return (batch, outputs): how far bias and terms of every explained output miss its logit."""
    first = manifest.outputs[0].name
    whose = np.array([term.output or first for term in manifest.terms])
    gaps = []
    for output in manifest.outputs:
        if str(output.index) in manifest.explains.bias:
            logit = found["logit"][:, output.index].astype(np.float64)
            parts = found["contributions"][:, whose == output.name].sum(axis=1, dtype=np.float64)
            gaps.append(np.abs(parts + manifest.explains.bias[str(output.index)] - logit) / (1 + np.abs(logit)))
    return np.stack(gaps, axis=1) if gaps else np.full((1, 1), np.nan)


def _fault(role: str, found: NDArray[Any], golden: NDArray[Any], precision: str, gate: Precision | None) -> str:
    if role == "labels":
        share, allowed = float((found != golden).mean()), LABEL_SHARE if precision == "fp32" else GATE_LABEL_SHARE
        return "" if share <= allowed else f"labels differ in {share:.2%} of voxels, allowed {allowed:.2%}"
    gap = np.abs(found.astype(np.float64) - golden)
    if precision == "fp32":
        worst, allowed = float((gap / (1 + np.abs(golden))).max()), FP32_TOLERANCE
        if role == "volume_ml":  # whole voxels: a few may fall either way, as for the labels
            allowed = max(allowed, 0.005)
    elif role == "probability":
        worst, allowed = float(gap.max()), max(GATE_PROBABILITY, gate.max_probability_change if gate else 0.0)
    elif role == "volume_ml":
        worst, allowed = float((gap / (0.1 + np.abs(golden))).max()), GATE_VOLUME_SHARE
    else:
        return "" if np.isfinite(found).all() else f"{role} holds values that are not finite"
    return "" if worst <= allowed else f"{role} differs by {worst:.1e}, allowed {allowed:.1e}"
