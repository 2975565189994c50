"""A hospital's PACS, played by Debian's Orthanc, sends its images here and gets the results back into the same study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import (
    Comprehensive3DSRStorage,
    ParametricMapStorage,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)
from sqlalchemy import select

from service.orthanc import EXAMPLE, Way
from service.site import read_site
from service.store.ledger import objects_of, results_of
from service.store.tables import Delivery, Instance, Result, ResultObject
from tests.make import dicom_bytes, mr_series, needs_peer, radiograph_dataset, radiograph_pixels, tiny_release
from tests.peers.pacs import (
    PATIENCE_S,
    SAMPLES,
    Pacs,
    dataset_of,
    dcmsend,
    echoscu,
    entities_agree,
    read,
    run,
    storescu,
)
from tests.peers.running import Node, wait_for

pytestmark = [needs_peer("Orthanc"), needs_peer("findscu"), needs_peer("dcentvfy")]

RULES = """
[[rules]]
when = { calling_ae = "ER*" }
priority = "urgent"

[[rules]]
when = { calling_ae = "NIGHT" }
priority = "low"
"""
BY_SENDER = """
[[rules]]
when = { calling_ae = "ORTHANC" }
targets = ["dimse"]

[[rules]]
targets = ["stow"]
"""


TOO_EARLY = SAMPLES / "radiograph/normal-2.dcm"  # comes into the PACS before we are there


@dataclass(frozen=True)
class Hospital:
    """A PACS that sends to the node and gets its results one way, by DIMSE or by DICOMweb, and what it was given."""

    pacs: Pacs
    node: Node
    way: Way
    radiograph: Path
    declined: Path  # no model takes it
    series: Path

    @property
    def files(self) -> list[Path]:
        """Everything that was sent."""
        return [self.radiograph, self.declined, *sorted(self.series.iterdir())]

    @property
    def studies(self) -> dict[str, set[str]]:
        """StudyInstanceUID → the SOP classes that come back into it."""
        report, picture = Comprehensive3DSRStorage, SecondaryCaptureImageStorage
        return {
            study_of(self.radiograph): {report, picture, ParametricMapStorage}, study_of(self.declined): {report},
            study_of(self.files[-1]): {report, picture, SegmentationStorage},
        }

    def results(self, study_uid: str = "") -> list[Result]:
        """Return the results on one study, or on all of them, as the node's store has them."""
        studies = [study_uid] if study_uid else self.studies
        return [result for uid in studies for _, _, result in results_of(self.node.store, study_uid=uid) if result]

    def returned(self, study_uid: str = "") -> list[ResultObject]:
        """Return the objects of these results."""
        return [one for result in self.results(study_uid) for one in objects_of(self.node.store, result.id)]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Way, Hospital]]:
    """Two PACSs and one node of the real releases. A modality gave each PACS three studies, and the results are back."""
    folder = tmp_path_factory.mktemp("hospitals")
    node = Node(folder / "node", quiet_s=2)
    with Pacs(folder / "dimse", node) as by_dimse, Pacs(folder / "stow", node, way="stow") as by_web:
        node.write_site(by_dimse.as_target(name="dimse", before=BY_SENDER) + by_web.as_target("stow", name="stow"))
        told: dict[Way, Hospital] = {
            "dimse": Hospital(by_dimse, node, "dimse", SAMPLES / "radiograph/bacterial-1.dcm",
                              SAMPLES / "refused/wrong_body_part.dcm", SAMPLES / "mr/crop-1"),
            "stow": Hospital(by_web, node, "stow", SAMPLES / "radiograph/viral-1.dcm", SAMPLES / "refused/wrong_view.dcm",
                             SAMPLES / "mr/crop-2"),
        }
        by_dimse.upload(TOO_EARLY.read_bytes())
        wait_for(lambda: "Failure" in by_dimse.jobs(), PATIENCE_S, lambda: f"Orthanc's jobs: {by_dimse.jobs()}")
        with node:
            run("bash", "-c", resubmit_command().replace("127.0.0.1:8042", f"127.0.0.1:{by_dimse.http_port}"))
            for one in told.values():
                dcmsend(one.pacs.dicom_port, one.files, called="ORTHANC")
            for one in told.values():
                wait_for(lambda one=one: len(one.results()) >= len(one.studies), PATIENCE_S, node.tail)
            node.settle(PATIENCE_S)
            yield told


