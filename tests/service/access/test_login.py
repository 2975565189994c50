"""The login pages: a link that works once, a way on that leads nowhere else, and no third hundred of guesses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from service.access.links import LIFETIME_S, new_link
from service.access.onward import own_path
from service.access.pages import Login
from service.access.sessions import Sessions, hash_of
from service.ehr_house import House
from service.metrics import Metrics
from service.review.page import ReviewDesk
from service.scoring import Scoring
from service.settings import Settings, SettingsError
from service.site import Site
from service.store.sessions import use_link
from tests.service.access.gated import PAGE, Gated, gated
from tests.service.access.make_login import ORIGIN, login_for


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    with gated(tmp_path_factory.mktemp("login"), {"lock_after": 1000}) as house:
        yield house


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Gated]:
    """A house that locks out after one failure, and an address after twenty."""
    with gated(tmp_path, {"lock_after": 1, "lock_minutes": 15}, api_token="the-right-one") as house:
        yield house


def link_of(gate: Gated) -> str:
    return new_link(gate.house.store, gate.house.settings, gate.house.site, ORIGIN).removeprefix(ORIGIN)


def test_a_link_logs_the_owner_in_once(gate: Gated) -> None:
    link = link_of(gate)
    browser = gate.browser()
    answer = browser.get(link, headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    assert browser.get("/review").json()["subject"] == "local:owner"
    again = gate.browser().get(link, headers=PAGE)
    assert again.status_code == 403
    assert "does not log in any more" in again.text
    assert link.partition("link=")[2] not in again.text


def test_the_cookie_of_a_session_has_the_flags_that_protect_it(gate: Gated, tmp_path: Path) -> None:
    told = gate.browser().get(link_of(gate)).headers["set-cookie"].lower()
    assert "diaphane=" in told
    assert "httponly" in told
    assert "samesite=lax" in told
    assert "domain" not in told
    with gated(tmp_path / "https", {"providers": [{"name": "psc", "issuer": "https://psc.example", "client_id": "x"}]},
               public_url="https://ai.example.org") as proxied:
        someone = login_for(proxied.house)
        assert list(someone.cookies) == ["__Host-diaphane"]
        browser = proxied.browser()
        headers = {"cookie": f"__Host-diaphane={someone.token}", "host": "ai.example.org", "origin": "https://ai.example.org"}
        answer = browser.post("/review/logout", headers={**headers, "x-csrf-token": someone.csrf})
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        told = answer.headers["set-cookie"].lower()
        assert "__host-diaphane=" in told
        assert "secure" in told
        assert "path=/" in told
        plain = {"cookie": f"diaphane={login_for(proxied.house).token}", "host": "ai.example.org"}
        assert browser.get("/review", headers=plain).status_code == 401, "over https only the protected name counts"
        assert browser.get("/review/login", headers={"host": "127.0.0.1:3000"}).status_code == 421


def test_a_new_link_makes_the_one_before_void(gate: Gated) -> None:
    first, second = link_of(gate), link_of(gate)
    assert gate.browser().get(first).status_code == 403
    assert gate.browser().get(second).status_code == 303


def test_a_link_ends_after_ten_minutes(gate: Gated) -> None:
    token = link_of(gate).partition("link=")[2]
    with gate.house.store.session() as session:
        assert use_link(session, hash_of(token), time.time() + LIFETIME_S + 1) is None


@pytest.mark.parametrize("headers", [{"x-forwarded-for": "10.0.0.9"}, {"forwarded": "for=10.0.0.9"}])
def test_a_link_works_on_the_machine_itself_alone(gate: Gated, headers: dict[str, str]) -> None:
    link = link_of(gate)
    assert gate.browser().get(link, headers=headers).status_code == 403
    far = gate.browser(address="10.0.0.9")
    assert far.get(link).status_code == 403
    assert gate.browser().get(link).status_code == 303, "and whoever may not use it cannot use it up"


def test_a_browser_that_looks_ahead_does_not_use_the_link_up(gate: Gated) -> None:
    link = link_of(gate)
    assert gate.browser().get(link, headers={"sec-purpose": "prefetch;prerender"}).status_code == 503
    assert gate.browser().get(link).status_code == 303


def test_there_are_no_links_where_others_can_call_or_people_log_in_by_name(gate: Gated) -> None:
    store, provider = gate.house.store, {"name": "psc", "issuer": "https://psc.example", "client_id": "x"}
    with pytest.raises(SettingsError, match="one person on loopback"):
        new_link(store, Settings(host="0.0.0.0", api_token="x", public_url="https://ai.example.org"), Site())
    with pytest.raises(SettingsError, match="one person on loopback"):
        new_link(store, Settings(public_url="https://ai.example.org"), Site())
    with pytest.raises(SettingsError, match="by name"):
        new_link(store, Settings(), Site.model_validate({"access": {"providers": [provider]}}))


def test_beyond_loopback_the_page_asks_for_an_address_with_tls(tmp_path: Path) -> None:
    for public_url in ("", "http://ai.example.org"):
        settings = Settings(host="0.0.0.0", api_token="x", store=tmp_path, review=True, public_url=public_url)
        house = House(settings, Site(), Scoring(settings), Metrics())
        with pytest.raises(SettingsError, match="public_url must start with https"):
            Login(ReviewDesk(house))


def test_a_login_begins_a_new_session_whatever_cookie_came_along(gate: Gated) -> None:
    planted = "A" * 43
    browser = gate.browser({"diaphane": planted})
    browser.get(link_of(gate))
    assert Sessions(gate.house).find(planted) is None
    mine = login_for(gate.house, ["clinician"])
    answer = gate.browser(mine.cookies).get(link_of(gate))
    assert mine.token not in answer.headers["set-cookie"]
    assert Sessions(gate.house).find(mine.token) is None, "the session before has ended"


@pytest.mark.parametrize("onward", [
    "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/review//evil.example", "/%2Fevil.example",
    "/review\r\nset-cookie: a=b", "/review%0d%0aset-cookie:a=b", "javascript:alert(1)", "/review?next=https://evil.example/#x",
    "/reviewer", "/v1evil", " /review", "/review\t", "/review/" + "a" * 300, "", "/", "/../evil", "/review@evil.example",
    "/review/\u00e9", "///review", "http:/review", "/review/../metrics", "/v1/./models", "/review/a/..?x=1",
])
def test_the_way_on_after_a_login_leads_to_a_page_of_ours(gate: Gated, onward: str) -> None:
    assert own_path(onward) == "/review"
    mine = login_for(gate.house, ["clinician"])
    answer = gate.browser(mine.cookies).get("/review/login", params={"next": onward})
    assert (answer.status_code, answer.headers["location"]) == (303, "/review")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("onward", [
    "/review/studies/aZ_-9", "/review?urgency=3&state=new", "/v1/models/cxr-1.0.0/card", "/review/risks/k?x=%20",
])
def test_a_page_of_ours_is_found_again_after_the_login(onward: str) -> None:
    assert own_path(onward) == onward


SAID = ("/review/login?next={}", "/review/login?link={}", "/review/login/{}", "/review/callback?code={}&state={}",
        "/review/login?fresh={}", "/review/callback?error={}&error_description={}")


@pytest.mark.parametrize("text", [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'); alert(1); ('", "{{7777*7}}", "%3Cscript%3E",
])
def test_what_a_request_says_stands_on_no_page_as_markup(gate: Gated, text: str) -> None:
    for path in SAID:
        page = gate.browser().get(path.replace("{}", quote(text)), headers=PAGE).text
        assert text not in page
        assert "54439" not in page


def test_too_many_failures_from_an_address_are_not_listened_to_for_a_while(strict: Gated) -> None:
    browser = strict.browser()
    assert [browser.get("/review/callback?code=x&state=y").status_code for _ in range(21)] == [403] * 20 + [429]
    answer = browser.get("/review/callback?code=x&state=y", headers=PAGE)
    assert 0 < int(answer.headers["retry-after"]) <= 900
    assert "Too many" in answer.text


def test_guessing_links_ends_after_a_few_and_a_right_one_is_not_heard_either(strict: Gated) -> None:
    browser = strict.browser()
    assert [browser.get(f"/review/login?link=guess{number}").status_code for number in range(2)] == [403, 429]
    assert browser.get(link_of(strict)).status_code == 429
    other = strict.browser(address="127.0.0.2")
    assert other.get(link_of(strict)).status_code == 303, "another address is not locked out with it"


def test_guessing_tokens_of_the_api_ends_too(strict: Gated) -> None:
    def ask(token: object) -> int:
        return strict.client.get("/v1/models", headers={"authorization": f"Bearer {token}"}).status_code

    assert [ask(number) for number in range(21)] == [401] * 20 + [429]
    assert ask("the-right-one") == 429


def test_a_provider_that_does_not_answer_is_said_and_locks_nobody_out(tmp_path: Path) -> None:
    provider = {"name": "psc", "title": "Pro Santé Connect", "issuer": "http://127.0.0.1:9", "client_id": "x", "timeout_s": 2}
    with gated(tmp_path, {"providers": [provider], "lock_after": 1}) as house:
        page = house.client.get("/review/login", headers=PAGE)
        assert "Log in with Pro Santé Connect" in page.text
        for _ in range(6):
            answer = house.client.get("/review/login/psc", headers=PAGE)
            assert answer.status_code == 502
        assert "does not answer" in answer.text


def test_a_provider_without_tls_beyond_this_machine_is_refused_at_the_start(tmp_path: Path) -> None:
    provider = {"name": "kc", "issuer": "http://login.example.org", "client_id": "x"}
    with pytest.raises(SettingsError, match="must start with https"), gated(tmp_path, {"providers": [provider]}):
        pass


def test_changing_the_language_needs_no_login_but_a_page_of_ours(gate: Gated) -> None:
    browser = gate.browser()
    assert browser.post("/review/language", data={"language": "fr"}, headers={"origin": ORIGIN}).status_code == 200
    assert browser.post("/review/language", data={"language": "fr"}, headers={"origin": "https://evil.example"}).status_code == 403


def test_logging_out_asks_for_the_token_of_a_page(gate: Gated) -> None:
    someone = login_for(gate.house, ["clinician"])
    browser = gate.browser(someone.cookies)
    assert browser.post("/review/logout", headers={"origin": ORIGIN}).status_code == 403
    assert "Sign out" in browser.get("/review/logout", headers=PAGE).text
    answer = browser.post("/review/logout", data={"csrf": someone.csrf}, headers={"origin": ORIGIN})
    assert (answer.status_code, answer.headers["clear-site-data"]) == (200, '"cache"')
    assert Sessions(gate.house).find(someone.token) is None
    assert "You are signed out" in gate.browser().get("/review/logout", headers=PAGE).text
