"""Receive DICOM: C-ECHO and C-STORE provider. Who may speak and in which presentation contexts; pynetdicom knows the PDUs.

In front of it stands our own accept path: one thread a connection, a deadline to a whole A-ASSOCIATE-RQ, few connections
of one address without an association, and no item of a request that we would not answer.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import typer
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, MaximumLengthNotification, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor

from service import logs
from service.dicom import wire
from service.dicom.association import Agreed, Association, Inbox
from service.dicom.client import user_information
from service.dicom.storage import APPLICATION_CONTEXT, ECHO_CLASS, EXPLICIT, IMAGE_CLASSES, IMPLICIT, TRANSFER_SYNTAXES
from service.dicom.tls import server_context
from service.dicom.wire import Hangup, Limits, Room, Violation, Wire
from service.lives import stop_event
from service.settings import MIB, Settings, SettingsError
from service.site import Site
from service.store.inbox import Inbox as StoreInbox
from service.store.store import Store

log = logging.getLogger("diaphane")
logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)  # its messages quote what was sent

ECHO_SYNTAXES = (EXPLICIT, IMPLICIT)
PERMANENT, TRANSIENT = 1, 2
# (result, source, reason) of A-ASSOCIATE-RJ, PS3.8 table 9-21
NO_SUCH_APPLICATION = (PERMANENT, 1, 2)
NO_SUCH_CALLING_AE = (PERMANENT, 1, 3)
NO_SUCH_CALLED_AE = (PERMANENT, 1, 7)
NO_SUCH_PROTOCOL = (PERMANENT, 2, 2)
TOO_MANY = (TRANSIENT, 3, 2)

_FIXED = 6 + 68  # head, protocol version, titles and reserved bytes of an A-ASSOCIATE-RQ (PS3.8, table 9-11)
_APPLICATION, _CONTEXT, _USER = 0x10, 0x20, 0x50
_ANSWERED = frozenset((0x51, 0x52, 0x54, 0x55))  # maximum length, implementation class, role selection, implementation version
_MAX_CONTEXTS = 128  # their identifiers are the odd numbers to 255
_MAX_ITEMS = 8192  # 128 contexts with every transfer syntax there is
_TITLE = re.compile(rb"[\x20-\x5b\x5d-\x7e]{16}")  # PS3.5, 6.2


@dataclass
class Rejected(Exception):
    """The association is refused, for a reason the peer is told."""

    reason: tuple[int, int, int]
    word: str


@functools.cache
def contexts_we_take() -> list[PresentationContext]:
    """List what is accepted at negotiation: C-ECHO, and every image class in every transfer syntax we decode."""
    images = [build_context(uid, list(TRANSFER_SYNTAXES)) for uid in IMAGE_CLASSES]
    return [build_context(ECHO_CLASS, list(ECHO_SYNTAXES)), *images]


def negotiate(request: bytes, address: str, settings: Settings, site: Site, limits: Limits) -> Agreed:
    """Read an A-ASSOCIATE-RQ and agree or not. Raises Rejected, and Violation when it is none."""
    asked = _read_request(request)
    if not request[7] & 1:
        raise Rejected(NO_SUCH_PROTOCOL, "protocol version")
    if asked.application_context_name != APPLICATION_CONTEXT:
        raise Rejected(NO_SUCH_APPLICATION, "application context")
    calling, called = _title(request[26:42]), _title(request[10:26])
    if not may_speak(calling, address, site):
        raise Rejected(NO_SUCH_CALLING_AE, "calling AE title or address")
    if called != settings.ae_title and not settings.any_called_ae:
        raise Rejected(NO_SUCH_CALLED_AE, "called AE title")
    roles = {item.sop_class_uid: (item.scu_role, item.scp_role)
             for item in asked.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation)}
    answered, _ = negotiate_as_acceptor(asked.presentation_context_definition_list, contexts_we_take(), roles)
    lengths = [item.maximum_length_received for item in asked.user_information if isinstance(item, MaximumLengthNotification)]
    return Agreed(
        contexts={int(one.context_id or 0): (str(one.abstract_syntax), str(one.transfer_syntax[0]))
                  for one in answered if one.result == 0},
        calling_ae=calling, called_ae=called, peer_max_pdu_bytes=lengths[0] if lengths else 0,
        reply=_acceptance(asked, answered, request[10:42], limits),
    )


def may_speak(calling: str, address: str, site: Site) -> bool:
    """Tell whether a peer is allowed: one of the site's by title and address, or anybody on this machine when none is named."""
    at = ipaddress.ip_address(address.split("%", maxsplit=1)[0])
    at = getattr(at, "ipv4_mapped", None) or at
    if not site.peers:
        return bool(calling) and at.is_loopback
    return any(
        calling == peer.ae_title
        and (not peer.addresses or any(at in ipaddress.ip_network(one, strict=False) for one in peer.addresses))
        for peer in site.peers
    )


