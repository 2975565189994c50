"""Following people: one alert an episode, cleared late enough, never an all-clear out of silence, the same after any crash."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from service.monitoring import watch
from service.monitoring.alerts import sentence
from service.monitoring.watch import Watch, monitors
from service.store import monitoring as rows
from service.store.ehr_tables import Watched
from service.store.ledger import counts
from service.store.monitoring import Change
from tests.service.monitoring.home import BETWEEN, CALM, HIGH, MODEL, OUTSIDE, REACHED, Clock, Home, bundle, heart_rate, home


def stream(at_home: Home, *rates: float, start: int = 0, every: int = 15, subject: str = "Patient/p1") -> None:
    for place, rate in enumerate(rates):
        at_home.hear(start + every * place, rate, subject)


def test_too_few_readings_are_no_all_clear(at_home: Home) -> None:
    at_home.hear(0, CALM)
    assert "no_data" == at_home.state()
    at_home.hear(15, CALM)
    assert "calm" == at_home.state()


def test_an_episode_is_one_alert_that_stays_while_the_risk_is_between_the_limits(at_home: Home) -> None:
    stream(at_home, CALM, CALM, HIGH, BETWEEN, HIGH, HIGH, BETWEEN, BETWEEN, BETWEEN, BETWEEN)
    [alert] = at_home.alerts()
    assert (alert.kind, alert.cleared_at, at_home.state()) == ("risk", None, "alert")
    assert alert.detail["value"] >= 0.3
    assert "tiny_risk-1.0.0" == alert.detail["model_id"]


def test_it_is_cleared_after_three_low_readings_over_half_an_hour_and_raised_anew_later(at_home: Home) -> None:
    stream(at_home, CALM, HIGH, CALM, CALM)
    assert "alert" == at_home.state()
    stream(at_home, CALM, start=60)
    assert ("below", "calm") == (at_home.alerts()[0].reason, at_home.state())
    stream(at_home, HIGH, HIGH, start=75)
    assert [False, True] == [one.cleared_at is None for one in at_home.alerts()]
    assert 2 == len({one.episode for one in at_home.alerts()})


def test_low_readings_within_minutes_do_not_clear(at_home: Home) -> None:
    stream(at_home, CALM, HIGH)
    stream(at_home, *[CALM] * 20, start=16, every=1)
    assert "alert" == at_home.state()
    stream(at_home, CALM, start=46)
    assert "calm" == at_home.state()


def test_a_high_reading_between_low_ones_begins_the_count_again(at_home: Home) -> None:
    stream(at_home, CALM, HIGH, CALM, CALM, BETWEEN, CALM, CALM)
    assert "alert" == at_home.state()


def test_readings_that_are_declined_neither_clear_nor_raise(at_home: Home) -> None:
    stream(at_home, CALM, HIGH, CALM)
    stream(at_home, OUTSIDE, OUTSIDE, start=45)
    assert ("alert", 1) == (at_home.state(), len(at_home.alerts()))


def test_a_limit_that_is_reached_is_an_alert_though_nothing_is_left_to_predict(at_home: Home) -> None:
    stream(at_home, CALM, CALM, REACHED, REACHED, REACHED, REACHED, REACHED)
    [alert] = at_home.alerts()
    assert ("risk", None, "certain", "alert") == (alert.kind, alert.detail["value"], alert.detail["risk"], at_home.state())
    assert "already beyond the limit" in sentence(alert, "en")
    stream(at_home, CALM, CALM, CALM, start=105)
    assert ("below", "calm") == (at_home.alerts()[0].reason, at_home.state())


# Silence ----------------------------------------------------------------------------------------------------------------


def test_silence_ends_the_assessment_visibly_and_is_no_all_clear(at_home: Home) -> None:
    stream(at_home, CALM, HIGH)
    at_home.clock.minute = 50
    assert not at_home.room.step()
    at_home.clock.minute = 56
    assert at_home.room.step()
    risk, silence = at_home.alerts()
    assert ("no_data", None, None) == (silence.kind, silence.cleared_at, risk.cleared_at)
    assert "no_data" == at_home.state()
    assert not at_home.room.step()
    assert {"no_data", "risk"} == {one.kind for one in rows.open_alerts(at_home.store, "Patient/p1")}


def test_data_that_come_again_end_the_silence_and_nothing_else(at_home: Home) -> None:
    stream(at_home, CALM, HIGH)
    at_home.clock.minute = 90
    at_home.room.step()
    stream(at_home, HIGH, HIGH, start=91, every=15)
    risk, silence = at_home.alerts()
    assert ("data", None, "alert") == (silence.reason, risk.cleared_at, at_home.state())


def test_readings_that_cannot_be_scored_are_silence_too(at_home: Home) -> None:
    stream(at_home, CALM, CALM)
    stream(at_home, *[OUTSIDE] * 4, start=30)
    [silence] = at_home.alerts()
    assert ("no_data", "out_of_distribution", "no_data") == (silence.kind, silence.detail["refusal"], at_home.state())


def test_after_a_day_without_data_monitoring_ends_and_the_alert_is_closed_not_cleared(at_home: Home) -> None:
    stream(at_home, CALM, HIGH)
    for minute in (60, 25 * 60):
        at_home.clock.minute = minute
        at_home.room.step()
    assert ["no_data", "ended"] == [one.reason for one in at_home.alerts()]
    assert "no_data" == at_home.state()
    at_home.clock.minute = 80 * 60
    assert not at_home.room.step()
    stream(at_home, CALM, HIGH, start=80 * 60)
    assert [None] == [one.cleared_at for one in at_home.alerts(active=True)]


def test_old_readings_that_come_in_late_raise_nothing_by_themselves(at_home: Home) -> None:
    at_home.clock.minute = 300
    answer = at_home.post(bundle(*[heart_rate(15 * place, HIGH) for place in range(8)]), "")
    assert 200 == answer.status_code
    assert ("no_data", []) == (at_home.state(), [one for one in at_home.alerts() if one.kind == "risk"])


# Late, out of order, corrected ------------------------------------------------------------------------------------------


def test_readings_out_of_order_come_to_the_same(tmp_path: Path) -> None:
    rates = [CALM, CALM, HIGH, HIGH, CALM, CALM, CALM, CALM]
    ends = set()
    for order in (range(8), (7, 6, 5, 4, 3, 2, 1, 0), (3, 1, 7, 0, 2, 6, 4, 5)):
        with home(tmp_path / str(len(ends)) / "".join(map(str, order))) as opened:
            opened.clock.minute = 105
            for place in order:
                opened.post(heart_rate(15 * place, rates[place]))
            watched, _ = rows.look(opened.store, "Patient/p1", MODEL, (), 0.0)
            assert watched is not None
            standing = len(opened.alerts(active=True))
            ends.add((watched.state, watched.value, watched.scored_until, str(watched.detail["anchor"]), standing))
    assert 1 == len(ends)


def test_a_reading_taken_back_takes_the_alert_back(at_home: Home) -> None:
    stream(at_home, CALM, CALM)
    at_home.hear(30, HIGH, id="o3")
    assert "alert" == at_home.state()
    assert 200 == at_home.post(heart_rate(30, HIGH, id="o3", status="entered-in-error"), "Observation/o3", method="PUT").status_code
    [alert] = at_home.alerts()
    assert ("corrected", "calm") == (alert.reason, at_home.state())


@pytest.mark.parametrize("change", [{"status": "corrected"}, {"status": "amended"}])
def test_a_corrected_value_counts_instead(at_home: Home, change: dict[str, str]) -> None:
    stream(at_home, CALM, CALM)
    at_home.hear(30, HIGH, identifier=[{"system": "urn:sensor", "value": "7"}], id="a")
    at_home.post(heart_rate(30, CALM, identifier=[{"system": "urn:sensor", "value": "7"}], id="b", **change))
    assert ("corrected", "calm") == (at_home.alerts()[0].reason, at_home.state())


def test_a_deleted_observation_is_taken_back(at_home: Home) -> None:
    stream(at_home, CALM, CALM)
    at_home.hear(30, HIGH, id="o3")
    assert 204 == at_home.client.request("DELETE", "/fhir/Observation/o3").status_code
    assert "calm" == at_home.state()


def test_the_same_reading_again_changes_nothing(at_home: Home) -> None:
    stream(at_home, CALM, HIGH)
    before = rows.look(at_home.store, "Patient/p1", MODEL, (), 0.0)[0]
    for _ in range(3):
        at_home.hear(15, HIGH)
    after = rows.look(at_home.store, "Patient/p1", MODEL, (), 0.0)[0]
    assert before is not None
    assert after is not None
    assert (before.changed_at, 1) == (after.changed_at, len(at_home.alerts()))


# Crashes ----------------------------------------------------------------------------------------------------------------


class Ended(BaseException):
    """The process ends here."""


def test_a_process_that_dies_before_it_scores_leaves_it_to_the_next(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    at_home.hear(0, CALM)
    with monkeypatch.context() as patch:
        patch.setattr(Watch, "follow", lambda *_: (_ for _ in ()).throw(RuntimeError("ended")))
        at_home.hear(15, HIGH)  # taken and acknowledged
    assert [] == at_home.alerts()
    assert at_home.room.step()
    assert 1 == len(at_home.alerts())


@pytest.mark.parametrize("place", ["settle", "message_of"])
def test_a_process_that_dies_while_it_raises_raises_once_in_the_end(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with home(tmp_path, push=True) as opened:
        opened.hear(0, CALM)
        owner: Any = rows if place == "settle" else watch
        real = getattr(owner, place)

        def dies(*arguments: Any) -> None:
            real(*arguments)
            raise Ended

        opened.clock.minute = 15
        heard = opened.room._intake().single(heart_rate(15, HIGH))
        for _ in range(2):
            with monkeypatch.context() as patch:
                patch.setattr(owner, place, dies)
                with pytest.raises(Ended):
                    opened.room.watch.follow(opened.shelf, *next(iter(heard.due)))
        assert ([], {}) == (opened.alerts(), counts(opened.store)["deliveries"])
        assert opened.room.step()
        assert not opened.room.step()
        assert (1, {"fhir_server": {"queued": 1}}) == (len(opened.alerts()), counts(opened.store)["deliveries"])


def test_two_processes_that_follow_the_same_person_raise_one_alert(at_home: Home) -> None:
    at_home.hear(0, CALM)
    at_home.clock.minute = 15
    [(subject, name)] = at_home.room._intake().single(heart_rate(15, HIGH)).due
    model = at_home.shelf.get(name)
    watched, _ = rows.look(at_home.store, subject, name, (), 0.0)
    assert watched is not None
    at_home.room.watch.follow(at_home.shelf, subject, name)
    late = Change(state="alert", value=0.5, scored_until=1.0, below_since=None, due_at=None, detail={}, raised={"value": 0.5})
    with at_home.store.session() as session:
        assert rows.settle(session, watched, late, at_home.clock()) is None
    assert 1 == len(at_home.alerts())
    assert monitors(model.manifest)


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    with home(tmp_path) as first:
        stream(first, CALM, HIGH, CALM)
    with home(tmp_path) as second:
        stream(second, CALM, CALM, start=45)
        [alert] = second.alerts()
        assert ("below", "calm") == (alert.reason, second.state())


def test_the_thread_of_the_room_notices_silence_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.monitoring.routes.IDLE_S", 0.02)
    with home(tmp_path) as opened:
        stream(opened, CALM, CALM)
        opened.clock.minute = 120
        opened.room.open()
        until = time.monotonic() + 10
        while not opened.alerts() and time.monotonic() < until:
            time.sleep(0.02)
        assert ["no_data"] == [one.kind for one in opened.alerts()]


def test_one_person_who_cannot_be_followed_holds_up_nobody(at_home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for subject in ("Patient/p1", "Patient/p2"):
        at_home.hear(0, CALM, subject)
        at_home.hear(15, CALM, subject)
    at_home.clock.minute = 120
    change = Watch._change

    def fails(watch: Watch, model: Any, watched: Watched, *told: Any) -> Any:
        if watched.subject == "Patient/p1":
            raise ZeroDivisionError
        return change(watch, model, watched, *told)

    monkeypatch.setattr(Watch, "_change", fails)
    assert at_home.room.watch.step(at_home.shelf)
    assert ["no_data"] == [one.kind for one in at_home.alerts("Patient/p2")]
    assert not at_home.room.watch.step(at_home.shelf)  # it waits, and does not keep a core busy
    monkeypatch.undo()
    at_home.clock.minute += 2
    assert at_home.room.watch.step(at_home.shelf)
    assert ["no_data"] == [one.kind for one in at_home.alerts("Patient/p1")]


def test_people_are_followed_apart(at_home: Home) -> None:
    rates = {f"Patient/p{number}": HIGH if number == 3 else CALM for number in range(5)}
    for minute in (0, 15):
        at_home.clock.minute = minute
        at_home.post(bundle(*[heart_rate(minute, rate, subject) for subject, rate in rates.items()]), "")
    assert {"Patient/p3": 1} == {subject: len(found) for subject in rates if (found := at_home.alerts(subject))}


def test_a_release_that_is_taken_away_leaves_nobody_waiting(tmp_path: Path) -> None:
    with home(tmp_path) as opened:
        stream(opened, CALM, HIGH)
        empty = type(opened.shelf).__new__(type(opened.shelf))
        empty.models, empty.active = {}, {}
        opened.clock.minute = 120
        Watch(opened.store, opened.house.site, opened.clock).step(empty)
        assert ["no_data"] == [one.reason for one in opened.alerts()]
        assert [] == rows.due(opened.store, Clock()() + 1e9)


def test_old_measurements_are_forgotten(at_home: Home) -> None:
    stream(at_home, CALM, CALM)
    assert 0 == rows.prune_measurements(at_home.store, 3600, now=at_home.clock())
    assert 2 == rows.prune_measurements(at_home.store, 3600, now=at_home.clock() + 7200)
