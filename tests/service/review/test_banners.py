"""Banners say what stands behind a result: another version serves, the model is in shadow or off, or nobody signed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.shelf import Shelf, write_pin
from service.releases.state import State, What
from service.review.banners import banners_of
from tests.make import tiny_release

OLD, NEW = "tiny_chest-1.0.0", "tiny_chest-1.1.0"


def kinds(folder: Path, release: str) -> list[str]:
    return [one.kind for one in banners_of(Shelf(folder), release, "en")]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "image_classification")
    tiny_release(folder, "image_classification", version="1.1.0")
    return Shelf(folder)


def test_the_serving_version_needs_no_banner_and_others_do(tmp_path: Path) -> None:
    tiny_release(tmp_path, "image_classification")
    tiny_release(tmp_path, "image_classification", version="1.1.0")
    assert kinds(tmp_path, "tiny_chest-1.1.0") == []
    assert kinds(tmp_path, "tiny_chest-1.0.0") == ["superseded"]
    assert kinds(tmp_path, "tiny_chest-0.9.0") == ["gone"]
    write_pin(tmp_path, "tiny_chest", "1.0.0")
    assert kinds(tmp_path, "tiny_chest-1.1.0") == ["shadow"]


def test_while_releases_open_nothing_is_claimed() -> None:
    assert banners_of(None, "tiny_chest-1.0.0", "en") == ()


@pytest.mark.parametrize(("signoff", "against", "said", "tone"), [
    (1, False, [], ""), (None, False, ["unsigned"], "info"), (1, True, ["against_advice"], "stop"),
])
def test_a_live_release_says_when_nobody_signed_and_when_it_serves_against_advice(
        shelf: Shelf, signoff: int | None, against: bool, said: list[str], tone: str) -> None:
    why = "Nothing else reads at night."
    state = State(NEW, "tiny_chest", "live", barred=False, signoff=signoff, against_advice=against, reason=why)
    found = banners_of(shelf, NEW, "en", {NEW: state})
    assert [one.kind for one in found] == said
    assert [one.tone for one in found] == [tone] * bool(tone)
    assert (why in "".join(one.words for one in found)) is against


@pytest.mark.parametrize(("what", "said"), [("off", "off"), ("unsigned", "off"), ("shadow", "shadow")])
def test_a_release_that_is_barred_says_so_where_no_other_serves(shelf: Shelf, what: What, said: str) -> None:
    view = shelf.serving({}, [OLD, NEW])
    state = State(NEW, "tiny_chest", what, barred=True)
    assert [one.kind for one in banners_of(view, NEW, "en", {NEW: state})] == [said]


def test_an_open_alarm_is_said_over_every_result_of_a_live_release(shelf: Shelf) -> None:
    state = State(NEW, "tiny_chest", "live", barred=False, signoff=1, against_advice=True, alarms=("input_drift",))
    found = banners_of(shelf, NEW, "en", {NEW: state})
    assert ["drifting", "against_advice"] == [one.kind for one in found]
    assert ["stop", "stop"] == [one.tone for one in found]
