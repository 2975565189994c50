"""MLLP, the client: one message a connection, framed, answered within a limit, and what the answer means for its delivery.

HL7 v2 transport, release 1: <VT> message <FS> <CR>.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from service.dicom.tls import client_context
from service.dicom.undelivered import Undelivered
from service.hl7v2.read_answer import Acknowledgement, NotAnAnswer, read_acknowledgement
from service.outbound.outlet import Outlet
from service.settings import SettingsError
from service.site import Mllp, Site

KIND = NAME = "mllp"
START, END = b"\x0b", b"\x1c\r"
MAX_ANSWER_BYTES = 64 * 1024
_PIECE = 4096


def mllp_outlets(site: Site) -> list[Outlet]:
    """Return the outlet of the site's integration platform, when it names one."""
    return [Outlet(NAME, partial(send, site.mllp), partial(answers, site.mllp))] if site.mllp.host else []


def framed(message: str) -> bytes:
    """Put a message into a frame. Raises ValueError when it holds what would end one."""
    data = message.encode("utf-8")
    if b"\x0b" in data or b"\x1c" in data:
        raise ValueError("A message must not hold the characters that frame it.")
    return START + data + END


def send(to: Mllp, content: dict[str, Any]) -> None:
    """Send one message and read its acknowledgement, all within ``timeout_s``. Raises Undelivered.

    AE quarantines at once: the same message would be refused again. AR and silence are tried again.
    """
    until = time.monotonic() + to.timeout_s
    try:
        with _connected(to, until) as connection:
            connection.sendall(framed(content["message"]))
            answer = read_acknowledgement(_frame(connection, until))
    except TimeoutError as error:
        raise Undelivered("timeout", permanent=False) from error
    except NotAnAnswer as error:
        raise Undelivered("no_acknowledgement", permanent=False) from error
    except OSError as error:
        raise Undelivered("connection", permanent=False) from error
    _check(answer, content["control_id"])


def answers(to: Mllp) -> bool:
    """Tell whether somebody takes connections there."""
    try:
        with _connected(to, time.monotonic() + to.timeout_s):
            return True
    except (OSError, Undelivered):
        return False


def _check(answer: Acknowledgement, control_id: str) -> None:
    if answer.control_id != control_id:
        raise Undelivered("other_acknowledged", permanent=False)
    if not answer.is_taken:
        raise Undelivered(" ".join((f"nak_{answer.code}", *answer.errors)), permanent=answer.is_final)


@contextmanager
def _connected(to: Mllp, until: float) -> Iterator[socket.socket]:
    context = None
    if to.tls:
        try:
            context = client_context(to.tls_ca, None, None)
        except SettingsError as error:
            raise Undelivered("tls_files", permanent=False) from error
    with socket.create_connection((to.host, to.port), timeout=_left(until)) as plain:
        plain.settimeout(_left(until))
        if context is None:
            yield plain
        else:
            with context.wrap_socket(plain, server_hostname=to.host) as secure:
                yield secure


def _frame(connection: socket.socket, until: float) -> str:
    """Read one frame. Raises TimeoutError, NotAnAnswer for what is none or too large."""
    read = bytearray()
    while END not in read:
        connection.settimeout(_left(until))
        piece = connection.recv(_PIECE)
        read += piece
        if not piece or len(read) > MAX_ANSWER_BYTES or not read.startswith(START):
            raise NotAnAnswer("An answer must be one frame of MLLP, of limited size.")
    with suppress(UnicodeDecodeError):
        return bytes(read[1 : read.index(END)]).decode("utf-8")
    return bytes(read[1 : read.index(END)]).decode("iso-8859-15")


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
