"""A local release: the next patch version with this site's threshold and line, inside the graph, and a card that says so.

Nothing is trained and nothing of a case goes in: a threshold and two numbers an output. The old release is left alone.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.check import check
from models.commissioned import Commissioning
from models.describe import describe
from models.errors import BrokenModel, UnusableInput
from models.golden import read_golden
from models.manifest import Manifest, Output, read_manifest, sha256_of
from models.reference import write_reference
from models.session import Session, SessionOptions
from models.statistics.binary import chance_of, fourfold
from training import binary_outcome, bootstrap
from training.archive.scored import Row
from training.commission.document import DECIDED, shown
from training.commission.found import Found, find
from training.commission.told import commissioning_of
from training.commission.words import count
from training.evaluate import plain, write_evaluation
from training.provenance import machine, versions
from training.recalibrated import moved, relined_map, rescaled_terms
from training.release import seal
from training.report import label

Line = tuple[float, float]  # slope, intercept
CLOSE = 2e-5  # relative; two float32 graphs of the same numbers


def changes_of(found: Found) -> tuple[dict[str, float], dict[str, Line]]:
    """Return the thresholds (on the old scale) and the lines that are worth a release: lines only where they repair."""
    values = {name: one.value for name, one in found.tuned.items() if one.value is not None}
    return values, {name: (one.slope, one.intercept) for name, one in found.fitted.items() if one.method and one.repaired}


def release_local(
    folder: Path, found: Found, shelf: Path, *, site: str = "", resamples: int = bootstrap.RESAMPLES
) -> tuple[Path, Found]:
    """Write the local release into ``shelf`` and return its folder, with what was found of it on cases it was not made from.

    Raises UnusableInput when there is nothing to change, and BrokenModel when the graph cannot take the line or does not check.
    """
    values, lines = changes_of(found)
    old = read_manifest(folder)
    if not values and not lines:
        raise UnusableInput(f"{old.id}: a local release needs a threshold or a line that was shown to repair, found neither. "
                            "It serves as it is, or not at all.", code="nothing_to_change")
    manifest = _manifest(old, values, lines, shelf, folder)
    target = shelf / manifest.id
    with tempfile.TemporaryDirectory(prefix="local-") as staging:
        made = Path(staging) / manifest.id
        shutil.copytree(folder, made, ignore=shutil.ignore_patterns("manifest.json", "model.*.onnx"))
        if lines:
            _relined(folder, made, old, manifest, lines)
        seal(made, manifest)
        found_here = _found(found, read_manifest(made), made, values, lines, resamples)
        told = commissioning_of(found_here)
        write_evaluation(made / "evaluation.json", evaluation_of(found_here, resamples))
        write_reference(made / "reference.json", found_here.reference)
        (made / "CARD.md").write_text(_card((folder / "CARD.md").read_text("utf-8"), old, found_here.manifest, told, found_here,
                                            site), "utf-8")
        seal(made, manifest)
        check(made)
        found_here = replace(found_here, manifest=read_manifest(made), manifest_sha256=sha256_of(made / "manifest.json"))
        shelf.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise FileExistsError(f"{target} exists and releases never change.")
        shutil.copytree(made, target)
    return target, found_here


def _manifest(old: Manifest, values: Mapping[str, float], lines: Mapping[str, Line], shelf: Path, folder: Path) -> Manifest:
    major, minor, patch = map(int, old.version.split("."))
    while True:
        patch += 1
        name = f"{old.name}-{major}.{minor}.{patch}"
        if not (shelf / name).exists() and not (folder.parent / name).exists():
            break
    day = datetime.now(UTC).date().isoformat()
    outputs = [_output(output, old, values, lines) for output in old.outputs]
    bias = dict(old.explains.bias)
    for name, (slope, intercept) in lines.items():
        channel = str(channel_of(old.output(name)))
        bias[channel] = float(np.float32(bias[channel]) * np.float32(slope) + np.float32(intercept))
    said = f"A local version of {old.id}, made by commissioning on {day}: " + "; ".join(_changes(old, outputs)) + "."
    return old.model_copy(update={
        "version": f"{major}.{minor}.{patch}", "outputs": outputs, "precisions": [],
        "explains": old.explains.model_copy(update={"bias": bias}),
        "training_data": old.training_data.model_copy(update={"cautions": [*old.training_data.cautions, said]}),
        "provenance": old.provenance.model_copy(update={"created": day}),
    })


def _output(output: Output, old: Manifest, values: Mapping[str, float], lines: Mapping[str, Line]) -> Output:
    threshold, reason, calibration = output.threshold, output.threshold_reason, output.calibration
    if output.name in values:
        threshold = values[output.name]
        reason = "Tuned on cases of this site for the sensitivity asked for, with a margin: see the card."
    if output.name in lines:
        slope, intercept = lines[output.name]
        if threshold is not None:
            threshold = moved(threshold, slope, intercept)
            reason += "" if output.name in values else f" Moved with the scale: it calls the same patients as {old.id}."
        before = calibration or {"slope": 1.0, "intercept": 0.0}
        calibration = {"slope": before["slope"] * slope, "intercept": before["intercept"] * slope + intercept}
    return output.model_copy(update={"threshold": threshold, "threshold_reason": reason, "calibration": calibration,
                                     "calibrated": output.calibrated or output.name in lines})


def channel_of(output: Output) -> int:
    """Return the column of the graph's logit that is this output's."""
    return output.index if output.map_index is None else output.map_index


def _relined(folder: Path, made: Path, old: Manifest, new: Manifest, lines: Mapping[str, Line]) -> None:
    """Put the lines into model.onnx, and make golden.npz anew after comparing with the old answers, number by number."""
    graph, golden = onnx.load(str(made / "model.onnx")), read_golden(made)
    by_channel = {channel_of(old.output(name)): line for name, line in lines.items()}
    if old.explains.method == "additive_contributions" and old.explains.link == "logit":
        names = [output.name for output in old.outputs]
        whose = [names.index(term.output) if term.output else 0 for term in old.terms] if len(names) > 1 else None
        graph = rescaled_terms(graph, by_channel, whose)
    elif old.explains.method == "class_activation_map":
        graph = relined_map(graph, old.graph.outputs, by_channel, golden["logit"].shape[1])
    else:
        raise BrokenModel(f"{old.id}: a line goes into additive models and class activation maps, found {old.explains.method}.")
    onnx.save(graph, str(made / "model.onnx"))
    seal(made, new)
    options = SessionOptions(provider="cpu", precision="fp32")  # both on one runtime: the golden answers were another's
    answers = Session(made, read_manifest(made), options).run(golden["input"])
    _compare(old, lines, Session(folder, old, options).run(golden["input"]), answers)
    np.savez_compressed(made / "golden.npz", input=golden["input"], **answers)


def _compare(old: Manifest, lines: Mapping[str, Line], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raise BrokenModel unless logits moved by the lines, probabilities are theirs, and nothing else changed."""
    expected = before["logit"].astype(np.float64)
    for name, (slope, intercept) in lines.items():
        channel = channel_of(old.output(name))
        expected[:, channel] = expected[:, channel] * slope + intercept
    faults = [] if _close(after["logit"], expected) else ["the logit is not the line of the old one"]
    for output in old.outputs:
        told = after["probability"][:, output.index]
        if output.name in lines and not _close(told, chance_of(expected[:, channel_of(output)])):
            faults.append(f"the probability of {output.name} is not that of its logit: it shares it with others, as by a softmax")
        if output.name not in lines and output.shown_only_if is None and not _close(told, before["probability"][:, output.index]):
            faults.append(f"the probability of {output.name} changed, which has no line")
    if "ood" in before and not _close(after["ood"], before["ood"]):
        faults.append("the scores of outsiders changed")
    if faults:
        raise BrokenModel(f"{old.id}: the line cannot be put into this graph: {'; '.join(faults)}. Keep the threshold alone.")


