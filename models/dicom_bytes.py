"""Untrusted bytes → a pydicom Dataset whose size, depth and pixel claims were checked before anything was decoded.

pydicom believes what a file declares: 838 bytes can ask for 4 GiB. Everything here is counted first, on the bytes.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileDataset
from pydicom.uid import AllTransferSyntaxes

from models.errors import UnusableInput

MAX_FILE_BYTES = 640_000_000
MAX_PIXEL_BYTES = 512_000_000  # Rows x Columns x NumberOfFrames x SamplesPerPixel x bytes, of a whole series
MAX_ELEMENTS = 400_000  # an enhanced object of 2,000 frames has about 120,000
MAX_DEPTH = 16
MAX_INFLATE_RATIO, MIN_INFLATE_BYTES = 50, 32_000_000
MAX_RLE_RATIO = 64  # two bytes of RLE make at most 128

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
RLE = "1.2.840.10008.1.2.5"
EXECUTABLES = (
    b"MZ",
    b"\x7fELF",
    b"#!",
    b"\xca\xfe\xba\xbe",
    b"\xfe\xed\xfa\xce",
    b"\xfe\xed\xfa\xcf",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
)
TRANSFER_SYNTAXES = frozenset(str(uid) for uid in AllTransferSyntaxes)
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END, PIXEL_DATA = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT_VRS = frozenset(
    (
        b"AE",
        b"AS",
        b"AT",
        b"CS",
        b"DA",
        b"DS",
        b"DT",
        b"FD",
        b"FL",
        b"IS",
        b"LO",
        b"LT",
        b"PN",
        b"SH",
        b"SL",
        b"SS",
        b"ST",
        b"TM",
        b"UI",
        b"UL",
        b"US",
    )
)

# pydicom's messages quote values, and values are people's names. Whatever is wrong is found out when it is used.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


def parse(source: Path | bytes) -> FileDataset:
    """Return the parsed dataset. Raises UnusableInput for anything that is not one whole, bounded DICOM file."""
    data = _bytes_of(source)
    if len(data) < 132 or data[128:132] != b"DICM":
        raise UnusableInput(
            "A DICOM file must have 'DICM' at byte 128 (PS3.10, 7.1), found something else. "
            "Send DICOM files as they were stored.",
            code="not_dicom",
        )
    if data.startswith(EXECUTABLES):
        raise UnusableInput(
            "The preamble of a DICOM file must not be a program (PS3.10, 7.5), found the start of one. "
            "Do not open this file; ask who sent it.",
            code="executable_preamble",
        )
    syntax, start = _transfer_syntax(data)
    if syntax not in TRANSFER_SYNTAXES:
        raise UnusableInput(
            "TransferSyntaxUID must be one of the standard's (PS3.6, table A-1), found another. "
            "Send the file uncompressed.",
            code="unknown_transfer_syntax",
        )
    body = memoryview(data)[start:]
    if syntax == DEFLATED:
        body = memoryview(_inflate(body))
    try:
        _Walk(little=syntax != BIG_ENDIAN).dataset(body, implicit=syntax == IMPLICIT)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(data))
    except UnusableInput:
        raise
    except Exception as error:  # pydicom raises many unrelated classes on damaged files
        raise _damaged() from error
    if str(dataset.file_meta.get("TransferSyntaxUID")) != syntax:  # read twice in two ways: a trick, or damage
        raise _damaged()
    return dataset


def check_pixel_claims(dataset: FileDataset) -> int:
    """Return the bytes the pixels will take decoded. Raises UnusableInput when they cannot be as declared."""
    declared = [
        whole_number(dataset, keyword, default)
        for keyword, default in (
            ("Rows", 0),
            ("Columns", 0),
            ("NumberOfFrames", 1),
            ("SamplesPerPixel", 1),
            ("BitsAllocated", 0),
        )
    ]
    rows, columns, frames, samples, bits = declared
    if min(declared) < 1 or samples > 4 or bits not in (1, 8, 16, 32, 64):
        raise UnusableInput(
            "Rows, Columns, NumberOfFrames, SamplesPerPixel and BitsAllocated must describe an image, "
            f"found {' x '.join(str(n) for n in declared)}. Send an image object.",
            code="bad_pixel_description",
        )
    needed = rows * columns * frames * samples * bits // 8
    if needed > MAX_PIXEL_BYTES:
        raise UnusableInput(
            f"Pixels may take {MAX_PIXEL_BYTES:,} bytes decoded, found {rows} x {columns} x {frames} frames "
            f"= {needed:,}. Send fewer frames or one series.",
            code="too_many_pixels",
        )
    syntax = dataset.file_meta.TransferSyntaxUID
    if "PixelData" in dataset and syntax.is_encapsulated:
        _check_encapsulated(dataset.get_item("PixelData").value or b"", rows, columns, needed, str(syntax))
    return needed


def whole_number(dataset: pydicom.Dataset, keyword: str, default: int = 0) -> int:
    """Return an integer attribute, the default when absent. Raises UnusableInput when it is no integer."""
    try:
        value = dataset.get(keyword)
        return default if value is None or value == "" else int(value)
    except Exception as error:  # lazily converted by pydicom: any class
        raise UnusableInput(
            f"{keyword} must be a whole number, found something else. Correct the header.", code="bad_pixel_description"
        ) from error


def _bytes_of(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        size, data = len(source), source
    else:
        try:
            size = source.stat().st_size
            data = source.read_bytes() if size <= MAX_FILE_BYTES else b""
        except OSError as error:
            raise UnusableInput(
                "The file could not be read from disk. Check that it exists and may be read.", code="unreadable_file"
            ) from error
    if size > MAX_FILE_BYTES:
        raise UnusableInput(
            f"A file may hold {MAX_FILE_BYTES:,} bytes, found {size:,}. Send fewer frames a file.", code="too_large"
        )
    return data


def _damaged() -> UnusableInput:
    return UnusableInput(
        "The DICOM file must be whole (PS3.10); it could not be parsed. Send it again from its source.",
        code="damaged_dicom",
    )


def _transfer_syntax(data: bytes) -> tuple[str, int]:
    """Return the transfer syntax of the file meta information (always explicit little endian) and where it ends."""
    at, syntax = 132, ""
    while at + 8 <= len(data) and data[at : at + 2] == b"\x02\x00":
        element = data[at + 2 : at + 4]
        vr = data[at + 4 : at + 6]
        if vr in LONG_VRS:
            if at + 12 > len(data):
                raise _damaged()
            length, value = struct.unpack_from("<I", data, at + 8)[0], at + 12
        else:
            length, value = struct.unpack_from("<H", data, at + 6)[0], at + 8
        if value + length > len(data):
            raise _damaged()
        if element == b"\x10\x00":
            syntax = data[value : value + length].rstrip(b"\0 ").decode("ascii", "replace")
        at = value + length
    if not syntax:
        raise UnusableInput(
            "The file meta information must state a TransferSyntaxUID (PS3.10, 7.1), found none. "
            "Store the file again with its source.",
            code="no_transfer_syntax",
        )
    return syntax, at


def _inflate(body: memoryview) -> bytes:
    allowed = max(MIN_INFLATE_BYTES, MAX_INFLATE_RATIO * len(body))
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(body, allowed + 1)
    except zlib.error as error:
        raise _damaged() from error
    if len(inflated) > min(allowed, MAX_FILE_BYTES):
        raise UnusableInput(
            f"A deflated file may unpack to {min(allowed, MAX_FILE_BYTES):,} bytes, found more. Send it uncompressed.",
            code="too_large",
        )
    return inflated


class _Walk:
    """Go through the structure of a dataset without keeping anything: count elements, bound lengths and depth."""

    def __init__(self, *, little: bool) -> None:
        self.tag = struct.Struct("<HH" if little else ">HH")
        self.short = struct.Struct("<H" if little else ">H")
        self.long = struct.Struct("<I" if little else ">I")
        self.seen = 0

    def dataset(self, data: memoryview, *, implicit: bool, at: int = 0, depth: int = 0, inside: bool = False) -> int:
        """Walk elements until the end of data, or until an item's end when its length is undefined; return where."""
        if depth > MAX_DEPTH:
            raise UnusableInput(
                f"Sequences may nest {MAX_DEPTH} deep, found more. Send the object as its maker wrote it.",
                code="too_deep",
            )
        while at + 8 <= len(data):
            self._count()
            tag = self._tag(data, at)
            if inside and tag == ITEM_END:
                return at + 8
            vr, length, value = self._head(data, at, implicit)
            if length == UNDEFINED:
                if tag == PIXEL_DATA:
                    at = self._items(data, value, None, depth)
                else:
                    at = self._items(data, value, implicit or vr == b"UN", depth)
                continue
            if value + length > len(data):
                raise UnusableInput(
                    "Every element must end inside the file, found one that declares more bytes than there "
                    "are. The file is cut short; send it again.",
                    code="truncated",
                )
            if length >= 8 and (vr == b"SQ" or (vr in (b"", b"UN") and _is_sequence(tag))):
                self._items(data[value : value + length], 0, implicit or vr == b"UN", depth)
            at = value + length
        if inside:
            raise UnusableInput(
                "Every item must be closed, found the end of the file. Send it again.", code="truncated"
            )
        return at

    def _items(self, data: memoryview, at: int, implicit: bool | None, depth: int) -> int:
        """Walk the items of a sequence (``implicit`` None: the fragments of pixel data) and return where they end."""
        while at + 8 <= len(data):
            self._count()
            tag, length = self._tag(data, at), self.long.unpack_from(data, at + 4)[0]
            at += 8
            if tag == SEQUENCE_END:
                return at
            if tag != ITEM:
                raise _damaged()
            if length == UNDEFINED:
                if implicit is None:
                    raise _damaged()
                at = self.dataset(data, implicit=implicit, at=at, depth=depth + 1, inside=True)
            else:
                if at + length > len(data):
                    raise UnusableInput(
                        "Every item must end inside the file, found one that declares more bytes than "
                        "there are. Send the file again.",
                        code="truncated",
                    )
                if implicit is not None and length >= 8:
                    self.dataset(data[at : at + length], implicit=implicit, depth=depth + 1)
                at += length
        return at

    def _tag(self, data: memoryview, at: int) -> int:
        group, element = self.tag.unpack_from(data, at)
        return int(group) << 16 | int(element)

    def _head(self, data: memoryview, at: int, implicit: bool) -> tuple[bytes, int, int]:
        """Return VR (empty when implicit), length and where the value starts."""
        if implicit:
            return b"", self.long.unpack_from(data, at + 4)[0], at + 8
        vr = bytes(data[at + 4 : at + 6])
        if vr in SHORT_VRS:
            return vr, self.short.unpack_from(data, at + 6)[0], at + 8
        if vr in LONG_VRS and at + 12 <= len(data):
            return vr, self.long.unpack_from(data, at + 8)[0], at + 12
        if not any(data[at : at + 8]):  # zeros after the dataset are padding some archives add
            return b"UN", 0, at + 8
        raise _damaged()

    def _count(self) -> None:
        self.seen += 1
        if self.seen > MAX_ELEMENTS:
            raise UnusableInput(
                f"A file may hold {MAX_ELEMENTS:,} elements and items, found more. Send fewer frames a file.",
                code="too_many_elements",
            )


