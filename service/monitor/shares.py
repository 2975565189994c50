"""Shares over time: refusals, positives, and what professionals contradict, each against what it was at first.

A cumulative sum of log likelihood ratios fires when it passes a limit that ordinary weeks pass less than once in ARL_WEEKS weeks.
What a baseline of few cases may truly have been is granted: the sum is taken against the bound of its interval, so that an
unlucky baseline does not alarm for ever (guaranteed conditional performance: Gandy and Kvaløy, Scand. J. Statist. 40, 2013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import log

from scipy import stats

from models.reference import Reference
from models.statistics.drift import binomial_cusum, bound_of, cusum_limit, dispersion_of
from service.monitor.tally import Tally
from service.monitor.weeks import Kind, Signal, Week

ARL_WEEKS = 156.0  # at the very bound of what the baseline may have been; at its own share the runs are several times longer
ODDS = 2.0  # what a cumulative sum is tuned to: odds twice, or half, of what they were
ODDS_PEOPLE = 2.5  # the same for what people say
FIRST_WEEKS, FIRST_RESULTS = 8, 400  # that make a site's own baseline of shares, in place of the reference's
FIRST_VERDICTS = 100
LEVEL, LEVEL_OUTPUT = 0.8, 0.99  # of the one-sided bound of a baseline
FAR = 1e-6
SHOWN_WEEKS = 4  # that a signal's share is told of
Pairs = Sequence[tuple[int, int]]  # (hits, n), one a week


def shares(reference: Reference | None, weeks: Sequence[Week], running: Tally | None) -> list[Signal]:
    """Return refusals that rose, and positives that rose or fell."""
    outputs = sorted({name for week in weeks for name in week.tally.positives})
    return [one for name in ("", *outputs) if (one := _share(reference, weeks, running, name)) is not None]


def baseline_of(reference: Reference | None, weeks: Sequence[Week], output: str = "") -> tuple[float, float, int] | None:
    """Return (hits, n, weeks that made it) of refusals, or of an output's positives: this site's first weeks, else the reference."""
    first = weeks[:FIRST_WEEKS]
    pairs = [pair_of(one.tally, output) for one in first]
    if len(first) == FIRST_WEEKS and sum(n for _, n in pairs) >= FIRST_RESULTS:
        return sum(hit for hit, _ in pairs), sum(n for _, n in pairs), FIRST_WEEKS
    if reference is None or (output and output not in reference.positive):
        return None
    n = reference.scored if output else reference.n
    return (reference.positive[output] * n if output else reference.refused), n, 0


def pair_of(tally: Tally, output: str) -> tuple[int, int]:
    """Return (refused, results), or with an output (above its threshold, shown)."""
    return tally.positives.get(output, (0, 0)) if output else (tally.refused, tally.n)


def _share(reference: Reference | None, weeks: Sequence[Week], running: Tally | None, output: str) -> Signal | None:
    base = baseline_of(reference, weeks, output)
    if base is None or not base[1]:
        return None
    hits, n, used = base
    kind, stream = ("output_drift", f"output.{output}") if output else ("refusals", "refused")
    spread = _dispersion([pair_of(week.tally, output) for week in weeks[:used]])
    # results that resemble each other are worth fewer; what comes in, and so what is positive, varies more than who is refused
    low, high = bound_of(hits / spread, n / spread, level=LEVEL_OUTPUT if output else LEVEL)
    pairs = [pair_of(week.tally, output) for week in weeks[used:]]
    charts = ((high, ODDS), (low, 1 / ODDS)) if output else ((high, ODDS),)
    limit = cusum_limit(ARL_WEEKS * len(charts))
    for expected, odds in charts:
        at = cusum_at(pairs, expected, odds, spread, limit)
        if at > limit:
            return _signal(kind, stream, hits / n, pairs, limit, at)  # type: ignore[arg-type]  # two of its words
    now = pair_of(running, output) if running is not None else (0, 0)
    p = float(stats.binom.sf(now[0] - 1, now[1], high))
    if p < FAR and now[0] >= 1.5 * high * now[1]:
        return Signal("output_drift" if output else "refusals", stream, {
            "rule": "far_beyond", "expected": hits / n, "seen": now[0] / now[1], "n": now[1], "p": p})
    return None


def people(weeks: Sequence[Week]) -> list[Signal]:
    """Return where professionals contradict more than they did at first: all results, those of a group, or raised alerts."""
    groups = sorted({name for week in weeks for name in week.said.groups})
    charts: list[tuple[Kind, str, list[tuple[int, int]]]] = [
        ("agreement", "all", [(week.said.against, week.said.given) for week in weeks]),
        ("precision", "alerts", [(week.said.alerts_against, week.said.alerts) for week in weeks]),
        *(("agreement", name, [week.said.groups.get(name, (0, 0)) for week in weeks]) for name in groups),
    ]
    judged = [(kind, name, parted) for kind, name, pairs in charts if (parted := parted_of(pairs)) is not None]
    found = []
    for kind, name, (hits, n, spread, rest) in judged:
        limit = cusum_limit(ARL_WEEKS) + log(max(1, len(judged)))
        expected = bound_of(hits / spread, n / spread, level=LEVEL)[1]
        at = cusum_at(rest, expected, ODDS_PEOPLE, spread, limit)
        if at > limit:
            signal = _signal(kind, name, hits / n, rest, limit, at)
            found.append(replace(signal, detail={**signal.detail, "expected": 1 - hits / n, "seen": 1 - signal.detail["seen"]}))
    return found


def parted_of(pairs: Sequence[tuple[int, int]]) -> tuple[int, int, float, Sequence[tuple[int, int]]] | None:
    """Return (contradicted, given, spread) of the first FIRST_VERDICTS verdicts, and the weeks after; None while there are fewer."""
    hits = n = 0
    for place, (against, given) in enumerate(pairs):
        hits, n = hits + against, n + given
        if n >= FIRST_VERDICTS:
            first = pairs[: place + 1]
            return hits, n, _dispersion(first), pairs[place + 1 :]
    return None


def cusum_at(pairs: Pairs, expected: float, odds: float, spread: float, limit: float) -> float:
    """Return where the cumulative sum stands. It grows to twice its limit at most: a long alarm must not take as long to end."""
    at = before = 0.0
    for one in binomial_cusum([hit for hit, _ in pairs], [n for _, n in pairs], expected, odds, spread):
        at, before = min(2 * limit, max(0.0, at + one - before)), one
    return at


def _dispersion(pairs: Pairs) -> float:
    return dispersion_of([hit for hit, _ in pairs], [n for _, n in pairs])


def _signal(kind: Kind, stream: str, expected: float, pairs: Pairs, limit: float, at: float) -> Signal:
    last = pairs[-SHOWN_WEEKS:]
    n = sum(one for _, one in last)
    return Signal(kind, stream, {"rule": "cumulative_sum", "expected": expected, "seen": sum(hit for hit, _ in last) / max(1, n),
                                 "n": n, "limit": limit, "at": at})
