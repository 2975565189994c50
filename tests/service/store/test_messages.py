"""The outbox of messages: one row a key and target, claimed once, on either database."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import func, select

from service.store import messages, outbox
from service.store.ehr_tables import Message
from service.store.errors import LostLease
from service.store.store import Store


def add(store: Store, key: str, *, target: str = "fhir_server", priority: int = 0) -> bool:
    with store.session() as session:
        return messages.add(session, target=target, kind="fhir", key=messages.key_of(key), content={"key": key}, priority=priority)


def test_a_key_names_nobody_and_its_parts_are_apart() -> None:
    assert 64 == len(messages.key_of("Patient/12", "raised"))
    assert messages.key_of("ab", "c") != messages.key_of("a", "bc")
    assert "12" not in messages.key_of("Patient/12") or messages.key_of("Patient/12").isalnum()


def test_one_row_a_key_and_target(store: Store) -> None:
    assert [True, False, True] == [add(store, "a"), add(store, "a"), add(store, "a", target="mllp")]


def test_many_who_add_the_same_at_once_add_one(store: Store) -> None:
    begin = threading.Barrier(6)

    def put() -> None:
        begin.wait()
        add(store, "a")

    threads = [threading.Thread(target=put) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    with store.reading() as session:
        assert 1 == session.scalar(select(func.count()).select_from(Message))


def test_the_most_urgent_message_of_a_target_is_claimed_first_and_once(store: Store) -> None:
    add(store, "low")
    add(store, "urgent", priority=2)
    add(store, "elsewhere", target="mllp", priority=2)
    taken = [messages.claim_letter(store, "fhir_server", worker="w", lease_s=60) for _ in range(3)]
    assert [{"key": "urgent"}, {"key": "low"}, None] == [one and one.content for one in taken]


def test_a_letter_whose_lease_was_lost_can_change_nothing(store: Store) -> None:
    add(store, "a")
    first = messages.claim_letter(store, "fhir_server", worker="w", lease_s=-1)
    second = messages.claim_letter(store, "fhir_server", worker="w", lease_s=60)
    assert first is not None
    assert second is not None
    with pytest.raises(LostLease):
        outbox.delivered(store, first)
    outbox.delivered(store, second)
    assert messages.claim_letter(store, "fhir_server", worker="w", lease_s=60) is None
