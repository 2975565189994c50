"""A line of the audit as a FHIR R4 AuditEvent, in the patterns of IHE Basic Audit (BALP): client, server, user; patient, data.

No profile of BALP is claimed: they want a reference to a Patient, and what is kept of a person here is a key.
https://hl7.org/fhir/R4/auditevent.html, https://profiles.ihe.net/ITI/BALP
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from service.audit.coded import coded, urn_of
from service.audit.line import NOBODY, SERVICE
from service.store.audit import Line

Json = dict[str, Any]
DCM = "http://dicom.nema.org/resources/ontology/DCM"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
PERSON, ACTOR, LINE = "urn:diaphane:person", "urn:diaphane:actor", "urn:diaphane:audit"
_RESOURCE = ("13", "Security Resource")
_ROLES = {"report": ("3", "Report"), "job": ("20", "Job"), "settings": _RESOURCE, "audit": _RESOURCE}


def write_event(line: Line, source: str) -> Json:
    """Write one line; ``source`` is how this installation is called."""
    told = coded(line)
    subtypes = [_coding("http://hl7.org/fhir/restful-interaction", told.interaction, told.interaction)] if told.interaction else []
    event = _coding(DCM, *told.event)
    subtypes += [event] if told.interaction else []
    subtypes += [_coding(DCM, *told.type)] if told.type else []
    return {
        "resourceType": "AuditEvent",
        "id": str(line.id),
        "type": _coding(f"{_TERMINOLOGY}/audit-event-type", "rest", "Restful Operation") if told.interaction else event,
        **({"subtype": subtypes} if subtypes else {}),
        "action": told.does,
        "recorded": datetime.fromtimestamp(line.at, UTC).isoformat(timespec="milliseconds"),
        "outcome": told.outcome[0],
        "outcomeDesc": told.outcome[1],
        "agent": [_user(line), _server(source)],
        "source": {"observer": {"display": source},
                   "type": [_coding(f"{_TERMINOLOGY}/security-source-type", "4", "Application Server")]},
        "entity": [*(_patient(person) for person in line.persons), *([_data(line)] if line.item or line.detail else []), _self(line)],
    }


def _user(line: Line) -> Json:
    """Write who did it. Reading is receiving: BALP's type for that is information recipient, for all else author."""
    code, words = ("IRCP", "information recipient") if coded(line).does == "R" else ("AUT", "author (originator)")
    agent: Json = {
        "type": {"coding": [_coding(f"{_TERMINOLOGY}/v3-ParticipationType", code, words)]},
        "who": {"identifier": {"system": ACTOR, "value": line.actor}},
        "requestor": line.actor not in (SERVICE,),
    }
    if line.actor_name:
        agent["name"] = line.actor_name
    if line.actor == NOBODY:
        agent["who"] = {"display": NOBODY}
    if line.roles:
        agent["role"] = [{"coding": [{"system": "urn:diaphane:role", "code": role}]} for role in line.roles.split()]
    if address := line.detail.get("address"):
        agent["network"] = {"address": address, "type": "2"}
    return agent


def _server(source: str) -> Json:
    return {"type": {"coding": [_coding(DCM, "110153", "Source Role ID")]}, "who": {"display": source}, "requestor": False}


def _patient(person: str) -> Json:
    return {
        "what": {"type": "Patient", "identifier": {"system": PERSON, "value": person}},
        "type": _coding(f"{_TERMINOLOGY}/audit-entity-type", "1", "Person"),
        "role": _coding(f"{_TERMINOLOGY}/object-role", "1", "Patient"),
    }


def _data(line: Line) -> Json:
    code, words = _ROLES.get(line.kind, ("4", "Domain Resource"))
    entity: Json = {
        "type": _coding(f"{_TERMINOLOGY}/audit-entity-type", "2", "System Object"),
        "role": _coding(f"{_TERMINOLOGY}/object-role", code, words),
    }
    if line.item:
        entity["what"] = {"identifier": {"system": "urn:ietf:rfc:3986", "value": urn_of(line)}}
    detail = [{"type": name, "valueString": _written(value)} for name, value in sorted(line.detail.items())
              if name != "address" and _written(value)]
    return {**entity, **({"detail": detail} if detail else {})}


def _self(line: Line) -> Json:
    """Write which line of which chain this is: what is exported can be held against what is kept."""
    return {
        "what": {"identifier": {"system": LINE, "value": str(line.id)}},
        "type": _coding(f"{_TERMINOLOGY}/audit-entity-type", "2", "System Object"),
        "role": _coding(f"{_TERMINOLOGY}/object-role", "13", "Security Resource"),
        "detail": [{"type": "hash", "valueString": line.hash}, {"type": "previous", "valueString": line.previous}],
    }


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, separators=(",", ":"))


def _coding(system: str, code: str, display: str) -> Json:
    return {"system": system, "code": code, "display": display}
