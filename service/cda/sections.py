"""The body of the French imaging report: sections of readable text, with the entries IMG-CR-IMG cannot do without."""

from __future__ import annotations

from collections.abc import Sequence

from service.cda.coded import CODES, Examination, coded
from service.cda.xml import Element, element, stamp
from service.dicom.uids import uid_of
from service.reporting.report import Sentence
from service.reporting.validated import ValidatedReport

ASSISTED = (  # which law wants to be told (Code de la santé publique, L4001-3)
    "Images analysées avec l'aide d'un traitement algorithmique (intelligence artificielle) ; texte relu et validé par le signataire."
)
NOT_STATED = "non précisé dans ce compte rendu."


def body(report: ValidatedReport, what: Examination) -> Element:
    """Return the structured body: indication and results where the report has them, technique and conclusion always."""
    told = {one.name: one.sentences for one in report.sections}
    sections = [
        _clinical(report, told["indication"]) if told.get("indication") else None,
        _procedure(report, what, told.get("technique", ())),
        _section(report, "results", _paragraphs(told["results"])) if told.get("results") else None,
        _section(report, "conclusion", _paragraphs(told["conclusion"])),
    ]
    return element("structuredBody", *(element("component", one) for one in sections if one is not None))


def _section(report: ValidatedReport, name: str, text: Sequence[Element | str], *more: Element) -> Element:
    known = CODES["sections"][name]
    return element(
        "section", *(element("templateId", root=root) for root in known["templates"]), element("id", root=_id(report, name)),
        coded("code", known.get("system", "loinc"), (known["code"], known["title"])), element("title", known["title"]),
        element("text", *text), *more,
    )


def _id(report: ValidatedReport, *parts: str) -> str:
    return uid_of("2.25", "cda", report.document_uid, *parts)


def _paragraphs(sentences: Sequence[Sentence]) -> list[Element | str]:
    return [element("paragraph", one.text) for one in sentences] or [NOT_STATED]


def _clinical(report: ValidatedReport, sentences: Sequence[Sentence]) -> Element:
    """Write why the examination was asked for; the two histories the guide wants are said not to be stated."""
    request = _section(report, "request", _paragraphs(sentences))
    lines: list[Element | str] = []
    entries = []
    for code, title in CODES["history"].items():
        place = f"history-{code}"
        lines.append(element("paragraph", element("content", f"{title} : {NOT_STATED}", ID=place)))
        entries.append(element("entry", element(
            "observation", element("templateId", root="2.16.840.1.113883.10.20.6.2.13"),
            element("templateId", root="1.2.250.1.213.1.1.3.150"), element("id", root=_id(report, "history", code)),
            coded("code", "loinc", (code, title)), element("text", _reference(place)), element("statusCode", code="completed"),
            element("value", nullFlavor="NI", more={"xsi:type": "CD"}), element("targetSiteCode", nullFlavor="NA"),
            classCode="OBS", moodCode="EVN",
        )))
    history = _section(report, "history", lines, *entries)
    return _section(report, "clinical", [], element("component", request), element("component", history))


def _procedure(report: ValidatedReport, what: Examination, sentences: Sequence[Sentence]) -> Element:
    """Write how the images were made (FR-DICOM-Acte-imagerie), its coded entry and where the images are."""
    name = what.loinc[1] if what.loinc else "Examen d'imagerie"
    text = [element("paragraph", element("content", name, ID="procedure")), *_paragraphs(sentences)]
    if what.modality:
        text.append(element("paragraph", element("content", what.modality[1], ID="modality")))
    if any(one.origin == "ai" for part in report.sections for one in part.sentences):
        text.append(element("paragraph", ASSISTED))
    technique = element(
        "procedure", element("templateId", root="1.2.840.10008.9.14"), element("templateId", root="1.2.250.1.213.1.1.3.153"),
        element("id", root=_id(report, "technique")),
        coded("code", "loinc", what.loinc, _original("procedure"), *([coded("translation", "ccam", what.ccam)] if what.ccam else [])),
        element("text", _reference("procedure")),
        element("effectiveTime", value=stamp(report.studied_at)) if report.studied_at else None,
        coded("methodCode", "dicom", what.modality, *([_original("modality")] if what.modality else [])),
        coded("targetSiteCode", "snomed", what.site), classCode="PROC", moodCode="EVN",
    )
    return _section(report, "procedure", text, element("entry", technique), element("component", _objects(report, what)))


def _objects(report: ValidatedReport, what: Examination) -> Element:
    modality = what.modality[1] if what.modality else report.modality
    lines = [element("paragraph", f"Study Instance UID : {report.study_uid}"), element("paragraph", f"Modalité : {modality}")]
    return _section(report, "objects", lines)


def _reference(place: str) -> Element:
    return element("reference", value=f"#{place}")


def _original(place: str) -> Element:
    return element("originalText", _reference(place))
