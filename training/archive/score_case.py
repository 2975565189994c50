"""One case to one row: read it, score it, and say what became of it. The same function in every engine, and in one process."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from models.errors import UnusableInput
from models.manifest import Manifest
from models.model import Model
from models.prediction import Prediction, Result
from models.session import SessionOptions
from training.archive.cases import ArchiveAway, Case, Opened, hashed
from training.archive.plan import Plan
from training.archive.scored import Names, Row
from training.archive.source import source_of
from training.archive.table import OLDEST_YEARS

MEMORY, WORKER_DIED, TIME = "memory_limit", "worker_died", "time_limit"


@dataclass(frozen=True)
class Outcome:
    """What became of one case: its row, or why it has none yet (``lost``: worker_died or time_limit)."""

    case: str
    row: Row | None = None
    seconds: float = 0.0
    kept: str = ""  # of a copy: kept, held_back or not_possible
    lost: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        row = None if self.row is None else json.loads(self.row.to_line())
        return {"case": self.case, "row": row, "seconds": self.seconds, "kept": self.kept, "lost": self.lost}


def outcome_of(told: Mapping[str, Any]) -> Outcome:
    """Return the outcome that was written."""
    return Outcome(**{**told, "row": None if told["row"] is None else Row(**told["row"])})


class Scorer:
    """A release, opened once, with the way to its cases."""

    def __init__(self, plan: Plan, names: Names) -> None:
        """Raises BrokenModel for a release that is not sound."""
        self.plan, self.names = plan, names
        self.model = Model(Path(plan.release), SessionOptions(threads=1))
        self.source = source_of(plan, names)

    def close(self) -> None:
        """Let go of the archive."""
        self.source.close()

    def score(self, case: Case) -> Outcome:
        """Return the outcome of one case; nothing of it raises but what ends the process."""
        started = perf_counter()
        opened: Opened | None = None
        kept = ""
        try:
            if case.bad:
                raise UnusableInput("found when the list was made", code=case.bad)
            opened = self.source.open(case.where)
            row = row_of_result(case, opened, self.model.predict(opened.input), self.model, self.names)
            if self.plan.keep_images:
                from training.archive import copies  # noqa: PLC0415  what de-identifies takes half a second to import

                kept = copies.keep(case, opened, Path(self.plan.out), self.names)
        except (UnusableInput, ArchiveAway) as error:
            row = self._failed(case, opened, error.code)
        except MemoryError:
            row = self._failed(case, opened, MEMORY)
        except Exception as error:  # whatever a file does to a reader, it is one case that failed; a message could quote it
            row = self._failed(case, opened, f"error_{type(error).__name__}")
        return Outcome(case.case, row, perf_counter() - started, kept)

    def _failed(self, case: Case, opened: Opened | None, code: str) -> Row:
        return failed(case, self.model.id, code, opened, self.names)


def failed(case: Case, model: str, code: str, opened: Opened | None = None, names: Names | None = None) -> Row:
    """Return the row of a case that has no result."""
    ids = (hashed(opened.ids, names) if opened and names else {}) | case.ids
    attributes = ({} if opened is None else opened.attributes) | case.attributes
    return Row(case.case, _group(case, ids), ids, model, "failed", code, attributes=attributes)


def row_of_result(case: Case, opened: Opened, result: Result, model: Model, names: Names) -> Row:
    """Return the row of a result. What was listed stays: a table or a PACS may have corrected what a file says."""
    ids = hashed(opened.ids, names) | case.ids
    findings = result.findings if isinstance(result, Prediction) else ()
    return Row(
        case.case, _group(case, ids), ids, model.id, result.status,
        "" if isinstance(result, Prediction) else str(result.reason),
        values=_finite({one.name: one.value for one in findings}),
        logits=_finite({one.name: one.logit for one in findings if one.logit is not None}),
        statistics=_pooled(_finite(result.input_statistics), ages_of(model.manifest)),
        quality=_finite(result.quality),
        attributes=opened.attributes | case.attributes,
    )


def ages_of(manifest: Manifest) -> frozenset[str]:
    """Return the names of the statistics that are ages."""
    return frozenset(f"feature.{one.name}" for one in manifest.features if one.params.get("code") == "age_years")


def _group(case: Case, ids: Mapping[str, str]) -> str:
    return ids.get("patient") or case.group


def _pooled(statistics: dict[str, float], ages: frozenset[str]) -> dict[str, float]:
    """Return statistics in which the oldest are told as one group, as in attributes."""
    return {name: min(value, OLDEST_YEARS + 1.0) if name in ages else value for name, value in statistics.items()}


def _finite(figures: Mapping[str, float]) -> dict[str, float]:
    """Return what JSON can hold; what is no number is missing."""
    return {name: float(value) for name, value in figures.items() if math.isfinite(value)}
