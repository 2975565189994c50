"""Made-up archives: rows and truth of persons who never were, with the figures that are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.manifest import Manifest, read_manifest, sha256_of
from models.statistics.binary import chance_of
from tests.make import ROOT
from training.archive.scored import ABOUT, KEY, KEY_BYTES, PRIVATE, ROWS, Names, Row, make_names
from training.commission.found import Found, find
from training.commission.requirements import read_requirements
from training.commission.truth import Truth

CHEST = ROOT / "models/released/chest_xray_pediatric-1.0.0"
ICU = ROOT / "models/released/icu_mortality-1.0.0"
CANARY = "TEST^PATIENT"
RESAMPLES = 50


def drawn(n: int = 600, *, seed: int = 0, spread: float = 2.5, mean: float = 0.0, slope: float = 1.0, level: float = 0.0,
          each: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits (n,), truths that follow level + slope · logit, and persons with ``each`` cases."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(mean, spread, n)
    truth = (rng.random(n) < chance_of(level + slope * logit)).astype(int)
    return logit, truth, np.array([f"person{i // each}" for i in range(n)])


def rows_of(folder: Path, output: str, logit: Sequence[float], persons: Sequence[str], *, attributes: Mapping[str, Any] | None = None,
            groups: Mapping[str, Sequence[str]] | None = None, refused: int = 0, reason: str = "out_of_distribution",
            failed: int = 0) -> tuple[list[Row], Names]:
    """Return scored rows, the last ``refused`` and ``failed`` of them without a score, with the names of their key."""
    (folder / PRIVATE).mkdir(exist_ok=True)
    (folder / PRIVATE / KEY).write_text("5e" * KEY_BYTES, encoding="ascii")  # one key: the same halves of persons in every run
    names = make_names(folder)
    model = read_manifest(folder).id if (folder / "manifest.json").is_file() else ""
    rows = []
    for place, (one, person) in enumerate(zip(logit, persons, strict=True)):
        ids = {kind: names.hash(kind, text) for kind, text in (
            ("file", f"images/{place}.dcm"), ("study", f"1.2.{place}"), ("accession", f"A{place}"), ("patient", f"{CANARY}{person}"))}
        own = {**(attributes or {}), **{by: values[place] for by, values in (groups or {}).items()}}
        left = len(logit) - place
        status = "failed" if left <= failed else "refused" if left <= failed + refused else "scored"
        p = float(chance_of([one])[0])
        rows.append(Row(
            ids["file"], ids["patient"], ids, model, status,
            "" if status == "scored" else reason if status == "refused" else "damaged",
            {output: p} if status == "scored" else {}, {}, {"input.mean": float(one)}, {}, own))
    return sorted(rows, key=lambda row: row.case), names


def truth_of(rows: Sequence[Row], names: Names, output: str, truth: Sequence[int], kind: str = "table") -> Truth:
    """Return the truth of the rows, in the order they were made in."""
    known = {names.hash("file", f"images/{place}.dcm"): int(one) for place, one in enumerate(truth)}
    return Truth(kind, "file", {output: known}, {output: len(rows) - len(known)}, {}, lines=len(known),
                 joined=len(known))  # type: ignore[arg-type]


def found_of(tmp_path: Path, release: Path = CHEST, *, kind: str = "table", require: Path | None = None, output: str = "",
             sound: str = "", **options: Any) -> Found:
    """Return what is found of a release on a made-up archive; ``options`` are those of ``drawn`` and ``rows_of``."""
    shape = {key: options.pop(key) for key in ("n", "seed", "spread", "mean", "slope", "level", "each") if key in options}
    logit, truth, persons = drawn(**shape)
    manifest = read_manifest(release)
    output = output or manifest.outputs[0].name
    rows, names = rows_of(tmp_path, output, logit.tolist(), persons.tolist(), **options)
    return find_in(manifest, release, rows, truth_of(rows, names, output, truth.tolist(), kind), require, sound)


def find_in(manifest: Manifest, release: Path, rows: Sequence[Row], truth: Truth, require: Path | None = None,
            sound: str = "") -> Found:
    """Compute with few resamples."""
    return find(manifest, (sha256_of(release / "manifest.json"), manifest.files["model.onnx"]), rows, {"kind": "folder"}, truth,
                read_requirements(manifest.task, require), sound=sound, resamples=RESAMPLES)


def written(folder: Path, release: Path, rows: Sequence[Row]) -> Path:
    """Write rows as training archive score would."""
    manifest = read_manifest(release)
    named = [Row(**{**json.loads(row.to_line()), "model": manifest.id}) for row in rows]
    (folder / ROWS).write_text("".join(f"{row.to_line()}\n" for row in named), encoding="utf-8")
    (folder / ABOUT).write_text(json.dumps({"kind": "folder", "manifest_sha256": sha256_of(release / "manifest.json")}),
                                encoding="utf-8")
    return folder


CHILDREN = {"age_years": 3.0, "view": "AP", "modality": "DX"}
