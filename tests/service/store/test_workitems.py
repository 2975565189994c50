"""Workitems change by compare-and-set: of two who try at once, one wins and the other learns it."""

from __future__ import annotations

import threading

from service.store.store import Store
from service.store.workitems import add_workitem, get_workitem, put_workitem, search_workitems

UID = "1.2.826.0.1.3680043.8.498.2026.5"


def add(store: Store, uid: str = UID, *, state: str = "SCHEDULED", priority: int = 0, study: str = "1.2") -> bool:
    return add_workitem(store, uid, state=state, study_uid=study, priority=priority, attributes={"a": 1})


def test_workitem_is_read_as_it_was_added(store: Store) -> None:
    assert add(store)
    item = get_workitem(store, UID)
    assert item is not None
    assert ("SCHEDULED", "", {"a": 1}, False) == (item.state, item.transaction_uid, item.attributes, item.cancel_requested)


def test_uid_can_be_used_once(store: Store) -> None:
    assert [True, False] == [add(store), add(store, state="COMPLETED")]


def test_absent_workitem_is_none(store: Store) -> None:
    assert get_workitem(store, UID) is None


def test_change_after_another_change_is_refused(store: Store) -> None:
    add(store)
    seen = get_workitem(store, UID)
    assert seen is not None
    assert put_workitem(store, seen, attributes={"a": 2})
    assert not put_workitem(store, seen, attributes={"a": 3})
    now = get_workitem(store, UID)
    assert now is not None
    assert {"a": 2} == now.attributes


def test_of_many_who_claim_at_once_one_wins(store: Store) -> None:
    add(store)
    seen = get_workitem(store, UID)
    assert seen is not None
    won: list[str] = []
    start = threading.Barrier(12)

    def claim(name: str) -> None:
        start.wait(30)
        if put_workitem(store, seen, state="IN PROGRESS", transaction_uid=name):
            won.append(name)

    threads = [threading.Thread(target=claim, args=(f"1.{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    now = get_workitem(store, UID)
    assert now is not None
    assert [now.transaction_uid] == won


def test_search_is_by_state_and_study_the_urgent_first(store: Store) -> None:
    add(store, "1.1", priority=0)
    add(store, "1.2", priority=2)
    add(store, "1.3", state="COMPLETED")
    add(store, "1.4", study="1.9")
    assert ["1.2", "1.1"] == [one.uid for one in search_workitems(store, states=["SCHEDULED"], study_uid="1.2")]
    assert ["1.1"] == [one.uid for one in search_workitems(store, states=["SCHEDULED"], study_uid="1.2", limit=1, offset=1)]
    assert ["1.3"] == [one.uid for one in search_workitems(store, uid="1.3")]
