"""The live stream over a real server: what changed is told at once, to those who may know, and no stream outlives its session."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from service.access import standing
from service.access.sessions import Sessions
from service.front import Front
from service.review.worklist import events
from tests.service.access.make_login import login_for
from tests.service.review.worklist.listed import Listed, listed

PATIENCE_S = 10.0


class Heard:
    """One stream that is read in a thread."""

    def __init__(self, base: str, cookies: dict[str, str], headers: dict[str, str]) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.status = 0
        self.ended = threading.Event()
        self._begun = threading.Event()
        self._client = httpx.Client(base_url=base, cookies=cookies, timeout=30)
        self._thread = threading.Thread(target=self._read, args=(headers,), daemon=True)
        self._thread.start()
        assert self._begun.wait(PATIENCE_S)

    def _read(self, headers: dict[str, str]) -> None:
        try:
            with self._client.stream("GET", "/review/events", headers=headers) as answer:
                self.status = answer.status_code
                self._begun.set()
                for line in answer.iter_lines():
                    self.lines.put(line)
        except (httpx.HTTPError, OSError):
            pass
        finally:
            self._begun.set()
            self.ended.set()

    def event(self) -> tuple[int, dict[str, Any]]:
        """Return the number and the content of the next event."""
        number, until = -1, time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            line = self.lines.get(timeout=PATIENCE_S)
            if line.startswith("id: "):
                number = int(line[4:])
            if line.startswith("data: "):
                return number, json.loads(line[6:])
        raise AssertionError("nothing was told")

    def number(self) -> int:
        """Return the next number, of an event or of none."""
        while True:
            line = self.lines.get(timeout=PATIENCE_S)
            if line.startswith("id: "):
                return int(line[4:])

    def close(self) -> None:
        self._client.close()


class Server:
    """A house on a real port."""

    def __init__(self, house: Listed, base: str, server: uvicorn.Server) -> None:
        self.house, self.base, self.server = house, base, server
        self._open: list[Heard] = []

    def listen(self, *, after: int | None = None, **who: Any) -> Heard:
        someone = login_for(self.house.house, who.pop("roles", ("radiologist",)), **who)
        host = {"host": "127.0.0.1:3000"}  # the Gate answers under the names of the settings
        return self.heard(someone.cookies, {**host, **({"last-event-id": str(after)} if after is not None else {})})

    def heard(self, cookies: dict[str, str], headers: dict[str, str]) -> Heard:
        self._open.append(Heard(self.base, cookies, headers))
        return self._open[-1]

    def hang_up(self) -> None:
        for one in self._open:
            one.close()
            one.ended.wait(PATIENCE_S)
        self._open.clear()


@contextmanager
def serving(house: Listed) -> Iterator[Server]:
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(house.app, log_config=None, lifespan="off", ws="none", http=Front, timeout_graceful_shutdown=30)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    made = Server(house, f"http://127.0.0.1:{listening.getsockname()[1]}", server)
    try:
        until = time.monotonic() + PATIENCE_S
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield made
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "an open stream held the server up"
        made.hang_up()
        listening.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(events, "EVERY_S", 0.05)
        patch.setattr(events, "HEARTBEAT_S", 0.2)
        patch.setattr(standing.Standing.__init__, "__defaults__", (0.1,))
        with listed(tmp_path_factory.mktemp("events"), max_requests=2) as house, serving(house) as made:
            yield made


@pytest.fixture(autouse=True)
def quiet(server: Server) -> Iterator[None]:
    yield
    server.hang_up()


def test_a_change_is_told_by_its_key_and_by_nothing_else(server: Server) -> None:
    heard = server.listen()
    heard.number()
    key = server.house.put("1", name="CANARY")
    number, told = heard.event()
    assert told == {"keys": [key], "gap": False}
    assert number > 0
    server.house.state("1", "seen")
    assert heard.event()[1]["keys"] == [key]


def test_what_was_missed_is_told_on_coming_back(server: Server) -> None:
    heard = server.listen()
    before = heard.number()
    heard.close()
    keys = [server.house.put(f"missed-{number}") for number in range(3)]
    _, told = server.listen(after=before).event()
    assert told["keys"] == keys


def test_who_was_away_for_long_is_told_to_look_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = events.entries.changes
    monkeypatch.setattr(events.entries, "changes", lambda store, after: limited(store, after, limit=2))
    for number in range(4):
        server.house.put(f"away-{number}")
    number, told = server.listen(after=0).event()
    assert told == {"keys": [], "gap": True}
    assert number == events.entries.last_number(server.house.store)


def test_an_erased_line_is_told_as_a_gap(server: Server) -> None:
    server.house.put("erased")
    heard = server.listen()
    heard.number()
    server.house.erase("erased")
    assert heard.event()[1] == {"keys": [], "gap": True}


@pytest.mark.parametrize("who", [{"departments": ("Cardiology",)}, {"models": ("hip",)}])
def test_lines_of_others_are_not_told_but_the_number_moves(server: Server, who: dict[str, Any]) -> None:
    heard = server.listen(**who)
    first = heard.number()
    server.house.put(f"others-{who}")
    assert heard.number() > first
    mine = server.house.put(f"mine-{who}", department="Cardiology", models=("hip-1.0.0",))
    assert heard.event()[1]["keys"] == [mine]


def test_a_stream_ends_with_its_session(server: Server) -> None:
    someone = login_for(server.house.house, subject="oidc:test:leaving")
    heard = server.heard(someone.cookies, {"host": "127.0.0.1:3000"})
    heard.number()
    Sessions(server.house.house).end_all("oidc:test:leaving")
    assert heard.ended.wait(PATIENCE_S)


@pytest.mark.parametrize(("roles", "status"), [(("engineer",), 403), (("administrator", "dpo"), 403)])
def test_who_has_no_worklist_has_no_stream(server: Server, roles: tuple[str, ...], status: int) -> None:
    assert server.listen(roles=roles).status == status


def test_nobody_without_a_session_has_a_stream(server: Server) -> None:
    assert server.heard({}, {"host": "127.0.0.1:3000"}).status == 401


def test_streams_are_bounded_and_take_nothing_from_other_requests(server: Server) -> None:
    someone = login_for(server.house.house, subject="oidc:test:many")
    opened = [server.heard(someone.cookies, {"host": "127.0.0.1:3000"}) for _ in range(events.MOST_OF_ONE)]
    for one in opened:
        one.number()
    assert server.heard(someone.cookies, {"host": "127.0.0.1:3000"}).status == 429
    headers = {"host": "127.0.0.1:3000", "accept": "text/html"}
    with httpx.Client(base_url=server.base, cookies=someone.cookies, headers=headers) as http:
        assert http.get("/review").status_code == 200  # the house answers two at once, and more streams are open
    assert not opened[0].ended.is_set()
