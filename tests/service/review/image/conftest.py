"""One house for the tests of the image page; each brings a study of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from models.manifest import read_manifest, write_manifest
from tests.make import mr_series, radiograph_dataset, radiograph_pixels, tiny_release
from tests.service.review.image.image_house import Film, film_house

_COUNT = [0]


@pytest.fixture(scope="session")
def drawing_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of each kind of images; they make no capture, which takes a second each."""
    folder = tmp_path_factory.mktemp("drawing")
    for task in ("image_classification", "volume_segmentation"):
        release = tiny_release(folder, task)
        write_manifest(release, read_manifest(release).model_copy(update={"writes": ["sr", "seg", "map"]}))
    return folder


@pytest.fixture(scope="package")
def film(drawing_releases: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Film]:
    with film_house(drawing_releases, tmp_path_factory.mktemp("film"), identity={"accept": "test"}) as opened:
        yield opened


@pytest.fixture
def ill() -> Dataset:
    """A radiograph on which the tiny release finds something, of a study of its own."""
    return radiograph()


@pytest.fixture
def brain() -> list[Dataset]:
    """A series of a study of its own."""
    head = radiograph()
    series = mr_series(BodyPartExamined="BRAIN", StudyInstanceUID=head.StudyInstanceUID, SeriesInstanceUID=head.SeriesInstanceUID)
    for one in series:
        one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"{one.SOPInstanceUID}.{_COUNT[0]}"
    return series


def radiograph(*, rows: int = 256, columns: int = 256, **changes: Any) -> Dataset:
    """Make a radiograph with a finding, of a study, a series and a person of its own."""
    _COUNT[0] += 1
    uid = f"1.2.826.0.1.3680043.8.498.2026.55.{_COUNT[0]}"
    given = {"PatientID": f"FILM-{_COUNT[0]}", "IssuerOfPatientID": "ESSAI", "PatientName": "ESSAI^CAMILLE", "StudyDate": "20260301",
             "PatientBirthDate": "20230101", **changes}
    made = radiograph_dataset(radiograph_pixels(rows, columns, pneumonia=True), StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1",
                              SOPInstanceUID=f"{uid}.1.1", **given)
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return made
