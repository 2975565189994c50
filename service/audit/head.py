"""The head: number and hash of the audit's last line, written down in a file beside the database.

A chain shows what was changed within it, not what was cut off its end; the head shows that too. It is only ever moved
forward. Copied elsewhere (`python -m service audit verify` prints it), it binds even whoever holds store and secret.
"""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from service.store.audit import End

log = logging.getLogger("diaphane")
FILE = "audit.head"
FIRST_LINES = 2_000  # as many as are written at once: a head may begin there
_SIZE = 128  # one write within one sector: a reader, or a power cut, sees the old head or the new one


class Head:
    """The head of one store, moved by several processes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def read(self) -> End:
        """Return the head; one without lines when there is none."""
        try:
            return _end_of(self.path.read_bytes())
        except FileNotFoundError:
            return End()

    def move(self, end: End, *, sync: bool = False) -> None:
        """Move the head to a later end; one that lies before it changes nothing."""
        file = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = _end_of(os.pread(file, _SIZE, 0)).number
            if not before and end.number > FIRST_LINES:
                log.warning("audit: there was no file %s though there are %d lines: on a machine that wrote some of them, somebody "
                            "removed it", FILE, end.number)
            if end.number > before:
                os.pwrite(file, f"{end.number} {end.hash}\n".encode().ljust(_SIZE), 0)
            if sync:
                os.fsync(file)
        finally:
            os.close(file)


def _end_of(written: bytes) -> End:
    words = written.decode("ascii", "replace").split()
    if not words:
        return End()
    if len(words) != 2 or not words[0].isdigit() or len(words[1]) != 64:
        return End(2**53, "")  # it was tampered with: no chain ends there
    return End(int(words[0]), words[1])
