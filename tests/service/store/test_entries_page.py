"""Pages of the worklist partition the lines in order, while lines change; filters, searches and counts agree with a plain look."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, insert, text

from service.store import entries, entries_page
from service.store.entries import STEP, place_of
from service.store.entries_page import Query, counts, page, position_of
from service.store.review_tables import Entry, EntryChange
from service.store.store import Store

KINDS, STATES = ("study", "risk", "alert"), ("new", "seen", "validated", "corrected", "rejected", "refused")
DEPARTMENTS, MODALITIES = ("", "ED", "Ward A", "Ward B"), ("DX", "MR", "")
MODELS = ("", "chest-1.0.0", "chest_xray-1.0.0", "chest-1.0.0 hip-2.1.0", "hip-2.1.0")


def row(number: int, draw: random.Random) -> dict[str, Any]:
    """Draw a line; times are few, so that places are often the same."""
    urgency, since = draw.randrange(4), float(draw.randrange(1_000, 1_020))
    state = draw.choice(STATES)
    return {
        "key": f"key{number:06d}", "kind": draw.choice(KINDS), "target": str(number), "person": "", "patient_id": f"p{number % 50}",
        "department": draw.choice(DEPARTMENTS),
        "patient_name": draw.choice(("essai", "essaim", "test patient", "zz essai")) + f" {number % 7}",
        "accession_number": f"a{number}", "model": draw.choice(MODELS), "modality": draw.choice(MODALITIES), "urgency": urgency,
        "waiting_since": since, "place": place_of(urgency, since), "open": state in ("new", "seen"), "state": state, "reason": "",
        "actor": draw.choice(("", "rpps:1", "rpps:2")), "detail": {"version": "1"}, "changed": number, "created_at": since,
        "changed_at": since,
    }  # fmt: skip


def fill(store: Store, count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Write drawn lines, and return them."""
    draw = random.Random(seed)
    rows = [row(number, draw) for number in range(1, count + 1)]
    draw.shuffle(rows)
    with store.session() as session:
        session.execute(insert(Entry), rows)
        session.add(EntryChange(id=1, number=count))
    return rows


def walk(store: Store, query: Query, *, backwards: bool = False) -> list[Entry]:
    """Read all pages, one after the other."""
    found: list[Entry] = []
    position = ((0.0, 0) if query.by_change else (math.inf, 0)) if backwards else None
    for _ in range(10_000):
        one = page(store, replace(query, before=position) if backwards else replace(query, after=position))
        found = [*one.lines, *found] if backwards else [*found, *one.lines]
        if not (one.more_before if backwards else one.more_after):
            return found
        edge = one.lines[0 if backwards else -1] if one.lines else None
        position = one.stopped or (position_of(query, edge) if edge else None)
        assert position is not None
    raise AssertionError("there is no last page")


def plain(rows: list[dict[str, Any]], query: Query) -> list[str]:
    """List what a query asks for, without any index."""
    def passes(one: dict[str, Any]) -> bool:
        names = [model.rpartition("-")[0] for model in one["model"].split()]
        view = {"open": one["open"], "done": not one["open"], "all": True, "mine": one["actor"] == query.actor}[query.view]
        return (view and (not query.kinds or one["kind"] in query.kinds) and (not query.states or one["state"] in query.states)
                and (not query.urgencies or one["urgency"] in query.urgencies)
                and (not query.modalities or one["modality"] in query.modalities)
                and (query.departments is None or one["department"] in query.departments)
                and (not query.model or query.model in names)
                and (query.models is None or not names or not query.models.isdisjoint(names)))

    wanted = [one for one in rows if passes(one)]
    if query.view == "open":
        return [one["target"] for one in sorted(wanted, key=lambda one: one["place"])]
    return [one["target"] for one in sorted(wanted, key=lambda one: -one["changed"])]


