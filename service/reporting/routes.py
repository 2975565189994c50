"""The addresses of reports: read as JSON, HTML, PDF or DICOM (as CDA once validated); edit; draft anew; validate; list versions.

    GET  /v1/studies/{study}/report?format=json|html|pdf|dicom|cda|cda-pages&language=fr    PUT …/report
    POST …/report/draft
    GET  /v1/studies/{study}/report/versions                                  POST …/report/validation

A change names the version it was made to (If-Match), so that nobody writes over what another has changed. Who edits or
validates is stated by the caller, an EHR or RIS that knows its users; this service knows the caller by its token.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from models.shelf import Shelf
from service.body import body_of
from service.cda.sendable import NotSendable
from service.cda.write_report import MEDIA_TYPE, write_pages, write_report
from service.dicom.steps import is_uid
from service.ehr_house import House
from service.problem import ProblemError
from service.reporting.desk import Desk, Held
from service.reporting.html import html
from service.reporting.pdf import pdf
from service.reporting.printed import AI_MARK, DRAFT_MARK
from service.reporting.report import SECTIONS, SectionName, one_line
from service.reporting.validated import NotValidated, Professional, ValidatedReport
from service.scoring import Stop
from service.words import Language, language_of, say

ROOT = "/v1/studies/{study}/report"
HEADERS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
FORMATS = {"json": "application/json", "html": "text/html", "pdf": "application/pdf", "dicom": "application/dicom", "cda": MEDIA_TYPE,
           "cda-pages": MEDIA_TYPE}
MOST_SENTENCES, LONGEST = 200, 2000
Asked = TypeVar("Asked", bound=BaseModel)
Answer = Callable[[Request], Awaitable[Response]]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Author(_Body):
    """A person, as the calling system states."""

    family: str = Field(min_length=1, max_length=100)
    given: str = Field(min_length=1, max_length=100)
    rpps: str = Field("", max_length=14)


class ValidatingAuthor(Author):
    """A professional; ``role`` and its words are of the French author specialties (CI-SIS)."""

    rpps: str = Field(max_length=14)
    role: str = Field("G15_10/SM44", max_length=40, pattern=r"^[A-Z0-9_/]+$")
    role_display: str = Field("Médecin - Radio-diagnostic (SM)", max_length=120)


class Edit(_Body):
    """The whole text, section by section. A section that is left out is empty."""

    author: Author
    sections: dict[SectionName, list[str]]


class Redraft(_Body):
    """Who asks for a new draft."""

    author: Author


class Validation(_Body):
    """Who validates, and for which patient of the record (a FHIR R4 Patient), which is held against the images."""

    professional: ValidatingAuthor
    patient: dict[str, Any] | None = None


class Reporting:
    """The room of reports."""

    def __init__(self, house: House) -> None:
        self.house = house

    def open(self) -> None:
        """Nothing is kept open here but the house's store."""

    def close(self) -> None:
        """Nothing to close."""

    def routes(self) -> list[BaseRoute]:
        """List the addresses."""
        return [
            Route(ROOT, self._at_desk(self._read), methods=["GET"]),
            Route(ROOT, self._at_desk(self._edit), methods=["PUT"]),
            Route(f"{ROOT}/draft", self._at_desk(self._redraft), methods=["POST"]),
            Route(f"{ROOT}/validation", self._at_desk(self._validate), methods=["POST"]),
            Route(f"{ROOT}/versions", self._at_desk(self._versions), methods=["GET"]),
        ]

    def _at_desk(self, work: Callable[[Desk, Request, str, Language, bytes], Response]) -> Answer:
        async def answer(request: Request) -> Response:
            study = request.path_params["study"]
            if not is_uid(study):
                raise ProblemError("bad_uid", "A UID in an address must be digits and dots, at most 64 characters (PS3.5, 9.1).")
            _ = self.house.store
            language = _language(request, self.house.site.device.language)
            body = await body_of(request, self.house.settings.upload_timeout_s)

            def run(shelf: Shelf, _: Stop) -> Response:
                return work(Desk(self.house, shelf), request, study, language, body)

            return await self.house.scoring.run(run)

        return answer

    def _read(self, desk: Desk, request: Request, study: str, language: Language, _: bytes) -> Response:
        held = desk.current(study, language)
        wanted = _format(request)
        if wanted == "html":
            headers = {**_headers(held), "content-security-policy": PAGE_POLICY}
            return Response(html(desk.pages(held)), 200, headers, "text/html; charset=utf-8")
        if wanted == "pdf":
            return Response(pdf(desk.pages(held), made_at=held.draft.made_at), 200, _headers(held), FORMATS["pdf"])
        if wanted == "dicom":
            return Response(desk.dicom(held).data, 200, _headers(held), FORMATS["dicom"])
        if wanted in ("cda", "cda-pages"):
            return Response(_document(desk, study, write_report if wanted == "cda" else write_pages, language), 200, _headers(held),
                            FORMATS[wanted])
        return _json(held)

    def _edit(self, desk: Desk, request: Request, study: str, language: Language, body: bytes) -> Response:
        edit = _parsed(Edit, body)
        texts = {name: [one_line(one) for one in sentences] for name, sentences in edit.sections.items()}
        if sum(map(len, texts.values())) > MOST_SENTENCES or any(len(one) > LONGEST for some in texts.values() for one in some):
            raise ProblemError("bad_report", f"A report may have {MOST_SENTENCES} sentences of {LONGEST} characters. Shorten it.")
        return _json(desk.edit(study, language, _if_match(request), texts, edit.author.model_dump()))

    def _redraft(self, desk: Desk, request: Request, study: str, language: Language, body: bytes) -> Response:
        asked = _parsed(Redraft, body)
        return _json(desk.redraft(study, language, _if_match(request), asked.author.model_dump()))

    def _validate(self, desk: Desk, request: Request, study: str, language: Language, body: bytes) -> Response:
        asked = _parsed(Validation, body)
        try:
            professional = Professional(**asked.professional.model_dump())
        except NotValidated as error:
            raise ProblemError("bad_report", str(error)) from None
        return _json(desk.validate(study, language, _if_match(request), professional, asked.patient))

    def _versions(self, desk: Desk, _: Request, study: str, language: Language, __: bytes) -> Response:
        held = desk.current(study, language)
        rows = [
            {"number": one.number, "state": one.state, "language": one.language, "author": one.author or None,
             "made_at": datetime.fromtimestamp(one.made_at, UTC).isoformat(), "results": list(one.results),
             "sections": one.content["sections"]}
            for one in held.versions
        ]
        return Response(json.dumps({"versions": rows}, ensure_ascii=False), 200, _headers(held), FORMATS["json"])


