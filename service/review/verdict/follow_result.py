"""What follows from a verdict on images: verified reports or a rejection note, and the same for the record.

Verified: a new report goes wherever the first one went. Rejected: what has not left is stopped, what has arrived is named in
a note to each target that may have it, and nothing of it is found or given out here any more.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pydicom
from pydicom.dataset import Dataset

from service.assessment import Assessment
from service.dicom.codes import own_concept
from service.dicom.told import Written
from service.dicom.write_rejection import write_rejection
from service.dicom.write_verified import Report, Verified, write_verified
from service.ehr_house import House
from service.fhir.datatypes import coding
from service.fhir.write_verdict import Verdict as ToldVerdict
from service.fhir.write_verdict import revised
from service.review.verdict.reasons import REASONS, Why
from service.review.verdict.target import Target
from service.store import messages, verdict_objects
from service.store.review_tables import Verdict
from service.store.store import Transaction
from service.store.verdicts import Judged, Sent
from service.words import say

URGENT, PROMPT = 2, 1
REASON_SYSTEM = "urn:diaphane:verdict-reasons"
REPORTS = ("sr", "sr-roi")


def prepare(house: House, target: Target, said: Assessment) -> Callable[[Transaction, Verdict], None]:
    """Write the objects of a verdict that takes effect, and return what is done with them in its transaction."""
    judged = target.judged
    assert judged is not None  # a result on images
    made_before = verdict_objects.objects_of(house.store, [row.id for row in target.rows])
    withdrawn = said.decision == "reject"
    objects = _note(house, target, judged, said, made_before) if withdrawn else _reports(house, target, judged, said, made_before)

    def follow(session: Transaction, row: Verdict) -> None:
        fhir_keys = [messages.key_of("imaging", str(judged.revision_id), judged.model)]
        targets, reached = verdict_objects.targets_of(session, judged.id, target.rows)
        row.content = {**row.content, "targets": targets, "reached": reached}
        files = verdict_objects.keep_objects(session, row, objects)
        if withdrawn:
            unsent = verdict_objects.unsent(session, fhir_keys, target.rows)
            verdict_objects.stop(session, judged.id, target.rows, fhir_keys)
            verdict_objects.hide(session, [one.sop_uid for one in (*judged.objects, *made_before) if one.kind != "rejection"])
            verdict_objects.send_files(session, row, reached, files, priority=URGENT)
        else:
            unsent = set()
            verdict_objects.stop_letters(session, target.rows)
            verdict_objects.send_files(session, row, targets, files, priority=PROMPT)
        told = told_verdict(house, target, said, row)
        for name, content in verdict_objects.letters(session, fhir_keys):
            bundle = None if name in unsent else revised(content, told)
            if bundle is not None:
                messages.add(session, target=name, kind="fhir", key=verdict_objects.letter_key(row), content=bundle,
                             priority=URGENT if withdrawn else PROMPT)

    return follow


def told_verdict(house: House, target: Target, said: Assessment, row: Verdict) -> ToldVerdict:
    """Return a verdict as FHIR resources tell it, in the site's language."""
    why, language = why_of(target, said), house.site.device.language
    words = say(language, why.sentence) if why else ""
    made_at = datetime.fromtimestamp(said.made_at, UTC).astimezone(house.site.device.zone)
    return ToldVerdict(said, row.key, target.summary.get("findings", ()), coding(REASON_SYSTEM, why.code) if why else None, words,
                       made_at, language)


def why_of(target: Target, said: Assessment) -> Why | None:
    """Return the reason of a verdict with its words; None when it needs none."""
    return next((why for why in REASONS.get((target.kind, said.decision), ()) if why.code == said.reason_code), None)


def _reports(house: House, target: Target, judged: Judged, said: Assessment, before: list[Sent]) -> list[Written]:
    store, device, why = house.store, house.site.device, why_of(target, said)
    reports = [Report("sr" if one.kind == "sr" else "sr-roi", store.objects.get(one.sha256))
               for one in judged.objects if one.kind in REPORTS]
    reason = None if why is None else own_concept(why.code, say(device.language, why.sentence))
    replaced = [_header(house, one) for one in before if one.kind.startswith("verified")]
    identity = target.summary.get("identity") or {}
    return write_verified(Verified(said, target.last + 1, judged.case_key, str(identity.get("model", "")), reason, reports, replaced,
                                   device))


def _note(house: House, target: Target, judged: Judged, said: Assessment, before: list[Sent]) -> list[Written]:
    taken_back = [*judged.objects, *(one for one in before if one.kind.startswith("verified"))]
    if not taken_back:
        return []
    why = why_of(target, said)
    reason = say(house.site.device.language, why.sentence) if why else said.reason_code
    return [write_rejection([_header(house, one) for one in taken_back], said, house.site.device,
                            title=why.rejection if why else "quality", reason=reason, model=judged.model, number=target.last + 1)]


def _header(house: House, one: Sent) -> Dataset:
    return pydicom.dcmread(io.BytesIO(house.store.objects.get(one.sha256)), stop_before_pixels=True)
