"""Runs over an archive: whatever dies, hangs or is away, every case has one row in the end, and always the same."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from models.errors import UnusableInput
from tests.make import ROOT
from tests.training.archive.conftest import NAMES, SECRETS, Here, fill, radiograph
from tests.training.archive.servers import Pacs, Trouble, serving
from training.archive.cases import ArchiveAway
from training.archive.engines import ENGINES
from training.archive.journal import Journal, read_journal
from training.archive.score import Watch, plan_for, score_archive
from training.archive.score_case import Outcome
from training.archive.scored import Row, read_about, read_rows

COUNT = 24
Out = Callable[[str], Path]


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill(tmp_path_factory.mktemp("archive") / "pacs", COUNT)


@pytest.fixture
def out(tmp_path: Path) -> Out:
    """Make a folder for rows that has the key of all others, so that their rows are comparable."""
    def made(name: str) -> Path:
        (tmp_path / name / "private").mkdir(parents=True)
        (tmp_path / name / "private/key").write_text(NAMES.key.hex())
        return tmp_path / name

    return made


@pytest.fixture(scope="module")
def expected(chest: Path, pacs: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The rows of one process that nothing disturbs: this one."""
    folder = tmp_path_factory.mktemp("alone") / "rows"
    (folder / "private").mkdir(parents=True)
    (folder / "private/key").write_text(NAMES.key.hex())
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENGINES, "here", Here)
        return (score_archive(plan_for(chest, str(pacs), folder), engine="here") / "rows.jsonl").read_bytes()


def scoring(parent: int) -> list[psutil.Process]:
    """Return the living scoring processes below a process, deepest first."""
    found = []
    for one in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):
            if "training.archive.worker" in one.cmdline():
                found.append(one)
    return found


def journal_lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in (folder / "private").glob("journal-*.jsonl"))


def test_one_process_scores_every_case_once(expected: bytes) -> None:
    rows = [json.loads(line) for line in expected.splitlines()]
    assert COUNT == len(rows) == len({row["case"] for row in rows})
    assert {"scored"} == {row["status"] for row in rows}
    assert [row["case"] for row in rows] == sorted(row["case"] for row in rows)
    assert not [one for one in SECRETS if one.encode() in expected]


def test_one_of_two_processes_is_killed_midway_and_no_row_is_missing(chest: Path, pacs: Path, out: Out, expected: bytes) -> None:
    seen: list[str] = []
    killed: list[int] = []

    def outcome(status: str, _: str) -> None:
        seen.append(status)
        if len(seen) == COUNT // 3:
            victim = scoring(os.getpid())[0]
            victim.kill()
            killed.append(victim.pid)

    folder = score_archive(plan_for(chest, str(pacs), out("killed")), workers=2, watch=Watch(outcome=outcome))
    assert (1, COUNT) == (len(killed), len(seen))
    assert expected == (folder / "rows.jsonl").read_bytes()


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_where_it_was(chest: Path, pacs: Path, out: Out, expected: bytes, here: str) -> None:
    folder = out("stopped")
    command = [sys.executable, "-m", "training.archive.commands", "score", str(chest), "--archive", str(pacs), "--out", str(folder),
               "--workers", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while journal_lines(folder) < COUNT // 3 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = journal_lines(folder)
    assert COUNT // 3 <= done < COUNT
    score_archive(plan_for(chest, str(pacs), folder), engine=here)
    assert expected == (folder / "rows.jsonl").read_bytes()
    assert COUNT == journal_lines(folder)  # what had been written was not done again


@pytest.mark.slow
def test_files_that_kill_hang_or_fill_cost_only_themselves(
    chest: Path, tmp_path: Path, out: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "poisoned"
    folder.mkdir()
    for number, name in enumerate(("good0", "kills", "good1", "hangs", "fills", "good2")):
        (folder / f"{name}.dcm").write_bytes(radiograph(number))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "poison"))
    done = score_archive(plan_for(chest, str(folder), out("rows"), timeout_s=1.0), workers=2)
    rows = read_rows(done)
    reasons = {row.ids["file"]: row.reason for row in rows}
    assert ["", "memory_limit", "", "worker_died", "", "time_limit"] == [
        reasons[NAMES.hash("file", f"{name}.dcm")] for name in ("good0", "fills", "good1", "kills", "good2", "hangs")]
    assert {"memory_limit": 1, "time_limit": 1, "worker_died": 1} == read_about(done)["reasons"]["failed"]
    assert all("accession" in row.ids for row in rows)


