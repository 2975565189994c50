"""CSV tables become the same Records as Bundles do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnusableInput
from models.read_table import read_table
from models.record import Record

TABLE = """minute,code,value,unit
,age_years,70,a
,sex,female,
,height_cm,1.8,m
0,HR,80,/min
60,HR,90,/min
90,2160-0,176.8,umol/L
3000,HR,200,/min
"""


def test_a_table_gives_values_in_our_units_up_to_the_moment():
    record = read_table(TABLE)
    seen = record.up_to(2880)
    assert seen.series("HR").values.tolist() == [80.0, 90.0]
    assert seen.series("Creatinine").values.tolist() == [pytest.approx(2.0, rel=1e-3)]
    assert (record.static["age_years"], record.static["male"], record.static["height_cm"]) == (70.0, 0.0, 180.0)


def test_times_count_from_the_row_of_the_admission():
    text = "time,code,value,unit\n2026-03-01T09:00:00Z,HR,80,/min\n2026-03-01T08:00:00Z,admission,,\n"
    assert read_table(text).up_to(2880).series("HR").minutes.tolist() == [60.0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "columns"), ("minute,code,value,unit\n1,HR,x,/min\n", "Line 2"),
        ("minute,code,value,unit\n1,HR,nan,/min\n", "finite"), ("minute,code,value,unit\n1,HR,80,kg\n", "HR"),
        ("minute,code,value,unit\n1,Secret,80,kg\n", "code"),
        ("time,code,value,unit\n2026-03-01,HR,80,/min\n", "admission"),
        ("minute,code,value,unit\n1,Creatinine,80,\n", "found none"), ("minute,code,value\n1,HR,80,90,100\n", "header"),
    ],
)
def test_a_table_that_cannot_be_read_is_refused_by_rule(text, said):
    with pytest.raises(UnusableInput, match=said) as error:
        read_table(text)
    assert "Secret" not in str(error.value)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='minute,codeva\n"HR1.;\x00', max_size=80) | st.binary(max_size=40))
def test_hostile_text_gives_a_record_or_unusable_input(junk):
    for text in (junk, "minute,code,value,unit\n" + junk if isinstance(junk, str) else junk):
        try:
            assert isinstance(read_table(text), Record)
        except UnusableInput:
            continue
