"""multipart/related (RFC 2046, 2387) as a stream: parts are found while the body arrives, and written as it leaves.

Memory is bounded by one part, not by the body. A part's own Content-Length is not believed: the boundary ends it.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from service.dicom.accept import MULTIPART, MediaType, media_type
from service.problem import ProblemError

MAX_HEAD_BYTES = 8 * 1024
LONGEST_BOUNDARY = 200  # RFC 2046 says 70; Orthanc's DICOMweb client sends 73
MAX_AROUND_BYTES = 64 * 1024  # before the first boundary and after the last


@dataclass(frozen=True)
class Part:
    """One part: its content, the type it declares ("" when none), and whether it was larger than allowed (then empty)."""

    data: bytes
    declared: str = ""
    too_large: bool = False


def boundary_of(kind: MediaType) -> bytes:
    """Return the delimiter of a multipart type. Raises ProblemError when it has none that the RFC allows."""
    boundary = kind.parameters.get("boundary", "")
    if not boundary or len(boundary) > LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise ProblemError("bad_multipart", f"A multipart content type needs a boundary of 1 to {LONGEST_BOUNDARY} characters.")
    return b"--" + boundary.encode("ascii")


class Cutter:
    """Cut a stream of bytes into parts. Feed it with ``add``; take parts with ``next``."""

    def __init__(self, delimiter: bytes, *, max_part_bytes: int, max_parts: int) -> None:
        self._first, self._delimiter = delimiter, b"\r\n" + delimiter
        self._max_part, self._max_parts = max_part_bytes, max_parts
        self._buffer = bytearray(b"\r\n")  # so that the first boundary is found like the others
        self._searched = 0
        self._state = "before"
        self._head = b""
        self._dropping = self._closing = False
        self._count = 0

    @property
    def held(self) -> int:
        """How many bytes wait here."""
        return len(self._buffer)

    @property
    def done(self) -> bool:
        """Whether the closing boundary was seen."""
        return self._state == "after"

    def add(self, chunk: bytes) -> None:
        """Take bytes as they arrive; what follows the closing boundary is dropped."""
        if not self.done:
            self._buffer += chunk

    def next(self) -> Part | None:
        """Return the next whole part, None when more bytes are needed. Raises ProblemError for what is no multipart."""
        while True:
            if self._state == "head":
                if not self._take_head():
                    return None
            else:
                found = self._take_content()
                if found is None:
                    return None
                if self._state == "before":
                    self._after_delimiter()
                    continue
                declared = self._declared()
                part = Part(b"" if self._dropping else found, declared, self._dropping)
                self._dropping = False
                self._after_delimiter()
                return part
            if self.done:
                return None

    def finish(self) -> None:
        """Say that the stream has ended. Raises ProblemError when it ended too early."""
        if not self.done:
            raise ProblemError("bad_multipart", "The last part must end with the boundary; the body is cut short.")

    def _take_content(self) -> bytes | None:
        """Return what stands before the next boundary line and remove both; None when it is not here yet."""
        while self._state != "after":
            at = self._buffer.find(self._delimiter, self._searched)
            if at < 0:
                self._searched = max(0, len(self._buffer) - len(self._delimiter))
                if self._too_much(self._searched):
                    del self._buffer[: self._searched]
                    self._searched = 0
                return None
            ends = self._line_ends(at + len(self._delimiter))
            if ends is None:
                self._searched = at
                return None
            if ends < 0:  # a longer word that only starts like the boundary: it is content
                self._searched = at + len(self._delimiter)
                continue
            content = b"" if self._too_much(at) else bytes(memoryview(self._buffer)[2:at])
            del self._buffer[:ends]
            self._searched = 0
            return content
        return None

    def _line_ends(self, at: int) -> int | None:
        """Return where the boundary line that reads on at ``at`` ends, -1 when it is none, None when unknown yet."""
        rest = bytes(self._buffer[at : at + 256])
        if rest.startswith(b"--"):
            self._closing = True
            return at + 2
        padding = len(rest) - len(rest.lstrip(b" \t"))
        tail = rest[padding : padding + 2]
        if tail == b"\r\n":
            self._closing = False
            return at + padding  # the line's end stays: it may be the empty line of a part without headers
        if len(rest) < 256 and (tail in (b"", b"\r") or rest == b"-"):
            return None
        return -1

    def _after_delimiter(self) -> None:
        if self._closing:
            self._state = "after"
            self._buffer.clear()
            return
        self._count += 1
        if self._count > self._max_parts:
            raise ProblemError("too_many_parts", f"One request may hold {self._max_parts:,} parts, found more. "
                                                 "Send fewer objects in one request.")
        self._state = "head"

    def _take_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_HEAD_BYTES:
                raise ProblemError("bad_multipart", f"The headers of a part may take {MAX_HEAD_BYTES:,} bytes, found more.")
            return False
        self._head = bytes(self._buffer[:end])
        del self._buffer[: end + 2]  # one line's end stays, so that an empty part's boundary is found
        self._state, self._searched = "body", 0
        return True

    def _too_much(self, content: int) -> bool:
        """Bound what may stand before the next boundary. True: the part is too large and is not kept."""
        if self._state == "before" and content > MAX_AROUND_BYTES:
            raise ProblemError("bad_multipart", "The body must start with the boundary named in the content type.")
        self._dropping = self._dropping or content > self._max_part + 2
        return self._dropping

    def _declared(self) -> str:
        for line in self._head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-type":
                return media_type(value.decode("latin-1").strip()).name
        return ""


def new_boundary() -> str:
    """Make a boundary that no content holds but by a chance of 2 to the -128."""
    return secrets.token_hex(16)


def multipart_type(boundary: str, inner: str) -> str:
    """Return the content type of an answer whose parts are ``inner``."""
    return f'{MULTIPART}; type="{inner}"; boundary={boundary}'


async def written(parts: AsyncIterator[tuple[str, bytes]], boundary: str) -> AsyncIterator[bytes]:
    """Write (content type and further headers, content) as a multipart body."""
    async for head, data in parts:
        yield f"--{boundary}\r\nContent-Type: {head}\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        yield data
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()
