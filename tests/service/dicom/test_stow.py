"""STOW-RS: what is acknowledged is kept, what fails says why and does not stop its neighbours."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from service.dicom import stow
from service.dicom.multipart import Cutter, Part
from service.metrics import Metrics
from service.problem import ProblemError
from service.scoring import Scoring
from service.settings import Settings
from service.store.query import get_instances
from service.store.tables import Case
from service.web import Web
from tests.make import dicom_bytes, mr_series, radiograph_dataset
from tests.service.dicom.web_house import BOUNDARY, JSON, RELATED, WebHouse, listening, opened, related
from tests.service.house import TestClient

GOOD = dicom_bytes(radiograph_dataset())
STUDY = "1.2.826.0.1.3680043.8.498.2026.1"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebHouse]:
    with opened(tmp_path) as house:
        yield house


def reasons(answer: dict[str, Any]) -> list[tuple[int, str]]:
    """What failed: Failure Reason and the word beside it."""
    items = answer.get("00081198", {}).get("Value", []) + answer.get("0008119A", {}).get("Value", [])
    return [(one["00081197"]["Value"][0], one["00000902"]["Value"][0]) for one in items]


def stored(answer: dict[str, Any]) -> list[str]:
    return [one["00081155"]["Value"][0] for one in answer.get("00081199", {}).get("Value", [])]


def test_a_series_is_stored_and_every_object_acknowledged(web: WebHouse) -> None:
    series = mr_series()

    answer = web.send(series)

    assert [one.SOPInstanceUID for one in series] == stored(answer)
    assert [f"http://testserver/dicom-web/studies/{STUDY}"] == answer["00081190"]["Value"]
    assert {one.SOPInstanceUID for one in series} == {row.sop_uid for row in get_instances(web.store, STUDY)}


def test_the_dataset_is_kept_byte_for_byte(web: WebHouse) -> None:
    web.send([radiograph_dataset()])

    (row,) = get_instances(web.store, STUDY)
    kept, sent = (pydicom.dcmread(io.BytesIO(data)) for data in (web.store.objects.get(row.sha256), GOOD))
    assert sent == kept
    assert web.store.objects.get(row.sha256).endswith(sent.PixelData)


def test_the_same_body_again_is_acknowledged_and_changes_nothing(web: WebHouse) -> None:
    answers = [web.send(mr_series()) for _ in range(2)]

    assert stored(answers[0]) == stored(answers[1])
    assert 12 == len(get_instances(web.store, STUDY))


def test_the_end_of_a_request_makes_its_series_complete_soon(web: WebHouse) -> None:
    before = time.time()
    web.send(mr_series())

    with web.store.reading() as session:
        (due_at,) = session.scalars(select(Case.due_at))
    assert due_at is not None
    assert before <= due_at - web.settings.release_quiet_s <= time.time()


def test_a_single_object_may_be_the_whole_body(web: WebHouse) -> None:
    answer = web.client.post("/dicom-web/studies", content=GOOD, headers={"content-type": "application/dicom"})

    assert (200, 1) == (answer.status_code, len(stored(answer.json())))


@pytest.mark.parametrize(("content_type", "body"), [
    (f'multipart/related; type="application/dicom"; boundary={BOUNDARY}', related([GOOD])),
    (f"multipart/related; type=application/dicom; boundary={BOUNDARY}", related([GOOD])),
    (f'Multipart/Related; boundary="{BOUNDARY}"; TYPE="application/dicom"', related([GOOD])),
    (f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"', b"to be ignored\r\n" + related([GOOD]) + b"and this"),
    (f"multipart/related; type=application/dicom; boundary={BOUNDARY}", related([GOOD], head="")),
    (f"multipart/related; type=application/dicom; boundary={BOUNDARY}", related([GOOD], head="Content-Length: 7\r\n")),
    (f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
     related([GOOD]).replace(f"--{BOUNDARY}\r\n".encode(), f"--{BOUNDARY} \t\r\n".encode())),
])
def test_every_lawful_way_to_write_a_multipart_is_read(web: WebHouse, content_type: str, body: bytes) -> None:
    answer = web.client.post("/dicom-web/studies", content=body, headers={"content-type": content_type})

    assert (200, 1) == (answer.status_code, len(stored(answer.json())))


def report() -> bytes:
    return dicom_bytes(radiograph_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", PixelData=None, Modality="SR"))


def in_syntax(syntax: str) -> bytes:
    return GOOD.replace(b"1.2.840.10008.1.2.1\0", syntax.encode().ljust(20, b"\0"))


@pytest.mark.parametrize(("part", "reason", "word"), [
    (b"not DICOM at all", 0xC000, "not_dicom"),
    (GOOD[:-100], 0xC000, "truncated"),
    (b"MZ" + GOOD[2:], 0xC000, "executable_preamble"),
    (report(), 0x0122, "not_an_image"),
    (in_syntax("1.2.840.10008.1.2.99"), 0xC122, "unknown_transfer_syntax"),
    (dicom_bytes(radiograph_dataset(SOPInstanceUID="../../evil")), 0xC000, "bad_uid"),
    (dicom_bytes(radiograph_dataset(StudyInstanceUID=None)), 0xC000, "no_identifiers"),
    (dicom_bytes(radiograph_dataset(np.zeros((1200, 1200), np.uint8))), 0xA700, "too_large"),
])
def test_what_cannot_be_kept_fails_by_itself_with_its_reason(tmp_path: Path, part: bytes, reason: int, word: str) -> None:
    with opened(tmp_path, max_instance_mib=1) as web:
        mixed = web.client.post("/dicom-web/studies", content=related([part, dicom_bytes(mr_series()[0])]), headers=RELATED)
        alone = web.client.post("/dicom-web/studies", content=related([part]), headers=RELATED)

    assert (202, [(reason, word)], 1) == (mixed.status_code, reasons(mixed.json()), len(stored(mixed.json())))
    assert (409, [(reason, word)]) == (alone.status_code, reasons(alone.json()))


def test_a_failure_is_named_by_the_instance_the_sender_claimed(web: WebHouse) -> None:
    answer = web.client.post("/dicom-web/studies", content=related([GOOD[:-100]]), headers=RELATED).json()

    (failed,) = answer["00081198"]["Value"]
    assert [radiograph_dataset().SOPInstanceUID] == failed["00081155"]["Value"]


def test_an_object_of_another_study_than_the_address_is_not_stored(web: WebHouse) -> None:
    answer = web.client.post("/dicom-web/studies/1.2.3", content=related([GOOD]), headers=RELATED)

    assert (409, [(0xC409, "other_study")]) == (answer.status_code, reasons(answer.json()))
    assert [] == get_instances(web.store, STUDY)


@pytest.mark.parametrize(("headers", "body", "status", "code"), [
    ({"content-type": "application/dicom+json"}, GOOD, 415, "unsupported_media_type"),
    ({"content-type": 'multipart/related; type="application/dicom+xml"; boundary=a'}, GOOD, 415, "unsupported_media_type"),
    ({}, GOOD, 415, "unsupported_media_type"),
    (RELATED | {"content-encoding": "gzip"}, related([GOOD]), 415, "unsupported_media_type"),
    (RELATED | {"accept": "application/dicom+xml"}, related([GOOD]), 406, "not_acceptable"),
    ({"content-type": 'multipart/related; type="application/dicom"'}, related([GOOD]), 400, "bad_multipart"),
    (RELATED, related([GOOD])[:-10], 400, "bad_multipart"),
    (RELATED, related([GOOD], boundary="another"), 400, "bad_multipart"),
    (RELATED, b"", 400, "bad_multipart"),
    (RELATED, related([]), 400, "empty_body"),
    ({"content-type": "application/dicom"}, b"", 400, "empty_body"),
    (RELATED, b"--" + BOUNDARY.encode() + b"\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 400, "bad_multipart"),
])
def test_a_request_that_cannot_be_read_is_a_problem(web: WebHouse, headers: dict[str, str], body: bytes, status: int,
                                                    code: str) -> None:
    answer = web.client.post("/dicom-web/studies", content=body, headers=headers)

    assert (status, code) == (answer.status_code, answer.json()["code"])


def test_too_many_parts_are_refused(web: WebHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stow, "MAX_PARTS", 3)

    answer = web.client.post("/dicom-web/studies", content=related([b"x"] * 4), headers=RELATED)

    assert (413, "too_many_parts") == (answer.status_code, answer.json()["code"])


def test_a_full_disk_is_said_and_nothing_is_acknowledged(web: WebHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.store, "_min_free_bytes", 1 << 62)

    answer = web.client.post("/dicom-web/studies", content=related([GOOD]), headers=RELATED)

    assert (507, "store_full") == (answer.status_code, answer.json()["code"])
    assert [] == get_instances(web.store, STUDY)


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    with opened(tmp_path, api_token="a-secret-of-the-test") as web:
        answers = [web.client.post("/dicom-web/studies", content=related([GOOD]), headers=RELATED | more)
                   for more in ({}, {"authorization": "Bearer a-secret-of-the-test"})]

    assert [401, 200] == [answer.status_code for answer in answers]


def test_before_the_store_is_open_nothing_is_taken_and_without_the_setting_nothing_is_there(tmp_path: Path) -> None:
    with opened(tmp_path) as web:
        web.dicomweb.close()
        closed = web.client.post("/dicom-web/studies", content=related([GOOD]), headers=RELATED)
        read = web.client.get("/dicom-web/studies")
    told = Settings(store=tmp_path)
    without = TestClient(Web(told, Scoring(told), Metrics()).app()).get("/dicom-web/studies")

    assert [503, 503, 404] == [closed.status_code, read.status_code, without.status_code]
    assert "2" == closed.headers["retry-after"]


def test_an_address_that_is_no_uid_is_refused(web: WebHouse) -> None:
    answer = web.client.post("/dicom-web/studies/..%2f..%2fevil", content=related([GOOD]), headers=RELATED)
    other = web.client.post("/dicom-web/studies/1.2.3x", content=related([GOOD]), headers=RELATED)

    assert [404, 400] == [answer.status_code, other.status_code]


def test_a_body_that_stops_is_answered_and_what_came_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path, upload_timeout_s=0.4) as web, listening(web) as address:
        host, port = address.removeprefix("http://").split(":")
        whole = related([GOOD, GOOD])
        with socket.create_connection((host, int(port)), timeout=10) as peer:
            peer.sendall(f"POST /dicom-web/studies HTTP/1.1\r\nHost: x\r\nContent-Type: {RELATED['content-type']}\r\n"
                         f"Content-Length: {len(whole)}\r\n\r\n".encode() + whole[: len(whole) // 2 + 1000])
            answer = peer.recv(65536)
        kept = get_instances(web.store, STUDY)

    assert answer.startswith(b"HTTP/1.1 408")
    assert 1 == len(kept)


def test_a_chunked_body_is_read(web: WebHouse) -> None:
    body = related([GOOD, dicom_bytes(mr_series()[0])])
    pieces = (body[at : at + 1000] for at in range(0, len(body), 1000))

    answer = web.client.post("/dicom-web/studies", content=pieces, headers=RELATED | JSON)

    assert (200, 2) == (answer.status_code, len(stored(answer.json())))


def cut(body: bytes, sizes: list[int], **limits: int) -> list[Part]:
    """Feed a body in pieces of the given sizes, over and over."""
    cutter = Cutter(b"--" + BOUNDARY.encode(), **({"max_part_bytes": 1000, "max_parts": 50} | limits))
    found: list[Part] = []
    at = turn = 0
    while at < len(body):
        cutter.add(body[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
        turn += 1
        while part := cutter.next():
            found.append(part)
    cutter.finish()
    return found


NEARLY = b"\r\n--" + BOUNDARY.encode()
tricky = st.lists(st.sampled_from([b"\r\n", b"--", NEARLY[4:], NEARLY + b"x", b"-", b"\r", b"a\n", b" \t"]), max_size=8).map(b"".join)


@given(parts=st.lists(tricky | st.binary(max_size=60), max_size=5), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_however_a_body_is_cut_up_the_parts_are_the_same(parts: list[bytes], sizes: list[int]) -> None:
    lawful = [part for part in parts if not re.search(re.escape(NEARLY) + rb"(--|[ \t]*\r\n|[ \t-]*$)", b"\r\n" + part + b"\r\n")]

    assert lawful == [part.data for part in cut(related(lawful), sizes)]


@given(sizes=st.lists(st.integers(1, 700), min_size=1, max_size=4))
def test_a_part_that_is_too_large_is_dropped_and_its_neighbours_are_kept(sizes: list[int]) -> None:
    found = cut(related([b"a" * 1000, b"b" * 1001, b"c"]), sizes)

    assert [(b"a" * 1000, False), (b"", True), (b"c", False)] == [(part.data, part.too_large) for part in found]


def test_memory_for_a_part_that_is_too_large_is_not_taken() -> None:
    cutter = Cutter(b"--b", max_part_bytes=10_000, max_parts=2)
    cutter.add(b"--b\r\n\r\n")
    most = 0
    for _ in range(1000):
        cutter.add(b"x" * 1000)
        assert cutter.next() is None
        most = max(most, cutter.held)

    assert most < 12_000


def test_a_preamble_without_end_is_refused() -> None:
    cutter = Cutter(b"--b", max_part_bytes=10_000, max_parts=2)
    cutter.add(b"x" * 70_000)

    with pytest.raises(ProblemError):
        cutter.next()
