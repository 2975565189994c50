"""METHODS: how a manifest may explain a score, one file each. All take (manifest, findings, arrays, case)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from numpy.typing import NDArray

from models.explain import additive, cam, segmentation
from models.explain.case import Case
from models.manifest import Manifest
from models.prediction import Explanation, Finding

Method = Callable[[Manifest, tuple[Finding, ...], Mapping[str, NDArray[Any]], Case], Explanation]

METHODS: dict[str, Method] = {
    "class_activation_map": cam.explain,
    "segmentation": segmentation.explain,
    "additive_contributions": additive.explain,
}
