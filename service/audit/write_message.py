"""A line of the audit as a DICOM audit message (PS3.15, A.5), framed as RFC 5424 syslog: what IHE ATNA sends.

The patient stands there as the key kept here: a repository of the hospital learns who looked, and asks us at whom.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from service.audit.coded import coded, uid_of, urn_of
from service.audit.line import SERVICE
from service.store.audit import Line

MESSAGE_ID = "DICOM+RFC3881"  # PS3.15, A.6
FACILITY = 10  # security and authorization
_NOTICE, _WARNING = 5, 4
_PATIENT_NUMBER, _URI = ("2", "RFC-3881", "Patient Number"), ("12", "RFC-3881", "URI")
_STUDY_UID = ("110180", "DCM", "Study Instance UID")
_REPORT = "3"


def write_message(line: Line, source: str) -> bytes:
    """Write the audit message of a line as XML in UTF-8; ``source`` is how this installation is called."""
    told = coded(line)
    message = Element("AuditMessage")
    event = SubElement(message, "EventIdentification", {
        "EventActionCode": told.does, "EventDateTime": _time(line.at), "EventOutcomeIndicator": told.outcome[0],
    })
    _code(event, "EventID", told.event[0], "DCM", told.event[1])
    if told.type:
        _code(event, "EventTypeCode", told.type[0], "DCM", told.type[1])
    _code(event, "EventTypeCode", line.action, "Diaphane", line.action)
    if told.outcome[0] != "0":
        SubElement(event, "EventOutcomeDescription").text = line.outcome
    user = {"UserID": line.actor, "UserIsRequestor": "false" if line.actor == SERVICE else "true"}
    if line.actor_name:
        user["UserName"] = line.actor_name
    if address := line.detail.get("address"):
        user |= {"NetworkAccessPointID": address, "NetworkAccessPointTypeCode": "2"}
    who = SubElement(message, "ActiveParticipant", user)
    for role in line.roles.split():
        _code(who, "RoleIDCode", role, "Diaphane", role)
    ours = SubElement(message, "ActiveParticipant", {"UserID": source, "UserIsRequestor": "false"})
    _code(ours, "RoleIDCode", "110150", "DCM", "Application")
    SubElement(SubElement(message, "AuditSourceIdentification", {"AuditSourceID": source}), "AuditSourceTypeCode", {"csd-code": "4"})
    for person in line.persons:
        _thing(message, person, _PATIENT_NUMBER, {"ParticipantObjectTypeCode": "1", "ParticipantObjectTypeCodeRole": "1"}, {})
    detail = {name: value for name, value in line.detail.items() if name not in ("address", "state")}
    if line.item or detail:
        kind = _STUDY_UID if line.kind == "study" and uid_of(line) else _URI
        _thing(message, (line.item if kind is _STUDY_UID else urn_of(line)) if line.item else "urn:diaphane:service", kind,
               {"ParticipantObjectTypeCode": "2", "ParticipantObjectTypeCodeRole": _REPORT}, detail)
    _thing(message, f"urn:diaphane:audit:{line.id}", _URI,
           {"ParticipantObjectTypeCode": "2", "ParticipantObjectTypeCodeRole": "13"}, {"hash": line.hash, "previous": line.previous})
    return b'<?xml version="1.0" encoding="UTF-8"?>' + tostring(message, encoding="unicode").encode()


def write_syslog(line: Line, source: str, *, host: str, process: int) -> bytes:
    """Frame the audit message of a line for syslog (RFC 5424)."""
    priority = FACILITY * 8 + (_NOTICE if line.outcome == "success" else _WARNING)
    head = f"<{priority}>1 {_time(line.at)} {_name(host)} diaphane {process} {MESSAGE_ID} - "
    return head.encode("ascii") + b"\xef\xbb\xbf" + write_message(line, source)


def _thing(message: Element, name: str, kind: tuple[str, str, str], told: dict[str, str], detail: dict[str, Any]) -> None:
    thing = SubElement(message, "ParticipantObjectIdentification", {"ParticipantObjectID": name, **told})
    _code(thing, "ParticipantObjectIDTypeCode", *kind)
    SubElement(thing, "ParticipantObjectName").text = name  # the schema wants one; ours names nobody
    for key, value in sorted(detail.items()):
        written = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        SubElement(thing, "ParticipantObjectDetail", {"type": key, "value": b64encode(written.encode()).decode()})


def _code(parent: Element, name: str, code: str, system: str, words: str) -> None:
    SubElement(parent, name, {"csd-code": code, "codeSystemName": system, "originalText": words})


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _name(host: str) -> str:
    """Return a host's name as RFC 5424 takes it: printable ASCII, 255 characters at most, "-" for none."""
    return "".join(sign for sign in host if "!" <= sign <= "~")[:255] or "-"
