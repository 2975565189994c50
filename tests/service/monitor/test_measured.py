"""Every metric that the Grafana dashboard asks for is one that a service gives, and none of them can name anybody."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from models.model import Model
from models.reference import Reference
from service import queues
from service.metrics import Metrics
from service.monitor import golden, measured, passes
from service.site import Site
from service.store.ledger import counts
from service.store.monitoring import states
from service.store.store import Store
from tests.make_weeks import add_weeks, monday_before
from tests.service.monitor.conftest import USUAL
from tests.service.monitor.test_passes import NOW

DASHBOARD = Path(golden.__file__).with_name("grafana.json")


@pytest.fixture
def text(store: Store, model: Model, reference: Reference, site: Site, monkeypatch: pytest.MonkeyPatch) -> str:
    """What /metrics says of a store after some weeks."""
    monkeypatch.setattr("service.monitor.references.shipped_reference", lambda _: reference)
    add_weeks(store, model.manifest, reference, USUAL, first=monday_before(NOW.date(), 4), weeks=5, zone=site.device.zone,
              rng=np.random.default_rng(1))
    passes.check(store, site, [model], now=NOW)
    with store.session() as session:
        golden.golden.add_run(session, model.id, checked=4, changed=0, detail={"faults": []})
        golden.alarms.ring(session, model.id, "latency", "seconds", {})
    metrics = Metrics()
    metrics.count(model.id, "scored", "", 0.1)
    found = queues.text({**counts(store), "watched": states(store), "jobs": {"queued": 1}, "deliveries": {"PACS": {"queued": 1}}})
    return (metrics.text() + found + measured.text(store)).decode()


def test_the_dashboard_asks_for_metrics_that_are_there_with_labels_that_they_have(text: str) -> None:
    series: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#") and (found := re.match(r"(\w+)(?:\{(.*)\})? ", line)):
            series.setdefault(found[1], set()).update(re.findall(r'(\w+)="', found[2] or ""))
    told = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in told["panels"] for target in panel["targets"]]
    asked += [one["definition"] for one in told["templating"]["list"] if "definition" in one]
    assert len(asked) >= 14
    for expression in asked:
        names = re.findall(r"\bdiaphane_\w+", expression)
        assert names, expression
        for name in names:
            assert name in series, (name, expression)
            for label in re.findall(rf"{name}\{{(\w+)", expression):
                assert label in series[name], (label, expression)
        for by in re.findall(r"by \(([\w, ]+)\)", expression):
            assert {one.strip() for one in by.split(",")} <= set().union(*(series[name] for name in names)), expression


def test_the_dashboard_is_of_the_form_that_grafana_loads() -> None:
    told = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert {"title", "uid", "panels", "templating", "schemaVersion", "time"} <= set(told)
    assert told["schemaVersion"] >= 36
    numbers = [panel["id"] for panel in told["panels"]]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    cells: set[tuple[int, int]] = set()
    for panel in told["panels"]:
        assert panel["type"] in ("stat", "timeseries")
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        mine = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not mine & cells, panel["title"]
        cells |= mine
        assert [target["refId"] for target in panel["targets"]] == ["A", "B", "C", "D"][: len(panel["targets"])]
        for target in panel["targets"]:
            assert target["expr"].count("(") == target["expr"].count(")")
            assert target["expr"].count("{") == target["expr"].count("}")
    assert {one["name"] for one in told["templating"]["list"]} == {"datasource", "release"}


def test_what_is_measured_is_bounded_and_names_nobody(text: str, model: Model) -> None:
    mine = [line for line in text.splitlines() if re.match(r"diaphane_(drift|watch|alarms|agreement|alert|golden|result_)", line)]
    assert len([line for line in mine if line.startswith("diaphane_drift_psi")]) <= measured.STREAMS
    assert f'diaphane_alarms{{kind="latency",release="{model.id}"}} 1.0' in text
    assert f'diaphane_golden_checked{{release="{model.id}"}} 4.0' in text
    assert re.search(r"diaphane_agreement_share\{.*\} 0\.\d", text)
    for line in mine:
        assert not re.search(r"Ward|CANARI|TEST", line)
