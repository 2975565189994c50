"""A small house behind the Gate: the pages of the login, and a few addresses of every kind, on a store of its own."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from models.errors import UnusableInput
from service.access.caller import caller_if_any
from service.access.gate import Gate
from service.access.pages import Login
from service.audit.settled import Settled
from service.ehr_house import House
from service.metrics import Metrics
from service.problem import ProblemError
from service.review.page import ReviewDesk
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site
from service.web import elsewhere, on_problem
from tests.service.access.asking import Here
from tests.service.access.make_login import ORIGIN

with warnings.catch_warnings():  # starlette asks for httpx2, which is not the client the service's users have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

PAGE = {"accept": "text/html,*/*"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
SECRET_WORDS = "what is about a patient"


@dataclass
class Gated:
    """A running house."""

    house: House
    app: Starlette
    login: Login
    reached: list[str] = field(default_factory=list)
    opened: list[httpx.Client] = field(default_factory=list)

    @cached_property
    def client(self) -> httpx.Client:
        """Something that asks without cookies."""
        return self.browser()

    def browser(self, cookies: dict[str, str] | None = None, *, address: str = "127.0.0.1") -> httpx.Client:
        """Return a browser that keeps cookies and follows nothing by itself."""
        made = httpx.Client(transport=Here(self.app, address), base_url=ORIGIN, cookies=cookies)
        self.opened.append(made)
        return made

    def listener(self, cookies: dict[str, str]) -> TestClient:
        """Return a browser that reads an answer while it comes."""
        return TestClient(self.app, base_url=ORIGIN, cookies=cookies)


@contextmanager
def gated(folder: Path, access: dict[str, Any] | None = None, *, cds_clients: list[dict[str, Any]] | None = None,
          **told: Any) -> Iterator[Gated]:
    """Open a house; ``access`` is that table of a site file."""
    settings = Settings(store=folder / "store", review=True, **told)
    site = Site.model_validate({"access": access or {}, "cds_clients": cds_clients or []})
    house = House(settings, site, Scoring(settings), Metrics())
    house.open()
    made = Gated(house, Starlette(), Login(ReviewDesk(house)))

    async def reach(request: Request) -> Response:
        made.reached.append(request.url.path)
        caller, body = caller_if_any(request), await request.body()
        return JSONResponse({"subject": caller.subject if caller else "", "said": SECRET_WORDS, "body": body.decode()})

    async def events(_: Request) -> Response:
        async def lines() -> AsyncIterator[str]:
            for number in range(1000):
                yield f"data: {number}\n\n"
                await asyncio.sleep(0.005)

        return StreamingResponse(lines(), media_type="text/event-stream")

    kinds = {"GET": ["/", "/review", "/metrics", "/v1/models", "/review/studies/{key}", "/review/static/{name}", "/dicom-web/studies",
                     "/fhir/metadata", "/cds-services", "/review/forgotten"],
             "POST": ["/v1/images", "/review/{kind}/{key}/verdict", "/cds-services/{service}", "/review/language"]}
    made.app = Starlette(
        routes=[Route("/review/events", events), *made.login.routes(),
                *(Route(path, reach, methods=[method]) for method, paths in kinds.items() for path in paths),
                Route("/{rest:path}", elsewhere, methods=["GET", "POST", "PUT", "DELETE"])],
        middleware=[Middleware(Settled), Middleware(Gate, house=house)],
        exception_handlers=dict.fromkeys((ProblemError, UnusableInput, Exception), on_problem),
    )
    try:
        yield made
    finally:
        for browser in made.opened:
            browser.close()
        house.close()
