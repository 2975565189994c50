"""Addresses we may ask: URLs in one strict spelling, compared part by part with the one that was configured.

What other programs read differently (userinfo, backslashes, encoded dots, numbers as hosts, path parameters) is no
address here, so that what was compared and what is connected to cannot differ. RFC 3986, and narrower.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

LONGEST = 4096
PORTS = {"http": 80, "https": 443}
_URL = re.compile(r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?"
                  r"(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?")
_SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})*")
_QUERY = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?|\[\]{}^-]|%[0-9A-Fa-f]{2})*")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
Resolve = Callable[..., list[Any]]


class BadAddress(ValueError):
    """A URL is none of ours. The message is a word of ours, never the URL."""


@dataclass(frozen=True)
class Address:
    """One absolute URL, taken apart. ``host`` in lower case, without brackets; ``segments`` as they are sent."""

    scheme: str
    host: str
    port: int
    segments: tuple[str, ...]
    query: str | None = None
    folder: bool = False  # the path ended with a slash

    @property
    def target(self) -> str:
        """Path and query as they go into the request line."""
        path = "/" + "/".join(self.segments) + ("/" if self.folder and self.segments else "")
        return path if self.query is None else f"{path}?{self.query}"

    @property
    def origin(self) -> str:
        """Scheme, host and port, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS[self.scheme] else f":{self.port}")

    def holds(self, other: Address) -> bool:
        """Tell whether another address is this one or lies below it."""
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and other.segments[: len(self.segments)] == self.segments

    def join(self, link: str) -> Address:
        """Read a link found in an answer of this server, absolute or relative to this address; it must lie below it.

        Raises BadAddress.
        """
        if link.startswith("?"):
            link = self.origin + self.target.partition("?")[0] + link
        elif link.startswith("/"):
            link = self.origin + link if not link.startswith("//") else "//"
        elif not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", link):
            link = self.origin + "/" + "/".join((*self.segments, link))
        found = read_address(link)
        if not self.holds(found):
            raise BadAddress("elsewhere")
        return found


def read_address(url: str) -> Address:
    """Take an absolute URL apart. Raises BadAddress."""
    found = _URL.fullmatch(url) if len(url) <= LONGEST else None
    if found is None:
        raise BadAddress("no_address")
    port = int(found["port"] or PORTS[found["scheme"]])
    if not 0 < port < 65536 or (found["port"] or "1").startswith("0"):
        raise BadAddress("bad_port")
    *segments, last = (found["path"] or "/")[1:].split("/")
    folder = not last
    segments += [last] if last else []
    for segment in segments:
        _check_segment(segment)
    if found["query"] is not None and not _QUERY.fullmatch(found["query"]):
        raise BadAddress("bad_query")
    return Address(found["scheme"], _host(found["host"]), port, tuple(segments), found["query"], folder)


def _check_segment(segment: str) -> None:
    plain = unquote_to_bytes(segment)
    tricky = plain in (b"", b".", b"..") or any(byte < 0x20 or byte in b"/\\%;?#\x7f" for byte in plain)
    if tricky or not _SEGMENT.fullmatch(segment):
        raise BadAddress("bad_path")


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            address = ipaddress.IPv6Address(text[1:-1])
        except ValueError:
            raise BadAddress("bad_host") from None
        if address.ipv4_mapped is not None:
            raise BadAddress("bad_host")
        return str(address)
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # some programs read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError:
            raise BadAddress("bad_host") from None
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise BadAddress("bad_host")
    return text.lower()


def resolve(host: str, port: int, *, lookup: Resolve = socket.getaddrinfo) -> list[str]:
    """Look a host up and return its addresses, all of which may be asked. Raises BadAddress; OSError when unknown.

    A hospital's servers have private addresses, so these are fine. Never fine, whatever a name server says: link-local
    (where clouds keep their credentials), multicast, unspecified and reserved ones, and this machine unless the
    configuration says so by name.
    """
    found = list(dict.fromkeys(str(row[4][0]) for row in lookup(host, port, type=socket.SOCK_STREAM)))
    for address in found:
        if not _may_be_asked(address, host):
            raise BadAddress("forbidden_address")
    return found


def _may_be_asked(text: str, host: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.sixtofour is not None or address.teredo is not None:
            return False
    if address.is_loopback:
        return host in ("localhost", text)
    return not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)
