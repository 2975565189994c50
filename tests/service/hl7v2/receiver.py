"""A receiver of MLLP that answers as a test wants: what it heard, one frame a connection."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from service.site import Mllp

Answer = Callable[[str], bytes | list[bytes]]


@dataclass
class Receiver:
    """Where it listens, and the frames it heard, without their framing."""

    port: int
    heard: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def site(self, **changes: object) -> Mllp:
        """Return the part of a site file that leads here."""
        return Mllp.model_validate({"host": "127.0.0.1", "port": self.port, "timeout_s": 5, **changes})


def acknowledged(message: str, code: str = "AA", error: str = "") -> bytes:
    """Answer a message as a platform does."""
    control_id = message.split("\r", maxsplit=1)[0].split("|")[9]
    told = f"MSH|^~\\&|PFI|A|DIAPHANE|B|20260301||ACK^T02^ACK|1|T|2.6\rMSA|{code}|{control_id}\r"
    return b"\x0b" + (told + (f"ERR||MSH^1^12|{error}^words^HL70357|E\r" if error else "")).encode() + b"\x1c\r"


@contextmanager
def receiver(answer: Answer = acknowledged, *, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Listen on a free port of this machine until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        made = Receiver(server.getsockname()[1])
        thread = threading.Thread(target=_serve, args=(server, made, answer, tls))
        thread.start()
        try:
            yield made
        finally:
            made.closing.set()
            thread.join(10)


def _serve(server: socket.socket, made: Receiver, answer: Answer, tls: ssl.SSLContext | None) -> None:
    while not made.closing.is_set():
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        with suppress(OSError), connection:
            connection.settimeout(5)
            if tls is None:
                _talk(connection, made, answer)
            else:
                with tls.wrap_socket(connection, server_side=True) as secure:
                    _talk(secure, made, answer)


def _talk(connection: socket.socket, made: Receiver, answer: Answer) -> None:
    read = b""
    while not read.endswith(b"\x1c\r"):
        piece = connection.recv(65536)
        if not piece:
            return
        read += piece
    made.heard.append(read[1:-2].decode())
    pieces = answer(made.heard[-1])
    for piece in [pieces] if isinstance(pieces, bytes) else pieces:
        connection.sendall(piece)
        if isinstance(pieces, list):
            made.closing.wait(0.05)
    with suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