def test_an_archive_that_goes_away_stops_the_run_which_goes_on_later(
    chest: Path, out: Out, monkeypatch: pytest.MonkeyPatch, expected: bytes, here: str
) -> None:
    files = [radiograph(number) for number in range(9)]
    trouble = Trouble()
    folder = out("away")
    monkeypatch.setenv("DIAPHANE_ARCHIVE_TOKEN", "sesame")
    with serving(Pacs(files, most=99).answer, trouble) as root:
        def outcome(*_: str) -> None:
            trouble.token = "another"  # from the first row on the token is no longer good

        plan = plan_for(chest, f"{root}/dicom-web", folder)
        with pytest.raises(ArchiveAway, match="start again"):
            score_archive(plan, engine=here, watch=Watch(outcome=outcome))
        assert not (folder / "rows.jsonl").exists()
        trouble.token = ""
        score_archive(plan, engine=here)
    values = {json.loads(line)["case"]: json.loads(line)["values"] for line in expected.splitlines()}
    assert 9 == len(read_rows(folder))
    assert all(values[row.case] == row.values for row in read_rows(folder))


def test_a_folder_goes_on_with_its_own_plan_alone_but_limits_may_change(
    chest: Path, volume: Path, pacs: Path, out: Out, here: str
) -> None:
    folder = out("rows")
    plan = plan_for(chest, str(pacs), folder, limit=2)
    score_archive(plan, engine=here)
    score_archive(replace(plan, timeout_s=300, ca="x"), engine=here)
    for other, word in ((replace(plan, limit=3), "limit"), (plan_for(volume, str(pacs), folder, limit=2), "release")):
        with pytest.raises(UnusableInput, match=word):
            score_archive(other)


def test_a_limit_takes_a_part_at_random_and_says_what_it_left(chest: Path, pacs: Path, out: Out, here: str) -> None:
    folder = score_archive(plan_for(chest, str(pacs), out("rows"), limit=3), engine=here)
    about = read_about(folder)
    assert (3, COUNT, {"beyond_limit": COUNT - 3}) == (about["cases"], about["files"], about["left_out"])


def test_an_archive_without_cases_says_what_it_held(chest: Path, tmp_path: Path) -> None:
    (tmp_path / "ct.dcm").write_bytes(radiograph(1, Modality="CT"))
    with pytest.raises(UnusableInput, match="other_modality"):
        score_archive(plan_for(chest, str(tmp_path), tmp_path / "rows"))


def test_what_leads_back_to_people_is_its_owners_alone(chest: Path, tmp_path: Path, here: str) -> None:
    folder = fill(tmp_path / "SECRET PATIENT", 2)
    done = score_archive(plan_for(chest, str(folder), tmp_path / "rows"), engine=here)
    for path in done.rglob("*"):
        inside = path.relative_to(done).parts[0] == "private"
        if path.is_file() and not inside:
            assert not [one for one in SECRETS if one in path.read_text()]
        elif path.is_file():
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077 or not path.stat().st_size


def row(case: str, status: str = "scored", reason: str = "") -> Outcome:
    return Outcome(case, Row(case, case, {}, "m-1.0.0", status, reason), 0.5)  # type: ignore[arg-type]


def test_a_journal_forgives_a_line_that_was_cut_and_keeps_the_first_final_outcome(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    with Journal(tmp_path) as journal:
        journal.add(row("a"))
        journal.add(row("b", "failed", "source_unavailable"))
        journal.add(row("c"))
    path = tmp_path / "private/journal-0001.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    assert {"a": "", "b": "source_unavailable"} == {case: one.reason for case, one in read_journal(tmp_path).items()}
    with Journal(tmp_path) as journal:
        journal.add(row("b"))
        journal.add(row("a", "failed", "source_unavailable"))
    assert {"a": "scored", "b": "scored"} == {case: one.status for case, one in read_journal(tmp_path).items()}


# Dask and Ray ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "ray"])
@pytest.mark.parametrize("kill", ["worker", "scorer"])
def test_a_worker_of_a_cluster_is_killed_midway_and_no_row_is_missing(
    chest: Path, pacs: Path, out: Out, expected: bytes, engine: str, kill: str
) -> None:
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[engine])
    folder = out("rows")
    command = [sys.executable, "-m", "training.archive.commands", "score", str(chest), "--archive", str(pacs), "--out", str(folder),
               "--workers", "2", "--engine", engine]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    while journal_lines(folder) < COUNT // 3 and process.poll() is None:
        time.sleep(0.005)
    assert journal_lines(folder) < COUNT
    victims: list[Any] = scoring(process.pid)
    victim = victims[0] if kill == "scorer" else victims[0].parent()
    os.kill(victim.pid, signal.SIGKILL)
    assert 0 == process.wait(300), (folder / "log").read_text()
    assert expected == (folder / "rows.jsonl").read_bytes()


