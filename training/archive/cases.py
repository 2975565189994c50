"""Cases: what a source finds, what is kept of it in the private list, and what it becomes when it is opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.errors import DiaphaneError, UnusableInput
from models.read_any import Input
from training.archive.scored import PRIVATE, Names

Json = dict[str, Any]
LIST = "cases.jsonl"


class ArchiveAway(DiaphaneError):
    """A server did not answer, or not as it must: no fault of a case, which is tried again at the next start.

    ``code`` is source_unavailable, source_denied or source_changed.
    """

    def __init__(self, message: str, *, code: str = "source_unavailable") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Found:
    """One case as its source knows it, in clear: it never leaves the process that made the list, but for ``where``."""

    name: str = field(repr=False)  # what makes it one case: the UID of an image or series, a path, a reference
    where: Json = field(repr=False)  # how its source opens it again
    ids: dict[str, str] = field(default_factory=dict, repr=False)
    attributes: Json = field(default_factory=dict)
    bad: str = ""  # a code: the case fails without being opened
    files: int = 1


@dataclass(frozen=True)
class Case:
    """One line of the private list: keyed hashes, what is known of it, and where it lies."""

    case: str
    group: str
    ids: dict[str, str]
    attributes: Json
    where: Json = field(repr=False)
    bad: str = ""

    def to_line(self) -> str:
        """Return it as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Opened:
    """One case read: what a model scores, and what was found in it; ``parts`` are its DICOM files, for a copy."""

    input: Input = field(repr=False)
    ids: dict[str, str] = field(default_factory=dict, repr=False)
    attributes: Json = field(default_factory=dict)
    parts: tuple[Path | bytes, ...] = field(default=(), repr=False)


def case_of(found: Found, names: Names) -> Case:
    """Return a case by its hashes. Where nobody is named the case is a group of its own."""
    case = names.hash("case", found.name)
    ids = hashed(found.ids, names)
    return Case(case, ids.get("patient") or case, ids, found.attributes, found.where, found.bad)


def hashed(ids: dict[str, str], names: Names) -> dict[str, str]:
    """Return the keyed hash of every identifier that is not empty."""
    return {kind: code for kind, text in sorted(ids.items()) if (code := names.hash(kind, text))}


def case_of_line(line: str) -> Case:
    """Return the case of a line."""
    return Case(**json.loads(line))


def write_list(folder: Path, cases: Iterable[Case]) -> str:
    """Write the private list, by case, readable by its owner alone; return the hash of its cases."""
    path = folder / PRIVATE / LIST
    waiting = path.with_suffix(".part")
    digest = hashlib.sha256()
    with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        for one in sorted(cases, key=lambda one: one.case):
            digest.update(f"{one.case}\n".encode())
            file.write(one.to_line() + "\n")
        file.flush()
        os.fsync(file.fileno())
    waiting.replace(path)
    return digest.hexdigest()


def read_list(folder: Path) -> list[Case]:
    """Read the private list. Raises UnusableInput when it is damaged."""
    try:
        return [case_of_line(line) for line in (folder / PRIVATE / LIST).read_text("utf-8").splitlines()]
    except (OSError, ValueError, TypeError) as error:
        raise UnusableInput(f"{folder.name}/{PRIVATE}/{LIST}: must be the list that the first start wrote, it cannot be read. "
                            "Take a new --out.", code="bad_list") from error
