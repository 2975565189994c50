"""Clusters of this machine: they score as one process does, and let in nobody else, for whoever reaches them could run code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from models.errors import BrokenModel
from tests.make import ROOT
from tests.training.archive.conftest import NAMES, fill
from training.archive import child
from training.archive.cases import Case, case_of
from training.archive.engines import Local, NoEngine, OnDask, OnRay
from training.archive.plan import Plan
from training.archive.score import plan_for
from training.archive.source import source_of

# Starts a cluster as --engine does, scores three cases, and then lets a stranger knock who knows the address alone.
PROGRAM = """
import json, os, subprocess, sys
from pathlib import Path
from training.archive.cases import case_of_line
from training.archive.engines import ENGINES
from training.archive.plan import plan_of
name, folder = sys.argv[1], Path(sys.argv[2])
ENTER = {
    "dask": "from distributed import Client; Client(sys.argv[1], timeout=5); print('in')",
    "ray": "import ray; ray.init(address=sys.argv[1], logging_level=50); print('in')",
}
if __name__ == "__main__":
    cases = [case_of_line(line) for line in (folder / "cases").read_text().splitlines()]
    stranger = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    with ENGINES[name](plan_of(json.loads((folder / "plan").read_text())), bytes(range(32)), 1, "") as engine:
        print(json.dumps([one.row.status for one in engine.run(cases)]))
        address = engine._cluster.scheduler_address if name == "dask" else engine._ray.get_runtime_context().gcs_address
        program = [sys.executable, "-c", "import sys; " + ENTER[name], address]
        done = subprocess.run(program, env=stranger, capture_output=True, text=True)
        print(json.dumps([done.returncode != 0, done.stdout]))
"""


@pytest.fixture
def plan(chest: Path, tmp_path: Path) -> Plan:
    return plan_for(chest, str(fill(tmp_path / "pacs", 3)), tmp_path / "rows")


@pytest.fixture
def cases(plan: Plan) -> list[Case]:
    with closing(source_of(plan, NAMES)) as source:
        return [case_of(one, NAMES) for one in source.find(lambda _: None)]


@pytest.mark.parametrize(("engine", "module"), [(OnDask, "distributed"), (OnRay, "ray")])
def test_an_engine_that_is_not_installed_says_how_to_install_it(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, engine: type[OnDask | OnRay], module: str
) -> None:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED"):
        monkeypatch.setenv(name, "")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(NoEngine, match="pip install"):
        engine(plan, NAMES.key, 1)


@pytest.mark.slow
def test_a_release_that_is_no_longer_sound_ends_the_run_and_names_no_case(
    plan: Plan, cases: list[Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "START_PAUSES_S", (0.0,))
    graph, away = Path(plan.release) / "model.onnx", Path(plan.release).parent / "model.onnx"
    graph.rename(away)
    try:
        with Local(plan, NAMES.key, 1) as engine, pytest.raises(BrokenModel, match=r"model\.onnx") as found:
            list(engine.run(cases))
    finally:
        away.rename(graph)
    assert "SECRET" not in str(found.value)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_a_cluster_of_this_machine_scores_and_lets_no_stranger_in(plan: Plan, cases: list[Case], tmp_path: Path, engine: str) -> None:
    pytest.importorskip({"dask": "distributed", "ray": "ray"}[engine])
    (tmp_path / "plan").write_text(json.dumps(plan.to_json()))
    (tmp_path / "cases").write_text("\n".join(case.to_line() for case in cases))
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py"), engine, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert 0 == done.returncode, done.stderr
    assert [["scored"] * 3, [True, ""]] == [json.loads(line) for line in done.stdout.splitlines()[-2:]]
