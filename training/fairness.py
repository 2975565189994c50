"""Subgroup gaps: how far a group lies behind everybody else, with an interval over patients, against a stated tolerance."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from training import bootstrap

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Verdict = Literal["within", "gap", "undecided", "too_few"]
DEFAULTS = Path(__file__).with_name("fairness.toml")
TWO_SIDED = frozenset({"calibration_in_the_large"})  # too low and too high both harm; of the others only less does
SHARES = frozenset({"sensitivity", "specificity", "coverage", "within_20_percent"})
NAMED = ("output", "by", "group", "figure")  # what tells one gap from another
ASKS = {"auroc": "both", "sensitivity": "events", "specificity": "others", "calibration_in_the_large": "both"}
_CHUNK = 2_000_000  # weights held at once
Pair = tuple[bootstrap.Statistic, Flags, bootstrap.Statistic, Flags]


@dataclass(frozen=True)
class Tolerance:
    """The largest gap that is tolerated for each figure, and how many cases it takes to say anything.

    ``left_out``: attribute → why a gap there is no question of fairness; ``shown_only``: attribute → why a gap there is told
    but stops nothing. ``accepted``: gaps somebody answers for, each with output, by, group, figure, who and why.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    min_cases: int = 20
    min_patients: int = 20
    left_out: Mapping[str, str] = field(default_factory=dict)
    shown_only: Mapping[str, str] = field(default_factory=dict)
    accepted: tuple[Mapping[str, str], ...] = ()
    expected: tuple[str, ...] = ()

    @classmethod
    def of(cls, table: Mapping[str, Any] | None = None) -> Tolerance:
        """Read a recipe's [fairness] table over the defaults of fairness.toml.

        Raises ValueError for an accepted gap that does not say who accepts it and why.
        """
        stated = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))["fairness"]
        apart = {key: {**stated.pop(key), **(table or {}).get(key, {})} for key in ("left_out", "shown_only")}
        merged = {**stated, **{key: value for key, value in (table or {}).items() if key not in apart}}
        accepted = tuple(dict(one) for one in merged.pop("accepted_gaps", ()))
        for one in accepted:
            missing = [key for key in (*NAMED, "who", "why") if not str(one.get(key, "")).strip()]
            if missing:
                raise ValueError(f"An accepted gap must say its {', '.join(missing)}. See [[fairness.accepted_gaps]] of the recipe.")
        counts = {key: int(merged.pop(key)) for key in ("min_cases", "min_patients")}
        expected = tuple(merged.pop("attributes_expected"))
        limits = {key: float(value) for key, value in merged.items()}
        return cls(limits=limits, accepted=accepted, expected=expected, **apart, **counts)

    def as_json(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}


