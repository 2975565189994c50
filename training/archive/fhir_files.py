"""FHIR in files: Bundles about one person each, and the NDJSON of a bulk export, a stay or a person a case.

https://hl7.org/fhir/uv/bulkdata/. The person of a case is the logical id of its Patient, the study that of its Encounter.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isnan
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from models.fhir.bundle import own_reference, plain_reference, reference, table, text
from models.fhir.stay import NOT_HELD
from models.fhir.times import span_of
from models.manifest import read_manifest
from models.read_fhir import parse, read_bundle
from models.record import Record
from training.archive.cases import Found, Json, Opened
from training.archive.plan import Plan
from training.archive.scored import PRIVATE
from training.archive.table import told_age

INDEX = "export.sqlite"
MAX_LINE_BYTES = 32 * 2**20
READ = (  # what a release may look at; the rest of an export, claims first, is passed over
    "Patient", "Encounter", "Observation", "Condition", "Procedure", "MedicationRequest", "MedicationStatement",
    "MedicationAdministration", "MedicationDispense", "AllergyIntolerance", "DiagnosticReport", "ServiceRequest",
    "FamilyMemberHistory", "Immunization", "QuestionnaireResponse",
)


@dataclass(frozen=True)
class Needs:
    """What a release asks of a record: a stay or none, and the hours after its start that it is scored at (None: its end)."""

    moment_h: float | None
    stay: bool
    since: str = ""
    until: str = ""


def needs_of(plan: Plan) -> Needs:
    """Return what the release of a plan asks of a record."""
    manifest = read_manifest(Path(plan.release))
    return Needs(manifest.moment_h, manifest.needs_encounter, plan.since, plan.until)


def stays_of(encounters: Iterable[Mapping[str, Any]], needs: Needs, left_out: Counter[str]) -> Iterator[tuple[str, Json]]:
    """Yield (reference, where) of the stays that reached the moment at which the release is scored.

    A stay that ended before is no case: nobody would have asked then, and to count it would flatter or harm the release.
    """
    for one in encounters:
        period = table(one.get("period"))
        start, end = span_of(period.get("start")), span_of(period.get("end"))
        name = own_reference(one)
        if text(one.get("status")) in NOT_HELD or start is None or not name:
            left_out["stay_without_start" if start is None else "stay_not_held"] += 1
        elif not _in_period(start[0], needs):
            left_out["other_period"] += 1
        elif needs.moment_h is None and end is None:
            left_out["stay_not_ended"] += 1
        elif needs.moment_h is not None and end is not None and end[1] < start[0] + timedelta(hours=needs.moment_h):
            left_out["stay_ended_before_moment"] += 1
        else:
            yield name, {"stay": name, "start": start[0].isoformat()}


def cases_of_bundle(place: str, read: Callable[[], bytes], needs: Needs, left_out: Counter[str]) -> Iterator[Found]:
    """Yield the cases of one Bundle: its stays, or its person where the release needs no stay."""
    try:
        resources = _resources(parse(read()))
    except UnusableInput as error:
        yield Found(place, {"bundle": place}, {"file": place}, bad=error.code)
        return
    people = [one for one in resources if text(one.get("resourceType")) == "Patient"]
    ids = {"file": place, "patient": text(people[0].get("id")) if len(people) == 1 else ""}
    if not people and not any(text(one.get("resourceType")) == "Observation" for one in resources):
        left_out["no_record"] += 1  # JSON of something else
        return
    if not needs.stay:
        yield Found(place, {"bundle": place, "stay": None}, ids)
        return
    stays = list(stays_of([one for one in resources if text(one.get("resourceType")) == "Encounter"], needs, left_out))
    for name, where in stays:
        yield Found(f"{place}#{name}", {"bundle": place, **where}, _ids_of_stay(ids, name, alone=len(stays) == 1))


def open_bundle(content: bytes | list[Json], where: Json, needs: Needs) -> Opened:
    """Read the record of one case, as it was known at the moment at which the release is scored. Raises UnusableInput."""
    bundle = parse(content) if isinstance(content, bytes) else {
        "resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in content]}
    start = where.get("start")
    moment = datetime.fromisoformat(start) + timedelta(hours=needs.moment_h) if start and needs.moment_h is not None else None
    reading = read_bundle(bundle, moment=moment, encounter=where["stay"])
    return Opened(reading.record, {}, attributes_of(reading.record))


def attributes_of(record: Record) -> Json:
    """Return what figures may be broken down by."""
    age, male = record.static.get("age_years", float("nan")), record.static.get("male", float("nan"))
    found = {"sex": "" if isnan(male) else "M" if male else "F", "age_years": None if isnan(age) else told_age(age),
             "year": record.origin.year if record.origin else None}
    return {name: value for name, value in found.items() if value not in ("", None)}


class Export:
    """The NDJSON files of a bulk export, indexed by person in the private folder: an export is larger than memory."""

    def __init__(self, plan: Plan, root: Path) -> None:
        self.root, self.path = root, Path(plan.out) / PRIVATE / INDEX
        self._index: sqlite3.Connection | None = None

    def find(self, places: Iterable[str], needs: Needs, left_out: Counter[str]) -> Iterator[Found]:
        """Index the files, then yield the cases of every person."""
        self.path.unlink(missing_ok=True)
        self.path.touch(0o600)
        with sqlite3.connect(self.path) as index:
            index.execute("CREATE TABLE lines (person TEXT, kind TEXT, place TEXT, at INTEGER, length INTEGER)")
            for place in places:
                index.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?)", self._lines(place, left_out))
            index.execute("CREATE INDEX by_person ON lines (person, kind)")
        people = index.execute("SELECT person FROM lines WHERE kind = 'Patient' ORDER BY person").fetchall()
        for (person,) in people:
            ids = {"patient": person.partition("/")[2]}
            if not needs.stay:
                yield Found(person, {"export": person, "stay": None}, ids)
                continue
            stays = stays_of(self._read(index, person, "Encounter"), needs, left_out)
            for name, where in stays:
                yield Found(name, {"export": person, **where}, _ids_of_stay(ids, name))
        index.close()

    def open(self, where: Json, needs: Needs) -> Opened:
        """Read the record of one case."""
        self._index = self._index or sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, check_same_thread=False)
        return open_bundle(self._read(self._index, where["export"]), where, needs)

    def close(self) -> None:
        """Let go of the index."""
        if self._index is not None:
            self._index.close()

    def _lines(self, place: str, left_out: Counter[str]) -> Iterator[tuple[str, str, str, int, int]]:
        at = 0
        with (self.root / place).open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES):
                start, at = at, at + len(line)
                try:
                    resource = table(json.loads(line))
                except (ValueError, RecursionError):
                    left_out["damaged_line"] += 1
                    continue
                kind = text(resource.get("resourceType"))
                if kind not in READ:
                    continue
                person = own_reference(resource) if kind == "Patient" else plain_reference(
                    reference(resource.get("subject")) or reference(resource.get("patient")))
                if person.startswith("Patient/"):
                    yield person, kind, place, start, len(line)
                else:
                    left_out["of_nobody"] += 1

    def _read(self, index: sqlite3.Connection, person: str, kind: str = "") -> list[Json]:
        rows = index.execute("SELECT place, at, length FROM lines WHERE person = ? AND (kind = ? OR ? = '') ORDER BY place, at",
                             (person, kind, kind)).fetchall()
        found = []
        for place, at, length in rows:
            with (self.root / place).open("rb") as file:
                file.seek(at)
                found.append(json.loads(file.read(length)))
        return found


def _ids_of_stay(ids: dict[str, str], name: str, *, alone: bool = True) -> dict[str, str]:
    """Return identifiers of a stay; a file that holds several stays names none of them."""
    kept = {kind: one for kind, one in ids.items() if alone or kind != "file"}
    return kept | {"study": name.partition("/")[2]}


def _resources(bundle: object) -> list[Mapping[str, Any]]:
    sent = table(bundle)
    if text(sent.get("resourceType")) != "Bundle":
        return [sent]
    entries = sent.get("entry")
    return [table(table(one).get("resource")) for one in entries] if isinstance(entries, list) else []


def _in_period(start: datetime, needs: Needs) -> bool:
    day = start.astimezone(UTC).date().isoformat()
    return (needs.since or "0000") <= day <= (needs.until or "9999")
