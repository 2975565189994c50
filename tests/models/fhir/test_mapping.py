"""A hospital's own codes and units are told in a file, and read as if it had sent the public ones."""

import json

import pytest

from models.codes import MEASURED, MEASURED_ONCE
from models.errors import UnusableInput
from models.fhir.bundle import codings
from models.fhir.mapping import read_mapping
from models.read_fhir import read_bundle
from tests.models.fhir.make import bundle, encounter, observation

TOML = """
[[codes]]
system = "urn:lab"
code = "CREA"
to = "http://loinc.org|14682-9"
unit = "umol/L"

[[codes]]
system = "urn:lab"
code = "K"
to = "K"

[units]
"mmol par litre" = "mmol/L"
"""


def local(code: str, **quantity: object) -> dict:
    found = observation(code, valueQuantity=quantity)
    return {**found, "code": {"coding": [{"system": "urn:lab", "code": code}]}}


def test_local_codes_and_units_are_read(tmp_path):
    (tmp_path / "codes.toml").write_text(TOML, "utf-8")
    codes = read_mapping(tmp_path / "codes.toml")
    sent = bundle(encounter(), local("CREA", value=88.4), local("K", value=4.1, unit="mmol par litre"))
    view = read_bundle(sent, codes=codes).record.up_to(1000)
    assert view.series("Creatinine").values.tolist() == [pytest.approx(1.0, rel=1e-3)]
    assert view.series("K").values.tolist() == [4.1]


def test_without_the_file_local_codes_mean_nothing():
    assert len(read_bundle(bundle(encounter(), local("CREA", value=88.4))).record) == 0


def test_a_mapped_code_gains_a_coding_wherever_it_stands_and_loses_none(tmp_path):
    path = tmp_path / "codes.json"
    path.write_text(json.dumps({"codes": [{"system": "urn:d", "code": "X", "to": "http://snomed.info/sct|44054006"}]}), "utf-8")
    condition = {"resourceType": "Condition", "code": {"coding": [{"system": "urn:d", "code": "X"}]}}
    assert list(codings(read_mapping(path).translate(condition)["code"])) == [
        ("urn:d", "X"), ("http://snomed.info/sct", "44054006"),
    ]


def test_nesting_without_end_is_left_as_it_is(tmp_path):
    (tmp_path / "codes.toml").write_text(TOML, "utf-8")
    deep: dict = {"coding": [{"system": "urn:lab", "code": "K"}]}
    for _ in range(300):
        deep = {"extension": deep}
    assert read_mapping(tmp_path / "codes.toml").translate(deep) == deep


def test_a_file_larger_than_any_catalogue_is_refused(tmp_path):
    (tmp_path / "codes.json").write_text(" " * (8 * 2**20 + 1), "utf-8")
    with pytest.raises(UnusableInput, match="MiB"):
        read_mapping(tmp_path / "codes.json")


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[[codes]]\ncode = 'X'\nto = 'Nothing'", "system|code"), ("[[codes]]\ncode = 'X'", "maps to"), ("x = 1", "other tables"),
        ("[[codes]]\ncode = 1\nto = 'K'", "texts"), ("[[codes]", "TOML"), ("codes = 3", "list"), ("units = {a = 1}\n", "units"),
        ("[[codes]]\ncode = 'X'\nto = 'K'\n[[codes]]\ncode = 'X'\nto = 'K'", "second time"),
    ],
)
def test_a_file_that_is_wrong_says_which_row_and_what(tmp_path, text, rule):
    (tmp_path / "codes.toml").write_text(text, "utf-8")
    with pytest.raises(UnusableInput, match=r"codes\.toml") as error:
        read_mapping(tmp_path / "codes.toml")
    assert rule in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UnusableInput):
        read_mapping(tmp_path / "none.toml")


def test_one_public_code_means_one_of_ours():
    said = [(row["system"], code) for row in (*MEASURED.values(), *MEASURED_ONCE.values()) for code in row["meaning"]]
    assert sorted(said) == sorted(set(said))
