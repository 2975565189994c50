"""Gaps worked out of evaluation.json alone, where the cases are not at hand: approximate, and said to be."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from math import isfinite, sqrt
from pathlib import Path
from typing import Any

from models.manifest import read_manifest
from training import fairness
from training import recipe as recipes
from training.fairness import Gap, Tolerance
from training.prediction_sets import Aim

Row = dict[str, Any]
NOT_GROUPS = frozenset({"population", "external"})
OF_EVENTS = {"sensitivity": "events", "specificity": "others"}
FIGURES = ("auroc", "sensitivity", "specificity", "within_20_percent", "coverage")


def proof_published(folder: Path, table: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return gaps of a release from its published figures, in the form of ``training.proof.proof_of``.

    The rest's share follows exactly from the counts; its AUROC is the mean of the other groups, weighted by cases; widths
    of intervals add as if groups were independent. There is no coverage of prediction sets: that takes the cases.
    """
    manifest = read_manifest(folder)
    evaluation = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    raw = table if table is not None else recipes.read(manifest.name).raw if manifest.name in recipes.names() else {}
    rule = Tolerance.of(raw.get("fairness"))
    found = _gaps(evaluation.get("rows", []), manifest.outputs[0].name, rule)
    seen = {gap.by for gap in found}
    return {
        "schema_version": "1", "release": manifest.id, "onnx_sha256": manifest.files.get("model.onnx", ""),
        "made_at": datetime.now(UTC).date().isoformat(), "from": "published figures",
        "method": {"interval": "approximate 95 %, from the published intervals, as if groups were independent",
                   "resamples": 0, "seed": 0, "comparisons": sum(gap.verdict != "too_few" for gap in found), "correction": "none"},
        "tolerance": rule.as_json(), "aim": vars(Aim.of(raw.get("prediction_sets"))), "gaps": [gap.as_json() for gap in found],
        "missing": [f"{by}: no figures by it, so nothing can be said of it" for by in rule.expected
                    if not any(by == name.split()[0] for name in seen)],
        "blocking": [gap.said for gap in fairness.beyond(found, rule)], "prediction_sets": [], "coverage_failing": [],
        "sets_are_released": "prediction_sets" in raw,
    }


def _gaps(rows: list[Row], first: str, rule: Tolerance) -> list[Gap]:
    found = []
    for row in rows:
        if row["by"] in NOT_GROUPS or row["by"] in rule.left_out:
            continue
        output = row.get("output", first)
        whole = next(one for one in rows if one["by"] == "population" and one.get("output", first) == output)
        others = [one for one in rows if one["by"] == row["by"] and one.get("output", first) == output and one is not row]
        found += [_gap(output, name, row, whole, others, rule) for name in FIGURES if name in whole["figures"]]
    return found


def _gap(output: str, name: str, row: Row, whole: Row, others: list[Row], rule: Tolerance) -> Gap:
    limit = rule.limits[name]
    own = row["figures"].get(name) or {}
    rest, spread = _rest(name, row, whole, others)
    group = str(row["group"]).split(":")[0]
    value = own.get("value")
    gap = low = high = None
    if value is not None and own.get("low") is not None and rest is not None and _count(row, name) >= rule.min_cases:
        gap = value - rest
        half = 1.96 * sqrt(((own["high"] - own["low"]) / 3.92) ** 2 + spread**2)
        low, high = gap - half, gap + half
    verdict = fairness.judged(name, gap, low, high, limit)
    who = f"{output}, {row['by']} {group}"
    said = (f"{who}: too few to say anything of {name}." if verdict == "too_few" else
            f"{who}: {name} {gap:+.3f} against the rest (about {low:+.3f} to {high:+.3f}); tolerance {limit:g}.")
    return Gap(output, row["by"], group, name, row["n"], row["patients"], row["events"], value, rest, gap, low, high, limit, verdict,
               said, "approximate, from published figures")


def _rest(name: str, row: Row, whole: Row, others: list[Row]) -> tuple[float | None, float]:
    """Return the figure of everybody else and its standard error."""
    all_, n = _count(whole, name), _count(row, name)
    figure, own = whole["figures"][name], row["figures"].get(name) or {}
    if figure["value"] is None or own.get("value") is None or all_ <= n or figure["low"] is None:
        return None, 0.0
    spread = (figure["high"] - figure["low"]) / 3.92 * sqrt(all_ / (all_ - n))
    if name != "auroc":
        return (figure["value"] * all_ - own["value"] * n) / (all_ - n), spread
    known = [(one["figures"]["auroc"]["value"], one["n"]) for one in others
             if (one["figures"].get("auroc") or {}).get("value") is not None]
    weight = sum(count for _, count in known)
    mean = sum(value * count for value, count in known) / weight if weight else float("nan")
    return (mean, spread) if isfinite(mean) else (None, 0.0)


def _count(row: Row, name: str) -> int:
    """Return how many cases a figure is a figure of."""
    events = row["events"] or 0
    return int({"events": events, "others": row["n"] - events}.get(OF_EVENTS.get(name, ""), row["n"]))
