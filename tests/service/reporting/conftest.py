"""A room of reports over tiny releases, one for all tests of a file: each brings a study of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.manifest import read_manifest, write_manifest
from tests.make import tiny_release
from tests.service.reporting.report_house import Room, report_room


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases whose results are kept without the objects a PACS would get: drawing them takes a second each."""
    folder = tmp_path_factory.mktemp("silent")
    for task in ("image_classification", "volume_segmentation"):
        release = tiny_release(folder, task)
        write_manifest(release, read_manifest(release).model_copy(update={"writes": []}))
    return folder


@pytest.fixture(scope="module")
def room(silent: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with report_room(silent, tmp_path_factory.mktemp("reports") / "store") as opened:
        yield opened
