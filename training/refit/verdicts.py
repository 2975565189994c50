"""Verdicts: a de-identified set (python -m service rights dataset --with-verdicts) as truth, with what was left out and why.

Agreeing confirms each finding as the model gave it; a correction says what is there. A rejection says that an answer is not to
be used, and seldom what the right one is: it is counted by its reason and teaches nothing.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import nan
from pathlib import Path
from typing import Any

from models.errors import UnusableInput

Json = dict[str, Any]
SPLITS = ("train", "val", "test")
AGES = ((0, 1), (1, 5), (5, 18), (18, 50), (50, 65), (65, 75), (75, 130))


@dataclass(frozen=True)
class Judged:
    """One judged result. ``truths``: output → 1.0 or 0.0; what was not judged has no key.

    ``picked`` is why it was offered to be judged: ``control`` and ``test`` were drawn at random.
    """

    group: str
    split: str
    truths: Mapping[str, float]
    files: tuple[Path, ...] = ()
    record: Json = field(default_factory=dict, repr=False)
    moment_h: float | None = None
    subgroups: Mapping[str, str] = field(default_factory=dict)
    picked: str = ""


@dataclass(frozen=True)
class Verdicts:
    """The judged results on one model, in whichever version, and how many lines were left out, by reason."""

    rows: tuple[Judged, ...]
    left_out: Mapping[str, int]
    sha256: str

    def of(self, *splits: str) -> list[Judged]:
        """Return the rows on some sides of the split."""
        return [row for row in self.rows if row.split in splits]


def read_verdicts(folder: Path, name: str) -> Verdicts:
    """Read the lines of a set about the model ``name`` (without its version).

    Raises UnusableInput where the folder is no such set, or a person lies on two sides of its split.
    """
    images = _images(folder)
    neither = {row["group"] for row in _table(folder / "neither.csv")}
    rows, left_out = [], Counter[str]()
    for line in (*_lines(folder / "labels.jsonl"), *_lines(folder / "records.jsonl")):
        if str(line.get("model", "")).rpartition("-")[0] != name:
            left_out["about another model"] += 1
            continue
        why = _why_not(line, neither)
        truths = {} if why else truths_of(line)
        if why or not truths:
            left_out[why or "nothing was said of a finding"] += 1
            continue
        files = tuple(folder / str(one) for one in line.get("files", ()))
        seen = images.get(str(line["files"][0]), {}) if files else _of_record(line["record"])
        moment = line.get("moment_h")
        rows.append(Judged(str(line["group"]), str(line["split"]), truths, files, dict(line.get("record") or {}),
                           float(moment) if isinstance(moment, int | float) else None, seen, str(line.get("picked", ""))))
    _check_split(rows)
    return Verdicts(tuple(rows), dict(left_out), _sha256(folder))


def truths_of(line: Json) -> dict[str, float]:
    """Return what was said of each finding: 1.0 present, 0.0 not; nothing of one on which the reader said nothing.

    >>> truths_of({"decision": "agree", "assessed": [{"name": "pneumonia", "ai_present": True, "present": None}]})
    {'pneumonia': 1.0}
    """
    told = {}
    for one in line.get("assessed", ()):
        said = one.get("present")
        if said is None and line["decision"] == "agree":
            said = one.get("ai_present")
        if isinstance(said, bool):
            told[str(one["name"])] = float(said)
    return told


def _why_not(line: Json, neither: set[str]) -> str:
    decision = line.get("decision", "")
    if line.get("group") in neither or line.get("split") not in SPLITS:
        return "of a person who was on two sides of the split"
    if not decision:
        return "not judged"
    if line.get("in_force") is False:
        return "a second reader is waited for"
    if decision == "reject":
        return f"rejected: {line.get('reason_code') or 'no reason'}"
    return "" if line.get("status") == "scored" else "the model had declined"


def _images(folder: Path) -> dict[str, dict[str, str]]:
    """Return what a set says of each image that groups are made of."""
    return {row["file"]: {
        "sex": row.get("sex", ""), "age": age_band(_years(row.get("age", ""))), "view": row.get("view", ""),
        "modality": row.get("modality", ""),
    } for row in _table(folder / "manifest.csv")}


def _of_record(record: Json) -> dict[str, str]:
    static = record.get("static", {})
    male, years = static.get("male"), static.get("age_years")
    return {"sex": {1.0: "M", 0.0: "F"}.get(male, ""), "age": age_band(nan if years is None else float(years))}


def age_band(years: float) -> str:
    """Return the band of an age in years, "" where it is not known.

    >>> (age_band(3.0), age_band(float("nan")))
    ('1-4', '')
    """
    return next((f"{low}-{high - 1}" for low, high in AGES if low <= years < high), "")


def _years(text: str) -> float:
    """Read an age as DICOM writes it (003Y, 018M): PS3.5, value representation AS."""
    parts = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
    return int(text[:3]) * parts[text[3]] if len(text) == 4 and text[:3].isdigit() and text[3] in parts else nan


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _lines(path: Path) -> Iterable[Json]:
    if not path.is_file():
        raise UnusableInput(f"A set of verdicts needs {path.name}, found none. Write one with: python -m service rights dataset "
                            "FOLDER --with-verdicts", code="no_set")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield json.loads(line)
            except ValueError:
                raise UnusableInput(f"{path.name} must hold one JSON object a line, found another in line {number}.",
                                    code="no_set") from None


def _check_split(rows: Iterable[Judged]) -> None:
    sides: dict[str, str] = {}
    for row in rows:
        if sides.setdefault(row.group, row.split) != row.split:
            raise UnusableInput("A person must lie on one side of the split, found one on two. Sets are not to be mixed: write "
                                "one anew.", code="split")


def _sha256(folder: Path) -> str:
    parts = [path.read_bytes() for name in ("labels.jsonl", "records.jsonl", "manifest.csv") if (path := folder / name).is_file()]
    return hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
