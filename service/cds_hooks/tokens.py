"""Who calls: the signed token of every CDS Hooks call, checked as its section "Trusting CDS Clients" says, and no other way.

The order matters: form, then header, then which client, then the signature, and only then what the payload claims; last of
all the jti is written down, so that a token serves once, whichever process is asked. What is refused is answered 401 with the
rule that was broken and nothing of what was sent.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.algorithms import get_default_algorithms

from service.cds_hooks.keys import ALGORITHMS, Client, Keys, NoKey

MAX_TOKEN = 8192  # characters; a token signed with an RSA key of 4096 bits has about 1200
MAX_WORD = 255  # of kid, jti, iss, tenant
LEEWAY_S = 30.0  # clocks of two machines differ
LONGEST_LIFE_S = 600.0  # from iat to exp: a jti is kept no longer
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
# What would bring keys along, change how the token is read, or must be understood (RFC 7515, 4.1.11; RFC 7797).
_NEVER = frozenset({"jwk", "x5u", "x5c", "crit", "b64", "zip", "enc", "epk", "p2c", "p2s"})
_VERIFIERS = get_default_algorithms()
Seen = Callable[[str, str, float], bool]  # iss, jti, when it ends → whether it was seen before; writes it down


class NotTrusted(Exception):
    """A call without a token that holds. ``rule`` is a word for the counters, the message what a token must be."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


@dataclass(frozen=True)
class Caller:
    """Who was found to call."""

    iss: str
    tenant: str = ""


class Tokens:
    """Checks tokens against the clients of the site file. ``seen`` writes a jti down for all processes at once."""

    def __init__(self, clients: Sequence[Client], keys: Keys, seen: Seen, clock: Callable[[], float] = time.time, *,
                 longest_life_s: float = LONGEST_LIFE_S) -> None:
        self._clients = {client.iss: client for client in clients}
        self._keys, self._seen, self._clock, self._longest_life_s = keys, seen, clock, longest_life_s

    def check(self, authorization: Sequence[str], url: str) -> Caller:
        """Return who calls ``url``, from the Authorization headers of the call. Raises NotTrusted."""
        token = _bearer(authorization)
        header, payload, signed, signature = parts_of(token)
        alg, kid, jku = header_of(header)
        client = self._clients.get(_word(payload, "iss"))
        if client is None:
            raise NotTrusted("iss", "iss must be exactly one that the site file lists, found another.")
        try:
            key = self._keys.of(client, kid=kid, alg=alg, jku=jku)
        except NoKey as error:
            raise NotTrusted("key", str(error)) from None
        if not holds(alg, key, signed, signature):
            raise NotTrusted("signature", "The signature must be made with the key that kid names, found another.")
        ends_at = self._times(payload)
        _audience(payload, url)
        tenant = _tenant(payload, client)
        if self._seen(client.iss, _word(payload, "jti"), ends_at):
            raise NotTrusted("replayed", "jti must be new for every call, found one that was used. Sign a new token.")
        return Caller(client.iss, tenant)

    def _times(self, payload: Mapping[str, Any]) -> float:
        """Return when the token may be forgotten."""
        now, issued, expires = self._clock(), _seconds(payload, "iat"), _seconds(payload, "exp")
        if issued > now + LEEWAY_S:
            raise NotTrusted("iat", "iat must not lie in the future. Set the clocks.")
        if expires <= now - LEEWAY_S:
            raise NotTrusted("expired", "exp must lie in the future, found a token that has ended.")
        if not 0 < expires - issued <= self._longest_life_s:
            raise NotTrusted("lifetime", f"exp must be at most {self._longest_life_s:.0f} s after iat.")
        if "nbf" in payload and _seconds(payload, "nbf") > now + LEEWAY_S:
            raise NotTrusted("nbf", "nbf must not lie in the future. Set the clocks.")
        return expires + LEEWAY_S