@pytest.fixture(params=["dimse", "stow"])
def hospital(request: pytest.FixtureRequest, hospitals: dict[Way, Hospital]) -> Hospital:
    """One of the two."""
    return hospitals[request.param]


def study_of(path: Path) -> str:
    return str(read(path.read_bytes()).StudyInstanceUID)


def sop_of(path: Path) -> str:
    return str(read(path.read_bytes()).SOPInstanceUID)


def test_results_come_back_into_the_study_they_are_about(hospital: Hospital) -> None:
    sent = {sop_of(path) for path in hospital.files}
    for study, classes in hospital.studies.items():
        assert classes == {one["SOPClassUID"] for one in hospital.pacs.instances(study) if one["SOPInstanceUID"] not in sent}


def test_what_was_forwarded_while_we_were_down_comes_with_the_command_of_the_orthanc_page(hospitals: dict[Way, Hospital]) -> None:
    assert 2 <= len(hospitals["dimse"].pacs.instances(study_of(TOO_EARLY)))


def test_cfind_and_qido_show_images_and_results_in_one_study(hospital: Hospital) -> None:
    for study in hospital.studies:
        expected = {one.sop_uid for one in hospital.returned(study)}
        expected |= {sop_of(path) for path in hospital.files if study_of(path) == study}
        listed = [str(one.SeriesInstanceUID) for one in hospital.pacs.findscu("SERIES", StudyInstanceUID=study, SeriesInstanceUID="")]
        keys = {"StudyInstanceUID": study, "SOPInstanceUID": ""}
        images = [image for one in listed for image in hospital.pacs.findscu("IMAGE", SeriesInstanceUID=one, **keys)]
        assert expected == {str(one.SOPInstanceUID) for one in images}
        assert expected == {str(one.SOPInstanceUID) for one in hospital.pacs.qido(f"studies/{study}/instances")}


def test_wado_reads_back_byte_for_byte_what_was_written(hospital: Hospital) -> None:
    assert {"sr", "sr-roi", "seg", "map", "capture"} == {one.kind for one in hospital.returned()}
    for one in hospital.returned():
        ours = hospital.node.store.objects.get(one.sha256)
        written = read(ours)
        theirs = hospital.pacs.wado(written.StudyInstanceUID, written.SeriesInstanceUID, one.sop_uid)
        assert written == read(theirs), one.kind
        assert dataset_of(ours) == dataset_of(theirs), one.kind


def test_patient_and_study_are_the_same_in_images_and_results(hospital: Hospital) -> None:
    for study in hospital.studies:
        files = {one["SOPInstanceUID"]: hospital.pacs.file(one["ID"]) for one in hospital.pacs.instances(study)}
        assert "" == entities_agree(files)


def test_dcentvfy_would_see_another_patient_or_study() -> None:
    sent = (SAMPLES / "radiograph/normal-2.dcm").read_bytes()
    for keyword, value in (("PatientID", "OTHER"), ("StudyDate", "20200101"), ("StudyDescription", "OTHER")):
        changed = read(sent)
        setattr(changed, keyword, value)
        changed.SOPInstanceUID = changed.file_meta.MediaStorageSOPInstanceUID = "2.25.1"
        assert keyword in entities_agree({"sent": sent, "changed": dicom_bytes(changed)})


def test_an_image_that_no_model_takes_travels_back_as_not_assessed(hospital: Hospital) -> None:
    instances = hospital.pacs.instances(study_of(hospital.declined))
    (one,) = [one for one in instances if one["SOPClassUID"] == Comprehensive3DSRStorage]
    report = read(hospital.pacs.file(one["ID"]))
    assert ("PRELIMINARY", "UNVERIFIED") == (report.PreliminaryFlag, report.VerificationFlag)
    told = list(codes_of(report))
    assert "not-assessed" in told
    assert {"dimse": "wrong-body-part", "stow": "wrong-view"}[hospital.way] in told


def test_results_that_are_sent_back_to_us_start_nothing(hospital: Hospital) -> None:
    held, results, rows = hospital.pacs.holds(), len(hospital.results()), received(hospital.node)
    for uid in hospital.studies:
        (study,) = hospital.pacs.find("Study", StudyInstanceUID=uid)
        hospital.pacs.send(hospital.way, study["ID"])
    hospital.node.settle(PATIENCE_S)
    assert (results, rows) == (len(hospital.results()), received(hospital.node))
    assert held == hospital.pacs.holds()


