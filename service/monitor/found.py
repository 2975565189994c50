"""Found: the figures of one pass over one release, as they are kept for the page, /metrics and the banner over results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.reference import Reference
from models.statistics.drift import benjamini_hochberg, ewma, laney_limits, shewhart_limits
from service.monitor.judged import EMBEDDING, LEAST, compare, windows_of
from service.monitor.references import Referred
from service.monitor.shares import baseline_of, pair_of, parted_of
from service.monitor.tally import Tally, added, quantile_of
from service.monitor.weeks import Signal, Week

SHOWN_WEEKS = 26
NOTABLE = 0.05  # false discovery rate of the streams a report lists
Json = dict[str, Any]


def found_of(referred: Referred, weeks: Sequence[Week], running: Tally, signals: Sequence[Signal]) -> Json:
    """Return all figures of a release. A stream's change is that of the last window, or of the running days while there is none."""
    shown = list(weeks[-SHOWN_WEEKS:])
    said = [week.said for week in weeks]
    given, alerts = sum(one.given for one in said), sum(one.alerts for one in said)
    seconds = running.latency or (added(week.tally for week in weeks[-4:]).latency if weeks else running.latency)
    return {
        "reference": {"source": referred.source, "made_from": referred.reference.made_from if referred.reference else "",
                      "n": referred.reference.n if referred.reference else 0},
        "last_7_days": {"n": running.n, "refused": running.refused, "failed": running.statuses.total() - running.n},
        "weeks": len(weeks),
        "streams": _streams(referred.reference, weeks, running) if referred.reference else [],
        "signals": [{"kind": one.kind, "stream": one.stream, **one.detail} for one in signals],
        "charts": _charts(referred.reference, weeks, shown),
        "agreement": {"given": given, "agreed": given - sum(one.against for one in said), "groups": _groups(weeks)},
        "precision": {"alerts": alerts, "right": alerts - sum(one.alerts_against for one in said)},
        "seconds": {"p50": quantile_of(seconds, 0.5), "p95": quantile_of(seconds, 0.95)},
        "groups": {by: dict(counts.most_common(12)) for by, counts in running.groups.items()},
        "reasons": dict(running.reasons.most_common(8)),
    }


def _streams(reference: Reference, weeks: Sequence[Week], running: Tally) -> list[Json]:
    """Return every stream's change, the largest first, and whether it is notable after Benjamini and Hochberg."""
    windows = windows_of(weeks, 1) or ([running] if running.n >= LEAST else [])
    if not windows:
        return []
    compared = compare(reference, windows[-1])
    p = {name: one.p for name, one in compared.changes.items()}
    notable = benjamini_hochberg(p)
    rows: list[Json] = [
        {"stream": name, "psi": round(one.excess_psi, 4), "ks": round(one.ks, 4), "p": one.p, "n": one.n,
         "notable": notable[name] < NOTABLE}
        for name, one in compared.changes.items()
    ]
    rows.sort(key=lambda row: -row["psi"])
    if compared.together is not None:
        share, p_together = compared.together
        rows.insert(0, {"stream": EMBEDDING, "mmd": round(share, 4), "p": p_together, "n": windows[-1].embedded})
    return rows


def _charts(reference: Reference | None, weeks: Sequence[Week], shown: Sequence[Week]) -> list[Json]:
    """Return control charts: refusals, positives, what people said, and the mean of every output and of the image."""
    skipped = len(weeks) - len(shown)
    charts = [_share_chart("refused", "", reference, weeks, skipped)]
    charts += [_share_chart(f"positive.{name}", name, reference, weeks, skipped)
               for name in sorted({name for week in weeks for name in week.tally.positives})]
    for kind, pairs in (("agreement", [(week.said.given - week.said.against, week.said.given) for week in weeks]),
                        ("precision", [(week.said.alerts - week.said.alerts_against, week.said.alerts) for week in weeks])):
        first = parted_of(pairs)
        hits, n = first[:2] if first is not None else (sum(hit for hit, _ in pairs), sum(n for _, n in pairs))
        if n:
            charts.append(_chart(kind, [week.monday for week in shown], pairs[skipped:], hits / n))
    for stream in reference.streams if reference is not None else ():
        if stream.name.startswith("output.") or stream.name in ("input.mean", "input.sd", "input.sharpness"):
            seen = [week.tally.streams.get(stream.name) for week in shown]
            totals = [float(one.n) if one is not None else 0.0 for one in seen]
            means = [one.mean if one is not None else None for one in seen]
            limits = shewhart_limits(stream.mean, stream.sd, totals, max(1, sum(stream.counts[:-1])))
            known = [mean for mean in means if mean is not None]
            charts.append(_drawn(f"mean.{stream.name}", [week.monday for week in shown], means, totals, limits, stream.mean,
                                 ewma(known, stream.mean)[-1] if known else None))
    return [one for one in charts if one is not None]


def _share_chart(name: str, output: str, reference: Reference | None, weeks: Sequence[Week], skipped: int) -> Json | None:
    base = baseline_of(reference, weeks, output)
    if base is None or not base[1]:
        return None
    pairs = [pair_of(week.tally, output) for week in weeks]
    return _chart(name, [week.monday for week in weeks[skipped:]], pairs[skipped:], base[0] / base[1])


def _chart(name: str, mondays: list[str], pairs: Sequence[tuple[int, int]], centre: float) -> Json:
    hits, totals = [float(hit) for hit, _ in pairs], [float(n) for _, n in pairs]
    shares = [hit / n if n else None for hit, n in pairs]
    return _drawn(name, mondays, shares, totals, laney_limits(hits, totals, centre), centre, None)


def _drawn(name: str, mondays: list[str], values: Sequence[float | None], totals: Sequence[float],
           limits: Sequence[tuple[float, float]], centre: float, average: float | None) -> Json:
    return {
        "name": name, "centre": centre, "average": average,
        "points": [
            {"week": monday, "value": value, "n": int(n), "low": low if n else None, "high": high if n else None}
            for monday, value, n, (low, high) in zip(mondays, values, totals, limits, strict=True)
        ],
    }


def _groups(weeks: Sequence[Week]) -> dict[str, list[int]]:
    """Return group → [agreed, given] over all weeks."""
    found: dict[str, list[int]] = {}
    for week in weeks:
        for name, (against, given) in week.said.groups.items():
            row = found.setdefault(name, [0, 0])
            row[0], row[1] = row[0] + given - against, row[1] + given
    return dict(sorted(found.items()))
