"""Scored: judged cases through a released graph once: what it said, and the columns its head is made of.

The columns of an image are the pooled features under the class activation map, those of a record what each table adds.
Images are kept in a cache beside the report, by their content: a killed run goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from models.errors import BrokenModel, UnusableInput
from models.manifest import Output
from models.model import Model
from models.prediction import Prediction
from models.read_any import read_any
from models.record_json import record_of_json
from models.volume import Volume
from training.refit.graphs import POOLED, head_of, runner, with_pooled
from training.refit.verdicts import Judged

Floats = NDArray[np.float64]
CACHED = 100  # images after which the cache is written


@dataclass(frozen=True)
class Scored:
    """The judged cases a release scores: columns (n, d), logits (n, K), probabilities by output (n,), and the rows themselves."""

    rows: tuple[Judged, ...]
    columns: Floats
    logits: Floats
    refused: int
    unreadable: int

    def truth(self, output: str) -> Floats:
        """Return the verdicts on one output (n,), NaN where nothing was said."""
        return np.array([row.truths.get(output, np.nan) for row in self.rows])

    @property
    def groups(self) -> NDArray[np.str_]:
        """Return whose each case is (n,)."""
        return np.array([row.group for row in self.rows], dtype=np.str_)


@dataclass(frozen=True)
class Learnt:
    """One output that can be learnt: its logit's column, and the output that must be there first ("" for none)."""

    output: Output
    logit: int
    given: str = ""


def learnt_outputs(model: Model) -> list[Learnt]:
    """Return the outputs that have a logit of their own, each logit once. Raises BrokenModel for models that have none."""
    manifest = model.manifest
    risk = manifest.task == "risk" and manifest.explains.method == "additive_contributions" and manifest.explains.link == "logit"
    if not (risk or (manifest.task == "image_classification" and manifest.explains.method == "class_activation_map")):
        raise BrokenModel(f"{manifest.id}: a refit takes classifiers of radiographs and additive risks, found {manifest.task} with "
                          f"{manifest.explains.method}.")
    found: dict[int, Learnt] = {}
    for one in manifest.outputs:
        column = one.index if risk else one.map_index
        if column is not None and str(column) in manifest.explains.bias and one.kind == "probability":
            found.setdefault(column, Learnt(one, column, one.shown_only_if or ""))
    return list(found.values())


def score(model: Model, rows: Sequence[Judged], cache: Path, went: Callable[[], None] = lambda: None) -> Scored:
    """Score judged cases; those the model declines or cannot read are counted and left out."""
    return _score_records(model, rows, went) if model.manifest.task == "risk" else _score_images(model, rows, cache, went)


def _score_records(model: Model, rows: Sequence[Judged], went: Callable[[], None]) -> Scored:
    first, bias = model.manifest.outputs[0].name, model.manifest.explains.bias
    whose = [model.manifest.output(term.output or first).index for term in model.manifest.terms]
    kept, parts, refused, unreadable = [], [], 0, 0
    for row in rows:
        try:
            result = model.predict(record_of_json(row.record), moment_h=row.moment_h)
        except UnusableInput:
            unreadable += 1
            continue
        if isinstance(result, Prediction):
            kept.append(row)
            parts.append([one.logit for one in result.explanation.contributions])
        else:
            refused += 1
        went()
    columns = np.array(parts, np.float64).reshape(len(kept), len(whose))
    logits = np.stack([columns[:, np.array(whose) == int(k)].sum(axis=1) + value for k, value in sorted(bias.items())], axis=1)
    return Scored(tuple(kept), columns, logits, refused, unreadable)


def _score_images(model: Model, rows: Sequence[Judged], cache: Path, went: Callable[[], None]) -> Scored:
    graph = onnx.load(str(model.folder / "model.onnx"))
    run = runner(with_pooled(graph, head_of(graph, model.manifest)))
    roles = model.manifest.graph.outputs
    known = _read(cache, model)
    kept, pooled, logits, refused, unreadable = [], [], [], 0, 0
    for place, row in enumerate(rows, start=1):
        for path in row.files:
            mark = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
            if mark and mark not in known:
                known[mark] = _image(model, path, run, roles["logit"])
            told = known.get(mark, "unreadable")
            if isinstance(told, str):
                refused, unreadable = refused + (told == "refused"), unreadable + (told == "unreadable")
                continue
            kept.append(row)
            pooled.append(told[0])
            logits.append(told[1])
        if place % CACHED == 0 or place == len(rows):
            _write(cache, model, known)
        went()
    if not kept:
        return Scored((), np.zeros((0, 0)), np.zeros((0, 1)), refused, unreadable)
    return Scored(tuple(kept), np.stack(pooled).astype(np.float64), np.stack(logits).astype(np.float64), refused, unreadable)


Known = dict[str, str | tuple[NDArray[np.float32], NDArray[np.float32]]]


def _image(model: Model, path: Path, run: Callable[..., list[NDArray[np.float32]]],
           logit: str) -> str | tuple[NDArray[np.float32], NDArray[np.float32]]:
    try:
        volume = read_any(path)
        if not isinstance(volume, Volume):
            return "unreadable"
        if not isinstance(model.predict(volume), Prediction):
            return "refused"
        pooled, found = run([POOLED, logit], model.prepare(volume))
    except UnusableInput:
        return "unreadable"
    return pooled[0], found[0]


def _read(cache: Path, model: Model) -> Known:
    try:
        with np.load(cache, allow_pickle=False) as file:
            if str(file["onnx"]) != model.manifest.files["model.onnx"]:
                return {}
            known: Known = {str(mark): str(why) for mark, why in zip(file["marks_out"], file["why"], strict=True)}
            known |= {str(mark): (p, x) for mark, p, x in zip(file["marks"], file["pooled"], file["logits"], strict=True)}
    except (OSError, ValueError, KeyError, EOFError):
        return {}
    return known


def _write(cache: Path, model: Model, known: Known) -> None:
    told = {mark: one for mark, one in known.items() if not isinstance(one, str)}
    out = {mark: one for mark, one in known.items() if isinstance(one, str)}
    part = cache.with_suffix(".part.npz")
    part.parent.mkdir(parents=True, exist_ok=True)
    np.savez(part, onnx=np.array(model.manifest.files["model.onnx"]), marks=np.array(list(told), dtype=np.str_),
             pooled=np.array([one[0] for one in told.values()]), logits=np.array([one[1] for one in told.values()]),
             marks_out=np.array(list(out), dtype=np.str_), why=np.array(list(out.values()), dtype=np.str_))
    part.replace(cache)
