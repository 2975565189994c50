"""NHS A&E attendances by provider and month (England, 2016-04 to 2019-03): the table, and what a forecast looks back on."""

from __future__ import annotations

import csv
import gzip
import hashlib
from calendar import monthrange
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.manifest import sha256_of

FILE = "clinical/ed/nhs_ae_monthly/ae_attendances.csv.gz"
MAJOR = "1"  # consultant-led departments, open day and night
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Attendances:
    """``counts`` (providers, months) of departments that reported every month; ``months`` as (year, month), in order."""

    counts: Array
    months: tuple[tuple[int, int], ...]

    @property
    def days(self) -> Array:
        """Count the days of every month (months,)."""
        return np.array([monthrange(year, month)[1] for year, month in self.months], dtype=np.float64)


def attendances(root: Path) -> Attendances:
    """Read the providers of major departments without a gap. Raises FileNotFoundError without the data."""
    by_provider: dict[str, dict[tuple[int, int], float]] = {}
    with gzip.open(root / FILE, "rt", encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["type"] == MAJOR:
                month = (int(row["period"][:4]), int(row["period"][5:7]))
                by_provider.setdefault(row["org_code"], {})[month] = float(row["attendances"])
    months = tuple(sorted({month for series in by_provider.values() for month in series}))
    whole = [
        [series[month] for month in months]
        for _, series in sorted(by_provider.items()) if all(series.get(month, 0) > 0 for month in months)
    ]
    return Attendances(np.array(whole), months)


def data_sha256(root: Path) -> str:
    """Return the hash of the one file that is read."""
    return hashlib.sha256(sha256_of(root / FILE).encode()).hexdigest()
