"""Tokens for the site's FHIR server: SMART backend services, a client assertion signed with the site's private key.

https://hl7.org/fhir/smart-app-launch/backend-services.html and …/client-confidential-asymmetric.html
"""

from __future__ import annotations

import re
import threading
import time
import uuid
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from service.outbound.wire import Wire, WireError
from service.settings import SettingsError
from service.site import FhirServer

ASSERTION_S = 240  # the profile allows five minutes, and clocks differ
EARLY_S = 30.0  # a token that ends so soon is not used any more
LONGEST_S = 3600.0
SHORTEST_RSA_BITS = 2048
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")  # RFC 6750, 2.1: what may stand in a header


class TokenError(Exception):
    """There is no token to be had. ``code`` is a word of ours; ``permanent``: the same again would end the same."""

    def __init__(self, code: str, *, permanent: bool = False) -> None:
        super().__init__(code)
        self.code, self.permanent = code, permanent


class Tokens:
    """The token of one FHIR server, kept until shortly before it ends. May be asked from any thread."""

    def __init__(self, server: FhirServer) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._token, self._until = "", 0.0

    def header(self, *, instead_of: str = "") -> list[tuple[str, str]]:
        """Return the Authorization header, none where the server asks for none. Raises TokenError.

        ``instead_of`` is a header that was refused: a new token is asked for, unless another thread did so already.
        """
        if self.server.auth == "none":
            return []
        if self.server.auth == "token":
            return [_bearer(self.server.token.get_secret_value())]
        with self._lock:
            refused = bool(instead_of) and instead_of == _bearer(self._token or "-")[1]
            if refused or time.monotonic() >= self._until:
                self._token, self._until = _ask(self.server)
            return [_bearer(self._token)]


@lru_cache(maxsize=8)
def tokens_of(server: FhirServer) -> Tokens:
    """Return the one Tokens of a server in this process."""
    return Tokens(server)


def assertion(server: FhirServer, now: float | None = None) -> str:
    """Write the client assertion: who we are, for the token address alone, once, for some minutes. Raises SettingsError."""
    key, algorithm = _key(server)
    moment = int(time.time() if now is None else now)
    claims = {"iss": server.client_id, "sub": server.client_id, "aud": server.token_url, "jti": str(uuid.uuid4()),
              "iat": moment, "exp": moment + ASSERTION_S}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": server.key_id} if server.key_id else None)


def _bearer(token: str) -> tuple[str, str]:
    if not _TOKEN.fullmatch(token):
        raise TokenError("token_unreadable", permanent=True)
    return "Authorization", f"Bearer {token}"


def _ask(server: FhirServer) -> tuple[str, float]:
    """Return a token and until when, by this process's clock, it may be used."""
    asked_at = time.monotonic()
    try:
        form = {"grant_type": "client_credentials", "scope": server.scope, "client_assertion_type": ASSERTION,
                "client_assertion": assertion(server)}
        with Wire(server.token_url, tls_ca=server.tls_ca, timeout_s=server.timeout_s) as wire:
            answer = wire.ask("POST", headers=[("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")],
                              body=urlencode(form).encode())
    except WireError as error:
        raise TokenError(f"token_{error.code}") from error
    except SettingsError as error:
        raise TokenError("token_key") from error
    told = answer.json if isinstance(answer.json, dict) else {}
    if answer.status != 200:
        raise TokenError(f"token_http_{answer.status}")
    token, kind, lasts_s = told.get("access_token"), told.get("token_type"), told.get("expires_in", 0)
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or str(kind).lower() != "bearer":
        raise TokenError("token_unreadable")
    return token, asked_at + _lasts_s(lasts_s) - EARLY_S


def _lasts_s(told: Any) -> float:
    return min(LONGEST_S, max(0.0, float(told))) if isinstance(told, int | float) and told == told else 0.0  # noqa: PLR0124  NaN


def _key(server: FhirServer) -> tuple[RSAPrivateKey | EllipticCurvePrivateKey, str]:
    """Return the private key and the algorithm the profile names for its kind. Raises SettingsError."""
    rule = "fhir_server.key must name a PEM file with an unencrypted private key: RSA of 2048 bits or more, or EC P-384"
    try:
        key = load_pem_private_key(server.key.read_bytes() if server.key else b"", password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{rule}; it cannot be read ({type(error).__name__}).") from None
    if isinstance(key, RSAPrivateKey) and key.key_size >= SHORTEST_RSA_BITS:
        return key, "RS384"
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP384R1):
        return key, "ES384"
    raise SettingsError(f"{rule}; found another kind.")
