"""The threads that score: how many, how long one waits for them, what happens when they stop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from pathlib import Path

import pytest

from models.shelf import Shelf
from service.problem import ProblemError
from service.scoring import Scoring, Stop
from service.settings import Settings
from tests.make import dicom_bytes, radiograph_dataset, tiny_release
from tests.service.house import DICOM, build


def test_no_more_cases_are_scored_at_once_than_was_set(released: Path) -> None:
    scoring = Scoring(Settings(released=released, scoring_threads=3))
    scoring.open()
    running, most, lock = 0, 0, threading.Lock()

    def work(_: Shelf, __: Stop) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    async def story() -> None:
        await asyncio.gather(*(scoring.run(work) for _ in range(20)))

    asyncio.run(story())
    scoring.stop()

    assert most == 3


def test_an_answer_that_takes_too_long_is_504_and_its_work_stops_at_the_next_step(released: Path) -> None:
    scoring = Scoring(Settings(released=released, timeout_s=0.1))
    scoring.open()
    steps: list[int] = []

    def work(_: Shelf, stop: Stop) -> None:
        for step in range(1000):
            stop.check()
            steps.append(step)
            time.sleep(0.02)

    with pytest.raises(ProblemError) as caught:
        asyncio.run(scoring.run(work))
    scoring.stop()

    assert (504, "timeout") == (caught.value.problem.status, caught.value.problem.code)
    assert len(steps) < 1000


def test_a_body_that_does_not_arrive_is_408(released: Path) -> None:
    house = build(released, upload_timeout_s=0.2)
    async def receive() -> dict[str, object]:
        await asyncio.sleep(5)
        return {"type": "http.request", "body": b"", "more_body": False}

    statuses: list[int] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(int(str(message["status"])))

    scope = {"type": "http", "method": "POST", "path": "/v1/images", "query_string": b"", "root_path": "",
             "headers": [(b"content-type", b"application/dicom")]}
    asyncio.run(house.client.app(scope, receive, send))
    house.scoring.stop()

    assert [408] == statuses


def test_while_opening_and_after_a_fault_the_reason_is_told_without_details(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    release = tiny_release(tmp_path, "risk")
    (release / "evaluation.json").unlink()
    scoring = Scoring(Settings(released=tmp_path))
    with pytest.raises(ProblemError, match="not_ready"):
        _ = scoring.shelf

    with caplog.at_level(logging.ERROR):
        scoring.open()

    assert not scoring.ready
    assert "evaluation.json" in caplog.text
    with pytest.raises(ProblemError) as caught:
        _ = scoring.shelf
    assert "evaluation.json" not in caught.value.problem.detail


def test_a_missing_folder_of_releases_is_a_fault_not_a_crash(tmp_path: Path) -> None:
    scoring = Scoring(Settings(released=tmp_path / "none"))
    scoring.open()

    assert not scoring.ready


def test_the_counts_of_results_carry_model_and_reason(released: Path) -> None:
    house = build(released)
    house.client.post("/v1/images", content=dicom_bytes(radiograph_dataset(Modality="US")), headers=DICOM)

    text = house.client.get("/metrics").text

    assert 'diaphane_results_total{model="tiny_chest-1.0.0",reason="wrong_modality",status="refused"} 1.0' in text
    house.scoring.stop()
