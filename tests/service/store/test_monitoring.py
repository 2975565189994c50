"""What stands of what was heard: of each Observation its last version, whatever the order in which they came."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store import monitoring as rows
from service.store.monitoring import Change, Heard
from service.store.store import Store

MODELS = {"watch": frozenset({"HR"})}
ONE = Heard("Patient/p1", "Observation/1", "", "HR", 80.0, 1000.0, "final", 0.0)


@pytest.fixture
def subject() -> str:
    return "Patient/p1"


def standing(store: Store, subject: str) -> list[tuple[float, float]]:
    return [(one.at, one.value) for one in rows.look(store, subject, "watch", {"HR"}, 0.0)[1]]


def hear(store: Store, *heard: Heard, now: float = 2000.0) -> bool:
    return bool(rows.hear(store, heard, MODELS, now=now))


def test_the_same_again_makes_nobody_due(store: Store, subject: str) -> None:
    one = replace(ONE, subject=subject)
    assert [True, False] == [hear(store, one), hear(store, one)]


def test_thousands_at_once_hold_up_other_writers_for_seconds_at_most(store: Store, subject: str) -> None:
    many = [replace(ONE, subject=subject, source=f"Observation/{i}", identifier=f"urn:x|{i}", at=1000.0 + i) for i in range(4000)]
    began = time.monotonic()
    assert [True, False] == [hear(store, *many, now=6000.0), hear(store, *many, now=6000.0)]
    assert time.monotonic() - began < 12  # each with each would take half a minute


@pytest.mark.parametrize(("first", "then", "value"), [
    (("final", 80.0, 0.0), ("corrected", 90.0, 0.0), 90.0),
    (("corrected", 90.0, 0.0), ("final", 80.0, 0.0), 90.0),  # the correction overtook what it corrects
    (("final", 80.0, 5.0), ("final", 90.0, 4.0), 80.0),  # an older version that comes later
    (("final", 80.0, 4.0), ("final", 90.0, 5.0), 90.0),
    (("final", 80.0, 0.0), ("entered-in-error", 0.0, 0.0), None),
    (("entered-in-error", 0.0, 0.0), ("final", 80.0, 0.0), None),
    (("final", 80.0, 0.0), ("data-absent", 0.0, 0.0), None),
    (("entered-in-error", 0.0, 4.0), ("final", 80.0, 5.0), 80.0),  # an error that was itself corrected
])  # fmt: skip
def test_of_two_versions_the_later_one_stands(
    store: Store, subject: str, first: tuple[str, float, float], then: tuple[str, float, float], value: float | None
) -> None:
    for status, told, version in (first, then):
        hear(store, replace(ONE, subject=subject, status=status, value=told, version=version))
    assert ([] if value is None else [(1000.0, value)]) == standing(store, subject)


def test_the_same_measurement_under_a_new_reference_is_known_by_its_identifier(store: Store, subject: str) -> None:
    hear(store, replace(ONE, subject=subject, identifier="urn:s|7"))
    hear(store, replace(ONE, subject=subject, identifier="urn:s|7", source="Observation/2", status="entered-in-error"))
    assert [] == standing(store, subject)


def test_another_person_s_observation_of_the_same_id_is_another(store: Store, subject: str) -> None:
    hear(store, replace(ONE, subject=subject))
    hear(store, replace(ONE, subject=f"{subject}0", status="entered-in-error"))
    assert [(1000.0, 80.0)] == standing(store, subject)


def test_two_feeds_of_one_instant_count_once_and_the_newer_version_counts(store: Store, subject: str) -> None:
    other = replace(ONE, subject=subject, source="Observation/2", value=90.0, version=1.0)
    hear(store, replace(ONE, subject=subject, version=2.0), other)
    assert [(1000.0, 80.0)] == standing(store, subject)


def test_a_correction_that_measures_something_else_takes_the_first_back(store: Store, subject: str) -> None:
    hear(store, replace(ONE, subject=subject, version=1.0))
    assert hear(store, replace(ONE, subject=subject, code="GCS", value=15.0, version=2.0))
    assert [] == standing(store, subject)


def test_deleting_takes_back_and_deleting_what_was_never_heard_is_nothing(store: Store, subject: str) -> None:
    hear(store, replace(ONE, subject=subject, source=f"Observation/{subject}"))
    assert {(subject, "watch")} == rows.take_back(store, f"Observation/{subject}", MODELS, now=3000.0)
    assert set() == rows.take_back(store, "Observation/unheard", MODELS, now=3000.0)
    assert [] == standing(store, subject)


versions = st.builds(
    lambda source, at, value, status, version: replace(
        ONE, source=f"Observation/{source}", at=float(at), value=float(value), status=status, version=float(version)),
    st.integers(1, 3), st.integers(0, 3), st.integers(60, 90),
    st.sampled_from(["final", "corrected", "entered-in-error", "data-absent"]), st.integers(1, 4),
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(versions, min_size=1, max_size=6, unique_by=lambda one: (one.source, one.version)), st.data())
def test_stamped_versions_come_to_the_same_in_any_order(store: Store, told: list[Heard], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(told))
    name = f"Patient/{data.draw(st.uuids())}"
    for each, order in ((f"{name}a", told), (f"{name}b", shuffled)):
        for one in order:
            hear(store, replace(one, subject=each))
    assert standing(store, f"{name}a") == standing(store, f"{name}b")


def test_a_change_is_written_by_one_of_those_who_saw_the_same(store: Store, subject: str) -> None:
    hear(store, replace(ONE, subject=subject))
    watched, _ = rows.look(store, subject, "watch", {"HR"}, 0.0)
    assert watched is not None
    change = Change(state="alert", value=0.5, scored_until=1000.0, below_since=None, due_at=None, detail={}, raised={"value": 0.5})
    begin, wrote = threading.Barrier(4), []

    def settle() -> None:
        begin.wait()
        with store.session() as session:
            wrote.append(rows.settle(session, watched, change, 2000.0) is not None)

    threads = [threading.Thread(target=settle) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [False, False, False, True] == sorted(wrote)
    assert 1 == len(rows.open_alerts(store, subject))
    assert {"alert": 1} == rows.states(store)


def test_what_is_heard_at_once_from_many_sides_is_all_there(store: Store, subject: str) -> None:
    begin = threading.Barrier(4)

    def listen(side: int) -> None:
        begin.wait()
        for number in range(5):
            hear(store, replace(ONE, subject=subject, source=f"Observation/{number}", at=1000.0 + number, value=80.0 + side))

    threads = [threading.Thread(target=listen, args=(side,)) for side in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert [1000.0 + number for number in range(5)] == [at for at, _ in standing(store, subject)]
    assert [(subject, "watch")] == rows.due(store, 3000.0)


def test_what_was_heard_while_it_was_scored_is_scored_again(store: Store, subject: str) -> None:
    hear(store, replace(ONE, subject=subject))
    watched, _ = rows.look(store, subject, "watch", {"HR"}, 0.0)
    assert watched is not None
    hear(store, replace(ONE, subject=subject, source="Observation/2", at=1001.0))
    change = Change(state="calm", value=0.1, scored_until=1000.0, below_since=None, due_at=None, detail={})
    with store.session() as session:
        assert rows.settle(session, watched, change, 2000.0) is None
    assert [(subject, "watch")] == rows.due(store, 3000.0)
