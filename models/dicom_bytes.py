"""Untrusted bytes → a pydicom Dataset whose size, depth and pixel claims were checked before anything was decoded.

pydicom believes what a file declares: 838 bytes can ask for 4 GiB. Everything here is counted first, on the bytes.
"""

from __future__ import annotations

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.uid import UID, AllTransferSyntaxes

from models.dicom_codestreams import check_codestreams
from models.errors import UnusableInput

MAX_FILE_BYTES = 640_000_000
MAX_PIXEL_BYTES = 512_000_000  # Rows x Columns x NumberOfFrames x SamplesPerPixel x bytes, of a whole series
MAX_ELEMENTS = 400_000  # an enhanced object of 2,000 frames has about 120,000,
MAX_ITEMS = 100_000  # in 20,000 items; pydicom takes 16 microseconds an item
MAX_DEPTH = 16
MAX_NUMBER_BYTES = 64  # of a whole number: IS has 12
MAX_SHORT_BYTES = 65_534  # of a value whose VR has a 16-bit length: in implicit VR it could claim more, and be a list of millions
MAX_INFLATE_RATIO, MIN_INFLATE_BYTES, MAX_INFLATE_BYTES = 50, 32_000_000, 256_000_000
CHUNK_BYTES = 1 << 20

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT = "1.2.840.10008.1.2"
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
LOOKED_AT = frozenset((0x0008, 0x0010, 0x0018, 0x0020, 0x0028))  # groups whose values are converted
ITEM, ITEM_END, SEQUENCE_END, PIXEL_DATA = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0x7FE00010
LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())

# pydicom's messages quote values, and values are people's names. Whatever is wrong is found out when it is used.
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True)
class Outline:
    """Where the elements of a file lie, found by counting; nothing is decoded."""

    syntax: str
    start: int  # of the dataset, in the file
    body: memoryview  # the dataset, inflated if it was deflated
    places: dict[int, tuple[bytes, int, int]]  # tag → VR (empty when implicit), start and end of the value in body


def parse(source: Path | bytes) -> FileDataset:
    """Return the parsed dataset. Raises UnusableInput for anything that is not one whole, bounded DICOM file."""
    data = _bytes_of(source)
    syntax = outline(data).syntax
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as error:  # pydicom raises many unrelated classes on damaged files
        raise _damaged() from error
    stated = dataset.file_meta.get("TransferSyntaxUID")
    if not isinstance(stated, UID) or stated != syntax:  # read twice in two ways: a trick, or damage
        raise _damaged()
    return dataset


def outline(data: bytes) -> Outline:
    """Check the structure of a file without decoding it. Raises UnusableInput as ``parse`` does."""
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
            "TransferSyntaxUID must be one of the standard's (PS3.6, table A-1), found another or a retired one. "
            "Send the file uncompressed.",
            code="unknown_transfer_syntax",
        )
    body = memoryview(data)[start:]
    if syntax == DEFLATED:
        body = memoryview(_inflate(body))
    walk = _Walk(little=syntax != BIG_ENDIAN)
    try:
        walk.dataset(body, implicit=syntax == IMPLICIT)
    except struct.error as error:  # cut inside a length
        raise _damaged() from error
    return Outline(syntax, start, body, walk.places)


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
        check_codestreams(dataset.get_item("PixelData").value or b"", rows, columns, needed, str(syntax))
    return needed


def whole_number(dataset: pydicom.Dataset, keyword: str, default: int = 0) -> int:
    """Return an integer attribute, the default when absent. Raises UnusableInput when it is no integer."""
    try:
        raw = dataset.get_item(keyword)
        if raw is None or len(raw.value or b"" if isinstance(raw, RawDataElement) else b"") <= MAX_NUMBER_BYTES:
            value = dataset.get(keyword)
            number = default if value is None or value == "" else int(value)
            if abs(number) <= UNDEFINED:
                return number
    except Exception as error:  # lazily converted by pydicom: any class
        raise _no_whole_number(keyword) from error
    raise _no_whole_number(keyword)


