"""PDUs of the upper layer (PS3.8, 9.3) off and onto a socket, each bounded in size and in time, and room for what is being received.

A peer is believed nothing: a length is checked against what was advertised before it is read, and every read has an end.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from service.settings import MIB

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = PDUS = range(1, 8)
UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 1, 2, 6  # reasons of A-ABORT (PS3.8, 9.3.8)
HEAD = struct.Struct(">BxI")
PDV = struct.Struct(">IBB")


@dataclass(frozen=True)
class Limits:
    """How much of anything a peer may take."""

    hello_s: float = 5.0  # from the connection to a whole A-ASSOCIATE-RQ, TLS included
    idle_s: float = 60.0  # between two messages
    pdu_s: float = 30.0  # for one PDU, once it began
    message_s: float = 600.0  # for one message, however many PDUs
    grace_s: float = 2.0  # for the next message when we are about to stop, and for a peer to hang up after release
    max_associate_bytes: int = MIB
    max_pdu_bytes: int = 256 * 1024  # what we advertise
    max_command_bytes: int = 16 * 1024
    max_waiting: int = 128  # connections without an association yet
    max_waiting_of_address: int = 32
    max_in_flight_bytes: int = 256 * MIB  # datasets being received, of all associations
    room_s: float = 10.0  # how long a message waits for room


class Hangup(Exception):
    """The connection is over and nobody need be told: ``why`` is closed, slow, draining or aborted."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Violation(Exception):
    """The peer broke the protocol; it is sent an A-ABORT with this reason of PS3.8, 9.3.8."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


class Wire:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def secure(self, context: ssl.SSLContext, deadline: float) -> None:
        """Shake hands over TLS as the server. Raises Hangup."""
        try:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            self.socket = context.wrap_socket(self.socket, server_side=True, suppress_ragged_eofs=True)
        except (OSError, ValueError) as error:
            raise Hangup("slow" if isinstance(error, TimeoutError) else "no_tls") from error

    def wait(self, timeout_s: float, wake: int = -1) -> bool:
        """Wait until something can be read: False when nothing came, or ``wake`` could be read and nothing else."""
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if wake >= 0:
            poll.register(wake, select.POLLIN)
        return any(number != wake for number, _ in poll.poll(timeout_s * 1000))

    def read(self, view: memoryview, deadline: float) -> None:
        """Fill ``view``. Raises Hangup when the connection ends or the deadline (of time.monotonic) passes first."""
        while view:
            left = deadline - time.monotonic()
            if left <= 0:
                raise Hangup("slow")
            try:
                self.socket.settimeout(left)
                count = self.socket.recv_into(view)
            except TimeoutError:
                raise Hangup("slow") from None
            except (OSError, ValueError):
                raise Hangup("closed") from None
            if not count:
                raise Hangup("closed")
            view = view[count:]

    def head(self, deadline: float) -> tuple[int, int]:
        """Read the head of a PDU: its type and the length of what follows."""
        head = bytearray(HEAD.size)
        self.read(memoryview(head), deadline)
        kind, length = HEAD.unpack(head)
        return int(kind), int(length)

    def associate_request(self, limits: Limits, deadline: float) -> bytes:
        """Read the first PDU, which must be an A-ASSOCIATE-RQ, whole. Memory grows with what comes, not with what is claimed."""
        kind, length = self.head(deadline)
        if kind != ASSOCIATE_RQ:
            raise Violation(UNEXPECTED_PDU if kind in PDUS else UNRECOGNISED_PDU)
        if length > limits.max_associate_bytes:
            raise Violation(INVALID_PARAMETER)
        body = bytearray()
        piece = bytearray(min(length, 64 * 1024))
        while len(body) < length:
            view = memoryview(piece)[: min(len(piece), length - len(body))]
            self.read(view, deadline)
            body += view
        return HEAD.pack(ASSOCIATE_RQ, length) + bytes(body)

    def send(self, data: bytes, timeout_s: float) -> None:
        """Send. Raises Hangup when the peer does not take it in time."""
        try:
            self.socket.settimeout(timeout_s)
            self.socket.sendall(data)
        except (OSError, ValueError) as error:
            raise Hangup("slow" if isinstance(error, TimeoutError) else "closed") from error

    def drop_rest(self, timeout_s: float) -> None:
        """Read and drop what the peer still sends, for so long: closing at once would cost it our last word (RFC 1122, 4.2.2.13)."""
        end = time.monotonic() + timeout_s
        with suppress(OSError):
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        dropped = bytearray(64 * 1024)
        with suppress(OSError, ValueError):
            while (left := end - time.monotonic()) > 0:
                self.socket.settimeout(left)
                if not self.socket.recv_into(dropped):
                    return

    def close(self) -> None:
        """Hang up."""
        self.cut()
        self.socket.close()

    def cut(self) -> None:
        """Break the connection from another thread: the one that reads it wakes and closes it."""
        with suppress(OSError):  # it was closed by the peer
            socket.socket.shutdown(self.socket, socket.SHUT_RDWR)


def fragments(body: memoryview) -> Iterator[tuple[int, bool, bool, memoryview]]:
    """Yield (context, is a command, is the last, bytes) of each PDV of a P-DATA-TF (PS3.8, 9.3.5). Raises Violation."""
    at = 0
    while at < len(body):
        if at + PDV.size > len(body):
            raise Violation(INVALID_PARAMETER)
        length, context, control = PDV.unpack_from(body, at)
        end = at + 4 + length
        if length < 2 or end > len(body):
            raise Violation(INVALID_PARAMETER)
        yield context, bool(control & 1), bool(control & 2), body[at + PDV.size : end]
        at = end


def data_pdus(context: int, command: bytes, max_pdu_bytes: int) -> bytes:
    """Return P-DATA-TF PDUs of a command set, none longer than the peer takes (0: any length)."""
    size = max(1, (max_pdu_bytes or len(command) + 6) - 6)
    pieces = [command[at : at + size] for at in range(0, len(command), size)]
    return b"".join(
        HEAD.pack(P_DATA, len(piece) + 6) + PDV.pack(len(piece) + 2, context, 3 if place == len(pieces) else 1) + piece
        for place, piece in enumerate(pieces, start=1)
    )


def dataset_pdus(context: int, dataset: memoryview, max_pdu_bytes: int) -> Iterator[bytes]:
    """Yield P-DATA-TF PDUs of a dataset, none longer than the peer takes."""
    size = max(1, max_pdu_bytes - 6)
    for at in range(0, max(1, len(dataset)), size):
        piece = dataset[at : at + size]
        last = 2 if at + size >= len(dataset) else 0
        yield b"".join((HEAD.pack(P_DATA, len(piece) + 6), PDV.pack(len(piece) + 2, context, last), piece))


def abort(reason: int) -> bytes:
    """Return an A-ABORT of the service provider (PS3.8, 9.3.8)."""
    return HEAD.pack(ABORT, 4) + bytes((0, 0, 2, reason))


def reject(result: int, source: int, reason: int) -> bytes:
    """Return an A-ASSOCIATE-RJ (PS3.8, 9.3.4)."""
    return HEAD.pack(ASSOCIATE_RJ, 4) + bytes((0, result, source, reason))


class Room:
    """So many bytes may be held at once by all associations; who wants more waits a while."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """How much of it is taken."""
        return self._size - self._free

    def take(self, size: int, timeout_s: float) -> bool:
        """Take room; False when there was none in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._free >= size, timeout_s):
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        with self._changed:
            self._free += size
            self._changed.notify_all()
