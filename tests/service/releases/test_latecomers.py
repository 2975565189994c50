"""Latecomers: a release whose folder came after a process began speaks there once it was decided so, and no process is restarted."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.shelf import Shelf
from service.releases import standing
from service.releases.standing import Standings
from service.store.standings import NewStanding, change
from tests.service.releases.conftest import NEW, OLD, STEWARD, Bench, bench_of


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "LOOKED_S", 0.0)


@pytest.fixture
def growing(two_versions: Path, tmp_path: Path) -> Iterator[tuple[Bench, Path]]:
    """A site with the old version live and a folder of releases that the new one is not in yet."""
    folder = tmp_path / "growing"
    shutil.copytree(two_versions / OLD, folder / OLD)
    for bench in bench_of(tmp_path, folder, required=True):
        bench.sign(OLD)
        bench.releases.live(STEWARD, OLD)
        yield bench, two_versions


def test_a_candidate_that_came_later_scores_in_shadow_and_then_serves(growing: tuple[Bench, Path]) -> None:
    bench, from_ = growing
    shelf, here = Shelf(bench.folder), Standings(bench.store, bench.site)
    assert here.view(shelf).get("tiny_chest").id == OLD
    shutil.copytree(from_ / NEW, bench.folder / NEW)
    assert here.view(shelf).models.keys() == {OLD}  # nobody decided anything of it
    bench.sign(NEW)
    bench.releases.shadow(STEWARD, NEW)
    here.view(shelf)
    here.latecomers.wait(30)
    assert here.view(shelf).get("tiny_chest").id == OLD
    with pytest.raises(KeyError):
        here.view(shelf).get(NEW)
    assert [(one.model.id, one.beside) for one in here.candidates(shelf)] == [(NEW, OLD)]
    bench.releases.live(STEWARD, NEW)
    assert here.view(shelf).get("tiny_chest").id == NEW


def test_one_that_does_not_pass_its_checks_says_nothing_and_is_an_alarm_once(
        growing: tuple[Bench, Path], caplog: pytest.LogCaptureFixture) -> None:
    bench, from_ = growing
    shelf, here = Shelf(bench.folder), Standings(bench.store, bench.site)
    here.view(shelf)
    shutil.copytree(from_ / NEW, bench.folder / NEW)
    (bench.folder / NEW / "model.onnx").write_bytes(b"no graph")
    bench.releases.shadow(STEWARD, NEW)
    with caplog.at_level(logging.ERROR, logger="diaphane"):
        for _ in range(3):
            here.view(shelf)
            here.latecomers.wait(30)
    assert (shelf.models.keys(), caplog.text.count("ALARM")) == ({OLD}, 1)
    assert here.view(shelf).get("tiny_chest").id == OLD


def test_one_that_is_not_on_this_machine_is_an_alarm(growing: tuple[Bench, Path], caplog: pytest.LogCaptureFixture) -> None:
    bench, _ = growing
    shelf, here = Shelf(bench.folder), Standings(bench.store, bench.site)
    gone = NewStanding("tiny_chest", NEW, "shadow", {"name": "Test STEWARD"}, "rpps:1", 1.0)
    with bench.store.session() as session:
        change(session, [gone], seen=1)
    with caplog.at_level(logging.ERROR, logger="diaphane"):
        here.view(shelf)
        here.latecomers.wait(30)
    assert "not on this machine's shelf" in caplog.text
