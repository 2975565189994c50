"""A record without its person: measurements by our codes are numbers already; times move, and the oldest are told as one group.

What can single somebody out beyond that, such as a rare value, stays: a set that leaves is still treated as personal data.
"""

from __future__ import annotations

from datetime import timedelta
from math import isnan

from models.codes import STATIC
from models.deidentify.pseudonym import Pseudonyms
from models.deidentify.rules import Rules
from models.record import Record

AGE = "age_years"


def deidentify_record(record: Record, rules: Rules, key: bytes, *, person: str) -> Record:
    """Return a record whose times have moved by the person's own shift, and that says only what a model may use."""
    days = Pseudonyms(key).shift_days(person)
    seen = record.up_to(record.latest_minute)
    static = {name: _pooled(value, rules) if name == AGE else value for name, value in seen.static.items() if name in STATIC}
    origin = None if record.origin is None else record.origin + timedelta(days=days)
    return Record({code: seen.series(code) for code in seen.codes}, static, origin)


def _pooled(age: float, rules: Rules) -> float:
    """Return whole years; of the oldest only that they are older."""
    return age if isnan(age) else min(float(int(age)), rules.oldest_years + 1.0)
