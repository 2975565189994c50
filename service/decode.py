"""Decoder: untrusted DICOM files are read in a process of their own, with limits on memory and time.

Whatever a file does to that process, this one gets a Volume or an exception. Linux only: memfd, seals, limits.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from models.dicom_frames import Frames
from models.errors import DiaphaneError, UnusableInput
from models.volume import Header, Units, Volume
from service.decoding import DONE, KEPT_BYTES, LENGTH, MIB

PROGRAM = (sys.executable, "-m", "service.decoding")
MAX_ANSWER_BYTES = 4 * MIB  # without pixels: 5,000 UIDs are 0.4 MB
MAX_CASES = 1_000  # then a fresh process: native decoders leak, and memory falls to pieces
_START_S = 60.0
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1",
    # the memory of one image is kept for the next, see serve.keep_memory: 7 ms a radiograph of 2 MB instead of 8
    "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(32 * MIB), "MALLOC_TRIM_THRESHOLD_": str(256 * MIB),
}
_KEPT = ("LD_LIBRARY_PATH", "VIRTUAL_ENV")  # of ours, where Python itself needs them


class DecoderFailed(DiaphaneError):
    """The decoding process was killed, died, ran out of time or memory, or answered nonsense. ``reason`` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The images could not be decoded: the decoding process {reason}.")
        self.reason = reason


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Array(_Strict):
    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2, max_length=4)]
    dtype: Literal["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]


class _VolumeFacts(_Strict):
    units: Units
    affine: Annotated[tuple[float, ...], Field(min_length=16, max_length=16)]
    header: Header
    sop_uids: tuple[Annotated[str, Field(max_length=128)], ...]
    spacing_known: bool
    warnings: tuple[Annotated[str, Field(pattern="^[a-z_]{1,64}$")], ...]


class _FrameFacts(_Strict):
    photometric: Annotated[str, Field(pattern="^[A-Z0-9_ ]{1,16}$")]
    bits_allocated: Literal[1, 8, 16, 32, 64]
    bits_stored: Annotated[int, Field(ge=1, le=64)]


class _Unusable(_Strict):
    code: Annotated[str, Field(pattern="^[a-z0-9_]{1,64}$")]
    message: Annotated[str, Field(max_length=1000)]


class _Answer(_Strict):
    """What the process may say. Nothing else of it is believed."""

    ready: bool = False
    unusable: _Unusable | None = None
    failed: Annotated[str, Field(max_length=100)] | None = None
    array: _Array | None = None
    volume: _VolumeFacts | None = None
    frames: _FrameFacts | None = None


class _OutOfMemory(DecoderFailed):
    """It said itself that its memory does not do."""


class Decoder:
    """Reads one case at a time; calls from several threads wait for each other. Use one a thread to read in parallel.

    The process starts with the first call (about a second), stays, and is replaced after it was killed or has served
    long enough. It ends with this one, however this one ends.
    """

    def __init__(self, timeout_s: float = 60.0, memory_mib: int = 2048) -> None:
        self.timeout_s, self.memory_mib = timeout_s, memory_mib
        self._lock = Lock()
        self._child: _Child | None = None

    def read(self, files: Sequence[Path | bytes]) -> Volume:
        """Do ``read_dicom`` there. Raises UnusableInput as it does, and DecoderFailed. The voxels are read-only."""
        answer, array = self._ask("read", files, ())
        facts = answer.volume
        if facts is None or array.dtype != np.float32 or array.ndim != 3 or len(facts.sop_uids) not in (0, len(array)):
            raise DecoderFailed("gave an impossible answer")
        affine = np.array(facts.affine, dtype=np.float64).reshape(4, 4)
        return Volume(array, affine, facts.units, facts.header, facts.sop_uids, facts.spacing_known, facts.warnings)

    def frames(self, file: Path | bytes, numbers: Sequence[int]) -> Frames:
        """Do ``stored_frames`` there: the stored values of frames 1, 2, … of one object. Raises as ``read``."""
        answer, array = self._ask("frames", (file,), numbers)
        facts = answer.frames
        if facts is None or len(array) != len(numbers):
            raise DecoderFailed("gave an impossible answer")
        return Frames(array, facts.photometric, facts.bits_allocated, facts.bits_stored)

    def rendered(self, file: Path | bytes, number: int = 1) -> NDArray[np.uint8]:
        """Do ``rendered`` there: uint8 (rows, columns), or (rows, columns, 3) for colour. Raises as ``read``."""
        _, array = self._ask("rendered", (file,), (number,))
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise DecoderFailed("gave an impossible answer")
        return array

    def close(self) -> None:
        """End the process. A later call starts another."""
        with self._lock:
            self._end()

    def _ask(self, operation: str, files: Sequence[Path | bytes], numbers: Sequence[int]) -> tuple[_Answer, NDArray[Any]]:
        with self._lock:
            while True:
                if self._child is None or not self._child.useful():
                    self._end()
                    self._child = _Child(self.memory_mib)
                try:
                    return self._child.ask(operation, files, numbers, self.timeout_s)
                except UnusableInput:
                    raise
                except _OutOfMemory:
                    first = self._child.asked == 1
                    self._end()
                    if first:  # what was read before may have left the memory in pieces: only a fresh process can tell
                        raise
                except BaseException:  # an interrupt too: the conversation is broken off
                    self._end()
                    raise

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


class _Child:
    """The process and the conversation with it. Any DecoderFailed it raises means that it must be ended."""

    def __init__(self, memory_mib: int) -> None:
        self.memory_mib, self.asked = memory_mib, 0
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(  # noqa: S603  our own module
                [*PROGRAM, str(theirs.fileno()), str(memory_mib)],
                cwd=Path(__file__).parents[1], env=_ENVIRONMENT | {name: os.environ[name] for name in _KEPT if name in os.environ},
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,  # libraries quote what they read
                pass_fds=(theirs.fileno(),),
            )
        self.deadline = time.monotonic() + _START_S
        self.ready = False
        self.shared: mmap.mmap | None = None

    def useful(self) -> bool:
        """Tell whether it lives and may serve another case."""
        return self.asked < MAX_CASES and self.process.poll() is None

    def ask(
        self, operation: str, files: Sequence[Path | bytes], numbers: Sequence[int], timeout_s: float
    ) -> tuple[_Answer, NDArray[Any]]:
        self.asked += 1
        try:
            if not self.ready:
                self.ready = self._answer().ready
            self.deadline = time.monotonic() + timeout_s
            self._request(operation, files, numbers, timeout_s)
            answer = self._answer()
            if answer.unusable:
                raise UnusableInput(answer.unusable.message, code=answer.unusable.code)
            if answer.failed:
                raise _OutOfMemory(answer.failed)
            if answer.array is None:
                raise DecoderFailed("gave an impossible answer")
            return answer, self._take(answer.array)
        except TimeoutError as error:
            raise DecoderFailed(f"took longer than {timeout_s:g} s") from error
        except (OSError, EOFError) as error:
            raise DecoderFailed(self._death()) from error
        except ValidationError as error:
            raise DecoderFailed("gave an impossible answer") from error.__cause__  # its text quotes what was said

    def end(self) -> None:
        """Kill it and let go of everything."""
        self.process.kill()
        self.process.communicate()
        self.socket.close()

    def _request(self, operation: str, files: Sequence[Path | bytes], numbers: Sequence[int], timeout_s: float) -> None:
        request: dict[str, Any] = {"operation": operation, "numbers": list(numbers), "timeout_s": timeout_s}
        paths = [str(file.resolve()) for file in files if isinstance(file, Path)]
        if len(paths) == len(files):
            self._send(request | {"paths": paths})
            return
        parts = [file.read_bytes() if isinstance(file, Path) else file for file in files]
        self._send(request | {"sizes": [len(part) for part in parts]})
        shared = self._room(sum(len(part) for part in parts))
        at = 0
        for part in parts:
            shared[at : at + len(part)] = part
            at += len(part)
        self.socket.sendall(DONE)

    def _take(self, array: _Array) -> NDArray[Any]:
        """Make room for an array of bounded size, let it be filled, and copy it: from then on nobody can change it."""
        dtype = np.dtype(array.dtype)
        size = dtype.itemsize
        for length in array.shape:
            size *= length
        if size > self.memory_mib * MIB:
            raise DecoderFailed("gave an impossible answer")
        shared = self._room(size)
        if self._receive(len(DONE)) != DONE:
            raise _OutOfMemory(f"needed more than {self.memory_mib} MiB of memory")
        taken = np.frombuffer(shared, dtype, size // dtype.itemsize).reshape(array.shape).copy()
        if len(shared) > KEPT_BYTES:
            self.shared = None
        return taken

    def _room(self, size: int) -> mmap.mmap:
        """Return shared memory of at least ``size``, and say so. The first pages are slow, so it is kept for the next case."""
        if self.shared is not None and len(self.shared) >= size:
            self.socket.sendall(DONE)
            return self.shared
        size = max(8 * MIB, 1 << (size - 1).bit_length() if size < KEPT_BYTES else size)
        shared = os.memfd_create("case", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(shared, size)
            fcntl.fcntl(shared, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)  # shrunk there: SIGBUS here
            socket.send_fds(self.socket, [DONE], [shared])
            self.shared = mmap.mmap(shared, size)
        finally:
            os.close(shared)
        return self.shared

    def _send(self, request: dict[str, Any]) -> None:
        text = json.dumps(request).encode()
        self.socket.settimeout(self._left())
        self.socket.sendall(LENGTH.pack(len(text)) + text)

    def _answer(self) -> _Answer:
        length = LENGTH.unpack(self._receive(LENGTH.size))[0]
        if length > MAX_ANSWER_BYTES:
            raise DecoderFailed("gave an impossible answer")
        return _Answer.model_validate_json(self._receive(length))

    def _receive(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            self.socket.settimeout(self._left())
            part = self.socket.recv(size - len(parts))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _death(self) -> str:
        """Say what became of it, now that it answers no more."""
        try:
            status = self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return "broke off"
        return f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

