"""The queue over a store: what is picked can be opened, and what is judged, opposed to or erased leaves it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.learn.commands import app
from service.learn.queue import grown, pick
from service.rights.rights import Rights
from service.store import entries, picks, rights, verdicts
from service.store.entries import NewEntry
from service.store.retention import remove_study
from service.store.splits import members
from service.store.tables import Case, Result, Revision, Study
from tests.service.rights.person_data import rights_of

MODEL = "chest-1.0.0"


@pytest.fixture
def here(tmp_path: Path) -> Rights:
    return rights_of(tmp_path)


def come(here: Rights, number: int, value: float, *, person: str = "") -> int:
    """Hold a result of somebody with a line of the worklist; return its id."""
    uid = f"1.2.826.7.{number}"
    attributes = {"00100020": {"vr": "LO", "Value": [person or f"CANARI-{number}"]}, "00100021": {"vr": "LO", "Value": ["CHU"]}}
    now = time.time()
    with here.store.session() as session:
        session.add(Study(uid=uid, patient_id="", patient_name="", study_date="", accession_number="", attributes=attributes,
                          received_at=now + number))
        case = Case(key=uid, kind="image", study_uid=uid, series_uid=uid, calling_ae="", called_ae="", priority=0, due_at=None,
                    revision=1, received_at=now, last_received_at=now)
        session.add(case)
        session.flush()
        revision = Revision(case_id=case.id, number=1, sealed_at=now)
        session.add(revision)
        session.flush()
        finding = {"name": "pneumonia", "kind": "probability", "value": value, "threshold": 0.5}
        result = Result(revision_id=revision.id, model=MODEL, status="scored", reason="", summary={"findings": [finding]},
                        created_at=now)
        session.add(result)
        session.flush()
        entries.put(session, NewEntry("study", uid, 1, now, "1", {}, department="Radiology", models=(MODEL,)))
        return result.id


def judge(here: Rights, result: int) -> None:
    with here.store.session() as session:
        verdicts.add(session, verdicts.NewVerdict(f"t{result}", "result", result, 0, MODEL, "agree", "", "", {"effect": "validated"},
                                                  "first", {"subject": "rpps:1"}, {}, 1.0))


def targets(here: Rights) -> set[str]:
    return {one.target for one in picks.open_picks(here.store)}


def test_what_is_picked_is_opened_by_its_line_and_leaves_once_judged(here: Rights) -> None:
    results = [come(here, number, 0.05 * number) for number in range(1, 20)]
    pick(here.store, here.site, count=10, seed=1)
    found = picks.open_picks(here.store)
    assert {str(one) for one in results} >= {one.target for one in found}
    assert all(entries.by_key(here.store, one.entry_key) for one in found)
    judge(here, int(found[0].target))
    assert found[0].target not in targets(here)
    assert (1, {MODEL: 1}) == (sum(done for _, done in grown(here.store).picks.values()), grown(here.store).verdicts)


def test_what_was_drawn_at_random_stays_when_picked_anew(here: Rights) -> None:
    for number in range(1, 40):
        come(here, number, 0.02 * number)
    pick(here.store, here.site, count=10, seed=1)
    drawn = {one.target for one in picks.open_picks(here.store) if one.why in picks.RANDOM}
    pick(here.store, here.site, count=10, seed=2)
    assert drawn
    assert drawn == {one.target for one in picks.open_picks(here.store) if one.why in picks.RANDOM}


def test_people_of_the_test_are_picked_for_nothing_else(here: Rights) -> None:
    for number in range(1, 40):
        come(here, number, 0.5)
    found = pick(here.store, here.site, count=40, seed=1)
    sides = {member.split for member in members(here.store).values()}
    assert {"train", "test"} <= sides
    assert all((one.why == "test") == (one.candidate.split == "test") for one in found)


def test_who_opposes_training_is_never_picked(here: Rights) -> None:
    for number in range(1, 6):
        come(here, number, 0.5)
    with here.store.session() as session:
        rights.oppose(session, study=rights.study_key(here.store, "1.2.826.7.3"), scope="training", by="test")
    opposed = str(come(here, 6, 0.5))
    keys = here.find(None, "CANARI-6", "CHU").keys
    with here.store.session() as session:
        rights.oppose(session, persons=keys, scope="both", by="test")
    pick(here.store, here.site, count=40, seed=1)
    assert opposed not in targets(here)
    assert 4 >= len(targets(here))


def test_a_study_that_goes_takes_its_picks_with_it(here: Rights) -> None:
    come(here, 1, 0.5)
    pick(here.store, here.site, count=10, seed=1)
    assert targets(here)
    with here.store.session() as session:
        remove_study(session, "1.2.826.7.1")
    assert not targets(here)
    assert {} == picks.counts(here.store)


def test_commands_show_the_queue_and_the_counts_and_nobody(here: Rights, tmp_path: Path) -> None:
    for number in range(1, 9):
        come(here, number, 0.5)
    run = CliRunner()
    queue = run.invoke(app, ["queue", "--count", "8", "--store", str(tmp_path / "store")])
    counts = run.invoke(app, ["counts", "--store", str(tmp_path / "store")])
    assert (0, 0) == (queue.exit_code, counts.exit_code)
    assert "/review/e/" in queue.output
    assert "People by" in counts.output
    assert "CANARI" not in queue.output + counts.output
