"""Populations as NDJSON: cut into pieces, worked off, resumed after a kill, given back line by line, cancelled."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UnusableInput
from service.fhir.bulk import PIECE_LINES, Cutter
from service.fhir.judge import judge
from service.store import bulk
from service.store.bulk import Done
from service.store.ehr_tables import BulkJob
from service.store.errors import LostLease
from tests.make import icu_bundle, tiny_release
from tests.service.fhir.ehr_house import FHIR, NDJSON, Room, fhir_room

WITHIN_S = 60


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("released")
    tiny_release(folder, "risk")
    return folder


@pytest.fixture
def room(released: Path, tmp_path: Path) -> Iterator[Room]:
    """A room whose jobs are done by calling ``step``."""
    with fhir_room(released, tmp_path, lease_s=0.2) as opened:
        yield opened


def lines(count: int) -> list[dict[str, Any]]:
    """Make records of which every fourth is no record, and every third is refused."""
    told = [icu_bundle(hours=1, heart_rate=60.0 + i, gcs=None if i % 3 == 2 else 15.0, creatinine_mg_dl=None if i % 3 == 2 else 1.0)
            for i in range(count)]
    return [{"resourceType": "Patient"} if i % 4 == 3 else one for i, one in enumerate(told)]


def ndjson(resources: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(one) for one in resources).encode()


def begin(room: Room, content: bytes) -> str:
    """Send NDJSON; return the address of the job's status."""
    answer = room.client.post("/fhir/$predict", content=content, headers=NDJSON)
    assert (202, []) == (answer.status_code, judge(answer.json()))
    return str(answer.headers["content-location"]).removeprefix("http://testserver")


def made(room: Room, status: str) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """Return the manifest of a finished job and the resources of its files by type."""
    manifest = room.client.get(status).json()
    files: dict[str, list[dict[str, Any]]] = {"Bundle": [], "OperationOutcome": []}
    for one in manifest["output"] + manifest["error"]:
        answer = room.client.get(one["url"].removeprefix("http://testserver"))
        assert "application/fhir+ndjson" == answer.headers["content-type"]
        files[one["type"]] = [json.loads(line) for line in answer.text.splitlines()]
        assert one["count"] == len(files[one["type"]])
    return manifest, files


def test_a_population_is_scored_line_by_line(room: Room) -> None:
    content = ndjson(lines(9))
    status = begin(room, content)
    waiting = room.client.get(status)
    assert (202, "0 of 9 records") == (waiting.status_code, waiting.headers["x-progress"])
    assert room.fhir.bulk.work.step()
    manifest, files = made(room, status)
    assert {"lines": 9, "scored": 4, "refused": 3, "unusable": 2} == {
        name: value for name, value in manifest["extension"].items() if name != "seconds"}
    assert ["1", "2", "3", "5", "6", "7", "9"] == [one["meta"]["tag"][0]["code"] for one in files["Bundle"]]
    assert ["line 4", "line 8"] == [one["issue"][0]["diagnostics"] for one in files["OperationOutcome"]]
    assert [[]] * 9 == [judge(one) for one in files["Bundle"] + files["OperationOutcome"]]


def test_a_job_goes_on_where_a_killed_process_left_it(room: Room) -> None:
    status = begin(room, ndjson(lines(2 * PIECE_LINES + 5)))
    store = room.house.store
    job = bulk.claim_job(store, worker="killed", lease_s=0.2)
    assert job is not None
    piece = bulk.next_piece(job)
    assert piece is not None
    work = room.fhir.bulk.work
    done = work._score(piece, work.predictor(room.house.scoring.shelf), {}, "en")
    bulk.save_piece(store, job, piece, done)
    assert f"{PIECE_LINES} of {2 * PIECE_LINES + 5} records" in room.client.get(status).headers["x-progress"]
    until = time.monotonic() + WITHIN_S  # its lease runs out: nobody renews it any more
    while room.client.get(status).status_code == 202 and time.monotonic() < until:
        work.step()
    manifest, files = made(room, status)
    assert 2 * PIECE_LINES + 5 == manifest["extension"]["lines"] == len(files["Bundle"]) + len(files["OperationOutcome"])
    numbers = [int(one["meta"]["tag"][0]["code"]) for one in files["Bundle"]]
    assert sorted(set(numbers)) == numbers
    with pytest.raises(LostLease):
        bulk.save_piece(store, job, piece, done)  # the first one was only slow: what it made is dropped


def test_a_job_that_kills_every_process_is_given_up(room: Room) -> None:
    status = begin(room, ndjson(lines(1)))
    for _ in range(room.house.settings.max_attempts):
        until = time.monotonic() + WITHIN_S
        while bulk.claim_job(room.house.store, worker="killed", lease_s=0.001) is None and time.monotonic() < until:
            time.sleep(0.002)
    until = time.monotonic() + WITHIN_S
    while room.client.get(status).status_code == 202 and time.monotonic() < until:
        room.fhir.bulk.work.step()
    assert 500 == room.client.get(status).status_code


