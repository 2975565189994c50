"""/cds-services: discovery, the services, and feedback on their cards (https://cds-hooks.hl7.org).

Every call shows a signed token of its own when the site file names clients; without any, only this machine may call, or a proxy
that asks for us, with the api_token where one is set. Browsers may call from the origins of the setting cors_origins.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import Counter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from models.errors import BrokenModel, UnusableInput
from models.fhir.mapping import NO_CODES, read_mapping
from models.shelf import Shelf
from service.access.caller import Caller as Program
from service.access.caller import caller_if_any
from service.audit.predicted import note_risks
from service.body import HEADERS, body_of
from service.cds_hooks import feedback
from service.cds_hooks.alerts import alert_cards
from service.cds_hooks.asked import Asked
from service.cds_hooks.hooks import Call, read
from service.cds_hooks.imaging import imaging_cards
from service.cds_hooks.keeping import Keeping
from service.cds_hooks.keys import Client, Keys, fetch
from service.cds_hooks.orders import order_cards
from service.cds_hooks.risk import risk_cards
from service.cds_hooks.services import Kind, Service, offered, release_of
from service.cds_hooks.tokens import Caller, NotTrusted, Tokens
from service.cds_hooks.write_card import Made
from service.ehr_house import House
from service.fhir.exchange import parse
from service.problem import ProblemError, from_exception, problem_of, respond
from service.releases.barred import is_barred, not_live
from service.rights.opposed import record_opposed
from service.scoring import Stop
from service.settings import SettingsError
from service.store.errors import StoreError
from service.store.hooks import forget_cards, see_token
from service.store.rights import nobody_opposes
from service.words import Language, language_of, problem_in

ROOT = "/cds-services"
KEPT_S = 400 * 86400.0  # cards and feedback: long enough to look back on a year
WORK: Mapping[Kind, Callable[[Asked], list[Made]]] = {
    "risk": risk_cards, "order": order_cards, "imaging": imaging_cards, "alerts": alert_cards,
}
CORS = {
    "access-control-allow-methods": "GET, POST, OPTIONS", "access-control-max-age": "600",
    "access-control-allow-headers": "authorization, content-type, accept-language",
}
Answer = Callable[[Request, Caller], Awaitable[Response]]


class CdsHooks:
    """The room of CDS Hooks. Raises SettingsError when clients are named and nobody knows by which address they call us."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.base = house.settings.public_url.rstrip("/")
        self._origins = frozenset(house.settings.cors_origins.split())
        clients = [Client(one.iss, (one.jku,) if one.jku else (), one.jwks, tuple(one.tenants)) for one in house.site.cds_clients]
        if clients and not self.base:
            raise SettingsError("public_url must be set when the site file has [[cds_clients]]: "
                                "their tokens name the address they call.")
        if len({one.iss for one in clients}) < len(clients):
            raise SettingsError("[[cds_clients]]: every iss must stand once: whose keys would count?")
        self._tokens = Tokens(clients, Keys(fetch), self._seen) if clients else None
        self._keeping = Keeping(house)
        self._somebody = False  # an opposition stood when the store last answered
        self._codes = read_mapping(house.settings.codes) if house.settings.codes else NO_CODES
        self._offered: dict[Language, tuple[Shelf, list[Service]]] = {}
        registry = house.metrics.registry
        self._cards = Counter("diaphane_cds_cards", "Cards shown.", ("service", "hook", "status", "indicator"), registry=registry)
        self._refused = Counter("diaphane_cds_refused_calls", "Calls without a token that holds.", ("rule",), registry=registry)
        self._feedback = Counter("diaphane_cds_feedback", "What became of cards.", ("service", "outcome", "card"), registry=registry)

    def open(self) -> None:
        """Forget cards that are too old to be learnt from, and begin to keep new ones."""
        with self.house.store.session() as session:
            forget_cards(session, time.time() - KEPT_S)
        self._keeping.open()

    def close(self) -> None:
        """Keep the last cards."""
        self._keeping.close()

    def routes(self) -> list[BaseRoute]:
        """List the addresses."""
        paths = {ROOT: (self.discovery, "GET"), f"{ROOT}/{{service}}": (self.call, "POST"),
                 f"{ROOT}/{{service}}/feedback": (self.feedback, "POST")}
        return [
            *(Route(path, self._trusted(answer), methods=[method]) for path, (answer, method) in paths.items()),
            *(Route(path, self.preflight, methods=["OPTIONS"]) for path in paths),
        ]

    async def discovery(self, request: Request, _: Caller) -> Response:
        """List the services."""
        told = self._services(self.house.scoring.shelf, self._language(request))
        return _json({"services": [one.listed() for one in told]})

    async def call(self, request: Request, caller: Caller) -> Response:
        """Answer one call with cards."""
        work = partial(self._answer, request.path_params["service"], self._language(request), _asking(request, caller))
        body = await self._body(request)
        return _json(await self.house.scoring.run(partial(work, body)))

    async def feedback(self, request: Request, caller: Caller) -> Response:
        """Keep what became of cards."""
        service = request.path_params["service"]
        shelf = self.house.scoring.shelf
        if not is_barred(shelf, release_of(service)):  # what became of a card may be told when its release is off again
            self._known(shelf, self._services(shelf, "en"), service)
        body = await self._body(request)
        await run_in_threadpool(self._keeping.flush)  # it may be about a card that was shown a moment ago
        told = await run_in_threadpool(_parsed, body)
        counts = await run_in_threadpool(feedback.keep, self.house.store, service, caller.iss, told)
        for (outcome, known), count in counts.items():
            self._feedback.labels(service, outcome, known).inc(count)
        return Response(status_code=200, headers=HEADERS)

    async def preflight(self, request: Request) -> Response:
        """Tell a browser whether it may call."""
        allowed = self._cors(request)
        return Response(status_code=204, headers={**HEADERS, **allowed, **(CORS if "access-control-allow-origin" in allowed else {})})

    def _trusted(self, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        """Wrap an answer: check who calls, and let browsers read what went wrong."""

        async def trusted(request: Request) -> Response:
            try:
                if request.url.query:
                    raise ProblemError("bad_query", "This address takes no query.")
                response = await answer(request, await self._caller(request))
            except RecursionError:
                problem = problem_of("too_deep", "The body must nest less deeply: nothing of FHIR needs so much.")
                response = respond(problem_in(self._language(request), problem))
            except (ProblemError, UnusableInput, BrokenModel, StoreError) as error:
                problem = problem_in(self._language(request), from_exception(error))
                response = respond(problem, retry_after_s=getattr(error, "retry_after_s", None))
            response.headers.update(self._cors(request))
            return response

        return trusted

    async def _caller(self, request: Request) -> Caller:
        if self._tokens is None:
            if self.house.is_private:
                self._check_api_token(request)
                return Caller("")
            raise ProblemError("no_token", "No client may call yet: name it in [[cds_clients]] of the site file.")
        url = f"{self.base}{request.scope['path']}"
        try:
            return await run_in_threadpool(self._tokens.check, request.headers.getlist("authorization"), url)
        except NotTrusted as refused:
            self._refused.labels(refused.rule).inc()
            raise ProblemError("no_token", str(refused)) from None

    def _check_api_token(self, request: Request) -> None:
        """Ask for the token of /v1 and /fhir where there is one: cards tell of people too. Raises ProblemError."""
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(sent.encode(), self.house.settings.api_token.get_secret_value().encode() or sent.encode()):
            raise ProblemError("no_token", "Send the header 'Authorization: Bearer <token>' with the token you were given.")

    def _seen(self, iss: str, jti: str, ends_at: float) -> bool:
        with self.house.store.session() as session:
            return see_token(session, iss, jti, ends_at, time.time())

    async def _body(self, request: Request) -> bytes:
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind not in ("application/json", "application/fhir+json"):
            raise ProblemError("unsupported_media_type", "Send application/json.")
        return await body_of(request, self.house.settings.upload_timeout_s)

    def _answer(self, name: str, language: Language, asking: Program | None, body: bytes, shelf: Shelf,
                stop: Stop) -> dict[str, object]:
        """Do everything one call asks for, in a thread."""
        known = self._known(shelf, self._services(shelf, language), name)
        call = read(Call, _parsed(body))
        place = call.place
        service = next((one for one in known if one.hook == call.hook), None)
        if service is None:
            hooks = ", ".join(one.hook for one in known)
            raise ProblemError("bad_hook", f"This service answers {hooks}; found another hook.")
        stop.check()
        base = "" if self.house.settings.api_token.get_secret_value() else self.base  # a browser would be asked for the token
        now = datetime.now(self.house.site.device.zone or UTC)
        if self._opposed([call.prefetch, {"subject": {"reference": f"Patient/{place.patient_id}"}}]):
            return {"cards": []}
        made = WORK[service.kind](Asked(self.house, shelf, service, call, place, language, now, base, self._codes))
        for one in made:
            self._cards.labels(one.shown.service, one.shown.hook, one.shown.status, one.card["indicator"]).inc()
        risks = [one.told for one in made if one.told]
        self._keeping.add([one.shown for one in made], risks)
        note_risks(self.house.audit, asking, risks)
        return {"cards": [one.card for one in made]}

    def _opposed(self, record: list[Any]) -> bool:
        """Tell whether whom a call is about must not be scored.

        A store in trouble keeps no card from a clinician, unless an opposition stood when it last answered: then it may be theirs.
        """
        try:
            opposed = record_opposed(self.house.store, self.house.site, record)
            self._somebody = not nobody_opposes(self.house.store)
        except (StoreError, ProblemError):
            return self._somebody
        return opposed

    def _services(self, shelf: Shelf, language: Language) -> list[Service]:
        found = self._offered.get(language)
        if found is None or found[0] is not shelf:  # another release serves now
            found = self._offered[language] = shelf, offered(shelf, language, local_codes=self.house.settings.codes is not None)
        return found[1]

    def _known(self, shelf: Shelf, services: list[Service], name: str) -> list[Service]:
        known = [one for one in services if one.id == name]
        if not known:
            if is_barred(shelf, release_of(name)):
                raise not_live()
            raise ProblemError("unknown_service", f"There is no service of that id; GET {ROOT} lists them.")
        return known

    def _language(self, request: Request) -> Language:
        return language_of(request.headers.get("accept-language"), self.house.site.device.language)

    def _cors(self, request: Request) -> dict[str, str]:
        origin = request.headers.get("origin", "")
        return {"access-control-allow-origin": origin, "vary": "Origin"} if origin in self._origins else {"vary": "Origin"}


def _parsed(body: bytes) -> object:
    if not body:
        raise ProblemError("empty_body", "Send a JSON object as the body.")
    return parse(body)  # what comes in may be in a suggestion that goes out: it must be text and numbers that can be written


def _json(answer: object) -> Response:
    return Response(json.dumps(answer, ensure_ascii=False, allow_nan=False), 200, HEADERS, "application/json")


def _asking(request: Request, client: Caller) -> Program | None:
    """Return whom the audit names: the client that signed the call, else whom the Gate let in."""
    return Program(f"machine:{client.iss}", kind="machine") if client.iss else caller_if_any(request)
