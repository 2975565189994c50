"""The risk page: what it shows, to whom, and that trying leaves nothing behind."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import update

from models.prediction import Prediction
from models.read_fhir import read_bundle
from models.record_json import record_of_json
from service.access.caller import Caller, Grant
from service.fhir.assessed import Assessed
from service.review.risk.change import changed
from service.store import rights
from service.store.review_tables import Risk as Kept
from service.told_risks import told, write
from tests.service.house import FHIR
from tests.service.review.risk.risk_house import CLINICIAN, RiskHouse, stay

HOSTILE = '<script>alert("x")</script>{{ 7 * 7 }}'


def value_of(house: RiskHouse, key: str, **values: float) -> float:
    """What the release says of the kept record with other values."""
    kept = house.by_key(key)
    hours = kept.record["moment_h"]
    record = changed(house.model.manifest, record_of_json(kept.record), hours, values)
    result = house.model.predict(record, moment_h=hours)
    assert isinstance(result, Prediction)
    return result.main.value


def test_a_prediction_is_kept_and_shown_with_its_meaning_and_reasons(at: RiskHouse) -> None:
    kept = at.predict()
    shown = at.page(kept.key)
    assert shown.status_code == 200
    assert "Of 100 such patients" in shown.text
    assert kept.value is not None
    assert len(re.findall(r'<use href="#one-person"[^>]* class="on"', shown.text)) == round(100 * kept.value)
    assert "Heart rate, last" in shown.text
    assert "ESSAI Camille" in shown.text
    assert "Intensive care" in shown.text


def test_the_same_prediction_again_is_the_same_row(at: RiskHouse) -> None:
    assert at.predict().key == at.predict().key
    assert len(at.kept()) == 1
    assert at.predict(stay(heart_rate=121)).key != at.kept()[0].key
    assert len(at.kept()) == 2


def test_of_one_stay_the_worklist_holds_the_latest_risk(at: RiskHouse) -> None:
    at.predict()
    later = at.predict(stay(heart_rate=130))
    assert [line.target for line in at.lines()] == [later.key]
    assert "Over the stay" in at.page(later.key).text
    assert at.page(at.kept()[0].key).status_code == 200


def test_a_low_risk_deserves_no_line(at: RiskHouse) -> None:
    at.predict(stay(heart_rate=60, gcs=15))
    assert at.lines() == []


def test_looking_is_written_down_and_the_line_is_seen(at: RiskHouse) -> None:
    kept = at.predict()
    assert [line.state for line in at.lines()] == ["new"]
    at.page(kept.key)
    assert [line.state for line in at.lines()] == ["seen"]
    assert at.looked()[-1] == ("view", "risk", kept.key)


def test_to_try_without_opening_the_page_is_a_look_and_a_slider_is_one_look(at: RiskHouse) -> None:
    kept = at.predict()
    before = at.looked()
    for rate in (150, 160, 170):
        at.what_if(kept.key, HR=rate)
    assert at.looked() == [*before, ("view", "risk", kept.key)]
    assert [line.state for line in at.lines()] == ["new"]


def test_what_if_is_what_the_release_says_of_the_changed_record(at: RiskHouse) -> None:
    kept = at.predict()
    answer = at.what_if(kept.key, HR=180, Creatinine=4.5)
    assert answer.status_code == 200
    expected = value_of(at, kept.key, HR=180.0, Creatinine=4.5)
    assert f"{100 * expected:.1f}%" in answer.text
    assert "Hypothetical" in answer.text
    assert abs(expected - (kept.value or 0)) > 0.1


def test_a_value_as_it_is_changes_nothing(at: RiskHouse) -> None:
    kept = at.predict()
    assert "Nothing is changed" in at.what_if(kept.key).text
    assert "Nothing is changed" in at.what_if(kept.key, Creatinine="1", GCS="9").text


def test_what_if_writes_nothing(at: RiskHouse) -> None:
    kept = at.predict()
    before, rows = at.counts(), [vars(one) for one in at.kept()]
    at.what_if(kept.key, HR=180)
    at.what_if(kept.key, HR=999)
    assert at.counts() == before
    assert [one["answer"] for one in rows] == [one.answer for one in at.kept()]
    assert "value.HR" not in at.page(kept.key).text.split("<form")[0]


def test_what_if_out_of_range_shows_the_models_own_refusal(at: RiskHouse) -> None:
    kept = at.predict()
    answer = at.what_if(kept.key, Creatinine=39)
    assert answer.status_code == 200
    assert "No score with these values" in answer.text


@pytest.mark.parametrize("values", [{"age_years": 20}, {"Nothing": 1}, {"HR": "nan"}, {"HR": "many"}, {"HR": "1e999"}])
def test_what_if_takes_only_what_may_be_changed(at: RiskHouse, values: dict[str, object]) -> None:
    assert at.what_if(at.predict().key, **values).status_code == 400


def test_without_a_script_what_if_answers_with_the_whole_page(at: RiskHouse) -> None:
    kept = at.predict()
    answer = at.client.post(f"/review/risks/{kept.key}/what-if", data={"value.HR": "180"}, headers={"accept": "text/html"})
    assert answer.status_code == 200
    assert "<main" in answer.text
    assert f"{100 * value_of(at, kept.key, HR=180.0):.1f}%" in answer.text


@pytest.mark.parametrize("who", [
    replace(CLINICIAN, roles=frozenset({"administrator"}), grants=()), replace(CLINICIAN, roles=frozenset({"dpo"}), grants=()),
    replace(CLINICIAN, grants=(Grant(frozenset({"clinician"}), departments=frozenset({"Cardiology"})),)),
    replace(CLINICIAN, grants=(Grant(frozenset({"clinician"}), models=frozenset({"readmission_30d"})),)),
], ids=["administrator", "dpo", "another department", "another model"])
def test_who_may_not_know_of_a_risk_is_told_that_there_is_none(at: RiskHouse, who: Caller) -> None:
    kept = at.predict()
    none = at.page("0" * 32)
    at.who.append(who)
    for answer in (at.page(kept.key), at.what_if(kept.key, HR=180)):
        assert answer.status_code == 404
        assert answer.json() == none.json()
    assert [line.state for line in at.lines()] == ["new"]


def test_a_caller_of_the_department_sees_it(at: RiskHouse) -> None:
    kept = at.predict()
    at.who.append(replace(CLINICIAN, grants=(Grant(frozenset({"clinician"}), departments=frozenset({"Intensive care"}),
                                                   models=frozenset({"tiny_risk"})),)))
    assert at.page(kept.key).status_code == 200


def test_hostile_names_are_shown_as_they_are_written(at: RiskHouse) -> None:
    kept = at.predict(stay(name=HOSTILE, place=HOSTILE))
    page = at.page(kept.key).text
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;{{ 7 * 7 }}" in page
    assert "ESSAI" not in re.search(r"<title>(.*?)</title>", page)[1]  # type: ignore[index]


def test_a_refusal_is_shown_with_its_reason_and_no_figure(at: RiskHouse) -> None:
    kept = at.predict(stay(birth_date="2020-01-15"))
    assert (kept.status, kept.reason) == ("refused", "wrong_age")
    page = at.page(kept.key).text
    assert "No score is given" in page
    assert "That is no all-clear" in page
    assert "Of 100 such patients" not in page


def test_a_release_that_is_gone_leaves_what_was_kept(at: RiskHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = at.predict()
    monkeypatch.setattr(at.house.scoring.installed, "models", {})
    page = at.page(kept.key)
    assert page.status_code == 200
    assert "Heart rate, last" in page.text
    assert "what-if-form" not in page.text
    assert at.what_if(kept.key, HR=180).status_code == 404


def test_the_page_is_there_before_the_releases_are_open(at: RiskHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = at.predict()
    monkeypatch.setattr(at.house.scoring, "_shelf", None)
    assert at.page(kept.key).status_code == 200


def test_whoever_opposes_being_scored_is_not_kept(at: RiskHouse) -> None:
    kept = at.predict()
    with at.house.store.session() as session:
        rights.oppose(session, persons=[kept.person], scope="scoring", by="test")
    assert at.client.post("/fhir/$predict?model=tiny_risk", content=json.dumps(stay(heart_rate=140)), headers=FHIR).status_code == 403
    reading = read_bundle(stay(heart_rate=140))
    assessed = Assessed(at.model.manifest, at.model.predict(reading.record), reading, datetime.now(UTC), "en", at.house.site.device)
    write(at.house.store, at.house.site, [told(at.house.store, at.house.site, assessed, "hook:patient-view")])
    assert [one.key for one in at.kept()] == [kept.key]
    assert at.what_if(kept.key, HR=180).status_code == 403  # to try is to score


def test_a_trend_holds_what_was_told_in_departments_of_the_caller_alone(at: RiskHouse) -> None:
    first, kept = at.predict(stay(heart_rate=139)), at.predict()
    with at.house.store.session() as session:
        session.execute(update(Kept).where(Kept.key == first.key).values(department="Cardiology"))
    assert first.key in at.page(kept.key).text
    at.who.append(replace(CLINICIAN, grants=(Grant(frozenset({"clinician"}), departments=frozenset({"Intensive care"})),)))
    assert first.key not in at.page(kept.key).text


def test_nothing_in_the_page_asks_for_style_or_script_of_its_own(at: RiskHouse) -> None:
    page = at.page(at.predict().key).text
    assert " style=" not in page
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page)
    assert not re.search(r"\son[a-z]+=", page)


def test_french_numbers_have_their_comma(at: RiskHouse) -> None:
    kept = at.predict()
    page = at.page(kept.key, **{"accept-language": "fr"}).text
    assert '<html lang="fr">' in page
    assert re.search(r"× \d,\d\d", page)


def test_a_refused_key_of_any_shape_is_not_found(at: RiskHouse) -> None:
    for key in ("x", "%00", "a" * 500, "..%2f.."):
        assert at.page(key).status_code in (404, 400)
