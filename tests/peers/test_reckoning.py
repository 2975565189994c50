"""The reckoning of the kill test finds every kind of broken promise, so that its silence means something."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import delete, select, update

from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Case, Delivery, Instance, Job, Revision, RevisionInstance
from tests.make import dicom_bytes, radiograph_dataset
from tests.make_store import image_of, object_of, slice_of, store_for
from tests.peers.modality import Image, Sending
from tests.peers.reckoning import reckon


@dataclass
class Kept:
    """Two radiographs and a series of three slices, all acknowledged, reported and in the PACS."""

    sending: Sending
    store: Store
    pacs: dict[str, bytes]

    def faults(self) -> list[str]:
        """Reckon."""
        return reckon(self.sending, self.store, self.pacs).faults


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    store, sending, pacs = store_for(tmp_path), Sending(0), dict[str, bytes]()
    arrivals = [image_of(1), image_of(2), *(slice_of(3, number, study=3) for number in (1, 2, 3))]
    receive(store, arrivals, quiet_s=0)
    for one in arrivals:
        sending.images[one.sop_uid] = Image(one.sop_uid, one.case_key, Dataset(), b"")
        sending.acknowledged[one.sop_uid] = sending.sent[one.sop_uid] = 1
    assert 3 == seal_due(store)
    with store.session() as session:
        for job, case in session.execute(
            select(Job, Case).join(Revision, Job.revision_id == Revision.id).join(Case, Case.id == Revision.case_id)
        ).all():
            images = session.scalars(
                select(Instance.sop_uid).join(RevisionInstance, RevisionInstance.instance_id == Instance.id)
                .where(RevisionInstance.revision_id == job.revision_id)
            ).all()
            made = object_of(int(case.study_uid.rpartition(".")[2]), 1)
            data = report_of(made.sop_uid, list(images))
            save_result(session, job.revision_id, model="none", status="scored", reason="", summary={}, targets=["pacs"], priority=0,
                        objects=[replace(made, data=data)])
            pacs[made.sop_uid] = data
        session.execute(update(Job).values(state="done"))
        session.execute(update(Delivery).values(state="done"))
    yield Kept(sending, store, pacs)
    store.close()


def report_of(sop_uid: str, images: list[str]) -> bytes:
    """Make a report whose evidence is these images. It keeps the pixels of a radiograph: nobody looks at them."""
    dataset = radiograph_dataset(SOPInstanceUID=sop_uid)
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_uid
    study, series = Dataset(), Dataset()
    series.ReferencedSOPSequence = []
    for uid in images:
        item = Dataset()
        item.ReferencedSOPInstanceUID = uid
        series.ReferencedSOPSequence.append(item)
    study.ReferencedSeriesSequence = [series]
    dataset.CurrentRequestedProcedureEvidenceSequence = [study]
    return dicom_bytes(dataset)


def lone(kept: Kept) -> str:
    """Return the first radiograph."""
    return next(uid for uid, image in kept.sending.images.items() if image.lone)


def a_report(kept: Kept, image: str) -> str:
    """Return the report that names an image."""
    return next(uid for uid, data in kept.pacs.items() if image.encode() in data)


def test_kept_promises_have_no_fault(kept: Kept) -> None:
    found = reckon(kept.sending, kept.store, kept.pacs)
    assert [] == found.faults
    assert (5, 3, 3, 3) == (found.promised, found.revisions, found.objects, found.objects_same_bytes)


def test_a_report_written_otherwise_but_saying_the_same_is_the_same(kept: Kept) -> None:
    uid = a_report(kept, lone(kept))
    dataset = pydicom.dcmread(io.BytesIO(kept.pacs[uid]))
    dataset["CurrentRequestedProcedureEvidenceSequence"].is_undefined_length = True
    kept.pacs[uid] = dicom_bytes(dataset)
    found = reckon(kept.sending, kept.store, kept.pacs)
    assert ([], 2) == (found.faults, found.objects_same_bytes)


def _lose_report(kept: Kept) -> None:
    del kept.pacs[a_report(kept, lone(kept))]


def _change_report(kept: Kept) -> None:
    uid = a_report(kept, lone(kept))
    kept.pacs[uid] = kept.pacs[uid].replace(b"CANARI^TEST", b"CANARI^OTHR")


def _add_stranger(kept: Kept) -> None:
    kept.pacs["1.2.3"] = report_of("1.2.3", [lone(kept)])


def _name_twice(kept: Kept) -> None:
    """Another report of ours names the image too."""
    image = lone(kept)
    other = next(uid for uid in kept.pacs if uid != a_report(kept, image))
    slices = [uid for uid, one in kept.sending.images.items() if uid.encode() in kept.pacs[other]]
    kept.pacs[other] = report_of(other, [*slices, image])


def _forget_image(kept: Kept) -> None:
    """It was acknowledged, and nothing was kept of it."""
    kept.sending.images["1.2.4"] = Image("1.2.4", "1.2.4", Dataset(), b"")
    kept.sending.acknowledged["1.2.4"] = kept.sending.sent["1.2.4"] = 1


def _forget_slice(kept: Kept) -> None:
    with kept.store.session() as session:
        last = select(Instance.id).where(Instance.sop_uid.endswith(".3.3.3")).scalar_subquery()
        session.execute(delete(RevisionInstance).where(RevisionInstance.instance_id == last))


def _leave_job(kept: Kept) -> None:
    with kept.store.session() as session:
        session.execute(update(Job).where(Job.id == 1).values(state="queued"))


def _invent_image(kept: Kept) -> None:
    del kept.sending.sent[lone(kept)]


@pytest.mark.parametrize(
    ("break_promise", "fault"),
    [
        (_lose_report, "an image acknowledged is in 0 reports"),
        (_lose_report, "has 0 reports in the PACS"),
        (_change_report, "is another in the PACS"),
        (_add_stranger, "an object in the PACS is of no result"),
        (_name_twice, "an image acknowledged is in 2 reports"),
        (_forget_image, "an image acknowledged is in 0 reports"),
        (_forget_slice, "an acknowledged slice is not in the last revision of its series"),
        (_leave_job, "jobs 1 is queued"),
        (_invent_image, "1 images in revisions were never sent"),
    ],
)
def test_a_broken_promise_is_found(kept: Kept, break_promise: Callable[[Kept], None], fault: str) -> None:
    break_promise(kept)
    assert any(fault in one for one in kept.faults()), kept.faults()
