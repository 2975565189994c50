"""Coverage of prediction sets by class and subgroup: limits from one part of the data, checked on another."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from models.manifest import PredictionSet
from models.statistics import conformal
from training import bootstrap
from training.split_scores import SplitScores

DEFAULTS = Path(__file__).with_name("prediction_sets.toml")
SURPRISING = 0.025  # one-sided: so small a chance of so few covered is told as "below"
ANSWERS = ("without the outcome", "with the outcome")
Held = Literal["holds", "below", "gap", "too_few"]


@dataclass(frozen=True)
class Aim:
    """What is asked of sets and triage; see prediction_sets.toml."""

    alpha: float
    tolerance: float
    triage_odds: float
    triage_confidence: float

    @classmethod
    def of(cls, table: Mapping[str, Any] | None = None) -> Aim:
        """Read a recipe's [prediction_sets] table over the defaults."""
        stated = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))["prediction_sets"]
        return cls(**{key: float(value) for key, value in {**stated, **(table or {})}.items()})


def checked(calibration: SplitScores, test: SplitScores, aim: Aim, *, calibrated_on: str, guaranteed: bool,
            min_cases: int = 20) -> dict[str, Any]:
    """Find limits and thresholds on ``calibration`` and count on ``test`` what they keep, by class, attribute and group.

    ``guaranteed``: the model did not learn from the calibration cases, so that inside the same population the coverage
    holds by construction. Otherwise only what is counted here speaks for it.
    """
    limits = conformal.class_limits(calibration.truth, calibration.p, aim.alpha)
    hits = conformal.covered(test.truth, test.p, limits)
    independent = calibration.one_a_patient and test.one_a_patient
    rows = []
    for answer in (0, 1):
        n = limits.n1 if answer else limits.n0
        mine = (test.truth > 0.5) == bool(answer)
        for by, group, chosen in _groups(test):
            rows.append({"class": ANSWERS[answer], "by": by, "group": group, **_row(
                hits[mine & chosen], test.patients[mine & chosen], n, aim.alpha, aim.tolerance, min_cases, independent=independent)})
    both = conformal.sets(test.p, limits)
    return {
        "output": test.output, "calibrated_on": calibrated_on, "guaranteed": guaranteed, "limits": _finite(asdict(limits)),
        "coverage": rows,
        "sets": {"one_answer": float((both.sum(axis=1) == 1).mean()), "both": float(both.all(axis=1).mean()),
                 "neither": float((~both.any(axis=1)).mean())},
        "triage": _triage(calibration, test, aim),
    }


def interval_checked(test: SplitScores, level: float, tolerance: float, min_cases: int = 20) -> dict[str, Any]:
    """Count how often the released interval of a quantity holds the truth, by attribute and group."""
    hits = test.figures["coverage"] > 0.5
    rows = [{"class": "everybody", "by": by, "group": group,
             **_row(hits[chosen], test.patients[chosen], None, 1 - level, tolerance, min_cases, independent=test.one_a_patient)}
            for by, group, chosen in _groups(test)]
    return {"output": test.output, "calibrated_on": "held-out folds of the training data, when the model was made",
            "guaranteed": True, "limits": {"alpha": 1 - level}, "coverage": rows}


def halves(scores: SplitScores) -> tuple[SplitScores, SplitScores]:
    """Part the cases by patient, by a hash of his name in the data set: the same halves whatever the order."""
    first = np.array([hashlib.sha256(name.encode()).digest()[0] < 128 for name in scores.patients.tolist()], dtype=bool)
    return scores.only(first), scores.only(~first)


def failing(found: Sequence[Mapping[str, Any]], apart: Collection[str] = ()) -> list[str]:
    """Return, in words, the groups whose coverage fails beyond the tolerance; not those of the attributes ``apart``."""
    return [f"{one['output']}, {row['class']}, {row['by']} {row['group']}: {row['share']:.3f} of {row['n']} covered, "
            f"{1 - one['limits']['alpha']:.2f} asked for"
            for one in found for row in one["coverage"] if row["verdict"] == "gap" and row["by"] not in apart]


def for_manifest(calibration: SplitScores, aim: Aim) -> PredictionSet:
    """Return the limits as a manifest states them."""
    limits = conformal.class_limits(calibration.truth, calibration.p, aim.alpha)
    stated = _finite(asdict(limits))
    return PredictionSet(alpha=aim.alpha, q0=stated["q0"], q1=stated["q1"], n0=limits.n0, n1=limits.n1)


def _groups(test: SplitScores) -> list[tuple[str, str, NDArray[np.bool_]]]:
    everyone = np.ones(len(test.truth), bool)
    return [("population", "everybody", everyone), *(
        (by, group, named == group) for by, named in test.subgroups.items() for group in sorted(set(named.tolist())))]


def _row(
    hits: NDArray[np.bool_], patients: NDArray[Any], calibrated_on: int | None, alpha: float, tolerance: float, min_cases: int, *,
    independent: bool,
) -> dict[str, Any]:
    if calibrated_on is None:  # limits of long ago: the plain binomial
        found = asdict(conformal.coverage(hits, 0, alpha, independent=False))
        if independent and len(hits):
            found["p_value"] = float(stats.binom.cdf(found["covered"], found["n"], 1 - alpha))
    else:
        found = asdict(conformal.coverage(hits, calibrated_on, alpha, independent=independent))
    people = len(set(patients.tolist()))
    if not independent and len(hits):
        over = bootstrap.share(hits, patients.tolist())
        found |= {"low": over.low, "high": over.high}
    found |= {"patients": people, "interval": "exact binomial" if independent else "bootstrap over patients"}
    return {**found, "verdict": _held(found, alpha, tolerance, min_cases)}


def _held(found: Mapping[str, Any], alpha: float, tolerance: float, min_cases: int) -> Held:
    if found["n"] < min_cases or found["patients"] < min_cases or found["high"] is None:
        return "too_few"
    if found["high"] < 1 - alpha - tolerance:
        return "gap"
    below = found["p_value"] < SURPRISING if found["p_value"] is not None else found["high"] < 1 - alpha
    return "below" if below else "holds"


def _triage(calibration: SplitScores, test: SplitScores, aim: Aim) -> dict[str, Any] | None:
    """Find and check the two thresholds on the first case of every patient, so that the exact bounds hold.

    None when those cases are all of one class: then there is nothing to find.
    """
    first, other = _first(calibration), _first(test)
    share = float(first.truth.mean()) if len(first.truth) else 0.0
    if not 0 < share < 1:
        return None
    odds = share / (1 - share)
    lower, upper = odds / aim.triage_odds, odds * aim.triage_odds
    found = conformal.triage(first.truth, first.p, largest_rate_below=lower / (1 + lower), smallest_ppv_above=upper / (1 + upper),
                             confidence=aim.triage_confidence)
    parts = {name: asdict(one) for name, one in conformal.triaged(other.truth, other.p, found).items()}
    for name, asked in (("below", 1 - found.largest_rate_below), ("above", found.smallest_ppv_above)):
        high = parts[name]["high"]
        parts[name] |= {"asked": asked, "verdict": "too_few" if high is None else "below" if high < asked else "holds"}
    return {**asdict(found), "prevalence": share, "tested": len(other.truth), **parts}


def _first(scores: SplitScores) -> SplitScores:
    chosen = np.zeros(len(scores.truth), bool)
    chosen[np.unique(scores.patients, return_index=True)[1]] = True
    return scores.only(chosen)


def _finite(limits: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in limits.items()}
