"""De-identified copies of what was scored, where --keep-images asks for them: FOLDER/images/CASE/N.dcm, or records/CASE.json.

DICOM goes by the profile of PS3.15 annex E as models.deidentify does it; a picture in which letters may stand is held back.
"""

from __future__ import annotations

import json
from pathlib import Path

from models.deidentify.burned_in import look_at
from models.deidentify.dataset import deidentify, written
from models.deidentify.record import deidentify_record
from models.deidentify.rules import Rules
from models.dicom_bytes import parse
from models.errors import UnusableInput
from models.record import Record
from models.record_json import record_to_json
from training.archive.cases import Case, Opened
from training.archive.scored import Names

KEPT, HELD_BACK, NOT_POSSIBLE = "kept", "held_back", "not_possible"
RULES = Rules()


def keep(case: Case, opened: Opened, folder: Path, names: Names) -> str:
    """Write the copy of one case and return kept, held_back (all of it) or not_possible.

    Pictures without a DICOM header are not copied: what stands in them could not be judged by their kind.
    """
    person = case.group
    if isinstance(opened.input, Record):
        record = deidentify_record(opened.input, RULES, names.key, person=person)
        _write(folder / "records" / f"{case.case}.json", json.dumps(record_to_json(record)).encode())
        return KEPT
    if not opened.parts:
        return NOT_POSSIBLE
    made: list[bytes] = []
    for part in opened.parts:
        dataset = parse(part)
        if look_at(dataset).verdict != "leave":
            return HELD_BACK
        try:
            made.append(written(deidentify(dataset, RULES, names.key, person=person)[0]))
        except UnusableInput:
            return NOT_POSSIBLE
    for number, data in enumerate(made, start=1):
        _write(folder / "images" / case.case / f"{number}.dcm", data)
    return KEPT


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    waiting = path.with_suffix(".part")
    waiting.write_bytes(data)
    waiting.replace(path)
