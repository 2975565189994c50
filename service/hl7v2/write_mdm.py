"""A validated report as MDM of HL7 v2.6: T02 for a first document, T10 for one that replaces another."""

from __future__ import annotations

from service.cda.coded import CODES
from service.cda.sendable import require_sendable
from service.cda.write_report import write_report
from service.hl7v2 import parts
from service.hl7v2.encoding import message, segment
from service.reporting.validated import ValidatedReport
from service.site import Mllp

KIND = parts.Kind("2.6", "MDM_T02", first="T02", replacing="T10", coded="CWE", text="text")


def write_mdm(report: ValidatedReport, to: Mllp) -> str:
    """Write the message. Raises NotValidated, NotSendable."""
    known, named = require_sendable(report)
    return message([
        parts.header(known, KIND, to), segment("EVN", {2: parts.stamp(known)}), parts.patient(known, named), parts.visit(),
        *parts.order(known), _document(known), *parts.observations(known, named, KIND, write_report(known), to),
    ])


def _document(report: ValidatedReport) -> str:
    """Write TXA: which document this is, which one it replaces, and that it was authenticated (table 0271)."""
    fields = {1: "1", 2: CODES["report"]["code"], 3: "TEXT", 12: report.document_uid, 17: "AU"}
    return segment("TXA", {**fields, 13: report.replaces} if report.replaces else fields)
