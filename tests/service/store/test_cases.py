"""When a case is complete, and what a revision holds: never a silent mix, never an image in none."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from service.store import inbox
from service.store.cases import instances_of, seal_due
from service.store.filing import PATIENCE
from service.store.inbox import receive, released
from service.store.store import Store
from service.store.tables import Case, Job, Revision
from tests.make_store import MadeArrival, image_of, slice_of

QUIET_S = 20.0


def receive_all(store: Store, *arrivals: MadeArrival) -> None:
    receive(store, arrivals, quiet_s=QUIET_S)


def release(store: Store, association: str) -> None:
    released(store, association, release_quiet_s=3.0, quiet_s=QUIET_S)


def seal_after(store: Store, seconds: float) -> int:
    return seal_due(store, now=time.time() + seconds)


def revisions(store: Store, key: str) -> list[list[str]]:
    """Return the contents of each revision of a case, in order."""
    with store.reading() as session:
        ids = session.scalars(
            select(Revision.id).join(Case, Case.id == Revision.case_id).where(Case.key == key).order_by(Revision.number)
        ).all()
    return [[one.sha256 for one in instances_of(store, revision)] for revision in ids]


def test_radiograph_is_complete_at_once(store: Store) -> None:
    receive_all(store, image_of(1))
    assert 1 == seal_after(store, 0)


def test_slices_wait_for_the_quiet_time_after_the_last(store: Store) -> None:
    receive_all(store, slice_of(1, 1))
    assert [0, 1, 0] == [seal_after(store, QUIET_S - 1), seal_after(store, QUIET_S + 1), seal_after(store, QUIET_S + 1)]


def test_release_shortens_the_wait(store: Store) -> None:
    receive_all(store, slice_of(1, 1, association="a"))
    release(store, "a")
    assert [0, 1] == [seal_after(store, 1), seal_after(store, 4)]


def test_release_never_lengthens_the_wait(store: Store) -> None:
    receive(store, [slice_of(1, 1, association="a")], quiet_s=1.0)
    release(store, "a")
    assert 1 == seal_after(store, 1.5)


def test_interleaved_associations_of_one_series_wait_for_the_last_release(store: Store) -> None:
    receive_all(store, slice_of(1, 1, association="a"), slice_of(1, 2, association="b"))
    release(store, "a")
    receive_all(store, slice_of(1, 3, association="b"))
    assert 0 == seal_after(store, 4)
    release(store, "b")
    assert 1 == seal_after(store, 4)
    assert [3] == [len(one) for one in revisions(store, slice_of(1, 1).case_key)]


def test_association_that_went_silent_does_not_hold_a_case(store: Store) -> None:
    receive_all(store, slice_of(1, 1, association="dead"), slice_of(1, 2, association="a"))
    released(store, "a", release_quiet_s=3.0, quiet_s=0.0)  # to this release, "dead" sent too long ago to count
    assert 1 == seal_after(store, 4)


def test_release_of_one_series_leaves_another_of_the_association_alone_once_sealed(store: Store) -> None:
    receive_all(store, slice_of(1, 1, association="a"), slice_of(2, 1, association="a"))
    assert 2 == seal_after(store, QUIET_S + 1)
    release(store, "a")
    assert 0 == seal_after(store, QUIET_S + 1)


def test_late_slice_makes_a_second_revision_of_the_first_and_the_slice(store: Store) -> None:
    early, late = [slice_of(1, 1), slice_of(1, 3)], slice_of(1, 2)
    receive_all(store, *early)
    seal_after(store, QUIET_S + 1)
    receive_all(store, late)
    seal_after(store, QUIET_S + 1)
    assert [[early[0].sha256, early[1].sha256], [early[0].sha256, late.sha256, early[1].sha256]] == revisions(store, late.case_key)


def test_replaced_content_makes_a_revision_with_the_new_bytes_alone(store: Store) -> None:
    first, second = slice_of(1, 1), slice_of(1, 1, content="corrected")
    for arrival in (first, second):
        receive_all(store, arrival)
        seal_after(store, QUIET_S + 1)
    assert [[first.sha256], [second.sha256]] == revisions(store, first.case_key)


def test_duplicate_of_a_sealed_case_starts_nothing(store: Store) -> None:
    receive_all(store, slice_of(1, 1))
    seal_after(store, QUIET_S + 1)
    receive_all(store, slice_of(1, 1))
    assert 0 == seal_after(store, 10 * QUIET_S)


def test_content_that_changed_and_changed_back_starts_nothing(store: Store) -> None:
    receive_all(store, slice_of(1, 1))
    seal_after(store, QUIET_S + 1)
    receive_all(store, slice_of(1, 1, content="b"), slice_of(1, 1))
    assert 0 == seal_after(store, 10 * QUIET_S)


def test_series_being_sent_again_from_the_start_is_not_cut_in_two(store: Store) -> None:
    receive(store, [slice_of(1, 1)], quiet_s=1.0)
    receive_all(store, slice_of(1, 1, association="again"))  # a duplicate, but the sender is at it
    assert 0 == seal_after(store, 2)


def test_image_that_moves_to_another_series_leaves_a_revision_without_it(store: Store) -> None:
    staying, moving = slice_of(1, 1), slice_of(1, 2)
    receive_all(store, staying, moving)
    seal_after(store, QUIET_S + 1)
    moved = slice_of(2, 2, sop_uid=moving.sop_uid)
    receive_all(store, moved)
    seal_after(store, QUIET_S + 1)
    assert [[staying.sha256, moving.sha256], [staying.sha256]] == revisions(store, staying.case_key)
    assert [[moved.sha256]] == revisions(store, moved.case_key)


def test_urgent_case_is_sealed_first_and_gives_its_priority_to_the_job(store: Store) -> None:
    receive_all(store, image_of(1, 1), image_of(1, 2, priority=1))
    assert 1 == seal_due(store, limit=1)
    with store.reading() as session:
        assert [(1, "queued")] == session.execute(select(Job.priority, Job.state)).all()


# ---------------------------------------------------------------------------------------------------- against a model


@dataclass
class Expected:
    """What one case should be, in the plainest words."""

    contents: dict[int, str] = field(default_factory=dict)  # slice number → sha256
    waits: bool = False
    due: bool = False
    senders: set[str] = field(default_factory=set)
    revisions: list[set[str]] = field(default_factory=list)

    def receive(self, number: int, sha256: str, sender: str) -> None:
        if self.contents.get(number) != sha256 or self.waits:
            self.contents[number] = sha256
            self.waits, self.due = True, False
            self.senders.add(sender)

    def release(self, sender: str) -> None:
        if sender in self.senders:
            self.senders.discard(sender)
            self.due = self.due or (self.waits and not self.senders)

    def seal(self) -> None:
        self.waits, self.due, self.senders = False, False, set()
        held = set(self.contents.values())
        if held and self.revisions[-1:] != [held]:
            self.revisions.append(held)


EVENT = st.one_of(
    st.tuples(st.just("receive"), st.integers(1, 2), st.integers(1, 3), st.sampled_from("xy"), st.sampled_from("ab")),
    st.tuples(st.just("release"), st.sampled_from("ab")),
    st.tuples(st.sampled_from(("seal what is released", "seal all"))),
)
studies = itertools.count(1000)


@settings(max_examples=25, deadline=None, database=None, derandomize=True,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # every example has a study of its own
@given(events=st.lists(EVENT, max_size=25))
def test_any_order_of_events_gives_the_revisions_of_the_model(store: Store, events: list[tuple[object, ...]]) -> None:
    study = next(studies)
    expected = {1: Expected(), 2: Expected()}
    for event in [*events, ("seal all",)]:
        match event:
            case ("receive", int(series), int(number), str(content), str(sender)):
                arrival = slice_of(series, number, study=study, content=content, association=f"{sender}{study}")
                receive_all(store, arrival)
                expected[series].receive(number, arrival.sha256, sender)
            case ("release", str(sender)):
                released(store, f"{sender}{study}", release_quiet_s=0.0, quiet_s=QUIET_S)
                for case in expected.values():
                    case.release(sender)
            case ("seal what is released",):
                seal_due(store)
                for case in expected.values():
                    if case.due:
                        case.seal()
            case _:
                seal_after(store, QUIET_S + 1)
                for case in expected.values():
                    if case.waits:
                        case.seal()
    for series, case in expected.items():
        assert case.revisions == [set(one) for one in revisions(store, slice_of(series, 1, study=study).case_key)]


def test_case_promised_to_a_clock_that_was_put_back_is_sealed(store: Store) -> None:
    receive(store, [slice_of(1, 1)], quiet_s=20)
    assert 0 == seal_due(store, now=time.time())
    assert 1 == seal_due(store, now=time.time() - 86_400)


def test_image_repeated_for_ever_does_not_keep_the_others_from_their_result(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [time.time()]
    monkeypatch.setattr(inbox, "time", SimpleNamespace(time=lambda: clock[0]))
    receive_all(store, slice_of(1, 1), slice_of(1, 2))
    began = clock[0]
    while not seal_due(store, now=clock[0]):
        assert clock[0] - began < 2 * PATIENCE * QUIET_S
        clock[0] += QUIET_S / 2
        receive_all(store, slice_of(1, 1))
    assert clock[0] - began > PATIENCE * QUIET_S / 2


def test_lone_image_sent_twice_waits_no_longer(store: Store) -> None:
    receive_all(store, image_of(1))
    receive_all(store, image_of(1))
    assert 1 == seal_after(store, 1)
