"""The pass: observations become days and weeks, alarms ring once, are seen, and end; one process does it, and old rows go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import func, select

from models.model import Model
from models.reference import Reference
from service.monitor import passes
from service.monitor.observed import of_risk, seen_of
from service.monitor.references import FIRST, referred
from service.monitor.simulated import injected
from service.site import Site
from service.store import alarms, observations, watching
from service.store.store import Store
from service.store.trust_tables import GoldenStudy, Observation
from tests.make import icu_record
from tests.make_weeks import add_weeks, monday_before
from tests.service.monitor.conftest import USUAL

NOW = datetime(2026, 6, 17, 9, 0)  # a Wednesday
Fill = Callable[..., int]


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch, reference: Reference) -> None:
    """The release comes with a reference."""
    monkeypatch.setattr("service.monitor.references.shipped_reference", lambda _: reference)


@pytest.fixture
def fill(store: Store, model: Model, reference: Reference, site: Site) -> Fill:
    def filled(week, weeks, *, until=0, offset=0, seed=1):  # type: ignore[no-untyped-def]
        first = monday_before(NOW.date(), weeks + until)
        return add_weeks(store, model.manifest, reference, week, first=first, weeks=weeks, zone=site.device.zone,
                         rng=np.random.default_rng(seed), offset=offset)

    return filled


@pytest.mark.usefixtures("brought")
def test_ordinary_weeks_are_counted_and_ring_nothing(store: Store, model: Model, site: Site, fill: Fill) -> None:
    count = fill(USUAL, 10)
    (looked,) = passes.check(store, site, [model], now=NOW)
    assert looked.signals == ()
    assert alarms.ringing(store) == {}
    found = watching.states(store)[model.id].found
    assert found["weeks"] == 10
    assert found["reference"]["source"] == "release"
    assert sum(point["n"] for chart in found["charts"] if chart["name"] == "refused" for point in chart["points"]) == count
    assert found["agreement"]["given"] > 200


@pytest.mark.usefixtures("brought")
def test_an_alarm_rings_once_is_seen_and_ends_by_itself(
    store: Store, model: Model, reference: Reference, site: Site, fill: Fill, caplog: pytest.LogCaptureFixture,
) -> None:
    changed = injected(model.manifest, reference, USUAL)["one laboratory value in another unit"][1]
    count = fill(USUAL, 6, until=2)
    fill(changed, 2, offset=count)
    (looked,) = passes.check(store, site, [model], now=NOW)
    assert "input_drift" in looked.new
    assert "ALARM input_drift: tiny_risk-1.0.0" in caplog.text
    assert passes.check(store, site, [model], now=NOW)[0].new == ()
    (row,) = [one for one in alarms.alarms(store) if one.kind == "input_drift"]
    assert {one["stream"] for one in row.detail["streams"]} >= {row.stream}
    with store.session() as session:
        assert alarms.seen(session, row.id, "oidc:test:4") is not None
        assert alarms.seen(session, 9999, "oidc:test:4") is None
    with store.session() as session:
        assert alarms.seen(session, row.id, "somebody else").acknowledged_by == "oidc:test:4"
    with store.session() as session:
        assert not alarms.end(session, model.id, "input_drift", older_than_s=86_400)  # younger than a day
        assert alarms.end(session, model.id, "input_drift")
    assert alarms.alarms(store) == []
    assert [one.id for one in alarms.alarms(store, only_open=False)][-1] == row.id


def test_a_release_without_a_reference_is_watched_against_its_first_results(
    store: Store, model: Model, site: Site, fill: Fill,
) -> None:
    assert referred(store, model).source == "none"
    fill(USUAL, 1)
    passes.check(store, site, [model], now=NOW)
    assert watching.states(store)[model.id].found["reference"]["source"] == "none"
    fill(USUAL, 2, until=1, offset=1000, seed=2)
    passes.check(store, site, [model], now=NOW)
    known = referred(store, model)
    assert (known.source, known.reference.n if known.reference else 0) == ("first_results", FIRST)
    assert watching.states(store)[model.id].found["streams"]


@pytest.mark.usefixtures("brought")
def test_old_observations_are_forgotten_and_their_days_stay(store: Store, model: Model, site: Site, fill: Fill) -> None:
    fill(USUAL, 20)
    passes.check(store, site, [model], now=NOW)
    begin = (NOW - timedelta(days=site.watch.keep_days + 1)).timestamp()
    assert (observations.earliest(store, model.id) or 0) > begin
    before = watching.states(store)[model.id].found
    passes.check(store, site, [model], now=NOW)
    after = watching.states(store)[model.id].found
    assert after["weeks"] == before["weeks"] == 20
    assert after["charts"] == before["charts"]


@pytest.mark.usefixtures("brought")
def test_one_of_two_processes_looks(store: Store, model: Model, site: Site, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(USUAL, 1)
    looked: list[str] = []
    monkeypatch.setattr(passes, "check", lambda *_, **__: looked.append("check"))
    monkeypatch.setattr(passes.golden, "night", lambda *_: looked.append("golden"))
    one, two = (passes.Monitor(lambda: store, site, lambda: None, lambda: None, lambda: [model]) for _ in range(2))  # type: ignore[arg-type, return-value]
    at_night = NOW.replace(hour=site.watch.golden_hour)
    assert one.step(at_night)
    assert not two.step(at_night)
    assert looked == ["check", "golden"]
    assert watching.take_turn(store, "pass", "three", 60) is not None
    assert watching.take_turn(store, "pass", "four", 60) is None
    empty = passes.Monitor(lambda: store, site, lambda: None, lambda: None, list)  # type: ignore[arg-type, return-value]
    assert not empty.step(at_night)


def test_what_was_observed_of_a_person_goes_with_them(store: Store, model: Model) -> None:
    result = model.predict(icu_record())
    patient = {"name": "TEST", "sex": "F", "birth_date": "1950-02-03"}
    new = of_risk("key-1", model.id, result, patient, "Ward A", time.time())
    assert new.groups == {"sex": "F", "age": "65-79", "department": "Ward A"}
    assert "1950" not in str(vars(new))
    assert "TEST" not in str(vars(new))
    with store.session() as session:
        observations.add(session, [new, replace(new, target="key-2")])
        observations.add(session, [new])  # told twice, observed once
        session.add(GoldenStudy(release=model.id, kind="risk", target="key-1", added_by="test", added_at=0.0))
    rows = observations.between(store, model.id, 0, time.time() + 1)
    assert len(rows) == 2
    seen = seen_of(rows[0])
    assert seen.statistics == result.input_statistics
    assert set(seen.values) == {one.name for one in result.findings}  # type: ignore[union-attr]
    with store.session() as session:
        assert observations.erase(session, "risk", ["key-1"]) == 1
    with store.reading() as session:
        assert session.scalar(select(func.count()).select_from(Observation)) == 1
        assert session.scalar(select(func.count()).select_from(GoldenStudy)) == 0
