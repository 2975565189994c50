"""The pages of a report: read and edit it, compare its versions, sign it, take it along as a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from models.shelf import Shelf
from service.access.caller import Caller, caller_of, need
from service.audit.line import Action
from service.body import body_of
from service.cda.sendable import NotSendable
from service.cda.write_report import MEDIA_TYPE, write_report
from service.persons_keys import keys_of_dicom
from service.problem import ProblemError
from service.reporting.desk import Desk, Held
from service.reporting.html import html
from service.reporting.pdf import pdf
from service.reporting.report import SECTIONS, Section, SectionName, Sentence, from_json, one_line
from service.reporting.routes import LONGEST, MOST_SENTENCES, PAGE_POLICY
from service.reporting.validated import NotValidated, Professional
from service.review.page import ReviewDesk
from service.review.report.differences import differences
from service.review.report.record_patient import record_patient
from service.review.report.view import goes_to, parts_of, versions_of, who, why_not_sent
from service.review.sight import study_of_key
from service.store.review_tables import Entry
from service.words import Language, as_language, marked, say

ROOT = "/review/studies/{key}/report"
FILES = {"pdf": "application/pdf", "html": "text/html; charset=utf-8", "cda": MEDIA_TYPE, "dicom": "application/dicom"}
ENDINGS = {"cda": "xml", "dicom": "dcm"}  # of file names
SAID = {  # what an address may ask to be said
    "saved": marked("A new version was saved."),
    "redrafted": marked("A new draft was written from the results of now."),
    "signed": marked("The report is signed."),
    "signed_alone": marked("The report is signed. It was not compared with the hospital's record, which did not answer or "
                           "knows no one patient by the identifiers of the images."),
    "nothing": marked("Nothing was changed."),
}
Work = Callable[[Desk], Any]


class Reports:
    """The area of reports."""

    def __init__(self, desk: ReviewDesk) -> None:
        self.desk, self.house = desk, desk.house

    def routes(self) -> list[Route]:
        """List the addresses."""
        return [
            Route(ROOT, self.show, methods=["GET"]),
            Route(ROOT, self.change, methods=["POST"]),
            Route(f"{ROOT}/versions/{{number:int}}", self.version, methods=["GET"]),
            Route(f"{ROOT}/file/{{kind}}", self.file, methods=["GET"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the report as it stands: to be edited, or as it was signed."""
        entry, caller = await self._entry(request)
        language = self.desk.language(request)
        held = await self._at_desk(partial(_current, entry.target, language))
        self._note(caller, "view", entry, held)
        said = SAID.get(request.query_params.get("said", ""), "")
        editing = held.draft.state != "validated" or request.query_params.get("edit") == "1"
        return await self._page(request, entry, held, editing=editing, message=say(language, said))

    async def change(self, request: Request) -> Response:
        """Save what was written, write a new draft, or sign."""
        entry, caller = await self._entry(request)
        await body_of(request, self.house.settings.upload_timeout_s)
        form = await request.form()
        language = as_language(str(form.get("language", "")), self.desk.language(request))
        etag, action = str(form.get("etag", "")), str(form.get("action", ""))
        steps: dict[str, Callable[..., Any]] = {"save": self._save, "redraft": self._redraft, "sign": self._sign}
        if action not in steps:
            raise ProblemError("bad_query", "action must be save, redraft or sign, found another.")
        if action == "sign":
            need(request, "sign", department=entry.department)
        texts = _texts(form)
        try:
            held, said = await self._at_desk(partial(steps[action], entry.target, language, etag, texts, caller))
        except ProblemError as error:
            if error.problem.code not in ("report_changed", "bad_report", "other_person"):
                raise
            return await self._again(request, entry, texts, error)
        if action == "sign":
            self._note(caller, "validate", entry, held)
        return RedirectResponse(f"{ROOT.format(key=entry.key)}?said={said}", 303)

    async def version(self, request: Request) -> Response:
        """Show one version beside the one before it, or another one."""
        entry, caller = await self._entry(request)
        language = self.desk.language(request)
        held = await self._at_desk(partial(_current, entry.target, language))
        number = request.path_params["number"]
        by_number = {one.number: one for one in held.versions}
        against = request.query_params.get("against", str(number - 1))
        if number not in by_number:
            raise ProblemError("not_found", "This report has no version of that number.")
        shown, before = by_number[number], by_number.get(int(against)) if against.isdigit() and len(against) < 10 else None
        self._note(caller, "view", entry, held)
        changed = differences(from_json(before.content["sections"]) if before else (), from_json(shown.content["sections"]))
        titles = {name: say(language, title) for name, (title, _) in SECTIONS.items()}
        zone = self.house.site.device.zone
        return self.desk.page(
            request, "report/version.html", title=say(language, "Version {number} of a report", number=number), entry=entry,
            shown=shown, before=before, changed=changed, titles=titles, who=who(shown.author, language),
            made_at=datetime.fromtimestamp(shown.made_at, zone), versions=versions_of(held.versions, zone, language),
        )

    async def file(self, request: Request) -> Response:
        """Give the report as a file. Its name says what it is and never whose."""
        entry, caller = await self._entry(request)
        kind = request.path_params["kind"]
        if kind not in FILES:
            raise ProblemError("not_found", f"A report can be had as {', '.join(FILES)}.")
        language = self.desk.language(request)
        held, content = await self._at_desk(partial(_written, entry.target, language, kind))
        self._note(caller, "export", entry, held)
        name = f"report-v{held.draft.number}{'' if held.draft.state == 'validated' else '-draft'}.{ENDINGS.get(kind, kind)}"
        shown = "inline" if kind in ("html", "pdf") else "attachment"
        return Response(content, 200, {
            "content-disposition": f'{shown}; filename="{name}"', "cache-control": "no-store", "x-content-type-options": "nosniff",
            "content-security-policy": PAGE_POLICY, "content-language": held.draft.language,
        }, FILES[kind])

    async def _page(self, request: Request, entry: Entry, held: Held, *, editing: bool, message: str = "", status: int = 200,
                    texts: Mapping[SectionName, list[str]] | None = None, fault: str = "") -> Response:
        """Render the page; ``texts`` are what somebody wrote that is not saved."""
        language, site, store = self.desk.language(request), self.house.site, self.house.store
        caller, report = caller_of(request), held.draft
        signable = _professional_of(caller)
        parts = parts_of(_with(held, texts).draft, held, store, language)
        changed = differences(report.sections, _sections(held, texts)) if texts is not None else ()
        unsent = await self._at_desk(lambda desk: why_not_sent(site, desk.validated(entry.target), language)) \
            if report.state == "validated" else ""
        return self.desk.page(
            request, "report/edit.html", title=say(language, "Draft report") if editing else say(language, "Report"), status=status,
            keys=((("Ctrl S", say(language, "Save a version")),) if editing else ()), message=message, entry=entry, held=held,
            report=report, parts=parts, editing=editing, fault=fault, changed=changed, draft_mark=say(language, "Draft"),
            titles={name: say(language, title) for name, (title, _) in SECTIONS.items()}, root=ROOT.format(key=entry.key),
            facts=await self._at_desk(lambda desk: desk.pages(held).facts),
            versions=versions_of(held.versions, site.device.zone, language), goes_to=goes_to(site, language), unsent=unsent,
            may_sign=caller.may("sign", department=entry.department), signable=signable, most=LONGEST,
        )

    async def _again(self, request: Request, entry: Entry, texts: dict[SectionName, list[str]], error: ProblemError) -> Response:
        """Show the page with what was written and is not saved, and why."""
        held = await self._at_desk(partial(_current, entry.target, self.desk.language(request)))
        return await self._page(request, entry, held, editing=True, texts=texts, fault=error.problem.code,
                                status=error.problem.status)

    def _save(self, study: str, language: Language, etag: str, texts: Mapping[SectionName, list[str]], caller: Caller,
              desk: Desk) -> tuple[Held, str]:
        held = desk.current(study, language)
        if etag == held.etag and _same(held, texts):
            return held, "nothing"
        return desk.edit(study, language, etag, texts, _author(caller)), "saved"

    def _redraft(self, study: str, language: Language, etag: str, _: Mapping[SectionName, list[str]], caller: Caller,
                 desk: Desk) -> tuple[Held, str]:
        return desk.redraft(study, language, etag, _author(caller)), "redrafted"

    def _sign(self, study: str, language: Language, etag: str, texts: Mapping[SectionName, list[str]], caller: Caller,
              desk: Desk) -> tuple[Held, str]:
        """Save what was written, then let the caller take it over. Who signs is who is logged in."""
        professional = _professional_of(caller)
        if professional is None:
            raise ProblemError("forbidden", "Signing needs a login that states an RPPS number and a name, found one without.")
        held, _ = self._save(study, language, etag, texts, caller, desk)
        patient, how = record_patient(self.house.site, held.study.person)
        signed = desk.validate(study, language, held.etag, professional, patient)
        return signed, "signed" if how in ("found", "no_server") else "signed_alone"

    async def _entry(self, request: Request) -> tuple[Entry, Caller]:
        caller = caller_of(request)
        return await self.desk.look(study_of_key, self.house.store, caller, "report", request.path_params["key"]), caller

    async def _at_desk(self, work: Work) -> Any:
        """Work at the desk of reports, on a scoring thread: it writes PDF and reads headers."""

        def run(shelf: Shelf) -> Any:
            return work(Desk(self.house, shelf))

        return await self.desk.run(run)

    def _note(self, caller: Caller, action: Action, entry: Entry, held: Held) -> None:
        persons = keys_of_dicom(self.house.store, self.house.site, held.head)
        self.house.audit.note(caller, action, kind="report", item=entry.key, persons=persons, detail={"version": held.draft.number})


