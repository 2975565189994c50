"""A record is about one encounter: the one asked for, the one under way, or the latest, and its innermost part."""

from datetime import UTC, datetime

import pytest

from models.errors import UnusableInput
from models.read_fhir import read_bundle
from tests.models.fhir.make import bundle, encounter, observation

DAY = [f"2026-03-0{day}T08:00:00Z" for day in range(10)]


def chosen(*encounters: object, **asked: object) -> str:
    return read_bundle(bundle(*encounters, observation(at="2026-03-04T10:00:00Z")), **asked).encounter


def test_the_one_asked_for_is_taken_under_any_name():
    first, last = encounter("a", DAY[1]), encounter("b", DAY[2])
    for name in ("Encounter/a", "a", "https://ehr.example/fhir/Encounter/a"):
        assert chosen(first, last, encounter=name) == "Encounter/a"


def test_one_asked_for_that_is_not_there_is_refused_without_its_name():
    with pytest.raises(UnusableInput, match="asked for") as error:
        chosen(encounter("a"), encounter="Encounter/secret")
    assert error.value.code == "no_such_encounter"
    assert "secret" not in str(error.value)


def test_the_one_under_way_comes_before_a_later_one_that_ended():
    assert chosen(encounter("now", DAY[1]), encounter("visit", DAY[2], DAY[3])) == "Encounter/now"


def test_without_one_under_way_the_latest_is_taken():
    assert chosen(encounter("a", DAY[1], DAY[2]), encounter("b", DAY[2], DAY[3])) == "Encounter/b"


def test_the_stay_in_the_unit_is_chosen_over_the_stay_in_hospital():
    outer = encounter("hospital", DAY[1])
    assert chosen(encounter("unit", DAY[2], partOf={"reference": "Encounter/hospital"}), outer) == "Encounter/unit"


def test_after_the_unit_the_stay_in_hospital_goes_on():
    unit = encounter("unit", DAY[2], DAY[3], partOf={"reference": "Encounter/hospital"})
    assert chosen(encounter("hospital", DAY[1]), unit) == "Encounter/hospital"


@pytest.mark.parametrize("status", ["planned", "cancelled", "entered-in-error"])
def test_what_never_took_place_is_not_taken(status):
    assert chosen(encounter("a", DAY[1], DAY[2]), encounter("b", DAY[3], status=status)) == "Encounter/a"


def test_at_a_moment_before_it_began_an_encounter_is_not_known():
    moment = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert chosen(encounter("a", DAY[1]), encounter("b", DAY[2]), moment=moment) == "Encounter/a"


def test_at_a_moment_before_its_end_an_encounter_was_under_way():
    moment = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert chosen(encounter("a", DAY[1], DAY[3]), encounter("b", "2026-02-01T08:00:00Z", DAY[2]),
                  moment=moment) == "Encounter/a"


def test_a_visit_that_was_over_before_is_reported_as_history_and_any_other_as_another():
    for end, why in ((DAY[2], "earlier_encounter"), (DAY[3], "other_encounter")):
        ignored = read_bundle(bundle(encounter("a", DAY[1], end), encounter("b", DAY[2]))).ignored
        assert ("Encounter", why, 1) in [(one.what, one.why, one.count) for one in ignored]


def test_a_start_without_clock_time_is_the_beginning_of_that_day_in_the_senders_zone():
    sent = bundle(encounter(start="2026-03-01"), observation(at="2026-03-01T02:00:00+02:00"))
    assert read_bundle(sent).record.up_to(1440).series("Creatinine").minutes.tolist() == [120.0]


def test_no_encounter_is_no_fault_and_minute_0_is_the_first_value():
    found = read_bundle(bundle(observation(), observation("o2", at="2026-03-01T10:30:00Z")))
    assert (found.stay, found.encounter) == (False, "")
    assert found.record.up_to(100).series("Creatinine").minutes.tolist() == [0.0, 30.0]


def test_nobody_looks_at_an_encounter_where_none_is_wanted():
    sent = bundle(encounter(end="2026-03-01T09:00:00Z"), observation())
    assert len(read_bundle(sent).record) == 0
    assert len(read_bundle(sent, encounter=None).record) == 1


def test_one_asked_for_that_does_not_say_when_it_began_is_refused():
    with pytest.raises(UnusableInput, match="start"):
        chosen(encounter("a", "yesterday"), encounter="a")


def test_one_that_does_not_say_when_it_began_is_no_stay():
    found = read_bundle(bundle(encounter("a", "yesterday"), observation()))
    assert (found.stay, [(one.what, one.why) for one in found.ignored]) == (False, [("Encounter", "no_start")])
