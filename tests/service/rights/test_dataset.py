"""A set for training: de-identified, split by person, labelled by verdicts; who opposes and what bears text stays here."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path

import pydicom
import pytest
from PIL import Image, ImageDraw
from pydicom.dataset import FileDataset

from models.deidentify.dataset import written
from service.dicom.arrival import arrive_file
from service.rights.dataset import write_set
from service.rights.rights import Rights
from service.rights.sides import split_of
from service.store import queue, rights, verdicts
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.risks import NewRisk, save
from service.store.tables import Job
from tests.service.rights.person_data import rights_of

SAMPLES = Path(__file__).parents[3] / "data-samples/radiograph"
FOREVER = {"since": 0.0, "until": float("inf")}


@pytest.fixture
def here(tmp_path: Path) -> Rights:
    return rights_of(tmp_path)


def come(here: Rights, name: str = "normal-1.dcm", *, mark: str = "", decision: str = "", **values: str) -> FileDataset:
    """Receive and score one radiograph; ``mark`` is written on it, ``decision`` is a verdict on its result."""
    image = pydicom.dcmread(SAMPLES / name)
    image.pop("OtherPatientIDsSequence", None)  # the sample's own national identity: here PatientID says whose it is
    for keyword, value in values.items():
        setattr(image, keyword, value)
    if mark:
        image.decompress()
        picture = Image.fromarray(image.pixel_array)
        ImageDraw.Draw(picture).text((20, 20), mark, fill=255, font_size=24)
        image.PixelData = picture.tobytes()
    receive(here.store, [arrive_file(written(image))], quiet_s=0)
    seal_due(here.store)
    row = queue.claim(here.store, Job, worker="w", lease_s=60)
    assert row is not None
    with here.store.session() as session:
        finding = {"name": "pneumonia", "kind": "probability", "value": 0.7, "unit": "1", "label": "for people"}
        result = save_result(session, row.revision_id, model="chest-1.0.0", status="scored", reason="",
                             summary={"findings": [finding]}, objects=[], targets=[], priority=0)
        queue.finish(session, Job, queue.claim_of(row))
        if decision:
            content = {"findings": [{"name": "pneumonia", "present": False, "taken": "rejected", "comment": "Mme ESSAI",
                                     "regions": [{"sop_uid": str(image.SOPInstanceUID), "frame": None, "points": [[1, 2]]}]}]}
            verdicts.add(session, verdicts.NewVerdict("token", "result", result.id, 0, "chest-1.0.0", decision, "other",  # type: ignore[arg-type]
                                                      "Mme ESSAI", content, "first", {"subject": "rpps:1"}, {}, 1.0))
    return image


def manifest(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "manifest.csv").read_text().splitlines()))


def labels(out: Path, name: str = "labels") -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def test_a_set_holds_the_image_its_label_and_nobody(here: Rights, tmp_path: Path) -> None:
    image = come(here, decision="correct", PatientName="CANARI^CAMILLE", PatientID="CANARI-7", StudyDescription="Thorax CANARI")
    out = tmp_path / "set"
    made = write_set(here.store, here.site, out, **FOREVER)
    (row,), (label,) = manifest(out), labels(out)
    left = pydicom.dcmread(out / row["file"])
    assert (image.pixel_array == left.pixel_array).all()
    assert row["group"] == label["group"] == left.PatientID
    assert row["split"] == split_of(row["group"])
    assert [row["file"]] == label["files"]
    assert ("correct", "other") == (label["decision"], label["reason_code"])
    assert [{"name": "pneumonia", "kind": "probability", "value": 0.7, "unit": "1", "threshold": None, "above_threshold": None}] == (
        label["findings"])
    assert row["file"] == label["assessed"][0]["regions"][0]["file"]  # type: ignore[index]
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    for word in (b"CANARI", b"ESSAI", b"rpps", str(image.StudyInstanceUID).encode(), str(image.SOPInstanceUID).encode()):
        assert word not in everything
    assert 1 == made.counts["images"]


def test_one_person_is_one_group_in_every_set(here: Rights, tmp_path: Path) -> None:
    come(here, PatientID="A-1000")
    come(here, "bacterial-1.dcm", PatientID="A-1000")
    come(here, "viral-1.dcm", PatientID="A-2000")
    for name in ("one", "two"):
        write_set(here.store, here.site, tmp_path / name, **FOREVER)
    assert manifest(tmp_path / "one") == manifest(tmp_path / "two")
    assert 2 == len({row["group"] for row in manifest(tmp_path / "one")})


def test_who_opposes_training_is_left_out(here: Rights, tmp_path: Path) -> None:
    image = come(here, PatientID="A-1000")
    with here.store.session() as session:
        rights.oppose(session, study=rights.study_key(here.store, str(image.StudyInstanceUID)), scope="training", by="local:owner")
    made = write_set(here.store, here.site, tmp_path / "set", **FOREVER)
    assert ([], 1) == (manifest(tmp_path / "set"), made.counts["opposed"])


def test_an_image_with_text_stays_until_somebody_has_looked(here: Rights, tmp_path: Path) -> None:
    come(here, mark="ESSAI CAMILLE 1961")
    write_set(here.store, here.site, tmp_path / "one", **FOREVER)
    held = list(csv.DictReader((tmp_path / "one/held_back.csv").read_text().splitlines()))
    assert [] == manifest(tmp_path / "one")
    assert {"marks"} == {row["reason"] for row in held}
    assert any(int(row["top"]) < 60 and int(row["left"]) < 60 for row in held)
    write_set(here.store, here.site, tmp_path / "two", **FOREVER, approved={held[0]["file"]})
    assert [held[0]["file"]] == [row["file"] for row in manifest(tmp_path / "two")]


def test_with_verdicts_only_what_was_judged_leaves(here: Rights, tmp_path: Path) -> None:
    come(here)
    come(here, "normal-2.dcm", decision="agree")
    write_set(here.store, here.site, tmp_path / "set", **FOREVER, only_judged=True)
    assert ["agree"] == [one["decision"] for one in labels(tmp_path / "set")]
    assert 1 == len(manifest(tmp_path / "set"))


def test_a_record_leaves_with_its_times_moved_and_without_who_it_is(here: Rights, tmp_path: Path) -> None:
    record = {"origin": "2026-03-01T08:00:00+00:00", "static": {"age_years": 93.4, "male": 1.0, "CANARI": 7.0},
              "events": {"HR": {"minutes": [0.0, 60.0], "values": [80.0, 90.0]}}, "moment_h": 1.0, "who": "CANARI"}
    with here.store.session() as session:
        save(session, [NewRisk(
            key="k", subject="Patient/CANARI-12", person="p" * 32, encounter="", department="", model="icu-1.0.0", status="scored",
            reason="", value=0.2, answer={}, record=record, patient={"name": "CANARI"}, moment=None, source="predict",
            scored_at=time.time())])
    write_set(here.store, here.site, tmp_path / "set", **FOREVER)
    (left,) = labels(tmp_path / "set", "records")
    assert {"age_years": 90.0, "male": 1.0} == left["record"]["static"]  # type: ignore[index]
    assert [80.0, 90.0] == left["record"]["events"]["HR"]["values"]  # type: ignore[index]
    assert "2016" < left["record"]["origin"] < "2025-03-02"  # type: ignore[index]
    assert "T08:00:00" in left["record"]["origin"]  # type: ignore[index]
    assert "CANARI" not in json.dumps(left)


def test_a_set_is_never_mixed_with_another(here: Rights, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/other").write_text("x")
    with pytest.raises(FileExistsError):
        write_set(here.store, here.site, tmp_path / "set", **FOREVER)