class Receiver:
    """The listening socket and its connections. Give port 0 to take a free one."""

    def __init__(self, settings: Settings, site: Site, inbox: Inbox, *, limits: Limits | None = None) -> None:
        self._settings, self._site, self._inbox = settings, site, inbox
        self._limits = limits or Limits()
        self._max_instance_bytes = settings.max_instance_mib * MIB
        self._room = Room(max(self._limits.max_in_flight_bytes, self._max_instance_bytes))
        self._tls = server_context(settings.tls_cert, settings.tls_key, settings.tls_ca) if settings.tls_cert else None
        self._lock = threading.Lock()
        self._waiting: dict[Wire, str] = {}  # connections without an association, the oldest first → address
        self._associated: set[Wire] = set()
        self._threads: set[threading.Thread] = set()
        self._listening = _listen(settings.dicom_host, settings.dicom_port)
        self._wake = os.eventfd(0)  # readable once we drain
        self._draining = False
        self.address: tuple[str, int] = self._listening.getsockname()[:2]
        self._acceptor = threading.Thread(target=self._accept, name="dicom-accept", daemon=True)

    @property
    def bytes_in_flight(self) -> int:
        """What is being received now."""
        return self._room.taken

    def start(self) -> None:
        """Begin to accept connections."""
        self._acceptor.start()

    def drain(self, timeout_s: float) -> bool:
        """Take no more associations, let the running ones end, then break what is left; True when nothing was left. Once."""
        if self._draining:
            return True
        self._draining = True
        os.eventfd_write(self._wake, 1)
        self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._acceptor.join()
        self._listening.close()
        end = time.monotonic() + timeout_s
        for wired in self._all(self._waiting):
            wired.cut()
        if in_order := self._ended(end):
            os.close(self._wake)
            return in_order
        for wired in self._all(self._associated):
            wired.cut()
        self._ended(time.monotonic() + self._limits.grace_s)
        return in_order

    def _all(self, of: dict[Wire, str] | set[Wire]) -> list[Wire]:
        with self._lock:
            return list(of)

    def _ended(self, end: float) -> bool:
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _accept(self) -> None:
        while not self._draining:
            try:
                connection, address = self._listening.accept()
            except OSError:  # draining, or out of file descriptors: those that wait are dropped in a moment
                time.sleep(0.05)
                continue
            wired = Wire(connection)
            self._wait(wired, address[0])
            thread = threading.Thread(target=self._serve, args=(wired, address[0]), name="dicom", daemon=True)
            with self._lock:
                self._threads.add(thread)
            try:
                thread.start()
            except RuntimeError:  # out of threads
                self._gone(wired, thread)

    def _wait(self, wired: Wire, address: str) -> None:
        """Let a connection wait for its association. Where too many do, the one that waits longest gives way."""
        with self._lock:
            of_address = [one for one, where in self._waiting.items() if where == address]
            crowded = len(of_address) >= self._limits.max_waiting_of_address
            if crowded or len(self._waiting) >= self._limits.max_waiting:
                oldest = of_address[0] if crowded else next(iter(self._waiting))
                del self._waiting[oldest]
                oldest.cut()
            self._waiting[wired] = address

    def _serve(self, wired: Wire, address: str) -> None:
        try:
            self._converse(wired, address, time.monotonic() + self._limits.hello_s)
        except Hangup as hangup:
            if hangup.why in ("idle", "slow"):
                self._last_word(wired, wire.abort(0))
            log.info("a connection ended: %s", hangup.why)
        except Violation as violation:
            log.warning("a peer broke the protocol; reason of the abort: %d", violation.reason)
            self._last_word(wired, wire.abort(violation.reason))
        except Exception as error:
            log.error("a connection ended: %s", logs.where(error))
            self._last_word(wired, wire.abort(0))
        finally:
            self._gone(wired, threading.current_thread())

    def _gone(self, wired: Wire, thread: threading.Thread) -> None:
        wired.close()
        with self._lock:
            self._waiting.pop(wired, None)
            self._associated.discard(wired)
            self._threads.discard(thread)

    def _converse(self, wired: Wire, address: str, deadline: float) -> None:
        with suppress(OSError):  # it was closed by the peer
            wired.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            wired.secure(self._tls, deadline)
        request = wired.associate_request(self._limits, deadline)
        try:
            agreed = negotiate(request, address, self._settings, self._site, self._limits)
            self._admit(wired)
        except Rejected as rejected:
            log.warning("an association from %s was rejected: %s", address, rejected.word)
            self._last_word(wired, wire.reject(*rejected.reason))
            return
        wired.send(agreed.reply, self._limits.pdu_s)
        association = Association(
            wired, agreed, self._inbox, limits=self._limits, room=self._room,
            max_instance_bytes=self._max_instance_bytes, wake=self._wake,
        )
        association.serve()
        wired.wait(self._limits.grace_s)  # the peer hangs up after a release (PS3.8, 7.2.2)

    def _admit(self, wired: Wire) -> None:
        with self._lock:
            if len(self._associated) >= self._settings.max_associations or self._draining:
                raise Rejected(TOO_MANY, "local limit")
            if self._waiting.pop(wired, None) is None:
                raise Hangup("crowded_out")
            self._associated.add(wired)

    def _last_word(self, wired: Wire, pdu: bytes) -> None:
        """Send a PDU after which the peer hangs up, or we do."""
        with suppress(Hangup):  # it has hung up already
            wired.send(pdu, self._limits.grace_s)
            wired.drop_rest(self._limits.grace_s)


