"""Fault: what is wrong with one element of a resource; and the OperationOutcome that tells the sender.

https://hl7.org/fhir/R4/operationoutcome.html. A message states thing and rule, never the value that was found.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True)
class Fault:
    """One issue: `code` is of the value set issue-type, `expression` a FHIRPath such as `Observation.value.code`."""

    severity: Severity
    code: str
    expression: str
    message: str


def error(code: str, expression: str, message: str) -> Fault:
    """Return a fault that makes the resource invalid."""
    return Fault("error", code, expression, message)


def warning(code: str, expression: str, message: str) -> Fault:
    """Return a fault that a sender should mend, though the resource can be read."""
    return Fault("warning", code, expression, message)


def sound(faults: Iterable[Fault]) -> bool:
    """Tell whether nothing is an error: warnings and information may be there."""
    return not any(fault.severity in ("fatal", "error") for fault in faults)


def outcome(faults: Iterable[Fault]) -> dict[str, Any]:
    """Return the OperationOutcome of the faults; without any, the one issue that says all is well."""
    issues = [_issue(fault) for fault in faults]
    return {
        "resourceType": "OperationOutcome",
        "issue": issues or [{"severity": "information", "code": "informational", "details": {"text": "No fault found."}}],
    }


def _issue(fault: Fault) -> dict[str, Any]:
    issue: dict[str, Any] = {"severity": fault.severity, "code": fault.code, "details": {"text": fault.message}}
    return {**issue, "expression": [fault.expression]} if fault.expression else issue