def test_a_cancelled_job_is_gone_and_its_worker_saves_nothing(room: Room) -> None:
    status = begin(room, ndjson(lines(2)))
    job = bulk.claim_job(room.house.store, worker="busy", lease_s=60)
    assert job is not None
    piece = bulk.next_piece(job)
    assert piece is not None
    assert 202 == room.client.delete(status).status_code
    assert [404, 404] == [room.client.get(status).status_code, room.client.delete(status).status_code]
    with pytest.raises(LostLease):
        bulk.save_piece(room.house.store, job, piece, Done("", 0, "", 0, 0, 0, 0.0))
    with room.house.store.reading() as session:
        assert set() == bulk.files_named(session)


def files_of(room: Room) -> list[Path]:
    return [one for one in (room.house.settings.store / "objects").rglob("*") if one.is_file()]


def test_of_a_cancelled_job_no_file_stays_not_even_of_the_piece_in_hand(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled = begin(room, ndjson(lines(2)))
    room.fhir.bulk.work.step()
    assert files_of(room)
    assert 202 == room.client.delete(cancelled).status_code
    assert [] == files_of(room)
    status, score = begin(room, ndjson(lines(1))), room.fhir.bulk.work._score

    def cancelled_meanwhile(*told: Any) -> Done:
        done = score(*told)
        assert 202 == room.client.delete(status).status_code
        return done

    monkeypatch.setattr(room.fhir.bulk.work, "_score", cancelled_meanwhile)
    assert room.fhir.bulk.work.step()
    assert [] == files_of(room)


def test_a_job_whose_file_is_gone_is_given_up_at_once(room: Room) -> None:
    status = begin(room, ndjson(lines(1)))
    for one in files_of(room):
        one.unlink()
    assert room.fhir.bulk.work.step()
    assert 500 == room.client.get(status).status_code


@pytest.mark.parametrize("accept", ["application/fhir+ndjson", "application/ndjson", "*/*", "application/fhir+json"])
def test_results_are_given_to_who_asks_for_ndjson(room: Room, accept: str) -> None:
    status = begin(room, ndjson(lines(1)))
    room.fhir.bulk.work.step()
    url = room.client.get(status).json()["output"][0]["url"].removeprefix("http://testserver")
    assert 200 == room.client.get(url, headers={"accept": accept}).status_code


def test_what_has_ended_long_ago_is_pruned_and_what_waits_stays(room: Room) -> None:
    done, waiting = begin(room, ndjson(lines(1))), ""
    room.fhir.bulk.work.step()
    waiting = begin(room, ndjson(lines(2)))
    assert 1 == bulk.prune_bulk(room.house.store, -1.0)
    assert [404, 202] == [room.client.get(one).status_code for one in (done, waiting)]


def test_one_record_and_a_batch_may_be_answered_later_too(room: Room) -> None:
    later = FHIR | {"prefer": "respond-async"}
    request = {"method": "POST", "url": "$predict"}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [{"request": request, "resource": icu_bundle(hours=1)}] * 2}
    for path, body, count in (("/fhir/$predict", icu_bundle(hours=1), 1), ("/fhir", batch, 2)):
        answer = room.client.post(path, json=body, headers=later)
        assert 202 == answer.status_code
        room.fhir.bulk.work.step()
        _, files = made(room, answer.headers["content-location"].removeprefix("http://testserver"))
        assert count == len(files["Bundle"])


def test_the_thread_of_the_room_works_jobs_off_by_itself(released: Path, tmp_path: Path) -> None:
    with fhir_room(released, tmp_path, working=True) as room:
        status = begin(room, ndjson(lines(3)))
        until = time.monotonic() + WITHIN_S
        while room.client.get(status).status_code == 202 and time.monotonic() < until:
            time.sleep(0.02)
        assert 200 == room.client.get(status).status_code


@pytest.mark.parametrize(("content", "status"), [(b"", 400), (b"\n \n", 400)])
def test_nothing_to_score_is_refused(room: Room, content: bytes, status: int) -> None:
    answer = room.client.post("/fhir/$predict", content=content, headers=NDJSON)
    assert (status, "OperationOutcome") == (answer.status_code, answer.json()["resourceType"])


def test_files_of_a_job_are_known_until_it_is_removed(room: Room) -> None:
    begin(room, ndjson(lines(2)))
    room.fhir.bulk.work.step()
    with room.house.store.reading() as session:
        named = bulk.files_named(session)
        (job,) = session.query(BulkJob).all()
    assert {job.files["input"][0][0], job.files["output"][0][0]} == named


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.binary(max_size=40).map(lambda part: part.replace(b"a", b"\n")), max_size=12))
def test_pieces_hold_every_line_once_however_the_stream_is_cut(parts: list[bytes]) -> None:
    cutter = Cutter(longest_line=1000)
    pieces = [piece for part in parts for piece in cutter.feed(part)] + cutter.rest()
    expected = [(number, line) for number, line in enumerate(b"".join(parts).split(b"\n"), start=1) if line.strip()]
    found = [(first + place, line) for first, _, content in pieces for place, line in enumerate(content.split(b"\n")) if line.strip()]
    assert expected == found
    assert len(expected) == sum(count for _, count, _ in pieces)
    assert hashlib.sha256(b"".join(parts)).hexdigest() == cutter.digest.hexdigest()


def test_a_line_longer_than_a_record_may_be_is_refused() -> None:
    cutter = Cutter(longest_line=10)
    cutter.feed(b"x" * 8)
    with pytest.raises(UnusableInput):
        cutter.feed(b"yyy")
