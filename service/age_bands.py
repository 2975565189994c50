"""Age bands: what figures are counted by in place of an age, which could point at one person."""

from __future__ import annotations

AGE_BANDS = ((2, "0-1"), (18, "2-17"), (45, "18-44"), (65, "45-64"), (80, "65-79"), (200, "80+"))


def age_band(age_years: float | None) -> str:
    """Return the band of an age, "" of none.

    >>> age_band(1.5), age_band(80), age_band(None)
    ('0-1', '80+', '')
    """
    if age_years is None or not age_years >= 0:
        return ""
    return next((name for limit, name in AGE_BANDS if age_years < limit), "")
