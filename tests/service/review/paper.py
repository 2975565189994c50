"""Fixtures of the house of reports and models: one for all tests of its packages; each test brings a study of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.manifest import read_manifest, write_manifest
from tests.make import radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.review.paper_house import Paper, paper_house

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def quiet_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases whose results are kept without the objects a PACS would get: drawing them takes a second each."""
    folder = tmp_path_factory.mktemp("quiet")
    for task in ("image_classification", "risk"):
        release = tiny_release(folder, task)
        write_manifest(release, read_manifest(release).model_copy(update={"writes": []}))
    return folder


@pytest.fixture(scope="session")
def paper(quiet_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paper]:
    """The house."""
    with paper_house(quiet_releases, tmp_path_factory.mktemp("paper")) as opened:
        yield opened


@pytest.fixture
def study(paper: Paper) -> str:
    """The key of a study of this test alone, on which the tiny release finds something."""
    return paper.arrive(radiograph())


def radiograph() -> Dataset:
    """Make a radiograph of a study of its own."""
    made, number = radiograph_dataset(radiograph_pixels(pneumonia=True)), next(_NUMBERS)
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(made, name, f"{getattr(made, name)}.88.{number}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made
