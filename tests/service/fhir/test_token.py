"""Tokens by SMART backend services: a signed assertion for the token address alone, kept, renewed once when refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr

from service.fhir.client import FhirClient, FhirServerError
from service.fhir.token import TokenError, Tokens, assertion
from service.settings import SettingsError
from service.site import FhirServer
from tests.service.fhir.site_server import Asked, Said, site_server

P384 = ec.generate_private_key(ec.SECP384R1())
RSA_2048 = rsa.generate_private_key(65537, 2048)


def key_file(folder: Path, key: Any) -> Path:
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


def backend(folder: Path, token_url: str, *, key: Any = P384, url: str = "http://localhost:1/fhir") -> FhirServer:
    return FhirServer(url=url, auth="backend", client_id="diaphane", key=key_file(folder, key), key_id="k1", token_url=token_url,
                      scope="system/*.rs")


@pytest.mark.parametrize(("key", "algorithm"), [(P384, "ES384"), (RSA_2048, "RS384")])
def test_the_assertion_is_what_the_profile_asks_for(key: Any, algorithm: str, tmp_path: Path) -> None:
    told = assertion(backend(tmp_path, "https://auth.hospital.example/token", key=key))
    claims = jwt.decode(told, key.public_key(), algorithms=[algorithm], audience="https://auth.hospital.example/token")
    assert {"alg": algorithm, "kid": "k1", "typ": "JWT"} == jwt.get_unverified_header(told)
    assert ("diaphane", "diaphane") == (claims["iss"], claims["sub"])
    assert 0 < claims["exp"] - time.time() <= 300
    again = jwt.decode(assertion(backend(tmp_path, "https://x.example", key=key)), options={"verify_signature": False})
    assert claims["jti"] != again["jti"]


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)])
def test_a_weak_or_other_key_is_refused_by_name(key: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"fhir_server\.key must name a PEM file .* found another kind"):
        assertion(backend(tmp_path, "https://auth.hospital.example/token", key=key))


def test_a_key_that_cannot_be_read_says_no_path(tmp_path: Path) -> None:
    server = backend(tmp_path, "https://auth.hospital.example/token")
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(SettingsError) as caught:
        assertion(server)
    assert str(tmp_path) not in str(caught.value)


def gives(*, lasts_s: float = 300, token: str = "t") -> tuple[list[Asked], Any]:
    asked: list[Asked] = []

    def answers(one: Asked) -> Said:
        asked.append(one)
        told = {"access_token": f"{token}{len(asked)}", "token_type": "bearer", "expires_in": lasts_s}
        return Said(told, headers={"Content-Type": "application/json"})

    return asked, answers


def test_one_token_is_asked_for_and_kept(tmp_path: Path) -> None:
    asked, answers = gives()
    with site_server(answers, path="/token") as auth:
        tokens = Tokens(backend(tmp_path, auth.url))
        assert [("Authorization", "Bearer t1")] * 3 == [tokens.header()[0] for _ in range(3)]
    form = parse_qs(asked[0].body.decode())
    assert ["client_credentials"] == form["grant_type"]
    assert ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"] == form["client_assertion_type"]
    assert ["system/*.rs"] == form["scope"]
    claims = jwt.decode(form["client_assertion"][0], P384.public_key(), algorithms=["ES384"], audience=auth.url)
    assert "diaphane" == claims["iss"]
    assert 1 == len(asked)


def test_a_token_that_ends_soon_is_not_kept(tmp_path: Path) -> None:
    asked, answers = gives(lasts_s=20)
    with site_server(answers, path="/token") as auth:
        tokens = Tokens(backend(tmp_path, auth.url))
        assert ["Bearer t1", "Bearer t2"] == [tokens.header()[0][1] for _ in range(2)]
    assert 2 == len(asked)


def test_a_token_that_another_thread_renewed_is_not_renewed_again(tmp_path: Path) -> None:
    asked, answers = gives()
    with site_server(answers, path="/token") as auth:
        tokens = Tokens(backend(tmp_path, auth.url))
        first = tokens.header()[0][1]
        assert ["Bearer t2", "Bearer t2"] == [tokens.header(instead_of=first)[0][1] for _ in range(2)]
    assert 2 == len(asked)


@pytest.mark.parametrize("told", [
    {}, {"access_token": 1, "token_type": "bearer"}, {"access_token": "a b", "token_type": "bearer"},
    {"access_token": "a\r\nX: y", "token_type": "bearer"}, {"access_token": "a", "token_type": "mac"}, [], None,
])  # fmt: skip
def test_an_unreadable_token_is_never_sent(told: Any, tmp_path: Path) -> None:
    with site_server(lambda _: Said(told, headers={"Content-Type": "application/json"}), path="/token") as auth, \
            pytest.raises(TokenError) as caught:
        Tokens(backend(tmp_path, auth.url)).header()
    assert caught.value.code == "token_unreadable"


def test_a_refusal_of_the_authorisation_server_is_told_without_its_words(tmp_path: Path) -> None:
    with site_server(lambda _: Said({"error": "invalid_client", "error_description": "Mr X"}, 400), path="/token") as auth, \
            FhirClient(backend(tmp_path, auth.url)) as client, pytest.raises(FhirServerError) as caught:
        client.read("Patient/1")
    assert "not_allowed" == caught.value.code
    assert "token_http_400" in str(caught.value)
    assert "Mr X" not in str(caught.value)


def test_a_refused_token_is_renewed_once_and_no_more(tmp_path: Path) -> None:
    asked, answers = gives()
    with site_server(answers, path="/token") as auth:
        def fhir(one: Asked) -> Said:
            return Said({"resourceType": "Patient", "id": "1"}) if one.headers["authorization"] == "Bearer t2" else Said({}, 401)

        with site_server(fhir) as server, FhirClient(backend(tmp_path, auth.url, url=server.url)) as client:
            assert "1" == client.read("Patient/1")["id"]
            assert 2 == len(server.asked) == len(asked)
        with site_server(lambda _: Said({}, 401)) as server, FhirClient(backend(tmp_path, auth.url, url=server.url)) as client, \
                pytest.raises(FhirServerError):
            client.read("Patient/1")
        assert 2 == len(server.asked)


def test_the_token_goes_to_the_fhir_server_and_the_assertion_only_to_the_token_address(tmp_path: Path) -> None:
    _, answers = gives()
    with site_server(answers, path="/token") as auth, site_server(lambda _: Said({"resourceType": "Patient", "id": "1"})) as server:
        with FhirClient(backend(tmp_path, auth.url, url=server.url)) as client:
            client.read("Patient/1")
        assert "Bearer t1" == server.asked[0].headers["authorization"]
        assert b"client_assertion" not in server.asked[0].body
        assert "authorization" not in auth.asked[0].headers


def test_a_fixed_token_is_sent_as_it_is() -> None:
    server = FhirServer(url="http://localhost:1/fhir", auth="token", token=SecretStr("s3cret"))
    assert [("Authorization", "Bearer s3cret")] == Tokens(server).header()
    assert [] == Tokens(FhirServer(url="http://localhost:1/fhir")).header()
