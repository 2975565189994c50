"""A radiologist's word reaches a PACS nobody here wrote: verified reports beside the results, a note on those taken back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from pydicom.uid import Comprehensive3DSRStorage, KeyObjectSelectionDocumentStorage
from sqlalchemy import func, select

from service.access.caller import Caller
from service.ehr_house import House
from service.metrics import Metrics
from service.review.page import ReviewDesk
from service.review.verdict.form import read_assessment, read_sent
from service.review.verdict.give import give
from service.review.verdict.standing import reading_of
from service.review.verdict.target import find_target
from service.review.verdict.view import view
from service.scoring import Scoring
from service.site import read_site
from service.store.ehr_tables import Message
from service.store.ledger import objects_of, results_of
from service.store.tables import Delivery, Result
from tests.make import needs_peer
from tests.peers.pacs import PATIENCE_S, SAMPLES, Pacs, read
from tests.peers.running import Node, wait_for

pytestmark = [needs_peer("Orthanc"), pytest.mark.slow]
READER = Caller("rpps:99700000001", name="Camille DOCTEUR-TEST", family="DOCTEUR-TEST", given="Camille", rpps="99700000001",
                structure="CHU Exemple", roles=frozenset({"radiologist"}))


@dataclass(frozen=True)
class Hospital:
    """A PACS, the node that serves it, and the desk of a reader in this process over the node's store."""

    pacs: Pacs
    node: Node
    desk: ReviewDesk

    def send(self, sample: str) -> tuple[str, int]:
        """Let a study be scored and its results delivered; return its UID and the number of the score."""
        data = (SAMPLES / sample).read_bytes()
        study = str(read(data).StudyInstanceUID)
        self.pacs.upload(data)
        wait_for(lambda: bool(self.scores(study)), PATIENCE_S, self.node.tail)
        self.node.settle(PATIENCE_S)
        return study, self.scores(study)[0].id

    def scores(self, study: str) -> list[Result]:
        """Return the scores on a study."""
        return [one for _, _, one in results_of(self.node.store, study_uid=study) if one and one.status == "scored"]

    def give(self, number: int, decision: str, **fields: str) -> None:
        """Give a verdict as the page does."""
        target = find_target(self.desk, "result", number)
        assert target is not None
        panel = view(self.desk, READER, target)
        form = {"target": panel.key, "after": str(panel.after), "token": panel.token, "decision": decision,
                **{name.replace("__", "."): value for name, value in fields.items()}}
        said = read_assessment(form, target, READER, reading_of(target.standing, READER.subject))
        give(self.desk, READER, target, read_sent(form), said)

    def letters(self) -> dict[str, int]:
        """Count the messages of verdicts by state."""
        with self.node.store.reading() as session:
            rows = session.execute(select(Message.state, func.count()).where(Message.kind == "dicom").group_by(Message.state))
            return {row[0]: row[1] for row in rows}

    def there(self, study: str, sop_class: str) -> list[Any]:
        """Return what the PACS holds of a study in one class, as files."""
        return [read(self.pacs.file(one["ID"])) for one in self.pacs.instances(study) if one["SOPClassUID"] == sop_class]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("verdict")
    node = Node(folder / "node", quiet_s=2, review=True, api_token="of this test alone, and of no other")
    with Pacs(folder / "pacs", node) as pacs:
        node.write_site(pacs.as_target())
        with node:
            settings = node.settings
            house = House(settings, read_site(settings.site), Scoring(settings), Metrics())
            house.open()
            yield Hospital(pacs, node, ReviewDesk(house))
            house.close()


def test_the_verified_report_lies_in_the_pacs_beside_the_one_it_replaces(hospital: Hospital) -> None:
    study, number = hospital.send("radiograph/bacterial-1.dcm")
    hospital.give(number, "correct", present__pneumonia="no", comment="Superposition des seins")
    wait_for(lambda: any(one.VerificationFlag == "VERIFIED" for one in hospital.there(study, Comprehensive3DSRStorage)),
             PATIENCE_S, hospital.node.tail)
    reports = hospital.there(study, Comprehensive3DSRStorage)
    verified = next(one for one in reports if one.VerificationFlag == "VERIFIED")
    assert ("FINAL", "DOCTEUR-TEST^Camille", "CHU Exemple") == (
        verified.PreliminaryFlag, str(verified.VerifyingObserverSequence[0].VerifyingObserverName),
        verified.VerifyingObserverSequence[0].VerifyingOrganization)
    replaced = verified.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert replaced.ReferencedSOPInstanceUID in [one.SOPInstanceUID for one in reports if one.VerificationFlag == "UNVERIFIED"]


def test_a_result_that_is_rejected_is_named_in_a_note_that_the_pacs_holds(hospital: Hospital) -> None:
    study, number = hospital.send("radiograph/viral-1.dcm")
    sent = {one.sop_uid for one in objects_of(hospital.node.store, number)}
    hospital.give(number, "reject", reason_code="false-positive")
    wait_for(lambda: bool(hospital.there(study, KeyObjectSelectionDocumentStorage)), PATIENCE_S, hospital.node.tail)
    note = hospital.there(study, KeyObjectSelectionDocumentStorage)[0]
    assert "113001" == note.ConceptNameCodeSequence[0].CodeValue
    named = {item.ReferencedSOPInstanceUID for series in note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
             for item in series.ReferencedSOPSequence}
    assert sent == named
    with hospital.node.store.reading() as session:
        assert "done" == session.scalar(select(Delivery.state).where(Delivery.result_id == number))


def test_a_verdict_outlives_the_deliverer_and_a_pacs_that_is_down(hospital: Hospital) -> None:
    study, number = hospital.send("radiograph/normal-1.dcm")
    hospital.pacs.stop()
    hospital.give(number, "agree")
    wait_for(lambda: bool(hospital.node.kill("deliver")), PATIENCE_S, hospital.node.tail)
    assert 1 == hospital.letters().get("queued", 0) + hospital.letters().get("running", 0)
    hospital.pacs.start()
    wait_for(lambda: any(one.VerificationFlag == "VERIFIED" for one in hospital.there(study, Comprehensive3DSRStorage)),
             PATIENCE_S, hospital.node.tail)
    assert "pacs" in hospital.node.status()["deliveries"]
