"""No forged, borrowed, stale or replayed token opens the cards; every one that a client may rightly send does."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from hypothesis import given
from hypothesis import strategies as st
from jwt.algorithms import RSAAlgorithm

from service.cds_hooks.keys import Client, Keys
from service.cds_hooks.tokens import MAX_TOKEN, NotTrusted, Tokens
from tests.service.cds_hooks.signing import ISS, JKU, KID, URL, claims, jwk_of, jwks, key_of, pem, raw, segment, token

HEADER = {"alg": "ES384", "typ": "JWT", "kid": KID}
OTHER_ISS, OTHER_JKU = "https://other.example", "https://other.example/jwks.json"
STRANGER = key_of("stranger")
Attack = Callable[[], str]


def serve(url: str) -> Any:
    """Answer for both clients' addresses, and for the attackers' own, which must never be asked for."""
    assert url in (JKU, OTHER_JKU), f"an address that nobody agreed to was fetched: {url}"
    if url == OTHER_JKU:
        return {"keys": [jwk_of(key_of("other"))]}
    return {"keys": [
        jwk_of(key_of()), jwk_of(key_of(alg="RS384"), kid="rsa"), jwk_of(key_of("short", "RS256"), kid="short"),
        jwk_of(key_of("twin"), kid="twice"), jwk_of(STRANGER, kid="twice"), jwk_of(key_of("enc"), kid="enc", use="enc"),
        jwk_of(key_of("leak"), kid="leak", d="AQAB"), jwk_of(key_of(alg="ES256"), kid="p256"),
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
    ]}


def gate(**told: Any) -> Tokens:
    seen: set[tuple[str, str]] = set()

    def once(iss: str, jti: str, _: float) -> bool:
        known = (iss, jti) in seen
        seen.add((iss, jti))
        return known

    clients = [Client(ISS, (JKU,), **told), Client(OTHER_ISS, (OTHER_JKU,))]
    return Tokens(clients, Keys(serve), once)


def _hs(secret: bytes, name: str, hash_name: str, kid: str = KID) -> str:
    signed = segment(json.dumps({**HEADER, "alg": name, "kid": kid}).encode()) + b"." + segment(json.dumps(claims()).encode())
    return (signed + b"." + segment(hmac.new(secret, signed, hash_name).digest())).decode()


def _tampered() -> str:
    head, _, signature = token().split(".")
    return f"{head}.{segment(json.dumps(claims(tenant='another')).encode()).decode()}.{signature}"


def _der_signature() -> str:
    signed = segment(json.dumps(HEADER).encode()) + b"." + segment(json.dumps(claims()).encode())
    return (signed + b"." + segment(key_of().sign(signed, ec.ECDSA(SHA384())))).decode()


def _rs(alg: str, kid: str, key: Any) -> str:
    signed = segment(json.dumps({**HEADER, "alg": alg, "kid": kid}).encode()) + b"." + segment(json.dumps(claims()).encode())
    return (signed + b"." + segment(RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, key))).decode()


def _other_last_character() -> str:
    """Change a character of the header whose last bits say nothing: the bytes stay, the text does not."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for jti_length in range(1, 60):
        head, payload, signature = token(jti="a" * jti_length).split(".")
        if len(payload) % 4:
            return f"{head}.{payload[:-1]}{alphabet[alphabet.index(payload[-1]) ^ 1]}.{signature}"
    raise AssertionError("no payload of that length")


def _now() -> int:
    return int(time.time())


