"""Studies as lines of the worklist: how urgent, whose, in which department, and that the worker writes them with its results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from models.shelf import Shelf
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.site import Site
from service.store import entries
from service.store.assessed import AssessedCase, AssessedResult
from service.store.entries import CRITICAL, HIGH, LOW, ROUTINE
from service.store.inbox import receive
from service.store.review_tables import Entry
from service.store.store import Store
from service.told_studies import department_of, line_of, patient_shown, urgency_of
from service.worker import Worker
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.make_store import settings_for

UID = "1.2.826.0.1.3680043.8.498.2026.9"


def result(status: str = "scored", *, above: bool = False, number: int = 1, **summary: Any) -> AssessedResult:
    first = {"name": "pneumonia", "label": "Pneumonia", "kind": "probability", "value": 0.5, "unit": "1", "above_threshold": above}
    other = {**first, "name": "viral", "above_threshold": True}
    told = {"findings": [first, other]} if status == "scored" else {"reason": "blank", "message": "Blank.", "advice": "", **summary}
    return AssessedResult(number, "none" if status == "unfit" else "chest-1.0.0", status, "" if status == "scored" else "blank", told)


def case(*results: AssessedResult, priority: int = 0, **changes: Any) -> AssessedCase:
    told: dict[str, Any] = {"calling_ae": "DX1", "modality": "DX", "images": 1, "received_at": 100.0, "sealed_at": 200.0,
                            "revision": 1}
    return AssessedCase(**{**told, **changes}, priority=priority, results=results or (result(),))


@pytest.mark.parametrize(("cases", "urgency"), [
    ([case(result(above=True), priority=2)], CRITICAL), ([case(result(above=True))], HIGH), ([case(priority=2)], HIGH),
    ([case(priority=1)], ROUTINE), ([case(priority=-1)], LOW), ([case(result(above=True), priority=-1)], HIGH),
    ([case(result("refused"))], ROUTINE), ([case(result("unusable"), priority=2)], HIGH), ([case(result("unfit"), priority=2)], LOW),
    ([case(), case(result(above=True), priority=0), case(priority=2)], CRITICAL),
])
def test_the_first_finding_and_the_priority_say_how_urgent(cases: list[AssessedCase], urgency: int) -> None:
    assert urgency_of(cases) == urgency


@pytest.mark.parametrize(("stated", "said"), [("Réanimation", "ICU"), ("Ward 3", "Paediatrics"), ("", "Paediatrics")])
def test_the_site_file_names_the_department(stated: str, said: str) -> None:
    site = Site.model_validate({"review": {"departments": {"DX1": "Paediatrics", "Réanimation": "ICU"}}})
    header = Dataset()
    header.InstitutionalDepartmentName = stated
    assert department_of(site, [case()], header) == said
    assert department_of(Site(), [case()], header) == stated


def test_what_came_again_waits_since_then(tmp_path: Path) -> None:
    store = Store.open(settings_for(tmp_path))
    try:
        first = line_of(store, Site(), "1.2", [case(), case(received_at=50.0)], radiograph_dataset())
        again = line_of(store, Site(), "1.2", [case(sealed_at=900.0, revision=2)], radiograph_dataset())
        assert (first.waiting_since, again.waiting_since) == (50.0, 900.0)
        assert first.version != again.version
    finally:
        store.close()


def test_a_patient_is_shown_by_name_and_local_number() -> None:
    header = radiograph_dataset(PatientName="ESSAI^ZOE", PatientID="42", PatientSex="F", PatientBirthDate="20190401")
    assert patient_shown(header) == {"name": "ESSAI", "given": "ZOE", "birth_date": "20190401", "sex": "F", "id": "42"}
    assert patient_shown(Dataset()) == {"name": "", "given": "", "birth_date": "", "sex": "", "id": ""}


@pytest.fixture(scope="module")
def shelf(released: Path) -> Shelf:
    return Shelf(released)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    shared = Decoder()
    yield shared
    shared.close()


class Ward:
    """A store and its worker."""

    def __init__(self, folder: Path, shelf: Shelf, decoder: Decoder, *, review: bool = True) -> None:
        settings = settings_for(folder, review=review)
        self.store = Store.open(settings)
        self.worker = Worker(self.store, shelf, Site(), settings, "one", decoder=decoder)

    def arrive(self, *datasets: Dataset) -> None:
        receive(self.store, [arrive_file(dicom_bytes(one)) for one in datasets], quiet_s=0)
        while self.worker.step():
            pass

    def line(self, dataset: Dataset) -> Entry | None:
        return entries.by_target(self.store, "study", str(dataset.StudyInstanceUID))


def test_the_worker_writes_a_line_with_its_results(tmp_path: Path, shelf: Shelf, decoder: Decoder) -> None:
    ward = Ward(tmp_path, shelf, decoder)
    image = radiograph_dataset(SOPInstanceUID=f"{UID}.1", PatientName="ESSAI^ZOE", AccessionNumber="A17")
    ward.arrive(image)
    line = ward.line(image)
    assert line is not None
    assert (line.state, line.open, line.patient_name, line.accession_number, line.modality) == ("new", True, "essai zoe", "a17", "DX")
    assert line.detail["findings"]
    assert line.person
    ward.store.close()


def test_results_of_both_cases_of_a_study_stand_in_one_line(tmp_path: Path, shelf: Shelf, decoder: Decoder) -> None:
    ward = Ward(tmp_path, shelf, decoder)
    series = mr_series()
    ward.arrive(*series)
    key = ward.line(series[0]).key  # type: ignore[union-attr]
    with ward.store.session() as session:
        entries.set_state(session, kind="study", target=str(series[0].StudyInstanceUID), state="validated")
    image = radiograph_dataset(SOPInstanceUID=f"{UID}.2", SeriesInstanceUID=f"{UID}.3", StudyInstanceUID=series[0].StudyInstanceUID)
    ward.arrive(image)
    line = ward.line(image)
    assert line is not None
    assert (line.key, line.state, len(line.model.split())) == (key, "new", 2)  # and what was decided is open again
    ward.store.close()


def test_what_is_refused_is_listed_with_its_reason_and_what_is_unfit_waits_for_nobody(
    tmp_path: Path, shelf: Shelf, decoder: Decoder
) -> None:
    ward = Ward(tmp_path, shelf, decoder)
    unfit = radiograph_dataset(SOPInstanceUID=f"{UID}.5", StudyInstanceUID=f"{UID}.6", BodyPartExamined="FOOT")
    ward.arrive(unfit)
    line = ward.line(unfit)
    assert line is not None
    assert (line.state, line.open, line.urgency) == ("refused", False, LOW)
    assert line.reason
    assert all(one["reason"] for one in line.detail["declined"])
    ward.store.close()


def test_no_line_is_written_where_there_is_no_page(tmp_path: Path, shelf: Shelf, decoder: Decoder) -> None:
    ward = Ward(tmp_path, shelf, decoder, review=False)
    image = radiograph_dataset(SOPInstanceUID=f"{UID}.9")
    ward.arrive(image)
    assert ward.line(image) is None
    ward.store.close()
