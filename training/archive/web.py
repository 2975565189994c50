"""Asking a server of the site: one client with a token, a bound on every answer, and patience with what passes."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from models.errors import UnusableInput
from training.archive.cases import ArchiveAway
from training.archive.plan import Plan

TRIES, FIRST_PAUSE_S, LONGEST_PAUSE_S = 4, 0.25, 8.0
TIMEOUT = httpx.Timeout(20.0, connect=10.0)
PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
MAX_JSON_BYTES = 64_000_000


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    kind: str  # Content-Type
    content: bytes = field(repr=False)


class Web:
    """One server. Redirects are not followed, for they could take the token elsewhere; no proxy of the environment is used.

    Nothing that is raised holds an address: addresses of archives hold names of studies and people.
    """

    def __init__(self, root: str, token: str = "", ca: str = "") -> None:
        """Raises UnusableInput for a token that would go in clear over the network."""
        self.root = root.rstrip("/") + "/"
        parts = urlsplit(self.root)
        if token and parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
            raise UnusableInput("A token must go over https, found an address with http. Use the server's https address.",
                                code="token_in_clear")
        self._origin = (parts.scheme, parts.netloc)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        verify = ssl.create_default_context(cafile=ca) if ca else True
        self._http = httpx.Client(headers=headers, timeout=TIMEOUT, verify=verify, trust_env=False, follow_redirects=False)

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """Return the server of a plan; the token is in an environment variable of this process."""
        return cls(plan.archive, os.environ.get(plan.token_variable, ""), plan.ca)

    def get(self, path: str, *, accept: str, most_bytes: int, query: Mapping[str, Any] | None = None) -> Answer:
        """Ask, again after a pause when what is wrong may pass. ``path`` is below the root, or a whole address on this server.

        Raises ArchiveAway when it does not pass, or nobody may ask; UnusableInput (too_large) for more than ``most_bytes``.
        Any other status is the caller's to judge.
        """
        address = self.address(path)
        pause_s = FIRST_PAUSE_S
        for left in reversed(range(TRIES)):
            try:
                answer, wait_s = self._once(address, accept, most_bytes, query)
            except httpx.HTTPError as error:
                if not left:
                    raise ArchiveAway(f"The archive must answer, it did not ({type(error).__name__}). Start again later.") from None
                wait_s = pause_s
            else:
                if answer.status in (401, 403):
                    raise ArchiveAway(f"The archive must let us ask, it answered {answer.status}. Check the token and what it "
                                      "may read.", code="source_denied")
                if 300 <= answer.status < 400:
                    raise ArchiveAway("The archive must answer itself, it sent us elsewhere. Give its own address.",
                                      code="source_changed")
                if answer.status not in PASSING:
                    return answer
                if not left:
                    raise ArchiveAway(f"The archive must answer, it said {answer.status} {TRIES} times. Start again later.")
                wait_s = wait_s or pause_s
            time.sleep(min(wait_s, LONGEST_PAUSE_S))
            pause_s *= 2
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def address(self, path: str) -> str:
        """Return the whole address. Raises ArchiveAway when it is of another server."""
        address = urljoin(self.root, path)
        parts = urlsplit(address)
        if (parts.scheme, parts.netloc) != self._origin:
            raise ArchiveAway("The next page of an answer must lie on the same server, found another. Give the server's own "
                              "address as it writes it.", code="source_changed")
        return address

    def _once(self, address: str, accept: str, most_bytes: int, query: Mapping[str, Any] | None) -> tuple[Answer, float]:
        with self._http.stream("GET", address, params=query or None, headers={"accept": accept}) as answer:
            pieces, size = [], 0
            for piece in answer.iter_bytes():
                size += len(piece)
                if size > most_bytes:
                    raise UnusableInput(f"An answer of the archive may hold {most_bytes:,} bytes, found more. Ask for less, for "
                                        "example with --since and --until.", code="too_large")
                pieces.append(piece)
            stated = answer.headers.get("retry-after", "")
            return (Answer(answer.status_code, answer.headers.get("content-type", ""), b"".join(pieces)),
                    float(stated) if stated.isdecimal() else 0.0)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