def _current(study: str, language: Language, desk: Desk) -> Held:
    return desk.current(study, language)


def _written(study: str, language: Language, kind: str, desk: Desk) -> tuple[Held, bytes | str]:
    held = desk.current(study, language)
    if kind == "cda":
        try:
            return held, write_report(desk.validated(study))
        except NotValidated:
            raise ProblemError("report_not_validated",
                               "Only a validated report can be had as CDA. Have it validated first.") from None
        except NotSendable as error:
            raise ProblemError("report_not_sendable", say(language, str(error))) from None
    if kind == "dicom":
        return held, desk.dicom(held).data
    pages = desk.pages(held)
    return held, html(pages) if kind == "html" else pdf(pages, made_at=held.draft.made_at)


def _texts(form: FormData) -> dict[SectionName, list[str]]:
    """Read the sentences of a form, a line each. Raises ProblemError when there are too many or too long ones."""
    texts: dict[SectionName, list[str]] = {}
    for name in SECTIONS:
        fields = [str(one) for one in form.getlist(f"s-{name}")]
        texts[name] = [line for field in fields for written in field.splitlines() if (line := one_line(written))]
    if sum(map(len, texts.values())) > MOST_SENTENCES or any(len(one) > LONGEST for some in texts.values() for one in some):
        raise ProblemError("bad_report", f"A report may have {MOST_SENTENCES} sentences of {LONGEST} characters. Shorten it.")
    return texts


