"""The front: heads that are too long or too slow are ended, and everything else is left to uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from service import front
from service.front import MAX_HEAD_BYTES, Front


async def slow_echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the size of the body, and take a second over it when asked to."""
    request = Request(scope, receive)
    body = await request.body()
    await asyncio.sleep(1.0 if request.url.path == "/slow" else 0)
    answer: Response = PlainTextResponse(str(len(body)))
    await answer(scope, receive, send)


@contextmanager
def connection() -> Iterator[socket.socket]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(slow_echo, http=Front, log_config=None, lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        try:
            with socket.create_connection(bound.getsockname(), timeout=20) as peer:
                yield peer
        finally:
            server.should_exit = True
            thread.join()


def status(peer: socket.socket) -> bytes:
    return peer.recv(4096)[9:12]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_S", 0.4)


def test_requests_of_one_connection_are_answered_one_after_another() -> None:
    with connection() as peer:
        for body in (b"abc", b"x" * 200_000, b""):
            peer.sendall(f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            assert peer.recv(4096).endswith(f"\r\n\r\n{len(body)}".encode())


def test_a_head_that_is_too_long_is_refused() -> None:
    with connection() as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * (MAX_HEAD_BYTES + 1))
        assert b"431" == status(peer)


def test_a_head_of_many_lines_is_refused() -> None:
    with connection() as peer:
        peer.sendall(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * (MAX_HEAD_BYTES // 6 + 1))
        assert b"431" == status(peer)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n"])
def test_a_head_that_does_not_come_is_not_waited_for(sent: bytes) -> None:
    with connection() as peer:
        peer.sendall(sent)
        answers = b""
        while piece := peer.recv(4096):
            answers += piece

    assert answers.startswith(b"HTTP/1.1 200") == sent.endswith(b"Host: x\r\n\r\nGET / HTTP/1.1\r\n")
    assert b"HTTP/1.1 408" in answers


def test_a_body_may_take_longer_than_a_head() -> None:
    with connection() as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        time.sleep(0.8)
        peer.sendall(b"cd")
        assert b"200" == status(peer)


def test_an_answer_under_way_is_not_cut_off_by_a_slow_second_head() -> None:
    with connection() as peer:
        peer.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        assert b"200" == status(peer)