def _no_whole_number(keyword: str) -> UnusableInput:
    return UnusableInput(
        f"{keyword} must be a whole number, found something else. Correct the header.", code="bad_pixel_description"
    )


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


def is_compressed(data: bytes) -> bool:
    """Tell whether a file says that its pixels are compressed, so that reading them takes a native decoder."""
    if data[128:132] != b"DICM":
        return False
    syntax, _ = _transfer_syntax(data)
    return syntax in TRANSFER_SYNTAXES and UID(syntax).is_encapsulated


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
    """Inflate a dataset whose size was counted first, a piece at a time, so that a bomb takes no memory."""
    allowed = min(max(MIN_INFLATE_BYTES, MAX_INFLATE_RATIO * len(body)), MAX_INFLATE_BYTES)
    packer, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    piece, rest = b"", body.tobytes()
    try:
        while size <= allowed:
            piece = packer.decompress(rest, CHUNK_BYTES)
            if packer.eof or not (piece or packer.unconsumed_tail):
                return zlib.decompress(body, -zlib.MAX_WBITS, max(size, 1))
            rest, size = packer.unconsumed_tail, size + len(piece)
    except zlib.error as error:
        raise _damaged() from error
    raise UnusableInput(
        f"A deflated file of this size may unpack to {allowed:,} bytes, found more. Send it uncompressed.", code="too_large"
    )


class _Walk:
    """Go through the structure of a dataset without keeping anything: count elements, bound lengths and depth."""

    def __init__(self, *, little: bool) -> None:
        self.tag = struct.Struct("<HH" if little else ">HH")
        self.short = struct.Struct("<H" if little else ">H")
        self.long = struct.Struct("<I" if little else ">I")
        self.seen = self.items = 0
        self.places: dict[int, tuple[bytes, int, int]] = {}

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
                at = self._items(data, value, None if tag == PIXEL_DATA else implicit or vr == b"UN", depth, closed=True)
                if depth == 0:
                    self.places[tag] = vr, value, at
                continue
            if value + length > len(data):
                raise UnusableInput(
                    "Every element must end inside the file, found one that declares more bytes than there "
                    "are. The file is cut short; send it again.",
                    code="truncated",
                )
            if length > MAX_SHORT_BYTES and vr in (b"", b"UN") and _is_short(tag):
                raise UnusableInput(
                    f"A value of the patient, study or image may hold {MAX_SHORT_BYTES:,} bytes (PS3.5, 7.1.2), found more. "
                    "Send the object as its maker wrote it.",
                    code="value_too_long",
                )
            if length >= 8 and (vr == b"SQ" or (vr in (b"", b"UN") and _is_sequence(tag))):
                self._items(data[value : value + length], 0, implicit or vr == b"UN", depth)
            at = value + length
            if depth == 0:
                self.places[tag] = vr, value, at
        if inside:
            raise UnusableInput(
                "Every item must be closed, found the end of the file. Send it again.", code="truncated"
            )
        return at

    def _items(self, data: memoryview, at: int, implicit: bool | None, depth: int, *, closed: bool = False) -> int:
        """Walk the items of a sequence (``implicit`` None: the fragments of pixel data) and return where they end.

        ``closed``: they end with a delimiter, as those of undefined length must.
        """
        while at + 8 <= len(data):
            self.items += 1
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
        if closed:
            raise UnusableInput("Every sequence must be closed, found the end of the file. Send it again.", code="truncated")
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
        if self.seen > MAX_ELEMENTS or self.items > MAX_ITEMS:
            raise UnusableInput(
                f"A file may hold {MAX_ELEMENTS:,} elements, {MAX_ITEMS:,} of them items, found more. Send fewer frames a file.",
                code="too_many_elements",
            )


def _is_short(tag: int) -> bool:
    """Tell whether a value we or pydicom look at has a VR with a 16-bit length."""
    try:
        return tag >> 16 in LOOKED_AT and dictionary_VR(tag).encode()[:2] in SHORT_VRS and "OW" not in dictionary_VR(tag)
    except KeyError:
        return False


def _is_sequence(tag: int) -> bool:
    try:
        return bool(dictionary_VR(tag) == "SQ")
    except KeyError:
        return False
