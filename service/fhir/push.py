"""Push: send results to the site's FHIR server as one transaction, so that a repeat after a crash makes nothing twice.

Each resource is created only if none with its identifier exists (ifNoneExist); one whose type has no identifier
(Provenance) by a tag of ours. https://hl7.org/fhir/R4/http.html#transaction and #ccreate
"""

from __future__ import annotations

import copy
import json
import re
import uuid
from functools import partial
from typing import Any
from urllib.parse import quote

from service.dicom.undelivered import Undelivered
from service.fhir.client import FhirClient, FhirServerError
from service.outbound.outlet import Outlet
from service.outbound.wire import Answer
from service.site import FhirServer, Site

NAME = "fhir_server"  # the target of messages that no rule routes: risks that are pushed, alerts
TAG = "urn:diaphane:message"
# What is made here. Patients, encounters and what was sent to us stay who they are, where they are.
SENT = frozenset((
    "Communication", "Device", "DiagnosticReport", "Flag", "GuidanceResponse", "ImagingStudy", "Observation", "Provenance",
    "RiskAssessment",
))
_LATER = frozenset((401, 403, 404, 408, 409, 423, 425, 429))  # a matter of configuration, of others, or of time
_PLACE = re.compile(r"[A-Z][A-Za-z]{1,40}(?:\.[A-Za-z]{1,40}(?:\[\d{1,6}\])?){0,12}")
_WORD = re.compile(r"[a-z-]{1,32}")
Json = dict[str, Any]


def fhir_outlets(site: Site) -> list[Outlet]:
    """Return the outlets to the site's FHIR server: [[targets]] of kind fhir, and itself when it is to be pushed to."""
    server = site.fhir_server
    if server is None:
        return []
    names = [target.name for target in site.targets if target.kind == "fhir"]
    if server.push and NAME not in names:
        names.append(NAME)
    return [Outlet(name, partial(push, server), partial(_answers, server)) for name in names]


def push(server: FhirServer, bundle: Json) -> None:
    """Send one Bundle of results. Raises Undelivered."""
    try:
        with FhirClient(server) as client:
            answer = client.post(as_transaction(bundle))
    except FhirServerError as error:
        raise Undelivered(error.code, permanent=False) from error
    if answer.status >= 400:
        raise Undelivered(f"http_{answer.status}{_said(answer)}", permanent=answer.status < 500 and answer.status not in _LATER)
    _check(answer)


def as_transaction(bundle: Json) -> Json:
    """Return a transaction of a Bundle's resources; entries that say how they are sent are kept as they are.

    References between the resources are rewritten to the fullUrls, since the server chooses the ids. Raises Undelivered
    when the Bundle holds what is not ours to send.
    """
    entries = [copy.deepcopy(entry) for entry in bundle.get("entry", [])]
    if not entries or not all(entry.get("resource", {}).get("resourceType") in SENT for entry in entries):
        raise Undelivered("kind_not_sent", permanent=True)
    known: dict[str, str] = {}
    for entry in entries:
        resource = entry["resource"]
        if "request" in entry:
            continue
        own = f"{resource['resourceType']}/{resource.pop('id', '')}"
        old = entry.get("fullUrl", "")
        if not old.startswith("urn:uuid:"):
            entry["fullUrl"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([old, own, resource], sort_keys=True))}"
        known |= {name: entry["fullUrl"] for name in (old, own) if name and not name.endswith("/")}
        entry["request"] = {"method": "POST", "url": resource["resourceType"], "ifNoneExist": _criterion(entry)}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [_pointed(entry, known) for entry in entries]}


def _criterion(entry: Json) -> str:
    """Return the search that finds the resource when it was created before."""
    resource = entry["resource"]
    identifiers = resource.get("identifier") or []
    for one in identifiers if isinstance(identifiers, list) else [identifiers]:
        if one.get("system") and one.get("value"):
            return f"identifier={quote(one['system'], safe=':/')}|{quote(one['value'], safe=':')}"
    tag = {"system": TAG, "code": entry["fullUrl"].removeprefix("urn:uuid:")}
    meta = resource.setdefault("meta", {})
    meta["tag"] = [*meta.get("tag", []), tag]
    return f"_tag={TAG}|{tag['code']}"


def _pointed(value: Any, known: dict[str, str]) -> Any:
    """Rewrite the references inside a value."""
    if isinstance(value, dict):
        return {
            key: known.get(inner, inner) if key == "reference" and isinstance(inner, str) else _pointed(inner, known)
            for key, inner in value.items()
        }
    return [_pointed(inner, known) for inner in value] if isinstance(value, list) else value


def _check(answer: Answer) -> None:
    """Raise Undelivered when the server says of any entry that it was not taken. No body says that all were."""
    told = answer.json
    for entry in told.get("entry", []) if isinstance(told, dict) and told.get("resourceType") == "Bundle" else []:
        status = str(entry.get("response", {}).get("status", "200"))[:3]
        if not status.startswith("2") and status != "304":
            permanent = status.startswith("4") and not (status.isdigit() and int(status) in _LATER)
            raise Undelivered(f"entry_{status if status.isdigit() else 'unreadable'}", permanent=permanent)


def _said(answer: Answer) -> str:
    """Return the codes and places of an OperationOutcome: never its texts, which may quote what was sent."""
    told = answer.json if isinstance(answer.json, dict) else {}
    words: list[str] = []
    for issue in told.get("issue", [])[:3] if isinstance(told.get("issue"), list) else []:
        places = issue.get("expression", []) if isinstance(issue, dict) else []
        found = [issue.get("code"), *(places[:1] if isinstance(places, list) else [])] if isinstance(issue, dict) else []
        words += [one for one, rule in zip(found, (_WORD, _PLACE), strict=False) if isinstance(one, str) and rule.fullmatch(one)]
    return "".join(f" {word}" for word in words)


def _answers(server: FhirServer) -> bool:
    try:
        with FhirClient(server) as client:
            return client.answers()
    except FhirServerError:
        return False