@dataclass(frozen=True)
class Gap:
    """One figure of one group less the same figure of everybody else. ``low`` and ``high`` are a 95 % interval."""

    output: str
    by: str
    group: str
    figure: str
    n: int
    patients: int
    events: int | None
    value: float | None
    rest: float | None
    gap: float | None
    low: float | None
    high: float | None
    tolerance: float
    verdict: Verdict
    said: str
    interval: str = "bootstrap over patients"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def gaps(
    truth: ArrayLike, probability: ArrayLike, patients: Sequence[str] | NDArray[np.str_], subgroups: Mapping[str, Sequence[str]], *,
    output: str, threshold: float | None, tolerance: Tolerance | None = None, resamples: int = bootstrap.RESAMPLES,
    seed: int = bootstrap.SEED,
) -> list[Gap]:
    """Return the gaps of a yes/no outcome: AUROC, sensitivity, specificity, calibration in the large; by attribute and group.

    All arrays are (n,); ``truth`` is 0 or 1 and known. ``subgroups`` maps an attribute to each case's group. A group is
    compared with everybody else, in the same resamples of patients, so the interval is that of the difference. With n
    groups there are many comparisons and none is corrected for: a whole interval beyond the tolerance is asked for instead.
    """
    y, p = np.asarray(truth, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    rule = tolerance or Tolerance.of()

    def statistics(chosen: Flags) -> dict[str, bootstrap.Statistic]:
        made = {"auroc": bootstrap.auroc_of(y[chosen], p[chosen]),
                "calibration_in_the_large": bootstrap.calibration_line_of(y[chosen], p[chosen], "citl")}
        if threshold is not None:
            made |= {what: bootstrap.confusion_of(y[chosen], p[chosen] >= threshold, what) for what in ("sensitivity", "specificity")}
        return made

    return _compared(statistics, ASKS, y, np.asarray(patients), subgroups, output, rule, resamples, seed)


def gaps_of_means(
    values: Mapping[str, ArrayLike], patients: Sequence[str] | NDArray[np.str_], subgroups: Mapping[str, Sequence[str]], *,
    output: str, tolerance: Tolerance | None = None, resamples: int = bootstrap.RESAMPLES, seed: int = bootstrap.SEED,
) -> list[Gap]:
    """Return the gaps of figures that are means of one value a case: coverage, share within 20 %, Dice."""
    arrays = {name: np.asarray(one, dtype=np.float64) for name, one in values.items()}

    def statistics(chosen: Flags) -> dict[str, bootstrap.Statistic]:
        return {name: bootstrap.mean_of(one[chosen]) for name, one in arrays.items()}

    return _compared(statistics, dict.fromkeys(arrays, "all"), None, np.asarray(patients), subgroups, output,
                     tolerance or Tolerance.of(), resamples, seed)


def judged(figure: str, gap: float | None, low: float | None, high: float | None, limit: float) -> Verdict:
    """Judge an interval: "gap" when all of it lies beyond the tolerance, "within" when none of it does."""
    if gap is None or low is None or high is None:
        return "too_few"
    if high < -limit or (figure in TWO_SIDED and low > limit):
        return "gap"
    if low >= -limit and (figure not in TWO_SIDED or high <= limit):
        return "within"
    return "undecided"


def beyond(found: Iterable[Gap], tolerance: Tolerance | None = None) -> list[Gap]:
    """Return the gaps that block a release: beyond the tolerance, not of an attribute only shown, and accepted by nobody."""
    rule = tolerance or Tolerance()
    accepted = {tuple(one[key] for key in NAMED) for one in rule.accepted}
    return [one for one in found if one.verdict == "gap" and one.by not in rule.shown_only
            and tuple(getattr(one, key) for key in NAMED) not in accepted]


def newcombe(hits: int, n: int, rest_hits: int, rest_n: int) -> tuple[float, float]:
    """Return the 95 % interval of a difference of two independent shares (Newcombe 1998, method 10).

    doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I. It has a width where a bootstrap has none.
    """
    one, other = (stats.binomtest(k, m).proportion_ci(method="wilson") for k, m in ((hits, n), (rest_hits, rest_n)))
    share, rest = hits / n, rest_hits / rest_n
    low = share - rest - np.hypot(share - one.low, other.high - rest)
    high = share - rest + np.hypot(one.high - share, rest - other.low)
    return float(low), float(high)


def _compared(
    statistics: Any, asks: Mapping[str, str], truth: Array | None, patients: NDArray[Any], subgroups: Mapping[str, Sequence[str]],
    output: str, rule: Tolerance, resamples: int, seed: int,
) -> list[Gap]:
    rows: list[tuple[str, str, str, Flags, bool]] = []
    for by, names in subgroups.items():
        if by in rule.left_out:
            continue
        named = np.asarray(names).astype(str)
        for group in sorted(set(named.tolist())):
            inside = named == group
            rows += [(by, group, figure, inside, _enough(ask, truth, patients, inside, rule)) for figure, ask in asks.items()]
    made: dict[tuple[str, str], tuple[Any, Any]] = {}
    pairs: dict[int, Pair] = {}
    for place, (by, group, figure, inside, enough) in enumerate(rows):
        if not enough:
            continue
        if (by, group) not in made:
            made[by, group] = statistics(inside), statistics(~inside)
        own, others = made[by, group]
        if figure in own:
            pairs[place] = own[figure], inside, others[figure], ~inside
    drawn = _differences(pairs, patients, resamples, seed)
    return [_gap(output, row, drawn.get(place), truth, patients, rule) for place, row in enumerate(rows)]


def _enough(ask: str, truth: Array | None, patients: NDArray[Any], inside: Flags, rule: Tolerance) -> bool:
    """Tell whether the group and the rest both have the cases a figure is made of."""
    for chosen in (inside, ~inside):
        if len(set(patients[chosen].tolist())) < rule.min_patients:
            return False
        events = int(chosen.sum()) if truth is None else int((truth[chosen] > 0.5).sum())
        others = int(chosen.sum()) - (0 if truth is None else events)
        if (ask in ("events", "both") and events < rule.min_cases) or (ask != "events" and others < rule.min_cases):
            return False
    return True


def _differences(
    pairs: Mapping[int, Pair], patients: NDArray[Any], resamples: int, seed: int
) -> dict[int, tuple[float, float, Array]]:
    """Return value, value of the rest and the resampled differences of each pair; one draw of patients serves all."""
    names, index = np.unique(patients.astype(str), return_inverse=True)
    rng, whole = np.random.default_rng(seed), np.ones((1, len(index)))
    values = {place: (float(own(whole[:, inside])[0]), float(other(whole[:, outside])[0]))
              for place, (own, inside, other, outside) in pairs.items()}
    drawn: dict[int, list[Array]] = {place: [] for place in pairs}
    rows = max(1, min(resamples, _CHUNK // max(len(index), 1)))
    for start in range(0, resamples if pairs else 0, rows):
        weights = bootstrap.patient_weights(index, len(names), min(rows, resamples - start), rng)
        for place, (own, inside, other, outside) in pairs.items():
            drawn[place].append(own(weights[:, inside]) - other(weights[:, outside]))
    return {place: (*values[place], np.concatenate(parts)) for place, parts in drawn.items()}


def _gap(
    output: str, row: tuple[str, str, str, Flags, bool], drawn: tuple[float, float, Array] | None, truth: Array | None,
    patients: NDArray[Any], rule: Tolerance,
) -> Gap:
    by, group, figure, inside, _ = row
    limit = rule.limits[figure]
    events = None if truth is None else int((truth[inside] > 0.5).sum())
    people = len(set(patients[inside].tolist()))
    value = rest = gap = low = high = None
    how = "bootstrap over patients"
    if drawn is not None:
        value, rest, differences = drawn
        gap, known = value - rest, differences[np.isfinite(differences)]
        if len(known) >= 0.9 * len(differences) and np.isfinite(gap):
            low, high = np.percentile(known, [2.5, 97.5]).tolist()
        if low is not None and figure in SHARES and {value, rest} & {0.0, 1.0}:
            low, high = _with_width(figure, value, rest, truth, patients, inside)
            how = "Newcombe over patients"
    verdict = judged(figure, gap, low, high, limit)
    return Gap(output, by, group, figure, int(inside.sum()), people, events, value, rest, gap, low, high, limit, verdict,
               _said(figure, f"{output}, {by} {group}", gap, low, high, limit, verdict, rule), how)


def _with_width(
    figure: str, value: float, rest: float, truth: Array | None, patients: NDArray[Any], inside: Flags
) -> tuple[float, float]:
    """Return Newcombe's interval, counting patients: where one share is 0 or 1 resamples of it are all alike."""
    of = np.ones(len(patients), bool) if truth is None else truth > 0.5 if figure == "sensitivity" else truth <= 0.5
    n, m = (len(set(patients[chosen & of].tolist())) for chosen in (inside, ~inside))
    return newcombe(round(value * n), n, round(rest * m), m)


def _said(figure: str, who: str, gap: float | None, low: float | None, high: float | None, limit: float, verdict: Verdict,
          rule: Tolerance) -> str:
    what = figure.replace("_", " ")
    if verdict == "too_few" or gap is None or low is None or high is None:
        return f"{who}: too few to say anything of {what} (asked for: {rule.min_cases} cases, {rule.min_patients} people a side)."
    told = {"gap": "all of the interval is beyond", "within": "none of it is beyond", "undecided": "a part of it is beyond"}[verdict]
    return f"{who}: {what} {gap:+.3f} against the rest ({low:+.3f} to {high:+.3f}); {told} the tolerance of {limit:g}."
