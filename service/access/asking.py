"""Asking: what is asked of an OpenID provider goes over our own wire: bounded, no redirect followed, the address checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from service.outbound.wire import Answer, Wire

MAX_BYTES = 256 * 1024
SIGNED = "application/jwt"


class Said:
    """An answer as Authlib reads one."""

    def __init__(self, answer: Answer) -> None:
        self.status_code, self._json = answer.status, answer.json

    def json(self) -> Any:
        """Return the body."""
        return self._json

    def raise_for_status(self) -> None:
        """Raise ValueError for a failure."""
        if self.status_code >= 400:
            raise ValueError(f"status {self.status_code}")


class Asking:
    """What Authlib calls a session, and the two other questions a provider is asked. Raises WireError, ValueError."""

    def __init__(self, tls_ca: Path | None, timeout_s: float) -> None:
        self._tls_ca, self._timeout_s = tls_ca, timeout_s

    def post(self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str], auth: Any) -> Said:
        """Send a form, with the client's own credentials put where ``auth`` puts them."""
        _, told, body = auth.prepare("POST", url, dict(headers), urlencode(data))
        told = {name: value for name, value in told.items() if name.lower() != "content-length"}
        return Said(self._ask("POST", url, told, body.encode() if isinstance(body, str) else body))

    def json(self, url: str) -> Any:
        """Read a document."""
        answer = self._ask("GET", url, {"Accept": "application/json"})
        if answer.status != 200:
            raise ValueError("A document must be answered with status 200.")
        return answer.json

    def userinfo(self, url: str, access_token: str) -> Any:
        """Return what is known of whom an access token is for: an object, or the text of a signed token."""
        if not access_token.isascii() or not access_token.isprintable():
            raise ValueError("An access token must be of printable ASCII (RFC 6750, 2.1).")
        headers = {"Accept": f"application/json, {SIGNED}", "Authorization": f"Bearer {access_token}"}
        answer = self._ask("GET", url, headers, also=SIGNED)
        if answer.status != 200:
            raise ValueError("Userinfo must be answered with status 200.")
        return answer.content.decode("ascii") if answer.content else answer.json

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, also: str = "") -> Answer:
        with Wire(url, tls_ca=self._tls_ca, timeout_s=self._timeout_s, max_bytes=MAX_BYTES) as wire:
            return wire.ask(method, headers=list(headers.items()), body=body, also=also)
