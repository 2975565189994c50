"""An alert as it leaves the house: RiskAssessment, Flag and Communication, valid by a judge, without a word too many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from service.fhir.judge import judge
from service.fhir.outcome import sound
from service.fhir.push import as_transaction
from service.monitoring.alerts import SENTENCES
from service.store.ehr_tables import Message
from service.words import say
from tests.service.monitoring.home import CALM, HIGH, Home, home


def sent(opened: Home) -> list[dict[str, Any]]:
    with opened.store.reading() as session:
        return list(session.scalars(select(Message.content).order_by(Message.id)))


def kinds(content: dict[str, Any]) -> list[str]:
    return [entry["resource"]["resourceType"] for entry in content["entry"]]


def test_an_episode_is_sent_as_it_begins_and_as_it_ends(tmp_path: Path) -> None:
    with home(tmp_path, push=True) as opened:
        for place, rate in enumerate((CALM, HIGH, CALM, CALM, CALM)):
            opened.hear(15 * place, rate, id=f"o{place}")
        raised, cleared = sent(opened)
    assert {"RiskAssessment", "Observation", "Device", "Provenance", "Flag", "Communication"} == set(kinds(raised))
    assert ["Flag", "Communication"] == kinds(cleared)
    resources = {entry["resource"]["resourceType"]: entry["resource"] for entry in raised["entry"]}
    basis = [one["reference"] for one in resources["RiskAssessment"]["basis"]]
    assert ["Observation/o0", "Observation/o1"] == sorted(one for one in basis if one.startswith("Observation"))
    assert ("active", "Patient/p1") == (resources["Flag"]["status"], resources["Flag"]["subject"]["reference"])
    assert "urgent" == resources["Communication"]["priority"]
    end = cleared["entry"][0]
    name = resources["Flag"]["identifier"][0]["value"]
    assert ("PUT", f"Flag?identifier=urn:diaphane:result|{name}") == (end["request"]["method"], end["request"]["url"])
    assert ("inactive", True) == (end["resource"]["status"], "end" in end["resource"]["period"])
    for content in (raised, cleared):
        for entry in content["entry"]:
            assert sound(judge(entry["resource"])), entry["resource"]["resourceType"]
        assert sound(judge(as_transaction(content)))


def test_silence_is_sent_and_is_no_all_clear(tmp_path: Path) -> None:
    with home(tmp_path, push=True) as opened:
        for minute in (0, 15):
            opened.hear(minute, CALM)
        opened.clock.minute = 90
        opened.room.step()
        [silence] = sent(opened)
    flag, note = (entry["resource"] for entry in silence["entry"])
    assert ("active", "no-data") == (flag["status"], flag["code"]["coding"][0]["code"])
    assert "This is no all-clear." in note["payload"][0]["contentString"]
    assert sound(judge(flag))
    assert sound(judge(note))


def test_where_nothing_is_pushed_nothing_waits_to_be_sent(at_home: Home) -> None:
    for minute, rate in ((0, CALM), (15, HIGH)):
        at_home.hear(minute, rate)
    assert [] == sent(at_home)
    assert 1 == len(at_home.alerts())


def test_every_end_of_an_alert_has_its_sentence() -> None:
    values = {"label": "x", "risk": "1%", "since": "now"}
    for key in ("raised", "reached", "no_data", "below", "corrected", "gone", "data", "ended"):
        assert say("en", SENTENCES[key], **values)
