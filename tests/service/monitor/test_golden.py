"""Golden studies: what was told is scored again, any changed number is an incident, and what is gone is no fault."""

from __future__ import annotations

import json
import time

import pytest
from sqlalchemy import update

from service.monitor.golden import input_faults, night
from service.store import alarms, entries, golden, observations
from service.store.tables import Result
from tests.service.review.paper import paper, quiet_releases, study
from tests.service.review.paper_house import Paper

__all__ = ["paper", "quiet_releases", "study"]
RELEASE = "tiny_chest-1.0.0"


def run(paper: Paper):  # type: ignore[no-untyped-def]
    scoring = paper.house.scoring
    return night(paper.house.store, scoring.installed, scoring.reading, [scoring.installed.models[RELEASE]])[0]


def test_a_chosen_study_is_scored_again_and_a_changed_number_rings(
    paper: Paper, study: str, caplog: pytest.LogCaptureFixture,
) -> None:
    store = paper.house.store
    inputs, faults = input_faults(paper.house.scoring.installed.models[RELEASE])
    assert (inputs > 0, faults) == (True, [])
    found = [one for one in golden.of_entry(store, study) if one[0] == RELEASE]
    assert found
    with store.session() as session:
        golden.choose(session, found, "test:1")
        golden.choose(session, found, "test:2")
    assert golden.chosen(store, RELEASE) == [(kind, target) for _, kind, target in found]
    one = run(paper)
    assert (one.checked, one.changed, one.gone) == (inputs + len(found), 0, 0)
    assert alarms.ringing(store) == {}

    _, _, target = found[0]
    with store.reading() as session:
        before = session.get(Result, int(target)).summary
    changed = json.loads(json.dumps(before))
    changed["findings"][0]["value"] += 0.001
    _store(paper, target, changed)
    try:
        one = run(paper)
        assert one.changed == 1
        assert "differs by 1.0e-03" in one.faults[0]
        assert alarms.ringing(store) == {(RELEASE, "golden"): 1}
        assert caplog.text.count("ALARM golden") == 1
        assert study not in caplog.text
        run(paper)
        assert caplog.text.count("ALARM golden") == 1
    finally:
        _store(paper, target, before)
    assert run(paper).changed == 0
    assert alarms.ringing(store) == {}
    assert golden.last_runs(store)[RELEASE].changed == 0
    with store.session() as session:
        golden.drop(session, found)
    assert golden.chosen(store, RELEASE) == []


def test_the_worker_observes_what_it_scores_without_whose_it_is(paper: Paper, study: str) -> None:
    (_, _, target), *_ = golden.of_entry(paper.house.store, study)
    (row,) = [one for one in observations.between(paper.house.store, RELEASE, 0, time.time() + 1) if one.target == target]
    assert row.status == "scored"
    assert row.seconds > 0
    assert {"input.mean", "input.sharpness"} <= set(row.statistics)
    assert row.said["pneumonia"][1] in (True, False)
    assert set(row.groups) <= {"sex", "age", "view", "manufacturer", "department"}
    assert row.groups["age"] in ("0-1", "2-17")
    assert "CANARI" not in str(vars(row))


def test_a_study_that_is_gone_is_no_fault(paper: Paper) -> None:
    with paper.house.store.session() as session:
        golden.choose(session, [(RELEASE, "result", "987654")], "test:1")
    one = run(paper)
    assert (one.changed, one.gone) == (0, 1)
    with paper.house.store.session() as session:
        golden.drop(session, [(RELEASE, "result", "987654")])


def test_a_key_of_no_line_chooses_nothing(paper: Paper) -> None:
    assert golden.of_entry(paper.house.store, "none such") == []
    assert entries.by_key(paper.house.store, "none such") is None


def _store(paper: Paper, target: str, summary: object) -> None:
    with paper.house.store.session() as session:
        session.execute(update(Result).where(Result.id == int(target)).values(summary=summary))
