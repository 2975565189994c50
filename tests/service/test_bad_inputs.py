"""Nothing a sender can put into a body makes the service fail: each gets an answer below 500, quickly."""

from __future__ import annotations

import io
import json
import struct
import time
import zipfile
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from tests.make import data_root, dicom_bytes, icu_bundle, mr_series, needs_data, radiograph_dataset
from tests.service.house import DICOM, FHIR
from tests.service.test_intake import multipart, zipped

GOOD = dicom_bytes(radiograph_dataset())
ZIP = {"content-type": "application/zip"}
PNG = {"content-type": "image/png"}
PARTS = {"content-type": "multipart/form-data; boundary=b0"}
SECONDS = 10.0  # generous for a loaded machine; what is hostile here would take minutes or gigabytes


def png(width: int, height: int) -> bytes:
    """Write a PNG that declares a size its few bytes do not hold."""
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


IMAGES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "empty body": (b"", DICOM, 400),
    "no content type and noise": (b"noise", {}, 415),
    "wrong content type": (GOOD, {"content-type": "text/plain"}, 415),
    "json": (b"{}", {"content-type": "application/json"}, 415),
    "content type that is noise": (GOOD, {"content-type": ";;;=\x01"}, 415),
    "truncated header": (GOOD[:140], DICOM, 400),
    "truncated in the middle": (GOOD[:900], DICOM, 400),
    "truncated pixels": (GOOD[:-1000], DICOM, 400),
    "preamble only": (GOOD[:132], DICOM, 400),
    "not dicom at all": (b"hello", DICOM, 400),
    "program in the preamble": (b"MZ" + GOOD[2:], DICOM, 422),
    "65535 x 65535 declared": (dicom_bytes(radiograph_dataset(Rows=65535, Columns=65535)), DICOM, 413),
    "a hundred thousand frames declared": (dicom_bytes(radiograph_dataset(NumberOfFrames=100_000)), DICOM, 413),
    "no pixels": (dicom_bytes(radiograph_dataset(PixelData=None)), DICOM, 422),
    "png that declares gigapixels": (png(100_000, 100_000), PNG, 400),
    "png that declares more than the limit": (png(9_000, 9_000), PNG, 413),
    "png cut short": (png(100, 100)[:40], PNG, 400),
    "jpeg magic and noise": (b"\xff\xd8\xff" + b"x" * 100, PNG, 400),
    "zip bomb": (zipped({f"{i}.dcm": GOOD[:200] + bytes(9 * 2**20) for i in range(60)}), ZIP, 413),
    "zip in zip": (zipped({"a.zip": zipped({"a.dcm": GOOD})}), ZIP, 400),
    "zip slip": (zipped({"../../etc/cron.d/x.dcm": GOOD}), ZIP, 400),
    "zip of ten thousand files": (zipped({f"{i}.dcm": b"" for i in range(10_000)}, zipfile.ZIP_STORED), ZIP, 413),
    "a hundred thousand parts": (b"--b0\r\nA: b\r\n\r\n\r\n" * 100_000 + b"--b0--", PARTS, 413),
    "parts without a boundary": (multipart(("A: b", GOOD)), {"content-type": "multipart/form-data"}, 400),
    "parts cut short": (multipart(("A: b", GOOD))[:-500], PARTS, 400),
    "part headers without end": (b"--b0\r\nA: " + b"x" * 100_000, PARTS, 400),
}


@pytest.mark.parametrize("name", IMAGES)
def test_a_bad_image_gets_a_problem_quickly(client: TestClient, name: str) -> None:
    body, headers, status = IMAGES[name]

    began = time.perf_counter()
    answer = client.post("/v1/images", content=body, headers=headers)

    assert status == answer.status_code, answer.text
    assert {"type", "title", "status", "detail", "code"} == set(answer.json())
    assert time.perf_counter() - began < SECONDS


def bundle(**changes: Any) -> bytes:
    return json.dumps({**icu_bundle(hours=2), **changes}).encode()


RECORDS: dict[str, tuple[bytes, dict[str, str], int]] = {
    "empty body": (b"", FHIR, 400),
    "wrong content type": (bundle(), {"content-type": "text/xml"}, 415),
    "not json": (b"hello", FHIR, 400),
    "not text": (b"\xff\xfe\x00", FHIR, 400),
    "a list": (b"[]", FHIR, 400),
    "a number": (b"7", FHIR, 400),
    "null": (b"null", FHIR, 400),
    "another resource": (b'{"resourceType": "Patient"}', FHIR, 400),
    "deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, FHIR, 400),
    "deep lists": (b"[" * 1_000_000, FHIR, 400),
    "huge number": (b'{"resourceType":"Bundle","type":"collection","n":' + b"9" * 100_000 + b"}", FHIR, 400),
    "NaN": (bundle().replace(b"80.0", b"NaN", 1), FHIR, 400),
    "infinity": (bundle().replace(b"80.0", b"Infinity", 1), FHIR, 400),
    "entries that are a word": (bundle(entry="x"), FHIR, 400),
    "entries that are numbers": (bundle(entry=[1, 2, None]), FHIR, 400),
    "no entries": (bundle(entry=[]), FHIR, 422),
    "more than the limit": (b" " * (17 * 2**20), FHIR, 413),
    "a hundred thousand entries": (bundle(entry=[{}] * 100_000), FHIR, 413),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_bad_bundle_gets_a_problem_quickly(client: TestClient, name: str) -> None:
    body, headers, status = RECORDS[name]

    began = time.perf_counter()
    answer = client.post("/v1/records", content=body, headers=headers)

    assert 400 <= answer.status_code < 500, answer.text
    assert status == answer.status_code or {status, answer.status_code} == {400, 422}, answer.text
    assert {"type", "title", "status", "detail", "code"} == set(answer.json())
    assert time.perf_counter() - began < SECONDS


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1500), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_dicom_object_with_changed_bytes_is_answered(client: TestClient, changes: list[tuple[int, int]]) -> None:
    body = bytearray(GOOD)
    for place, value in changes:
        body[place] = value

    answer = client.post("/v1/images", content=bytes(body), headers=DICOM)

    assert answer.status_code < 500, answer.text


def test_noise_as_pixels_is_a_result_or_a_refusal(client: TestClient) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (300, 300)).astype(np.uint8)

    answer = client.post("/v1/images", content=dicom_bytes(radiograph_dataset(noise)), headers=DICOM)

    assert 200 == answer.status_code
    assert answer.json()["series"][0]["status"] in ("scored", "refused")


def test_slices_that_are_no_grid_say_so(client: TestClient) -> None:
    series = mr_series()
    del series[4]

    answer = client.post("/v1/images", files=[("f", ("x", dicom_bytes(one), "application/dicom")) for one in series])

    assert 422 == answer.status_code
    assert answer.json()["code"] in ("missing_slices", "slices_not_a_grid")


@needs_data
def test_every_file_of_the_dicom_zoo_is_answered(client: TestClient) -> None:
    files = sorted((data_root() / "dicom-zoo").rglob("*.dcm"))

    answers = {path.name: client.post("/v1/images", content=path.read_bytes(), headers=DICOM) for path in files}
    statuses = {name: answer.status_code for name, answer in answers.items()}

    assert len(files) > 40
    assert {} == {name: status for name, status in statuses.items() if status not in (200, 400, 413, 422)}
