"""Every address under /fhir on one screen, but those of remote monitoring: $predict, its jobs, and what describes them."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from models.fhir.bundle import listed
from models.fhir.mapping import NO_CODES, read_mapping
from models.shelf import Shelf
from service.access.caller import Caller, caller_if_any
from service.audit.predicted import note_risks
from service.ehr_house import House
from service.fhir.assessed import Assessed
from service.fhir.batch import answer_batch, is_batch
from service.fhir.bulk import Bulk
from service.fhir.client import fetch_record
from service.fhir.datatypes import Json
from service.fhir.definitions import DEFINITIONS, searchset
from service.fhir.exchange import (
    HEADERS,
    READ_NDJSON,
    answering,
    check_accepted,
    content_kind,
    parsed,
    preferences,
    respond,
    respond_problem,
)
from service.fhir.metadata import base_of, capability_statement
from service.fhir.outcome import Fault, outcome
from service.fhir.predict import KNOWN, Predictor, read_wish
from service.fhir.push import NAME
from service.problem import ProblemError, problem_of
from service.rights.opposed import record_opposed
from service.scoring import Stop
from service.store import messages
from service.told_risks import stay_in, told, write
from service.words import Language, language_of

ROOT = "/fhir"
STATUS, OUTPUT = f"{ROOT}/$predict-status/{{job}}", f"{ROOT}/$predict-output/{{job}}/{{name}}"
_ANY = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_EVERYWHERE = frozenset({"_format", "_pretty"})


class Fhir:
    """The room of FHIR R4."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.codes = read_mapping(house.settings.codes) if house.settings.codes else NO_CODES
        self.bulk = Bulk(house, self.predictor)

    def open(self) -> None:
        """Begin to work off bulk jobs, those of a process that died included."""
        self.bulk.open()

    def close(self) -> None:
        """Let the record in hand be finished; the rest of its job waits for the next start."""
        self.bulk.close()

    def routes(self) -> list[BaseRoute]:
        """List the addresses. The last one answers everything else in FHIR's own words."""
        return [
            Route(f"{ROOT}/metadata", answering(self.metadata), methods=["GET"]),
            *(Route(f"{ROOT}/{kind}", answering(self.search), methods=["GET"]) for kind in DEFINITIONS),
            *(Route(f"{ROOT}/{kind}/{{id}}", answering(self.read), methods=["GET"]) for kind in DEFINITIONS),
            Route(f"{ROOT}/$predict", answering(self.predict), methods=["POST"]),
            Route(STATUS, answering(self.bulk.status), methods=["GET"]),
            Route(STATUS, answering(self.bulk.cancel), methods=["DELETE"]),
            Route(OUTPUT, answering(self.bulk.output, also=READ_NDJSON), methods=["GET"]),
            Route(ROOT, answering(self.batch), methods=["POST"]),
            Route(f"{ROOT}{{rest:path}}", elsewhere, methods=_ANY),
        ]

    async def metadata(self, request: Request) -> Response:
        """Give the CapabilityStatement."""
        return respond(capability_statement(request.app.routes, self.house.settings, base_of(request, self.house.settings)))

    async def search(self, request: Request) -> Response:
        """List our definitions of one type; ``url``, ``name`` and ``_id`` select."""
        base, kind = base_of(request, self.house.settings), request.url.path.rsplit("/", 1)[-1]
        if preferences(request).get("handling") == "strict":
            unknown = set(request.query_params) - _EVERYWHERE - {"url", "name", "_id"}
            if unknown:
                raise ProblemError("bad_query", "Search parameters are url, name and _id; found another.")
        return respond(searchset(DEFINITIONS[kind](base, self._shelf_if_ready()), base, kind, request.query_params))

    async def read(self, request: Request) -> Response:
        """Give one of our definitions."""
        base, kind = base_of(request, self.house.settings), request.url.path.split("/")[-2]
        for one in DEFINITIONS[kind](base, self._shelf_if_ready()):
            if one["id"] == request.path_params["id"]:
                return respond(one)
        raise ProblemError("not_found", f"There is no {kind} of that id; GET {ROOT}/{kind} lists them.")

    async def predict(self, request: Request) -> Response:
        """Score one record now, or with Prefer: respond-async, or as NDJSON, in the background."""
        kind, language = content_kind(request), self.language(request)
        _ = self.house.scoring.shelf  # not ready is said before the body is read
        wants_later = "respond-async" in preferences(request)
        if kind == "ndjson":
            return await self.bulk.begin(request, language)
        body = await parsed(request, self.house.settings.upload_timeout_s)
        query = {name: value for name, value in request.query_params.items() if name in KNOWN}
        if wants_later:
            return await self.bulk.begin_with(request, body, query, language)
        if is_batch(body):
            return await self._batch(body, language, caller_if_any(request))
        wish, wanted = read_wish(body, query), preferences(request).get("return", "")
        caller = caller_if_any(request)
        told, results = await self.house.scoring.run(lambda shelf, stop: self.predictor(shelf, stop, caller).answer(wish, language))
        if wanted not in ("minimal", "OperationOutcome") or not self.predictor(self.house.scoring.shelf).pushes(wish):
            return respond(told)
        said = f"{len(results)} results are on their way to the FHIR server of this site."
        applied = {"preference-applied": f"return={wanted}"}
        if wanted == "minimal":
            return Response(status_code=204, headers=HEADERS | applied)
        return respond(outcome([Fault("information", "informational", "", said)]), 200, applied)

    async def batch(self, request: Request) -> Response:
        """Answer a Bundle of type batch whose entries are POST $predict."""
        if content_kind(request) != "json":
            raise ProblemError("unsupported_media_type", "Send NDJSON to $predict; the root takes a Bundle of type batch.")
        language = self.language(request)
        body = await parsed(request, self.house.settings.upload_timeout_s)
        if not is_batch(body):
            raise ProblemError("bad_query", "The root takes a Bundle of type batch whose entries are POST $predict.")
        if "respond-async" in preferences(request):
            return await self.bulk.begin_with(request, body, {}, language)
        return await self._batch(body, language, caller_if_any(request))

    def predictor(self, shelf: Shelf, stop: Stop | None = None, caller: Caller | None = None) -> Predictor:
        """Return what answers a wish; with ``stop`` somebody waits for the answer, and where there is a page the risks are kept."""
        house = self.house
        fetch = partial(fetch_record, house.site) if house.site.fhir_server else None
        push = self._push if house.site.fhir_server and house.site.fhir_server.push else None
        return Predictor(shelf, house.site, house.metrics, self.codes, fetch, stop.check if stop else lambda: None, push,
                         partial(self._keep, caller) if stop and house.settings.review else None,
                         opposed=lambda record: record_opposed(house.store, house.site, record))

    def language(self, request: Request) -> Language:
        """Return the language of an answer: what the client accepts, else the site's."""
        return language_of(request.headers.get("accept-language"), self.house.site.device.language)

    def _push(self, bundles: list[Json]) -> None:
        with self.house.store.session() as session:
            for one in bundles:
                messages.add(session, target=NAME, kind="fhir", key=messages.key_of("risk", one["id"]), content=one)

    def _keep(self, caller: Caller | None, results: list[Assessed], record: Json) -> None:
        house, resources = self.house, listed(record.get("entry"))
        risks = [told(house.store, house.site, one, "predict", stay=stay_in(resources, one.reading.encounter)) for one in results]
        write(house.store, house.site, risks)
        note_risks(house.audit, caller, risks)

    async def _batch(self, body: Json, language: Language, caller: Caller | None) -> Response:
        return respond(await self.house.scoring.run(
            lambda shelf, stop: answer_batch(body, self.predictor(shelf, stop, caller), language)))

    def _shelf_if_ready(self) -> Shelf | None:
        return self.house.scoring.shelf if self.house.scoring.ready else None


async def elsewhere(request: Request) -> Response:
    """Answer every other address under /fhir, and known addresses asked with another method, with an OperationOutcome."""
    rest = request.path_params["rest"]
    if rest and not rest.startswith("/"):
        return respond_problem(problem_of("not_found", "There is nothing here."))
    try:
        check_accepted(request)
    except ProblemError as error:
        return respond_problem(error.problem)
    allowed: set[str] = set()
    for route in request.app.routes:
        ours = isinstance(route, Route) and not route.path.endswith("{rest:path}")
        if ours and route.matches(request.scope)[0] is Match.PARTIAL:
            allowed |= route.methods or set()
    if not allowed:
        return respond_problem(problem_of("not_found", f"There is nothing here. GET {ROOT}/metadata lists what there is."))
    answer = respond_problem(problem_of("method_not_allowed", f"This address takes {', '.join(sorted(allowed))}."))
    answer.headers["allow"] = ", ".join(sorted(allowed))
    return answer