def serve_dimse(settings: Settings, site: Site, store: Store) -> None:
    """Listen, print the address on stdout, receive. Returns after SIGTERM or SIGINT, once running associations are done."""
    stop = stop_event()
    inbox = StoreInbox(store, quiet_s=settings.quiet_s, release_quiet_s=settings.release_quiet_s)
    try:
        receiver = Receiver(settings, site, inbox)
    except SettingsError as error:
        inbox.close()
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    receiver.start()
    host, port = receiver.address
    typer.echo(f"Diaphane receives DICOM on {f'[{host}]' if ':' in host else host}:{port} as {settings.ae_title}")
    if not site.peers:
        log.warning("no [[peers]] are named in the site file: only this machine may send")
    stop.wait()
    if not receiver.drain(settings.drain_s):
        log.warning("associations were still running after drain_s; they were broken")
    inbox.close()


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises SettingsError when that address cannot be had."""
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(512)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"dicom_host and dicom_port must be a free address of this machine: "
            f"{error.strerror or type(error).__name__}. Stop what listens there, or choose another with --dicom-port."
        ) from error
    return listening


def _read_request(request: bytes) -> A_ASSOCIATE:
    """Read what we answer of an A-ASSOCIATE-RQ. Raises Violation."""
    sifted = _sift(request)
    try:
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(sifted)
        asked = pdu.to_primitive()
    except Exception as error:  # pynetdicom raises many unrelated classes on damaged requests
        raise Violation(wire.INVALID_PARAMETER) from error
    if not all(one.abstract_syntax and one.transfer_syntax for one in asked.presentation_context_definition_list):
        raise Violation(wire.INVALID_PARAMETER)
    return asked


def _sift(request: bytes) -> bytes:
    """Return the request with the items we answer only, and titles that can be read. Raises Violation when they are too many."""
    if len(request) < _FIXED:
        raise Violation(wire.INVALID_PARAMETER)
    kept, seen, contexts = [], 0, 0
    for kind, item in _items(request[_FIXED:]):
        contexts += kind == _CONTEXT
        if kind == _CONTEXT:
            seen += sum(1 for _ in _items(item[8:]))
        elif kind == _USER:
            inner = [piece for inner_kind, piece in _items(item[4:]) if inner_kind in _ANSWERED]
            seen += len(inner)
            body = b"".join(inner)
            item = item[:2] + struct.pack(">H", len(body)) + body  # noqa: PLW2901  the item without what is not answered
        if contexts > _MAX_CONTEXTS or seen > _MAX_ITEMS:
            raise Violation(wire.INVALID_PARAMETER)
        if kind in (_APPLICATION, _CONTEXT, _USER):
            kept.append(item)
    body = request[6:10] + b"A".ljust(16) * 2 + bytes(32) + b"".join(kept)  # titles are read from the request itself
    return wire.HEAD.pack(wire.ASSOCIATE_RQ, len(body)) + body


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        if at + 4 > len(data):
            raise Violation(wire.INVALID_PARAMETER)
        end = at + 4 + struct.unpack_from(">H", data, at + 2)[0]
        if end > len(data):
            raise Violation(wire.INVALID_PARAMETER)
        yield data[at], data[at:end]
        at = end


def _title(field: bytes) -> str:
    """Return an AE title, "" when it holds what none may hold."""
    return field.decode("ascii").strip() if _TITLE.fullmatch(field) else ""


def _acceptance(asked: A_ASSOCIATE, answered: list[PresentationContext], titles: bytes, limits: Limits) -> bytes:
    answer = A_ASSOCIATE()
    answer.application_context_name = asked.application_context_name
    answer.calling_ae_title, answer.called_ae_title = asked.calling_ae_title, asked.called_ae_title
    answer.result, answer.result_source = 0, 1
    answer.presentation_context_definition_results_list = answered
    answer.user_information = user_information(limits)
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(answer)
    encoded = bytes(pdu.encode())
    return encoded[:10] + titles + encoded[42:]  # as they were sent (PS3.8, table 9-17)
