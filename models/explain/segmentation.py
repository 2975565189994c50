"""Segmentation: the mask on the slices that were sent is the explanation; its voxels sum to the volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.explain.case import Case
from models.manifest import Manifest
from models.prediction import Explanation, Finding, Mask


def explain(
    manifest: Manifest, _findings: tuple[Finding, ...], arrays: Mapping[str, NDArray[Any]], case: Case
) -> Explanation:
    """Return the mask put back on the source's own grid, and how far the voxels are from the volumes (mL)."""
    explains = manifest.explains
    labels = arrays["labels"]
    counts = np.bincount(labels.ravel(), minlength=len(arrays["volume_ml"]) + 1)[1:]
    gap = np.abs(counts[: len(arrays["volume_ml"])] / 1000 - arrays["volume_ml"])
    names = tuple(output.name for output in sorted(manifest.outputs, key=lambda output: output.index))
    mask = None
    if manifest.graph.window is not None:
        mask = Mask(labels.astype(np.uint8, copy=False), names)  # models/outline.py drew them on the source's grid
    elif case.source is not None and case.prepared is not None:
        drawn = case.prepared.with_voxels(labels.astype(np.float32)).back_onto(case.source, order=0)
        mask = Mask(drawn.astype(np.uint8), names)
    return Explanation(
        explains.method,
        explains.baseline,
        mask=mask,
        completeness_error=float((gap / (1 + arrays["volume_ml"])).max()),
        completeness_tolerance=explains.completeness_tolerance,
        note=explains.note,
        note_fr=explains.note_fr,
    )
