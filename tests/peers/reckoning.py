"""The reckoning after the kills: what was promised, what the store holds and what the PACS holds must agree, one to one.

The evidence of a report (CurrentRequestedProcedureEvidenceSequence) says which images it is about: PS3.3, C.17.2.
"""

from __future__ import annotations

import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import pydicom
from pydicom.dataset import Dataset
from sqlalchemy import select

from service.store.store import Store
from service.store.tables import Case, Delivery, Instance, Job, Result, ResultObject, Revision, RevisionInstance
from tests.peers.modality import Sending


@dataclass
class Reckoning:
    """What was found; ``faults`` is empty when every promise was kept."""

    promised: int = 0
    revisions: int = 0
    late_revisions: int = 0  # second and later ones of a case
    results: Counter[str] = field(default_factory=Counter)
    objects: int = 0
    objects_same_bytes: int = 0  # beyond the same values: the very bytes of the dataset
    quarantined: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Sealed:
    number: int
    kind: str
    key: str
    images: frozenset[str]


@dataclass(frozen=True)
class _Made:
    revision: int
    kind: str
    data: bytes


def reckon(sending: Sending, store: Store, pacs: Mapping[str, bytes]) -> Reckoning:
    """Compare promises, store and PACS. ``pacs`` is every file it holds by SOP Instance UID: all are to be results."""
    found = Reckoning(promised=len(sending.acknowledged))
    sealed, made = _sealed(store, found), _made(store, found)
    found.revisions, found.late_revisions = len(sealed), sum(one.number > 1 for one in sealed.values())
    _compare_objects(made, pacs, found)
    reports = _reports(made, pacs)
    _each_revision_once(sealed, reports, found)
    _each_image_kept(sending, sealed, reports, found)
    return found


def evidence_of(report: Dataset) -> set[str]:
    """Return the SOP Instance UIDs a report is evidence of."""
    return {
        str(one.ReferencedSOPInstanceUID)
        for study in report.get("CurrentRequestedProcedureEvidenceSequence", ())
        for series in study.ReferencedSeriesSequence
        for one in series.ReferencedSOPSequence
    }


def _sealed(store: Store, found: Reckoning) -> dict[int, _Sealed]:
    """Read every revision with its images; nothing may be waiting."""
    with store.session() as session:
        for table in (Job, Delivery):
            for row in session.scalars(select(table).where(table.state != "done")):
                found.quarantined += row.state == "quarantined"
                if row.state != "quarantined":
                    found.faults.append(f"{table.__tablename__} {row.id} is {row.state}")
        if waiting := session.scalars(select(Case.id).where(Case.due_at.is_not(None))).all():
            found.faults.append(f"cases {waiting} wait to be sealed")
        images = defaultdict(set)
        held = select(RevisionInstance.revision_id, Instance.sop_uid).join(Instance, Instance.id == RevisionInstance.instance_id)
        for revision, sop_uid in session.execute(held):
            images[revision].add(sop_uid)
        rows = session.execute(select(Revision, Case).join(Case, Case.id == Revision.case_id)).all()
        return {revision.id: _Sealed(revision.number, case.kind, case.key, frozenset(images[revision.id])) for revision, case in rows}


def _made(store: Store, found: Reckoning) -> dict[str, _Made]:
    """Read every object of every result, by SOP Instance UID."""
    made: dict[str, _Made] = {}
    with store.session() as session:
        for result in session.scalars(select(Result)):
            found.results[result.status] += 1
        rows = session.execute(select(ResultObject, Result.revision_id).join(Result, Result.id == ResultObject.result_id)).all()
    for one, revision in rows:
        if one.sop_uid in made:
            found.faults.append(f"two results have one UID for a {one.kind}")
        made[one.sop_uid] = _Made(revision, one.kind, store.objects.get(one.sha256))
    found.objects = len(made)
    return made


def _compare_objects(made: Mapping[str, _Made], pacs: Mapping[str, bytes], found: Reckoning) -> None:
    for sop_uid, one in made.items():
        if sop_uid not in pacs:
            found.faults.append(f"a {one.kind} of revision {one.revision} is not in the PACS")
        elif _body(pacs[sop_uid]) == _body(one.data):
            found.objects_same_bytes += 1
        elif pydicom.dcmread(io.BytesIO(pacs[sop_uid])) != pydicom.dcmread(io.BytesIO(one.data)):
            found.faults.append(f"a {one.kind} of revision {one.revision} is another in the PACS")
    found.faults += [f"an object in the PACS is of no result: class {_class(pacs[uid])}" for uid in pacs.keys() - made.keys()]


def _reports(made: Mapping[str, _Made], pacs: Mapping[str, bytes]) -> list[tuple[int, set[str]]]:
    """Return each image-level report that the PACS holds: its revision and the UIDs in its evidence, as the PACS gives them."""
    return [
        (made[uid].revision, evidence_of(pydicom.dcmread(io.BytesIO(data))))
        for uid, data in pacs.items() if uid in made and made[uid].kind == "sr"
    ]


def _each_revision_once(sealed: Mapping[int, _Sealed], reports: list[tuple[int, set[str]]], found: Reckoning) -> None:
    told = Counter(revision for revision, _ in reports)
    for revision, one in sealed.items():
        if told[revision] != 1:
            found.faults.append(f"revision {one.number} of a case ({one.kind}) has {told[revision]} reports in the PACS")
    for revision, images in reports:
        if not sealed[revision].images <= images:
            found.faults.append(f"the report of revision {revision} leaves out {len(sealed[revision].images - images)} of its images")


def _each_image_kept(
    sending: Sending, sealed: Mapping[int, _Sealed], reports: list[tuple[int, set[str]]], found: Reckoning
) -> None:
    """Lone images: one report names it. Slices: the last revision of their series holds every one that was promised."""
    named = Counter(uid for _, images in reports for uid in images if uid in sending.images and sending.images[uid].lone)
    last = {one.key: one.images for one in sorted(sealed.values(), key=lambda one: one.number)}
    for uid, image in sending.images.items():
        promised = bool(sending.acknowledged[uid])
        if image.lone and (named[uid] > 1 or (promised and named[uid] == 0)):
            found.faults.append(f"an image {'acknowledged' if promised else 'never acknowledged'} is in {named[uid]} reports")
        elif not image.lone and promised and uid not in last.get(image.case, ()):
            found.faults.append("an acknowledged slice is not in the last revision of its series")
    strangers = {uid for one in sealed.values() for uid in one.images} - sending.sent.keys()
    found.faults += [f"{len(strangers)} images in revisions were never sent"] if strangers else []


def _body(data: bytes) -> bytes:
    """Return the dataset of a file, without preamble and file meta information."""
    length = int.from_bytes(data[140:144], "little")  # (0002,0000) stands first: tag, VR and length are 12 bytes
    return data[144 + length :]


def _class(data: bytes) -> str:
    return str(pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).get("SOPClassUID", "none"))
