"""The Gate: nobody passes who did not say who they are, and nobody changes anything from another site."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from service.access.policy import ANYBODY, PERMISSIONS, ROLES, Role, opens
from service.store.review_tables import AuditLine
from tests.service.access.gated import FORM, PAGE, SECRET_WORDS, Gated, gated
from tests.service.access.make_login import ORIGIN, login_for
from tests.service.cds_hooks import signing

TOKEN = "a-token-of-the-settings"
MACHINE = "https://pacs.example"
BASE = ORIGIN
EVERYTHING = [
    ("GET", "/"), ("GET", "/review"), ("GET", "/metrics"), ("GET", "/v1/models"), ("GET", "/review/studies/k"),
    ("GET", "/dicom-web/studies"), ("GET", "/fhir/metadata"), ("GET", "/cds-services"), ("GET", "/review/forgotten"),
    ("GET", "/review/events"), ("POST", "/v1/images"), ("POST", "/review/studies/k/verdict"), ("POST", "/cds-services/one"),
    ("GET", "/review/sessions"), ("POST", "/review/sessions"), ("POST", "/review/logout"), ("GET", "/nowhere"), ("PUT", "/v1/images"),
    ("DELETE", "/review/studies/k"), ("TRACE", "/review"), ("GET", "//review"), ("GET", "/review/"), ("GET", "/review/studies/k/"),
]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    folder = tmp_path_factory.mktemp("gate")
    access = {"machines": [{"iss": MACHINE, "jwks": str(signing.jwks_file(folder))},
                           {"iss": "https://viewer.example", "jwks": str(signing.jwks_file(folder)), "roles": ["clinician"]}],
              "lock_after": 10_000}
    with gated(folder, access, api_token=TOKEN, public_url=BASE) as house:
        yield house


SHOWN: list[dict[str, str]] = [
    {}, {"authorization": "Bearer wrong"}, {"authorization": "Basic dXNlcjpwYXNz"}, {"authorization": "Bearer "},
    {"authorization": f"bearer {TOKEN}"}, {"cookie": "diaphane="}, {"cookie": "diaphane=" + "A" * 43},
    {"cookie": "__Host-diaphane=" + "A" * 43},
]


@pytest.mark.parametrize("shown", SHOWN, ids=lambda one: next(iter(one.values()), "nothing")[:20])
def test_who_shows_nothing_that_holds_reaches_nothing(gate: Gated, shown: dict[str, str]) -> None:
    gate.reached.clear()
    for method, path in EVERYTHING if not shown else EVERYTHING[::3]:
        answer = gate.client.request(method, ORIGIN + path, headers=shown)
        assert answer.status_code in (401, 403), (method, path, answer.text)
        assert SECRET_WORDS not in answer.text
    assert gate.reached == []


@pytest.mark.parametrize("path", ["/", "/review", "/review/studies/k", "/v1/models"])
def test_a_browser_is_sent_to_the_login_and_back_to_the_page_it_wanted(gate: Gated, path: str) -> None:
    answer = gate.client.get(path, headers=PAGE)
    wanted = "" if path == "/" else "?next=" + path.replace("/", "%2F")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/review/login{wanted}")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_what_the_table_says_and_nothing_else(gate: Gated, role: Role) -> None:
    someone = login_for(gate.house, [role])
    browser = gate.browser(someone.cookies)
    for method, path in (("GET", "/review"), ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/dicom-web/studies"),
                         ("GET", "/fhir/metadata"), ("POST", "/v1/images"), ("GET", "/")):
        answer, rule = browser.request(method, path, headers=someone.headers), opens(method, path)
        allowed = rule == ANYBODY or not PERMISSIONS[role].isdisjoint(rule or ())
        assert answer.status_code == (200 if allowed else 403), (role, path)
        assert (SECRET_WORDS in answer.text) == allowed


def test_an_address_that_is_not_in_the_table_is_closed_to_everybody(gate: Gated) -> None:
    someone = login_for(gate.house, ROLES)
    assert gate.browser(someone.cookies).get("/review/forgotten").status_code == 403


def test_a_denied_page_is_a_page_and_a_denied_call_is_a_problem(gate: Gated) -> None:
    browser = gate.browser(login_for(gate.house, ["engineer"]).cookies)
    page, call = browser.get("/review", headers=PAGE), browser.get("/review")
    assert (page.status_code, call.status_code) == (403, 403)
    assert "Your roles do not allow this" in page.text
    assert "<html" in page.text
    assert call.json()["code"] == "forbidden"


def test_denials_stand_in_the_audit_with_who_and_what(gate: Gated) -> None:
    someone = login_for(gate.house, ["dpo"], subject="oidc:test:denied")
    gate.browser(someone.cookies).get("/review/studies/k")
    lines = [line for line in audited(gate) if line.actor == "oidc:test:denied"]
    assert [(line.action, line.outcome, line.detail["route"]) for line in lines] == [("denied", "denied", "/review/studies/{}")]


def audited(gate: Gated) -> list[Any]:
    gate.house.audit.flush()
    with gate.house.store.reading() as session:
        return list(session.scalars(select(AuditLine).order_by(AuditLine.id)))


CHANGES: list[tuple[str, dict[str, str | None], int]] = [
    ("all as a page of ours sends it", {}, 200),
    ("an old browser without Sec-Fetch-Site", {"sec-fetch-site": None}, 200),
    ("a browser that sends no Origin", {"origin": None}, 200),
    ("neither Origin nor Sec-Fetch-Site", {"origin": None, "sec-fetch-site": None}, 403),
    ("another site", {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}, 403),
    ("another site that says it is ours", {"origin": "https://evil.example"}, 403),
    ("a sandboxed frame", {"origin": "null"}, 403),
    ("another port", {"origin": "http://127.0.0.1:3001", "sec-fetch-site": "same-site"}, 403),
    ("another scheme", {"origin": "https://127.0.0.1:3000"}, 403),
    ("our name as a part", {"origin": "http://127.0.0.1:3000.evil.example"}, 403),
    ("another part of the site", {"sec-fetch-site": "same-site"}, 403),
    ("typed by the user", {"sec-fetch-site": "none"}, 403),
    ("no token", {"x-csrf-token": None}, 403),
    ("another token", {"x-csrf-token": "A" * 43}, 403),
    ("an empty token", {"x-csrf-token": ""}, 403),
]


@pytest.mark.parametrize(("changed", "status"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES])
def test_a_change_comes_from_a_page_of_ours_with_its_token(gate: Gated, changed: dict[str, str | None], status: int) -> None:
    someone = login_for(gate.house, ["system"])
    headers = {name: value for name, value in {**someone.headers, **changed}.items() if value is not None}
    answer = gate.browser(someone.cookies).post("/v1/images", headers=headers, content=b"x")
    assert answer.status_code == status
    assert (SECRET_WORDS in answer.text) == (status == 200)


@pytest.mark.parametrize(("body", "status"), [
    ("csrf={csrf}&finding=a%20b", 200), ("finding=a&csrf={csrf}", 200), ("csrf={csrf}&csrf={csrf}", 403), ("csrf=", 403), ("", 403),
    ("csrf={other}", 403), ("CSRF={csrf}", 403), ("a=%FF%FE&b=%00", 403),
])
def test_a_form_brings_its_token_as_a_field_and_arrives_whole(gate: Gated, body: str, status: int) -> None:
    someone = login_for(gate.house, ["system"])
    headers = {**FORM, **{name: someone.headers[name] for name in ("origin", "sec-fetch-site")}}
    told = body.format(csrf=someone.csrf, other=login_for(gate.house).csrf)
    answer = gate.browser(someone.cookies).post("/v1/images", headers=headers, content=told)
    assert answer.status_code == status
    if status == 200:
        assert answer.json()["body"] == told


def test_a_token_of_another_content_type_counts_in_the_header_alone(gate: Gated) -> None:
    someone = login_for(gate.house, ["system"])
    headers = {"content-type": "text/plain", **{name: someone.headers[name] for name in ("origin", "sec-fetch-site")}}
    answer = gate.browser(someone.cookies).post("/v1/images", headers=headers, content=f"csrf={someone.csrf}")
    assert answer.status_code == 403


@pytest.mark.parametrize(("headers", "status"), [
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),  # a link in the record
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
    ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
    ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
    ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
    ({}, 200),
])
def test_other_sites_may_link_to_a_page_but_embed_nothing(gate: Gated, headers: dict[str, str], status: int) -> None:
    browser = gate.browser(login_for(gate.house, ["clinician"]).cookies)
    assert browser.get("/review", headers=headers).status_code == status


@pytest.mark.parametrize("host", [
    "evil.example", "127.0.0.1.evil.example", "evil.example:3000", "localhost.evil.example", "127.0.0.1:3000@evil.example", "",
    "127.0.0.1:3000\tx", "2130706433", "[::ffff:127.0.0.1]", "127.0.0.1:3000,evil.example",
])
def test_under_another_name_nothing_is_answered(gate: Gated, host: str) -> None:
    someone = login_for(gate.house, ["clinician"])
    for path in ("/review", "/review/login", "/review/callback"):
        answer = gate.browser(someone.cookies).get(path, headers={**PAGE, "host": host})
        assert answer.status_code == 421, path
        assert "evil" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "LOCALHOST:3000", "[::1]:3000"])
def test_on_loopback_every_name_of_this_machine_is_ours(gate: Gated, host: str) -> None:
    assert gate.browser(login_for(gate.house, ["clinician"]).cookies).get("/review", headers={"host": host}).status_code == 200


def test_a_cookie_that_stands_twice_counts_for_nothing(gate: Gated) -> None:
    mine, theirs = login_for(gate.house, ["clinician"]), login_for(gate.house, ["clinician"], subject="oidc:test:2")
    for cookie in (f"diaphane={mine.token}; diaphane={theirs.token}", f"diaphane={theirs.token}; diaphane={mine.token}",
                   f"diaphane={mine.token}; diaphane={mine.token}"):
        assert gate.client.get("/review", headers={"cookie": cookie}).status_code == 401


def test_every_answer_bears_the_headers_that_keep_pages_safe(gate: Gated) -> None:
    someone = gate.browser(login_for(gate.house, ["clinician"]).cookies)
    for answer in (someone.get("/review"), someone.get("/review/login", headers=PAGE), gate.client.get("/review"),
                   someone.get("/nowhere"), gate.client.get("/v1/models"), someone.get("/review", headers={"host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


def test_the_api_token_opens_the_api_and_no_page(gate: Gated) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    for path in ("/v1/models", "/dicom-web/studies", "/fhir/metadata", "/metrics", "/cds-services"):
        assert gate.client.get(path, headers=headers).status_code == 200
    for path in ("/review", "/review/studies/k"):
        assert gate.client.get(path, headers=headers).status_code == 403
    assert gate.client.post("/v1/images", headers=headers).json()["subject"] == "machine:api_token"


def test_a_token_counts_before_a_cookie_so_that_one_that_does_not_hold_ends_it(gate: Gated) -> None:
    someone = login_for(gate.house, ["clinician"])
    assert gate.browser(someone.cookies).get("/review", headers={"authorization": "Bearer wrong"}).status_code == 401


def test_a_machine_signs_each_call_anew(gate: Gated) -> None:
    signed = signing.token(BASE, iss=MACHINE)
    first, again = (gate.client.get("/v1/models", headers={"authorization": f"Bearer {signed}"}) for _ in range(2))
    assert (first.status_code, again.status_code) == (200, 401)
    assert first.json()["subject"] == f"machine:{MACHINE}"


def test_a_machine_has_the_roles_of_the_site_file(gate: Gated) -> None:
    def ask(path: str) -> int:
        signed = signing.token(BASE, iss="https://viewer.example")
        return gate.client.get(path, headers={"authorization": f"Bearer {signed}"}).status_code

    assert (ask("/review"), ask("/dicom-web/studies")) == (200, 403)


@pytest.mark.parametrize("broken", [
    {"iss": "https://other.example"}, {"aud": "https://elsewhere.example"}, {"aud": [BASE, "https://elsewhere.example"]},
    {"exp": 1}, {"life": 301}, {"jti": None}, {"iat": None}, {"header": {"kid": "other"}}, {"header": {"jku": "https://evil.example"}},
    {"header": {"alg": "none"}}, {"key": "intruder"},
], ids=str)
def test_a_machine_whose_token_does_not_hold_gets_nothing(gate: Gated, broken: dict[str, Any]) -> None:
    told = {"iss": MACHINE, **broken}
    if "life" in told:
        now = int(time.time())
        told |= {"iat": now, "exp": now + told.pop("life")}
    url = told.pop("aud", BASE)
    if "key" in told:
        told["key"] = signing.key_of("intruder")
    if told.get("header", {}).get("alg") == "none":
        signed = signing.raw({"alg": "none", "typ": "JWT", "kid": signing.KID}, signing.claims(BASE, iss=MACHINE), signature=b"")
        signed = signed.rstrip(".") + "."
    else:
        signed = signing.token(url, **told)
    answer = gate.client.get("/v1/models", headers={"authorization": f"Bearer {signed}"})
    assert answer.status_code == 401
    assert SECRET_WORDS not in answer.text
