"""The EHR side as a whole: what is opened is closed, also when a room cannot open, and nothing ends a long upload early."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.cds_hooks.routes import CdsHooks
from service.ehr import Ehr
from service.metrics import Metrics
from service.problem import ProblemError
from service.scoring import Scoring
from service.settings import Settings
from service.store.errors import StoreError
from tests.make import ROOT


def test_a_room_that_cannot_open_leaves_nothing_of_the_others_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(_: CdsHooks) -> None:
        raise StoreError("The database does not answer.", code="unreachable")

    monkeypatch.setattr(CdsHooks, "open", cannot)
    before = set(threading.enumerate())
    settings = Settings(store=tmp_path / "store", ehr=True)
    ehr = Ehr(settings, Scoring(settings), Metrics())
    with pytest.raises(StoreError, match="does not answer"):
        ehr.open()
    assert {one.name for one in set(threading.enumerate()) - before} == set()
    with pytest.raises(ProblemError):
        _ = ehr.house.store


def test_a_population_may_be_an_hour_on_its_way() -> None:
    told = subprocess.run([sys.executable, "-c", "import service.app; print(service.app.LONGEST_S)"], cwd=ROOT, check=True, text=True,
                          capture_output=True, env={**os.environ, "DIAPHANE_EHR": "true"})
    assert float(told.stdout) == 3600.0
