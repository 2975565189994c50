"""Challenge 2012 is read as it is: raw events, outcomes apart, one stay a patient."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.make import data_root, needs_data
from training.data import challenge2012
from training.risk_features import feature_of

HEADER = (
    "RecordID,SAPS_I,SOFA,length_of_stay_days,survival_days,in_hospital_death,set,split,"
    "Age,Gender,Height,ICUType,Weight\n"
)
STAYS = HEADER + """2,10,5,7,-1,1,a,train,80.0,1.0,,3.0,80.0
1,6,1,5,-1,0,a,train,54.0,0.0,170.2,4.0,
3,6,1,5,-1,0,a,val,30.0,,170.2,1.0,
"""
EVENTS = "RecordID,minute,param,value\n1,0,HR,70\n1,60,HR,75\n2,5,pH,735\n2,2880,pH,7.2\n"


@pytest.fixture
def source(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(challenge2012, "CACHE", tmp_path / "cache")
    for name, text in (("stays", STAYS), ("events_train", EVENTS), ("events_val", EVENTS.splitlines()[0] + "\n")):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    return tmp_path


def test_cases_hold_events_static_values_and_outcome(source):
    first, second = challenge2012.load("train", source)
    assert (first.group, first.label, second.label) == (1, 0, 1)
    assert first.record.up_to(2880).series("HR").values.tolist() == [70.0, 75.0]
    assert first.record.static == {"age_years": 54.0, "male": 0.0, "height_cm": 170.2, "icu_type": 4.0}
    assert second.subgroups == {"age": "75-84", "sex": "male", "unit": "medical"}


def test_no_outcome_or_organisers_score_is_in_a_record(source):
    for case in challenge2012.load("train", source):
        assert set(case.record.static) == {"age_years", "male", "height_cm", "icu_type"}


def test_the_matrix_is_made_once_and_again_when_the_features_change(source):
    features = [feature_of("last HR"), feature_of("last pH")]
    x, y = challenge2012.matrix("train", features, source)
    assert np.array_equal(x, np.array([[75, np.nan], [np.nan, 7.2]], np.float32), equal_nan=True)
    assert y.tolist() == [0, 1]
    again, _ = challenge2012.matrix("train", features, source)
    assert np.array_equal(x, again, equal_nan=True)
    assert len(list((source / "cache").iterdir())) == 1
    challenge2012.matrix("train", features[:1], source)
    assert len(list((source / "cache").iterdir())) == 2


@needs_data
def test_the_real_stays_are_split_by_patient():
    source = data_root() / "clinical/challenge2012"
    with gzip.open(source / "stays.csv.gz", "rt") as lines:
        rows = [line.split(",") for line in lines][1:]
    assert len({row[0] for row in rows}) == len(rows)
    assert len(challenge2012.load("val", source)) == 1620