def _close(found: Any, wanted: Any) -> bool:
    return bool((np.abs(np.asarray(found, np.float64) - wanted) <= CLOSE * (1 + np.abs(wanted))).all())


def _found(found: Found, manifest: Manifest, made: Path, values: Mapping[str, float], lines: Mapping[str, Line],
           resamples: int) -> Found:
    """Measure the local release: by the lines that did not see a case's person, on persons its threshold was not tuned on."""
    mains = [output.name for output in manifest.outputs if output.shown_only_if is None]
    crossed: dict[str, dict[str, float]] = {}
    for name in lines:
        crossed[name] = dict(zip(_cases(found, name), chance_of(found.fitted[name].crossed).tolist(), strict=True))
    rows = [_row(row, manifest.id, mains, lines, crossed) for row in found.rows]
    served = [_row(row, manifest.id, mains, lines, {}) for row in found.rows]
    notes = []
    if lines:
        notes.append("Calibration of this local version was measured with lines that did not see the person of a case.")
    if values:
        notes.append("What the threshold of this local version does was measured on the half of the persons that it was not tuned "
                     "on. Where that half lowered the threshold, its sensitivity is a little flattered.")
    truth = replace(found.truth, known={name: one for name, one in found.truth.known.items() if name in mains})
    return find(manifest, (sha256_of(made / "manifest.json"), manifest.files["model.onnx"]), rows, found.about, truth, found.rule,
                proposing=False, resamples=resamples, notes=tuple(notes), reference_rows=served, checked_only=bool(values))


