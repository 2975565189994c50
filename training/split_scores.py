"""One split of a release's own data, scored through models.Model: truth, score, patient and subgroups of every case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.manifest import Output
from models.model import Model
from training.data import chest_xray
from training.recipe import Recipe
from training.sources import source_of

Array = NDArray[np.float64]
Texts = NDArray[np.str_]
FITTED_ON_VAL = "Train and val are fitted together"  # as the manifests of the risk releases say


@dataclass(frozen=True)
class SplitScores:
    """One output on the cases of a split whose truth is known. All arrays are (n,), refused cases included.

    A probability has ``truth`` 0 or 1 and ``p``; anything else has ``figures``, values a case whose means are reported.
    """

    output: str
    label: str
    threshold: float | None
    truth: Array
    p: Array
    patients: Texts
    subgroups: Mapping[str, Texts]
    figures: Mapping[str, Array]

    @property
    def one_a_patient(self) -> bool:
        """Whether no patient has two cases, so that cases are independent."""
        return len(set(self.patients.tolist())) == len(self.patients)

    def only(self, chosen: NDArray[np.bool_]) -> SplitScores:
        """Return the chosen cases."""
        return replace(self, truth=self.truth[chosen], p=self.p[chosen], patients=self.patients[chosen],
                       subgroups={by: one[chosen] for by, one in self.subgroups.items()},
                       figures={name: one[chosen] for name, one in self.figures.items()})


def scores_of(model: Model, recipe: Recipe, root: Path, split: str) -> list[SplitScores]:
    """Score a split ("val" or "test"); return one entry for each output that people are told. [] where nobody is scored."""
    return SCORED[recipe.task](model, recipe, root, split) if recipe.task in SCORED else []


def val_was_fitted(model: Model) -> bool:
    """Tell whether the model learnt from its validation split too: limits found there then come without a guarantee."""
    return FITTED_ON_VAL in model.manifest.training_data.split


def _radiographs(model: Model, recipe: Recipe, root: Path, split: str) -> list[SplitScores]:  # noqa: ARG001  the task says which images
    cases = chest_xray.load(root, split)
    logits = []
    for start in range(0, len(cases), 16):
        pixels = np.concatenate([model.prepare(chest_xray.read_case(case)) for case in cases[start : start + 16]])
        logits.append(model.session.run(pixels, ("logit",))["logit"])
    logit = np.concatenate(logits).astype(np.float64)
    truth = np.array([case.targets for case in cases], dtype=np.float64)
    patients = np.array([case.patient for case in cases])
    subgroups = {"image tier": np.array([f"{case.tier} px" for case in cases])}
    found = []
    for name, column in (("pneumonia", chest_xray.PNEUMONIA), ("bacterial", chest_xray.BACTERIAL)):
        output = model.manifest.output(name)
        one = _probability(output, truth[:, column], 1 / (1 + np.exp(-logit[:, column])), patients, subgroups)
        found.append(one)
    return found


def _risks(model: Model, recipe: Recipe, root: Path, split: str) -> list[SplitScores]:
    cases = source_of(recipe).records(split, root)
    features = np.concatenate([model.prepare(case.record) for case in cases])
    p = model.session.run(features, ("probability",))["probability"].astype(np.float64)
    truth = np.array([case.labels for case in cases], dtype=np.float64)
    patients = np.array([case.group for case in cases])
    return [_probability(output, truth[:, output.index], p[:, output.index], patients, _subgroups(cases))
            for output in model.manifest.outputs]


def _doses(model: Model, recipe: Recipe, root: Path, split: str) -> list[SplitScores]:
    cases = source_of(recipe).records(split, root)
    arrays = model.score_features(np.concatenate([model.prepare(case.record) for case in cases]))
    output = model.manifest.outputs[0]
    dose = np.array([case.labels[0] for case in cases], dtype=np.float64)
    given, interval = arrays["quantity"][:, 0].astype(np.float64), arrays["interval"].astype(np.float64)
    figures = {"within_20_percent": (np.abs(given - dose) <= 0.2 * dose + 1e-9).astype(np.float64),
               "coverage": ((dose >= interval[:, 0]) & (dose <= interval[:, 1])).astype(np.float64)}
    return [SplitScores(output.name, output.label, None, dose, given, np.array([case.group for case in cases]), _subgroups(cases),
                        figures)]


def _probability(output: Output, truth: Array, p: Array, patients: Texts, subgroups: Mapping[str, Texts]) -> SplitScores:
    whole = SplitScores(output.name, output.label, output.threshold, truth, p, patients, subgroups, {})
    return whole.only(~np.isnan(truth))


def _subgroups(cases: list[Any]) -> dict[str, Texts]:
    return {by: np.array([case.subgroups[by] for case in cases]) for by in (cases[0].subgroups if cases else ())}


SCORED = {"radiograph": _radiographs, "risk": _risks, "dose": _doses}