def _bearer(authorization: Sequence[str]) -> str:
    if len(authorization) != 1 or not authorization[0].startswith("Bearer "):
        raise NotTrusted("no_token", "Send one header 'Authorization: Bearer <JWT>' signed with the key of a client known here.")
    token = authorization[0].removeprefix("Bearer ")
    if len(token) > MAX_TOKEN:
        raise NotTrusted("form", f"A token must have at most {MAX_TOKEN} characters.")
    return token


def parts_of(token: str) -> tuple[Mapping[str, Any], Mapping[str, Any], bytes, bytes]:
    """Return header, payload, what was signed and the signature. Nothing of it is trusted yet. Raises NotTrusted."""
    segments = token.split(".")
    if len(segments) != 3 or not all(_SEGMENT.fullmatch(one) for one in segments):
        raise NotTrusted("form", "A token must be a signed JWT in compact form (RFC 7515, 7.1): three parts of base64url.")
    try:
        header, payload, signature = (_decoded(one) for one in segments)
        told, claims = _object(header), _object(payload)
    except (ValueError, RecursionError, binascii.Error):
        raise NotTrusted("form", "Header and payload of a token must be JSON objects that name nothing twice.") from None
    return told, claims, f"{segments[0]}.{segments[1]}".encode(), signature


def header_of(header: Mapping[str, Any], *, typed: bool = True) -> tuple[str, str, str | None]:
    """Return alg, kid and jku of a header that asks for nothing strange; ``typed``: typ must be there. Raises NotTrusted."""
    alg, jku = header.get("alg"), header.get("jku")
    if not isinstance(alg, str) or alg not in ALGORITHMS:
        raise NotTrusted("alg", f"alg must be one of {', '.join(ALGORITHMS)}, found another.")
    if header.get("typ", None if typed else "JWT") != "JWT":
        raise NotTrusted("typ", "typ must be JWT.")
    if not _NEVER.isdisjoint(header):
        raise NotTrusted("header", f"A header must not hold {', '.join(sorted(_NEVER))}.")
    if "jku" in header and not isinstance(jku, str):
        raise NotTrusted("jku", "jku must be an address.")
    return alg, _word(header, "kid"), jku


def holds(alg: str, key: Any, signed: bytes, signature: bytes) -> bool:
    """Tell whether a signature is that of a key."""
    try:
        return bool(_VERIFIERS[alg].verify(signed, key, signature))
    except (ValueError, TypeError, jwt.PyJWTError):  # a signature of another length, or not of this curve
        return False


def _audience(payload: Mapping[str, Any], url: str) -> None:
    """Check that the token was made for this one address: a string, or a list of exactly that string."""
    audience = payload.get("aud")
    if audience not in (url, [url]):
        raise NotTrusted("aud", "aud must be exactly the URL that is called, alone.")


def _tenant(payload: Mapping[str, Any], client: Client) -> str:
    tenant = _word(payload, "tenant") if "tenant" in payload else ""
    if client.tenants and tenant not in client.tenants:
        raise NotTrusted("tenant", "tenant must be one that the site file lists for this iss.")
    return tenant


def _word(table: Mapping[str, Any], name: str) -> str:
    value = table.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_WORD or not value.isprintable():
        raise NotTrusted(name, f"{name} must be a string of 1 to {MAX_WORD} characters.")
    return value


def _seconds(payload: Mapping[str, Any], name: str) -> float:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e11:
        raise NotTrusted(name, f"{name} must be a number of seconds since 1970.")
    return float(value)


def _decoded(segment: str) -> bytes:
    """Decode base64url without padding, in its one canonical form: a changed last character is a changed token."""
    content = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(content).rstrip(b"=") != segment.encode():
        raise ValueError("not canonical")
    return content


def _object(content: bytes) -> dict[str, Any]:
    told = json.loads(content.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    if not isinstance(told, dict):
        raise ValueError("not an object")
    return told


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a name stands twice")
    return table


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not JSON (RFC 8259)")
