"""Score an archive: make the list of its cases once, score what has no outcome yet, and write the rows when all have one."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.errors import UnusableInput
from models.manifest import read_manifest, sha256_of
from models.release import read_release
from training.archive.cases import LIST, ArchiveAway, Case, case_of, read_list, write_list
from training.archive.engines import ENGINES
from training.archive.journal import AWAY, Journal, Noted, merge, read_journal
from training.archive.plan import Plan, settle
from training.archive.score_case import Outcome, failed
from training.archive.scored import ABOUT, ID_KINDS, PRIVATE, ROWS, Names, Row, make_names, read_rows, write_private
from training.archive.source import kind_of_archive, source_of

LISTED = "listed.json"
MOST_AWAY = 5  # cases in a row that could not be fetched: the archive is away, not they


@dataclass(frozen=True)
class Watch:
    """What is told while it goes on: files looked at; the total; every outcome."""

    listed: Callable[[int], None] = lambda _: None
    total: Callable[[int, int], None] = lambda _total, _done: None
    outcome: Callable[[str, str], None] = lambda _status, _reason: None


def plan_for(release: Path, archive: str, out: Path, *, kind: str = "", **options: Any) -> Plan:
    """Return the plan of an archive, a release folder and where the rows go. ``options`` are the fields of Plan.

    ``modalities`` are those that the release accepts, unless they are given; ("ANY",) takes all.
    Raises BrokenModel for a release that is not sound, UnusableInput for an archive that is not there.
    """
    manifest = read_release(release)
    if manifest.task == "department":
        raise UnusableInput("An archive of cases is scored by a release for images or for records, found one for a department.",
                            code="wrong_task")
    found = kind_of_archive(archive, kind)
    where = str(Path(archive).resolve()) if found == "folder" else archive
    modalities = tuple(one.upper() for one in options.pop("modalities", ()) or manifest.accepts.modalities)
    if found != "data":
        options.pop("data", None)  # where data sets are decides nothing here
    return Plan(str(release.resolve()), sha256_of(release / "manifest.json"), where, str(out.resolve()), found,
                modalities=() if "ANY" in modalities else modalities, **options)


def score_archive(plan: Plan, *, workers: int = 1, engine: str = "local", address: str = "", watch: Watch | None = None) -> Path:
    """Score every case of an archive that has no outcome yet and return the folder of the rows.

    Start it again after whatever stopped it, with as many workers and on whichever engine: the rows come out the same.
    Raises UnusableInput, BrokenModel, ArchiveAway when the archive no longer answers, or NoEngine.
    """
    watch, out = watch or Watch(), Path(plan.out)
    out.mkdir(parents=True, exist_ok=True)
    names = make_names(out)
    with _alone(out):
        settle(plan, out)
        if not (out / PRIVATE / LIST).exists():
            _make_list(plan, names, out, watch)
        cases = read_list(out)
        noted = {case: one for case, one in read_journal(out).items() if not one.again}
        watch.total(len(cases), len(noted))
        for one in noted.values():
            watch.outcome(one.status, one.reason)
        pending = [case for case in cases if case.case not in noted]
        if pending:
            with Journal(out) as journal, ENGINES[engine](plan, names.key, workers, address) as running:
                for outcome in _scored(plan, pending, running.run):
                    journal.add(outcome)
                    if outcome.row is not None:
                        watch.outcome(outcome.row.status, outcome.row.reason)
        noted = read_journal(out)
        merge(out, noted)
        _tell(plan, out, noted)
    return out


def _scored(plan: Plan, pending: list[Case], run: Callable[[list[Case]], Iterator[Outcome]]) -> Iterator[Outcome]:
    """Yield an outcome with a row for every case; what was lost is tried once more, alone, and then has failed."""
    model = read_manifest(Path(plan.release)).id
    by_name = {case.case: case for case in pending}
    lost: list[Case] = []
    away = 0
    for outcome in run(pending):
        if outcome.row is None:
            lost.append(by_name[outcome.case])
            continue
        yield outcome
        away = away + 1 if outcome.row.reason in AWAY else 0
        if away >= MOST_AWAY or outcome.row.reason == "source_denied":
            raise ArchiveAway("The archive stopped answering, or no longer lets us ask. What was scored is kept: start again with "
                              "the same options to go on.", code=outcome.row.reason)
    for case in sorted(lost, key=lambda one: one.case):
        for outcome in run([case]):
            yield outcome if outcome.row else replace(outcome, row=failed(case, model, outcome.lost), lost="")


def _make_list(plan: Plan, names: Names, out: Path, watch: Watch) -> None:
    found: dict[str, Case] = {}
    files = 0
    with closing(source_of(plan, names)) as source:
        for one in source.find(watch.listed):
            files += one.files
            case = case_of(one, names)
            if case.case in found:
                source.left_out["listed_twice"] += 1
            else:
                found[case.case] = case
    if not found:
        raise UnusableInput(f"An archive must hold at least one case, found none; left out: {dict(source.left_out) or 'nothing'}. "
                            "Check the modality, the period and --where.", code="empty_archive")
    chosen = [found[name] for name in sorted(found)]
    if plan.limit and len(chosen) > plan.limit:  # the order is that of keyed hashes: a part of it is drawn at random
        source.left_out["beyond_limit"] = len(chosen) - plan.limit
        chosen = chosen[: plan.limit]
    now = datetime.now(UTC).isoformat("T", "seconds")
    told = {"files": files, "left_out": dict(sorted(source.left_out.items())), "listed_at": now}
    write_private(out / PRIVATE / LISTED, json.dumps(told))
    write_list(out, chosen)


def _tell(plan: Plan, out: Path, noted: dict[str, Noted]) -> None:
    """Write archive.json: what was scored, with what, in figures alone."""
    manifest = read_manifest(Path(plan.release))
    listed = json.loads((out / PRIVATE / LISTED).read_text("utf-8"))
    rows = read_rows(out)
    years = sorted({one.attributes["year"] for one in rows if "year" in one.attributes})
    counts = Counter(one.status for one in rows)
    told = {
        "schema_version": "1", "release": manifest.id, "manifest_sha256": plan.manifest_sha256,
        "onnx_sha256": manifest.files["model.onnx"], "kind": plan.kind,
        "data": plan.archive.removeprefix("data:") if plan.kind == "data" else "",
        "cases": len(rows), "files": listed["files"], "persons": len({one.group for one in rows}),
        "studies": len({one.ids["study"] for one in rows if "study" in one.ids}),
        "known": {kind: sum(kind in one.ids for one in rows) for kind in ID_KINDS},
        **{status: counts[status] for status in ("scored", "refused", "failed")},
        "reasons": {status: dict(sorted(Counter(one.reason for one in rows if one.status == status).items()))
                    for status in ("refused", "failed")},
        "left_out": listed["left_out"], "listed_at": listed["listed_at"],
        "period": {"first_year": years[0], "last_year": years[-1]} if years else {},
        "since": plan.since, "until": plan.until, "modalities": list(plan.modalities), "limit": plan.limit,
        "where": [[column, value] for column, value in plan.where if _says_nobody(column, plan)],
        "copies": dict(sorted(Counter(one.kept for one in noted.values() if one.kept).items())),
        "cases_sha256": _cases_sha256(rows), "rows_sha256": sha256_of(out / ROWS),
    }
    waiting = out / f"{ABOUT}.part"
    waiting.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    waiting.replace(out / ABOUT)


def _says_nobody(column: str, plan: Plan) -> bool:
    """Tell whether a condition may be told: not one on what a table calls a file, an image, a study or a person."""
    theirs = {one for ours, one in plan.columns if ours in ID_KINDS}
    return column not in theirs and not any(kind in column.lower() for kind in (*ID_KINDS, "path", "uid", "name", "birth"))


def _cases_sha256(rows: list[Row]) -> str:
    return hashlib.sha256("".join(f"{one.case}\n" for one in rows).encode()).hexdigest()


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder for one run. Raises UnusableInput when another holds it."""
    with (out / PRIVATE / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UnusableInput(f"{out.name}: one run at a time may score into a folder, found another at work. Wait for it.",
                                code="busy") from error
        yield
