"""Hostile DICOM: every file gets a verdict quickly and in little memory: UnusableInput or a Volume."""

from __future__ import annotations

import random
import struct
import time
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from models import dicom_bytes
from models.dicom_bytes import parse
from models.errors import UnusableInput
from models.read_dicom import group_instances, read_dicom, read_header
from models.volume import Volume
from tests.make import dicom_bytes as encode
from tests.make import mr_series, radiograph_dataset, radiograph_pixels

SMALL = encode(radiograph_dataset(radiograph_pixels(32, 32)))
SLICE = encode(mr_series(np.arange(64, dtype=np.int16).reshape(1, 8, 8))[0])


def verdict(data: bytes) -> str:
    """Return the code of the refusal, or "read"."""
    try:
        read_dicom([data])
    except UnusableInput as error:
        return error.code
    return "read"


def with_meta(body: bytes, syntax: bytes, preamble: bytes = b"\0" * 128) -> bytes:
    """Put a file meta information with a transfer syntax in front of an encoded dataset."""
    syntax += b"\0" * (len(syntax) % 2)
    return preamble + b"DICM" + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(syntax)) + syntax + body


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + vr
    if vr in dicom_bytes.LONG_VRS:
        return head + b"\0\0" + struct.pack("<I", len(value)) + value
    return head + struct.pack("<H", len(value)) + value


EXPLICIT = b"1.2.840.10008.1.2.1"


def test_a_sound_file_is_read_in_every_uncompressed_syntax() -> None:
    volumes = [
        read_dicom([SMALL]),
        read_dicom([encode(radiograph_dataset(radiograph_pixels(32, 32)), syntax=ImplicitVRLittleEndian)]),
    ]
    assert np.array_equal(volumes[0].voxels, volumes[1].voxels)
    big = mr_series(np.arange(64, dtype=np.int16).reshape(1, 8, 8))[0]
    big.PixelData = np.arange(64, dtype=">i2").tobytes()
    assert np.array_equal(read_dicom([encode(big, syntax=ExplicitVRBigEndian)]).voxels, read_dicom([SLICE]).voxels)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_dicom"),
        (b"\x89PNG" + b"\0" * 200, "not_dicom"),
        (b"MZ" + SMALL[2:], "executable_preamble"),
        (b"\x7fELF" + SMALL[4:], "executable_preamble"),
        (b"\xcf\xfa\xed\xfe" + SMALL[4:], "executable_preamble"),
        (b"#!/bin/sh\n" + SMALL[10:], "executable_preamble"),
        (b"II*\0" + SMALL[4:], "read"),
        (SMALL[: len(SMALL) // 2], "truncated"),
        (SMALL[:140], "damaged_dicom"),
        (SMALL[:-200], "truncated"),
        (SMALL + b"\0" * 64, "read"),
        (SMALL + b"\0\0\0", "read"),
    ],
)
def test_beginning_and_end_of_a_file_are_judged(data: bytes, code: str) -> None:
    assert verdict(data) == code


def test_838_bytes_that_ask_for_8_gigabytes_are_refused_within_20_megabytes() -> None:
    """RLE, 65535 x 65535: pydicom alone took 4.1 GiB for this."""
    dataset = radiograph_dataset(Rows=65535, Columns=65535, BitsAllocated=16, BitsStored=16, HighBit=15)
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x44\0\0\0" + b"\x01" + b"\0" * 67
    dataset["PixelData"].is_undefined_length = True
    data = encode(dataset, syntax=RLELossless)
    assert len(data) < 1500
    read_dicom([SMALL])  # imports and caches are not what is measured
    tracemalloc.start()
    started = time.process_time()
    code = verdict(data)
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == "too_many_pixels"
    assert peak < 20_000_000
    assert seconds < 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"NumberOfFrames": 100_000},
        {"Rows": 40_000, "Columns": 40_000},
        {"Rows": 0},
        {"BitsAllocated": 12},
        {"SamplesPerPixel": 99},
        {"NumberOfFrames": -1},
    ],
)
def test_pixel_claims_that_cannot_be_are_refused_before_decoding(changes: dict[str, int]) -> None:
    assert verdict(encode(radiograph_dataset(radiograph_pixels(32, 32), **changes))) in {
        "too_many_pixels",
        "bad_pixel_description",
        "undecodable_pixels",
    }


def test_rle_that_cannot_unpack_to_what_it_declares_is_refused() -> None:
    dataset = radiograph_dataset(Rows=10_000, Columns=10_000)
    dataset.PixelData = b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0\x44\0\0\0" + b"\x01" + b"\0" * 67
    dataset["PixelData"].is_undefined_length = True
    assert verdict(encode(dataset, syntax=RLELossless)) == "bad_pixel_description"


