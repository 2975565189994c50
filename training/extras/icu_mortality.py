"""SAPS-I beside the model of death in hospital: what a ward had at the time."""

from __future__ import annotations

import csv
import gzip

import numpy as np

from training import bootstrap
from training.evaluated import Evaluated, Extra


def saps(found: Evaluated) -> Extra:
    """Return the figures of SAPS-I as the data state it, on the stays that have it."""
    stays = found.root / "clinical/challenge2012/stays.csv.gz"
    with gzip.open(stays, "rt", encoding="utf-8", newline="") as lines:
        points = {row["RecordID"]: float(row["SAPS_I"] or -1) for row in csv.DictReader(lines)}
    score = np.array([points[group] for group in found.groups.tolist()])
    known = score >= 0
    y, groups = found.y[known, 0], found.groups[known].tolist()
    return Extra(references=[{
        "name": "SAPS-I points", "n": int(known.sum()),
        "auroc": bootstrap.figure(
            bootstrap.auroc_of(y, score[known]), groups, resamples=found.resamples).as_json(),
        "average_precision": bootstrap.figure(
            bootstrap.average_precision_of(y, score[known]), groups, resamples=found.resamples).as_json(),
    }])
