"""Weeks of one release, and what stands out of them: the nouns of the monitor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from service.monitor.tally import Tally

Kind = Literal["input_drift", "output_drift", "refusals", "agreement", "precision", "latency", "golden"]
KINDS: tuple[Kind, ...] = ("input_drift", "output_drift", "refusals", "agreement", "precision", "latency", "golden")


@dataclass(frozen=True)
class Signal:
    """One thing that is not as it was. ``detail`` holds numbers alone: expected, seen, n, and what it was judged by."""

    kind: Kind
    stream: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Said:
    """Verdicts of one week: how many were given, and how many of them contradict; by subgroup too. ``alerts``: on what was raised."""

    given: int = 0
    against: int = 0
    alerts: int = 0
    alerts_against: int = 0
    groups: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # "department: Ward A" → (against, given)


@dataclass(frozen=True)
class Week:
    """One closed week, by the ISO date of its Monday."""

    monday: str
    tally: Tally
    said: Said = Said()
