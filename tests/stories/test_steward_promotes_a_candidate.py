"""As the person who answers for AI here I sign for a release, watch a candidate in shadow, compare it with what radiologists said,
promote it, and step back in one command; every step is in the audit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from models.manifest import read_manifest, write_manifest
from models.shelf import Shelf
from service.decode import Decoder
from service.dicom.arrival import arrive_file
from service.releases import shadow_images
from service.releases.commands import app
from service.site import read_site
from service.store import shadows, verdicts
from service.store.audit_search import Query, search
from service.store.inbox import receive
from service.store.store import Store
from service.store.tables import Result as Row
from service.store.trust_tables import Standing
from service.store.verdicts import NewVerdict
from service.worker import Worker
from tests.make import dicom_bytes, radiograph_dataset, radiograph_pixels, tiny_release
from tests.make_commissioning import write_report
from tests.make_store import settings_for

OLD, NEW = "tiny_chest-1.0.0", "tiny_chest-1.1.0"
CASES = 60
WHO = ["--name", "Test STEWARD"]


class Hospital:
    """A store, a folder of two releases, a site file that asks for sign-offs, and the command line."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.released, self.site = folder, folder / "released", folder / "site.toml"
        self.site.write_text('[device]\ninstitution = "Test hospital"\n')
        for version in ("1.0.0", "1.1.0"):
            release = tiny_release(self.released, "image_classification", version=version)
            manifest = read_manifest(release)
            main, *others = manifest.outputs
            calls_more = [main.model_copy(update={"threshold": 0.5 if version == "1.0.0" else 0.4}), *others]
            write_manifest(release, manifest.model_copy(update={"writes": [], "outputs": calls_more}))
        self.settings = settings_for(folder, released=self.released)
        self.store = Store.open(self.settings)

    def release(self, *words: str, expected: int = 0) -> str:
        told = ["--site", str(self.site), "--store", str(self.settings.store), "--released", str(self.released)]
        root = logging.getLogger()
        before = list(root.handlers)
        answer: Result = CliRunner().invoke(app, [*words, *told], catch_exceptions=False)
        root.handlers[:] = before  # its log went where the runner read it
        assert answer.exit_code == expected, answer.output
        return answer.output

    def sign(self, release: str) -> None:
        report = write_report(self.folder / f"report-{release}", self.released / release)
        self.release("sign", release, "--report", str(report), *WHO, "--statement", "Read with the team.", "--type", release)

    def score(self, worker: Worker) -> None:
        """Sixty radiographs come in, each with as much of a shadow as a seed says."""
        random = np.random.default_rng(7)
        for number in range(CASES):
            pixels = radiograph_pixels(seed=number)
            pixels[10 : 10 + int(random.integers(0, 14)), 10:-10] = 250
            uid = f"1.2.826.0.1.3680043.8.498.2026.77.{number}"
            radiograph = radiograph_dataset(pixels, StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.1", SOPInstanceUID=f"{uid}.1.1",
                                            PatientID=f"TEST-{number}")
            receive(self.store, [arrive_file(dicom_bytes(radiograph))], quiet_s=0)
        while worker.step():
            pass

    def judge(self) -> None:
        """Radiologists say of every live result whether the finding is there: as often as it says, not as it says."""
        random = np.random.default_rng(8)
        with self.store.reading() as session:
            rows = session.scalars(select(Row).where(Row.status == "scored")).all()
        for row in rows:
            value = row.summary["findings"][0]["value"]
            findings = [{"name": "pneumonia", "present": bool(random.random() < value)}]
            with self.store.session() as session:
                verdicts.add(session, NewVerdict(
                    f"token-{row.id}", "result", row.id, 0, row.model, "agree", "", "", {"effect": "validated", "findings": findings},
                    "first", {"subject": "rpps:10000000002"}, {}, 1.0))


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospital:
    monkeypatch.setattr(shadow_images, "SHARE", 1)
    monkeypatch.setattr(shadow_images, "LOOK_S", 0.0)
    return Hospital(tmp_path)


@pytest.mark.slow
def test_steward_promotes_a_candidate(hospital: Hospital) -> None:
    assert "unsigned" in hospital.release("list")
    assert "nobody accepted this one" in hospital.release("live", OLD, *WHO, expected=1)
    hospital.sign(OLD)
    hospital.release("live", OLD, *WHO)
    hospital.release("shadow", NEW, *WHO)

    decoder = Decoder()
    worker = Worker(hospital.store, Shelf(hospital.released), read_site(hospital.site), hospital.settings, "one", decoder=decoder)
    hospital.score(worker)
    assert shadows.counts(hospital.store, NEW) == {"scored": CASES}
    with hospital.store.reading() as session:
        assert {row.model for row in session.scalars(select(Row))} == {OLD}  # what anybody can see is of the live one
    hospital.judge()

    gate = ["--cases", str(CASES), "--positives", "20"]
    told = hospital.release("compare", "tiny_chest", *gate)
    assert "nobody signed" in told
    assert "verification" not in told
    assert "they had seen the live result" in told
    assert "Not everything that was required" in hospital.release("promote", "tiny_chest", *gate, *WHO, expected=1)
    hospital.sign(NEW)
    assert f"{NEW} is live" in hospital.release("promote", "tiny_chest", *gate, *WHO)
    with hospital.store.reading() as session:
        last = select(Standing.detail).where(Standing.state == "live").order_by(Standing.id.desc())
        kept: dict[str, Any] = session.scalars(last).first()
    assert all(gate["met"] for gate in kept["gates"])
    assert kept["comparison"]["pairs"] == CASES

    worker.standings.look()
    assert worker.shelf.get("tiny_chest").id == NEW
    assert f"{OLD} is live again" in hospital.release("rollback", "tiny_chest", *WHO, "--reason", "A drill.")
    worker.standings.look()
    assert worker.shelf.get("tiny_chest").id == OLD
    assert "A drill." in hospital.release("show", OLD)

    with hospital.store.reading() as session:
        lines = [one for one in reversed(search(session, Query(), limit=100).lines) if one.action in ("sign_off", "release")]
    assert [(one.action, one.item, one.detail.get("way") or one.detail.get("decision")) for one in lines] == [
        ("sign_off", OLD, "accepted"), ("release", OLD, "live"), ("release", NEW, "shadow"), ("sign_off", NEW, "accepted"),
        ("release", OLD, "replaced"), ("release", NEW, "promote"), ("release", NEW, "replaced"), ("release", OLD, "rollback"),
    ]
    assert {(one.actor_name, one.actor.startswith("local:")) for one in lines} == {("Test STEWARD", True)}
    worker.close()
    decoder.close()
    hospital.store.close()
