"""A Record as JSON and back, exactly: what was scored can be scored again, to the last bit.

    {"origin": "2026-03-01T08:00:00+00:00", "static": {"age_years": 70.0}, "events": {"HR": {"minutes": [0.0], "values": [80.0]}}}

Values are in our units (models.codes.unit_of). A static value that is not known is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import isinf, isnan, nan
from typing import Any

import numpy as np

from models.errors import UnusableInput
from models.record import Record, Series

Json = dict[str, Any]


def record_to_json(record: Record) -> Json:
    """Return everything a record holds. Raises UnusableInput for a static value that JSON cannot hold (infinity)."""
    seen = record.up_to(record.latest_minute)  # everything
    if any(isinf(value) for value in seen.static.values()):
        raise UnusableInput("What does not change must be a number or not known, found infinity. Leave it out.", code="not_finite")
    return {
        "origin": None if record.origin is None else record.origin.isoformat(),
        "static": {name: None if isnan(value) else float(value) for name, value in seen.static.items()},
        "events": {
            code: {"minutes": one.minutes.tolist(), "values": one.values.tolist()}
            for code, one in ((code, seen.series(code)) for code in sorted(seen.codes))
        },
    }


def record_of_json(told: Mapping[str, Any]) -> Record:
    """Return the record that was written. Raises UnusableInput when it is none; keys that are not ours are left alone."""
    try:
        series = {
            str(code): Series(np.array(one["minutes"], dtype=np.float64), np.array(one["values"], dtype=np.float64))
            for code, one in told["events"].items()
        }
        static = {str(name): nan if value is None else float(value) for name, value in told["static"].items()}
        origin = None if told["origin"] is None else datetime.fromisoformat(told["origin"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UnusableInput("A record must hold origin, static and events as record_to_json writes them, found something else.",
                            code="bad_record") from None
    return Record(series, static, origin)
