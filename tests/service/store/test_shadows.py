"""Rows of releases: a change and who made it, a sign-off, and what shadows said, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from service.store import shadows, signoffs, standings, verdicts
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.risks import NewRisk, save
from service.store.signoffs import NewSignoff
from service.store.standings import NewStanding, StandingConflict
from service.store.store import Store
from service.store.tables import Revision
from service.store.trust_tables import Alarm
from service.store.verdicts import NewVerdict
from tests.make_store import image_of

OLD, NEW = "tiny_chest-1.0.0", "tiny_chest-1.1.0"
SAID = {"status": "scored", "findings": {"pneumonia": {"value": 0.7, "logit": 0.85, "above_threshold": True}}}


def change(state: str, release: str = OLD, since: float = 1.0) -> NewStanding:
    return NewStanding("tiny_chest", release, state, {"name": "Test STEWARD"}, "rpps:1", since)  # type: ignore[arg-type]


def risk(key: str, source: str = "predict") -> NewRisk:
    return NewRisk(key=key, subject="Patient/1", person="a" * 32, encounter="", department="", model="tiny_risk-1.0.0",
                   status="scored", reason="", value=0.5, answer={}, record={"events": []}, patient={}, moment=float(len(key)),
                   source=source, scored_at=5.0)


def scored(store: Store, model: str = OLD) -> int:
    """Receive an image, seal its case and write the result of a release; return its number."""
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    with store.reading() as session:
        revision = session.scalar(select(func.max(Revision.id)))
    with store.session() as session:
        return save_result(session, revision, model=model, status="scored", reason="", summary=SAID, objects=[], targets=[],
                           priority=0).id


def test_the_last_change_of_a_release_holds_and_all_are_kept(store: Store) -> None:
    with store.session() as session:
        standings.change(session, [change("live"), change("shadow", NEW)], seen=0)
    with store.session() as session:
        standings.change(session, [change("off", since=2.0)], seen=standings.newest(store))
    assert {name: row.state for name, row in standings.latest(store).items()} == {OLD: "off", NEW: "shadow"}
    assert [row.state for row in standings.history(store, "tiny_chest")] == ["live", "shadow", "off"]
    with pytest.raises(StandingConflict), store.session() as session:
        standings.change(session, [change("live")], seen=2)


def test_the_last_word_on_one_folder_is_no_word_on_another(store: Store) -> None:
    for sha256, decision in (("a" * 64, "accepted"), ("b" * 64, "declined")):
        with store.session() as session:
            signoffs.add(session, NewSignoff(NEW, sha256, decision, "go", "c" * 64, {}, {}, "rpps:1", "Read.", 1.0))  # type: ignore[arg-type]
    found = [signoffs.latest(store, NEW, one * 64) for one in "abd"]
    assert [one and one.decision for one in found] == ["accepted", "declined", None]


def test_alarms_that_are_closed_do_not_count(store: Store) -> None:
    with store.session() as session:
        session.add_all(Alarm(release=NEW, kind="input_drift", detail={}, opened_at=1.0, closed_at=closed) for closed in (None, 2.0))
    assert (standings.open_alarms(store, NEW), standings.open_alarms(store, OLD)) == (1, 0)


def test_a_result_is_due_once_beside_the_live_release_and_pairs_with_the_verdict_in_force(store: Store) -> None:
    number = scored(store)
    due = shadows.next_images(store, NEW, beside=OLD, since=0.0, after=0)
    assert due is not None
    assert (due.id, due.model, len(due.images)) == (number, OLD, 1)
    assert shadows.next_images(store, NEW, beside="tiny_chest-0.9.0", since=0.0, after=0) is None
    assert shadows.next_images(store, NEW, beside="", since=0.0, after=0) == due
    claimed = [shadows.claim(store, NEW, "result", str(number), live=OLD, live_said=SAID, now=1.0) for _ in range(2)]
    assert claimed == [True, False]
    assert shadows.next_images(store, NEW, beside=OLD, since=0.0, after=0) is None
    shadows.settle(store, NEW, "result", str(number), status="scored", reason="", said=SAID, seconds=0.5)
    for place, there in enumerate((True, False)):
        content = {"effect": "validated", "findings": [{"name": "pneumonia", "present": there}, {"name": "viral", "present": None}]}
        with store.session() as session:
            verdicts.add(session, NewVerdict(f"t{place}", "result", number, place, OLD, "agree", "", "", content, "first",
                                             {}, {}, 1.0))
    [pair] = shadows.pairs(store, NEW, OLD)
    assert (pair.truth, pair.status, pair.seconds) == ({"pneumonia": False}, "scored", 0.5)
    assert "CANARI" not in pair.person
    with store.session() as session:
        assert shadows.erase(session, "result", [str(number)]) == 1


def test_risks_are_due_but_for_those_that_an_alarm_of_monitoring_kept(store: Store) -> None:
    with store.session() as session:
        save(session, [risk("k1"), risk("k22"), risk("k333", "monitoring:7")])
    for beside in ("tiny_risk-1.0.0", ""):
        due = shadows.next_risks(store, "tiny_risk-1.1.0", beside=beside, since=0.0, after=0, most=9)
        assert [one.key for one in due] == ["k1", "k22"]
    shadows.claim(store, "tiny_risk-1.1.0", "risk", "k1", live="tiny_risk-1.0.0", live_said=SAID, now=1.0)
    [pair] = shadows.pairs(store, "tiny_risk-1.1.0", "tiny_risk-1.0.0")
    assert (pair.status, pair.reason) == ("failed", shadows.CRASHED)
