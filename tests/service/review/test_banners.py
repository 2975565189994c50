"""Banners say when another version of a model serves than the one that made a result."""

from __future__ import annotations

from pathlib import Path

from models.shelf import Shelf, write_pin
from service.review.banners import banners_of
from tests.make import tiny_release


def kinds(folder: Path, release: str) -> list[str]:
    return [one.kind for one in banners_of(Shelf(folder), release, "en")]


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
