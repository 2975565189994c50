"""Keys come from where the site file says, are kept, and follow a client that changes them."""

from __future__ import annotations

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from service.cds_hooks.keys import FRESH_S, MAX_KEYS, PAUSE_S, STALE_S, Client, Keys, NoKey, usable
from tests.service.cds_hooks.signing import ISS, JKU, KID, jwk_of, jwks, jwks_file, key_of


class Site:
    """A client's web site whose keys change, and a clock."""

    def __init__(self) -> None:
        self.now, self.asked, self.answer = 0.0, 0, jwks(jwk_of(key_of()))
        self.down = False
        self.keys = Keys(self.fetch, lambda: self.now)

    def fetch(self, _: str) -> Any:
        self.asked += 1
        if self.down:
            raise OSError
        return json.loads(self.answer)

    def key(self, kid: str = KID) -> object:
        return self.keys.of(Client(ISS, (JKU,)), kid=kid, alg="ES384", jku=None)


def test_keys_are_fetched_once_and_kept() -> None:
    site = Site()
    for _ in range(5):
        site.key()
    assert 1 == site.asked


def test_a_new_kid_is_looked_for_at_once() -> None:
    site = Site()
    site.key()
    site.now, site.answer = PAUSE_S + 1, jwks(jwk_of(key_of("next"), kid="next"))
    site.key("next")
    with pytest.raises(NoKey):
        site.key()


def test_unknown_kids_do_not_make_us_ask_a_client_again_and_again() -> None:
    site = Site()
    for number in range(50):
        with pytest.raises(NoKey):
            site.key(f"unknown-{number}")
    assert 1 == site.asked


def test_known_keys_outlast_a_client_that_does_not_answer_for_a_day() -> None:
    site = Site()
    site.key()
    site.down, site.now = True, FRESH_S + 1
    site.key()
    assert 2 == site.asked
    site.now = STALE_S + 1
    with pytest.raises(NoKey):
        site.key()


def test_a_key_that_was_withdrawn_is_not_used_after_an_hour() -> None:
    site = Site()
    site.key()
    site.answer, site.now = jwks(jwk_of(key_of("next"), kid="next")), FRESH_S + 1
    with pytest.raises(NoKey):
        site.key()


def test_keys_may_come_from_a_file_and_its_change_is_seen(tmp_path: Path) -> None:
    path, now = jwks_file(tmp_path), [0.0]
    keys = Keys(_never, lambda: now[0])
    client = Client(ISS, jwks=path)
    keys.of(client, kid=KID, alg="ES384", jku=None)
    jwks_file(tmp_path, jwk_of(key_of("next"), kid="next"))
    now[0] = PAUSE_S + 1
    keys.of(client, kid="next", alg="ES384", jku=None)


def test_a_client_with_a_file_may_not_name_an_address(tmp_path: Path) -> None:
    with pytest.raises(NoKey, match="jku"):
        Keys(_never).of(Client(ISS, jwks=jwks_file(tmp_path)), kid=KID, alg="ES384", jku=JKU)


def test_a_client_with_several_addresses_must_name_one() -> None:
    with pytest.raises(NoKey, match="jku"):
        Keys(_never).of(Client(ISS, (JKU, JKU + "2")), kid=KID, alg="ES384", jku=None)


@pytest.mark.parametrize("told", [None, [], {}, {"keys": {}}, {"keys": [{}] * (MAX_KEYS + 1)}, "text", 1])
def test_what_is_no_key_set_is_refused(told: object) -> None:
    with pytest.raises(ValueError, match="key set"):
        usable(told)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff", b" " * 300_000, b"-----BEGIN PUBLIC KEY-----"])
def test_a_file_without_keys_means_no_key(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "jwks.json").write_bytes(text)
    with pytest.raises(NoKey):
        Keys(_never).of(Client(ISS, jwks=tmp_path / "jwks.json"), kid=KID, alg="ES384", jku=None)


def test_a_file_that_is_away_means_no_key(tmp_path: Path) -> None:
    with pytest.raises(NoKey):
        Keys(_never).of(Client(ISS, jwks=tmp_path / f"none-{os.getpid()}"), kid=KID, alg="ES384", jku=None)


def _never(url: str) -> bytes:
    raise AssertionError(f"fetched {url}")


def test_a_known_key_does_not_wait_for_a_client_that_answers_slowly() -> None:
    site, asked, answers = Site(), threading.Event(), threading.Event()
    site.key()

    def slow(_: str) -> Any:
        asked.set()
        answers.wait(30)
        return json.loads(site.answer)

    site.now, site.keys._fetch = PAUSE_S + 1, slow
    with ThreadPoolExecutor(2) as threads:
        unknown = threads.submit(site.key, "unknown")
        try:
            assert asked.wait(10)
            assert threads.submit(site.key).result(10)
            assert not unknown.done()
        finally:
            answers.set()
        with pytest.raises(NoKey):
            unknown.result(10)
