"""Writing lines: on disk before the answer, cheap for programs that ask often, and nothing done unseen when it fails."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from service.audit import audit as audit_module
from service.audit.audit import Audit
from service.audit.head import Head
from service.audit.settled import Settled
from service.store.audit import Broken, End, Line, check, lines
from service.store.errors import StoreError
from tests.service.audit.audit_house import KEY, PERSON, PROGRAM, RADIOLOGIST


def kept(audit: Audit) -> list[Line]:
    with audit.store.reading() as session:
        return lines(session)


def test_what_a_person_did_is_on_disk_when_note_returns(audit: Audit) -> None:
    audit.note(RADIOLOGIST, "view", kind="study", item=KEY, persons=[PERSON])
    (line,) = kept(audit)
    assert ("rpps:10000000002", "Camille Essai", "radiologist", "view", "study", KEY, (PERSON,), "success") == (
        line.actor, line.actor_name, line.roles, line.action, line.kind, line.item, line.persons, line.outcome)


def test_what_programs_do_often_shares_a_transaction_and_is_written_in_time(audit: Audit) -> None:
    for _ in range(300):
        audit.note(PROGRAM, "predict", kind="risk", persons=[PERSON])
    audit.note(PROGRAM, "view", kind="study", outcome="denied")  # a denial never waits, and takes the others along
    assert {"predict", "view"} == {line.action for line in kept(audit)}
    assert 301 == len(kept(audit))
    audit.note(PROGRAM, "predict", kind="risk")
    until = time.monotonic() + 10
    while len(kept(audit)) < 302 and time.monotonic() < until:
        time.sleep(0.02)
    assert 302 == len(kept(audit))


def test_line_of_a_transaction_moves_the_head_after_it(audit: Audit) -> None:
    with audit.store.session() as session:
        audit.append(session, RADIOLOGIST, "verdict", kind="result", item=KEY, persons=[PERSON], detail={"decision": "reject"})
        assert End() == audit.head.read()
    (line,) = kept(audit)
    assert End(1, line.hash) == audit.head.read() == check(audit.store, audit.head.read())


def test_many_threads_and_processes_of_one_store_make_one_chain(audit: Audit, tmp_path: Path) -> None:
    other = Audit(audit.store, audit.site, audit.settings)  # as another process: its own thread, the same store and head
    other.open()
    threads = [threading.Thread(target=lambda one=one: [one.note(RADIOLOGIST, "view") for _ in range(15)])  # type: ignore[misc]
               for one in (audit, other) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    end = check(audit.store, audit.head.read())
    assert isinstance(end, End)
    assert (90, 90) == (end.number, audit.head.read().number)


def test_close_writes_what_waits(tmp_path: Path, audit: Audit) -> None:
    for _ in range(5):
        audit.note(PROGRAM, "predict")
    audit.close()
    assert 5 == len(kept(audit))


def test_store_in_trouble_is_told_to_who_waits_and_loses_nothing_of_programs(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise StoreError("The database does not answer.", code="unreachable")

    with monkeypatch.context() as away:
        away.setattr(audit, "_write", fails)
        audit.note(PROGRAM, "predict")
        with pytest.raises(StoreError):
            audit.note(RADIOLOGIST, "view")
        away.setattr(audit_module, "MOST_WAITING", 2)
        audit.note(PROGRAM, "predict")
        with pytest.raises(StoreError, match="unseen"):
            audit.note(PROGRAM, "predict")
    audit.note(RADIOLOGIST, "login")
    assert ["predict", "predict", "login"] == [line.action for line in kept(audit)]


def ask(audit: Audit, *actions: tuple[Any, ...]) -> httpx.Response:
    """Ask an application that notes these while it answers; its answer says how many lines were on disk as it began."""

    async def answer(request: Request) -> Response:
        for caller, action in actions:
            audit.note(caller, action)
        return PlainTextResponse("here it is")

    counted: list[int] = []

    async def sent(app: Any) -> httpx.Response:
        async def watched(scope: Any, receive: Any, send: Any) -> None:
            async def counting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    counted.append(len(kept(audit)))
                await send(message)

            await app(scope, receive, counting)

        transport = httpx.ASGITransport(app=watched, client=("10.1.2.3", 5))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return await client.get("/")

    found = asyncio.run(sent(Starlette(routes=[Route("/", answer)], middleware=[Middleware(Settled)])))
    found.headers["x-on-disk"] = str(counted[0])
    return found


def test_answer_begins_when_the_lines_are_on_disk(audit: Audit) -> None:
    found = ask(audit, (RADIOLOGIST, "view"), (RADIOLOGIST, "export"))
    assert (200, "2") == (found.status_code, found.headers["x-on-disk"])
    assert ["10.1.2.3"] * 2 == [line.detail["address"] for line in kept(audit)], "the address of the caller is added by itself"


def test_nothing_is_shown_that_could_not_be_audited(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise StoreError("The database does not answer.", code="unreachable")

    monkeypatch.setattr(audit, "_write", fails)
    found = ask(audit, (RADIOLOGIST, "view"))
    assert (503, "store_unavailable", True) == (found.status_code, found.json()["code"], "here it is" not in found.text)


def test_frequent_lines_cost_a_request_less_than_a_millisecond(audit: Audit) -> None:
    begun = time.perf_counter()
    for _ in range(500):
        audit.note(PROGRAM, "predict", kind="risk", item=KEY, persons=[PERSON], detail={"model": "icu-1.0.0"})
    assert time.perf_counter() - begun < 0.5


def test_head_only_moves_forward_and_a_spoiled_one_ends_no_chain(tmp_path: Path, audit: Audit) -> None:
    head = Head(tmp_path)
    assert End() == head.read()
    head.move(End(5, "5" * 64))
    head.move(End(4, "4" * 64))
    assert End(5, "5" * 64) == head.read()
    assert 0o600 == head.path.stat().st_mode & 0o777
    audit.note(RADIOLOGIST, "view")
    for spoiled in (b"garbage", b"-1 x", b"7"):
        head.path.write_bytes(spoiled)
        assert isinstance(check(audit.store, head.read()), Broken)
