"""The list as a browser gets it: in order, filtered, searched, by page; and nothing of it for whoever may not see it."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import delete, select

from service.store.entries import CRITICAL, LOW, ROUTINE
from service.store.entries_page import PAGE_LINES
from service.store.review_tables import AuditLine, AuditPerson, Entry
from tests.service.house import TestClient
from tests.service.review.worklist.listed import Listed, entry, listed


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listed]:
    with listed(tmp_path_factory.mktemp("worklist")) as house:
        yield house


@pytest.fixture
def house(opened: Listed) -> Listed:
    with opened.store.session() as session:
        session.execute(delete(Entry))
    return opened


def keys(text: str) -> list[str]:
    return re.findall(r'data-key="([^"]+)"', text)


def link(text: str, rel: str) -> str:
    found = re.search(rf'rel="{rel}" href="([^"]+)"', text)
    return html.unescape(found[1]) if found else ""


def search(client: TestClient, text: str, **more: str) -> str:
    answer = client.post("/review/search", data={"text": text, **more})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def test_the_most_urgent_comes_first_and_then_who_waits_longest(house: Listed) -> None:
    late = house.put("1", urgency=CRITICAL, waiting_since=2000.0)
    low = house.put("2", urgency=LOW, waiting_since=500.0)
    first = house.put("3", urgency=CRITICAL, waiting_since=1000.0)
    routine = house.put("4", urgency=ROUTINE, waiting_since=1.0)
    assert keys(house.browser().get("/review").text) == [first, late, routine, low]


def test_a_line_says_who_what_and_what_was_found(house: Listed) -> None:
    house.put("77")
    page = house.browser().get("/review").text
    for words in ("ESSAI", "Zoé", "ID-77", "Chest PA", "DX", "Radiology", "Pneumonia", "83%", "above the threshold", "High", "New"):
        assert words in page
    assert "Zoé" in house.browser().get("/review", headers={"accept-language": "fr"}).text


def test_what_is_written_in_a_name_is_text(house: Listed) -> None:
    house.put("1", name="<script>alert(1)</script>", given="\"'><img src=x>")
    client = house.browser()
    for path in ("/review", "/review/rows"):
        page = client.get(path)
        assert "<script>alert" not in page.text
        assert "<img" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_pages_follow_each_other_and_lead_back(house: Listed) -> None:
    made = house.put_all([entry(str(number), waiting_since=float(number)) for number in range(PAGE_LINES + 3)])
    client = house.browser()
    first = client.get("/review").text
    second = client.get(link(first, "next")).text
    assert keys(first) == made[:PAGE_LINES]
    assert keys(second) == made[PAGE_LINES:]
    assert link(first, "prev") == link(second, "next") == ""
    assert keys(client.get(link(second, "prev")).text) == made[:PAGE_LINES]


def test_filters_go_together_and_come_back_in_every_link(house: Listed) -> None:
    wanted = house.put("1", urgency=CRITICAL, modality="MR")
    house.put("2", urgency=CRITICAL)
    house.put("3", modality="MR")
    page = house.browser().get("/review?urgency=3&modality=MR").text
    assert keys(page) == [wanted]
    chip = re.search(r'href="([^"]+)"[^>]*data-chip="kind-study"', page)
    assert chip is not None
    assert parse_qs(urlsplit(html.unescape(chip[1])).query) == {"urgency": ["3"], "modality": ["MR"], "kind": ["study"]}


def test_done_lines_are_listed_apart_and_mine_are_mine(house: Listed) -> None:
    house.put("1")
    done, mine = house.put("2"), house.put("3")
    house.state("2", "validated", actor="rpps:other")
    house.state("3", "seen", actor="oidc:test:1")
    client = house.browser()
    assert keys(client.get("/review?view=done").text) == [done]
    assert keys(client.get("/review?view=mine").text) == [mine]
    assert len(keys(client.get("/review?view=all").text)) == 3


def test_a_search_finds_by_name_and_number_and_its_address_says_neither(house: Listed) -> None:
    made = house.put("41", name="MÉLUSINE-TEST")
    house.put("42")
    client = house.browser()
    for text in ("melusine", "ID-41", "a-41", "Mélusine test z"):
        href = search(client, text)
        assert keys(client.get(href).text) == [made]
        assert parse_qs(urlsplit(href).query).keys() == {"found"}
        assert text.casefold() not in href.casefold()
    assert "found" not in search(client, "  ")


def test_a_search_of_another_session_is_not_opened(house: Listed) -> None:
    house.put("1")
    href = search(house.browser(), "essai")
    other = house.browser(subject="oidc:test:2").get(href)
    assert other.status_code == 404
    assert "ESSAI" not in other.text


def test_a_search_needs_the_token_of_its_page(house: Listed) -> None:
    client = house.browser()
    answer = client.post("/review/search", data={"text": "essai"}, headers={"x-csrf-token": "wrong"})
    assert answer.status_code == 403


@pytest.mark.parametrize("who", [
    {"roles": ("engineer",)}, {"roles": ("administrator",)}, {"roles": ("dpo",)}, {"roles": ("system",)},
])
def test_who_has_no_worklist_gets_not_a_byte_of_it(house: Listed, who: dict[str, Any]) -> None:
    key = house.put("1", name="CANARY")
    client = house.browser(**who)
    for path in ("/review", "/review/rows", f"/review/live?key={key}", "/review/next", f"/review/e/{key}", "/review/events"):
        answer = client.get(path)
        assert answer.status_code == 403, path
        assert "CANARY" not in answer.text
        assert key not in answer.text.replace(path, "")
    assert client.post("/review/search", data={"text": "canary"}).status_code == 403


@pytest.mark.parametrize("who", [
    {"departments": ("Cardiology",)}, {"models": ("hip",)}, {"departments": ()},
])
def test_lines_of_other_departments_and_models_do_not_exist(house: Listed, who: dict[str, Any]) -> None:
    key = house.put("1", name="CANARY")
    client = house.browser(("radiologist",), **who)
    for path in ("/review", "/review?view=all", "/review?department=Radiology&view=all", f"/review/live?key={key}&view=all"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "CANARY" not in answer.text
    assert "CANARY" not in client.get(search(client, "canary", view="all")).text
    assert client.get(f"/review/e/{key}").status_code == client.get("/review/e/none").status_code == 404
    assert client.get("/review/next").headers["location"] == "/review"


def test_a_caller_of_some_departments_sees_theirs(house: Listed) -> None:
    mine = house.put("1", department="Cardiology")
    house.put("2")
    page = house.browser(departments=("Cardiology", "Paediatrics")).get("/review").text
    assert keys(page) == [mine]
    assert "Radiology" not in page


def test_lines_lead_to_the_page_of_what_they_are_about(house: Listed) -> None:
    study = house.put("1")
    risk = house.put("risk-key", kind="risk", models=("readmission-1.0.0",))
    alert = house.put("7", kind="alert", models=("hypo-1.0.0",), detail={"page": "page-of-alert"})
    client = house.browser()
    assert [client.get(f"/review/e/{key}").headers["location"] for key in (study, risk, alert)] == [
        f"/review/studies/{study}", "/review/risks/risk-key", "/review/risks/page-of-alert"]


def test_next_is_the_most_urgent_that_nobody_has_opened(house: Listed) -> None:
    house.put("1", urgency=CRITICAL)
    house.state("1", "seen")
    unopened = house.put("2")
    assert house.browser().get("/review/next").headers["location"] == f"/review/e/{unopened}"


def test_live_lines_say_which_pass_the_filters_and_leave_out_what_is_gone(house: Listed) -> None:
    stays, decided, erased = house.put("1"), house.put("2"), house.put("3")
    house.state("2", "validated")
    house.erase("3")
    answer = house.browser().get("/review/live", params={"key": [stays, decided, erased, "none"]})
    told = answer.json()
    assert {one["key"]: one["matches"] for one in told["lines"]} == {stays: True, decided: False}
    assert sorted(keys(told["html"])) == sorted([stays, decided])


def test_too_many_keys_are_refused(house: Listed) -> None:
    assert house.browser().get("/review/live", params={"key": [str(number) for number in range(101)]}).status_code == 400


@pytest.mark.parametrize("query", ["view=every", "after=x", "text=ESSAI", "found=zzz"])
def test_addresses_that_are_none_are_refused_as_pages(house: Listed, query: str) -> None:
    answer = house.browser().get(f"/review?{query}")
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"].startswith("text/html")
    assert "ESSAI" not in answer.text


def test_who_was_shown_is_in_the_audit_once_a_while(house: Listed) -> None:
    house.put("501", person="f" * 32)
    client = house.browser(subject="oidc:test:audited")
    for _ in range(3):
        client.get("/review")
    search(client, "essai")
    until = time.monotonic() + 5
    while time.monotonic() < until:
        with house.store.reading() as session:
            seen = session.scalars(select(AuditPerson.line_id).where(AuditPerson.person == "f" * 32)).all()
            mine = select(AuditLine.action).where(AuditLine.actor == "oidc:test:audited", AuditLine.kind == "worklist")
            actions = session.scalars(mine).all()
        if seen and "search" in actions:
            break
        time.sleep(0.05)
    assert len(seen) == 1
    assert sorted(actions) == ["search", "view"]


def test_the_list_works_without_a_script(house: Listed) -> None:
    house.put("1")
    page = house.browser().get("/review").text
    assert re.search(r'<form class="wl-search" method="post" action="/review/search"', re.sub(r"\s+", " ", page))
    assert '<button class="button wl-apply">' in page
    assert " style=" not in page
    assert "onclick" not in page
