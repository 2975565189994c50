"""Which values a reader may give, by unit: what cannot be is refused, what is far from the model's is asked about once more."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

FAR = 3.0  # times more or less than the model gave: the mistake of a unit is a factor of 7 (day, week), 10 or 1000


@dataclass(frozen=True)
class Limits:
    """The least and the greatest value there can be."""

    low: float
    high: float


LIMITS = {  # UCUM unit → of a structure's volume, of a dose
    "mL": Limits(0.0, 3000.0), "cm3": Limits(0.0, 3000.0), "mm3": Limits(0.0, 3e6),
    "mg/wk": Limits(1.0, 210.0), "mg/d": Limits(0.1, 30.0),
}
ANY = Limits(0.0, 1e6)


def limits_of(unit: str) -> Limits:
    """Return between what a value of this unit must lie."""
    return LIMITS.get(unit, ANY)


def number_of(text: str) -> float | None:
    """Read a number as people type it, with a point or a comma; None when it is none."""
    try:
        value = float(text.strip().replace("\u202f", "").replace("\u00a0", "").replace(" ", "").replace(",", "."))
    except ValueError:
        return None
    return value if isfinite(value) else None


def is_far(value: float, of_model: float) -> bool:
    """Tell whether a value is so far from the model's that the unit may be wrong."""
    least, most = sorted((abs(value), abs(of_model)))
    return most > FAR * least and most > 0
