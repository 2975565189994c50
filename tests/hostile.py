"""The hostile corpus: DICOM files made to hurt whoever reads them, each with the verdict it must get. None is of a patient.

`python -m tests.hostile FOLDER` writes them out, `python -m tests.hostile --table` prints what Diaphane says of each.
"""

# ruff: noqa: E501, T201  one case a line: a table is read down its columns; it prints another

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))
RLE, J2K, JPEG, JPEGLS, LOSSLESS, MPEG4, JPIP = (
    f"1.2.840.10008.1.2.{end}" for end in ("5", "4.90", "4.50", "4.80", "4.70", "4.102", "4.94")
)
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"))
FOREVER = 0xFFFFFFFF
READ, KEPT = "read", "kept"


@dataclass(frozen=True)
class Hostile:
    """How to make a file, what arrival must say of it (kept, or the code of its refusal) and what reading must (read, or a code)."""

    build: Callable[[], bytes]
    arrival: str
    reading: str


Value = bytes | tuple[bytes, bytes] | None  # a value, a VR and a value, or nothing: the element is left out


def uid(text: bytes) -> bytes:
    return text + b"\0" * (len(text) % 2)


CLOSE = b"\xfe\xff\xdd\xe0\0\0\0\0"


def us(number: int) -> bytes:
    return struct.pack("<H", number)


IMAGE: dict[int, tuple[bytes, bytes]] = {
    0x00080005: (b"CS", b"ISO_IR 192"), 0x00080016: (b"UI", uid(b"1.2.840.10008.5.1.4.1.1.1.1")),
    0x00080018: (b"UI", uid(b"2.25.3003")), 0x00080060: (b"CS", b"DX"), 0x00100010: (b"PN", b"CANARI^TEST "),
    0x00100020: (b"LO", b"CANARI"), 0x0020000D: (b"UI", uid(b"2.25.1001")), 0x0020000E: (b"UI", uid(b"2.25.2002")),
    0x00280002: (b"US", us(1)), 0x00280004: (b"CS", b"MONOCHROME2 "), 0x00280010: (b"US", us(16)),
    0x00280011: (b"US", us(16)), 0x00280100: (b"US", us(8)), 0x00280101: (b"US", us(8)), 0x00280102: (b"US", us(7)),
    0x00280103: (b"US", us(0)), 0x7FE00010: (b"OB", bytes(range(256))),
}


def element(tag: int, vr: bytes, value: bytes, *, length: int | None = None, implicit: bool = False) -> bytes:
    """Encode one element, with another length than its value has when told."""
    size = len(value) if length is None else length
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<I", size) + value
    return head + vr + (b"\0\0" + struct.pack("<I", size) if vr in LONG else struct.pack("<H", size)) + value


def items(*values: bytes, length: int | None = None) -> bytes:
    """Encode items, or fragments, one after the other."""
    return b"".join(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value) if length is None else length) + value for value in values)


def body(changes: dict[int, Value] | None = None, *, more: bytes = b"", implicit: bool = False) -> bytes:
    """Encode a radiograph of 16 x 16 with some elements changed; ``more`` is put before the group of the patient."""
    elements = dict(IMAGE)
    for tag, value in (changes or {}).items():
        if value is None:
            del elements[tag]
        else:
            elements[tag] = value if isinstance(value, tuple) else (elements[tag][0], value)
    parts = [element(tag, vr, value, implicit=implicit) for tag, (vr, value) in sorted(elements.items())]
    first = sum(tag < 0x00100000 for tag in elements)
    return b"".join(parts[:first]) + more + b"".join(parts[first:])


def file(dataset: bytes, syntax: str = EXPLICIT, *, preamble: bytes = b"", meta: bytes = b"") -> bytes:
    stated = element(0x00020010, b"UI", uid(syntax.encode()))
    return preamble.ljust(128, b"\0") + b"DICM" + meta + stated + dataset


def image(changes: dict[int, Value] | None = None, *, more: bytes = b"", syntax: str = EXPLICIT) -> bytes:
    return file(body(changes, more=more, implicit=syntax == IMPLICIT), syntax)


