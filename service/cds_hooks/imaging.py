"""Cards of imaging results at patient-view: what the models said of this patient's studies, when image and record are one person's.

Studies are looked for by the identifiers of the Patient; then the header of an image decides with the rules of
service/identity.py. In doubt nothing is shown but the reason.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.answers import NOTICE
from service.cds_hooks.asked import Asked
from service.cds_hooks.markdown import bullets, joined, plain, table
from service.cds_hooks.page_link import study_links
from service.cds_hooks.write_card import Made, card
from service.identity import Mismatch, mismatch_text, remark_text, same_person
from service.persons import person_of_dataset, person_of_patient
from service.problem import ProblemError
from service.refusals import message_in
from service.store.hooks import Imaged, Said, imaged, said
from service.words import Language, day, in_words, likely, number, percent, say, unit

RECENT_S = 30 * 86400.0
MOST_STUDIES = 5
LOOKED_AT = 20


def imaging_cards(asked: Asked) -> list[Made]:
    """Return a card for each recent study with results, and one for each reason why others are withheld."""
    patients = asked.gather().of("Patient")
    if len(patients) != 1:
        raise ProblemError("data_needed", "Send the prefetch patient, one Patient, found none or several.")
    person = person_of_patient(patients[0])
    names = sorted({one.matricule for one in person.identities})
    if not names:
        return []
    store = asked.house.store
    with store.reading() as session:
        studies = imaged(session, names, since=asked.now.timestamp() - RECENT_S, limit=LOOKED_AT)
        results = {one.uid: said(session, one.uid) for one in studies}
    made: list[Made] = []
    doubts: dict[str, str] = {}
    for study in studies:
        told = [one for one in results[study.uid] if one.model != "none"]
        header = _header(asked, study) if told else None
        if header is None:
            continue
        verdict = same_person(person_of_dataset(header), person, accept=asked.house.site.identity.accept,
                              issuers=asked.house.site.identity.issuers)
        if isinstance(verdict, Mismatch):
            doubts.setdefault(verdict.reason, mismatch_text(verdict, asked.language))
        elif len(made) < MOST_STUDIES:
            made.append(_card(asked, study, header, told, [remark_text(one, asked.language) for one in verdict.remarks]))
    return [*made, *(_withheld(asked, reason, why) for reason, why in doubts.items())]


def _header(asked: Asked, study: Imaged) -> Dataset | None:
    data = asked.house.store.objects.get(study.first)
    return pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)


def _withheld(asked: Asked, reason: str, why: str) -> Made:
    summary = say(asked.language, "Imaging results are withheld: the identity of the images is in doubt")
    return card(asked.occasion, summary=summary, indicator="warning", detail=plain(why), label=asked.service.title, part=reason,
                status="refused")


def _card(asked: Asked, study: Imaged, header: Dataset, results: Sequence[Said], remarks: Sequence[str]) -> Made:
    language = asked.language
    scored = [one for one in results if one.status == "scored"]
    findings = [(one, finding) for one in scored for finding in one.summary.get("findings", ())]
    present = [_label(finding, language) for _, finding in findings if finding.get("above_threshold")]
    if present:
        summary = say(language, "AI on images: {findings} above the threshold", findings=", ".join(present))
    elif scored:
        summary = say(language, "AI on images: no finding above its threshold")
    else:
        summary = say(language, "AI on images: no result, the models declined")
    rows = [[_label(finding, language), _value(finding, language), _threshold(finding, language), one.model]
            for one, finding in findings]
    head = [say(language, "Finding"), say(language, "Result"), say(language, "Threshold"), say(language, "Model")]
    declined = [f"{one.model}: {message_in(str(one.summary.get('message', '')), one.reason, language)}"
                for one in results if one.status == "refused"]
    where = say(language, "Study: {modality} of {date}.", modality=study.modality, date=_date(header, language))
    caution = say(language, "No finding above its threshold does not mean that the image is normal.") if not present else ""
    detail = joined([plain(where), *map(plain, remarks), table(head, rows) if rows else "", bullets(declined), plain(caution),
                     plain(NOTICE[language])])
    return card(asked.occasion, summary=summary, indicator="warning" if present else "info", detail=detail, label=asked.service.title,
                part=study.uid, status="results", links=_links(asked, study))


def _date(header: Dataset, language: Language) -> str:
    try:
        return day(language, datetime.strptime(text(header, "StudyDate"), "%Y%m%d"))
    except ValueError:
        return say(language, "an unknown date")


def _links(asked: Asked, study: Imaged) -> list[dict[str, Any]]:
    """Return the ways to the page of the study and to the draft report, for a reader's browser."""
    pages = study_links(asked, study.uid)
    if not asked.base:
        return pages
    return [*pages, {"label": say(asked.language, "Draft report of this study"), "type": "absolute",
             "url": f"{asked.base}/v1/studies/{study.uid}/report?format=html"}]


def _label(finding: dict[str, Any], language: Language) -> str:
    return in_words(language, str(finding.get("label", "")), str(finding.get("label_fr", "")))


def _value(finding: dict[str, Any], language: Language) -> str:
    value = float(finding.get("value", float("nan")))
    if finding.get("kind") == "probability":
        return likely(language, value)
    return f"{number(language, value, 2)} {unit(language, str(finding.get('unit', '')))}".strip()


def _threshold(finding: dict[str, Any], language: Language) -> str:
    limit = finding.get("threshold")
    if not isinstance(limit, int | float):
        return ""
    return percent(language, limit) if finding.get("kind") == "probability" else number(language, limit, 2)

