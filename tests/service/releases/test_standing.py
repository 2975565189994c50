"""Standings of a process: what was decided elsewhere holds within a second, and a store that is away changes nothing."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from models.shelf import Shelf
from models.volume import Header
from service.releases import standing
from service.releases.barred import is_barred, waiting_for_series
from service.releases.standing import Standings
from service.store import standings
from service.store.errors import StoreError
from service.store.store import Store
from tests.service.releases.conftest import NEW, OLD, STEWARD, Bench


@pytest.fixture(scope="module")
def shelf(two_versions: Path) -> Shelf:
    return Shelf(two_versions)


def test_nothing_is_got_by_id_or_name_before_somebody_signed(bench: Bench, shelf: Shelf) -> None:
    view = Standings(bench.store, bench.site).view(shelf)
    assert view.active == {}
    for name in ("tiny_chest", OLD, NEW):
        with pytest.raises(KeyError):
            view.get(name)
        assert is_barred(view, name)
    assert view.known(NEW) is shelf.models[NEW]
    assert [one.id for one in waiting_for_series(view, Header(modality="DX"))] == [OLD, NEW]


def test_a_change_holds_after_a_second_and_the_view_stays_the_same_until_then(
        bench: Bench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Standings(bench.store, bench.site)
    before = here.view(shelf)
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    assert here.view(shelf) is before
    monkeypatch.setattr(standing, "LOOKED_S", 0.0)
    assert here.view(shelf).get("tiny_chest").id == NEW
    assert here.view(shelf) is here.view(shelf)
    assert here.state(NEW).state == "live"


def test_who_changed_it_looks_at_once(bench: Bench, shelf: Shelf) -> None:
    here = Standings(bench.store, bench.site)
    assert not here.view(shelf).active
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    here.look()
    assert list(here.view(shelf).active) == ["tiny_chest"]


def test_a_store_that_is_away_switches_nothing_on_or_off(bench: Bench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "LOOKED_S", 0.0)
    bench.sign(NEW)
    bench.releases.live(STEWARD, NEW)
    here = Standings(bench.store, bench.site)
    assert here.view(shelf).get(NEW)

    def away(_: Store) -> int:
        raise StoreError("The database does not answer.", code="unreachable")

    monkeypatch.setattr(standings, "newest", away)
    assert here.view(shelf).get(NEW)
    with pytest.raises(StoreError):  # who never knew lets nothing speak
        Standings(bench.store, bench.site).view(shelf)


def test_a_changed_folder_is_said_once_in_the_log_as_an_alarm(
        bench: Bench, shelf: Shelf, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.sign(NEW)
    row = bench.releases.live(STEWARD, NEW)
    monkeypatch.setattr(standings, "latest", lambda _: {NEW: row})
    row.detail = {**row.detail, "manifest_sha256": "0" * 64}
    here = Standings(bench.store, bench.site)
    with caplog.at_level(logging.ERROR, logger="diaphane"):
        assert here.view(shelf).active == {}
        here.look()
        here.view(shelf)
    assert [one.getMessage().startswith(f"ALARM: the folder of {NEW}") for one in caplog.records] == [True]


def test_a_candidate_stands_beside_the_live_release_of_its_name(free: Bench, shelf: Shelf) -> None:
    free.releases.shadow(STEWARD, NEW)
    here = Standings(free.store, free.site)
    assert [one.id for one in here.shadows(shelf)] == [NEW]
    assert [(one.model.id, one.beside) for one in here.candidates(shelf)] == [(NEW, OLD)]
    with pytest.raises(KeyError):  # whoever names it gets no answer
        here.view(shelf).get(NEW)
    assert here.view(shelf).get("tiny_chest").id == OLD


def test_what_says_nothing_for_want_of_a_signature_is_in_the_log_once(
        bench: Bench, shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(standing, "LOOKED_S", 0.0)
    here = Standings(bench.store, bench.site)
    for _ in range(3):
        here.view(shelf)
    assert [one.getMessage() for one in caplog.records] == [
        "without a signature these say nothing here: tiny_chest. See python -m service release list"]