def drawn(draw: random.Random) -> Query:
    """Draw a query."""
    def some(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(draw.sample(values, draw.choice((0, 0, 1, 2))))

    return Query(
        view=draw.choice(("open", "done", "all", "mine")), kinds=some(KINDS), states=some(STATES), urgencies=some((0, 1, 2, 3)),
        modalities=some(MODALITIES), model=draw.choice(("", "", "chest", "hip")), actor="rpps:1", size=draw.choice((1, 3, 10)),
        models=draw.choice((None, frozenset({"chest"}), frozenset({"hip", "chest_xray"}))),
        departments=draw.choice((None, frozenset({"ED"}), frozenset({"ED", "", "Ward B"}), frozenset())),
    )


@pytest.mark.parametrize("bound", [60_000, 40])
def test_pages_partition_the_lines_in_order_forwards_and_backwards(store: Store, monkeypatch: pytest.MonkeyPatch, bound: int) -> None:
    monkeypatch.setattr(entries_page, "LOOKED_AT", bound)
    monkeypatch.setattr(entries_page, "LEAST_SHARE", 7)
    rows = fill(store, 150)
    draw = random.Random(3)
    for _ in range(12):
        query = drawn(draw)
        expected = plain(rows, query)
        for backwards in (False, True):
            found = walk(store, query, backwards=backwards)
            assert sorted(one.target for one in found) == sorted(expected), query
            positions = [position_of(query, one) for one in found]
            assert positions == sorted(positions, reverse=query.by_change), query


def test_no_line_is_shown_twice_or_lost_while_others_change(store: Store) -> None:
    rows = fill(store, 120)
    draw = random.Random(5)
    query = Query(view="open", size=7)
    staying = {one["target"] for one in rows if one["open"] and int(one["target"]) % 2}
    seen: list[str] = []
    position = None
    for _ in range(100):
        one = page(store, replace(query, after=position))
        seen += [line.target for line in one.lines]
        if not one.more_after:
            break
        position = position_of(query, one.lines[-1])
        with store.session() as session:  # others are decided and come, before and behind
            other = draw.choice([row for row in rows if int(row["target"]) % 2 == 0])
            entries.set_state(session, kind=other["kind"], target=other["target"], state=draw.choice(("validated", "seen", "new")))
            entries.put(session, entries.NewEntry("study", f"new{len(seen)}", draw.randrange(4), 1_010.0, "1", {}))
    assert len(seen) == len(set(seen))
    assert staying <= set(seen)


def test_counts_agree_with_a_plain_look_and_stop_at_their_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = fill(store, 200)
    draw = random.Random(7)
    for _ in range(5):
        query = replace(drawn(draw), view="open")
        expected = plain(rows, query)
        by_target = {one["target"]: one["urgency"] for one in rows}
        assert sum(one.number for one in counts(store, query).values()) == len(expected)
        for urgency, one in counts(store, query).items():
            assert (one.number, one.more) == (sum(by_target[target] == urgency for target in expected), False)
    monkeypatch.setattr(entries_page, "COUNTED", 3)
    assert counts(store, Query())[3] == entries_page.Count(3, more=True)


@pytest.mark.parametrize(("typed", "expected"), [
    ("ESSAI", {"essai", "essaim"}), ("éssaim", {"essaim"}), ("test pat", {"test patient"}), ("e", set()), ("_ssai", set()),
    ("essai%", {"essai", "essaim"}),
])
def test_a_name_is_found_by_its_beginning(store: Store, typed: str, expected: set[str]) -> None:
    fill(store, 100)
    found = walk(store, Query(view="all", text=typed, size=13))
    assert {one.patient_name.rpartition(" ")[0] for one in found} == expected
    assert len({one.id for one in found}) == len(found)


def test_numbers_are_found_and_other_filters_hold_in_a_search_too(store: Store) -> None:
    rows = fill(store, 100)
    assert [one.accession_number for one in walk(store, Query(view="all", text="A77"))] == ["a77"]
    query = Query(view="all", text="P1", departments=frozenset({"ED"}), kinds=("study",))
    known = [one for one in rows if one["patient_id"].startswith("p1")]
    expected = {one["target"] for one in known if (one["department"], one["kind"]) == ("ED", "study")}
    assert {one.target for one in walk(store, query)} == expected != set()


def test_a_search_of_too_many_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries_page, "FOUND", 5)
    fill(store, 50)
    assert page(store, Query(view="all", text="essai")).too_many
    assert not page(store, Query(view="all", text="a7")).too_many


def test_lines_of_given_keys_are_those_that_pass(store: Store) -> None:
    rows = fill(store, 30)
    keys = tuple(one["key"] for one in rows[:10])
    expected = {one["key"] for one in rows[:10] if one["open"]}
    assert {one.key for one in page(store, Query(keys=keys)).lines} == expected


def test_departments_are_listed_once_each(store: Store) -> None:
    fill(store, 100)
    assert entries_page.departments(store) == ["ED", "Ward A", "Ward B"]


QUERIES = (
    Query(), Query(urgencies=(3,)), Query(after=(STEP, 3), states=("new",)), Query(before=(STEP, 3)),
    Query(departments=frozenset({"ED"})), Query(view="done", after=(50.0, 0)), Query(view="all", departments=frozenset({"ED"})),
    Query(view="mine", actor="rpps:1"), Query(text="essai"), Query(keys=("key000001",), view="all"),
)


def test_no_query_reads_or_sorts_the_whole_table(store: Store) -> None:
    fill(store, 600)
    said: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT") and "worklist_entries" in statement:
            said.append((statement, parameters))

    with store.session() as session:
        session.execute(text("ANALYZE"))
    event.listen(store.engine, "before_cursor_execute", note)
    for query in QUERIES:
        assert page(store, query).lines
        counts(store, query)
    event.remove(store.engine, "before_cursor_execute", note)

    is_sqlite = store.engine.dialect.name == "sqlite"
    with store.engine.connect() as connection:
        if not is_sqlite:  # so few lines are read as fast without an index
            connection.exec_driver_sql("SET enable_seqscan = off; SET enable_bitmapscan = off")
        for statement, parameters in said:
            explained = connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' if is_sqlite else ''}{statement}", parameters)
            plan = "\n".join(str(one[-1]) for one in explained)
            assert "worklist_entries" in plan
            for forbidden in ("SCAN worklist_entries", "Seq Scan on worklist_entries", "TEMP B-TREE", "Sort"):
                assert forbidden not in plan, plan
