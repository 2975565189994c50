"""The addresses of remote monitoring under /fhir: Observations come in singly, as Bundles or by Subscription; Flags go out."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from models.raw_codes import measured_codes
from service.ehr_house import House
from service.fhir.batch import is_batch
from service.fhir.datatypes import Json
from service.fhir.exchange import answering, content_kind, parsed, respond
from service.fhir.outcome import outcome, warning
from service.lives import Background, repeat
from service.logs import where
from service.monitoring.alerts import write_flag
from service.monitoring.intake import Intake, Told
from service.monitoring.observations import is_subject
from service.monitoring.watch import Watch, monitors
from service.persons_keys import keys_of_fhir
from service.problem import ProblemError
from service.store import monitoring as rows
from service.store.messages import prune_messages
from service.told_risks import patient_shown
from service.words import language_of

log = logging.getLogger("diaphane")
ROOT = "/fhir"
IDLE_S = 5.0
PRUNE_S = 3600.0
KEPT_S = 3 * 86_400.0
Answer = Callable[[Request], Awaitable[Response]]


class Monitoring:
    """The room of remote monitoring. ``otherwise`` answers a POST to the root whose Bundle holds no measurements."""

    def __init__(self, house: House, *, otherwise: Answer | None = None, clock: Callable[[], float] = time.time) -> None:
        self.house, self.otherwise, self.clock = house, otherwise, clock
        self._background = Background(self._work, "monitoring")
        self._prune_at = 0.0

    def open(self) -> None:
        """Begin to look after who is due: what a process that died had not scored, and who went silent."""
        self._background.open()

    def close(self) -> None:
        """Let the person in hand be finished."""
        self._background.close()

    def _work(self) -> None:
        repeat(self.step, self._background.stop, idle_s=IDLE_S)

    def step(self) -> bool:
        """Follow some of those who are due; now and then forget what is too old. False when there was nothing to do."""
        if not self.house.scoring.ready:
            return False
        now = self.clock()
        if now >= self._prune_at:
            self._prune_at = now + PRUNE_S
            rows.prune_measurements(self.house.store, KEPT_S, now=now)
            prune_messages(self.house.store, KEPT_S)
        return self.watch.step(self.house.scoring.shelf)

    @property
    def watch(self) -> Watch:
        """What follows people."""
        return Watch(self.house.store, self.house.site, self.clock, listed=self.house.settings.review)

    def routes(self) -> list[BaseRoute]:
        """List the addresses."""
        return [
            Route(f"{ROOT}/Observation", answering(self.create), methods=["POST"]),
            Route(f"{ROOT}/Observation/{{id}}", answering(self.update), methods=["PUT"]),
            Route(f"{ROOT}/Observation/{{id}}", answering(self.remove), methods=["DELETE"]),
            Route(f"{ROOT}/Flag", answering(self.flags), methods=["GET"]),
            Route(f"{ROOT}/$notify", answering(self.notify), methods=["POST", "PUT"]),
            Route(f"{ROOT}/$notify/Observation/{{id}}", answering(self.update), methods=["PUT", "POST"]),
            Route(ROOT, answering(self.bundle), methods=["POST"]),
        ]

    async def create(self, request: Request) -> Response:
        """Take one Observation."""
        return await self._one(request, "", 201)

    async def update(self, request: Request) -> Response:
        """Take one Observation under its id: a correction takes the earlier value back."""
        return await self._one(request, request.path_params["id"], 200)

    async def remove(self, request: Request) -> Response:
        """Take an Observation back."""
        told = await run_in_threadpool(self._intake().remove, request.path_params["id"])
        await self._follow(told)
        return Response(status_code=204)

    async def bundle(self, request: Request) -> Response:
        """Take a Bundle of Observations, of one person or of many; others go on to who takes them."""
        body = await self._parsed(request)
        if is_batch(body) and self.otherwise is not None:
            return await self.otherwise(request)
        told = await run_in_threadpool(self._intake().bundle, body)
        await self._follow(told)
        return respond(told.answer)

    async def notify(self, request: Request) -> Response:
        """Take what a Subscription sends: a resource, or a Bundle; told in an OperationOutcome, since senders give up on errors."""
        body = await self._parsed(request)
        told = await run_in_threadpool(self._intake().notification, body)
        await self._follow(told)
        return respond(told.answer)

    async def flags(self, request: Request) -> Response:
        """List alerts, those that stand unless ``status`` says otherwise; ``patient`` or ``subject`` select."""
        query = dict(request.query_params)
        subject = query.get("patient") or query.get("subject") or ""
        subject = f"Patient/{subject}" if subject and "/" not in subject else subject
        if subject and not is_subject(subject):
            raise ProblemError("bad_query", "patient must name a Patient, such as Patient/123.")
        status = query.get("status", "active")
        if set(query) - {"patient", "subject", "status", "_format", "_pretty"} or status not in ("active", "inactive"):
            raise ProblemError("bad_query", "Search parameters are patient, subject and status (active or inactive); found another.")
        language = language_of(request.headers.get("accept-language"), self.house.site.device.language)
        found = await run_in_threadpool(rows.alerts_of, self.house.store, subject=subject, active=status == "active",
                                        limit=rows.MOST_ALERTS + 1)
        return respond(_searchset([write_flag(one, language) for one in found], rows.MOST_ALERTS))

    async def _one(self, request: Request, name: str, status: int) -> Response:
        body = await self._parsed(request)
        told = await run_in_threadpool(self._intake().single, body, name)
        await self._follow(told)
        return respond(told.answer, status, {"location": f"{ROOT}/{told.source}"} if status == 201 else {})

    async def _parsed(self, request: Request) -> Json:
        if content_kind(request) != "json":
            raise ProblemError("unsupported_media_type", "Send application/fhir+json.")
        return await parsed(request, self.house.settings.upload_timeout_s)

    async def _follow(self, told: Told) -> None:
        """Score at once who is due; what fails or takes too long is done by the thread: nothing that was taken is lost."""
        due = sorted(told.due)

        def work(shelf: Any, stop: Any) -> None:
            for subject, name in due:
                stop.check()
                self.watch.follow(shelf, subject, name)

        if not due:
            return
        try:
            await self.house.scoring.run(work)
        except Exception as failed:
            log.warning("what was heard is scored later: %s", where(failed))

    def _intake(self) -> Intake:
        shelf = self.house.scoring.shelf  # not ready is said before anything is taken
        models = {model.manifest.name: measured_codes(model.manifest) for model in shelf.for_record() if monitors(model.manifest)}
        if not models:
            raise ProblemError("not_supported", "No release here monitors anybody; GET /v1/models lists what is released.")
        return Intake(self.house.store, models, self.clock(), self._who if self.house.settings.review else None)

    def _who(self, patient: Json, subject: str) -> Json:
        """Return what the clinician's page shows of a monitored person, and the keys they are known by."""
        keys = keys_of_fhir(self.house.store, self.house.site, patient, subject)
        return {"patient": patient_shown(patient, subject), "persons": list(keys)}


def _searchset(flags: list[Json], most: int) -> Json:
    """Return what a search found. When there is more than is listed it says so, and states no total."""
    told: Json = {"resourceType": "Bundle", "type": "searchset"}
    entries = [{"fullUrl": f"urn:uuid:{flag['id']}", "resource": flag, "search": {"mode": "match"}} for flag in flags[:most]]
    if len(flags) > most:
        said = outcome([warning("incomplete", "", f"Only the latest {most} are listed. Ask for one patient.")])
        entries.append({"fullUrl": f"urn:uuid:{uuid4()}", "resource": said, "search": {"mode": "outcome"}})
    else:
        told["total"] = len(entries)
    return {**told, "entry": entries} if entries else told
