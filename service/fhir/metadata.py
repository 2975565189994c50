"""CapabilityStatement: what is really there, read from the routes of the running application (https://hl7.org/fhir/R4/http.html#capabilities)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from models.model import SOFTWARE
from service.fhir.datatypes import Json, narrative, paragraph
from service.fhir.definitions import CHANGED, DEFINITIONS, VERSION
from service.fhir.exchange import MEDIA_TYPE
from service.fhir.predict import OPERATIONS
from service.settings import Settings

ROOT = "/fhir"
DESCRIPTION = ("Scores patients' records and explains every score. Nothing that is sent to $predict is kept, but for bulk jobs "
               "until they are deleted. Research and evaluation only; not a medical device.")
_RESOURCE = re.compile(rf"{ROOT}/([A-Z][A-Za-z]+)(/\{{id\}})?")
_OPERATION = re.compile(rf"{ROOT}/\$([a-z][a-z-]*)")
_ON_TYPE = {"GET": "search-type", "POST": "create"}
_ON_ID = {"GET": "read", "PUT": "update", "DELETE": "delete", "PATCH": "patch"}
_SEARCHES = {
    **{kind: {"url": "uri", "name": "string", "_id": "token"} for kind in DEFINITIONS},
    "Flag": {"patient": "reference", "subject": "reference", "status": "token"},
}


def base_of(request: Request, settings: Settings) -> str:
    """Return the address of our root: the one callers know us by, or else the one this caller used."""
    known = settings.public_url.rstrip("/")
    return (known or f"{request.url.scheme}://{request.url.netloc}") + ROOT


def capability_statement(routes: Sequence[BaseRoute], settings: Settings, base: str) -> Json:
    """Write what can be asked for, from the routes alone."""
    kinds: dict[str, list[str]] = {}
    operations: list[str] = []
    system: list[str] = []
    for route in routes:
        if not isinstance(route, Route):
            continue
        methods = sorted((route.methods or set()) - {"HEAD"})
        if route.path == ROOT and "POST" in methods:
            system = ["batch"]
        if (found := _OPERATION.fullmatch(route.path)) and "POST" in methods and found[1] in OPERATIONS:
            operations.append(found[1])
        if found := _RESOURCE.fullmatch(route.path):
            table = _ON_ID if found[2] else _ON_TYPE
            kinds.setdefault(found[1], []).extend(table[method] for method in methods if method in table)
    rest: Json = {
        "mode": "server",
        "documentation": DESCRIPTION,
        "security": {"cors": False, "description": _security(settings)},
        "resource": [_resource(kind, kinds[kind]) for kind in sorted(kinds)],
        "operation": [{"name": name, "definition": f"{base}/OperationDefinition/{name}"} for name in operations],
    }
    if system and "create" in kinds.get("Observation", ()):
        system.append("transaction")  # of measurements
    if system:
        rest["interaction"] = [{"code": code} for code in system]
    software, _, version = SOFTWARE.partition(" ")
    return {
        "resourceType": "CapabilityStatement", "id": "diaphane", "language": "en",
        "text": narrative("en", paragraph(DESCRIPTION)),
        "url": f"{base}/metadata", "version": version, "name": "Diaphane", "title": "Diaphane", "status": "active",
        "experimental": True, "date": CHANGED, "publisher": "Diaphane", "description": DESCRIPTION, "kind": "instance",
        "software": {"name": software.capitalize(), "version": version},
        "implementation": {"description": "Diaphane at this site", "url": base},
        "fhirVersion": VERSION, "format": [MEDIA_TYPE, "json"], "rest": [rest],
    }


def _resource(kind: str, codes: Sequence[str]) -> Json:
    told: Json = {"type": kind, "interaction": [{"code": code} for code in dict.fromkeys(codes)], "versioning": "no-version"}
    if "search-type" in codes and kind in _SEARCHES:
        told["searchParam"] = [{"name": name, "type": what} for name, what in _SEARCHES[kind].items()]
    return told


def _security(settings: Settings) -> str:
    if settings.api_token.get_secret_value():
        return "A bearer token, given by the people who run this service: Authorization: Bearer <token>."
    return "No token is asked for here; whoever can reach this address may call it."