ATTACKS: dict[str, tuple[str, Attack]] = {  # the attack → the rule that must stop it
    # no signature, or one that anybody can make
    "alg none": ("alg", lambda: raw({**HEADER, "alg": "none"}, claims(), signature=b"x")),
    "alg None": ("alg", lambda: raw({**HEADER, "alg": "None"}, claims(), signature=b"x")),
    "alg NONE": ("alg", lambda: raw({**HEADER, "alg": "NONE"}, claims(), signature=b"x")),
    "alg none without signature": ("form", lambda: raw({**HEADER, "alg": "none"}, claims(), signature=b"")),
    "no alg": ("alg", lambda: raw({"typ": "JWT", "kid": KID}, claims())),
    "alg a list": ("alg", lambda: raw({**HEADER, "alg": ["ES384"]}, claims())),
    "alg in lower case": ("alg", lambda: raw({**HEADER, "alg": "es384"}, claims())),
    "HS256 with the public key as secret": ("alg", lambda: _hs(pem(key_of()), "HS256", "sha256")),
    "HS384 with the key set as secret": ("alg", lambda: _hs(jwks(jwk_of(key_of())), "HS384", "sha384")),
    "HS512 with an empty secret": ("alg", lambda: _hs(b"", "HS512", "sha512")),
    "HS256 with an oct key of the set": ("alg", lambda: _hs(b"secret", "HS256", "sha256", "oct")),
    "empty signature": ("form", lambda: raw(HEADER, claims(), signature=b"")),
    "zero signature (CVE-2022-21449)": ("signature", lambda: raw(HEADER, claims(), signature=bytes(96))),
    "signature of half the length": ("signature", lambda: raw(HEADER, claims(), signature=bytes(48))),
    "signature in DER": ("signature", _der_signature),
    "signature of another's key": ("signature", lambda: token(key=STRANGER)),
    "signature of an RSA key under alg ES384": ("signature", lambda: _rs("ES384", KID, key_of(alg="RS384"))),
    "tampered payload": ("signature", _tampered),
    # keys brought along, or to be fetched elsewhere
    "embedded jwk": ("header", lambda: token(key=STRANGER, header={"jwk": jwk_of(STRANGER)})),
    "embedded jwk with our key": ("header", lambda: token(header={"jwk": jwk_of(key_of())})),
    "x5u": ("header", lambda: token(key=STRANGER, header={"x5u": "https://evil.example/chain.pem"})),
    "x5c": ("header", lambda: token(key=STRANGER, header={"x5c": ["MIIB"]})),
    "jku elsewhere": ("key", lambda: token(key=STRANGER, header={"jku": "https://evil.example/jwks.json"})),
    "jku as prefix": ("key", lambda: token(key=STRANGER, header={"jku": JKU + ".evil.example"})),
    "jku with a query": ("key", lambda: token(key=STRANGER, header={"jku": JKU + "?next=https://evil.example"})),
    "jku with a fragment": ("key", lambda: token(key=STRANGER, header={"jku": JKU + "#x"})),
    "jku with user information": ("key", lambda: token(key=STRANGER, header={"jku": "https://ehr.example@evil.example/jwks.json"})),
    "jku with a path that climbs": ("key", lambda: token(key=STRANGER, header={"jku": "https://ehr.example/x/../jwks.json"})),
    "jku through a redirect of the same host": ("key", lambda: token(key=STRANGER, header={"jku": "https://ehr.example/go?u=evil"})),
    "jku in capitals": ("key", lambda: token(key=STRANGER, header={"jku": JKU.upper()})),
    "jku of this machine": ("key", lambda: token(key=STRANGER, header={"jku": "file:///etc/passwd"})),
    "jku not a string": ("jku", lambda: token(header={"jku": [JKU]})),
    "jku null": ("jku", lambda: raw({**HEADER, "jku": None}, claims())),
    "jku of another client with its key": ("key", lambda: token(key=key_of("other"), header={"jku": OTHER_JKU})),
    # key names
    "no kid": ("kid", lambda: raw({"alg": "ES384", "typ": "JWT"}, claims())),
    "empty kid": ("kid", lambda: token(header={"kid": ""})),
    "unknown kid": ("key", lambda: token(header={"kid": "another"})),
    "kid that climbs": ("key", lambda: token(header={"kid": "../../../../dev/null"})),
    "kid with SQL": ("key", lambda: token(header={"kid": "x' UNION SELECT 'key"})),
    "kid a number": ("kid", lambda: raw({**HEADER, "kid": 1}, claims())),
    "kid that two keys bear": ("key", lambda: token(key=STRANGER, header={"kid": "twice"})),
    "kid of an encryption key": ("key", lambda: token(key=key_of("enc"), header={"kid": "enc"})),
    "kid of a key whose private part is published": ("key", lambda: token(key=key_of("leak"), header={"kid": "leak"})),
    "kid of a key of another curve": ("key", lambda: token(header={"kid": "p256"})),
    "kid of an RSA key": ("key", lambda: token(header={"kid": "rsa"})),
    "an RSA key of 1024 bits": ("key", lambda: _rs("RS256", "short", key_of("short", "RS256"))),
    # what a header may not hold, and may not be
    "crit": ("header", lambda: raw({**HEADER, "crit": ["exp"], "exp": 1}, claims())),
    "b64 false": ("header", lambda: raw({**HEADER, "b64": False, "crit": ["b64"]}, claims())),
    "zip": ("header", lambda: raw({**HEADER, "zip": "DEF"}, claims())),
    "typ missing": ("typ", lambda: raw({"alg": "ES384", "kid": KID}, claims())),
    "typ at+jwt": ("typ", lambda: token(header={"typ": "at+jwt"})),
    "typ in lower case": ("typ", lambda: token(header={"typ": "jwt"})),
    "header names alg twice": ("form", lambda: raw('{"alg":"none","alg":"ES384","typ":"JWT","kid":"key-1"}', claims())),
    "payload names aud twice": ("form", lambda: raw(
        HEADER, json.dumps(claims(aud="https://elsewhere.example"))[:-1] + f', "aud": "{URL}"' + "}")),
    "header not an object": ("form", lambda: raw('["ES384"]', claims())),
    "payload not an object": ("form", lambda: raw(HEADER, '"text"')),
    "payload nested deeply": ("form", lambda: raw(HEADER, "[" * 1500 + "]" * 1500)),
    "payload with NaN": ("form", lambda: raw(HEADER, json.dumps(claims())[:-1] + ', "nbf": NaN}')),
    # times
    "expired": ("expired", lambda: token(iat=_now() - 400, exp=_now() - 100)),
    "expired long ago": ("expired", lambda: token(iat=1_000_000_000, exp=1_000_000_100)),
    "exp missing": ("exp", lambda: token(exp=None)),
    "exp as text": ("exp", lambda: raw(HEADER, claims(exp=str(_now() + 60)))),
    "exp true": ("exp", lambda: raw(HEADER, claims(exp=True))),
    "exp for ever": ("lifetime", lambda: token(exp=_now() + 10 * 365 * 86400)),
    "exp infinite": ("exp", lambda: raw(HEADER, json.dumps(claims(exp=None))[:-1] + ', "exp": 1e999}')),
    "exp before iat": ("lifetime", lambda: token(iat=_now() + 20, exp=_now() + 10)),
    "iat missing": ("iat", lambda: token(iat=None)),
    "iat in the future": ("iat", lambda: token(iat=_now() + 120, exp=_now() + 300)),
    "nbf in the future": ("nbf", lambda: token(nbf=_now() + 120)),
    # for whom
    "aud missing": ("aud", lambda: token(aud=None)),
    "aud of another service": ("aud", lambda: token(f"{URL}/other")),
    "aud the base": ("aud", lambda: token("http://testserver")),
    "aud with a slash at the end": ("aud", lambda: token(f"{URL}/")),
    "aud as prefix": ("aud", lambda: token(URL[:-1])),
    "aud with a query": ("aud", lambda: token(f"{URL}?x=1")),
    "aud in capitals": ("aud", lambda: token(URL.upper())),
    "aud of another scheme": ("aud", lambda: token(URL.replace("http:", "https:"))),
    "aud a list with others": ("aud", lambda: token(aud=[URL, "https://elsewhere.example"])),
    "aud a list twice": ("aud", lambda: token(aud=[URL, URL])),
    "aud an empty list": ("aud", lambda: token(aud=[])),
    "aud nested": ("aud", lambda: raw(HEADER, claims(aud=[[URL]]))),
    "aud a table": ("aud", lambda: raw(HEADER, claims(aud={URL: 1}))),
    # by whom
    "iss missing": ("iss", lambda: token(iss=None)),
    "iss unknown": ("iss", lambda: token(iss="https://evil.example")),
    "iss with a slash at the end": ("iss", lambda: token(iss=ISS + "/")),
    "iss as prefix": ("iss", lambda: token(iss=ISS + ".evil.example")),
    "iss of another client with our key": ("signature", lambda: token(iss=OTHER_ISS)),
    "our iss with another client's key": ("signature", lambda: token(key=key_of("other"))),
    "iss a list": ("iss", lambda: raw(HEADER, claims(iss=[ISS]))),
    "jti missing": ("jti", lambda: token(jti=None)),
    "jti empty": ("jti", lambda: token(jti="")),
    "jti a number": ("jti", lambda: raw(HEADER, claims(jti=7))),
    "jti without end": ("jti", lambda: token(jti="x" * 4000)),
    "tenant not a string": ("tenant", lambda: raw(HEADER, claims(tenant=["a"]))),
    # form
    "nothing": ("form", lambda: ""),
    "two parts": ("form", lambda: ".".join(token().split(".")[:2])),
    "five parts (JWE)": ("form", lambda: token() + ".x.y"),
    "padding": ("form", lambda: token() + "=="),
    "a blank inside": ("form", lambda: token().replace(".", ". ", 1)),
    "a line end": ("form", lambda: token() + "\n"),
    "base64 instead of base64url": ("form", lambda: token().replace(".", ".+/", 1)),
    "last character changed within its unused bits": ("form", _other_last_character),
    "huge": ("form", lambda: token(tenant="x" * 400, header={"note": "x" * MAX_TOKEN})),
    "JSON serialisation": ("form", lambda: json.dumps(dict(zip("abc", token().split("."), strict=True)))),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(attack: str) -> None:
    rule, made = ATTACKS[attack]
    with pytest.raises(NotTrusted) as refused:
        gate().check([f"Bearer {made()}"], URL)
    assert rule == refused.value.rule


def test_there_are_enough_attacks() -> None:
    assert len(ATTACKS) >= 25


@pytest.mark.parametrize("headers", [[], [""], ["Basic dXNlcjpwYXNz"], ["bearer {}"], ["Bearer  {}"], ["Bearer {}", "Bearer {}"],
                                     ["{}"], ["Bearer {} "], ["Bearer {}, Bearer {}"], ["Bearer\t{}"]])
def test_another_authorization_header_is_refused(headers: list[str]) -> None:
    good = token()
    with pytest.raises(NotTrusted):
        gate().check([one.replace("{}", good) for one in headers], URL)


def test_a_token_serves_once() -> None:
    tokens, good = gate(), token()
    assert ISS == tokens.check([f"Bearer {good}"], URL).iss
    with pytest.raises(NotTrusted, match="jti"):
        tokens.check([f"Bearer {good}"], URL)


def test_a_token_that_was_refused_for_another_reason_is_not_used_up() -> None:
    """An attacker who sees a token must not be able to spend it elsewhere for the client."""
    tokens, good = gate(), token()
    with pytest.raises(NotTrusted, match="aud"):
        tokens.check([f"Bearer {good}"], URL + "/other")
    assert ISS == tokens.check([f"Bearer {good}"], URL).iss


@pytest.mark.parametrize(("alg", "kid"), [("ES384", KID), ("RS384", "rsa"), ("PS256", "rsa")])
def test_a_client_may_sign_with_any_asymmetric_algorithm(alg: str, kid: str) -> None:
    key = key_of(alg="RS384") if kid == "rsa" else None
    assert ISS == gate().check([f"Bearer {token(key=key, alg=alg, header={'kid': kid, 'jku': JKU})}"], URL).iss


@pytest.mark.parametrize("aud", [URL, [URL]])
def test_aud_may_be_the_url_or_a_list_of_it(aud: Any) -> None:
    assert ISS == gate().check([f"Bearer {token(aud=aud)}"], URL).iss


def test_only_the_tenants_agreed_are_heard() -> None:
    tokens = gate(tenants=("north",))
    assert "north" == tokens.check([f"Bearer {token(tenant='north')}"], URL).tenant
    for other in ("south", None):
        with pytest.raises(NotTrusted, match="tenant"):
            tokens.check([f"Bearer {token(tenant=other)}"], URL)


def test_clocks_may_differ_by_a_few_seconds() -> None:
    assert gate().check([f"Bearer {token(iat=_now() + 10, exp=_now() + 200)}"], URL)
    assert gate().check([f"Bearer {token(iat=_now() - 300, exp=_now() - 10)}"], URL)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw_bytes: raw_bytes.decode("latin-1")))
def test_no_text_is_a_token(text: str) -> None:
    with pytest.raises(NotTrusted):
        _GATE.check([f"Bearer {text}"], URL)


@given(st.integers(0, 2**31), st.integers(1, 255))
def test_a_token_with_any_byte_changed_is_refused(place: int, change: int) -> None:
    content = bytearray(_GOOD.encode())
    content[place % len(content)] ^= change
    with pytest.raises(NotTrusted):
        _GATE.check([f"Bearer {content.decode('latin-1')}"], URL)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_refusal_says_the_rule_and_nothing_that_was_sent(attack: str) -> None:
    sent = ATTACKS[attack][1]()
    with pytest.raises(NotTrusted) as refused:
        gate().check([f"Bearer {sent}"], URL)
    told = str(refused.value) + refused.value.rule
    assert "evil" not in told
    assert "UNION" not in told
    assert not any(part in told for part in sent.split(".") if len(part) > 8)


_GATE, _GOOD = gate(), token()
