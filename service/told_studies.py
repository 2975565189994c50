"""A study that was assessed, as a line of the worklist: how urgent it is, whose it is, what was found and what was declined.

How urgent a study is:

    critical   a finding above its threshold, in images sent as urgent or made so by a rule of the site
    high       a finding above its threshold, or images sent as urgent
    routine    everything else a model was meant for, what it declined and what could not be read among it
    low        images no model is meant for, and images sent with low priority in which nothing is above a threshold

The finding that counts is the first of each model: its others say more about that one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from pydicom.dataset import Dataset

from models.dicom_pixels import text
from service.persons import identities_of_dataset, traits_of_dataset
from service.persons_keys import keys_of_dicom
from service.site import Site
from service.store import entries
from service.store.assessed import AssessedCase, AssessedResult, assessed_cases
from service.store.entries import CRITICAL, HIGH, LOW, ROUTINE, NewEntry
from service.store.store import Store, Transaction

Json = dict[str, Any]
URGENT = 2  # of a job's priority
NOTHING_TO_DO = ("unfit", "opposed", "not_live")  # no model is meant for it, the patient is opposed to it, or what fits is off
NOBODY = "none"  # the model of a result that no model gave
LONGEST = 255
_SHOWN = ("name", "label", "label_fr", "kind", "value", "unit", "threshold", "above_threshold", "risk")  # of a finding
_DECLINED = ("reason", "message", "advice")


def put_line(session: Transaction, store: Store, site: Site, study_uid: str, header: Dataset) -> str:
    """Write the line of a study inside the caller's transaction, after its results; ``header`` is that of one of its images.

    Return the key of the line, "" when there is no result.
    """
    cases = assessed_cases(session, study_uid)
    return entries.put(session, line_of(store, site, study_uid, cases, header)) if cases else ""


def line_of(store: Store, site: Site, study_uid: str, cases: Sequence[AssessedCase], header: Dataset) -> NewEntry:
    """Return the line of a study."""
    results = [result for case in cases for result in case.results]
    scored = [one for one in results if one.status == "scored"]
    declined = [one for one in results if one.status != "scored"]
    urgency = urgency_of(cases)
    again = max((case.sealed_at for case in cases if case.revision > 1), default=0.0)
    keys, patient = keys_of_dicom(store, site, header), patient_shown(header)
    return NewEntry(
        kind="study", target=study_uid, urgency=urgency, waiting_since=max(min(case.received_at for case in cases), again),
        version=hashlib.sha256(",".join(str(one.id) for one in results).encode()).hexdigest()[:32],
        detail={
            "patient": patient, "procedure": (text(header, "StudyDescription") or text(header, "SeriesDescription"))[:64],
            "images": sum(case.images for case in cases), "findings": [told for one in scored for told in _findings(one)],
            "declined": [told for one in declined for told in _declined(one)],
        },
        state="new" if scored else "refused", reason="" if scored else declined[0].reason,
        open=any(one.status not in NOTHING_TO_DO for one in results),  # what no model is meant for waits for nobody
        person=keys[0] if keys else "", patient_name=text(header, "PatientName"), patient_id=text(header, "PatientID"),
        accession_number=text(header, "AccessionNumber"), department=department_of(site, cases, header),
        models=tuple(dict.fromkeys(one.model for one in results if one.model != NOBODY)),
        modality=next((case.modality for case in cases if case.modality), ""),
    )


def urgency_of(cases: Sequence[AssessedCase]) -> int:
    """Return how urgent a study is; the rule stands at the top of this file."""
    results = [one for case in cases for one in case.results]
    if all(one.status in NOTHING_TO_DO for one in results):
        return LOW
    above = any(told["above_threshold"] for one in results if one.status == "scored" for told in _findings(one)[:1])
    priority = max(case.priority for case in cases)
    if above:
        return CRITICAL if priority >= URGENT else HIGH
    return HIGH if priority >= URGENT else LOW if priority < 0 else ROUTINE


def department_of(site: Site, cases: Sequence[AssessedCase], header: Dataset) -> str:
    """Return the department that the site file gives for what the images state or who sent them, else what they state."""
    stated = text(header, "InstitutionalDepartmentName")
    names = [stated, *(case.calling_ae for case in cases)]
    return next((site.review.departments[name] for name in names if name in site.review.departments), stated)[:64]


def patient_shown(header: Dataset) -> Json:
    """Return what a page shows of the patient of an image; an identifier of the hospital before a national one."""
    traits, found = traits_of_dataset(header), identities_of_dataset(header)
    local = [one for one in found if one.kind == "local"]
    return {
        "name": (traits.usual_name or traits.birth_name)[:LONGEST], "given": traits.given[:LONGEST], "birth_date": traits.birth_date,
        "sex": traits.sex, "id": next((one.matricule for one in (*local, *found)), "")[:LONGEST],
    }


def _findings(result: AssessedResult) -> list[Json]:
    return [{"model": result.model, **{name: one.get(name) for name in _SHOWN}} for one in result.summary.get("findings", ())]


def _declined(result: AssessedResult) -> list[Json]:
    """Return why a model declined, or why each did where none took the images."""
    reasons = result.summary.get("reasons") or [result.summary]
    return [{"model": one.get("model", result.model) or NOBODY, "status": result.status,
             **{name: str(one.get(name, "")) for name in _DECLINED}} for one in reasons]
