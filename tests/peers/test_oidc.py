"""People log in with a real OpenID provider, by the code flow with PKCE; what it or somebody in its name falsifies is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import select

from service.store.review_tables import AuditLine
from tests.peers.oidc import CLIENT, SECRET, SIGNED_CLIENT, OpenId, needs_provider, openid
from tests.service.access.gated import PAGE, Gated, gated
from tests.service.access.make_login import ORIGIN

pytestmark = needs_provider
ACCESS: dict[str, Any] = {
    "lock_after": 1000,
    "grants": [
        {"provider": "psc", "claim": "SubjectRefPro.exercices.codeSavoirFaire", "values": ["SM44"], "roles": ["radiologist"],
         "departments": ["Radiology"]},
        {"provider": "hospital", "claim": "groups", "values": ["/radiology/doctors"], "roles": ["clinician"], "models": ["cxr"]},
        {"provider": "hospital", "claim": "realm_access.roles", "values": ["diaphane-dpo"], "roles": ["dpo"]},
    ],
}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenId]:
    with openid(tmp_path_factory.mktemp("openid"), ORIGIN) as running:
        yield running


@pytest.fixture(scope="module")
def gate(provider: OpenId, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    one = {"issuer": provider.issuer, "client_secret": SECRET}
    providers = [{**one, "name": "psc", "title": "Pro Santé Connect", "client_id": CLIENT, "acr": "eidas1"},
                 {**one, "name": "hospital", "client_id": SIGNED_CLIENT}]
    with gated(tmp_path_factory.mktemp("gated"), {**ACCESS, "providers": providers}) as house:
        yield house


@pytest.fixture
def straight(provider: OpenId) -> Iterator[OpenId]:
    """The provider, which says the truth again afterwards."""
    provider.twist()
    provider.login("psc")
    yield provider
    provider.twist()
    provider.login("psc")


def begin(gate: Gated, name: str = "psc", onward: str = "/review/studies/k") -> tuple[Any, str]:
    """Begin a login; return the browser and where it is sent."""
    browser = gate.browser()
    answer = browser.get(f"/review/login/{name}", params={"next": onward})
    assert answer.status_code == 303
    return browser, answer.headers["location"]


def test_the_question_asks_for_a_code_with_pkce_state_nonce_and_acr(gate: Gated) -> None:
    _, url = begin(gate)
    told = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert told["response_type"] == "code"
    assert told["code_challenge_method"] == "S256"
    assert told["acr_values"] == "eidas1"
    assert told["redirect_uri"] == f"{ORIGIN}/review/callback"
    assert min(len(told[name]) for name in ("state", "nonce", "code_challenge")) == 43


def test_a_radiologist_logs_in_with_pro_sante_connect(gate: Gated, straight: OpenId) -> None:
    browser, url = begin(gate)
    answer = browser.get(straight.visit(url), headers=PAGE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/review/studies/k")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert browser.get("/review/studies/k").json()["subject"] == "rpps:99700000001"
    caller = gate.login.sessions.find(browser.cookies["diaphane"]).caller  # type: ignore[union-attr]
    assert (caller.name, caller.rpps) == ("CAMILLE ESSAI", "99700000001")
    assert (caller.profession, caller.structure) == ("Médecin", "HOPITAL ESSAI")
    assert (caller.roles, caller.departments, caller.models) == ({"radiologist"}, {"Radiology"}, None)


def test_a_doctor_logs_in_with_keycloak_whose_userinfo_is_signed(gate: Gated, straight: OpenId) -> None:
    straight.login("keycloak")
    browser, url = begin(gate, "hospital")
    assert browser.get(straight.visit(url)).status_code == 303
    caller = gate.login.sessions.find(browser.cookies["diaphane"]).caller  # type: ignore[union-attr]
    assert (caller.subject, caller.name, caller.rpps) == ("oidc:hospital:keycloak", "Dominique Essai", "")
    assert caller.roles == {"clinician", "dpo"}
    assert caller.may("study", model="cxr-1.0.0")
    assert not caller.may("study", model="icu_mortality-1.0.0")
    assert caller.may("audit")


def test_a_fresh_login_is_asked_for_and_believed_as_far_as_the_provider_says(gate: Gated, straight: OpenId) -> None:
    browser = gate.browser()
    url = browser.get("/review/login/psc", params={"fresh": "1"}).headers["location"]
    told = parse_qs(urlsplit(url).query)
    assert (told["prompt"], told["max_age"]) == (["login"], ["0"])
    straight.twist(claims={"auth_time": int(time.time()) - 3600})
    browser.get(straight.visit(url))
    caller = gate.login.sessions.find(browser.cookies["diaphane"]).caller  # type: ignore[union-attr]
    assert not caller.is_fresh(59)
    assert caller.is_fresh(61)


def test_whom_no_grant_names_gets_a_page_that_says_so_and_no_session(gate: Gated, straight: OpenId) -> None:
    straight.login("stranger")
    browser, url = begin(gate, "hospital")
    answer = browser.get(straight.visit(url), headers=PAGE)
    assert answer.status_code == 403
    assert "no role" in answer.text
    assert "diaphane" not in browser.cookies
    assert browser.get("/review/studies/k").status_code == 401


def test_logging_out_ends_the_session_here_and_leads_to_the_provider(gate: Gated, straight: OpenId) -> None:
    browser, url = begin(gate)
    browser.get(straight.visit(url))
    cookie = browser.cookies["diaphane"]
    csrf = gate.login.sessions.find(cookie).csrf  # type: ignore[union-attr]
    answer = browser.post("/review/logout", data={"csrf": csrf}, headers={"origin": ORIGIN})
    there = answer.headers["refresh"].removeprefix("1; url=")
    told = parse_qs(urlsplit(there).query)
    assert told["post_logout_redirect_uri"] == [f"{ORIGIN}/review/logout"]
    assert len(told["id_token_hint"][0].split(".")) == 3
    assert straight.http.get(there).status_code == 200  # it knows the hint, the client and the address
    assert gate.browser({"diaphane": cookie}).get("/review/studies/k").status_code == 401


TWISTS: list[tuple[str, str, dict[str, Any]]] = [  # what is falsified, the rule that notices, how
    ("nonce", "nonce", {"claims": {"nonce": "another"}}), ("no nonce", "nonce", {"claims": {"nonce": None}}),
    ("iss", "iss", {"claims": {"iss": "https://elsewhere.example"}}), ("aud", "aud", {"claims": {"aud": "another-client"}}),
    ("several aud without azp", "azp", {"claims": {"aud": [CLIENT, "another-client"]}}),
    ("azp", "azp", {"claims": {"azp": "another-client"}}),
    ("acr", "acr", {"claims": {"acr": "eidas0"}}), ("no acr", "acr", {"claims": {"acr": None}}),
    ("exp", "expired", {"claims": {"exp": 1_700_000_000}}), ("no exp", "exp", {"claims": {"exp": None}}),
    ("iat in the future", "iat", {"claims": {"iat": 4_000_000_000}}), ("iat long ago", "iat", {"claims": {"iat": 1_600_000_000}}),
    ("nbf", "iat", {"claims": {"nbf": 4_000_000_000}}), ("sub", "userinfo", {"claims": {"sub": "keycloak"}}),
    ("no sub", "sub", {"claims": {"sub": None}}), ("at_hash", "at_hash", {"claims": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}}),
    ("kid", "key", {"header": {"kid": "another"}}), ("no kid", "kid", {"header": {"kid": ""}}),
    ("jku", "header", {"header": {"jku": "http://127.0.0.1:9/jwks"}}), ("alg none", "form", {"none": True}),
    ("another key", "signature", {"key": "other"}), ("access token", "userinfo", {"access_token": "another"}),
]


@pytest.mark.parametrize(("rule", "twist"), [one[1:] for one in TWISTS], ids=[one[0] for one in TWISTS])
def test_an_id_token_that_is_not_the_answer_to_our_question_logs_nobody_in(gate: Gated, straight: OpenId, rule: str,
                                                                           twist: dict[str, Any]) -> None:
    browser, url = begin(gate)
    straight.twist(**twist)
    answer = browser.get(straight.visit(url), headers=PAGE)
    assert answer.status_code == 403, answer.text
    assert "diaphane" not in browser.cookies
    with gate.house.store.reading() as session:
        line = session.scalars(select(AuditLine).order_by(AuditLine.id.desc())).first()
    assert (line.outcome, line.detail["reason"]) == ("failed", rule)  # type: ignore[union-attr]


def test_a_weaker_login_than_the_site_demands_is_refused(gate: Gated, straight: OpenId) -> None:
    straight.login("psc", acr="eidas0")
    browser, url = begin(gate)
    straight.twist(claims={"acr": "eidas0"})
    answer = browser.get(straight.visit(url), headers=PAGE)
    assert "stronger login" in answer.text


def test_an_answer_counts_once_in_the_browser_that_asked(gate: Gated, straight: OpenId) -> None:
    browser, url = begin(gate)
    back = straight.visit(url)
    other, _ = begin(gate)
    assert gate.browser().get(back, headers=PAGE).status_code == 403
    assert other.get(back, headers=PAGE).status_code == 403
    before = dict(browser.cookies)
    assert browser.get(back).status_code == 303, "what others tried with it has not used it up"
    assert gate.browser(before).get(back, headers=PAGE).status_code == 403


@pytest.mark.parametrize("change", [
    lambda back: back.replace("state=", "state=A"), lambda back: back.replace("state=", "other="), lambda back: back + "&state=x",
    lambda back: back.replace("iss=http", "iss=https"), lambda back: back.replace("&iss=", "&other="), lambda back: back + "&code=x",
    lambda back: back.replace("code=", "code=A"), lambda back: back.replace("code=", "other="),
    lambda back: back + "&error=access_denied",
], ids=range(9))
def test_an_answer_that_was_changed_on_its_way_logs_nobody_in(gate: Gated, straight: OpenId, change: Any) -> None:
    browser, url = begin(gate)
    back = change(straight.visit(url))
    answer = browser.get(back, headers=PAGE)
    assert answer.status_code == 403
    assert "diaphane" not in browser.cookies


def test_the_code_of_one_login_does_not_serve_another(gate: Gated, straight: OpenId) -> None:
    _, attackers = begin(gate)
    browser, url = begin(gate)
    theirs, mine = (parse_qs(urlsplit(straight.visit(one)).query) for one in (attackers, url))
    injected = browser.get("/review/callback", params={"code": theirs["code"][0], "state": mine["state"][0], "iss": mine["iss"][0]})
    assert injected.status_code == 403


def test_a_login_begins_a_new_session_and_ends_the_one_before(gate: Gated, straight: OpenId) -> None:
    browser, url = begin(gate)
    browser.get(straight.visit(url))
    first = browser.cookies["diaphane"]
    fixed = gate.browser({"diaphane": first})
    answer = fixed.get("/review/login/psc", params={"next": "/review"})
    fixed.get(straight.visit(answer.headers["location"]))
    assert first not in {cookie.value for cookie in fixed.cookies.jar if cookie.domain}
    assert gate.browser({"diaphane": first}).get("/review/studies/k").status_code == 401


def test_logins_and_failures_stand_in_the_audit(gate: Gated, straight: OpenId) -> None:
    browser, url = begin(gate)
    browser.get(straight.visit(url))
    gate.browser().get("/review/callback?code=x&state=y")
    with gate.house.store.reading() as session:
        lines = session.scalars(select(AuditLine).where(AuditLine.action == "login")).all()
    told = {(line.actor, line.outcome, line.detail.get("reason", ""), line.detail.get("provider", "")) for line in lines}
    assert ("rpps:99700000001", "success", "", "psc") in told
    assert ("anonymous", "failed", "state", "") in told
