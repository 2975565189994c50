"""The bench of the worklist: made-up lines are lines as the house writes them, times are judged at full size, kept figures hold."""

from __future__ import annotations

from pathlib import Path

from service.bench.report import read
from service.bench.worklist import FULL, P95_MS, RESULTS, Timed, _depths, fill, rows_of
from service.bench.worklist_rows import lines
from service.store import entries, entries_page
from service.store.entries import place_of
from service.store.entries_page import Query
from service.store.review_tables import Entry
from tests.make_store import store_for


def test_made_up_lines_are_the_same_each_time_and_agree_with_themselves() -> None:
    made = list(lines(400, 1e9))
    assert made == list(lines(400, 1e9))
    assert {*made[0]} == {column.name for column in Entry.__table__.columns} - {"id"}
    for one in made:
        assert one["place"] == place_of(one["urgency"], one["waiting_since"])
        assert one["patient_name"] == entries.folded(f"{one['detail']['patient']['name']}^{one['detail']['patient']['given']}")
    assert 0 < sum(one["open"] for one in made) < 60
    assert {one["kind"] for one in made} == {"study", "risk", "alert"}


def test_a_store_is_filled_and_paged_both_ways(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    try:
        fill(store, 2_000, lambda _: None)
        assert entries.last_number(store) == 2_000
        assert len(entries_page.page(store, Query(view="done")).lines) == entries_page.PAGE_LINES
        assert list(_depths(store, 2_000)) == [0]  # so few lines have no depth
    finally:
        store.close()


def test_a_slow_page_misses_its_bar_at_full_size_and_is_only_told_below() -> None:
    timed = [*[Timed("filter: open", 40, 200, 10_000)] * 90, *[Timed("filter: done", 900, 200, 10_000)] * 10]
    full = {row.name: row for row in rows_of(timed, {400_000: (500.0, 5.0)}, count=FULL)}
    assert full["95th percentile of it"].reached is False
    assert full["OFFSET over ours, 400000 lines down"].value == 100
    assert all(row.reached is not False for row in rows_of(timed, {}, count=1_000))


def test_a_page_without_an_answer_misses_its_bar() -> None:
    rows = {row.name: row for row in rows_of([Timed("filter: open", 1, 500, 0)], {}, count=1_000)}
    assert rows["pages that were not answered"].reached is False


def test_the_figures_kept_are_of_a_million_lines_and_reach_their_bars() -> None:
    rows, _ = read(RESULTS)
    found = {row.name: row for row in rows}
    assert found["lines"].value == FULL
    assert found["95th percentile of it"].bar == P95_MS
    assert all(row.reached for row in rows if row.bar is not None)
