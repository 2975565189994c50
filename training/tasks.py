"""TASKS: the `task` of a recipe → how it is fitted, built and evaluated, and the task its manifest states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import fit_department
from training.build import BUILD_IMAGES, Fields
from training.evaluate_department import evaluate_department
from training.evaluate_dose import evaluate_dose
from training.evaluate_radiographs import evaluate_radiographs
from training.evaluate_risk import evaluate_risk
from training.evaluate_volumes import evaluate_volumes
from training.export_dose import build_dose
from training.export_risk import build_risk
from training.findings import Assessment
from training.fit import fit as fit_network
from training.fit_dose import fit as fit_dose
from training.fit_risk import fit as fit_risk
from training.recipe import Recipe


@dataclass(frozen=True)
class Task:
    """How one kind of model is made.

    ``fit(recipe, folder, root, quick=…)`` → checkpoint; ``build(recipe, checkpoint, root, folder)`` → manifest fields;
    ``evaluate(model, recipe, root, quick=…, say=…)`` → Assessment. ``manifest`` is the task its manifest states.
    """

    manifest: str
    fit: Callable[..., Path]
    build: Callable[[Recipe, Path, Path, Path], Fields]
    evaluate: Callable[..., Assessment]


def _of_images(evaluate: Callable[..., Assessment]) -> Callable[..., Assessment]:
    """Leave the recipe out: the task alone says which images are evaluated."""

    def run(model: Any, recipe: Recipe, root: Path, **how: Any) -> Assessment:  # noqa: ARG001
        return evaluate(model, root, **how)

    return run


TASKS: dict[str, Task] = {
    "radiograph": Task("image_classification", fit_network, BUILD_IMAGES["radiograph"], _of_images(evaluate_radiographs)),
    "volume": Task("volume_segmentation", fit_network, BUILD_IMAGES["volume"], _of_images(evaluate_volumes)),
    "risk": Task("risk", fit_risk, build_risk, evaluate_risk),
    "department": Task("department", fit_department.fit, fit_department.build, evaluate_department),
    "dose": Task("risk", fit_dose, build_dose, evaluate_dose),
}
