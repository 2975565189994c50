"""Addresses of the list: what they say is read back the same, what is not ours is refused, and no text of a search stands in them."""

from __future__ import annotations

import pytest
from starlette.datastructures import QueryParams

from service.access.caller import Caller
from service.problem import ProblemError
from service.review.worklist.asked import Asked, asked_of, position_of, told
from service.review.worklist.seal import seal, unseal
from service.review.worklist.sight import NONE_OF_THEM, sees, within
from service.store.entries_page import Query
from service.store.store import Store
from tests.make_store import store_for

READER = Caller("rpps:1", session="s1", roles=frozenset({"radiologist"}))


@pytest.mark.parametrize("asked", [
    Asked(), Asked("done", (3, 1), ("rejected",), ("study",), "chest", "Méd. & chir.", "DX", "sealed-_1", "100.5_3", ""),
    Asked("all", before="2.0_0"),
])
def test_an_address_is_read_back_as_it_was_meant(asked: Asked) -> None:
    assert asked_of(QueryParams(asked.pairs())) == asked


@pytest.mark.parametrize("query", [
    "view=every", "urgency=4", "urgency=03", "state=lost", "kind=Study", "order=name", "after=1", "after=nan_1", "after=inf_1",
    "after=1_-1", "before=1_x", "model=a&model=b", "department=%00", f"model={'m' * 2000}", "text=ESSAI", "after=1_1%0d",
])
def test_what_is_no_address_of_ours_is_refused_without_repeating_it(query: str) -> None:
    with pytest.raises(ProblemError) as refused:
        asked_of(QueryParams(query))
    assert refused.value.problem.status == 400
    assert query.partition("=")[2] not in refused.value.problem.detail


def test_a_filter_begins_at_the_first_page_and_another_view_forgets_states() -> None:
    asked = Asked("open", states=("new",), after="1.0_2")
    assert asked.toggled("urgencies", 3) == "/review?urgency=3&state=new"
    assert Asked(urgencies=(3,)).toggled("urgencies", 3) == "/review"
    assert asked.href(view="done") == "/review?view=done"


def test_a_position_survives_an_address() -> None:
    place = 2e11 + 1_763_788_123.123456
    assert position_of(told((place, 17))) == (place, 17)


def test_what_was_typed_is_opened_by_its_session_alone_and_not_for_ever(tmp_path: object) -> None:
    store: Store = store_for(tmp_path)  # type: ignore[arg-type]
    try:
        sealed = seal(store, READER, "éssai 12", now=1000.0)
        other = Caller("rpps:1", session="s2", roles=READER.roles)
        assert unseal(store, READER, sealed, now=2000.0) == "éssai 12"
        assert unseal(store, other, sealed, now=2000.0) is None
        assert unseal(store, READER, sealed, now=1e6) is None
        assert unseal(store, READER, sealed[:-2] + "AA", now=2000.0) is None
        assert unseal(store, READER, "é", now=2000.0) is None
        assert len(seal(store, READER, "ab")) == len(seal(store, READER, "abcdefghij"))
    finally:
        store.close()


def test_a_query_finds_no_more_than_was_granted() -> None:
    narrow = Caller("rpps:2", roles=frozenset({"clinician"}), departments=frozenset({"A", "B"}),
                    models=frozenset({"chest", "hip-1.0.0"}))
    found = within(narrow, Query())
    assert (found.departments, found.models) == (frozenset({"A", "B"}), frozenset({"chest", "hip-1.0.0", "hip"}))
    assert within(narrow, Query(departments=frozenset({"B", "C"}))).departments == frozenset({"B"})
    assert within(narrow, Query(departments=frozenset({"C"}))).departments == frozenset()
    assert within(Caller("x", roles=frozenset({"engineer"})), Query()).kinds == NONE_OF_THEM
    assert within(narrow, Query(actor="rpps:1")).actor == "rpps:2"


def test_a_line_is_seen_in_its_department_and_with_every_one_of_its_models() -> None:
    narrow = Caller("rpps:2", roles=frozenset({"clinician"}), departments=frozenset({"A"}), models=frozenset({"chest"}))
    assert sees(narrow, "study", "A", ["chest-1.0.0"])
    assert not sees(narrow, "study", "A", ["chest-1.0.0", "hip-1.0.0"])
    assert not sees(narrow, "study", "B", ["chest-1.0.0"])
    assert not sees(narrow, "study", "", ["chest-1.0.0"])
    assert not sees(narrow, "letter", "A", [])
    assert sees(narrow, "study", "A", [])
