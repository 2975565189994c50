"""The warfarin cohort is the published one, and what is fitted to is what a FHIR record of the same patient gives."""

from __future__ import annotations

from math import isnan

import numpy as np
import pytest

from models.codes import STATIC
from models.features import FEATURES
from models.read_fhir import read_bundle
from tests.make import data_root, needs_data
from training import recipe as recipes
from training.data import iwpc
from training.data.cohort import matrix_of
from training.iwpc_equation import USED, published_dose
from training.risk_features import features_of
from training.samples.warfarin_dose import bundle

BODY = {"weight_kg": 78.0, "height_cm": 168.0, "height_cm_male": 174.0, "height_cm_female": 161.0}


@needs_data
def test_the_cohort_has_the_patients_of_the_paper():
    assert [len(iwpc.rows_of(split, data_root())) for split in ("train", "val", "test")] == [2921, 820, 785]


@needs_data
def test_race_and_the_inr_reached_are_no_inputs():
    record = iwpc.records("val", data_root())[0].record
    assert not [name for name in record.static if "race" in name or "inr" in name]


@needs_data
def test_a_row_and_the_fhir_record_made_of_it_give_the_same_features():
    features = features_of(recipes.read("warfarin_dose"))
    cases = iwpc.records("val", data_root())[::7]
    expected = matrix_of(cases, features)
    for case, row in zip(cases, expected, strict=True):
        weight = case.record.up_to(0).series("Weight").values
        values = {**case.record.static, **({"Weight": float(weight[0])} if len(weight) else {})}
        read = read_bundle(bundle(values), encounter=None).record
        view = read.up_to(read.latest_minute)
        found = np.array([FEATURES[one.function](view, **one.params) for one in features], np.float32)
        np.testing.assert_allclose(found, row, rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize(("stated", "race", "expected"), [
    (("A/G", "", "", ""), "White", 1), (("", "C/T", "", ""), "Black or African American", 1),
    (("", "", "T/T", ""), "Asian", 2), (("", "", "", "C/C"), "White", 2),
])
def test_vkorc1_is_imputed_as_the_supplement_says(stated, race, expected):
    row = {**dict(zip(iwpc.VKORC1, stated, strict=True)), "Race": race}
    assert iwpc.vkorc1_of(row) == expected


@pytest.mark.parametrize("race", iwpc.LINKED_LESS)
def test_linked_variants_do_not_stand_in_where_they_are_not_linked(race):
    row = {**dict(zip(iwpc.VKORC1, ("", "", "T/T", "C/C"), strict=True)), "Race": race}
    assert isnan(iwpc.vkorc1_of(row))


def test_the_published_equation_gives_the_dose_worked_by_hand():
    """65 years, 170 cm, 80 kg, VKORC1 A/G, CYP2C9 *1/*3, no interacting drug: the coefficients added up with a pencil."""
    x = np.array([[65, 170, 80, 1, 1, 2, 0, 0]], np.float32)
    root = 5.6044 - 6 * 0.2614 + 170 * 0.0087 + 80 * 0.0128 - 0.8677 - 0.9357
    assert published_dose(x, USED, BODY, ["White"])[0] == pytest.approx(root**2)
    assert published_dose(x, USED, BODY)[0] == pytest.approx((root - 0.1032) ** 2)


def test_the_equation_knows_what_is_not_known():
    x = np.array([[95, np.nan, 80, 0, np.nan, np.nan, 1, 1]], np.float32)
    root = 5.6044 - 9 * 0.2614 + 161 * 0.0087 + 80 * 0.0128 - 0.4854 - 0.2188 - 0.1032 + 1.1816 - 0.5503
    assert published_dose(x, USED, BODY)[0] == pytest.approx(root**2)


def test_every_input_of_the_recipe_is_described_in_both_languages():
    for feature in features_of(recipes.read("warfarin_dose")):
        assert feature.label
        assert feature.label_fr
        code = feature.params["code"]
        if code in STATIC and code not in ("age_years", "male", "height_cm"):
            assert feature.meanings
