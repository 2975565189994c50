"""Noting: what the Gate itself writes into the audit: who was denied, what did not hold, and which data a program was given.

Pages note what they show themselves. Of a program it is enough to know which address it asked, and about which study: the
persons of that study are written down with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from service.access.caller import Caller
from service.access.policy import opens, shape_of
from service.audit.line import Action
from service.ehr_house import House
from service.persons_keys import keys_of_dicom
from service.store.query import find_studies

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
REMEMBERED = 4096  # studies whose persons are remembered: a viewer asks for one study hundreds of times
# What a program does there, by the beginning of the address and by method; the first that fits. None: nothing about anybody.
# Predictions of /fhir and /cds-services are written down where they are made: with whom they are about.
DONE: tuple[tuple[str, str, Action | None], ...] = (
    ("/v1/studies/{}/report", "GET", "view"), ("/v1/studies/{}/report/validation", "POST", "validate"),
    ("/v1/models", "GET", None), ("/v1/openapi.json", "GET", None), ("/v1/studies/", "POST", None), ("/v1/", "POST", "predict"),
    ("/dicom-web/workitems", "GET", "view"), ("/dicom-web/studies/{}", "GET", "export"), ("/dicom-web/", "GET", "search"),
    ("/dicom-web/studies", "POST", "receive"), ("/fhir/Flag", "GET", "view"), ("/fhir/$predict-output", "GET", "export"),
    ("/fhir/$predict-status", "GET", None), ("/fhir/$notify", "POST", "receive"), ("/fhir/Observation", "POST", "receive"),
)
_API = frozenset({"api_score", "api_dicomweb", "api_fhir", "api_report"})


class Noting:
    """Writes lines of the audit on another thread. A line that cannot be written ends the request: nothing is seen without."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._persons: dict[str, tuple[str, ...]] = {}

    async def denied(self, caller: Caller, method: str, template: str) -> None:
        """Write down that somebody asked for what their roles do not allow."""
        told = {"method": method if method in METHODS else "OTHER", "route": shape_of(template)}
        await run_in_threadpool(self._house.audit.note, caller, "denied", kind="address", outcome="denied", detail=told)

    async def failed(self, way: str) -> None:
        """Write down that somebody showed what does not hold."""
        await run_in_threadpool(self._house.audit.note, None, "login", outcome="failed", detail={"way": way})

    async def passed(self, caller: Caller, request: Request, template: str, parts: Mapping[str, Any]) -> None:
        """Write down which data a program is given."""
        action = done(request.method, template)
        if action is not None:
            await run_in_threadpool(self._passed, caller, action, request.method, shape_of(template), str(parts.get("study", "")))

    def _passed(self, caller: Caller, action: Action, method: str, shape: str, study: str) -> None:
        self._house.audit.note(caller, action, kind="api", item=study, persons=self._persons_of(study) if study else (),
                               detail={"method": method, "route": shape})

    def _persons_of(self, study: str) -> tuple[str, ...]:
        known = self._persons.get(study)
        if known is None:
            found = find_studies(self._house.store, {"StudyInstanceUID": study}, limit=1)
            if not found:
                return ()  # it may still come
            known = keys_of_dicom(self._house.store, self._house.site, found[0])
            if len(self._persons) >= REMEMBERED:
                self._persons.clear()
            self._persons[study] = known
        return known


def done(method: str, template: str) -> Action | None:
    """Return what is written down of a program that asks an address, None where nothing is about anybody.

    >>> done("GET", "/dicom-web/studies/{study}/metadata"), done("GET", "/v1/models/{model}"), done("GET", "/review")
    ('export', None, None)
    """
    rule = opens(method, template)
    if rule != "cds_client" and not (isinstance(rule, tuple) and not _API.isdisjoint(rule)):
        return None
    method, shape = ("GET" if method == "HEAD" else method), shape_of(template)
    return next((what for root, how, what in DONE if how == method and shape.startswith(root)), None)
