"""Every URL of the house on one screen, and errors → problem+json."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Match, Route

from models.errors import BrokenModel, UnusableInput
from models.model import Model
from service import answers, pages
from service.asked import Asked
from service.body import HEADERS, body_of
from service.department import DepartmentQuery, answer_department
from service.guard import ELSEWHERE, new_request_id
from service.images import ImagesQuery, answer_images
from service.metrics import CONTENT_TYPE, Metrics
from service.openapi import document
from service.problem import ProblemError, from_exception, problem_of, respond
from service.records import RecordsQuery, answer_record
from service.scoring import Scoring
from service.settings import Settings
from service.store.errors import StoreError
from service.words import language_of, problem_in

if TYPE_CHECKING:
    from service.dicom.routes import DicomWeb  # brings the store and its libraries, which only a house with a PACS needs
    from service.ehr import Ehr

Q = TypeVar("Q", bound=BaseModel)
_ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Web:
    """The routes, with what they need: settings, scoring threads, counters and, when asked for, DICOMweb and the EHR side."""

    def __init__(self, settings: Settings, scoring: Scoring, metrics: Metrics, dicomweb: DicomWeb | None = None,
                 ehr: Ehr | None = None) -> None:
        self.settings, self.scoring, self.metrics, self.dicomweb, self.ehr = settings, scoring, metrics, dicomweb, ehr
        self.openapi = document()

    def app(self) -> Starlette:
        """Build the application."""
        return Starlette(
            routes=[
                Route("/", self.front, methods=["GET"]),
                Route("/v1/images", self.images, methods=["POST"]),
                Route("/v1/records", self.records, methods=["POST"]),
                Route("/v1/department", self.department, methods=["POST"]),
                Route("/v1/models", self.models, methods=["GET"]),
                Route("/v1/models/{model}", self.model, methods=["GET"]),
                Route("/v1/models/{model}/card", self.card, methods=["GET"]),
                Route("/v1/models/{model}/manifest", self.manifest, methods=["GET"]),
                Route("/v1/openapi.json", self.description, methods=["GET"]),
                Route("/metrics", self.counts, methods=["GET"]),
                *(self.dicomweb.routes() if self.dicomweb else ()),
                *(self.ehr.routes() if self.ehr else ()),
                Route(ELSEWHERE, elsewhere, methods=_ANY),
            ],
            middleware=self._gate(),
            exception_handlers=dict.fromkeys((ProblemError, UnusableInput, BrokenModel, StoreError, Exception), on_problem),
        )

    def _gate(self) -> list[Middleware]:
        """Where the clinician's page is shown, nobody passes without saying who they are."""
        if not (self.settings.review and self.ehr):
            return []
        from service.access.gate import Gate  # noqa: PLC0415  what they need is not even imported otherwise
        from service.audit.settled import Settled  # noqa: PLC0415

        return [Middleware(Settled), Middleware(Gate, house=self.ehr.house)]

    async def images(self, request: Request) -> Response:
        """Score images."""
        return await self._score(request, ImagesQuery, answer_images)

    async def records(self, request: Request) -> Response:
        """Score one stay."""
        return await self._score(request, RecordsQuery, answer_record)

    async def department(self, request: Request) -> Response:
        """Sum up a department."""
        return await self._score(request, DepartmentQuery, answer_department)

    async def _score(self, request: Request, kind: type[Q], work: Callable[..., bytes]) -> Response:
        query = query_of(request, kind)
        _ = self.scoring.shelf  # not ready is said before the body is read
        body = await body_of(request, self.settings.upload_timeout_s)
        number = new_request_id()
        request.state.request_id = number
        kind_sent = request.headers.get("content-type", "")
        asked = Asked(body, kind_sent, query, number, self.settings, self.metrics, self.scoring.reading)
        answer = await self.scoring.run(partial(work, asked))
        return Response(answer, 200, HEADERS, "application/json")

    async def models(self, _: Request) -> Response:
        """List the releases."""
        lines = [self._line(model) for model in self.scoring.shelf.models.values()]
        return _json(answers.ModelsAnswer(models=lines))

    async def model(self, request: Request) -> Response:
        """Describe one release in a line."""
        return _json(self._line(self._named(request)))

    async def manifest(self, request: Request) -> Response:
        """Give manifest.json."""
        return _json(self._named(request).manifest)

    async def card(self, request: Request) -> Response:
        """Give CARD.md, as a page for a browser."""
        model = self._named(request)
        card = (model.folder / "CARD.md").read_text(encoding="utf-8")
        if "text/html" in request.headers.get("accept", ""):
            return _page(pages.card_page(model.manifest, card))
        return Response(card, 200, HEADERS, "text/markdown")

    async def front(self, _: Request) -> Response:
        """Show the front page."""
        models = self.scoring.shelf.models.values() if self.scoring.ready else ()
        return _page(pages.front_page([model.manifest for model in models]))

    async def description(self, _: Request) -> Response:
        """Give the OpenAPI document."""
        return Response(self.openapi, 200, HEADERS, "application/json")

    async def counts(self, _: Request) -> Response:
        """Give the counters, and where there is a store the length of its queues."""
        with_store = self.ehr or self.dicomweb
        queues = await run_in_threadpool(with_store.queues) if with_store else b""
        return PlainTextResponse(self.metrics.text() + queues, media_type=CONTENT_TYPE)

    def _named(self, request: Request) -> Model:
        try:
            return self.scoring.shelf.known(request.path_params["model"])
        except KeyError:
            raise ProblemError("unknown_model", "There is no model of that name; GET /v1/models lists them.") from None

    def _line(self, model: Model) -> answers.ModelLine:
        active = self.scoring.shelf.active.get(model.manifest.name) is model
        return answers.model_line(model.manifest, active=active, backend=model.session.backend,
                                  precision=model.session.precision)


def query_of(request: Request, kind: type[Q]) -> Q:
    """Read the query parameters. Raises ProblemError naming the parameter that is wrong, never its value."""
    pairs = request.query_params.multi_items()
    try:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ProblemError("bad_query", "A query parameter may be given once, found one given twice.")
        return kind.model_validate(dict(pairs))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        known = ", ".join(kind.model_fields)
        if first["type"] == "extra_forbidden":
            raise ProblemError("bad_query", f"Query parameters are {known}; found another.") from None
        raise ProblemError("bad_query", f"{'.'.join(map(str, first['loc']))}: {first['msg']}.") from None


async def elsewhere(request: Request) -> Response:
    """Answer every other address, and known addresses asked with another method."""
    allowed = {
        method
        for route in request.app.routes[:-1]
        if route.matches(request.scope)[0] is Match.PARTIAL
        for method in route.methods
    }
    if not allowed:
        return respond(problem_of("not_found", "There is nothing here. The API is described at /v1/openapi.json."))
    response = respond(problem_of("method_not_allowed", f"This address takes {', '.join(sorted(allowed))}."))
    response.headers["allow"] = ", ".join(sorted(allowed))
    return response


async def on_problem(request: Request, error: Exception) -> Response:
    """Answer what was raised on purpose, and by accident: that is raised again, and the Guard logs it."""
    problem = problem_in(language_of(request.headers.get("accept-language"), "en"), from_exception(error))
    return respond(problem, retry_after_s=getattr(error, "retry_after_s", None))


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), 200, HEADERS, "application/json")


def _page(html: str) -> Response:
    return HTMLResponse(html, 200, {**HEADERS, "content-security-policy": pages.CONTENT_SECURITY_POLICY})
