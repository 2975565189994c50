"""Client of the site's FHIR server: read what a prediction needs of one patient, and send Bundles. Asks nobody else.

Absolute references and links in what it answers are followed only below the configured address. R4, JSON, blocking.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from models.errors import DiaphaneError
from service.fhir.token import TokenError, tokens_of
from service.outbound.address import BadAddress, read_address
from service.outbound.wire import Answer, Wire, WireError
from service.settings import MIB
from service.site import FhirServer, Site

FHIR_JSON = "application/fhir+json"
MAX_RESOURCES = 20_000
MAX_PAGES = 200
MAX_BYTES = 64 * MIB
PAGE = 200
YEAR = timedelta(days=366)
PATIENCE = 3  # a whole record may take so many times the limit of one request
# What the models read besides the patient. A server need not know those that are not required.
SEARCHES: Mapping[str, bool] = {
    "Encounter": True, "Observation": True, "Condition": False, "MedicationRequest": False, "MedicationStatement": False,
    "Procedure": False,
}
_ID = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9.-]{1,64}"
_REFERENCE = re.compile(rf"(?P<kind>[A-Z][A-Za-z]{{1,40}})/(?P<id>{_ID})(?:/_history/{_ID})?")
Json = dict[str, Any]


class FhirServerError(DiaphaneError):
    """The site's FHIR server could not be read. ``code`` is a word of ours; the message tells nothing of the patient.

    ``not_configured``, ``not_ours`` (a reference elsewhere), ``not_found``, ``not_allowed`` (401, 403, no token),
    ``refused`` (other 4xx), ``failed`` (5xx), ``another_patient``, ``another_resource``, ``incomplete``, ``too_large``, and
    the codes of WireError.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FhirClient:
    """``with FhirClient(server) as client: client.read("Patient/1")``. For one thread at a time."""

    def __init__(self, server: FhirServer) -> None:
        """Raises FhirServerError."""
        try:
            self._wire = Wire(server.url, tls_ca=server.tls_ca, timeout_s=server.timeout_s)
        except WireError as error:
            raise _wire_failed(error) from error
        self._tokens = tokens_of(server)
        self._until = time.monotonic() + PATIENCE * server.timeout_s
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wire.close()

    def relative(self, reference: str) -> str:
        """Return ``Type/id`` of a reference to this server, absolute or relative. Raises FhirServerError ``not_ours``."""
        base = self._wire.base
        if "://" in reference:
            try:
                found = read_address(reference)
            except BadAddress:
                raise _not_ours() from None
            if not base.holds(found) or found.query is not None:
                raise _not_ours()
            reference = "/".join(found.segments[len(base.segments) :])
        match = _REFERENCE.fullmatch(reference)
        if match is None:
            raise _not_ours()
        return f"{match['kind']}/{match['id']}"

    def read(self, reference: str) -> Json:
        """Return one resource. Raises FhirServerError."""
        path = self.relative(reference)
        resource = self._get(path)
        if f"{resource.get('resourceType')}/{resource.get('id')}" != path:
            raise FhirServerError("another_resource", "The FHIR server answered with another resource than the one asked for.")
        return resource

    def search(self, kind: str, **parameters: str) -> Iterator[Json]:
        """Yield every match of a search, page by page. Raises FhirServerError."""
        url: str | None = f"{kind}?{urlencode({**parameters, '_count': str(PAGE)})}"
        seen: set[str] = set()
        matches = 0
        while url is not None:
            if url in seen or len(seen) >= MAX_PAGES:
                raise FhirServerError("too_large", f"A search on the FHIR server must end within {MAX_PAGES} pages.")
            seen.add(url)
            page = self._get(url)
            if page.get("resourceType") != "Bundle" or page.get("type") != "searchset":
                raise FhirServerError("protocol", "The FHIR server must answer a search with a Bundle of type searchset.")
            for entry in page.get("entry") or ():
                resource = entry.get("resource") if isinstance(entry, dict) else None
                if isinstance(resource, dict) and resource.get("resourceType") == kind:  # not what it says of the search
                    matches += 1
                    yield resource
            url = _next(page)
        total = page.get("total")
        if isinstance(total, int) and matches < total:  # it cut the rest off and names no next page
            raise FhirServerError("incomplete", "The FHIR server must give every match of a search, found fewer than it counts.")

    def post(self, bundle: Json) -> Answer:
        """Send a Bundle to the root of the server and return what it says, failures too. Raises FhirServerError."""
        body = json.dumps(bundle, allow_nan=False, separators=(",", ":")).encode()
        return self._ask("POST", "", [("Content-Type", FHIR_JSON), ("Prefer", "return=minimal")], body)

    def answers(self) -> bool:
        """Tell whether the server is there: whatever it says of its metadata, short of a failure of its own."""
        try:
            return self._wire.ask("GET", "metadata", headers=[("Accept", FHIR_JSON)]).status < 500
        except WireError as error:
            return error.code not in ("unreachable", "slow", "protocol", "tls", "tls_files", "forbidden_address")

    def _get(self, url: str) -> Json:
        if time.monotonic() > self._until:
            raise FhirServerError("slow", "The FHIR server took too long to answer all that was asked. Try again.")
        answer = self._ask("GET", url, [], None)
        self._bytes += answer.size
        if answer.status >= 400 or not isinstance(answer.json, dict):
            raise _failed(answer.status)
        if self._bytes > MAX_BYTES:
            raise FhirServerError("too_large", f"What is read of one patient must be at most {MAX_BYTES // MIB} MiB.")
        return answer.json

    def _ask(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes | None) -> Answer:
        """Ask with a token, and once more with a new one when it is not taken."""
        try:
            token = self._tokens.header()
            answer = self._wire.ask(method, url, headers=[("Accept", FHIR_JSON), *headers, *token], body=body)
            if answer.status == 401 and token:
                token = self._tokens.header(instead_of=token[0][1])
                answer = self._wire.ask(method, url, headers=[("Accept", FHIR_JSON), *headers, *token], body=body)
        except WireError as error:
            raise _wire_failed(error) from error
        except TokenError as error:
            raise FhirServerError("not_allowed", f"No token for the FHIR server could be had ({error.code}).") from error
        return answer


