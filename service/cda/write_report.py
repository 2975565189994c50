"""A validated report as CDA R2: structured (level 3), or its pages as they are (level 1). A draft never gets this far."""

from __future__ import annotations

import base64

from service.cda.coded import CODES, examination_of
from service.cda.header import header
from service.cda.sections import body
from service.cda.sendable import require_sendable
from service.cda.xml import Element, document, element
from service.reporting.validated import ValidatedReport

MEDIA_TYPE = "text/xml"
NAMESPACES = {
    "xmlns": "urn:hl7-org:v3", "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance", "xmlns:ps3-20": "urn:dicom-org:ps3-20",
}


def write_report(report: ValidatedReport) -> bytes:
    """Write the French imaging report, IMG-CR-IMG 2024.01; the same bytes for the same report.

    Raises NotValidated for anything that is not a validated report, NotSendable when it must not leave as one.
    """
    known, named = require_sendable(report)
    what = examination_of(known)
    templates = [*CODES["templates"]["header"], *CODES["templates"]["structured"]]
    return _document([*header(known, named, what, templates), element("component", body(known, what))])


def write_pages(report: ValidatedReport) -> bytes:
    """Write the pages of a report (PDF) under the same header, for readers of level 1. Raises like ``write_report``."""
    known, named = require_sendable(report)
    templates = [*CODES["templates"]["header"], *CODES["templates"]["unstructured"]]
    pages = element("text", base64.b64encode(known.pdf).decode("ascii"), mediaType="application/pdf", representation="B64")
    return _document([*header(known, named, examination_of(known), templates), element("component", element("nonXMLBody", pages))])


def _document(parts: list[Element]) -> bytes:
    return document(element("ClinicalDocument", *parts, more=NAMESPACES))
