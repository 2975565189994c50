"""What a release must show before it leaves: subgroup gaps within their tolerance, prediction sets that cover every group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.model import Model
from models.session import SessionOptions
from training import bootstrap, fairness, prediction_sets
from training import recipe as recipes
from training.fairness import Gap, Tolerance
from training.prediction_sets import Aim
from training.recipe import Recipe
from training.split_scores import SplitScores, scores_of, val_was_fitted


class GapBeyondTolerance(ValueError):
    """A release was stopped: a group lies further behind than is tolerated, and nobody answers for it."""


def proof_of(
    folder: Path, root: Path, *, recipe: Recipe | None = None, resamples: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return gaps and coverage of a release on its own test split, as plain JSON.

    ``root`` holds the data sets; ``resamples`` is bootstrap.RESAMPLES unless said. Raises FileNotFoundError where the data
    are not there, and ValueError for an accepted gap that does not say who accepts it and why.
    """
    model = Model(folder, SessionOptions(provider="cpu", precision="fp32"))
    recipe, resamples = recipe or recipes.read(model.manifest.name), resamples or bootstrap.RESAMPLES
    tolerance, aim = Tolerance.of(recipe.raw.get("fairness")), Aim.of(recipe.raw.get("prediction_sets"))
    say("scoring the test split")
    test = scores_of(model, recipe, root, "test")
    say("scoring the validation split")
    val = {one.output: one for one in scores_of(model, recipe, root, "val")}
    say(f"{resamples} resamples of the patients")
    found = [gap for one in test for gap in gaps_of(one, tolerance, resamples)]
    say("coverage")
    coverage = [row for one in test for row in _coverage(model, one, val[one.output], aim, tolerance)]
    judged = {gap.by for gap in found}
    missing = [by for by in tolerance.expected if not any(by == name.split()[0] for name in judged)]
    return {
        "schema_version": "1", "release": model.manifest.id, "onnx_sha256": model.manifest.files["model.onnx"],
        "made_at": datetime.now(UTC).date().isoformat(), "from": "cases",
        "method": {"interval": "95 % percentile of a bootstrap over patients, of the difference", "resamples": resamples,
                   "seed": bootstrap.SEED, "comparisons": len([gap for gap in found if gap.verdict != "too_few"]),
                   "correction": "none: a gap needs its whole interval beyond the tolerance"},
        "tolerance": tolerance.as_json(), "aim": vars(aim), "gaps": [gap.as_json() for gap in found],
        "missing": [f"{by}: not in the data, so nothing can be said of it" for by in missing],
        "blocking": [gap.said for gap in fairness.beyond(found, tolerance)],
        "prediction_sets": coverage,
        "coverage_failing": prediction_sets.failing(coverage, {*tolerance.left_out, *tolerance.shown_only}),
        "sets_are_released": "prediction_sets" in recipe.raw,
    }


def gaps_of(one: SplitScores, tolerance: Tolerance, resamples: int = bootstrap.RESAMPLES) -> list[Gap]:
    """Return the gaps of one output: of its yes/no figures, or of the means it is reported by."""
    if one.figures:
        return fairness.gaps_of_means(one.figures, one.patients, one.subgroups, output=one.output, tolerance=tolerance,
                                      resamples=resamples)
    return fairness.gaps(one.truth, one.p, one.patients, one.subgroups, output=one.output, threshold=one.threshold,
                         tolerance=tolerance, resamples=resamples)


def refuse(proof: Mapping[str, Any]) -> None:
    """Stop a release that may not leave. Raises GapBeyondTolerance naming every group and what to do."""
    causes = list(proof["blocking"])
    if proof["sets_are_released"]:
        causes += [f"prediction set, {one}" for one in proof["coverage_failing"]]
    if causes:
        raise GapBeyondTolerance(
            f"{proof['release']}: every group must keep its tolerance, found {len(causes)} beyond: {' '.join(causes)} "
            "Mend the model, narrow its intended use, or let somebody answer for a gap in [[fairness.accepted_gaps]] of the recipe.")


def _coverage(model: Model, test: SplitScores, val: SplitScores, aim: Aim, tolerance: Tolerance) -> list[dict[str, Any]]:
    output = model.manifest.output(test.output)
    if test.figures:
        level = output.interval_level
        return [] if level is None else [prediction_sets.interval_checked(test, level, aim.tolerance, tolerance.min_cases)]
    fitted = val_was_fitted(model)
    said = "the validation split, which the model learnt from too" if fitted else "the validation split"
    rows = [prediction_sets.checked(val, test, aim, calibrated_on=said, guaranteed=not fitted, min_cases=tolerance.min_cases)]
    if fitted:
        first, second = prediction_sets.halves(test)
        rows.append(prediction_sets.checked(first, second, aim, calibrated_on="one half of the test patients, checked on the other",
                                            guaranteed=True, min_cases=tolerance.min_cases))
    return rows
