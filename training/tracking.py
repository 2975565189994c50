"""Tracking: what a fit, a refit or a commissioning was given and what came of it, in MLflow. Off unless it is asked for.

It is on with ``--track``, or where MLFLOW_TRACKING_URI names a place; without a place it is a SQLite file under out/mlruns (files
in folders are no longer kept up by MLflow 3). Nothing leaves the machine then, and MLflow's own telemetry is switched off.
See it with: mlflow ui --backend-store-uri sqlite:///out/mlruns/mlflow.db (of the full package mlflow).
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLACE = "MLFLOW_TRACKING_URI"
_SILENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false"}
_LONGEST = 500  # characters of a parameter that MLflow keeps


@dataclass(frozen=True)
class Run:
    """One run. Without MLflow every method does nothing, so callers need not ask."""

    mlflow: Any = None

    def params(self, told: Mapping[str, Any]) -> None:
        """Write what the run was given: names to anything JSON can hold."""
        if self.mlflow is not None and told:
            self.mlflow.log_params({name: _short(value) for name, value in told.items()})

    def figures(self, told: Mapping[str, Any], *, step: int | None = None) -> None:
        """Write what came of it, of an epoch where ``step`` says which; what is no finite number is left out."""
        known = {name: float(value) for name, value in told.items()
                 if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)}
        if self.mlflow is not None and known:
            self.mlflow.log_metrics(known, step=step)

    def file(self, path: Path) -> None:
        """Keep a copy of a file with the run."""
        if self.mlflow is not None and path.is_file():
            self.mlflow.log_artifact(str(path))


@contextmanager
def tracked(kind: str, name: str, *, wanted: bool = False, folder: Path = ROOT / "out" / "mlruns") -> Iterator[Run]:
    """Open a run called ``name`` in the experiment ``diaphane KIND``. Raises ModuleNotFoundError where it is wanted and not there."""
    if not (wanted or os.environ.get(PLACE)):
        yield Run()
        return
    for variable, value in _SILENT.items():
        os.environ.setdefault(variable, value)
    try:
        import mlflow  # noqa: PLC0415  an optional extra
    except ModuleNotFoundError:
        if wanted:
            raise ModuleNotFoundError("Tracking needs MLflow: pip install 'diaphane[tracking]'.", name="mlflow") from None
        yield Run()  # the variable may be somebody else's
        return
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    inside, named = mlflow.active_run() is not None, os.environ.get(PLACE)  # a fit that a refit began is a part of it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow and what it is made of, not ours
        if not inside:
            _open(mlflow, f"diaphane {kind}", folder)
        try:
            with mlflow.start_run(run_name=name, log_system_metrics=False, nested=inside):
                yield Run(mlflow)
        finally:
            if not inside and named is None:  # MLflow puts the place into the environment, where the next run would find it
                os.environ.pop(PLACE, None)


def _open(mlflow: Any, experiment: str, folder: Path) -> None:
    """Choose the place and the experiment; files of runs stand beside a local database."""
    if os.environ.get(PLACE):
        mlflow.set_tracking_uri(os.environ[PLACE])
        mlflow.set_experiment(experiment)
        return
    folder.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    if mlflow.get_experiment_by_name(experiment) is None:
        mlflow.create_experiment(experiment, artifact_location=(folder / "files").as_uri())
    mlflow.set_experiment(experiment)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
