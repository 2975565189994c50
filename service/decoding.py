"""The decoding process: reads one series at a time for the Decoder that started it, under limits, and may die of any.

Protocol, over a Unix socket: frames of 4 bytes length (big endian) and JSON. A request names an operation, files and
numbers; bytes come in shared memory the parent made. An array goes back in shared memory of the size that the answer
named and the parent made: this process creates no file and no shared memory of its own.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.dicom_bytes import parse
from models.dicom_frames import rendered, stored_frames
from models.errors import UnusableInput
from models.read_dicom import read_dicom

MIB = 1024 * 1024
MAX_REQUEST_BYTES = 16 * MIB
LENGTH = struct.Struct(">I")
DONE, NO_MEMORY = b".", b"!"
KEPT_BYTES = 64 * MIB  # shared memory up to this size is kept for the next case, on both sides
_PR_SET_NO_NEW_PRIVS = 38  # prctl(2)
_SPARE_FILES = 64
_GRACE_S = 5

Answer = tuple[dict[str, Any], NDArray[Any]]


def _read(files: Sequence[Path | bytes], numbers: list[int]) -> Answer:  # noqa: ARG001  the table's signature
    volume = read_dicom(files)
    facts = {
        "units": volume.units, "affine": [float(value) for value in volume.affine.ravel()], "header": asdict(volume.header),
        "sop_uids": volume.sop_uids, "spacing_known": volume.spacing_known, "warnings": volume.warnings,
    }
    return {"volume": facts}, volume.voxels


def _frames(files: Sequence[Path | bytes], numbers: list[int]) -> Answer:
    frames = stored_frames(parse(files[0]), numbers)
    facts = {"photometric": frames.photometric, "bits_allocated": frames.bits_allocated, "bits_stored": frames.bits_stored}
    return {"frames": facts}, frames.values


def _rendered(files: Sequence[Path | bytes], numbers: list[int]) -> Answer:
    return {}, rendered(parse(files[0]), numbers[0])


OPERATIONS: dict[str, Callable[[Sequence[Path | bytes], list[int]], Answer]] = {
    "read": _read, "frames": _frames, "rendered": _rendered,
}


def serve(parent: socket.socket, memory_mib: int) -> None:
    """Answer requests until the parent closes the socket."""
    _limit(memory_mib)
    room = _Room(parent)
    _send(parent, {"ready": True})
    while (head := _receive(parent, LENGTH.size)) is not None:
        text = _receive(parent, min(LENGTH.unpack(head)[0], MAX_REQUEST_BYTES))
        if text is None:
            return
        request = json.loads(text)
        _limit_cpu(request["timeout_s"])
        try:
            given = room.files(request["sizes"]) if "sizes" in request else [Path(path) for path in request["paths"]]
            answer, array = OPERATIONS[request["operation"]](given, request["numbers"])
        except UnusableInput as error:
            _send(parent, {"unusable": {"code": error.code, "message": str(error)}})
        except MemoryError:
            _send(parent, {"failed": f"needed more than {memory_mib} MiB of memory"})
        else:
            _send(parent, {**answer, "array": {"shape": array.shape, "dtype": array.dtype.str[1:]}})
            try:
                room.hand_over(array)
            except MemoryError:
                parent.sendall(NO_MEMORY)


class _Room:
    """The memory shared with the parent: files come in it, arrays go out. The parent makes it, sends it when it is new."""

    def __init__(self, parent: socket.socket) -> None:
        self.parent = parent
        self.shared: mmap.mmap | None = None

    def files(self, sizes: list[int]) -> list[Path | bytes]:
        shared, at = self._given(), 0
        _receive(self.parent, len(DONE))
        files: list[Path | bytes] = []
        for size in sizes:
            files.append(shared[at : at + size])
            at += size
        return files

    def hand_over(self, array: NDArray[Any]) -> None:
        shared = self._given()
        np.copyto(np.frombuffer(shared, array.dtype, array.size).reshape(array.shape), array)
        if len(shared) > KEPT_BYTES:
            self.shared = None
        self.parent.sendall(DONE)

    def _given(self) -> mmap.mmap:
        _, fds, _, _ = socket.recv_fds(self.parent, len(DONE), 1)
        if fds:
            self.shared = None  # unmap before another is mapped: both would count
            try:
                self.shared = mmap.mmap(fds[0], os.fstat(fds[0]).st_size)
            except OSError as error:
                raise MemoryError from error
            finally:
                os.close(fds[0])
        if self.shared is None:
            raise EOFError  # the parent is gone
        return self.shared


def _limit(memory_mib: int) -> None:
    """Give up whatever reading images does not need. What is mapped but not resident now is code and does not count."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal or a service manager tells the whole group: the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    mapped, resident = (int(pages) * mmap.PAGESIZE for pages in Path("/proc/self/statm").read_text("ascii").split()[:2])
    for limit, value in (
        (resource.RLIMIT_AS, mapped - resident + memory_mib * MIB),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, _SPARE_FILES),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(limit, (value, value))


def _limit_cpu(timeout_s: float) -> None:
    """Die of SIGXCPU should the parent, which has the wall clock, be stopped itself."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time() + timeout_s) + _GRACE_S, resource.RLIM_INFINITY))


def die_with_parent() -> None:
    """Let the kernel end this process when standard input, a pipe that only the parent holds, is closed.

    PR_SET_PDEATHSIG would end it with the parent's *thread*; waiting for the end of the socket would not interrupt a
    decoder. See fcntl(2), O_ASYNC: the default of SIGIO is to end the process.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _send(parent: socket.socket, answer: dict[str, Any]) -> None:
    text = json.dumps(answer).encode()
    parent.sendall(LENGTH.pack(len(text)) + text)


def _receive(parent: socket.socket, size: int) -> bytes | None:
    """Return exactly ``size`` bytes, None when the parent is gone."""
    parts = bytearray()
    while len(parts) < size:
        part = parent.recv(size - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


if __name__ == "__main__":
    die_with_parent()
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
