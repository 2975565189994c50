"""The triage nurse's level beside the model of needs at triage: what the department had, on the visits that have it."""

from __future__ import annotations

from typing import Any

import numpy as np

from training.closed_reference import compared
from training.evaluated import Evaluated, Extra


def nurse(found: Evaluated) -> Extra:
    """Compare with the level as it stands (1 most urgent to 5), which is no input, on the same visits, paired."""
    level = np.array([case.subgroups["nurse"] for case in found.cases])
    rated = found.only(level != "unknown")
    references, figures = [], {}
    for output in found.model.manifest.outputs:
        one = rated.of(output.index)
        urgency = -np.array([float(case.subgroups["nurse"]) for case in one.cases])
        row = compared("Triage nurse's level (IMMEDR)", output.label, one, urgency, several=True)
        above: dict[str, Any] = row["auroc_ours_less_this"]
        references.append(row)
        figures[output.name] = {
            "auroc_above_nurse": above,
            "auroc_above_nurse_low": {"value": above["low"], "low": above["low"], "high": above["high"]},
        }
    return Extra(references=references, figures=figures)