def _cases(found: Found, name: str) -> list[str]:
    """Return the cases of an output's scored outcome, in its order."""
    known = found.truth.known[name]
    return [row.case for row in found.rows if row.case in known and row.status == "scored" and name in row.values]


def _row(row: Row, model: str, mains: Sequence[str], lines: Mapping[str, Line], crossed: Mapping[str, Mapping[str, float]]) -> Row:
    values = {name: value for name, value in row.values.items() if name in mains}
    for name, (slope, intercept) in lines.items():
        if name in values:
            values[name] = crossed.get(name, {}).get(row.case) or moved(min(max(values[name], 1e-7), 1 - 1e-7), slope, intercept)
    return replace(row, model=model, values=values, logits={})


def evaluation_of(found: Found, resamples: int) -> dict[str, Any]:
    """Return the local figures in the form of evaluation.json, so that pages show this site's and not the maker's."""
    rows: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    for output in found.judged:
        scored = found.outcomes[output.name].scored()
        if not scored.positives or not scored.negatives:
            continue
        persons = scored.persons.tolist()
        rows.append({**binary_outcome.row(
            "population", "this site", "cases of commissioning with a score and a known truth", truth=scored.y, patients=persons,
            found=binary_outcome.figures(scored.y, scored.p, output.threshold, persons, resamples=resamples)), "output": output.name})
        if not first:
            threshold = output.threshold
            cells = fourfold(scored.y, scored.p >= threshold) if threshold is not None else None
            first = {"curves": binary_outcome.curves(scored.y, scored.p, persons, resamples=min(resamples, 200)),
                     "confusion": {} if cells is None else {
                "threshold": threshold, "true_positive": cells.true_positive, "false_positive": cells.false_positive,
                "false_negative": cells.false_negative, "true_negative": cells.true_negative}}
    kept: dict[str, Any] = plain({
        "schema_version": "1", "model": found.manifest.id, "title": "Cases of commissioning at this site",
        "task": found.manifest.task,
        "quick": False, "created": datetime.now(UTC).date().isoformat(), "onnx_sha256": found.onnx_sha256,
        "ran_on": {"backend": "as served", "precision": "fp32", "machine": machine(), "versions": versions()},
        "data": {"name": "this site's archive", "split": "commissioning", "licence": "of the site", "sha256": found.about.get(
            "cases_sha256", "")},
        "method": {"interval": "95 % percentile of a bootstrap over patients", "unit": "patient", "resamples": resamples,
                   "seed": bootstrap.SEED, "ece": binary_outcome.ECE_BINNING, "bars": "none: see commissioning.json"},
        "rows": rows, "bars": [], "confusion": first.get("confusion", {}), "curves": first.get("curves", {}), "refusals": [],
        "references": [], "rejected": [], "audits": {}, "unknown": ["see commissioning.json"],
    })
    return kept


def _card(text: str, old: Manifest, new: Manifest, told: Commissioning, found: Found, site: str) -> str:
    """Return the maker's card with the new name and description, and what was found here before everything else."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,  # noqa: S701  Markdown
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    environment.filters.update(number=count, label=label, figure=lambda one: shown(one, "en"))
    here = environment.get_template("here.md.j2").render(
        old=old.id, told=told, site=site, decided=DECIDED[told.decision], notes=found.notes, changes=_changes(old, new.outputs))
    head, mark, rest = text.partition("\n## ")
    head = head.replace(f"`{old.id}`", f"`{new.id}`")
    described = f"```text\n{describe(new).strip()}\n```"
    body = re.sub(r"```text\n.*?\n```", lambda _: described, mark + rest, count=1, flags=re.DOTALL)
    return f"{head}\n{here}{body.lstrip(chr(10)) if body else ''}"


def _changes(old: Manifest, outputs: Sequence[Output]) -> list[str]:
    told = []
    for output in outputs:
        before = old.output(output.name)
        if output.calibration != before.calibration:
            slope = output.calibration["slope"] / (before.calibration or {"slope": 1.0})["slope"]
            shift = output.calibration["intercept"] - (before.calibration or {"intercept": 0.0})["intercept"] * slope
            told.append(f"{output.name}: logit times {slope:.4f} plus {shift:.4f}")
        if output.threshold is not None and before.threshold is not None and output.threshold != before.threshold:
            told.append(f"{output.name}: threshold {output.threshold:.4f} instead of {before.threshold:.4f}")
    return told
