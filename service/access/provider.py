"""OpenID providers: the code flow with PKCE (RFC 7636, S256), through Authlib, over our own wire."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.base import OAuth2Error  # type: ignore[import-untyped]
from authlib.oauth2.client import OAuth2Client  # type: ignore[import-untyped]

from service.access.asking import Asking
from service.access.id_token import Expected, check_id_token, check_issued, signed_claims
from service.cds_hooks.keys import Keys
from service.cds_hooks.tokens import NotTrusted
from service.logs import where
from service.outbound.address import BadAddress, read_address
from service.outbound.wire import WireError
from service.settings import SettingsError
from service.site_review import Provider

log = logging.getLogger("diaphane")
FRESH_S, STALE_S, PAUSE_S = 3600.0, 24 * 3600.0, 10.0
_OF_LOGIN = ("iss", "sub", "aud", "acr", "auth_time")  # what the ID token says of the login, userinfo does not change
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class LoginFailed(Exception):
    """A login did not come to its end. ``rule`` is a word of ours for the audit and the page; nothing of what was sent is told."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


@dataclass(frozen=True)
class Metadata:
    """Where a provider does what (OpenID Connect Discovery 1.0)."""

    authorization: str
    token: str
    jwks: str
    userinfo: str
    end_session: str
    names_itself: bool  # answers bear iss (RFC 9207)
    secret_in_body: bool


class OpenIdProvider:
    """One provider of the site file. Raises SettingsError when its issuer is asked without TLS beyond this machine."""

    def __init__(self, told: Provider, clock: Callable[[], float] = time.time) -> None:
        self.told, self._clock = told, clock
        self._asking = Asking(told.tls_ca, told.timeout_s)
        self._keys = Keys(self._asking.json)
        self._lock = threading.Lock()
        self._metadata: Metadata | None = None
        self._read_at = self._tried_at = float("-inf")
        if not _is_safe(told.issuer, told.issuer) or (told.discovery and not _is_safe(told.discovery, told.issuer)):
            raise SettingsError(f"[[access.providers]] {told.name}: issuer and discovery must start with https://.")

    @property
    def name(self) -> str:
        """What addresses call it."""
        return self.told.name

    @property
    def title(self) -> str:
        """What people call it."""
        return self.told.title or self.told.name

    def metadata(self) -> Metadata:
        """Return where it does what, read again every hour. Raises LoginFailed."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at > FRESH_S and now - self._tried_at > PAUSE_S:
                self._tried_at = now
                try:
                    self._metadata, self._read_at = self._discovered(), now
                except (WireError, ValueError) as error:
                    log.warning("login service %s cannot be asked where it does what: %s", self.name, where(error))
                    if now - self._read_at > STALE_S:
                        self._metadata = None
            if self._metadata is None:
                raise LoginFailed("unreachable")
            return self._metadata

    def ask(self, redirect_uri: str, *, state: str, nonce: str, verifier: str, fresh: bool) -> str:
        """Return where a browser goes to log in. Raises LoginFailed."""
        places = self.metadata()
        more = {"acr_values": self.told.acr} if self.told.acr else {}
        more |= {"prompt": "login", "max_age": "0"} if fresh else {}
        url, _ = self._client(places, redirect_uri).create_authorization_url(
            places.authorization, state=state, code_verifier=verifier, nonce=nonce, **more)
        return str(url)

    def answer(self, redirect_uri: str, *, code: str, nonce: str, verifier: str) -> tuple[dict[str, Any], str]:
        """Turn a code into the claims of who logged in, and their ID token. Raises LoginFailed."""
        places = self.metadata()
        expected = Expected(self.told.issuer, places.jwks, self.told.client_id, nonce, tuple(self.told.acr.split()))
        try:
            told = self._client(places, redirect_uri).fetch_token(places.token, grant_type="authorization_code", code=code,
                                                                  code_verifier=verifier, redirect_uri=redirect_uri)
            access_token, id_token = told.get("access_token"), told.get("id_token")
            if not isinstance(access_token, str) or not isinstance(id_token, str):
                raise LoginFailed("no_id_token")
            claims = dict(check_id_token(id_token, expected, self._keys, self._clock(), access_token))
            more = self._userinfo(places, expected, access_token, claims["sub"])
            return {**claims, **more, **{name: claims[name] for name in _OF_LOGIN if name in claims}}, id_token
        except NotTrusted as error:
            raise LoginFailed(error.rule) from None
        except WireError as error:
            raise LoginFailed("unreachable") from error
        except (OAuth2Error, ValueError):  # what it says of a failure is its own words, so they stay here
            raise LoginFailed("code") from None

    def check_issuer(self, told: list[str]) -> None:
        """Check iss of an answer (RFC 9207), where there is one or must be. Raises LoginFailed."""
        if told != [self.told.issuer] and (told or self.metadata().names_itself):
            raise LoginFailed("iss")

    def goodbye(self, id_token: str, back: str) -> str:
        """Return where a browser goes to log out of the provider too, "" where it has no such place (RP-Initiated Logout 1.0)."""
        try:
            end = self.metadata().end_session
        except LoginFailed:
            return ""
        if not end:
            return ""
        told = {"client_id": self.told.client_id, "post_logout_redirect_uri": back}
        told |= {"id_token_hint": id_token} if id_token else {}
        return f"{end}{'&' if '?' in end else '?'}{urlencode(told)}"

    def _discovered(self) -> Metadata:
        found = self._asking.json(self.told.discovery or f"{self.told.issuer.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(found, dict) or found.get("issuer") != self.told.issuer:
            raise ValueError("The issuer must be exactly the one of the site file.")

        def place(name: str, *, needed: bool = True) -> str:
            url = found.get(name) or ""
            if (url or needed) and not (isinstance(url, str) and _is_safe(url, self.told.issuer)):
                raise ValueError(f"{name} must be an address that starts with https://.")
            return str(url)

        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return Metadata(
            place("authorization_endpoint"), place("token_endpoint"), place("jwks_uri"), place("userinfo_endpoint", needed=False),
            place("end_session_endpoint", needed=False), found.get("authorization_response_iss_parameter_supported") is True,
            "client_secret_basic" not in methods and "client_secret_post" in methods,
        )

    def _client(self, places: Metadata, redirect_uri: str) -> OAuth2Client:
        secret = self.told.client_secret.get_secret_value()
        method = ("client_secret_post" if places.secret_in_body else "client_secret_basic") if secret else "none"
        return OAuth2Client(self._asking, self.told.client_id, secret or None, token_endpoint_auth_method=method,
                            scope=self.told.scope, redirect_uri=redirect_uri, code_challenge_method="S256")

    def _userinfo(self, places: Metadata, expected: Expected, access_token: str, sub: str) -> Mapping[str, Any]:
        """Return what the provider says besides, signed or not: about the same person."""
        if not places.userinfo:
            return {}
        try:
            told = self._asking.userinfo(places.userinfo, access_token)
        except ValueError:
            raise LoginFailed("userinfo") from None
        if isinstance(told, str):
            claims, _ = signed_claims(told, expected, self._keys)
            check_issued(claims, expected)
        elif isinstance(told, dict):
            claims = told
        else:
            raise LoginFailed("userinfo")
        if claims.get("sub") != sub:
            raise LoginFailed("userinfo")
        return claims


def _is_safe(url: str, issuer: str) -> bool:
    """Tell whether an address is asked over TLS; on this machine a provider may do without, for trials."""
    try:
        address, asked = read_address(url), read_address(issuer)
    except BadAddress:
        return False
    return address.scheme == "https" or {address.host, asked.host} <= _LOOPBACK
