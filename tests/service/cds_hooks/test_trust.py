"""Who may call: over HTTP a token of a known client opens each address once; nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.cds_hooks.keys import fetch
from service.outbound.wire import WireError
from service.settings import SettingsError
from service.store.hooks import see_token
from service.store.store import Store
from tests.make import icu_bundle
from tests.service.cds_hooks.cds_house import ICU, PLACE, CdsHouse, call, cds_house, only, prefetch_of
from tests.service.cds_hooks.signing import BASE, ISS, jwk_of, jwks, jwks_file, key_of, token


def bearer(path: str, **changed: object) -> dict[str, str]:
    return {"authorization": f"Bearer {token(BASE + path, **changed)}"}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CdsHouse]:
    folder = tmp_path_factory.mktemp("guarded")
    site = f'[[cds_clients]]\niss = "{ISS}"\njwks = "{jwks_file(folder, jwk_of(key_of()))}"\ntenants = ["north"]\n'
    with cds_house(folder, only(folder, "icu_mortality"), site=site, public_url=BASE) as house:
        yield house


def test_every_address_asks_for_a_token(guarded: CdsHouse) -> None:
    for answer in (guarded.client.get("/cds-services"), guarded.client.post(f"/cds-services/{ICU}", json={}),
                   guarded.client.post(f"/cds-services/{ICU}/feedback", json={})):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["code"] == "no_token"


def test_a_token_opens_its_own_address_alone_and_once(guarded: CdsHouse) -> None:
    headers = bearer("/cds-services", tenant="north")
    assert guarded.client.post(f"/cds-services/{ICU}", json={}, headers=headers).status_code == 401
    assert guarded.client.get("/cds-services", headers=headers).status_code == 200
    assert guarded.client.get("/cds-services", headers=headers).status_code == 401


def test_cards_and_feedback_are_given_to_a_known_client(guarded: CdsHouse) -> None:
    services = guarded.client.get("/cds-services", headers=bearer("/cds-services", tenant="north")).json()["services"]
    service = next(one for one in services if one["id"] == ICU)
    told = call("patient-view", PLACE, prefetch_of(icu_bundle(), service, PLACE))
    answer = guarded.client.post(f"/cds-services/{ICU}", json=told, headers=bearer(f"/cds-services/{ICU}", tenant="north"))
    assert answer.status_code == 200
    outcome = {"card": answer.json()["cards"][0]["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-11-22T10:00:00Z"}
    path = f"/cds-services/{ICU}/feedback"
    assert guarded.client.post(path, json={"feedback": [outcome]}, headers=bearer(path, tenant="north")).status_code == 200


def test_the_host_a_caller_names_changes_nothing(guarded: CdsHouse) -> None:
    told = token("http://evil.example/cds-services", tenant="north")
    headers = {"authorization": f"Bearer {told}", "host": "evil.example", "x-forwarded-host": "evil.example"}
    assert guarded.client.get("/cds-services", headers=headers).status_code == 401


def test_refused_calls_are_counted_by_rule(guarded: CdsHouse) -> None:
    guarded.client.get("/cds-services", headers=bearer("/cds-services", tenant="south"))
    assert 'diaphane_cds_refused_calls_total{rule="tenant"}' in guarded.client.get("/metrics").text


def test_a_token_counts_once_in_all_processes_and_at_the_same_time(tmp_path: Path) -> None:
    folder = tmp_path
    with cds_house(folder, only(folder)) as house:
        stores = [Store.open(house.house.settings) for _ in range(4)]

        def see(number: int) -> bool:
            with stores[number % 4].session() as session:
                return see_token(session, ISS, "one", 2e9, 1e9)

        with ThreadPoolExecutor(8) as threads:
            seen = list(threads.map(see, range(32)))
        for store in stores:
            store.close()
    assert seen.count(False) == 1


def test_tokens_that_have_ended_are_forgotten(tmp_path: Path) -> None:
    with cds_house(tmp_path, only(tmp_path)) as house, house.house.store.session() as session:
        assert not see_token(session, ISS, "one", 100.0, 50.0)
        assert see_token(session, ISS, "one", 100.0, 99.0)
        assert not see_token(session, ISS, "one", 300.0, 200.0)


def test_without_clients_only_this_machine_may_call(tmp_path: Path) -> None:
    with cds_house(tmp_path, only(tmp_path), host="0.0.0.0", api_token="x" * 20) as house:
        answer = house.client.get("/cds-services")
    assert (answer.status_code, answer.json()["code"]) == (401, "no_token")


def test_where_a_token_is_set_cards_ask_for_it_too(tmp_path: Path) -> None:
    with cds_house(tmp_path, only(tmp_path), api_token="x" * 20) as house:
        told = [house.client.get("/cds-services", headers={"authorization": f"Bearer {token}"}).status_code
                for token in ("", "y" * 20, "x" * 20)]
    assert told == [401, 401, 200]


def test_clients_need_our_public_address(tmp_path: Path) -> None:
    site = f'[[cds_clients]]\niss = "{ISS}"\njwks = "{jwks_file(tmp_path)}"\n'
    with pytest.raises(SettingsError, match="public_url"), cds_house(tmp_path, only(tmp_path), site=site):
        pass


def test_two_clients_cannot_share_an_iss(tmp_path: Path) -> None:
    client = f'[[cds_clients]]\niss = "{ISS}"\njwks = "{jwks_file(tmp_path)}"\n'
    with pytest.raises(SettingsError, match="iss"), cds_house(tmp_path, only(tmp_path), site=2 * client, public_url=BASE):
        pass


class Web:
    """A client's web site: its key set, and an address that leads to another one."""

    def __init__(self) -> None:
        web = self
        self.asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.asked.append(self.path)
                self.send_response(302 if self.path == "/moved" else 200)
                self.send_header("location", "/jwks.json")
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(jwks())

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join(5)
        self.server.server_close()


@pytest.fixture
def web() -> Iterator[Web]:
    opened = Web()
    yield opened
    opened.close()


def test_keys_are_fetched_from_their_address_and_no_redirect_is_followed(web: Web) -> None:
    assert fetch(f"{web.base}/jwks.json")["keys"][0]["kid"] == "key-1"
    with pytest.raises(WireError, match="redirect"):
        fetch(f"{web.base}/moved")
    assert web.asked == ["/jwks.json", "/moved"]
