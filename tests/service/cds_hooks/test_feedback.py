"""What became of a card is kept as the specification lets clients tell it: liberal in what is known, strict in its form."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from service.store.ehr_tables import Card, Feedback
from service.store.hooks import feedback_counts, forget_cards
from tests.service.cds_hooks.cds_house import ICU, PLACE, CdsHouse, call, cds_house, only

Json = dict[str, Any]
NOW = "2026-11-22T10:05:31Z"


def send(ward: CdsHouse, *told: Json, service: str = ICU) -> int:
    return int(ward.client.post(f"/cds-services/{service}/feedback", json={"feedback": list(told)}).status_code)


def rows(ward: CdsHouse, card: str) -> list[Feedback]:
    with ward.house.store.reading() as session:
        return list(session.scalars(select(Feedback).where(Feedback.card_uuid == card)))


def test_an_override_with_its_reason_is_kept_with_the_model_it_was_about(ward: CdsHouse, asked: Json) -> None:
    [card] = ward.cards(ICU, asked)
    reason = card["overrideReasons"][2]
    told = {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": NOW,
            "overrideReason": {"reason": {"code": reason["code"], "system": reason["system"]}, "userComment": "seen"}}
    assert send(ward, told) == 200
    [row] = rows(ward, card["uuid"])
    assert (row.outcome, row.reason_code, row.comment, row.service) == ("overridden", reason["code"], "seen", ICU)
    with ward.house.store.reading() as session:
        kept = session.get(Card, card["uuid"])
        assert kept is not None
        assert (kept.model, kept.hook, kept.status) == ("icu_mortality-1.0.0", "patient-view", "scored")
        assert (ICU, "overridden", reason["code"], 1) in feedback_counts(session)


def test_the_same_feedback_twice_is_one(ward: CdsHouse, asked: Json) -> None:
    [card] = ward.cards(ICU, asked)
    told = {"card": card["uuid"], "outcome": "accepted", "acceptedSuggestions": [{"id": "s1"}], "outcomeTimestamp": NOW}
    assert send(ward, told, told) == 200
    assert send(ward, told) == 200
    [row] = rows(ward, card["uuid"])
    assert row.accepted == {"ids": ["s1"]}


def test_feedback_on_a_card_that_is_not_known_is_taken_and_counted(ward: CdsHouse) -> None:
    told = {"card": "4e0a3a1e-3283-4575-ab82-028d55fe2719", "outcome": "overridden", "outcomeTimestamp": NOW}
    assert send(ward, told) == 200
    assert len(rows(ward, told["card"])) == 1
    metrics = ward.client.get("/metrics").text
    assert f'diaphane_cds_feedback_total{{card="unknown",outcome="overridden",service="{ICU}"}}' in metrics


@pytest.mark.parametrize("told", [
    {}, {"feedback": []}, {"feedback": None}, {"feedback": [{}]}, {"feedback": [{"card": "x"}]}, [],
    {"feedback": [{"card": "x", "outcome": "ignored", "outcomeTimestamp": NOW}]},
    {"feedback": [{"card": "x", "outcome": "accepted", "outcomeTimestamp": "yesterday"}]},
    {"feedback": [{"card": "x", "outcome": "accepted", "outcomeTimestamp": "2026-11-22T10:05:31"}]},
    {"feedback": [{"card": "x" * 65, "outcome": "accepted", "outcomeTimestamp": NOW}]},
    {"feedback": [{"card": "x", "outcome": "accepted", "outcomeTimestamp": NOW}] * 101},
    {"feedback": [{"card": "x\0", "outcome": "accepted", "outcomeTimestamp": NOW}]},
])
def test_malformed_feedback_is_400(ward: CdsHouse, told: Any) -> None:
    answer = ward.client.post(f"/cds-services/{ICU}/feedback", json=told)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_hook" if isinstance(told, dict) else "not_json")


def test_a_comment_is_kept_as_every_database_can(ward: CdsHouse) -> None:
    told = {"card": "x", "outcome": "overridden", "outcomeTimestamp": NOW, "overrideReason": {"userComment": "one\0two"}}
    assert send(ward, told) == 200
    with ward.house.store.reading() as session:
        assert "one two" in session.scalars(select(Feedback.comment)).all()


def test_feedback_to_no_service_is_404(ward: CdsHouse) -> None:
    assert send(ward, {"card": "x", "outcome": "accepted", "outcomeTimestamp": NOW}, service="none") == 404


def test_old_cards_are_forgotten(ward: CdsHouse, asked: Json) -> None:
    [card] = ward.cards(ICU, asked)
    ward.flush()
    with ward.house.store.session() as session:
        assert forget_cards(session, 0.0) == 0
        assert session.get(Card, card["uuid"]) is not None
        assert forget_cards(session, 9e9) > 0
        assert session.get(Card, card["uuid"], populate_existing=True) is None


def test_a_card_is_written_down_soon_without_being_asked_for(ward: CdsHouse, asked: Json) -> None:
    [card] = ward.cards(ICU, asked)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with ward.house.store.reading() as session:
            if session.get(Card, card["uuid"]) is not None:
                return
        time.sleep(0.05)
    raise AssertionError("the card was not kept")


def test_a_store_in_trouble_keeps_no_card_from_a_clinician(tmp_path: Path, asked: Json) -> None:
    with cds_house(tmp_path, only(tmp_path, "icu_mortality")) as house:
        store, house.house._store = house.house._store, None
        assert len(house.cards(ICU, asked)) == 1
        house.flush()
        house.house._store = store
        house.flush()
        with house.house.store.reading() as session:
            assert len(list(session.scalars(select(Card)))) == 1


def test_a_call_without_cards_leaves_nothing_behind(ward: CdsHouse) -> None:
    ward.flush()
    with ward.house.store.session() as session:
        forget_cards(session, 9e9)
    assert ward.cards("monitoring-alerts", call("patient-view", PLACE, {})) == []
    with ward.house.store.reading() as session:
        assert list(session.scalars(select(Card))) == []
