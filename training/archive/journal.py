"""The journal of a folder: every outcome as it comes, one file a start, so that a run that was killed goes on where it was.

What was written survives the death of any process; it is forced to the disk every second, so a power cut costs that second.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.archive.score_case import Outcome
from training.archive.scored import PRIVATE, ROWS, TIMINGS, Row

FORCED_EVERY_S = 1.0
AWAY = frozenset(("source_unavailable", "source_denied", "source_changed"))  # tried again at the next start


@dataclass(frozen=True)
class Noted:
    """Where the outcome of a case stands, and what it is in a word."""

    path: Path
    at: int
    length: int
    status: str
    reason: str
    kept: str

    @property
    def again(self) -> bool:
        """Whether it is tried again at the next start."""
        return self.reason in AWAY

    def read(self) -> dict[str, Any]:
        """Return the outcome as it was written."""
        with self.path.open("rb") as file:
            file.seek(self.at)
            told: dict[str, Any] = json.loads(file.read(self.length))
        return told


class Journal:
    """``with Journal(folder) as journal:`` and ``add``; opening it begins a new file."""

    def __init__(self, folder: Path) -> None:
        private = folder / PRIVATE
        number = 1 + len(list(private.glob("journal-*.jsonl")))
        descriptor = os.open(private / f"journal-{number:04}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "ab")
        self._forced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.fsync(self._file.fileno())
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Write one outcome."""
        self._file.write(json.dumps(outcome.to_json(), sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n")
        self._file.flush()
        if time.monotonic() - self._forced > FORCED_EVERY_S:
            os.fsync(self._file.fileno())
            self._forced = time.monotonic()


def read_journal(folder: Path) -> dict[str, Noted]:
    """Return case → where its outcome stands; one that is final is not replaced by one that is not."""
    found: dict[str, Noted] = {}
    for path in sorted((folder / PRIVATE).glob("journal-*.jsonl")):
        for case, noted in _lines(path):
            if case not in found or found[case].again or not noted.again:
                found[case] = noted
    return found


def merge(folder: Path, noted: dict[str, Noted]) -> None:
    """Write rows.jsonl and timings.jsonl from the journal, by case."""
    rows, timings = folder / f"{ROWS}.part", folder / f"{TIMINGS}.part"
    with rows.open("w", encoding="utf-8") as row_file, timings.open("w", encoding="utf-8") as time_file:
        for case in sorted(noted):
            told = noted[case].read()
            row_file.write(Row(**told["row"]).to_line() + "\n")
            time_file.write(json.dumps({"case": case, "seconds": round(told["seconds"], 6)}) + "\n")
        for file in (row_file, time_file):
            file.flush()
            os.fsync(file.fileno())
    timings.replace(folder / TIMINGS)
    rows.replace(folder / ROWS)


def _lines(path: Path) -> Iterator[tuple[str, Noted]]:
    """Yield what a file holds; a last line that was cut short never happened."""
    at = 0
    with path.open("rb") as file:
        for line in file:
            try:
                told = json.loads(line)
                row = told["row"]
                yield told["case"], Noted(path, at, len(line), row["status"], row["reason"], told["kept"])
            except (ValueError, KeyError, TypeError):
                pass
            at += len(line)