def _is_sequence(tag: int) -> bool:
    try:
        return bool(dictionary_VR(tag) == "SQ")
    except KeyError:
        return False


def _check_encapsulated(pixel_data: bytes, rows: int, columns: int, needed: int, syntax: str) -> None:
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
    """Yield (rows, columns) stated by each JPEG, JPEG-LS or JPEG 2000 codestream that starts a fragment."""
    at = 0
    while at + 8 <= len(pixel_data):
        element, length = struct.unpack_from("<I", pixel_data, at)[0], struct.unpack_from("<I", pixel_data, at + 4)[0]
        at += 8
        if element != 0xE000FFFE or length == UNDEFINED:
            return
        fragment = memoryview(pixel_data)[at : at + length]
        start = bytes(fragment[:4096])
        if start[4:8] == b"jP  ":  # a JP2 file around the codestream: not allowed by the standard, and sent by some
            start = start[max(start.find(b"\xff\x4f\xff\x51"), 0) :]
        if start.startswith(b"\xff\x4f\xff\x51") and len(start) >= 24:  # J2K: SOC, SIZ: Xsiz, Ysiz, XOsiz, YOsiz
            right, bottom, left, top = struct.unpack_from(">4I", start, 8)
            yield bottom - top, right - left
        elif start.startswith(b"\xff\xd8"):
            size = _jpeg_size(fragment)
            if size:
                yield size
        at += length


def _jpeg_size(fragment: memoryview) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(fragment):
        if fragment[at] != 0xFF:
            return None
        marker = fragment[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns = struct.unpack_from(">HH", fragment, at + 5)
            return rows, columns
        at += 2 + struct.unpack_from(">H", fragment, at + 2)[0]
    return None