def test_a_second_forward_of_the_same_series_changes_nothing(hospital: Hospital) -> None:
    held, results = hospital.pacs.holds(), len(hospital.results())
    uid = str(read(hospital.files[-1].read_bytes()).SeriesInstanceUID)
    (series,) = hospital.pacs.find("Series", SeriesInstanceUID=uid)
    assert 200 == hospital.pacs.send(hospital.way, series["ID"])["HttpStatus"]
    hospital.node.settle(PATIENCE_S)
    assert results == len(hospital.results())
    assert held == hospital.pacs.holds()


def test_a_late_image_makes_a_new_revision_whose_results_stand_beside_the_old(hospital: Hospital) -> None:
    late, second = (read(path.read_bytes()) for path in sorted(hospital.series.iterdir())[:2])
    study = str(late.StudyInstanceUID)
    before = {one.sop_uid for one in hospital.returned(study)}
    late.SOPInstanceUID = late.file_meta.MediaStorageSOPInstanceUID = f"{late.SOPInstanceUID[:-3]}999"
    step = zip(late.ImagePositionPatient, second.ImagePositionPatient, strict=True)
    late.ImagePositionPatient = [2 * first - other for first, other in step]
    if late.file_meta.TransferSyntaxUID.is_encapsulated:
        late.decompress()
    hospital.pacs.upload(dicom_bytes(late))
    wait_for(lambda: len(hospital.results(study)) == 2, PATIENCE_S, hospital.node.tail)
    hospital.node.settle(PATIENCE_S)
    assert [1, 2] == [revision.number for _, revision, _ in results_of(hospital.node.store, study_uid=study)]
    assert before < {one.sop_uid for one in hospital.returned(study)} <= hospital.pacs.holds().keys()


def test_no_log_and_no_file_name_says_who_was_examined(hospitals: dict[Way, Hospital]) -> None:
    node = hospitals["dimse"].node
    said = node.tail(lines=1_000_000) + "\n".join(str(path.relative_to(node.folder)) for path in node.folder.rglob("*"))
    assert "scored" in said
    keywords = ("PatientID", "AccessionNumber", "PatientBirthDate", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    for header in (read(path.read_bytes()) for one in hospitals.values() for path in one.files):
        identifying = [*str(header.PatientName).split("^"), *(str(header[keyword].value) for keyword in keywords)]
        assert [] == [value for value in identifying if value in said]


def test_the_site_file_of_the_orthanc_page_is_one(tmp_path: Path) -> None:
    lines = (EXAMPLE / "README.md").read_text(encoding="utf-8").split("A site file", 1)[1].split("By DICOMweb", 1)[0].splitlines()
    (tmp_path / "site.toml").write_text("\n".join(line.strip() for line in lines if line.startswith("    ")), encoding="utf-8")
    site = read_site(tmp_path / "site.toml")
    assert (["ORTHANC"], ["ORTHANC"]) == ([one.ae_title for one in site.peers], [one.ae_title for one in site.targets])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Pacs]]:
    """A node of tiny releases and a PACS that only receives: the modalities send straight to the node."""
    folder = tmp_path_factory.mktemp("small")
    for task in ("image_classification", "volume_segmentation"):
        tiny_release(folder / "released", task)
    with Pacs(folder / "pacs") as pacs:
        node = Node(folder / "node", site=pacs.as_target(before=RULES), released=folder / "released", quiet_s=1,
                    supervisor="test", http=False)
        with node:
            yield node, pacs


def test_dcmtk_is_a_modality_we_answer(small: tuple[Node, Pacs], tmp_path: Path) -> None:
    node, pacs = small
    assert echoscu(node.dicom_port)
    assert not echoscu(node.dicom_port, called="SOMEBODY")
    by_storescu, by_dcmsend = radiographs(tmp_path / "dx", 1, start=100), series(tmp_path / "mr")
    storescu(node.dicom_port, by_storescu)
    dcmsend(node.dicom_port, by_dcmsend)
    wait_for(lambda: len(delivered(node)) >= 2, PATIENCE_S, node.tail)
    for path in (by_storescu[0], by_dcmsend[0]):
        classes = {str(one.SOPClassUID) for one in pacs.qido(f"studies/{study_of(path)}/instances")}
        assert Comprehensive3DSRStorage in classes