def packed(fragments: Iterable[bytes], syntax: str, changes: dict[int, Value] | None = None, *, end: bytes | None = None) -> bytes:
    """Make a compressed image of these fragments; the first is the basic offset table."""
    closed = items(b"", length=0).replace(b"\x00\xe0", b"\xdd\xe0") if end is None else end
    pixels = element(0x7FE00010, b"OB", items(*fragments) + closed, length=FOREVER)
    return file(body({**(changes or {}), 0x7FE00010: None}) + pixels, syntax)


def nested(depth: int, *, vr: bytes = b"SQ", forever: bool = False) -> bytes:
    inner = b""
    for _ in range(depth):
        if forever:
            closed = items(inner, length=FOREVER) + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
            inner = element(0x00081110, vr, closed, length=FOREVER, implicit=vr == b"UN")
        else:
            inner = element(0x00081110, vr, items(inner), implicit=vr == b"UN")
    return inner


def bomb(mebibytes: int) -> bytes:
    """Deflate zeros: each MiB is the same kilobyte, so that two gigabytes are made in a moment."""
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    head = packer.compress(element(0x00091001, b"OB", b"", length=mebibytes << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"\0" * (1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return file(head + again * mebibytes + packer.flush(), DEFLATED)


def deflated(dataset: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return packer.compress(dataset) + packer.flush()


def rle(rows: int, columns: int, *, frames: bytes = b"1 ") -> bytes:
    segment = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00"
    return packed([b"", segment], RLE, {0x00280010: us(rows), 0x00280011: us(columns), 0x00280008: (b"IS", frames)})


def j2k(rows: int, columns: int, *, tiles: int = 0, components: int = 1) -> bytes:
    size = struct.pack(">HHH8IH", 0xFF51, 38 + 3 * components, 0, columns, rows, 0, 0, tiles or columns, tiles or rows, 0, 0, components)
    cod = b"\xff\x52\x00\x0c\x00\x00\x00\x01\x00\x01\x04\x04\x00\x01"
    return b"\xff\x4f" + size + b"\x07\x01\x01" * components + cod + b"\xff\x5c\x00\x07\x40\x40\x48\x48\x50" + b"\xff\xd9"


def jpeg(rows: int, columns: int, *, marker: int = 0xC0, before: bytes = b"", components: int = 1) -> bytes:
    frame = struct.pack(">HHBHHB", 0xFF00 | marker, 8 + 3 * components, 8, rows, columns, components) + b"\x01\x11\x00" * components
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + b"\x00" * 32
    return b"\xff\xd8" + before + frame + scan + b"\xff\xd9" + b"\0" * ((len(before) + 3 * components) % 2)


def lut(tag: int, descriptor: bytes, data: bytes) -> bytes:
    return element(tag, b"SQ", items(element(0x00283002, b"US", descriptor) + element(0x00283006, b"OW", data)))


PALETTE: dict[int, Value] = {0x00280004: b"PALETTE COLOR "}


def palette(descriptor: bytes, table: bytes, first: int = 0x00281201) -> bytes:
    tables: dict[int, Value] = {0x00281101 + n: (b"US", descriptor) for n in range(3)}
    return image(PALETTE | tables | {first + n: (b"OW", table) for n in range(3)})


def text(tag: int, vr: bytes, value: bytes) -> bytes:
    return image({tag: (vr, value)})


CASES: dict[str, Hostile] = {
    # bombs
    "a deflate bomb: 2 MB that unpack to 2 GiB": Hostile(lambda: bomb(2048), "too_large", "too_large"),
    "a deflate bomb: 60 kB that unpack to 60 MB": Hostile(lambda: bomb(60), "too_large", "too_large"),
    "an RLE bomb: 65,535 x 65,535 in a few hundred bytes": Hostile(lambda: rle(65535, 65535), "too_many_pixels", "too_many_pixels"),
    "an RLE bomb of 100,000 frames": Hostile(lambda: rle(65535, 65535, frames=b"100000"), "too_many_pixels", "too_many_pixels"),
    "an RLE bomb below the limit of pixels": Hostile(lambda: rle(20000, 20000), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG 2000 codestream of 60,000 x 60,000": Hostile(lambda: packed([b"", j2k(60000, 60000)], J2K), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG 2000 codestream of 256 tiles a pixel each": Hostile(lambda: packed([b"", j2k(16, 16, tiles=1)], J2K), KEPT, "undecodable_pixels"),
    "a JPEG 2000 codestream of 16,384 components": Hostile(lambda: packed([b"", j2k(16, 16, components=12000)], J2K), KEPT, "undecodable_pixels"),
    "a JPEG of 65,500 x 65,500": Hostile(lambda: packed([b"", jpeg(65500, 65500)], JPEG), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG whose second frame header is larger": Hostile(lambda: packed([b"", jpeg(65500, 65500, before=jpeg(16, 16)[2:21])], JPEG), KEPT, "undecodable_pixels"),
    "a JPEG whose frame header comes late": Hostile(lambda: packed([b"", jpeg(65500, 65500, before=b"\xff\xfe\xff\xfe".ljust(0xFFFE + 2, b"\0"))], JPEG), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG with bytes between its segments, over which gdcm ends the process": Hostile(lambda: packed([b"", jpeg(16, 16)[:13] + bytes(24) + jpeg(16, 16)[13:]], JPEG), "undecodable_pixels", "undecodable_pixels"),
    "a JPEG in fragments of two bytes": Hostile(lambda: packed([b"", *(jpeg(65500, 65500)[n : n + 2] for n in range(0, 58, 2))], JPEG), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG 2000 whose size is in the second fragment": Hostile(lambda: packed([b"", j2k(60000, 60000)[:4], j2k(60000, 60000)[4:]], J2K), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG-LS of 60,000 x 60,000": Hostile(lambda: packed([b"", jpeg(60000, 60000, marker=0xF7)], JPEGLS), "bad_pixel_description", "bad_pixel_description"),
    "a JPEG-LS with extended dimensions": Hostile(lambda: packed([b"", jpeg(0, 0, marker=0xF7, before=b"\xff\xf8\x00\x0d\x04\x04\x00\x00\xff\xff\x00\x00\xff\xff\x00\x00"[:15])], JPEGLS), "bad_pixel_description", "bad_pixel_description"),
    "a lossless JPEG of 255 components": Hostile(lambda: packed([b"", jpeg(16, 16, marker=0xC3, components=255)], LOSSLESS), KEPT, "undecodable_pixels"),
    "a palette of segments that repeat each other": Hostile(lambda: palette(us(0) + us(0) + us(16), (struct.pack("<5H", 0, 1, 9, 1, 65535) + b"\0\0") * 2000, 0x00281221), KEPT, "bad_lut"),
    "a value of two million numbers": Hostile(lambda: image({0x00280010: b"\x10\0" * 2_000_000}, syntax=IMPLICIT), "value_too_long", "value_too_long"),
    "a window of three million backslashes": Hostile(lambda: image({0x00281050: (b"DS", b"1\\" * 3_000_000)}, syntax=IMPLICIT), "value_too_long", "value_too_long"),
    "a number of 60,000 digits": Hostile(lambda: text(0x00280008, b"IS", b"9" * 60_000), "bad_pixel_description", "bad_pixel_description"),
    # depth and number
    "2,000 sequences in each other": Hostile(lambda: image(more=nested(2000)), "too_deep", "too_deep"),
    "2,000 sequences of undefined length in each other": Hostile(lambda: image(more=nested(2000, forever=True)), "too_deep", "too_deep"),
    "200 sequences hidden in an unknown value": Hostile(lambda: image(more=element(0x00081110, b"UN", items(nested(200, vr=b"UN")))), "too_deep", "too_deep"),
    "two million empty items": Hostile(lambda: image(more=element(0x00081110, b"SQ", items(b"") * 2_000_000)), "too_many_elements", "too_many_elements"),
    "two million empty items in an undefined length": Hostile(lambda: image(more=element(0x00081110, b"SQ", items(b"") * 2_000_000, length=FOREVER)), "too_many_elements", "too_many_elements"),
    "99,000 empty items that pydicom unpacks at once": Hostile(lambda: image(more=element(0x00081110, b"SQ", items(b"") * 99_000 + CLOSE, length=FOREVER)), KEPT, READ),
    "a million empty elements": Hostile(lambda: image(more=element(0x00091001, b"LO", b"") * 1_000_000), "too_many_elements", "too_many_elements"),
    "90,000 fragments for one frame": Hostile(lambda: packed([b""] + [b"\0\0"] * 90_000, J2K), KEPT, "undecodable_pixels"),
    # sizes that are not so
    "no rows": Hostile(lambda: image({0x00280010: us(0)}), "bad_pixel_description", "bad_pixel_description"),
    "no columns": Hostile(lambda: image({0x00280011: us(0)}), "bad_pixel_description", "bad_pixel_description"),
    "more rows than pixels": Hostile(lambda: image({0x00280010: us(400)}), KEPT, "undecodable_pixels"),
    "minus one frames": Hostile(lambda: text(0x00280008, b"IS", b"-1"), "bad_pixel_description", "bad_pixel_description"),
    "1A frames": Hostile(lambda: text(0x00280008, b"IS", b"1A"), "bad_pixel_description", "bad_pixel_description"),
    "two thousand million frames": Hostile(lambda: text(0x00280008, b"IS", b"2147483647"), "too_many_pixels", "too_many_pixels"),
    "3 frames in the data of one": Hostile(lambda: text(0x00280008, b"IS", b"3 "), KEPT, "undecodable_pixels"),
    "12 bits allocated": Hostile(lambda: image({0x00280100: us(12)}), "bad_pixel_description", "bad_pixel_description"),
    "65,535 bits allocated": Hostile(lambda: image({0x00280100: us(65535)}), "bad_pixel_description", "bad_pixel_description"),
    "more bits stored than allocated": Hostile(lambda: image({0x00280101: us(16)}), KEPT, "undecodable_pixels"),
    "a high bit beyond the allocated": Hostile(lambda: image({0x00280102: us(200)}), KEPT, "bad_pixel_description"),
    "a pixel representation of 7": Hostile(lambda: image({0x00280103: us(7)}), KEPT, "undecodable_pixels"),
    "three samples of grey": Hostile(lambda: image({0x00280002: us(3)}), KEPT, "undecodable_pixels"),
    "99 samples": Hostile(lambda: image({0x00280002: us(99)}), "bad_pixel_description", "bad_pixel_description"),
    "a photometric interpretation of its own": Hostile(lambda: image({0x00280004: b"EVIL"}), KEPT, "undecodable_pixels"),
    "no pixels after all": Hostile(lambda: image({0x7FE00010: b""}), KEPT, "undecodable_pixels"),
    "pixels of unknown representation": Hostile(lambda: image({0x7FE00010: (b"UN", bytes(256))}), KEPT, READ),
    "an odd number of pixels": Hostile(lambda: image({0x7FE00010: bytes(255)}), KEPT, "undecodable_pixels"),
    "two pixel data, the second of another size": Hostile(lambda: image() + element(0x7FE00010, b"OB", bytes(64)), KEPT, "undecodable_pixels"),
    "float and integer pixels at once": Hostile(lambda: image({0x7FE00008: (b"OF", bytes(1024))}), KEPT, "undecodable_pixels"),
    "pixels in an icon only": Hostile(lambda: image({0x7FE00010: None}, more=element(0x00880200, b"SQ", items(body()))), "not_an_image", "no_pixels"),
    # cut short
    "nothing": Hostile(lambda: b"", "not_dicom", "not_dicom"),
    "131 bytes": Hostile(lambda: b"\0" * 128 + b"DIC", "not_dicom", "not_dicom"),
    "132 bytes": Hostile(lambda: b"\0" * 128 + b"DICM", "no_transfer_syntax", "no_transfer_syntax"),
    "cut in the file meta information": Hostile(lambda: image()[:150], "damaged_dicom", "damaged_dicom"),
    "cut in an element": Hostile(lambda: image()[:-100], "truncated", "truncated"),
    "cut in the head of an element": Hostile(lambda: file(body({0x7FE00010: None}) + b"\xe0\x7f\x10\x00OB\0\0\x01"), "damaged_dicom", "damaged_dicom"),
    "an element of 4 GiB in 16 bytes": Hostile(lambda: image(more=element(0x00091001, b"OB", b"\0" * 16, length=0xFFFFFFFE)), "truncated", "truncated"),
    "an item longer than its sequence": Hostile(lambda: image(more=element(0x00081110, b"SQ", items(b"\0" * 16, length=4000))), "truncated", "truncated"),
    "an element longer than its item": Hostile(lambda: image(more=element(0x00081110, b"SQ", items(element(0x00081150, b"UI", b"1\0", length=400)))), "truncated", "truncated"),
    "a sequence that never ends": Hostile(lambda: file(body() + element(0x00420001, b"SQ", items(element(0x00081150, b"UI", b"1\0")), length=FOREVER)), "truncated", "truncated"),
    "an item that never ends": Hostile(lambda: file(body() + element(0x00420001, b"SQ", items(element(0x00081150, b"UI", b"1\0"), length=FOREVER), length=FOREVER)), "truncated", "truncated"),
    "fragments that never end": Hostile(lambda: packed([b"", j2k(16, 16)], J2K, end=b""), "truncated", "truncated"),
    "a fragment longer than the file": Hostile(lambda: packed([b""], J2K, end=items(b"\0" * 8, length=9999)), "truncated", "truncated"),
    "a JPEG 2000 codestream cut after its header": Hostile(lambda: packed([b"", j2k(16, 16)[:60]], J2K), KEPT, "undecodable_pixels"),
    # fragments
    "no fragment at all": Hostile(lambda: packed([b""], J2K), KEPT, "undecodable_pixels"),
    "a fragment of no length": Hostile(lambda: packed([b"", b""], J2K), KEPT, "undecodable_pixels"),
    "an offset table that points outside": Hostile(lambda: packed([struct.pack("<I", 0xFFFFFFF0), jpeg(16, 16)], JPEG), KEPT, "undecodable_pixels"),
    "more frames than fragments": Hostile(lambda: packed([b"", jpeg(16, 16)], JPEG, {0x00280008: (b"IS", b"40")}), KEPT, "undecodable_pixels"),
    "an RLE segment that begins outside": Hostile(lambda: packed([b"", struct.pack("<16I", 1, 0xFFFFFFF0, *[0] * 14) + b"\0\0"], RLE), KEPT, "undecodable_pixels"),
    "an RLE frame of 4,000,000,000 segments": Hostile(lambda: packed([b"", struct.pack("<16I", 4_000_000_000, *[64] * 15) + b"\0\0"], RLE), KEPT, "undecodable_pixels"),
    "compressed data without a length in an uncompressed file": Hostile(lambda: file(packed([b"", j2k(16, 16)], J2K)[132 + 30:]), KEPT, "undecodable_pixels"),
    # disguises
    "a Windows program": Hostile(lambda: file(body(), preamble=b"MZ\x90"), "executable_preamble", "executable_preamble"),
    "a Linux program": Hostile(lambda: file(body(), preamble=b"\x7fELF"), "executable_preamble", "executable_preamble"),
    "a Mac program": Hostile(lambda: file(body(), preamble=b"\xcf\xfa\xed\xfe"), "executable_preamble", "executable_preamble"),
    "a Mac program for two processors": Hostile(lambda: file(body(), preamble=b"\xca\xfe\xba\xbe"), "executable_preamble", "executable_preamble"),
    "a script": Hostile(lambda: file(body(), preamble=b"#!/bin/sh\nrm -rf ~\n"), "executable_preamble", "executable_preamble"),
    "a TIFF that is a DICOM file too, as the standard allows": Hostile(lambda: file(body(), preamble=b"II*\0"), KEPT, READ),
    "a zip": Hostile(lambda: b"PK\x03\x04" + b"\0" * 400, "not_dicom", "not_dicom"),
    "a gzip": Hostile(lambda: b"\x1f\x8b\x08" + b"\0" * 400, "not_dicom", "not_dicom"),
    "a PNG": Hostile(lambda: b"\x89PNG\r\n\x1a\n" + b"\0" * 400, "not_dicom", "not_dicom"),
    "noise after the right prefix": Hostile(lambda: b"\0" * 128 + b"DICM" + bytes((n * 73 + 41) % 256 for n in range(4000)), "no_transfer_syntax", "no_transfer_syntax"),
    "a DICOMDIR": Hostile(lambda: image({0x00080016: uid(b"1.2.840.10008.1.3.10"), 0x7FE00010: None}), "not_an_image", "no_pixels"),
    "a report": Hostile(lambda: image({0x00080016: uid(b"1.2.840.10008.5.1.4.1.1.88.11")}), "not_an_image", READ),
    # identifiers
    "a path as SOP Instance UID": Hostile(lambda: image({0x00080018: uid(b"../evil")}), "bad_uid", READ),
    "an absolute path as SOP Instance UID": Hostile(lambda: image({0x00080018: uid(b"/etc/cron.d/evil")}), "bad_uid", READ),
    "a NUL inside a UID": Hostile(lambda: image({0x0020000D: b"2.25\x001001\0"}), "bad_uid", READ),
    "a UID of 200 digits": Hostile(lambda: image({0x0020000E: b"1." + b"2" * 198}), "bad_uid", READ),
    "Arabic digits in a UID": Hostile(lambda: image({0x0020000E: "2.٢٥".encode()}), "bad_uid", READ),
    "a line break in a UID": Hostile(lambda: image({0x0020000E: b"2.25.1\n\0"}), "bad_uid", READ),
    "no SOP Instance UID": Hostile(lambda: image({0x00080018: None}), "no_identifiers", READ),
    "an empty Study Instance UID": Hostile(lambda: image({0x0020000D: b""}), "no_identifiers", READ),
    # lies about the encoding
    "another transfer syntax than stated: implicit": Hostile(lambda: file(body(), IMPLICIT), "truncated", "truncated"),
    "another transfer syntax than stated: deflated": Hostile(lambda: file(body(), DEFLATED), "damaged_dicom", "damaged_dicom"),
    "another transfer syntax than stated: big endian": Hostile(lambda: file(body(), BIG), "truncated", "truncated"),
    "two transfer syntaxes": Hostile(lambda: file(body(), meta=element(0x00020010, b"UI", uid(IMPLICIT.encode()))), KEPT, READ),
    "a transfer syntax that is a person's name": Hostile(lambda: file(body()).replace(b"\x02\0\x10\0UI", b"\x02\0\x10\0PN"), KEPT, "damaged_dicom"),
    "a group length that is not so": Hostile(lambda: file(body(), meta=element(0x00020000, b"UL", b"\xff\xff\xff\x7f")), KEPT, READ),
    "an unknown transfer syntax": Hostile(lambda: image(syntax="1.2.3.4"), "unknown_transfer_syntax", "unknown_transfer_syntax"),
    "a film": Hostile(lambda: packed([b"", b"\0\0\1\xba"], MPEG4), "unsupported_transfer_syntax", "undecodable_pixels"),
    "pixels to be fetched from an address": Hostile(lambda: image({0x00287FE0: (b"UR", b"http://127.0.0.1/x")}, syntax=JPIP), "unknown_transfer_syntax", "unknown_transfer_syntax"),
    "deflated twice": Hostile(lambda: file(deflated(deflated(body())), DEFLATED), "damaged_dicom", "damaged_dicom"),
    "a value representation that is none": Hostile(lambda: image(more=b"\x09\x00\x01\x10Q!\x02\x00ab"), "damaged_dicom", "damaged_dicom"),
    "rows as text": Hostile(lambda: text(0x00280010, b"IS", b"16"), KEPT, READ),
    "rows as a sequence": Hostile(lambda: text(0x00280010, b"SQ", items(b"")), "bad_pixel_description", "bad_pixel_description"),
    "a name as a sequence": Hostile(lambda: text(0x00100010, b"SQ", items(nested(3))), KEPT, READ),
    "elements out of order": Hostile(lambda: image(more=element(0x00280010, b"US", us(9000))), KEPT, READ),
    # words
    "escapes to no character set": Hostile(lambda: image({0x00080005: b"\\ISO 2022 IR 87 ", 0x00100010: b"\x1b$B\xff\xff\x1b(\x1b$)C\xff\x1b\x1b "}), KEPT, READ),
    "an unknown character set": Hostile(lambda: image({0x00080005: b"EVIL\\../x "}), KEPT, READ),
    "a name of 60,000 characters": Hostile(lambda: image({0x00100010: b"CANARI^" * 8_600}), KEPT, READ),
    "10 MB of free text": Hostile(lambda: text(0x00324000, b"UT", b"CANARI" * 1_700_000), KEPT, READ),
    # tables and numbers
    "a VOI table without its values": Hostile(lambda: image() + lut(0x00283010, us(0) + us(0) + us(16), b"\0\0"), KEPT, "bad_lut"),
    "a VOI table of 255 bits": Hostile(lambda: file(body({0x7FE00010: None}) + lut(0x00283010, us(4) + us(0) + us(255), b"\0" * 8)) + element(0x7FE00010, b"OB", bytes(256)), KEPT, "bad_lut"),
    "a palette that is not there": Hostile(lambda: image(PALETTE), KEPT, "bad_lut"),
    "a palette that is too short": Hostile(lambda: palette(us(256) + us(0) + us(16), b"\1\2\3\4"), KEPT, "bad_lut"),
    "an overlay of 65,535 x 65,535": Hostile(lambda: image({0x60000010: (b"US", us(65535)), 0x60000011: (b"US", us(65535)), 0x60003000: (b"OW", b"\0\0")}), KEPT, READ),
    "a slope of zero": Hostile(lambda: text(0x00281053, b"DS", b"0 "), KEPT, "bad_number"),
    "a slope that is no number": Hostile(lambda: text(0x00281053, b"DS", b"nan "), KEPT, "bad_number"),
    "a slope beyond all numbers": Hostile(lambda: text(0x00281053, b"DS", b"1e308 "), KEPT, "not_finite"),
    "a window of no width": Hostile(lambda: image({0x00281050: (b"DS", b"1 "), 0x00281051: (b"DS", b"-5")}), KEPT, READ),
    "an orientation of zeros": Hostile(lambda: image({0x00200032: (b"DS", b"0\\0\\0 "), 0x00200037: (b"DS", b"0\\0\\0\\0\\0\\0 ")}), KEPT, "bad_geometry"),
    "a position at infinity": Hostile(lambda: image({0x00200032: (b"DS", b"inf\\0\\0 "), 0x00200037: (b"DS", b"1\\0\\0\\0\\1\\0 ")}), KEPT, "bad_number"),
}


def main(arguments: list[str]) -> None:
    if arguments == ["--table"]:
        from models.errors import UnusableInput
        from service.decode import Decoder, DecoderFailed
        from service.dicom.arrival import arrive_file

        decoder = Decoder(timeout_s=10, memory_mib=512)
        print("| file | bytes | arrival | reading |\n|---|---:|---|---|")
        for name, case in CASES.items():
            data, said = case.build(), []
            for verdict, look in ((KEPT, lambda: arrive_file(data)), (READ, lambda: decoder.read([data]))):  # noqa: B023
                try:
                    look()
                    said.append(verdict)
                except UnusableInput as error:
                    said.append(error.code)
                except DecoderFailed as error:
                    said.append(error.reason)
            right = "" if said == [case.arrival, case.reading] else f" **expected {case.arrival}, {case.reading}**"
            print(f"| {name} | {len(data):,} | {said[0]} | {said[1]}{right} |")
        decoder.close()
        return
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, case) in enumerate(CASES.items()):
        words = "".join(letter if letter.isalnum() else "-" for letter in name)
        (folder / f"{number:03}-{words}.dcm").write_bytes(case.build())


if __name__ == "__main__":
    main(sys.argv[1:])
