"""One house for all tests of verdicts: each brings images or a risk of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from models.manifest import read_manifest, write_manifest
from tests.make import mr_series, radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.review.verdict.verdict_house import Place, verdict_place


@pytest.fixture(scope="session")
def judged_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of each kind of images; they draw no pictures, which take a second each."""
    folder = tmp_path_factory.mktemp("judged")
    for task in ("image_classification", "volume_segmentation"):
        release = tiny_release(folder, task)
        write_manifest(release, read_manifest(release).model_copy(update={"writes": ["sr", "seg"]}))
    return folder


@pytest.fixture(scope="package")
def place(judged_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with verdict_place(judged_releases, tmp_path_factory.mktemp("verdicts") / "store") as opened:
        yield opened


@pytest.fixture(scope="package")
def two_readers(judged_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The same, where the site wants two readers for radiographs."""
    with verdict_place(judged_releases, tmp_path_factory.mktemp("two") / "store", review={"second_reader": ["tiny_chest"]}) as opened:
        yield opened


@pytest.fixture(scope="package")
def unjudged(place: Place) -> int:
    """A score on which nobody ever succeeds in giving a verdict."""
    return place.arrive(fresh())[0]


@pytest.fixture
def ill() -> Dataset:
    """A radiograph on which the tiny release finds something, of a study of its own."""
    return fresh()


@pytest.fixture
def brain() -> list[Dataset]:
    """A series of a study of its own."""
    made = mr_series(BodyPartExamined="BRAIN")
    series = fresh()
    for one in made:
        one.StudyInstanceUID, one.SeriesInstanceUID = series.StudyInstanceUID, series.SeriesInstanceUID
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{one.SOPInstanceUID}.{_COUNT[0]}"
    return made


_COUNT = [0]


def fresh() -> Dataset:
    _COUNT[0] += 1
    made = radiograph_dataset(radiograph_pixels(pneumonia=True))
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(made, name, f"{getattr(made, name)}.{_COUNT[0]}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made
