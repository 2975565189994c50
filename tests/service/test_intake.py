"""Bodies are taken apart within limits: multipart, zip, and what hostile ones look like."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.intake import Part, Parts, kind_of, take_apart
from service.problem import ProblemError
from service.settings import MIB, Settings

SETTINGS = Settings(max_parts=20, max_unpacked_mib=80)
DICOM = b"\0" * 128 + b"DICM" + b"content"
PNG = b"\x89PNG\r\n\x1a\n" + b"content"


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def multipart(*parts: tuple[str, bytes], boundary: str = "b0") -> bytes:
    pieces = [f"--{boundary}\r\n{head}\r\n\r\n".encode() + content + b"\r\n" for head, content in parts]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


def code_of(body: bytes, content_type: str, settings: Settings = SETTINGS) -> str:
    with pytest.raises(ProblemError) as caught:
        take_apart(body, content_type, settings)
    return caught.value.problem.code


def test_one_dicom_object_is_one_part() -> None:
    assert Parts((Part("dicom", DICOM),)) == take_apart(DICOM, "application/dicom", SETTINGS)


def test_an_octet_stream_is_told_by_its_first_bytes() -> None:
    assert Parts((Part("image", PNG),)) == take_apart(PNG, "application/octet-stream", SETTINGS)


def test_a_dicom_object_without_preamble_is_left_to_the_reader_when_declared() -> None:
    assert "dicom" == kind_of(b"\x08\0\x05\0", "application/dicom")
    assert "other" == kind_of(b"\x08\0\x05\0", "application/octet-stream")


def test_a_dicom_object_whose_preamble_looks_like_a_zip_is_a_dicom_object() -> None:
    assert "dicom" == kind_of(b"PK\x03\x04" + DICOM[4:])


def test_a_zip_gives_its_members_and_counts_what_is_left_out() -> None:
    body = zipped({"a/1.dcm": DICOM, "a/2.dcm": DICOM + b"2", "README.txt": b"hello", "DICOMDIR": DICOM, "empty/": b""})

    assert Parts((Part("dicom", DICOM), Part("dicom", DICOM + b"2")), ignored=2) == take_apart(
        body, "application/zip", SETTINGS)


@pytest.mark.parametrize("content_type", [
    "multipart/form-data; boundary=b0", 'multipart/related; type="application/dicom"; boundary="b0"',
])
def test_multipart_gives_its_parts(content_type: str) -> None:
    body = multipart(
        ('Content-Disposition: form-data; name="f"; filename="x.dcm"\r\nContent-Type: application/dicom', DICOM),
        ("Content-Type: image/png", PNG),
        ('Content-Disposition: form-data; name="comment"', b"text"),
    )

    assert Parts((Part("dicom", DICOM), Part("image", PNG)), ignored=1) == take_apart(body, content_type, SETTINGS)


def test_a_zip_inside_a_part_is_opened() -> None:
    body = multipart(("Content-Type: application/zip", zipped({"1.dcm": DICOM})))

    assert (Part("dicom", DICOM),) == take_apart(body, "multipart/form-data; boundary=b0", SETTINGS).files


def test_content_with_line_ends_and_dashes_comes_through_whole() -> None:
    content = DICOM + b"\r\n--b\r\n--\r\n\r\n"

    body = multipart(("Content-Type: application/dicom", content))

    assert (Part("dicom", content),) == take_apart(body, "multipart/related; boundary=b0", SETTINGS).files


@pytest.mark.parametrize(("body", "content_type", "code"), [
    (b"", "application/dicom", "empty_body"),
    (DICOM, "application/json", "unsupported_media_type"),
    (DICOM, "text/html", "unsupported_media_type"),
    (b"hello", "application/octet-stream", "unknown_format"),
    (b"hello", "image/png", "unknown_format"),
    (multipart(("A: b", b"text")), "multipart/form-data; boundary=b0", "unknown_format"),
    (b"--b0--\r\n", "multipart/form-data; boundary=b0", "nothing_to_score"),
    (b"junk", "multipart/form-data; boundary=b0", "bad_multipart"),
    (b"junk", "multipart/form-data", "bad_multipart"),
    (multipart(("A: b", DICOM))[:-8], "multipart/form-data; boundary=b0", "bad_multipart"),
    (multipart(("Content-Transfer-Encoding: base64", b"AAAA")), "multipart/form-data; boundary=b0", "bad_multipart"),
    (multipart(*[("A: b", b"")] * 21), "multipart/form-data; boundary=b0", "too_many_parts"),
    (zipped({"1.dcm": DICOM})[:-10], "application/zip", "bad_zip"),
    (b"PK\x03\x04" + b"\0" * 40, "application/zip", "bad_zip"),
    (zipped({}), "application/zip", "nothing_to_score"),
    (zipped({"a.txt": b"x"}), "application/zip", "unknown_format"),
    (zipped({"inner.zip": zipped({"1.dcm": DICOM})}), "application/zip", "bad_zip"),
    (zipped({"../1.dcm": DICOM}), "application/zip", "bad_zip"),
    (zipped({"a/../../1.dcm": DICOM}), "application/zip", "bad_zip"),
    (zipped({"/etc/1.dcm": DICOM}), "application/zip", "bad_zip"),
    (zipped({"..\\1.dcm": DICOM}), "application/zip", "bad_zip"),
    (zipped({"C:/1.dcm": DICOM}), "application/zip", "bad_zip"),
    (zipped({"1.dcm": DICOM}, zipfile.ZIP_LZMA), "application/zip", "bad_zip"),
    (zipped({"1.dcm": DICOM}, zipfile.ZIP_BZIP2), "application/zip", "bad_zip"),
    (zipped({f"{i}.dcm": DICOM for i in range(21)}), "application/zip", "too_many_parts"),
    (zipped({"1.dcm": DICOM + bytes(70 * MIB)}), "application/zip", "unpacked_too_large"),
    (zipped({f"{i}.dcm": DICOM + bytes(9 * MIB) for i in range(9)}), "application/zip", "unpacked_too_large"),
])
def test_what_breaks_a_rule_is_told_with_its_code(body: bytes, content_type: str, code: str) -> None:
    assert code == code_of(body, content_type)


def test_a_member_larger_than_the_archive_says_is_not_believed() -> None:
    body = bytearray(zipped({"1.dcm": DICOM + bytes(range(200))}, zipfile.ZIP_STORED))
    at = body.rfind(b"PK\x01\x02") + 24
    body[at : at + 4] = struct.pack("<I", 5)

    assert "bad_zip" == code_of(bytes(body), "application/zip")


def test_a_directory_of_many_members_is_refused_before_it_is_read() -> None:
    body = bytearray(zipped({"1.dcm": DICOM}))
    at = body.rfind(b"PK\x05\x06")
    body[at + 12 : at + 16] = struct.pack("<I", 60 * MIB)

    assert "too_many_parts" == code_of(bytes(body), "application/zip")


def test_an_encrypted_member_is_refused() -> None:
    body = bytearray(zipped({"1.dcm": DICOM}))
    body[body.rfind(b"PK\x01\x02") + 8] |= 1

    assert "bad_zip" == code_of(bytes(body), "application/zip")


def test_a_blank_image_may_be_packed_as_tightly_as_it_likes() -> None:
    blank = DICOM + bytes(20 * MIB)

    assert (Part("dicom", blank),) == take_apart(zipped({"1.dcm": blank}), "application/zip", SETTINGS).files


def test_no_message_repeats_a_name_that_was_sent() -> None:
    for body, content_type in (
        (zipped({"../CANARY.dcm": DICOM}), "application/zip"),
        (zipped({"CANARY.txt": b"CANARY"}), "application/zip"),
        (multipart(('Content-Disposition: form-data; filename="CANARY"', b"CANARY")), "multipart/related; boundary=b0"),
    ):
        with pytest.raises(ProblemError) as caught:
            take_apart(body, content_type, SETTINGS)
        assert "CANARY" not in caught.value.problem.model_dump_json()


@given(st.binary(max_size=400), st.sampled_from(["application/zip", "multipart/form-data; boundary=b0"]))
def test_any_bytes_give_parts_or_a_problem(noise: bytes, content_type: str) -> None:
    part = b"--b0\r\n" + noise + b"\r\n--b0--"
    for body in (noise, b"PK\x03\x04" + noise, zipped({"1.dcm": DICOM})[:60] + noise, part):
        try:
            status = 200 if take_apart(body, content_type, SETTINGS).files else 0
        except ProblemError as error:
            status = error.problem.status
        assert status == 200 or 400 <= status < 500