@pytest.mark.parametrize(
    "codestream",
    [
        b"\xff\x4f\xff\x51"
        + struct.pack(">HH8I", 47, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0)
        + b"\0" * 8,  # JPEG 2000
        b"\0\0\0\x0cjP  \r\n\x87\n"
        + b"\xff\x4f\xff\x51"
        + struct.pack(">HH8I", 47, 0, 60000, 60000, 0, 0, 9, 9, 0, 0),  # JP2
        b"\xff\xd8\xff\xff\xe0\x00\x04ab\xff\xc3\x00\x11\x08" + struct.pack(">HH", 60000, 60000) + b"\0" * 20,  # JPEG
        b"\xff\xd8\xff\xf7\x00\x0b\x08" + struct.pack(">HH", 60000, 60000) + b"\0" * 20,  # JPEG-LS
    ],
)
def test_a_codestream_larger_than_its_header_says_is_refused(codestream: bytes) -> None:
    """The decoder believes the codestream, so Rows and Columns alone would protect nothing."""
    dataset = radiograph_dataset(radiograph_pixels(32, 32))
    codestream += b"\0" * (len(codestream) % 2)
    dataset.PixelData = (
        b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + struct.pack("<I", len(codestream)) + codestream
    )
    dataset["PixelData"].is_undefined_length = True
    assert verdict(encode(dataset, syntax=JPEG2000Lossless)) == "bad_pixel_description"


