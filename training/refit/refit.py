"""Refit, top to bottom: verdicts, cases, a fit for each output, old against new, the gate, and only then a release.

Verdicts of the train and val side are learnt from; cross-validation over people chooses how far to move, since a hospital's
verdicts are few. The test side is looked at once, at the end, by both.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from models.commissioned import Gate
from models.manifest import Manifest, read_manifest
from models.model import Model
from training import bootstrap
from training.evaluate import plain, write_evaluation
from training.refit.anchored import FOLDS
from training.refit.compare import Both, chance
from training.refit.evaluated import evaluation_of
from training.refit.gate import Bars, Evidence, judge, passed
from training.refit.learn import Lesson, is_gain, learn, left_alone, on_all
from training.refit.made import history_of, next_version, write_release
from training.refit.report import write_page
from training.refit.scored import Learnt, Scored, learnt_outputs, score
from training.refit.verdicts import Verdicts, read_verdicts

Json = dict[str, Any]
Begin = Callable[[str, int], Callable[[], None]]  # what begins, of how many → what says that one is done
SEED = 20261122


@dataclass(frozen=True)
class Refitted:
    """What came of it. ``release`` is the folder that was written, None where the gate said no."""

    old: str
    new: str
    gates: tuple[Gate, ...]
    lessons: tuple[Lesson, ...]
    report: Json
    release: Path | None

    @property
    def passed(self) -> bool:
        """Tell whether the gate was passed."""
        return passed(self.gates)


def refit(folder: Path, verdicts_folder: Path, out: Path, shelf: Path, *, base: Path | None = None, bars: Bars | None = None,
          keep_anyway: bool = False, seed: int = SEED, begin: Begin = lambda *_: lambda: None) -> Refitted:
    """Refit the release in ``folder``; write ``out/refit.json`` and ``out/refit.html``, and the release into ``shelf``.

    ``base`` is a folder like a release with a fine-tuned network, whose head is fitted instead (then on val alone, since train
    made the network). Without the gate's word nothing is written to the shelf; ``keep_anyway`` keeps it in ``out``.
    Raises FileExistsError, BrokenModel, UnusableInput.
    """
    model = Model(folder)
    old = model.manifest
    new = f"{old.name}-{next_version(old.version)}"
    if (shelf / new).exists():
        raise FileExistsError(f"{shelf / new} exists and releases never change. Refit that one, or name another --shelf.")
    out.mkdir(parents=True, exist_ok=True)
    verdicts = read_verdicts(verdicts_folder, old.name)
    before = score(model, verdicts.rows, out / "scored.npz", begin("scoring what was judged", len(verdicts.rows)))
    start = before
    if base is not None:
        start = score(Model(base), verdicts.rows, out / "tuned.npz", begin("scoring again", len(verdicts.rows)))
        before, start = _both(before, start)
    outputs = learnt_outputs(model)
    went = begin("learning", 2 * FOLDS * len(outputs))
    learnt_from = ("train", "val") if base is None else ("val",)
    lessons = [learn(one, start, before, old, learnt_from=learnt_from, seed=seed, went=went) for one in outputs]
    main, *others = lessons  # what is not better stays as it is; the gate is on the first output
    lessons = [main, *(one if base is not None or is_gain(one) else left_alone(one) for one in others)]
    here = _auroc(on_all(main.of, before))
    evidence = Evidence(main.fit, main.noise, main.learnt, main.test, main.groups, here, stated_auroc(folder),
                        _tuned_on(main, before) if base else None, main.of.output.threshold,
                        contradicted=_contradicted(main.of, before))
    gates = judge(evidence, bars)
    report = _report(old.id, new, verdicts, before, lessons, gates, here)
    evaluation = evaluation_of(model, main, lessons, report, [*history_of(folder), report])
    said = {"learnt": main.learnt.n, "tested": main.test.n, "sha256": verdicts.sha256,
            "fits": "; ".join(f"{lesson.of.output.name}: {lesson.fit.choice.told}" for lesson in lessons)}
    place = shelf if passed(gates) else None
    release = _write(base or folder, _as_built(old, base), lessons, evaluation, said, out, place, keep=keep_anyway)
    write_evaluation(out / "refit.json", report)
    write_page(out / "refit.html", report, main)
    return Refitted(old.id, new, gates, tuple(lessons), report, release)


def stated_auroc(folder: Path) -> float | None:
    """Return the AUROC that the release's own evaluation states for its first population, None where it states none."""
    told = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    rows = told.get("rows") or [{}]
    value = rows[0].get("figures", {}).get("auroc", {}).get("value")
    return float(value) if isinstance(value, int | float) else None


