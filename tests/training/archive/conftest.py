"""What the tests of archives share: tiny releases, and a folder of radiographs of people who do not exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.make import dicom_bytes, radiograph_dataset, radiograph_pixels, tiny_release
from training.archive import engines
from training.archive.cases import Case, Found, case_of
from training.archive.plan import Plan
from training.archive.score import plan_for
from training.archive.score_case import Outcome, Scorer
from training.archive.scored import Names, Row
from training.archive.source import Source, source_of

NAMES = Names(bytes(range(32)))
SECRETS = ("TEST^PATIENT", "PATIENT", "SECRET", "19800102", "ROOM SECRET", "1.2.5.", "1.2.3.")


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny release for radiographs."""
    return tiny_release(tmp_path_factory.mktemp("shelf"), "image_classification")


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny release for volumes."""
    return tiny_release(tmp_path_factory.mktemp("shelf"), "volume_segmentation")


@pytest.fixture(scope="session")
def risk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny release for stays, which it looks at 48 h after their start."""
    return tiny_release(tmp_path_factory.mktemp("shelf"), "risk")


def radiograph(number: int, **changes: Any) -> bytes:
    """A radiograph of a study and person of its own, every third with a bright patch."""
    told = {"SOPInstanceUID": f"1.2.5.{number}", "SeriesInstanceUID": f"1.2.4.{number}", "StudyInstanceUID": f"1.2.3.{number}",
            "PatientID": f"SECRET{number}", "PatientName": "TEST^PATIENT", "PatientBirthDate": "19800102",
            "AccessionNumber": f"SECRETA{number}", "StudyDate": "20260105", "StationName": "ROOM SECRET",
            "InstitutionName": "SECRET HOSPITAL", "Manufacturer": "Siemens", "ManufacturerModelName": "Ysio Max"}
    pixels = radiograph_pixels(pneumonia=number % 3 == 0, seed=number)
    return dicom_bytes(radiograph_dataset(pixels, **{**told, **changes}))


def fill(folder: Path, count: int) -> Path:
    """Write radiographs into folders of folders."""
    for number in range(count):
        (folder / f"{number % 3}" / "deep").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 3}" / "deep" / f"{number}.dcm").write_bytes(radiograph(number))
    return folder


class Archive:
    """One archive, listed and scored in this process."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        with closing(source_of(plan, NAMES)) as source:
            self.source: Source = source
            self.found: list[Found] = list(source.find(lambda _: None))
        self.cases: list[Case] = [case_of(one, NAMES) for one in self.found]

    def rows(self) -> list[Row]:
        """Score every case, by case."""
        with closing(Scorer(self.plan, NAMES)) as scorer:
            rows = [scorer.score(case).row for case in sorted(self.cases, key=lambda one: one.case)]
        return [row for row in rows if row is not None]


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Archive]:
    """Make an archive: ``archive(release, place, **options)``."""
    def made(release: Path, place: Path | str, **options: Any) -> Archive:
        (tmp_path / "rows" / "private").mkdir(parents=True, exist_ok=True)
        return Archive(plan_for(release, str(place), tmp_path / "rows", **options))

    return made


class Here:
    """An engine without processes: the very function per case, in this one. For tests that nothing disturbs."""

    def __init__(self, plan: Plan, key: bytes, workers: int, address: str) -> None:
        self.scorer = Scorer(plan, Names(key))

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        self.scorer.close()

    def run(self, cases: Iterable[Case]) -> Iterator[Outcome]:
        """Score one after the other."""
        return (self.scorer.score(case) for case in cases)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of an engine that runs in this process."""
    monkeypatch.setitem(engines.ENGINES, "here", Here)
    return "here"