@pytest.mark.parametrize("codestream", [b"\xff\xd8\x00\x00", b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9\0\0", b"nothing!"])
def test_a_codestream_without_a_size_is_left_to_the_decoder_which_fails(codestream: bytes) -> None:
    dataset = radiograph_dataset(radiograph_pixels(32, 32))
    dataset.PixelData = (
        b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + struct.pack("<I", len(codestream)) + codestream
    )
    dataset["PixelData"].is_undefined_length = True
    assert verdict(encode(dataset, syntax=JPEG2000Lossless)) == "undecodable_pixels"


def deflated(body: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return with_meta(packer.compress(body) + packer.flush(), b"1.2.840.10008.1.2.1.99")


def test_a_deflated_file_is_read() -> None:
    body = SMALL[SMALL.index(b"\x08\x00\x16\x00UI") :]
    assert verdict(deflated(body)) == "read"


def test_a_deflated_bomb_is_refused_before_it_unpacks() -> None:
    """60 kB that unpack to 60 MB; one of 2.1 MB took pydicom 11 s and 4 GiB."""
    data = deflated(element(0x00091001, b"OB", b"\0" * 60_000_000))
    assert len(data) < 100_000
    started = time.process_time()
    assert verdict(data) == "too_large"
    assert time.process_time() - started < 2
    assert verdict(with_meta(b"\xff\xff\xff\xff", b"1.2.840.10008.1.2.1.99")) == "damaged_dicom"


def test_two_hundred_nested_sequences_are_refused() -> None:
    inner = Dataset()
    for _ in range(200):
        outer = Dataset()
        outer.ReferencedSeriesSequence = Sequence([inner])
        inner = outer
    dataset = radiograph_dataset(radiograph_pixels(32, 32), ReferencedStudySequence=Sequence([inner]))
    assert verdict(encode(dataset)) == "too_deep"
    assert verdict(encode(dataset, syntax=ImplicitVRLittleEndian)) == "too_deep"


def test_nesting_hidden_in_an_unknown_value_is_found() -> None:
    nest = b""
    for _ in range(40):
        nest = (
            struct.pack("<HHI", 0x0008, 0x1110, len(nest) + 8)
            + b"\xfe\xff\x00\xe0"
            + struct.pack("<I", len(nest))
            + nest
        )
    hidden = element(0x00081110, b"UN", nest[8:])
    assert verdict(with_meta(hidden, EXPLICIT)) == "too_deep"


def test_two_million_empty_items_are_refused_in_a_moment() -> None:
    """16 MB that cost pydicom 38 s."""
    body = element(0x00081110, b"SQ", b"\xfe\xff\x00\xe0\0\0\0\0" * 2_000_000)
    started = time.process_time()
    assert verdict(with_meta(body, EXPLICIT)) == "too_many_elements"
    assert time.process_time() - started < 3


def test_an_element_longer_than_its_file_is_refused() -> None:
    body = b"\x09\x00\x01\x10OB\0\0\xfe\xff\xff\xff" + b"\0" * 16
    assert verdict(with_meta(body, EXPLICIT)) == "truncated"


@pytest.mark.parametrize(
    "body",
    [
        b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\x08\x00\x60\x00CS\x02\x00MR",  # no item where one must be
        # never closed
        b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff\x08\x00\x60\x00CS\x02\x00MR",
        b"\x08\x00\x10\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\x00\x00",  # an item beyond the end
        b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff",  # a fragment without a length
        b"\x08\x00\x60\x00Q!\x02\x00MR",  # no such value representation
        b"\x08\x00\x60\x00OB\0",  # cut in a head
    ],
)
def test_broken_structure_is_named(body: bytes) -> None:
    assert verdict(with_meta(body, EXPLICIT)) in {"damaged_dicom", "truncated", "no_pixels"}


@pytest.mark.parametrize(
    "meta", [b"", b"\x02\x00\x10\x00OB\0\0\xff\xff\xff\x7f", b"\x02\x00\x10\x00UI\xff\x00", b"\x02\x00\x10\x00OB\0"]
)
def test_a_broken_file_meta_information_is_named(meta: bytes) -> None:
    assert verdict(b"\0" * 128 + b"DICM" + meta) in {"no_transfer_syntax", "damaged_dicom"}


def test_private_transfer_syntax_is_undecodable_and_not_a_crash() -> None:
    assert verdict(SMALL.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0")) == "unknown_transfer_syntax"
    assert verdict(SMALL.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.1000\\.1.2.1\0")) == "unknown_transfer_syntax"


def test_files_that_are_not_there_or_too_large_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableInput, match="could not be read from disk"):
        parse(tmp_path / "absent.dcm")
    (tmp_path / "a.dcm").write_bytes(SMALL)
    assert isinstance(read_dicom([tmp_path / "a.dcm"]), Volume)
    monkeypatch.setattr(dicom_bytes, "MAX_FILE_BYTES", 100)
    for source in (tmp_path / "a.dcm", SMALL):
        with pytest.raises(UnusableInput, match="may hold 100 bytes"):
            parse(source)


def test_no_message_repeats_a_patients_name_or_identifier(capfd: pytest.CaptureFixture[str]) -> None:
    random.seed(5)
    messages = []
    for _ in range(300):
        data = bytearray(SMALL)
        for _ in range(8):
            data[random.randrange(132, len(data))] = random.randrange(256)
        try:
            read_dicom([bytes(data)])
        except UnusableInput as error:
            messages.append(str(error))
    assert messages
    assert not [m for m in messages if "CANARI" in m]
    assert "CANARI" not in "".join(capfd.readouterr())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([SMALL, SLICE]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12),
    st.integers(0, 400),
)
def test_a_mutated_file_is_read_or_refused_and_nothing_else(
    data: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    mutated = bytearray(data[: len(data) - cut])
    for place, value in edits:
        mutated[128 + place % (len(mutated) - 128)] = value
    for read in (read_dicom, group_instances):
        with suppress(UnusableInput):
            read([bytes(mutated)])
    with suppress(UnusableInput):
        read_header(bytes(mutated))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2"]))
def test_any_bytes_after_a_sound_beginning_get_a_verdict(body: bytes, syntax: bytes) -> None:
    assert isinstance(verdict(with_meta(body, syntax)), str)


KEYWORDS = [
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "WindowCenter",
    "WindowWidth",
    "BitsStored",
    "PixelPaddingValue",
    "PatientAge",
    "SliceThickness",
    "PhotometricInterpretation",
    "Modality",
    "PixelRepresentation",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(KEYWORDS),
        st.sampled_from(
            [
                "",
                "0",
                "-1",
                "1A",
                "nan",
                "inf",
                "1e999",
                "0\\0",
                "1\\1\\1",
                "1\\0\\0\\0\\1\\0",
                "RGB",
                "MONOCHROME1",
                "9" * 16,
            ]
        ),
        max_size=4,
    )
)
def test_nonsense_in_any_header_gets_a_verdict(changes: dict[str, str]) -> None:
    dataset = parse(SLICE)
    body = SLICE
    for keyword, text in changes.items():
        old = dataset.get_item(keyword)
        if old is None or old.VR in ("US", "OW"):
            continue
        raw = text.encode() + b" " * (len(text) % 2)
        start = body.find(struct.pack("<HH", old.tag.group, old.tag.element) + old.VR.encode())
        length = struct.unpack_from("<H", body, start + 6)[0]
        body = body[: start + 6] + struct.pack("<H", len(raw)) + raw + body[start + 8 + length :]
    assert isinstance(verdict(body), str)
