"""The side of a person is for ever: whoever tests never trains, whatever keys they turn out to have."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.store import splits
from service.store.splits import Member
from service.store.store import Store
from service.store.trust_tables import SplitMember
from tests.make_store import store_for

KEYS = [f"{letter}" * 32 for letter in "abcdefg"]
SIDES = dict(zip(KEYS, ("train", "test", "train", "val", "test", "train", "train"), strict=True))
LINKS = st.lists(st.lists(st.sampled_from(KEYS), min_size=1, max_size=3, unique=True), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_for(tmp_path_factory.mktemp("splits"))


def forget(store: Store) -> None:
    with store.session() as session:
        session.query(SplitMember).delete()


def settle(store: Store, *keys: str) -> Member:
    with store.session() as session:
        return splits.settle(session, keys, SIDES[keys[0]])


class Components:
    """Who is one person, by the links alone: a plain union-find, written apart from what is tested."""

    def __init__(self) -> None:
        self.of: dict[str, frozenset[str]] = {}

    def link(self, keys: list[str]) -> None:
        joined = frozenset(keys).union(*(self.of.get(one, frozenset({one})) for one in keys))
        for one in joined:
            self.of[one] = joined


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINKS)
def test_whoever_was_on_one_side_is_never_told_to_be_on_another(kept: Store, links: list[list[str]]) -> None:
    forget(kept)
    people, told = Components(), {key: set() for key in KEYS}
    for keys in links:
        found = settle(kept, *keys)
        people.link(keys)
        known = splits.members(kept)
        assert known[keys[0]] == found
        for key, member in known.items():
            assert {known[other] for other in people.of[key] if other in known} == {member}  # one person, one group, one side
            told[key].add(member.split)
    last = splits.members(kept)
    for key in last:
        sides = set().union(*(told[other] for other in people.of[key])) - {"neither"}
        if len(sides) > 1:  # two of them were on different sides before they were known to be one
            assert last[key].split == "neither"
        else:
            assert sides == {last[key].split}


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINKS, st.randoms(use_true_random=False))
def test_saying_again_what_is_known_changes_nothing(kept: Store, links: list[list[str]], chance: object) -> None:
    forget(kept)
    for keys in links:
        settle(kept, *keys)
    before = splits.members(kept)
    chance.shuffle(links)  # type: ignore[attr-defined]
    for keys in links:
        settle(kept, *keys)
    assert before == splits.members(kept)


def test_neither_side_is_left_no_more(kept: Store) -> None:
    forget(kept)
    settle(kept, KEYS[0])
    settle(kept, KEYS[1])
    assert Member(KEYS[0], "neither") == settle(kept, KEYS[0], KEYS[1])
    assert Member(KEYS[0], "neither") == settle(kept, KEYS[1]) == settle(kept, KEYS[2], KEYS[1])
    assert {"neither": 1} == splits.counts(kept)


def test_an_erasure_takes_the_whole_group(kept: Store) -> None:
    forget(kept)
    settle(kept, KEYS[0], KEYS[2])
    settle(kept, KEYS[1])
    with kept.session() as session:
        assert 2 == splits.erase(session, [KEYS[2]])
    assert {KEYS[1]: Member(KEYS[1], "test")} == splits.members(kept)


def test_sides_are_on_disk(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    settle(store, KEYS[1])
    store.close()
    again = store_for(tmp_path)
    assert Member(KEYS[1], "test") == settle(again, KEYS[1], KEYS[0])
