"""A prior study is shown of the same person alone: by an identifier of the same stated issuer, never by a name."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydicom.dataset import Dataset

from service.review.image.prior import Candidate, priors_of
from tests.make import radiograph_dataset


def header(**changes: Any) -> Dataset:
    given = {"PatientID": "17", "IssuerOfPatientID": "ESSAI", "PatientName": "ESSAI^CAMILLE", "PatientBirthDate": "20200101",
             "PatientSex": "F", "StudyDate": "20260301", **changes}
    return radiograph_dataset(**given)


def found(*others: Dataset, head: Dataset | None = None) -> list[str]:
    candidates = [Candidate(str(place), one) for place, one in enumerate(others)]
    return [one.key for one in priors_of(head or header(), candidates, accept="test", language="en")]


def test_the_same_number_of_the_same_issuer_is_the_same_person() -> None:
    (prior,) = priors_of(header(), [Candidate("a", header(StudyDate="20250301"))], accept="test", language="en")
    assert (prior.key, prior.made_on, prior.modality, prior.days_before) == ("a", date(2025, 3, 1), "DX", 365)


@pytest.mark.parametrize("changes", [
    {"IssuerOfPatientID": "AUTRE"}, {"IssuerOfPatientID": None}, {"PatientID": "18"}, {"PatientSex": "M"},
    {"PatientBirthDate": "20200102"},
])
def test_another_issuer_none_another_number_sex_or_birth_is_another_person(changes: dict[str, Any]) -> None:
    assert found(header(StudyDate="20250301", **changes)) == []


def test_without_an_issuer_on_either_side_nobody_is_the_same() -> None:
    assert found(header(IssuerOfPatientID=None, StudyDate="20250301"), head=header(IssuerOfPatientID=None)) == []


def test_a_study_that_was_made_later_is_no_prior() -> None:
    assert found(header(StudyDate="20260302")) == []
    assert found(header(StudyDate="20260301")) == ["0"]


@pytest.mark.parametrize("written", [None, "", "2025", "20251345"])
def test_a_study_without_a_date_is_no_prior(written: str | None) -> None:
    assert found(header(StudyDate=written)) == []


def test_the_same_body_part_comes_first_then_the_newest() -> None:
    others = [header(StudyDate="20250101", BodyPartExamined="FOOT"), header(StudyDate="20230101"), header(StudyDate="20240101")]
    assert found(*others) == ["2", "1", "0"]


def test_of_two_studies_of_one_day_only_the_earlier_is_a_prior_of_the_other() -> None:
    early, late = header(StudyTime="081500"), header(StudyTime="174000.25")
    assert [[], ["0"]] == [found(late, head=early), found(early, head=late)]
    assert ["1", "0"] == found(header(StudyTime="070000"), early, head=late)
