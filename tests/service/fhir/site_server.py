"""A FHIR server of a few answers on loopback, which remembers what it was asked: for what a client must never do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FHIR = "application/fhir+json"


@dataclass
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Said:
    """What is answered: a value as JSON, or bytes as they are."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


Answers = Callable[[Asked], Said]


@dataclass
class SiteServer:
    """A running server."""

    url: str
    port: int
    asked: list[Asked]

    @property
    def targets(self) -> list[str]:
        return [one.target for one in self.asked]


@contextmanager
def site_server(answers: Answers, *, path: str = "/fhir") -> Iterator[SiteServer]:
    """Serve ``answers`` on a free port of loopback."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def log_message(self, *_: object) -> None:
            return

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            one = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            asked.append(one)
            said = answers(one)
            content = said.body if isinstance(said.body, bytes) else b"" if said.body is None else json.dumps(said.body).encode()
            self.send_response(said.status)
            for name, value in {"Content-Type": FHIR, "Content-Length": str(len(content)), **said.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = answer  # noqa: N815  the names are the library's

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    port = server.server_address[1]
    try:
        yield SiteServer(f"http://127.0.0.1:{port}{path}", port, asked)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def searchset(*resources: Any, **links: str) -> dict[str, Any]:
    """Write the answer of a search."""
    link = [{"relation": name, "url": url} for name, url in links.items()]
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": [{"resource": one} for one in resources]}
