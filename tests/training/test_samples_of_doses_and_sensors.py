"""The made-up patients and traces are what their makers write today, and nobody's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.samples import hypoglycaemia_60min, warfarin_dose

ROOT = Path(__file__).resolve().parents[2]
MAKERS = (warfarin_dose, hypoglycaemia_60min)


@pytest.mark.parametrize("maker", MAKERS)
def test_the_files_are_what_the_maker_writes(maker, tmp_path):
    for path in maker.make(tmp_path, 1):
        assert path.read_bytes() == (ROOT / "data-samples" / path.relative_to(tmp_path)).read_bytes()


@pytest.mark.parametrize("maker", MAKERS)
def test_every_sample_is_expected_to_give_something(maker, tmp_path):
    expected = json.loads((ROOT / "data-samples/expected.json").read_text(encoding="utf-8"))
    written = {path.relative_to(tmp_path).as_posix() for path in maker.make(tmp_path, 1)}
    assert written == set(maker.EXPECTED)
    for path, row in maker.EXPECTED.items():
        assert expected[path] == row


@pytest.mark.parametrize("maker", MAKERS)
def test_identities_lie_in_the_test_domain(maker, tmp_path):
    for path in maker.make(tmp_path, 1):
        people = [entry["resource"] for entry in json.loads(path.read_text(encoding="utf-8"))["entry"]
                  if entry["resource"]["resourceType"] == "Patient"]
        assert [one["system"] for person in people for one in person["identifier"]] == ["urn:oid:1.2.250.1.213.1.4.10"]
        assert all(person["name"][0]["family"] == "TEST" for person in people)
