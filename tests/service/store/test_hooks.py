"""Tokens count once, cards and feedback are kept once, and a patient's studies are found: on both databases alike."""

from __future__ import annotations

from service.store.cases import seal_due
from service.store.hooks import (
    Outcome,
    Shown,
    add_feedback,
    feedback_counts,
    forget_cards,
    imaged,
    said,
    see_token,
    show_cards,
)
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.store import Store
from tests.make_store import ROOT_UID, image_of, slice_of

CARD = Shown("4e0a3a1e-3283-4575-ab82-028d55fe2719", "icu-mortality", "patient-view", "icu_mortality-1.0.0", "scored", "a" * 64,
             0.3, ("s1",))
TOLD = Outcome(CARD.uuid, "overridden", 1000.0, reason_code="known", reason_system="urn:x", comment="é")


def test_a_token_is_new_once_and_again_after_its_end(store: Store) -> None:
    found = []
    for now in (10.0, 20.0, 200.0):
        with store.session() as session:
            found.append(see_token(session, "https://ehr.example", "jti", 100.0 + now, now))
    with store.session() as session:
        found.append(see_token(session, "https://other.example", "jti", 300.0, 200.0))
    assert found == [False, True, False, False]


def test_cards_and_feedback_are_kept_once(store: Store) -> None:
    for _ in range(2):
        with store.session() as session:
            show_cards(session, [CARD, CARD], 10.0)
            assert add_feedback(session, CARD.service, "iss", [TOLD, TOLD], 20.0) == {CARD.uuid}
    with store.session() as session:
        assert add_feedback(session, "another-service", "iss", [TOLD], 20.0) == set()
        assert feedback_counts(session) == [("icu-mortality", "overridden", "known", 1)]


def test_what_is_old_is_forgotten_and_nothing_else(store: Store) -> None:
    with store.session() as session:
        show_cards(session, [CARD], 10.0)
        add_feedback(session, CARD.service, "iss", [TOLD], 20.0)
        assert forget_cards(session, 10.0) == 0
        assert forget_cards(session, 15.0) == 1
        assert forget_cards(session, 25.0) == 1
        show_cards(session, [], 30.0)


def test_recent_studies_of_a_patient_are_found_with_their_first_image_and_newest_results(store: Store) -> None:
    receive(store, [slice_of(1, 1), slice_of(1, 2)], quiet_s=0)
    receive(store, [image_of(2, patient_id="OTHER")], quiet_s=0)
    seal_due(store)
    with store.session() as session:
        save_result(session, 1, model="m-1.0.0", status="scored", reason="", summary={"findings": [1]}, objects=[], targets=[],
                    priority=0)
    with store.reading() as session:
        [study] = imaged(session, ["CANARI-0001", "X"], since=0.0, limit=5)
        assert (study.uid, study.first, study.modality) == (f"{ROOT_UID}.1", slice_of(1, 1).sha256, "MR")
        [result] = said(session, study.uid)
        assert (result.model, result.status, result.summary) == ("m-1.0.0", "scored", {"findings": [1]})
        assert imaged(session, ["CANARI-0001"], since=9e12, limit=5) == []
        assert imaged(session, [], since=0.0, limit=5) == []


def test_a_later_revision_replaces_what_was_said_of_an_earlier_one(store: Store) -> None:
    receive(store, [slice_of(1, 1)], quiet_s=0)
    seal_due(store)
    receive(store, [slice_of(1, 2)], quiet_s=0)
    seal_due(store)
    for revision, value in ((1, 0.1), (2, 0.9)):
        with store.session() as session:
            save_result(session, revision, model="m-1.0.0", status="scored", reason="", summary={"value": value}, objects=[],
                        targets=[], priority=0)
    with store.reading() as session:
        assert [one.summary for one in said(session, f"{ROOT_UID}.1")] == [{"value": 0.9}]
