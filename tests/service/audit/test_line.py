"""What a line may say: words of tables, keys and numbers; everything else is left out, whoever hands it in."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.audit.line import ACTIONS, DETAIL, is_frequent, line_of
from tests.service.audit.audit_house import KEY, PERSON, PROGRAM, RADIOLOGIST

CANARY = "CANARY^NAME"


def made(**told: Any) -> Any:
    return line_of(**{"caller": RADIOLOGIST, "action": "view", "pseudonym": lambda text: "p" * 32, **told})


@pytest.mark.parametrize("detail", [
    {"comment": "CANARY"}, {"reason": CANARY}, {"reason": "Madame Essai"}, {"route": "/fhir/Patient?name=CANARY"},
    {"status": "CANARY"}, {"model": CANARY}, {"models": ["icu-1.0.0", CANARY]}, {"keys": [CANARY]},
    {"state": {"host": "CANARY"}}, {"address": "CANARY"},
    {"count": True}, {"count": -1}, {"count": 1.5}, {"decision": "maybe"}, {"target": CANARY}, {"state": {CANARY: "0" * 8}},
])
def test_detail_that_is_not_of_the_tables_is_left_out(detail: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert {} == made(detail=detail).detail
    assert "left out" in caplog.text
    assert "CANARY" not in caplog.text


@given(st.sampled_from(sorted(DETAIL)), st.tuples(st.text(), st.sampled_from(" ^'@,"), st.text()).map("".join))
@settings(max_examples=60, deadline=None)
def test_no_detail_takes_what_names_and_addresses_are_written_with(name: str, value: str) -> None:
    assert {} == made(detail={name: value}).detail


def test_item_that_is_no_key_is_kept_as_its_pseudonym() -> None:
    for told in ("Patient/12", "É", "12345", "KANARI", "1.2", "DUPONT-1", "x" * 65, "1." + "2" * 64):
        assert "p" * 32 == made(item=told).item
    for kept in ("1.2.3.4", KEY, f"r{KEY}", "a" * 32, "icu_mortality-1.0.0", "0f8fad5b-d9cb-469f-a165-70867728950e"):
        assert kept == made(item=kept).item


def test_person_that_is_no_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key of service/persons_keys"):
        made(persons=["12345"])
    assert (PERSON,) == made(persons=[PERSON, ""]).persons


def test_action_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="no action"):
        made(action="peek")


def test_names_lose_what_no_database_takes() -> None:
    from dataclasses import replace

    assert "AB" * 100 == made(caller=replace(RADIOLOGIST, name="A\x00\x1f\ud800B" * 100)).actor_name


def test_who_is_not_signed_in_and_the_service_itself_are_told_apart() -> None:
    assert ("anonymous", "service") == (made(caller=None, action="denied").actor, made(caller=None, action="deliver").actor)


@pytest.mark.parametrize("action", ACTIONS)
def test_only_what_programs_do_often_may_wait_for_others(action: str) -> None:
    assert not is_frequent(made(action=action)), "a person's line never waits"
    often = action in ("view", "predict", "search", "deliver", "receive")
    assert often == is_frequent(made(caller=PROGRAM, action=action))
    assert not is_frequent(made(caller=PROGRAM, action=action, outcome="denied"))
