"""ID tokens: what a provider signs about who logged in, checked as OpenID Connect Core 3.1.3.7 says, and narrower."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.cds_hooks.keys import Client, Keys, NoKey
from service.cds_hooks.tokens import NotTrusted, header_of, holds, parts_of

LEEWAY_S = 30.0  # clocks of two machines differ
LONGEST_LIFE_S = 24 * 3600.0
MAX_SUB = 255
_HASHES = {"256": hashlib.sha256, "384": hashlib.sha384, "512": hashlib.sha512}


@dataclass(frozen=True)
class Expected:
    """What an ID token must say to be the answer to our question."""

    issuer: str
    jwks_uri: str
    client_id: str
    nonce: str
    acr: tuple[str, ...] = ()  # one of these; empty: whatever


def signed_claims(token: str, expected: Expected, keys: Keys) -> tuple[Mapping[str, Any], str]:
    """Return the claims of a token that the provider signed, and the algorithm. Nothing else is checked. Raises NotTrusted."""
    header, claims, signed, signature = parts_of(token)
    alg, kid, jku = header_of(header, typed=False)
    if jku is not None:
        raise NotTrusted("header", "A token of a provider must not name an address of keys.")
    try:
        key = keys.of(Client(expected.issuer, (expected.jwks_uri,)), kid=kid, alg=alg, jku=None)
    except NoKey as error:
        raise NotTrusted("key", str(error)) from None
    if not holds(alg, key, signed, signature):
        raise NotTrusted("signature", "The signature must be made with the key that kid names, found another.")
    return claims, alg


def check_id_token(token: str, expected: Expected, keys: Keys, now: float, access_token: str) -> Mapping[str, Any]:
    """Return the claims of an ID token that answers our question. Raises NotTrusted naming the rule that is broken."""
    claims, alg = signed_claims(token, expected, keys)
    check_issued(claims, expected)
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and "azp" not in claims:
        raise NotTrusted("azp", "azp must say for whom a token of several audiences is.")
    if claims.get("azp", expected.client_id) != expected.client_id:
        raise NotTrusted("azp", "azp must be our client_id.")
    _times(claims, now)
    if not isinstance(claims.get("nonce"), str) or not hmac.compare_digest(claims["nonce"].encode(), expected.nonce.encode()):
        raise NotTrusted("nonce", "nonce must be the one that was sent.")
    if expected.acr and claims.get("acr") not in expected.acr:
        raise NotTrusted("acr", "acr must be one that the site file demands.")
    if "at_hash" in claims and claims["at_hash"] != _half_hash(access_token, alg):
        raise NotTrusted("at_hash", "at_hash must be that of the access token.")
    sub = claims.get("sub")
    if not isinstance(sub, str) or not 0 < len(sub) <= MAX_SUB or not sub.isprintable():
        raise NotTrusted("sub", f"sub must be a string of 1 to {MAX_SUB} characters.")
    return claims


def check_issued(claims: Mapping[str, Any], expected: Expected) -> None:
    """Check who issued a token and for whom. Raises NotTrusted."""
    if claims.get("iss") != expected.issuer:
        raise NotTrusted("iss", "iss must be exactly the issuer of the site file.")
    audience = claims.get("aud")
    if expected.client_id not in (audience if isinstance(audience, list) else [audience]):
        raise NotTrusted("aud", "aud must hold our client_id.")


def _times(claims: Mapping[str, Any], now: float) -> None:
    issued, expires = _seconds(claims, "iat"), _seconds(claims, "exp")
    if expires <= now - LEEWAY_S:
        raise NotTrusted("expired", "exp must lie in the future.")
    if issued > now + LEEWAY_S or ("nbf" in claims and _seconds(claims, "nbf") > now + LEEWAY_S):
        raise NotTrusted("iat", "iat and nbf must not lie in the future. Set the clocks.")
    if now - issued > LONGEST_LIFE_S:
        raise NotTrusted("iat", "iat must lie within a day.")


def _seconds(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        raise NotTrusted(name, f"{name} must be a number of seconds since 1970.")
    return float(value)


def _half_hash(access_token: str, alg: str) -> str:
    """Return at_hash (OpenID Connect Core 3.1.3.6): the left half of the hash that the algorithm of the signature uses."""
    made = _HASHES.get(alg[-3:], hashlib.sha512)(access_token.encode()).digest()  # Ed25519 hashes with SHA-512
    return base64.urlsafe_b64encode(made[: len(made) // 2]).rstrip(b"=").decode()
