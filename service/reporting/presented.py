"""The pages of a report inside a FHIR DiagnosticReport: presentedForm as HTML and PDF, conclusion as text."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from service.reporting.html import html
from service.reporting.pdf import pdf
from service.reporting.printed import Printed, plain
from service.reporting.report import Draft, Section


def presented_form(pages: Printed, report: Draft) -> list[dict[str, Any]]:
    """Return the attachments, PDF first. A draft says in its title that it is one."""
    title = f"{pages.title} – {pages.status}" if pages.is_draft else pages.title
    return [
        _attachment(pdf(pages, made_at=report.made_at), "application/pdf", title, report),
        _attachment(html(pages).encode(), "text/html", title, report),
    ]


def report_fields(pages: Printed, report: Draft) -> dict[str, Any]:
    """Return what a DiagnosticReport says of the text: status, conclusion and pages. Only a validated one is final."""
    conclusion = plain(Draft(report.study_uid, report.number, report.state, report.language,
                             (Section("conclusion", report.section("conclusion").sentences),), report.made_at))
    return {
        "status": "final" if report.state == "validated" else "preliminary",
        "language": report.language,
        **({"conclusion": conclusion.partition("\n")[2]} if conclusion else {}),
        "presentedForm": presented_form(pages, report),
    }


def _attachment(data: bytes, media_type: str, title: str, report: Draft) -> dict[str, Any]:
    return {
        "contentType": media_type, "language": report.language, "data": base64.b64encode(data).decode(), "size": len(data),
        # FHIR R4 defines the hash of an attachment as SHA-1; it is no protection and none is meant
        "hash": base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode(),
        "title": title, "creation": report.made_at.isoformat(timespec="seconds"),
    }
