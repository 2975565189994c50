"""The desk: the report of a study as it stands, its edits and its validation. Every version is a row; none is changed.

Nothing is stored by looking: a draft is written from the results each time, the same results giving the same words. The
first edit stores the draft it was made to, then the edit; so what AI proposed can always be compared with what was kept.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from models.manifest import Manifest
from models.shelf import Shelf
from service.assessment import finding_of_json
from service.dicom.told import Written
from service.dicom.uids import uid_of
from service.dicom.write_pdf import Pages, write_pdf
from service.ehr_house import House
from service.identity import Mismatch, Person, mismatch_text, same_person
from service.outbound.validated import outgoing, sends
from service.persons import person_of_patient, write_patient
from service.problem import ProblemError
from service.reporting.draft import draft
from service.reporting.pdf import pdf
from service.reporting.printed import Printed, printed
from service.reporting.report import SECTIONS, Draft, Section, SectionName, Sentence, from_json, to_json
from service.reporting.study import Study, StudyResult, study_of
from service.reporting.validated import NotValidated, Professional, ValidatedReport
from service.store import reports
from service.store.reports import CaseImages, CaseResult, Outgoing, StaleReport, Version
from service.words import Language, as_language, say

log = logging.getLogger("diaphane")
Texts = Mapping[SectionName, Sequence[str]]


@dataclass(frozen=True)
class Held:
    """The report of a study as it stands. ``stale``: there are results, or corrections of them, it does not rest on."""

    draft: Draft
    study: Study
    versions: tuple[Version, ...]
    professional: Professional | None
    stale: bool
    head: Dataset  # of the first image
    images: tuple[CaseImages, ...]
    manifests: Mapping[str, Manifest]

    @property
    def etag(self) -> str:
        """What a change must name: the version and its words."""
        return f'"{self.draft.number}-{self.draft.language}-{self.draft.text_sha256[:16]}"'


class Desk:
    """Reports of one store."""

    def __init__(self, house: House, shelf: Shelf) -> None:
        self.house, self.site, self.store = house, house.site, house.store
        self.manifests = {name: model.manifest for name, model in shelf.models.items()}

    def current(self, study_uid: str, language: Language) -> Held:
        """Return the report as it stands; ``language`` is that of a draft nobody has touched. Raises ProblemError 404."""
        images, found = reports.cases_of(self.store, study_uid)
        if not images:
            raise ProblemError("not_found", "There is no study of that UID here. Send its images first.")
        firsts = [self._header(one.sha256) for one in images]
        study = study_of(study_uid, firsts, [one.count for one in images], zone=self.site.device.zone)
        results = _results(found)
        ids = tuple(sorted(one.id for one in results if one.id))
        versions = tuple(reports.versions(self.store, study_uid))
        if versions:
            last = versions[-1]
            report = Draft(study_uid, last.number, last.state, as_language(last.language, language),  # type: ignore[arg-type]
                           from_json(last.content["sections"]), self._time(last.made_at), last.results)
        else:
            made_at = max((one.made_at for one in results), default=0.0)
            sections = draft(study, results, language, self.manifests)
            report = Draft(study_uid, 0, "draft", language, sections, self._time(made_at), ids)
        if versions and versions[-1].content.get("patient"):
            study = replace(study, person=_joined(study.person, person_of_patient(versions[-1].content["patient"])))
        later = bool(versions) and any(one.corrected_at > versions[-1].made_at for one in found)
        return Held(report, study, versions, _professional(versions), later or set(ids) != set(report.results), firsts[0],
                    tuple(images), self.manifests)

    def edit(self, study_uid: str, language: Language, etag: str, texts: Texts, author: Mapping[str, str]) -> Held:
        """Write a version with ``texts``. A sentence that is kept word for word keeps its source; any other is its author's.

        Blanks are blanks here: an editor may turn one that does not break into one that does.
        """
        held = self.current(study_uid, language)
        _check(held, etag)
        known = {(part.name, " ".join(one.text.split())): one for part in held.draft.sections for one in part.sentences}
        sections = tuple(
            Section(name, tuple(
                known.get((name, " ".join(text.split())), Sentence(text, "person")) for text in texts.get(name, ()) if text
            ))
            for name in SECTIONS
        )
        content = {"sections": to_json(sections), **_kept(held)}
        edited = Version("edited", held.draft.language, content, dict(author), time.time(), held.draft.results)
        self._add(held, [edited])
        return self.current(study_uid, language)

    def redraft(self, study_uid: str, language: Language, etag: str, author: Mapping[str, str]) -> Held:
        """Write a new draft from the results of now, after versions made from others."""
        held = self.current(study_uid, language)
        _check(held, etag)
        _, found = reports.cases_of(self.store, study_uid)
        results = _results(found)
        ids = tuple(sorted(one.id for one in results if one.id))
        sections = draft(held.study, results, language, self.manifests)
        self._add(held, [Version("draft", language, {"sections": to_json(sections), **_kept(held)}, dict(author), time.time(), ids)])
        return self.current(study_uid, language)

    def validate(
        self, study_uid: str, language: Language, etag: str, professional: Professional, patient: Mapping[str, Any] | None
    ) -> Held:
        """Let a named professional take the report over. ``patient`` is the FHIR Patient of the record it goes to.

        A report that is stale, results having come since, may be validated all the same: the answer said that it is.
        Raises ProblemError: the report was changed, the patient is not the images', there is no conclusion.
        """
        held = self.current(study_uid, language)
        _check(held, etag)
        content: dict[str, Any] = {"sections": to_json(held.draft.sections), **_kept(held)}
        if patient is not None:
            record, accept = person_of_patient(patient), self.site.identity.accept
            verdict = same_person(held.study.person, record, accept=accept, issuers=self.house.site.identity.issuers)
            if isinstance(verdict, Mismatch):
                log.warning("report: not validated, the record is not the images' patient's (%s)", verdict.reason)
                raise ProblemError("other_person", mismatch_text(verdict, language))
            content["patient"] = write_patient(record, accept=accept)
        author = {"rpps": professional.rpps, "family": professional.family, "given": professional.given,
                  "role": professional.role, "role_display": professional.role_display}
        if not held.draft.section("conclusion").sentences:
            raise ProblemError("bad_report", "A report must have a conclusion before it is validated, found none. Write one.")
        validated = Version("validated", held.draft.language, content, author, time.time(), held.draft.results)
        sent = outgoing(self.site, self._report(self._after(held, validated))) if sends(self.site) else ()
        self._add(held, [validated], sent)
        return self.current(study_uid, language)

    def validated(self, study_uid: str) -> ValidatedReport:
        """Return the validated report of a study as documents need it. Raises NotValidated when its last version is not one."""
        held = self.current(study_uid, self.site.device.language)
        if held.draft.state != "validated":
            raise NotValidated("The last version of this report must be validated, found one that is not. A professional does it.")
        return self._report(held)

    def _report(self, held: Held) -> ValidatedReport:
        """Make what documents need of a version that is validated."""
        if held.professional is None:
            raise NotValidated("The last version of this report must be validated, found one that is not. A professional does it.")
        before = [one.number for one in held.versions[:-1] if one.state in ("superseded", "validated")]
        study, root, number, study_uid = held.study, self.site.device.uid_root, held.draft.number, held.draft.study_uid
        pages = self.pages(held)
        return ValidatedReport(
            document_uid=uid_of(root, "report", study_uid, number), set_uid=uid_of(root, "reports", study_uid),
            version=number, replaces=uid_of(root, "report", study_uid, before[-1]) if before else "",
            language=held.draft.language, title=pages.title, sections=held.draft.sections, text_sha256=held.draft.text_sha256,
            professional=held.professional, validated_at=held.draft.made_at, made_at=self._time(held.versions[0].made_at),
            person=study.person, accept=self.site.identity.accept, organisation=self.site.organisation, study_uid=study_uid,
            studied_at=study.studied_at, modality=study.modality, accession=study.accession, placer_order=study.placer_order,
            procedures=study.procedures, body_part=study.cases[0].body_part if study.cases else "", referrer=study.referrer,
            pdf=pdf(pages, made_at=held.draft.made_at),
        )

    def _after(self, held: Held, validated: Version) -> Held:
        """Return the report as it will stand once ``validated`` is written: what leaves with it is made of that."""
        first = () if held.versions else (replace(validated, state="draft", made_at=held.draft.made_at.timestamp()),)
        number = held.draft.number + len(first) + 1
        versions = (*held.versions, *first, replace(validated, number=number))
        report = replace(held.draft, number=number, state="validated", made_at=self._time(validated.made_at))
        patient = validated.content.get("patient")
        study = replace(held.study, person=_joined(held.study.person, person_of_patient(patient))) if patient else held.study
        return replace(held, draft=report, study=study, versions=versions, professional=_professional(versions))

    def pages(self, held: Held) -> Printed:
        """Lay the report out."""
        validated = held.draft.state == "validated"
        return printed(
            held.draft, held.study, institution=self.site.organisation.name or self.site.device.institution,
            professional=held.professional if validated else None, validated_at=held.draft.made_at if validated else None,
            accept=self.site.identity.accept, manifests=held.manifests, stale=held.stale,
        )

    def dicom(self, held: Held) -> Written:
        """Write the pages as a DICOM object."""
        pages, report = self.pages(held), held.draft
        described = pages.title if report.state == "validated" else say(report.language, "AI report, draft")
        return write_pdf(
            Pages(pdf(pages, made_at=report.made_at), report.study_uid, report.number, report.text_sha256,
                  f"{pages.title} – {pages.status}" if pages.is_draft else pages.title, described, report.made_at,
                  report.state == "validated", [(one.sop_class_uid, one.sop_uid) for one in held.images]),
            held.head, self.site.device,
        )

    def _add(self, held: Held, news: Sequence[Version], sent: Sequence[Outgoing] = ()) -> None:
        """Write versions after the one that was looked at; before the first, the draft itself."""
        report = held.draft
        first = [] if held.versions else [
            Version("draft", report.language, {"sections": to_json(report.sections)}, {}, report.made_at.timestamp(), report.results)
        ]
        try:
            number = reports.add(self.store, report.study_uid, [*first, *news], after=report.number, sent=sent)
        except StaleReport:
            raise ProblemError("report_changed", "Somebody else changed this report. Read it again, then change that.") from None
        log.info("report: version %d is %s", number, news[-1].state)

    def _header(self, sha256: str) -> Dataset:
        """Read a header; it was parsed within limits before it was acknowledged."""
        path = self.store.objects.path(sha256)
        return pydicom.dcmread(path or io.BytesIO(self.store.objects.get(sha256)), stop_before_pixels=True)

    def _time(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC).astimezone(self.site.device.zone)


def _check(held: Held, etag: str) -> None:
    if etag != held.etag:
        raise ProblemError("report_changed", "If-Match must be the ETag of the report as it stands. Read it again, then change that.")


def _results(found: Sequence[CaseResult]) -> list[StudyResult]:
    return [
        StudyResult(one.id, one.case, one.model, one.status, one.summary, one.made_at,  # type: ignore[arg-type]  # as written
                    tuple(finding_of_json(each) for each in one.corrected))
        for one in found
    ]


def _professional(versions: Sequence[Version]) -> Professional | None:
    last = versions[-1] if versions else None
    return Professional(**last.author) if last is not None and last.state == "validated" else None


def _kept(held: Held) -> dict[str, Any]:
    """Return what a version takes over from the one before, besides its text."""
    patient = held.versions[-1].content.get("patient") if held.versions else None
    return {"patient": patient} if patient else {}


def _joined(image: Person, record: Person) -> Person:
    """Return the person of the record, whose traits and national identity are the checked ones, with the local numbers of both."""
    identities = dict.fromkeys((*record.identities, *(one for one in image.identities if one.kind == "local")))
    return Person(record.traits, tuple(identities))