def _json(held: Held) -> Response:
    report, language = held.draft, held.draft.language
    sections = [
        {"name": name, "title": say(language, title), "loinc": loinc, "sentences": [
            {"text": one.text, "origin": one.origin, "source": one.source, "result": one.result, "certainty": one.certainty,
             "mark": say(language, AI_MARK) if one.origin == "ai" and report.state != "validated" else ""}
            for one in report.section(name).sentences
        ]}
        for name, (title, loinc) in SECTIONS.items()
    ]
    professional = held.professional
    answer = {
        "number": report.number, "state": report.state, "language": language, "made_at": report.made_at.isoformat(),
        "mark": "" if report.state == "validated" else say(language, DRAFT_MARK), "stale": held.stale,
        "results": list(report.results), "text_sha256": report.text_sha256, "sections": sections,
        "validated_by": None if professional is None else
        {"rpps": professional.rpps, "family": professional.family, "given": professional.given},
    }
    return Response(json.dumps(answer, ensure_ascii=False), 200, _headers(held), FORMATS["json"])


def _document(desk: Desk, study: str, write: Callable[[ValidatedReport], bytes], language: Language) -> bytes:
    """Write the validated report as CDA; whatever else it is stays here."""
    try:
        return write(desk.validated(study))
    except NotValidated:
        raise ProblemError("report_not_validated", "Only a validated report can be had as CDA. Have it validated first.") from None
    except NotSendable as error:
        raise ProblemError("report_not_sendable", say(language, str(error))) from None


def _headers(held: Held) -> dict[str, str]:
    return {**HEADERS, "etag": held.etag, "content-language": held.draft.language, "vary": "accept, accept-language"}


def _format(request: Request) -> Literal["json", "html", "pdf", "dicom", "cda", "cda-pages"]:
    wanted = request.query_params.get("format", "")
    accepted = request.headers.get("accept", "")
    for name, media_type in FORMATS.items():
        if wanted == name or (not wanted and media_type in accepted and name != "json"):
            return name  # type: ignore[return-value]
    if wanted:
        raise ProblemError("bad_query", f"format must be one of {', '.join(FORMATS)}, found another.")
    return "json"


def _language(request: Request, default: Language) -> Language:
    wanted = request.query_params.get("language", "")
    if wanted not in ("", "en", "fr"):
        raise ProblemError("bad_query", "language must be en or fr, found another.")
    return language_of(wanted or request.headers.get("accept-language"), default)


def _if_match(request: Request) -> str:
    etag = request.headers.get("if-match", "")
    if not etag:
        raise ProblemError("report_unconditional", "A change needs the header If-Match with the ETag of the report that was read.")
    return etag


def _parsed(kind: type[Asked], body: bytes) -> Asked:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(one) for one in first["loc"] if not isinstance(one, str) or one in _KNOWN) or "the body"
        raise ProblemError("bad_report", f"{place}: {first['msg']}.") from None


_KNOWN = frozenset((*SECTIONS, "author", "professional", "patient", "sections", *ValidatingAuthor.model_fields))