def _author(caller: Caller) -> dict[str, str]:
    return {"family": caller.family or caller.name or caller.subject, "given": caller.given, "rpps": caller.rpps}


def _professional_of(caller: Caller) -> Professional | None:
    """Return who would sign; None when the login states no RPPS number or no name."""
    try:
        return Professional(rpps=caller.rpps, family=caller.family, given=caller.given)
    except NotValidated:
        return None


def _same(held: Held, texts: Mapping[SectionName, list[str]]) -> bool:
    """Tell whether texts are those of the report, whatever its blanks."""
    return all(
        [_plain(one.text) for one in held.draft.section(name).sentences] == [_plain(one) for one in texts.get(name, [])]
        for name in SECTIONS
    )


def _plain(text: str) -> str:
    return " ".join(text.split())


def _sections(held: Held, texts: Mapping[SectionName, list[str]] | None) -> tuple[Section, ...]:
    """Return the sections as they would be saved."""
    if texts is None:
        return held.draft.sections
    known = {(part.name, _plain(one.text)): one for part in held.draft.sections for one in part.sentences}
    return tuple(
        Section(name, tuple(known.get((name, _plain(text)), Sentence(text, "person")) for text in texts.get(name, [])))
        for name in SECTIONS
    )


def _with(held: Held, texts: Mapping[SectionName, list[str]] | None) -> Held:
    return held if texts is None else replace(held, draft=replace(held.draft, sections=_sections(held, texts)))
