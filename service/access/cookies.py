"""Cookies: the one of a session and the one of a login under way. Over https no other site of the domain can set them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

_VALUE = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits in base64url


@dataclass(frozen=True)
class Cookies:
    """Names and flags. ``secure``: people call over https."""

    secure: bool

    @property
    def session(self) -> str:
        """Name of the cookie of a session. __Host- (RFC 6265bis, 4.1.3.2): Secure, of this host alone, for every path."""
        return "__Host-diaphane" if self.secure else "diaphane"

    @property
    def login(self) -> str:
        """Name of the cookie that a login under way must come back with."""
        return f"{self.session}-login"

    def read(self, request: Request, name: str) -> str:
        """Return the value of a cookie; "" where there is none, where it is none of ours, or where it stands twice.

        A second cookie of the name was set by somebody else who may set cookies here, and which is whose cannot be told.
        """
        pairs = [one.strip().partition("=") for line in request.headers.getlist("cookie") for one in line.split(";")]
        found = [value for key, _, value in pairs if key == name]
        return found[0] if len(found) == 1 and _VALUE.fullmatch(found[0]) else ""

    def write(self, response: Response, name: str, value: str, *, lifetime_s: int | None = None) -> None:
        """Set a cookie until the browser closes, or for so long."""
        response.set_cookie(name, value, max_age=lifetime_s, path="/", secure=self.secure, httponly=True, samesite="lax")

    def forget(self, response: Response, name: str) -> None:
        """Tell the browser to delete a cookie."""
        self.write(response, name, "", lifetime_s=0)