def fetch_record(site: Site, patient: str, encounter: str = "", *, since: datetime | None = None) -> Json:
    """Read one patient's record from the site's FHIR server as a collection Bundle, as `models.read_fhir` reads it.

    ``patient`` and ``encounter`` are references to that server. Observations are read from ``since``, by default a year
    before the encounter. What the server does not offer or let be read is told in an OperationOutcome at the end.
    Raises FhirServerError.
    """
    if site.fhir_server is None:
        raise FhirServerError("not_configured", "There is no FHIR server to read from: send the data as a Bundle, "
                                                "or name [fhir_server] in the site file.")
    with FhirClient(site.fhir_server) as client:
        subject = client.relative(patient)
        if not subject.startswith("Patient/"):
            raise _not_ours()
        found = [client.read(subject)]
        stay = client.read(encounter) if encounter else None
        if stay is not None:
            found.append(_checked(client, stay, subject))
        begin = since or (_start(stay) or datetime.now(UTC)) - YEAR
        told: list[Json] = []
        for kind, required in SEARCHES.items():
            extra = {"date": f"ge{begin.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"} if kind == "Observation" else {}
            try:
                for one in client.search(kind, patient=subject, **extra):
                    if stay is None or (one.get("resourceType"), one.get("id")) != (stay.get("resourceType"), stay.get("id")):
                        found.append(_checked(client, one, subject))
                    if len(found) > MAX_RESOURCES:
                        raise FhirServerError("too_large", f"A record must hold at most {MAX_RESOURCES} resources.")
            except FhirServerError as error:
                if required or error.code not in ("not_found", "refused", "not_allowed"):
                    raise
                told.append({"severity": "information", "code": "not-supported", "diagnostics": f"{kind} was not read: {error.code}"})
    if told:
        found.append({"resourceType": "OperationOutcome", "issue": told})
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in found]}


def is_ours(site: Site, url: str) -> bool:
    """Tell whether a URL that somebody sent is the address of the site's FHIR server, and not merely below it."""
    if site.fhir_server is None:
        return False
    try:
        ours, other = read_address(site.fhir_server.url), read_address(url)
    except BadAddress:
        return False
    return ours.holds(other) and other.holds(ours) and other.query is None


def _checked(client: FhirClient, resource: Json, subject: str) -> Json:
    """Return a resource that is about this patient: a server that ignores a search parameter answers with everybody's."""
    about = resource.get("subject") or resource.get("patient")
    reference = about.get("reference") if isinstance(about, dict) else None
    try:
        same = isinstance(reference, str) and client.relative(reference) == subject
    except FhirServerError:
        same = False
    if not same:
        raise FhirServerError("another_patient", "The FHIR server answered with data of another patient, or of nobody it names. "
                                                 "Nothing of it is used.")
    return resource


def _next(page: Json) -> str | None:
    for link in page.get("link") or ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return None


def _start(stay: Json | None) -> datetime | None:
    period = stay.get("period") if stay else None
    try:
        start = datetime.fromisoformat(str(period.get("start"))) if isinstance(period, dict) else None
    except ValueError:
        return None
    return start if start is None or start.tzinfo else start.replace(tzinfo=UTC)


def _failed(status: int) -> FhirServerError:
    if status in (404, 410):
        return FhirServerError("not_found", "The FHIR server does not have what was asked for.")
    if status in (401, 403):
        return FhirServerError("not_allowed", f"The FHIR server does not let this be read (HTTP {status}). Check scope and token.")
    if status < 400:
        return FhirServerError("protocol", "The FHIR server must answer with a resource, found none.")
    if status < 500:
        return FhirServerError("refused", f"The FHIR server refused the request (HTTP {status}).")
    return FhirServerError("failed", f"The FHIR server failed (HTTP {status}). Try again later.")


def _wire_failed(error: WireError) -> FhirServerError:
    return FhirServerError(error.code, f"The FHIR server could not be asked ({error.code}). See [fhir_server] of the site file.")


def _not_ours() -> FhirServerError:
    return FhirServerError("not_ours", "A reference must name a resource of the site's FHIR server, such as Patient/123.")
