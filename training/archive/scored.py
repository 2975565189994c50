"""What remains of an archive that was scored: one row a case, figures and keyed hashes, nothing of a person in clear.

    FOLDER/rows.jsonl      one Row a line, by case: the same bytes whatever the number of workers, engines and restarts
    FOLDER/timings.jsonl   the seconds each case took, apart, for they are never the same
    FOLDER/archive.json    what was scored with what: kind of archive, counts, period, hash of the list of cases
    FOLDER/private/        for its owner alone: the key of the hashes, where every case lies, the shards of each worker
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from models.errors import UnusableInput

Status = Literal["scored", "refused", "failed"]
ID_KINDS = ("sop", "study", "accession", "patient", "file")
ROWS, TIMINGS, ABOUT, PRIVATE, KEY = "rows.jsonl", "timings.jsonl", "archive.json", "private", "key"
KEY_BYTES, HASH_DIGITS = 32, 32


@dataclass(frozen=True)
class Row:
    """One case, scored, refused or failed.

    ``reason``: of a refusal its ``models.prediction.Reason``, of a failure a code such as damaged_dicom or worker_died.
    ``values`` and ``logits`` hold the outputs the release shows for this case: one that is shown only above another's
    threshold is missing below it.
    """

    case: str  # pseudonymous: keyed hash of what makes it one case
    group: str  # pseudonymous person; the case itself where nobody is named
    ids: dict[str, str]  # of ID_KINDS, those the case has → keyed hash, as Names.hash gives it
    model: str  # id of the release
    status: Status
    reason: str = ""
    values: dict[str, float] = field(default_factory=dict)  # output → probability, millilitres or quantity
    logits: dict[str, float] = field(default_factory=dict)
    statistics: dict[str, float] = field(default_factory=dict)  # Prediction.input_statistics
    quality: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)  # sex, age_years, view, modality, manufacturer, device, …
    seconds: float = field(default=0.0, compare=False)  # kept in timings.jsonl

    def to_line(self) -> str:
        """Return the line of rows.jsonl, without its end: keys in order, no seconds."""
        told = asdict(self)
        del told["seconds"]
        return json.dumps(told, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@dataclass(frozen=True)
class Names:
    """The key of one folder: the only way from an identifier to its row. Whoever has the key can join; nobody can go back."""

    key: bytes = field(repr=False)

    def hash(self, kind: str, text: str) -> str:
        """Return the keyed hash (HMAC-SHA-256, 32 hexadecimal digits) of an identifier; "" of an empty one.

        ``kind`` is one of ID_KINDS; blanks and NULs around the text do not count. A file is its path below the archive's
        folder, with / between its parts.
        """
        bare = text.strip("\0 \t\r\n")
        if not bare:
            return ""
        return hmac.new(self.key, f"{kind}\x1f{bare}".encode(), hashlib.sha256).hexdigest()[:HASH_DIGITS]


def names_of(folder: Path) -> Names:
    """Return the names of a folder. Raises UnusableInput when its key is not there."""
    path = folder / PRIVATE / KEY
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except (OSError, ValueError) as error:
        raise UnusableInput(f"{folder.name}/{PRIVATE}/{KEY}: a folder of scored cases must have its key, found none that can be "
                            "read. Name the folder that training archive score wrote.", code="no_key") from error
    if len(key) < KEY_BYTES:
        raise UnusableInput(f"{folder.name}/{PRIVATE}/{KEY}: at least {KEY_BYTES} bytes, found {len(key)}. Restore the key.",
                            code="no_key")
    return Names(key)


def make_names(folder: Path) -> Names:
    """Return the names of a folder, with a new key at its first start; the key is readable by its owner alone."""
    private = folder / PRIVATE
    private.mkdir(parents=True, exist_ok=True, mode=0o700)
    private.chmod(0o700)
    if not (private / KEY).exists():
        write_private(private / KEY, secrets.token_hex(KEY_BYTES) + "\n")
    return names_of(folder)


def write_private(path: Path, text: str) -> None:
    """Write a file for its owner alone, whole or not at all."""
    waiting = path.with_name(f"{path.name}.part")
    with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    waiting.replace(path)


def read_rows(folder: Path) -> list[Row]:
    """Return all rows, by case, with their seconds. Raises UnusableInput when scoring has not come to its end."""
    try:
        lines = (folder / ROWS).read_text("utf-8").splitlines()
    except OSError as error:
        raise UnusableInput(f"{folder.name}/{ROWS}: an archive must be scored to its end first, found no rows. "
                            "Start training archive score again with the same --out.", code="not_scored") from error
    seconds = _read_seconds(folder / TIMINGS)
    try:
        return [row_of(json.loads(line), seconds) for line in lines]
    except (ValueError, TypeError) as error:
        raise UnusableInput(f"{folder.name}/{ROWS}: every line must be one row, found something else. Score the archive again.",
                            code="bad_rows") from error


def read_about(folder: Path) -> dict[str, Any]:
    """Return archive.json. Raises UnusableInput when there is none."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableInput(f"{folder.name}/{ABOUT}: must say what was scored, it cannot be read. Score the archive again.",
                            code="not_scored") from error
    return about


def row_of(told: dict[str, Any], seconds: dict[str, float] | None = None) -> Row:
    """Return the row that was written; a key that is not a row's raises TypeError."""
    names = {one.name for one in fields(Row)}
    if not set(told) <= names:
        raise TypeError("not a row")
    row = Row(**told)
    return Row(**{**told, "seconds": seconds[row.case]}) if seconds and row.case in seconds else row


def _read_seconds(path: Path) -> dict[str, float]:
    if not path.is_file():
        return {}
    return {str(one["case"]): float(one["seconds"]) for one in map(json.loads, path.read_text("utf-8").splitlines())}
