"""The draft of one result as it comes from a worker, before it has a row: pages to travel with its FHIR report."""

from __future__ import annotations

from typing import Any

from models.prediction import to_json
from service.dicom.told import Told
from service.identity import Environment
from service.reporting.draft import draft
from service.reporting.presented import presented_form
from service.reporting.printed import printed
from service.reporting.report import Draft
from service.reporting.study import StudyResult, study_of


def presented_of(told: Told, *, accept: Environment, institution: str = "") -> list[dict[str, Any]]:
    """Return the draft of a result as attachments of a DiagnosticReport, in the site's language; marked as a draft throughout."""
    language = told.device.language
    study = study_of(str(told.sources[0].StudyInstanceUID), told.sources[:1], [len(told.sources)], zone=told.made_at.tzinfo)
    manifests = {} if told.manifest is None else {told.manifest.id: told.manifest}
    result = StudyResult(None, 1, told.model, told.result.status, to_json(told.result), told.made_at.timestamp())
    report = Draft(study.uid, 0, "draft", language, draft(study, [result], language, manifests), told.made_at)
    pages = printed(report, study, institution=institution or told.device.institution, accept=accept, manifests=manifests)
    return presented_form(pages, report)
