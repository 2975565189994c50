"""Tracking is off unless it is asked for, stays on this machine, and holds what a run was given and what came of it."""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.make_data import radiograph_data, radiograph_recipe
from training import tracking
from training.tracking import tracked


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(tracking.PLACE, raising=False)


def test_without_being_asked_nothing_is_written_or_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # importing it would fail
    with tracked("fit", "icu", folder=tmp_path / "mlruns") as run:
        run.params({"rate": 0.1})
        run.figures({"loss": 0.5}, step=1)
        run.file(tmp_path / "none")
    assert [] == list(tmp_path.iterdir())


def test_asked_for_and_not_installed_says_how_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ModuleNotFoundError, match=r"diaphane\[tracking\]"), tracked("fit", "icu", wanted=True, folder=tmp_path):
        pass


def test_a_place_of_somebody_elses_does_not_stop_a_fit_where_mlflow_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv(tracking.PLACE, "sqlite:////nowhere/mlflow.db")
    with tracked("fit", "icu") as run:
        run.figures({"loss": 0.5})


@pytest.mark.slow
def test_a_fit_leaves_its_parameters_and_the_figures_of_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    from training.fit import fit

    monkeypatch.setenv(tracking.PLACE, f"sqlite:///{tmp_path / 'mlflow.db'}")
    fit(radiograph_recipe(), tmp_path / "run", radiograph_data(tmp_path / "data"), threads=1)
    with sqlite3.connect(tmp_path / "mlflow.db") as kept:
        params = dict(kept.execute("SELECT key, value FROM params").fetchall())
        losses = kept.execute("SELECT step, value FROM metrics WHERE key = 'loss' ORDER BY step").fetchall()
        names = kept.execute("SELECT name FROM experiments").fetchall()
        status = kept.execute("SELECT status FROM runs").fetchall()
    assert radiograph_recipe().sha256 == params["recipe_sha256"]
    assert [1, 2, 3] == [step for step, _ in losses]
    assert ("diaphane fit",) in names
    assert [("FINISHED",)] == status


@pytest.mark.slow
def test_by_default_it_is_a_file_under_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra 'tracking' is not installed")
    (tmp_path / "report.json").write_text("{}")
    with tracked("refit", "icu-1.0.0", wanted=True, folder=tmp_path / "mlruns") as run:
        run.params({"long": "x" * 2000, "fits": {"died": "weights"}})
        run.figures({"auroc": 0.8, "none": None, "nan": float("nan"), "flag": True})
        run.file(tmp_path / "report.json")
        with tracked("fit", "icu", folder=tmp_path / "elsewhere") as part:
            part.figures({"loss": 0.5})
    assert tracking.PLACE not in os.environ
    assert not (tmp_path / "elsewhere").exists()
    with sqlite3.connect(tmp_path / "mlruns" / "mlflow.db") as kept:
        assert {"auroc", "loss"} == {one for (one,) in kept.execute("SELECT DISTINCT key FROM metrics")}
    assert list((tmp_path / "mlruns" / "files").rglob("report.json"))
