"""Sending the audit to the hospital's audit repository: syslog by UDP, TCP (RFC 6587) or TLS (RFC 5425), line after line.

Where it has come to is kept in the store, and moved on only when the other side's machine has acknowledged every byte: a
server that is away gets everything later, one that lost its connection gets the last lines again. UDP acknowledges
nothing: what is lost on the way is lost. One process of an installation sends at a time.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import socket
import ssl
import struct
import termios
import time
from contextlib import suppress
from typing import Literal, cast

from service.audit.write_message import write_syslog
from service.dicom.tls import client_context
from service.lives import Background
from service.logs import where
from service.site import Site
from service.store import audit, audit_cursor
from service.store.audit import Line
from service.store.errors import StoreError
from service.store.store import Store

log = logging.getLogger("diaphane")
CURSOR = "syslog"
BATCH = 200
EVERY_S, LONGEST_PAUSE_S = 1.0, 60.0
LEASE_S = 30.0
TIMEOUT_S = 10.0
_MOST_UDP_BYTES = 60_000


class Sender:
    """Sends in a thread of its own between ``open`` and ``close``."""

    def __init__(self, store: Store, site: Site) -> None:
        self.store, self.site = store, site
        self.source = site.audit.source_id or site.device.station
        scheme, _, rest = site.audit.syslog.partition("://")
        self.way = cast(Literal["udp", "tcp", "tls"], scheme)
        self.host, _, port = rest.rpartition(":")
        self.host, self.port = self.host.strip("[]"), int(port)
        self._holder = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._wire: socket.socket | None = None
        self._sent, self._leased_until = 0, 0.0
        self._last_from: int | None = None  # the line that the last batch began after
        self._again_from: int | None = None  # the same, once its connection broke
        self._tls = client_context(site.audit.tls_ca, None, None) if self.way == "tls" else None
        self._background = Background(self._work, "audit-syslog", daemon=True)

    def open(self) -> None:
        """Begin."""
        self._background.open()

    def close(self) -> None:
        """End. What was not sent waits for the next start."""
        self._background.close()
        self._hang_up()
        with suppress(StoreError):
            audit_cursor.release(self.store, CURSOR, self._holder)

    def step(self) -> bool:
        """Send one batch; True when there may be more. Raises OSError when the server cannot be reached."""
        if not self._may_send():
            self._hang_up()
            return False
        if self._wire is not None and self.way != "udp" and _is_gone(self._wire):
            self._broke(self._sent)
            raise ConnectionResetError("the server hung up")
        after = self._sent if self._again_from is None else min(self._sent, self._again_from)
        with self.store.reading() as session:
            lines = audit.lines(session, after=after, limit=BATCH)
        if not lines:
            return False
        try:
            self._send(lines)
        except OSError:
            self._broke(after)
            raise
        self._again_from, self._last_from, self._sent = None, after, max(self._sent, lines[-1].id)
        if not audit_cursor.move(self.store, CURSOR, self._holder, lines[-1], LEASE_S):
            self._leased_until = 0.0
            return False
        return len(lines) == BATCH

    def _may_send(self) -> bool:
        """Tell whether this process is the one that sends; the store is asked now and then only."""
        now = time.monotonic()
        if now > self._leased_until - LEASE_S / 2:
            sent = audit_cursor.claim(self.store, CURSOR, self._holder, LEASE_S)
            if sent is None:
                self._leased_until = 0.0
                return False
            self._sent, self._leased_until = sent, now + LEASE_S
        return True

    def _broke(self, after: int) -> None:
        """Hang up, and send again what may have been lost in the other side's memory: the last batch and this one."""
        told = [one for one in (after, self._last_from, self._again_from) if one is not None]
        self._again_from = min(told)
        self._hang_up()

    def _send(self, lines: list[Line]) -> None:
        wire = self._wire = self._wire or self._dial()
        for line in lines:
            message = write_syslog(line, self.source, host=socket.gethostname(), process=os.getpid())
            if self.way == "udp":
                wire.send(message[:_MOST_UDP_BYTES])
            else:
                wire.sendall(b"%d %s" % (len(message), message))
        until = time.monotonic() + TIMEOUT_S
        while self.way != "udp" and _unacknowledged(wire):
            if time.monotonic() > until:
                raise TimeoutError("the server does not acknowledge what it was sent")
            time.sleep(0.002)

    def _dial(self) -> socket.socket:
        if self.way == "udp":
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
            wire = socket.socket(family, kind, protocol)
            wire.connect(address)
            return wire
        plain = socket.create_connection((self.host, self.port), TIMEOUT_S)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def _hang_up(self) -> None:
        if self._wire is not None:
            wire, self._wire = self._wire, None
            with suppress(OSError):
                wire.close()

    def _work(self) -> None:
        pause_s, failed = EVERY_S, False
        while not self._background.stop.is_set():
            try:
                more = self.step()
            except (OSError, StoreError) as error:
                if not failed:
                    log.warning("audit: syslog cannot be sent: %s; lines wait", where(error))
                failed, pause_s, more = True, min(LONGEST_PAUSE_S, 2 * pause_s), False
            else:
                if failed:
                    log.info("audit: syslog is sent again")
                failed, pause_s = False, EVERY_S
            if not more:
                self._background.stop.wait(pause_s)


def _unacknowledged(wire: socket.socket) -> int:
    """Return how many bytes the other side's machine has not acknowledged yet (Linux, SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(wire.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
    return count


def _is_gone(wire: socket.socket) -> bool:
    """Tell whether the other side has hung up: syslog servers never say anything, so what can be read is an end."""
    wire.setblocking(False)
    try:
        return wire.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    finally:
        with suppress(OSError):
            wire.settimeout(TIMEOUT_S)
