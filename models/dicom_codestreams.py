"""Compressed pixel data against the header: what a codestream says of its size is what a decoder allocates."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from models.errors import UnusableInput

MAX_RLE_RATIO = 64  # two bytes of RLE make at most 128
MAX_HEAD_BYTES = 262_144  # of a codestream, before it must state its size: application segments may hold a colour profile
RLE = "1.2.840.10008.1.2.5"


def check_codestreams(pixel_data: bytes, rows: int, columns: int, needed: int, syntax: str) -> None:
    """Raise UnusableInput when compressed frames state another size than the header, or cannot unpack to so much."""
    if syntax == RLE and needed > MAX_RLE_RATIO * len(pixel_data):
        raise UnusableInput(
            f"RLE data of {len(pixel_data):,} bytes cannot unpack to the {needed:,} declared. "
            "Send the file again from its source.",
            code="bad_pixel_description",
        )
    for size in _codestream_sizes(pixel_data):
        if size != (rows, columns):
            raise UnusableInput(
                f"Compressed frames must be {rows} x {columns} as Rows and Columns say, found {size[0]} x "
                f"{size[1]}. Send the file again from its source.",
                code="bad_pixel_description",
            )


def _codestream_sizes(pixel_data: bytes) -> Iterator[tuple[int, int]]:
    """Yield (rows, columns) stated by each JPEG, JPEG-LS or JPEG 2000 codestream, also when its head is in several fragments."""
    head, sized = b"", False
    for fragment in _fragments(pixel_data):
        if bytes(fragment[:2]) in (b"\xff\xd8", b"\xff\x4f") or not head:
            head, sized = bytes(fragment[:MAX_HEAD_BYTES]), False
        elif not sized and len(head) < MAX_HEAD_BYTES:
            head += fragment[: MAX_HEAD_BYTES - len(head)]
        if not sized:
            if size := _size(head):
                sized = True
                yield size
            if head.startswith(b"\xff\xd8"):
                _check_segments(head)


def _fragments(pixel_data: bytes) -> Iterator[memoryview]:
    """Yield the fragments that are not empty, after the basic offset table."""
    at, first = 0, True
    while at + 8 <= len(pixel_data):
        element, length = struct.unpack_from("<II", pixel_data, at)
        at += 8
        if element != 0xE000FFFE or length == 0xFFFFFFFF:
            return
        if length and not first:
            yield memoryview(pixel_data)[at : at + length]
        first = False
        at += length


def _size(head: bytes) -> tuple[int, int] | None:
    if head[4:8] == b"jP  ":  # a JP2 file around the codestream: not allowed by the standard, and sent by some
        head = head[max(head.find(b"\xff\x4f\xff\x51"), 0) :]
    if head.startswith(b"\xff\x4f\xff\x51") and len(head) >= 24:  # J2K: SOC, SIZ: Xsiz, Ysiz, XOsiz, YOsiz
        right, bottom, left, top = struct.unpack_from(">4I", head, 8)
        return bottom - top, right - left
    return _jpeg_size(head) if head.startswith(b"\xff\xd8") else None


def _jpeg_size(head: bytes) -> tuple[int, int] | None:
    for at, marker in _segments(head):
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns = struct.unpack_from(">HH", head, at + 5)
            return rows, columns
    return None


def _check_segments(head: bytes) -> None:
    """Raise UnusableInput for bytes between the segments before the first scan: gdcm ends the process over these."""
    if any(marker == -1 for _, marker in _segments(head)):
        raise UnusableInput(
            "A JPEG must be segments without anything between (ISO 10918-1, B.1.1), found other bytes. "
            "Send the image again, or uncompressed.",
            code="undecodable_pixels",
        )


def _segments(head: bytes) -> Iterator[tuple[int, int]]:
    """Yield place and marker of each segment up to the first scan; marker -1, and no more, where there is none."""
    at = 2
    while at + 9 <= len(head):
        marker = head[at + 1] if head[at] == 0xFF else -1
        if marker == 0xFF:  # fill
            at += 1
            continue
        yield at, marker
        if marker in (-1, 0xDA):
            return
        at += 2 + struct.unpack_from(">H", head, at + 2)[0]
