"""The monitor's pages say in words what stands out, who may see them, and who saw an alarm; nothing of anybody is in them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from starlette.routing import Route

from models.reference import Reference
from models.reference_made import reference_of
from service.access.caller import Caller
from service.access.policy import opens
from service.monitor import passes
from service.monitor.simulated import Ordinary, injected
from service.problem import ProblemError
from service.review.monitor.charts import charts_of
from service.review.monitor.pages import MonitorPages
from service.review.monitor.spoken import rule_words, stream_words
from service.review.page import ReviewDesk
from service.store import alarms, watching
from tests.make_weeks import add_weeks, monday_before
from tests.service.review.paper_house import READER, Paper, _let_in

NOW = datetime(2026, 6, 17, 9, 0)
ENGINEER = Caller("oidc:test:4", name="Alix Essai", roles=frozenset({"engineer"}))
CLINICIAN = Caller("oidc:test:6", name="Noa Essai", roles=frozenset({"clinician"}))
RELEASE = "tiny_risk-1.0.0"


@pytest.fixture(scope="module")
def watched(paper: Paper) -> Paper:
    """The house after eight weeks, of which the last two brought another unit; its client has the monitor's pages."""
    from starlette.applications import Starlette

    from service.web import on_problem
    from tests.service.house import TestClient

    house = paper.house
    model = house.scoring.installed.models[RELEASE]
    rng = np.random.default_rng(2)
    reference = _reference(model.manifest, rng)
    usual = Ordinary(per_week=90, verdicts=30)
    zone = house.site.device.zone
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.monitor.references.shipped_reference", lambda _: reference)
        count = add_weeks(house.store, model.manifest, reference, usual, first=monday_before(NOW.date(), 8), weeks=6, zone=zone,
                          rng=rng)
        changed = injected(model.manifest, reference, usual)["one laboratory value in another unit"][1]
        add_weeks(house.store, model.manifest, reference, changed, first=monday_before(NOW.date(), 2), weeks=3, zone=zone, rng=rng,
                  offset=count)
        passes.check(house.store, house.site, [model], now=NOW)
    pages = Starlette(routes=MonitorPages(ReviewDesk(house)).routes(),
                      exception_handlers=dict.fromkeys((ProblemError, Exception), on_problem))
    return Paper(house, paper.worker, TestClient(_let_in(pages, paper.who)), paper.who)


def _reference(manifest, rng) -> Reference:  # type: ignore[no-untyped-def]
    rows = [("scored", {f"feature.{one.name}": float(rng.normal(10 * n, 2)) for n, one in enumerate(manifest.features)},
             {one.name: float(rng.beta(2, 5)) for one in manifest.outputs}) for _ in range(500)]
    return reference_of(rows, manifest, "validation split")


def test_the_overview_says_which_release_is_not_as_it_was_and_what_to_do(watched: Paper) -> None:
    html = watched.get("/review/monitor", as_=ENGINEER).text
    assert "Open alarms" in html
    assert "What comes in" in html
    assert "Ask what changed" in html
    assert RELEASE in html
    assert "CANARI" not in html
    french = watched.get("/review/monitor", as_=ENGINEER, language="fr").text
    assert 'lang="fr"' in french


def test_a_release_is_shown_with_charts_that_say_in_words_what_they_draw(watched: Paper) -> None:
    html = watched.get(f"/review/monitor/{RELEASE}", as_=ENGINEER).text
    assert html.count("<svg viewBox") >= 4
    assert "weeks beyond the limits" in html
    assert "Week of" in html
    assert "Agreement by group" in html
    assert "Department: Ward A" in html
    assert "its validation data" in html


def test_somebody_sees_an_alarm_and_it_is_audited(watched: Paper) -> None:
    row = alarms.alarms(watched.house.store, release=RELEASE)[0]
    answer = watched.post(f"/review/monitor/alarms/{row.id}", {}, as_=ENGINEER)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/review/monitor/{RELEASE}")
    assert alarms.alarms(watched.house.store, release=RELEASE)[-1].acknowledged_by or row
    assert ("release", "success") in watched.actions()
    html = watched.get(f"/review/monitor/{RELEASE}", as_=ENGINEER).text
    assert "seen" in html
    for wrong in ("0", "999999", "x", "1" * 30):
        assert watched.post(f"/review/monitor/alarms/{wrong}", {}, as_=ENGINEER).status_code == 404


def test_who_may_not_watch_sees_nothing_and_one_model_is_one(watched: Paper) -> None:
    assert watched.get("/review/monitor", as_=CLINICIAN).status_code == 403
    assert watched.get(f"/review/monitor/{RELEASE}", as_=CLINICIAN).status_code == 403
    assert watched.get("/review/monitor/none-such", as_=READER).status_code == 404
    other = Caller("oidc:test:7", name="Lou Essai", roles=frozenset({"engineer"}), models=frozenset({"tiny_chest"}))
    assert RELEASE not in watched.get("/review/monitor", as_=other).text
    assert watched.get(f"/review/monitor/{RELEASE}", as_=other).status_code == 404
    row = alarms.alarms(watched.house.store, release=RELEASE)[0]
    assert watched.post(f"/review/monitor/alarms/{row.id}", {}, as_=other).status_code == 404


def test_every_address_is_in_the_policy(watched: Paper) -> None:
    for route in MonitorPages(ReviewDesk(watched.house)).routes():
        assert isinstance(route, Route)
        for method in route.methods or ():
            assert opens(method, route.path) == ("watch",), route.path


def test_a_week_beyond_its_limits_is_drawn_as_another_shape_and_places_are_on_the_page(watched: Paper) -> None:
    found = watching.states(watched.house.store)[RELEASE].found
    charts = charts_of(found, None, "en")
    assert {one.name for one in charts} >= {"refused", "agreement"}
    for one in charts:
        for point in one.points:
            assert 0 <= point.x <= one.width
            assert 0 <= point.y <= one.height
    told = {"name": "mean.output.x", "centre": 1.0, "average": 1.0, "points": [
        {"week": "2026-06-01", "value": 1.0, "n": 9, "low": 0.5, "high": 1.5},
        {"week": "2026-06-08", "value": 9.0, "n": 9, "low": 0.5, "high": 1.5},
        {"week": "2026-06-15", "value": None, "n": 0, "low": None, "high": None}]}
    (chart,) = charts_of({"charts": [told]}, None, "en")
    assert [point.out for point in chart.points] == [False, True]


def test_streams_and_rules_have_words_in_both_languages(watched: Paper) -> None:
    manifest = watched.house.scoring.installed.models[RELEASE].manifest
    feature = manifest.features[0]
    assert stream_words(f"feature.{feature.name}", manifest, "fr") == feature.label_fr
    assert stream_words(f"output.{manifest.outputs[0].name}", manifest, "en") == manifest.outputs[0].label
    assert stream_words("feature.gone", None, "en") == "feature.gone"
    rules = [{"stream": "refused", "rule": "cumulative_sum", "expected": 0.02, "seen": 0.05},
             {"stream": "input.sd", "rule": "two_windows", "psi": 0.4, "limit": 0.1},
             {"stream": "input.sd", "rule": "far_beyond", "psi": 1.4, "limit": 0.1}]
    assert "was 2.0%, is 5.0%" in rule_words(rules[0], manifest, "en").replace("\u202f", "").replace("\u00a0", "")
    assert "two windows in a row" in rule_words(rules[1], manifest, "en")
    assert "far beyond" in rule_words(rules[2], manifest, "en")
