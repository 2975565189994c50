"""What was scored and what was sent, as lines of the audit: written by whoever scores and sends, in their own transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydicom.dataset import Dataset

from service.access.caller import Caller
from service.audit.audit import Audit
from service.persons_keys import keys_of_dicom, keys_of_fhir
from service.store.audit import Outcome
from service.store.messages import Letter
from service.store.outbox import Parcel, about
from service.store.store import Transaction
from service.told_risks import Told

NOT_SCORED = frozenset({"failed", "unusable"})


def note_risks(audit: Audit, caller: Caller | None, told: Sequence[Told]) -> None:
    """Write down that risks were told."""
    for one in told:
        audit.note(caller, "predict", kind="risk", item=one.key, persons=one.persons,
                   detail={"model": one.assessed.model, "source": one.source})


def append_study(audit: Audit, session: Transaction, study_uid: str, header: Dataset, results: Sequence[tuple[str, str]]) -> None:
    """Write down that images were assessed; ``results`` are (model, status), ``header`` that of one of the images."""
    persons = keys_of_dicom(audit.store, audit.site, header)
    for model, status in results:
        outcome: Outcome = "failed" if status in NOT_SCORED else "success"
        audit.append(session, None, "predict", kind="study", item=study_uid, persons=persons, outcome=outcome,
                     detail={"model": model, "code": status, "source": "images"})


def append_delivery(audit: Audit, session: Transaction, sent: Parcel | Letter, target: str) -> None:
    """Write down that a result or a message has reached a target."""
    if isinstance(sent, Parcel):
        study_uid, attributes = about(session, sent)
        persons = keys_of_dicom(audit.store, audit.site, attributes)
        audit.append(session, None, "deliver", kind="study", item=study_uid, persons=persons,
                     detail={"target": target, "way": "dicom"})
    else:
        audit.append(session, None, "deliver", kind="message", persons=_persons_of(audit, sent.content),
                     detail={"target": target, "way": sent.kind})


def _persons_of(audit: Audit, content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return whom a FHIR bundle is about: its Patient, else the subject that its resources name."""
    resources = [one.get("resource") for one in content.get("entry", ()) if isinstance(one, dict)]
    found = [one for one in resources if isinstance(one, dict)]
    patient = next((one for one in found if one.get("resourceType") == "Patient"), None)
    subjects = (one["subject"].get("reference", "") for one in found if isinstance(one.get("subject"), dict))
    subject = next((one for one in subjects if isinstance(one, str) and "Patient/" in one), "")
    return keys_of_fhir(audit.store, audit.site, patient, subject)
