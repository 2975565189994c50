"""Origins: the addresses people know this service by. What is asked under another name, or by another site, is not answered."""

from __future__ import annotations

import re

from starlette.requests import Request

from service.outbound.address import BadAddress, read_address
from service.problem import ProblemError
from service.settings import Settings, SettingsError, is_loopback

_HOST = re.compile(r"(?P<name>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?")
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Origins:
    """Knows our own origins. Raises SettingsError when people would send their cookies over the network unprotected."""

    def __init__(self, settings: Settings) -> None:
        self._public = ""
        if settings.public_url:
            try:
                self._public = read_address(settings.public_url.rstrip("/")).origin
            except BadAddress:
                raise SettingsError("public_url must be an address such as https://ai.example.org.") from None
        self._local = is_loopback(settings.host) and (not self._public or _is_local(self._public))
        if not self._local and not self._public.startswith("https://"):
            raise SettingsError("public_url must start with https:// when the page is for others than this machine: "
                                "people log in there, and a proxy in front ends the TLS.")
        self.secure = self._public.startswith("https://")

    @property
    def base(self) -> str:
        """The origin that others send browsers back to, "" where none is set: then it is the one a request was made to."""
        return self._public

    def check_host(self, request: Request) -> str:
        """Return the origin a request was made to. Raises ProblemError (421) when it is none of ours: DNS may lie to a browser."""
        told = request.headers.getlist("host")
        found = _HOST.fullmatch(told[0]) if len(told) == 1 else None
        if found is not None:
            origin = ("https://" if self.secure else "http://") + told[0].lower()
            if origin.removesuffix(":443") == self._public if self.secure else origin.removesuffix(":80") == self._public:
                return self._public
            if self._local and found["name"].lower() in _LOCAL:
                return f"http://{told[0].lower()}"
        raise ProblemError("wrong_host", "Open this page under the address the people who run this service gave you.")

    def check_same_site(self, request: Request, origin: str) -> None:
        """Check that what changes something was asked by a page of ours. Raises ProblemError (403)."""
        sites, origins = request.headers.getlist("sec-fetch-site"), request.headers.getlist("origin")
        if (not sites and not origins) or any(one != "same-origin" for one in sites) or any(one.lower() != origin for one in origins):
            raise ProblemError("cross_site", "A change must be asked by a page of this service. Open the page again and repeat it.")

    def check_reading(self, request: Request) -> None:
        """Check that what only reads is asked by our pages or by a person who follows a link. Raises ProblemError (403).

        Another site must neither embed what a cookie opens nor measure it (Fetch Metadata). Old browsers send no such headers.
        """
        if request.headers.get("sec-fetch-site", "none") in ("same-origin", "none"):
            return
        if request.headers.get("sec-fetch-mode") != "navigate" or request.headers.get("sec-fetch-dest") != "document":
            raise ProblemError("cross_site", "This can be opened as a page, not embedded by another site.")


def _is_local(origin: str) -> bool:
    return read_address(origin).host in ("localhost", "127.0.0.1", "::1")
