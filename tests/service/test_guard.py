"""The Guard: limits before anything is read, a token, counting by route template, a net under everything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from service.guard import Guard
from service.metrics import Metrics
from service.settings import MIB, Settings
from tests.make import dicom_bytes, radiograph_dataset
from tests.service.house import DICOM, build


def in_pieces(size: int, piece: int = 65_536) -> Iterator[bytes]:
    """Make a body that is sent without stating its length."""
    for _ in range(size // piece + 1):
        yield bytes(piece)


def guarded(endpoint: Any, **settings: Any) -> tuple[TestClient, Metrics]:
    metrics = Metrics()
    app = Starlette(routes=[Route("/v1/images", endpoint, methods=["POST", "GET"])])
    return TestClient(Guard(app, Settings(**settings), metrics), raise_server_exceptions=True), metrics


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


@pytest.mark.parametrize("stated", [True, False])
def test_a_body_over_the_limit_is_413_whether_or_not_it_states_its_length(stated: bool) -> None:
    client, _ = guarded(length, max_image_body_mib=1)

    answer = client.post("/v1/images", content=bytes(2 * MIB) if stated else in_pieces(2 * MIB))

    assert (413, "body_too_large", "close") == (answer.status_code, answer.json()["code"], answer.headers["connection"])


def test_a_body_at_the_limit_passes() -> None:
    client, _ = guarded(length, max_image_body_mib=1)

    assert str(MIB) == client.post("/v1/images", content=bytes(MIB)).text


def test_addresses_that_take_no_body_take_no_body(client: TestClient) -> None:
    answer = client.request("GET", "/v1/models", content=bytes(MIB))

    assert 413 == answer.status_code


def test_more_bodies_at_once_than_there_is_room_for_are_asked_to_come_back() -> None:
    client, _ = guarded(length, max_image_body_mib=10, max_bodies_mib=1)

    answer = client.post("/v1/images", content=bytes(2 * MIB))

    assert (503, "busy", "1") == (answer.status_code, answer.json()["code"], answer.headers["retry-after"])
    assert "1024" == client.post("/v1/images", content=bytes(1024)).text


async def count(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(sum([len(one) async for one in request.stream()])))


def bulk_client() -> TestClient:
    app = Starlette(routes=[Route("/fhir/$predict", count, methods=["POST"])])
    return TestClient(Guard(app, Settings(max_record_body_mib=1, max_bulk_body_mib=4, max_bodies_mib=1), Metrics()))


def test_ndjson_is_read_piece_by_piece_and_takes_no_room_from_other_bodies() -> None:
    answer = bulk_client().post("/fhir/$predict", content=bytes(3 * MIB), headers={"content-type": "application/fhir+ndjson"})
    assert (200, str(3 * MIB)) == (answer.status_code, answer.text)


@pytest.mark.parametrize("kinds", [
    ["application/json; a=ndjson"], ["application/fhir+json", "application/fhir+ndjson"], ["application/ndjson-seq"], []])
def test_only_what_will_be_read_as_ndjson_may_be_so_large(kinds: list[str]) -> None:
    headers = [("content-type", kind) for kind in kinds]
    assert 413 == bulk_client().post("/fhir/$predict", content=bytes(3 * MIB), headers=headers).status_code


def test_requests_beyond_the_limit_are_asked_to_come_back_and_probes_pass() -> None:
    metrics = Metrics()
    statuses: dict[str, int] = {}

    async def ask(guard: Guard, path: str, name: str) -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses[name] = message["status"]

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        await guard({"type": "http", "method": "GET", "path": path, "headers": []}, receive, send)

    async def story() -> None:
        open_door = asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/v1/images":
                await open_door.wait()
            await PlainTextResponse("")(scope, receive, send)

        guard = Guard(slow, Settings(max_requests=2), metrics)
        waiting = [asyncio.create_task(ask(guard, "/v1/images", f"in {i}")) for i in range(2)]
        await asyncio.sleep(0)
        await ask(guard, "/v1/images", "one too many")
        await ask(guard, "/livez", "probe")
        open_door.set()
        await asyncio.gather(*waiting)

    asyncio.run(story())

    assert {"in 0": 200, "in 1": 200, "one too many": 429, "probe": 200} == statuses


def test_with_a_token_v1_asks_for_it_and_probes_do_not(released: Path) -> None:
    house = build(released, api_token="right")
    ask = house.client.get

    assert 401 == ask("/v1/models").status_code
    assert "Bearer" == ask("/v1/models").headers["www-authenticate"]
    assert 401 == ask("/v1/models", headers={"authorization": "Bearer wrong"}).status_code
    assert 401 == ask("/v1/models", headers={"authorization": "Basic right"}).status_code
    assert 200 == ask("/v1/models", headers={"authorization": "Bearer right"}).status_code
    assert 200 == ask("/metrics").status_code
    house.scoring.stop()


def test_an_unexpected_exception_is_500_and_the_log_keeps_its_text_out(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(request: Request) -> PlainTextResponse:
        raise RuntimeError("CANARY^NAME")

    metrics = Metrics()

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await fails(Request(scope))

    client = TestClient(Guard(bare, Settings(), metrics), raise_server_exceptions=True)
    with caplog.at_level(logging.DEBUG):
        answer = client.get("/v1/models")

    assert (500, "unexpected") == (answer.status_code, answer.json()["code"])
    assert "RuntimeError at test_guard.py" in caplog.text
    assert "CANARY" not in caplog.text + answer.text


def test_counts_carry_route_templates_and_no_path(released: Path) -> None:
    house = build(released)
    house.client.get("/v1/models/CANARY-1/card")
    house.client.get("/CANARY-2")
    house.client.request("CANARY3", "/")
    house.client.post("/v1/images", content=dicom_bytes(radiograph_dataset()), headers=DICOM)

    text = house.client.get("/metrics").text

    assert 'diaphane_requests_total{method="GET",route="/v1/models/{model}/card",status="404"} 1.0' in text
    assert 'diaphane_requests_total{method="GET",route="elsewhere",status="404"} 1.0' in text
    assert 'diaphane_results_total{model="tiny_chest-1.0.0",reason="",status="scored"} 1.0' in text
    assert "CANARY" not in text
    house.scoring.stop()


def test_after_all_requests_nothing_is_counted_as_running_or_held(client: TestClient) -> None:
    client.post("/v1/images", content=b"x" * 1000, headers=DICOM)
    text = client.get("/metrics").text

    assert "diaphane_requests_running 0.0" in text
    assert "diaphane_bodies_bytes 0.0" in text
