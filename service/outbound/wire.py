"""Wire: HTTP to one configured server and nothing else: no redirect followed, the address checked and pinned, all bounded.

Blocking, for one thread at a time; the connection is kept between requests. Proxies of the environment are not used.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpcore

from service.dicom.tls import client_context
from service.outbound.address import Address, BadAddress, Resolve, read_address, resolve
from service.settings import MIB, SettingsError

MAX_ANSWER_BYTES = 16 * MIB
MAX_DEPTH = 64
JSON_TYPES = frozenset(("application/json", "application/fhir+json", "application/jwk-set+json"))
METHODS = frozenset(("GET", "POST", "PUT"))
_PIECE = 64 * 1024


class WireError(Exception):
    """A server could not be asked, or did not answer as it must. ``code`` is a word of ours; nothing of the answer is told.

    ``elsewhere`` the address is not below the configured one; ``forbidden_address`` its name leads where nothing may be
    asked; ``unreachable``, ``slow``, ``tls``, ``tls_files``, ``protocol``; ``redirect`` it pointed elsewhere;
    ``too_large``, ``too_deep``, ``encoded``, ``not_json`` of its answer.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Answer:
    """What a server said: ``json`` is None when there is no body, or when a failure says it in another format."""

    status: int
    json: Any
    headers: Mapping[str, str]  # names in lower case
    size: int = 0  # bytes of the body
    content: bytes = b""  # the body itself, where it was asked for in another format than JSON


class Wire:
    """``with Wire("https://fhir.hospital.example/r4") as wire: wire.ask("GET", "Patient/1")``."""

    def __init__(
        self, base: str, *, tls_ca: Path | None = None, tls_cert: Path | None = None, tls_key: Path | None = None,
        timeout_s: float = 30.0, max_bytes: int = MAX_ANSWER_BYTES, lookup: Resolve | None = None,
    ) -> None:
        """``base`` is trusted, since the people of the site wrote it. Raises WireError when it is no address."""
        try:
            self.base = read_address(base)
            secure = client_context(tls_ca, tls_cert, tls_key) if self.base.scheme == "https" else None
        except BadAddress as error:
            raise WireError(str(error)) from error
        except SettingsError as error:
            raise WireError("tls_files") from error
        self.timeout_s, self.max_bytes = timeout_s, max_bytes
        self._clock = _Clock()
        self._pool = httpcore.ConnectionPool(
            ssl_context=secure or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), max_connections=1, keepalive_expiry=30.0,
            retries=0, http1=True, http2=False, network_backend=_Pinned(self._clock, lookup),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()

    def ask(self, method: str, url: str = "", *, headers: Iterable[tuple[str, str]] = (), body: bytes | None = None,
            also: str = "") -> Answer:
        """Send one request and read its JSON answer, all within ``timeout_s``. Raises WireError.

        ``url`` is absolute, or relative to the base; either way it must lie below the base. Empty: the base itself.
        ``also`` is a media type besides JSON that is taken as it is.
        """
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(sorted(METHODS))}")
        try:
            address = self.base.join(url) if url else self.base
        except BadAddress as error:
            raise WireError("elsewhere") from error
        self._clock.start(self.timeout_s)
        try:
            return self._ask(method, address, headers, body, also)
        except BadAddress as error:
            raise WireError("forbidden_address") from error
        except httpcore.TimeoutException as error:
            raise WireError("slow") from error
        except (httpcore.ConnectError, httpcore.UnsupportedProtocol) as error:
            raise WireError("tls" if isinstance(error.__context__, ssl.SSLError) else "unreachable") from error
        except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
            raise WireError("protocol") from error
        except OSError as error:  # a name nobody knows
            raise WireError("unreachable") from error

    def _ask(self, method: str, address: Address, headers: Iterable[tuple[str, str]], body: bytes | None, also: str) -> Answer:
        host = f"[{address.host}]" if ":" in address.host else address.host
        port = address.origin.removeprefix(f"{address.scheme}://{host}")
        told = [("Host", host + port), ("Accept-Encoding", "identity"), ("User-Agent", "diaphane"), *headers]
        if body is not None:
            told.append(("Content-Length", str(len(body))))
        url = httpcore.URL(scheme=address.scheme.encode(), host=address.host.encode(), port=address.port,
                           target=address.target.encode("ascii"))
        with self._pool.stream(method, url, headers=told, content=body, extensions={"timeout": self._clock.timeouts()}) as response:
            heads = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if 300 <= response.status < 400 and response.status != 304:
                raise WireError("redirect")
            if heads.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise WireError("encoded")
            read = bytearray()
            for piece in response.iter_stream():
                read += piece
                if len(read) > self.max_bytes:
                    raise WireError("too_large")
                self._clock.left()
        failed = response.status >= 400
        kind = heads.get("content-type", "").partition(";")[0].strip().lower()
        if failed and (kind not in JSON_TYPES or not read):
            return Answer(response.status, None, heads, len(read))
        if also and kind == also:
            return Answer(response.status, None, heads, len(read), bytes(read))
        if read and kind not in JSON_TYPES:
            raise WireError("not_json")
        try:
            return Answer(response.status, read_json(bytes(read)) if read else None, heads, len(read))
        except WireError:
            if failed:
                return Answer(response.status, None, heads, len(read))
            raise


def read_json(content: bytes) -> Any:
    """Parse JSON of limited depth. Raises WireError."""
    try:
        value = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise WireError("not_json") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise WireError("too_deep")
        level = [
            inner
            for one in level if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one) if isinstance(inner, dict | list)
        ]
    return value


def _no_constant(_: str) -> float:
    raise ValueError


class _Clock:
    """When the answer must be there: one limit for connecting, sending and reading, however slowly a server drips."""

    def __init__(self) -> None:
        self._until = 0.0

    def start(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float:
        """Return the seconds left. Raises httpcore.ReadTimeout when there are none."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if at_most is None else min(left, at_most)

    def timeouts(self) -> dict[str, float]:
        return dict.fromkeys(("connect", "read", "write", "pool"), self.left())


class _Pinned(httpcore.NetworkBackend):
    """Connects to the very address that was checked: a name that changes its mind meanwhile changes nothing."""

    def __init__(self, clock: _Clock, lookup: Resolve | None) -> None:
        self._clock, self._lookup = clock, lookup
        self._real = httpcore.SyncBackend()

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, local_address: str | None = None,
                    socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None) -> httpcore.NetworkStream:
        found = resolve(host, port, lookup=self._lookup) if self._lookup else resolve(host, port)
        for address in found[:-1]:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                half = self._clock.left(timeout) / 2
                return _Timed(self._real.connect_tcp(address, port, half, local_address, socket_options), self._clock)
        if not found:
            raise httpcore.ConnectError("no address")
        left = self._clock.left(timeout)
        return _Timed(self._real.connect_tcp(found[-1], port, left, local_address, socket_options), self._clock)

    def sleep(self, seconds: float) -> None:
        self._real.sleep(min(seconds, self._clock.left()))


class _Timed(httpcore.NetworkStream):
    """A stream whose every step ends with the clock."""

    def __init__(self, stream: httpcore.NetworkStream, clock: _Clock) -> None:
        self._stream, self._clock = stream, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(min(max_bytes, _PIECE), self._clock.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._clock.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, ssl_context: ssl.SSLContext, server_hostname: str | None = None,
                  timeout: float | None = None) -> httpcore.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, self._clock.left(timeout)), self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