def test_a_report_is_refused_where_images_are_asked_for(small: tuple[Node, Pacs], tmp_path: Path) -> None:
    node, _ = small
    storescu(node.dicom_port, radiographs(tmp_path / "dx", 1, start=200))
    node.settle(PATIENCE_S)
    (report, *_) = reports_of(node)
    path = tmp_path / "report.dcm"
    with node.store.reading() as session:
        sha256 = session.scalars(select(ResultObject.sha256).where(ResultObject.sop_uid == report)).one()
    path.write_bytes(node.store.objects.get(sha256))
    rows = received(node)
    assert 0 != storescu(node.dicom_port, [path], check=False).returncode
    assert rows == received(node)


def test_results_wait_for_a_pacs_that_is_down_and_leave_by_priority(small: tuple[Node, Pacs], tmp_path: Path) -> None:
    node, pacs = small
    node.settle(PATIENCE_S)
    before = len(pacs.arrived())
    pacs.stop()
    senders = ("NIGHT", "CT1", "ER1", "CT1", "NIGHT", "ER2")
    paths = radiographs(tmp_path / "dx", len(senders))
    for sender, path in zip(senders, paths, strict=True):
        storescu(node.dicom_port, [path], calling=sender)
    wait_for(lambda: node.waiting() == {"cases": 0, "jobs": 0, "deliveries": len(senders)}, PATIENCE_S,
             lambda: f"{node.waiting()}\n{node.tail()}")
    pacs.start()
    node.settle(PATIENCE_S)
    reports = reports_of(node)
    sender_of = {study_of(path): sender for sender, path in zip(senders, paths, strict=True)}
    order = [sender_of[reports[uid]] for uid in pacs.arrived()[before:] if uid in reports]
    assert ["ER1", "ER2", "CT1", "CT1", "NIGHT", "NIGHT"] == order


def resubmit_command() -> str:
    """Return what the page on Orthanc tells to run after Diaphane was down."""
    lines = (EXAMPLE / "README.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if "/jobs?expand" in line)
    return "\n".join(lines[first : first + 3])


def codes_of(dataset: Dataset) -> Iterator[str]:
    """Give the value of every coded item of a report."""
    for item in dataset.get("ContentSequence", []):
        yield from (str(code.get("CodeValue") or code.get("LongCodeValue")) for code in item.get("ConceptCodeSequence", []))
        yield from codes_of(item)


def received(node: Node) -> int:
    """Count the images the node has taken."""
    with node.store.reading() as session:
        return len(session.scalars(select(Instance.id).where(Instance.origin == "received")).all())


def delivered(node: Node) -> list[int]:
    """Return the results that were delivered."""
    with node.store.reading() as session:
        return list(session.scalars(select(Delivery.result_id).where(Delivery.state == "done")))


def reports_of(node: Node) -> dict[str, str]:
    """Return the image-level reports: SOPInstanceUID → StudyInstanceUID."""
    asked = select(ResultObject.sop_uid, Instance.study_uid).join(Instance, Instance.sop_uid == ResultObject.sop_uid)
    with node.store.reading() as session:
        rows = session.execute(asked.where(ResultObject.kind == "sr")).all()
    return {str(sop_uid): str(study_uid) for sop_uid, study_uid in rows}


def radiographs(folder: Path, count: int, *, start: int = 0) -> list[Path]:
    """Write radiographs, each a study of its own."""
    folder.mkdir()
    paths = []
    for number in range(start, start + count):
        dataset = radiograph_dataset(radiograph_pixels(seed=number), BodyPartExamined="CHEST")
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"2.25.7001{number:04d}", f"2.25.7002{number:04d}"
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"2.25.7003{number:04d}"
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(dicom_bytes(dataset))
    return paths


def series(folder: Path) -> list[Path]:
    """Write one MR series."""
    folder.mkdir()
    paths = []
    for number, dataset in enumerate(mr_series()):
        dataset.StudyInstanceUID = "2.25.70010001999"
        paths.append(folder / f"{number}.dcm")
        paths[-1].write_bytes(dicom_bytes(dataset))
    return paths
