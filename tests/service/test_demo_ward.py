"""The people of the demonstration plainly do not exist, are not one another, and came today."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from itertools import pairwise

import pydicom
import pytest

from service.demo_review import site_toml
from service.demo_ward import _FAMILIES, _WITH_TIME, INS_TEST, Arrival, Asking, arrivals, askings, now, sensors
from service.identity import ins_identity
from service.site import read_site
from tests.make import ROOT

SAMPLES = ROOT / "data-samples"
NOW = now()


@pytest.fixture(scope="module")
def came() -> list[Arrival]:
    return list(arrivals(SAMPLES, NOW))


@pytest.fixture(scope="module")
def asked() -> list[Asking]:
    return list(askings(SAMPLES, NOW))


def patients(asked: list[Asking]) -> list[dict]:  # type: ignore[type-arg]
    return [entry["resource"] for one in asked for entry in one.record["entry"] if entry["resource"]["resourceType"] == "Patient"]


def test_every_name_says_that_it_is_invented(came: list[Arrival], asked: list[Asking]) -> None:
    images = {str(pydicom.dcmread(io.BytesIO(one.files[0])).PatientName.family_name) for one in came}
    records = {one["name"][0]["family"] for one in patients(asked)}
    home = {one["entry"][0]["resource"]["name"][0]["family"] for one in sensors(NOW)}
    assert images | records | home <= set(_FAMILIES)


def test_no_two_demonstrations_send_the_same_images(came: list[Arrival]) -> None:
    again = {one.uid for one in arrivals(SAMPLES, NOW)}
    assert not again & {one.uid for one in came}
    assert len(came) == len(again)


def test_a_prior_is_of_the_same_person_and_older(came: list[Arrival]) -> None:
    heads = {one.sample: pydicom.dcmread(io.BytesIO(one.files[0]), stop_before_pixels=True) for one in came}
    prior, today = heads["radiograph/normal-1.dcm"], heads["radiograph/bacterial-1.dcm"]
    assert (prior.PatientID, prior.IssuerOfPatientID) == (today.PatientID, today.IssuerOfPatientID)
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex"):
        assert prior[keyword].value == today[keyword].value
    assert prior.StudyDate < today.StudyDate
    others = [one.PatientID for one in heads.values() if one is not prior and one is not today]
    assert len(set(others)) == len(others)
    assert today.PatientID not in others


def test_records_are_of_different_people_whose_test_identity_has_its_right_key(asked: list[Asking]) -> None:
    numbers: dict[str, set[str]] = {}
    for one in patients(asked):
        [number] = [each["value"] for each in one["identifier"] if each["system"] == f"urn:oid:{INS_TEST}"]
        assert "wrong_key" != ins_identity(number, INS_TEST, status="VALI").reason
        numbers.setdefault(one["id"], set()).add(number)
    assert all(len(found) == 1 for found in numbers.values())
    assert len(numbers) == len({number for found in numbers.values() for number in found}) == 17


def test_a_record_refers_to_its_own_people_alone_and_is_of_today(asked: list[Asking]) -> None:
    for one in asked:
        text = json.dumps(one.record)
        [patient] = [entry["resource"]["id"] for entry in one.record["entry"] if entry["resource"]["resourceType"] == "Patient"]
        assert text.count('"Patient/') == text.count(f'"Patient/{patient}"') > 0
        assert one.moment is None or NOW - timedelta(hours=48) < one.moment <= NOW
        newest = max(datetime.fromisoformat(found.group()) for found in _WITH_TIME.finditer(text))
        assert NOW - timedelta(hours=1) < newest <= NOW


def test_readings_of_sensors_are_a_quarter_of_an_hour_apart_and_end_now() -> None:
    for bundle in sensors(NOW):
        times = sorted(datetime.fromisoformat(entry["resource"]["effectiveDateTime"]) for entry in bundle["entry"][1:])
        assert {timedelta(minutes=15)} == {later - earlier for earlier, later in pairwise(times)}
        assert timedelta(minutes=2) > NOW - times[-1] >= timedelta()


def test_the_site_file_of_the_demonstration_can_be_read_and_names_every_department(tmp_path, came: list[Arrival]) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "site.toml"
    path.write_text(site_toml(), encoding="utf-8")
    assert {one.department for one in came} <= set(read_site(path).review.departments)