def _write(base: Path, manifest: Manifest, lessons: list[Lesson], evaluation: Json, said: Json, out: Path, shelf: Path | None,
           *, keep: bool) -> Path | None:
    """Write the release beside the report; it appears on the shelf only when it is whole, sound and let through."""
    if shelf is None and not keep:
        return None
    made = out / f"{manifest.name}-{next_version(manifest.version)}"
    shutil.rmtree(made, ignore_errors=True)
    write_release(base, manifest, lessons, evaluation, said, made)
    if shelf is None:
        return made
    shelf.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(made, shelf / made.name))


def _as_built(old: Manifest, base: Path | None) -> Manifest:
    """Return the release's manifest, with what a fine-tuned network found of its own: graph, maps and limits of refusal."""
    if base is None:
        return old
    built = read_manifest(base)
    return old.model_copy(update={"graph": built.graph, "explains": built.explains, "refuses": built.refuses})


def _both(one: Scored, other: Scored) -> tuple[Scored, Scored]:
    """Keep the cases that both score, in one order."""
    if one is other:
        return one, other
    places = {id(row): place for place, row in enumerate(other.rows)}
    kept = [(place, places[id(row)]) for place, row in enumerate(one.rows) if id(row) in places]
    mine, theirs = ([pair[side] for pair in kept] for side in (0, 1))
    return _some(one, mine), _some(other, theirs)


def _some(scored: Scored, places: list[int]) -> Scored:
    rows = tuple(scored.rows[i] for i in places)
    return Scored(rows, scored.columns[places], scored.logits[places], scored.refused, scored.unreadable)


def _tuned_on(main: Lesson, scored: Scored) -> tuple[int, int]:
    """Return how many verdicts on the first output a fine-tuned network and its head learnt from, and of the rarer kind."""
    told = [row.truths[main.of.output.name] for row in scored.rows if row.split != "test" and main.of.output.name in row.truths]
    return len(told), int(min(sum(told), len(told) - sum(told)))


def _contradicted(of: Learnt, before: Scored) -> tuple[int, float] | None:
    """Return how many verdicts go against the old release's call, and how many would if its probabilities were right."""
    both, threshold = on_all(of, before), of.output.threshold
    if threshold is None or not len(both.y):
        return None
    p = chance(both.old)
    called = p >= threshold
    return int((called != (both.y > 0.5)).sum()), float(np.where(called, 1 - p, p).sum())


def _auroc(both: Both) -> tuple[float, float, float] | None:
    """Return the AUROC of the old release with its interval over people; None where there is none."""
    found = bootstrap.figure(bootstrap.auroc_of(both.y, both.old), both.groups.tolist())
    return None if found.low is None or found.high is None else (found.value, found.low, found.high)


def _report(old: str, new: str, verdicts: Verdicts, scored: Scored, lessons: list[Lesson], gates: tuple[Gate, ...],
            here: tuple[float, float, float] | None) -> Json:
    """Return what a person must know, as plain values: it becomes refit.json, and an entry of the new card's history."""
    outputs = {}
    for lesson in lessons:
        moved = np.abs(lesson.fit.weights)
        outputs[lesson.of.output.name] = {
            "fit": lesson.fit.choice.told, "noise": lesson.noise, "slope": lesson.fit.slope, "intercept": lesson.fit.intercept,
            "columns_moved": int((moved > 1e-6).sum()), "cross_validated_log_loss": lesson.fit.losses,
            "threshold": {"old": lesson.of.output.threshold, "new": lesson.threshold},
            "learnt": lesson.learnt.as_json(), "test": lesson.test.as_json(),
            "subgroups": [{"by": by, "group": group, **found.as_json()} for (by, group), found in lesson.groups.items()],
        }
    told: Json = plain({
        "schema_version": "1", "old": old, "new": new, "created": datetime.now(UTC).date().isoformat(),
        "verdicts": {"sha256": verdicts.sha256, "used": len(verdicts.rows), "left_out": dict(verdicts.left_out),
                     "declined_now": scored.refused, "unreadable": scored.unreadable,
                     "drawn_at_random": sum(row.picked in ("control", "test") for row in scored.rows),
                     "old_auroc_on_all": None if here is None else list(here)},
        "outputs": outputs, "gates": [one.model_dump() for one in gates],
        "passed": passed(gates),
    })
    return told
