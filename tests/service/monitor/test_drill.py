"""The drill and the commands of the monitor, on a tiny release: what they print is what was counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from models.model import Model
from models.reference import Reference
from service.monitor import passes
from service.monitor.commands import app
from service.monitor.drill import drill, steps_of
from service.monitor.told import drill_tables
from service.monitor.weeks import KINDS
from service.site import Site
from service.store import alarms
from service.store.store import Store
from tests.make_store import settings_for
from tests.make_weeks import add_weeks, monday_before
from tests.service.monitor.conftest import USUAL
from tests.service.monitor.test_passes import NOW

RUNNER = CliRunner()


def test_a_drill_counts_false_alarms_and_hears_every_mishap(model: Model, reference: Reference) -> None:
    steps: list[int] = []
    done = drill(model, reference, weeks=25, per_week=120, tries=1, on_step=lambda: steps.append(1))
    assert len(steps) == steps_of(model, reference, 25, 1)
    assert sum(done.false_alarms.values()) == 0
    assert {one.kind for one in done.rings} == set(KINDS)
    silent = [one.mishap for one in done.rings if one.rang < one.tries]
    assert silent in ([], ["refusals doubled"])  # from 3 % to 6 % of 120 results may take longer than half a year
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123  ends with the test
    for one in drill_tables([done]):
        console.print(one)
    text = console.export_text()
    assert "False alarms in ordinary weeks" in text
    assert "one golden number changed" in text
    console.file.close()


@pytest.fixture
def filled(tmp_path: Path, model: Model, reference: Reference, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a store after six weeks, which nobody has open."""
    folder = tmp_path / "store"
    monkeypatch.setattr("service.monitor.references.shipped_reference", lambda _: reference)
    opened = Store.open(settings_for(folder), min_free_bytes=0)
    add_weeks(opened, model.manifest, reference, USUAL, first=monday_before(NOW.date(), 6), weeks=6, zone=site.device.zone,
              rng=np.random.default_rng(1))
    passes.check(opened, site, [model], now=NOW)
    with opened.session() as session:
        alarms.ring(session, model.id, "latency", "seconds", {"count": 1, "streams": []})
    opened.close()
    return settings_for(folder).store


def test_the_commands_show_what_was_found_and_note_who_saw_an_alarm(filled: Path, model: Model) -> None:
    told = RUNNER.invoke(app, ["report", "--store", str(filled)])
    assert told.exit_code == 0, told.output
    assert model.id in told.output
    assert "Watched against its validation split" in told.output
    as_json = RUNNER.invoke(app, ["report", "--json", "--store", str(filled)])
    assert f'"{model.id}"' in as_json.output
    listed = RUNNER.invoke(app, ["alarms", "--store", str(filled)])
    assert "latency" in listed.output
    acked = RUNNER.invoke(app, ["alarms", "--ack", "1", "--store", str(filled)])
    assert "was seen by local:" in acked.output
    assert RUNNER.invoke(app, ["alarms", "--ack", "77", "--store", str(filled)]).exit_code == 1
    looked = RUNNER.invoke(app, ["check", "--store", str(filled), "--released", str(model.folder.parent)])
    assert looked.exit_code == 1  # an alarm is open
    assert model.id in looked.output
    night = RUNNER.invoke(app, ["golden", "--store", str(filled), "--released", str(model.folder.parent)])
    assert night.exit_code == 0, night.output
    assert "nothing" in night.output
    wrong = RUNNER.invoke(app, ["golden", "add", "none-such", "--store", str(filled)])
    assert wrong.exit_code == 1
    assert "There is no scored result behind that key" in wrong.output
    nowhere = RUNNER.invoke(app, ["report", "--store", str(filled / "none")])
    assert nowhere.exit_code == 1
    assert "must name the folder of a store" in nowhere.output
