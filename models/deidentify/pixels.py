"""Pixels: what lies hidden beside them goes: comments of a codestream, bits that are not stored, bytes after the last frame."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from pydicom.dataset import Dataset

from models.dicom_bytes import whole_number

_PLAIN_APPLICATIONS = frozenset((0xE0, 0xE8, 0xEE))  # JFIF, SPIFF and JPEG-LS colour, Adobe colour: a decoder needs them
_STAND_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))
_J2K_COMMENT = 0x64
_KINDS = {8: "u1", 16: "u2", 32: "u4"}


def scrub(dataset: Dataset, *, big_endian: bool, encapsulated: bool) -> bool:
    """Clean ``PixelData`` in place; tell whether a byte was changed. Stored values are never changed."""
    data = dataset.get("PixelData")
    if not data:
        return False
    made = _without_comments(bytes(data)) if encapsulated else _without_spare(dataset, bytes(data), big_endian=big_endian)
    if made == data:
        return False
    dataset["PixelData"].value = made
    return True


def _without_comments(data: bytes) -> bytes:
    """Overwrite the text of comments and application segments with zeros; nothing moves, so offset tables stay right."""
    made = bytearray(data)
    for start, end in _fragments(data):
        if data[start : start + 2] == b"\xff\xd8":
            _blank(made, _jpeg_texts(data, start, end))
        else:
            first = data.find(b"\xff\x4f\xff\x51", start, min(end, start + 4096))  # some send a JP2 file around it
            if first >= 0:
                _blank(made, [(start, first)] if first > start else [])
                _blank(made, _j2k_texts(data, first, end))
    return bytes(made)


def _blank(made: bytearray, places: Iterator[tuple[int, int]] | list[tuple[int, int]]) -> None:
    for start, end in places:
        made[start:end] = bytes(end - start)


def _fragments(data: bytes) -> Iterator[tuple[int, int]]:
    at, first = 0, True
    while at + 8 <= len(data):
        element, length = struct.unpack_from("<II", data, at)
        at += 8
        if element != 0xE000FFFE or length == 0xFFFFFFFF:
            return
        if not first:
            yield at, min(at + length, len(data))
        first = False
        at += length


def _jpeg_texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the text of COM and APPn segments lies, up to the first scan."""
    at = start + 2
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker in _STAND_ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker == 0xDA:
            return
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        if marker == 0xFE or (0xE0 <= marker <= 0xEF and marker not in _PLAIN_APPLICATIONS):
            yield at + 4, min(at + 2 + length, end)
        at += 2 + length


def _j2k_texts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where the text of COM segments lies in the main header, before the first tile."""
    at = start + 2
    while at + 4 <= end and data[at] == 0xFF and data[at + 1] != 0x90:
        length = int(struct.unpack_from(">H", data, at + 2)[0])
        if data[at + 1] == _J2K_COMMENT:
            yield at + 6, min(at + 2 + length, end)  # after Rcom, which says of what kind the text is
        at += 2 + length


def _without_spare(dataset: Dataset, data: bytes, *, big_endian: bool) -> bytes:
    """Drop bits that are not stored, where old overlays lie, and bytes after the last frame."""
    allocated, stored = whole_number(dataset, "BitsAllocated"), whole_number(dataset, "BitsStored")
    samples = whole_number(dataset, "SamplesPerPixel", 1)
    values = whole_number(dataset, "Rows") * whole_number(dataset, "Columns") * samples
    values *= max(whole_number(dataset, "NumberOfFrames", 1), 1)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        values = values * 2 // 3
    needed = (values * allocated + 7) // 8
    if 0 < needed < len(data):
        data = data[:needed] + b"\x00" * (needed % 2)
    top = whole_number(dataset, "HighBit", stored - 1) + 1
    if allocated not in _KINDS or not 0 < stored < allocated or not stored <= top <= allocated:
        return data
    return _masked(data, np.dtype((">" if big_endian else "<") + _KINDS[allocated]), stored, top,
                   signed=whole_number(dataset, "PixelRepresentation") == 1)


def _masked(data: bytes, kind: np.dtype[np.unsignedinteger], stored: int, top: int, *, signed: bool) -> bytes:
    """Return values with their stored bits alone; the sign goes on into the bits above, as the standard has it."""
    whole = len(data) // kind.itemsize * kind.itemsize
    values = np.frombuffer(data[:whole], kind).astype(kind.newbyteorder("="))
    mask = ((1 << stored) - 1) << (top - stored)
    kept = values & values.dtype.type(mask)
    if signed:
        above = values.dtype.type((1 << 8 * kind.itemsize) - (1 << top))
        negative = (values & values.dtype.type(1 << (top - 1))) != 0
        kept = np.where(negative, kept | above, kept)
    return bytes(kept.astype(kind).tobytes()) + data[whole:]
