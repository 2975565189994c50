"""How often professionals of this site agree with a model: by version, month, sex, age and department, each with its interval.

One verdict a result counts: the one in force. A share of few says little, so each comes with Wilson's interval of 95 %
(https://doi.org/10.1080/01621459.1927.10502953), and groups too small to say anything of anybody are not shown apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import sqrt

from service.assessment import DECISIONS, Decision
from service.store import verdicts
from service.store.store import Store
from service.store.verdicts import Settled

Z_95 = 1.959964
LEAST = 5  # results of a group: fewer may point at one person
MONTHS = 24


@dataclass(frozen=True)
class Share:
    """How many of ``total``, with the interval in which the long-run share lies."""

    count: int
    total: int
    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Group:
    """The verdicts of one group: agree, correct and reject."""

    name: str
    total: int
    shares: dict[Decision, Share]


@dataclass(frozen=True)
class Agreement:
    """All figures of one model. ``left_out`` counts results in groups too small to be shown."""

    overall: Group
    releases: tuple[Group, ...]
    months: tuple[Group, ...]
    subgroups: dict[str, tuple[Group, ...]]  # sex, age, department
    left_out: int


def agreement_of(store: Store, model: str, *, zone: tzinfo | None = None, since: float = 0.0) -> Agreement | None:
    """Return the figures of a model by its name without version; None when nobody has given a verdict."""
    found = verdicts.settled(store, model, since=since)
    return agreement(found, zone=zone) if found else None


def agreement(found: Sequence[Settled], *, zone: tzinfo | None = None) -> Agreement:
    """Count verdicts that stand."""

    def by_month(one: Settled) -> str:
        return datetime.fromtimestamp(one.made_at, UTC).astimezone(zone).strftime("%Y-%m")

    def counted(name: str) -> Callable[[Settled], str]:
        return lambda one: str(one.counted_by.get(name, ""))

    subgroups = {name: _groups(found, counted(name)) for name in ("sex", "age", "department")}
    shown = {name: tuple(one for one in groups if one.total >= LEAST and one.name) for name, groups in subgroups.items()}
    left_out = sum(one.total for groups in subgroups.values() for one in groups if one.total < LEAST and one.name)
    return Agreement(group("", found), _groups(found, lambda one: one.release), _groups(found, by_month)[-MONTHS:], shown, left_out)


def group(name: str, found: Iterable[Settled]) -> Group:
    """Count the verdicts of one group."""
    counts = Counter(one.decision for one in found)
    total = counts.total()
    return Group(name, total, {decision: wilson(counts[decision], total) for decision in DECISIONS})


def wilson(count: int, total: int) -> Share:
    """Return a share with Wilson's interval.

    >>> (round(wilson(9, 10).low, 3), round(wilson(9, 10).high, 3))
    (0.596, 0.982)
    """
    if total == 0:
        return Share(0, 0, 0.0, 0.0, 1.0)
    share, square = count / total, Z_95**2 / total
    centre = (share + square / 2) / (1 + square)
    reach = Z_95 / (1 + square) * sqrt(share * (1 - share) / total + square / (4 * total))
    return Share(count, total, share, max(0.0, centre - reach), min(1.0, centre + reach))


def _groups(found: Sequence[Settled], name_of: Callable[[Settled], str]) -> tuple[Group, ...]:
    named: dict[str, list[Settled]] = {}
    for one in found:
        named.setdefault(name_of(one), []).append(one)
    return tuple(group(name, ones) for name, ones in sorted(named.items()))
