"""Alerts and episodes beside the moments of the hypoglycaemia model, and another study with another sensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from training import binary_outcome
from training.alerts import figures_at, threshold_telling, watch
from training.calibrate import threshold_at_sensitivity
from training.data import cgm
from training.evaluated import Evaluated, Extra

SHARE = 0.7  # of the episodes, or of the moments, that alerts should tell


def alerts(found: Evaluated) -> Extra:
    """Count alerts at the released threshold, and at those that tell 70 % of the test episodes, or of the moments.

    The last two thresholds are chosen on the test subjects themselves, as the bar is worded; the first was not.
    """
    output = found.model.manifest.outputs[0]
    external = _hall(found)
    if found.quick:  # every eighth moment: no runs of alerts
        return Extra(rows=external)
    seen, p = watch("test", found.root), found.p[:, 0]
    thresholds = {
        "the released threshold": float(output.threshold or 0.0),
        "70 % of episodes told": threshold_telling(seen, p, SHARE),
        "70 % of moments told": threshold_at_sensitivity(seen.low, p, SHARE),
    }
    told = {
        name: figures_at(seen, p, threshold, found.groups.tolist(), found.resamples)
        for name, threshold in thresholds.items()
    }
    audits: dict[str, Any] = {
        f"alerts at {name}": {"threshold": round(thresholds[name], 4), **figures} for name, figures in told.items()
    }
    audits["episodes"] = {"scored": len(seen.before), "before which no moment could be scored": seen.missed}
    return Extra(
        rows=external, audits=audits,
        figures={output.name: {
            "false_alerts_a_day": told["70 % of episodes told"]["false_alerts_a_day"],
            "false_alerts_a_day_at_70_percent_of_moments": told["70 % of moments told"]["false_alerts_a_day"],
        }},
    )


def _hall(found: Evaluated) -> list[dict[str, Any]]:
    """Score the subjects of Hall every 15 min, as a stream of 5 min would be: never seen in fitting, another sensor."""
    output = found.model.manifest.outputs[0]
    part = cgm.cohort("hall", found.model.manifest.features, found.root)
    p = found.model.score_features(part.x)["probability"][:, output.index].astype(np.float64)
    y, groups = part.y[:, 0].astype(np.float64), part.groups
    rows = []
    chosen = {"Hall, all subjects": np.ones(len(y), bool)}
    chosen |= {f"Hall, {kind}": part.subgroups["diabetes"] == kind for kind in sorted(set(part.subgroups["diabetes"]))}
    for name, mine in chosen.items():
        whose = groups[mine].tolist()
        figures = binary_outcome.figures(y[mine], p[mine], output.threshold, whose, resamples=found.resamples)
        what = "external: another study, sensor and place; mostly without diabetes"
        rows.append({**binary_outcome.row("external", name, what, truth=y[mine], found=figures, patients=whose),
                     "output": output.name})
    return rows
