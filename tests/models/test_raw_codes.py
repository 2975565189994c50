"""Which measurements a release rests on, derived quantities included."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.codes import MEASURED
from models.features import DERIVED
from models.raw_codes import measured_codes, raw_codes
from models.release import read_release
from tests.make import tiny_release


def test_a_measured_code_stands_for_itself() -> None:
    assert ("HR",) == raw_codes("HR")
    assert ("age_years",) == raw_codes("age_years")


@pytest.mark.parametrize(("derived", "measured"), [
    ("GlucoseStream", ("Glucose", "GlucoseCGM")), ("SBP", ("NISysABP", "SysABP")), ("PF", ("FiO2", "PaO2")),
    ("PulsePressure", ("DiasABP", "NIDiasABP", "NISysABP", "SysABP")),
])  # fmt: skip
def test_a_derived_code_names_all_that_it_may_be_computed_from(derived: str, measured: tuple[str, ...]) -> None:
    assert measured == raw_codes(derived)


def test_every_derived_code_comes_from_something_measured() -> None:
    assert all(set(raw_codes(code)) & set(MEASURED) for code in DERIVED)


def test_a_release_rests_on_what_its_features_name_and_is_measured_over_time(tmp_path: Path) -> None:
    assert {"HR", "GCS", "Creatinine"} == measured_codes(read_release(tiny_release(tmp_path, "risk")))
