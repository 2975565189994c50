"""What an evaluation found, before it becomes JSON or a report: rows of figures, bars, curves, audits, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import ge, le, lt
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULES: dict[str, Callable[[float, float], bool]] = {">=": ge, "<=": le, "<": lt}


@dataclass(frozen=True)
class Picture:
    """A real case for the local report: an image (rows, columns), and a map or mask of the same shape over it."""

    group: str
    caption: str
    image: NDArray[np.floating]
    overlay: NDArray[np.floating] | None = None
    outlines: tuple[NDArray[np.bool_], ...] = ()


@dataclass(frozen=True)
class Assessment:
    """All that one evaluation says. Everything but ``pictures`` goes into evaluation.json.

    ``rows``: populations and subgroups, each with its figures; the first is the main one. ``bars``: what had to be
    reached and whether it was. ``unknown``: subgroups the data cannot tell apart.
    """

    title: str
    rows: list[dict[str, Any]]
    bars: list[dict[str, Any]]
    curves: dict[str, Any] = field(default_factory=dict)
    confusion: dict[str, Any] = field(default_factory=dict)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    audits: dict[str, Any] = field(default_factory=dict)
    references: list[dict[str, Any]] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def bar(name: str, rule: str, limit: float, figure: Mapping[str, Any]) -> dict[str, Any]:
    """State one bar: met when the value (not its interval) keeps the rule; a value that is not there does not."""
    value = figure.get("value")
    met = value is not None and bool(np.isfinite(value)) and RULES[rule](float(value), limit)
    return {"name": name, "rule": rule, "bar": limit, "value": value, "low": figure.get("low"),
            "high": figure.get("high"), "met": met}


def between(name: str, low: float, high: float, figure: Mapping[str, Any]) -> dict[str, Any]:
    """State a bar with two sides."""
    value = figure.get("value")
    met = value is not None and low <= float(value) <= high
    return {"name": name, "rule": "within", "bar": [low, high], "value": value, "low": figure.get("low"),
            "high": figure.get("high"), "met": met}
