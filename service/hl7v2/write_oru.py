"""A validated report as ORU^R01 of HL7 v2.5, its CDA document inside."""

from __future__ import annotations

from service.cda.sendable import require_sendable
from service.cda.write_report import write_report
from service.hl7v2 import parts
from service.hl7v2.encoding import message
from service.reporting.validated import ValidatedReport
from service.site import Mllp

KIND = parts.Kind("2.5", "ORU_R01", first="R01", replacing="R01", coded="CE", text="TEXT")


def write_oru(report: ValidatedReport, to: Mllp) -> str:
    """Write the message. Raises NotValidated, NotSendable."""
    known, named = require_sendable(report)
    return message([
        parts.header(known, KIND, to), parts.patient(known, named), parts.visit(), *parts.order(known),
        *parts.observations(known, named, KIND, write_report(known), to),
    ])
