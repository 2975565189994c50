"""Lines of the worklist: what opens them again, what closes them, how they are numbered, and who is told."""

from __future__ import annotations

import threading
from typing import Any

from service.store import entries
from service.store.entries import CRITICAL, HIGH, ROUTINE, NewEntry
from service.store.review_tables import Entry
from service.store.store import Store


def line(target: str = "1.2.3", **changes: Any) -> NewEntry:
    """Make what is shown of a study."""
    told: dict[str, Any] = {
        "kind": "study", "target": target, "urgency": HIGH, "waiting_since": 1000.0, "version": "1", "detail": {"heading": "x"},
        "person": "p" * 32, "patient_name": "ÉSSAI^Zoé", "patient_id": "ID-7", "models": ("chest-1.0.0",), "modality": "DX",
    }
    return NewEntry(**{**told, **changes})


def put(store: Store, new: NewEntry) -> str:
    with store.session() as session:
        return entries.put(session, new)


def see(store: Store, state: entries.State, target: str = "1.2.3", **more: Any) -> bool:
    with store.session() as session:
        return entries.set_state(session, kind="study", target=target, state=state, **more)


def read(store: Store, target: str = "1.2.3") -> Entry:
    found = entries.by_target(store, "study", target)
    assert found is not None
    return found


def test_the_same_content_again_is_no_change(store: Store) -> None:
    key = put(store, line())
    number = entries.last_number(store)

    assert put(store, line()) == key
    assert entries.last_number(store) == number


def test_new_results_open_a_decided_line_again_under_the_same_key(store: Store) -> None:
    key = put(store, line())
    see(store, "validated", actor="rpps:1")
    assert not read(store).open

    assert put(store, line(version="2", urgency=CRITICAL)) == key
    again = read(store)
    assert (again.state, again.open, again.actor, again.urgency) == ("new", True, "", CRITICAL)


def test_a_corrected_name_does_not_open_a_decided_line(store: Store) -> None:
    put(store, line())
    see(store, "corrected", reason="too_much")
    put(store, line(patient_name="ESSAI^Zoë"))

    assert (read(store).state, read(store).reason, read(store).open) == ("corrected", "too_much", False)


def test_opening_a_decided_line_leaves_it_decided(store: Store) -> None:
    put(store, line())
    assert see(store, "seen", actor="rpps:1")
    assert not see(store, "seen", actor="rpps:2")
    see(store, "rejected")

    assert not see(store, "seen")
    assert (read(store).state, read(store).actor) == ("rejected", "rpps:1")


def test_a_refusal_is_done_once_it_was_seen_and_stays_one(store: Store) -> None:
    put(store, line(state="refused", reason="blank"))
    see(store, "seen")

    assert (read(store).state, read(store).reason, read(store).open) == ("refused", "blank", False)


def test_an_alert_that_ended_stays_until_it_was_seen(store: Store) -> None:
    put(store, line(kind="alert", target="7", urgency=CRITICAL))
    with store.session() as session:
        assert entries.end(session, kind="alert", target="7", detail={"ended_at": 2000.0})
    found = entries.by_target(store, "alert", "7")
    assert found is not None
    assert (found.urgency, found.open, found.detail["ended_at"]) == (ROUTINE, True, 2000.0)

    with store.session() as session:
        entries.set_state(session, kind="alert", target="7", state="seen")
    found = entries.by_target(store, "alert", "7")
    assert found is not None
    assert not found.open


def test_nothing_happens_to_a_line_that_is_not_there(store: Store) -> None:
    assert not see(store, "seen", target="none")
    assert entries.last_number(store) == 0


def test_changes_tell_each_line_once_with_its_last_number(store: Store) -> None:
    first, second = put(store, line("1")), put(store, line("2"))
    see(store, "seen", target="1")

    told = entries.changes(store, 0)
    assert [one.key for one in told.lines] == [second, first]
    assert (told.number, told.gap) == (3, True)
    assert entries.changes(store, told.number) == entries.Changes(3, (), gap=False)


def test_changes_that_are_too_many_at_once_come_in_the_next_call(store: Store) -> None:
    for target in "abcde":
        put(store, line(target))

    first = entries.changes(store, 0, limit=3)
    second = entries.changes(store, first.number, limit=3)
    assert [len(first.lines), len(second.lines)] == [3, 2]
    assert (second.number, first.gap, second.gap) == (5, False, False)


def test_erasing_leaves_a_gap_and_no_line(store: Store) -> None:
    put(store, line("1"))
    put(store, line("2", person="q" * 32))
    with store.session() as session:
        assert entries.erase(session, persons=["p" * 32, ""]) == 1
        assert entries.erase(session, kind="study", targets=["2"]) == 1
        assert entries.erase(session) == 0

    told = entries.changes(store, 2)
    assert (told.number, told.lines, told.gap) == (4, (), True)


def test_numbers_have_no_holes_when_many_write_at_once(store: Store) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 5):
            put(store, line(f"1.2.{number}"))

    threads = [threading.Thread(target=write, args=(10 * place,)) for place in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)

    told = entries.changes(store, 0)
    assert [one.number for one in told.lines] == list(range(1, 21))
    assert not told.gap


def test_a_name_is_found_without_accents_and_signs() -> None:
    assert entries.folded("Ŧ^=山田^太郎") == "ŧ"
    assert entries.folded("^^=山田^太郎") == "山田 太郎"
    assert entries.folded("O'ÉSSAI-TEST^Zoé_2") == "o essai test zoe 2"


def test_ids_of_models_are_never_cut(store: Store) -> None:
    put(store, line(models=tuple(f"{'m' * 100}{number}-1.0.0" for number in range(5))))
    assert len(read(store).model.split()) == 2
