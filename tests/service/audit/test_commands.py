"""python -m service audit …: what an administrator types, and what the exit status says."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from service.audit.audit import Audit
from service.audit.commands import app
from service.fhir.judge import judge
from service.settings import Settings
from service.site import Site
from tests.make_store import store_for
from tests.service.audit.audit_house import KEY, PERSON, RADIOLOGIST, lay


@pytest.fixture
def audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Audit]:
    monkeypatch.setenv("DIAPHANE_STORE", str(tmp_path / "store"))
    monkeypatch.setattr("service.audit.commands.logs.set_up", lambda _: None)  # the log is the test run's
    store = store_for(lay(tmp_path))
    made = Audit(store, Site(), Settings(store=tmp_path / "store"))
    for action in ("login", "view", "verdict"):
        made.note(RADIOLOGIST, action, kind="study", item=KEY, persons=[PERSON])  # type: ignore[arg-type]
    yield made
    store.close()


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def test_verify_says_that_all_is_well_and_where_the_chain_ends(audit: Audit) -> None:
    done = run("verify")
    assert (0, True) == (done.exit_code, "3 lines are as they were written" in done.stdout)
    assert audit.head.read().hash in done.stdout


def test_verify_names_the_first_broken_line_and_ends_with_1(audit: Audit) -> None:
    with audit.store.session() as session:
        session.execute(text("DROP TRIGGER audit_is_kept"))
        session.execute(text("UPDATE audit SET actor = 'rpps:9' WHERE id = 2"))
    done = run("verify", "--quiet")
    assert (1, True) == (done.exit_code, "Line 2: what it says is not what was written" in done.stderr)


def test_verify_sees_an_end_that_was_cut_off(audit: Audit) -> None:
    with audit.store.session() as session:
        for name in ("audit_is_pruned", "audit_persons_is_pruned"):
            session.execute(text(f"DROP TRIGGER {name}"))
        session.execute(text("DELETE FROM audit_persons WHERE line_id > 1"))
        session.execute(text("DELETE FROM audit WHERE id > 1"))
    done = run("verify")
    assert (1, True) == (done.exit_code, "lines 2 to 3 were there and are missing" in done.stderr)
    audit.head.path.unlink()
    done = run("verify")
    assert (1, True) == (done.exit_code, "no file audit.head" in done.stderr)


def test_show_prints_the_newest_lines(audit: Audit) -> None:
    done = run("show", "--action", "verdict")
    assert 0 == done.exit_code
    assert ("verdict" in done.stdout, "login" in done.stdout) == (True, False)


def test_export_writes_valid_events_and_is_itself_a_line(audit: Audit, tmp_path: Path) -> None:
    out = tmp_path / "audit.ndjson"
    assert 0 == run("export", str(out)).exit_code
    events = [json.loads(one) for one in out.read_text(encoding="utf-8").splitlines()]
    assert (3, []) == (len(events), [fault for one in events for fault in judge(one)])
    assert 0 == run("export", str(out), "--format", "bundle", "--after", "3").exit_code
    (entry,) = json.loads(out.read_text(encoding="utf-8"))["entry"]
    assert "4" == entry["resource"]["id"]
    assert 1 == run("export", str(out), "--format", "xml").exit_code


def test_prune_of_young_lines_must_be_meant(audit: Audit) -> None:
    assert (1, True) == ((done := run("prune", "10")).exit_code, "--yes" in done.stderr)
    assert (0, True) == ((done := run("prune", "0", "--yes")).exit_code, "2 lines were deleted" in done.stdout)
    assert 0 == run("verify").exit_code


def test_store_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAPHANE_STORE", str(tmp_path / "none"))
    assert (1, True) == ((done := run("verify")).exit_code, "found none there" in done.stderr)
    assert not (tmp_path / "none").exists()
    logging.getLogger("diaphane").debug("nothing was written")
