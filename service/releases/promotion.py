"""The promotion gate: what is required of a candidate before it takes the place of the release that serves, and what was seen."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from models.commissioned import Gate
from models.statistics.paired import Difference
from service.releases.compare import BIAS, Comparison, Judged
from service.store.trust_tables import Signoff
from service.words import Language, marked, number, percent, say

UNSAID = marked("cannot be said")
WORSE_P = 0.05


@dataclass(frozen=True)
class Rules:
    """What is required."""

    cases: int = 200  # that both have seen
    positives: int = 30  # with a verdict, of the first output
    auroc_margin: float = 0.02  # how much worse the area may be at the lower end of its interval
    sensitivity_margin: float = 0.10  # how many of the ill more may be missed at the lower end of its interval
    slope: tuple[float, float] = (0.8, 1.25)  # of calibration
    refusals: float = 0.05  # how many more of all cases may be refused
    failures: float = 0.01  # share of cases the candidate may fail on
    times: float = 2.0  # as slow


def gates_of(found: Comparison | None, signed: Signoff | None, alarms: int, rules: Rules,
             language: Language = "en") -> tuple[Gate, ...]:
    """Return one gate a requirement, in words. What cannot be judged is not met.

    ``signed``: the last sign-off of exactly this folder; ``alarms``: open ones of the candidate.
    """
    accepted = signed is not None and signed.decision == "accepted"
    words = say(language, "accepted") if accepted else say(language, "not accepted") if signed else say(language, "nobody signed")
    gates = (
        Gate(name="signed", required=say(language, "a named person accepted this very folder"), seen=words, met=accepted,
             why=say(language, "Somebody answers for it at this site.")),
        Gate(name="alarms", required=say(language, "no open alarm"), seen=say(language, "{count} open", count=alarms),
             met=alarms == 0, why=say(language, "What is watched of it must be quiet.")),
    )
    if found is None:
        required = say(language, "at least {count} cases beside a live release", count=rules.cases)
        return (*gates, Gate(name="cases", required=required, seen=say(language, "none"), met=None,
                             why=say(language, "Put it in shadow beside a live release first.")))
    main = found.outputs[0].judged if found.outputs else None
    return (*gates, *_counted(found, main, rules, language), *_quality(main, rules, language), *_running(found, rules, language))


def detail_of(gates: tuple[Gate, ...], found: Comparison | None) -> dict[str, Any]:
    """Return what is kept with a promotion: what was required, what was seen, and the figures behind it."""
    return {"gates": [one.model_dump(mode="json") for one in gates], "comparison": asdict(found) if found else None, "bias": BIAS}


def _counted(found: Comparison, main: Judged | None, rules: Rules, language: Language) -> list[Gate]:
    positives, judged = (main.positives, main.n) if main else (0, 0)
    return [
        Gate(name="cases", required=say(language, "at least {count} cases that both have seen", count=rules.cases),
             seen=str(found.pairs), met=found.pairs >= rules.cases, why=say(language, "Fewer say little of rare troubles.")),
        Gate(name="positives",
             required=say(language, "at least {count} with a verdict that the finding is there", count=rules.positives),
             seen=say(language, "{count} of {judged} judged", count=positives, judged=judged), met=positives >= rules.positives,
             why=say(language, "Without cases that have it, sensitivity cannot be compared.")),
    ]


def _quality(main: Judged | None, rules: Rules, language: Language) -> list[Gate]:
    auroc, sensitivity, slope = (main.auroc, main.sensitivity, main.slope) if main else (None, None, None)
    low, high = rules.slope
    unsaid = say(language, UNSAID)
    return [
        Gate(name="auroc", met=auroc.low > -rules.auroc_margin if auroc else None,
             required=say(language, "the lower end of the 95 % interval of the difference is above {limit}",
                           limit=number(language, -rules.auroc_margin, 2)),
             seen=_interval(auroc, language) if auroc else unsaid,
             why=say(language, "It must rank the ill above the well as the live one does (DeLong).")),
        Gate(name="sensitivity",
             required=say(language, "not worse at p < {p} (McNemar, mid-p), and the lower end of the 95 % interval of the difference "
                                    "above {points} points", p=number(language, WORSE_P, 2),
                          points=number(language, -100 * rules.sensitivity_margin)),
             seen=say(language, "{second} against {first}, p = {p}", second=percent(language, sensitivity.second, 1),
                       first=percent(language, sensitivity.first, 1), p=number(language, sensitivity.p or 0.0, 3)) + "; "
             + _points(sensitivity, language) if sensitivity else unsaid,
             met=not_worse(sensitivity, rules) if sensitivity else None,
             why=say(language, "At its own threshold it must not miss what the live one finds. On few cases no test finds that it "
                               "does: so the interval is asked for too.")),
        Gate(name="calibration", required=say(language, "slope from {low} to {high}, or no further from 1 than that of the live one",
                                               low=number(language, low, 2), high=number(language, high, 2)),
             seen=say(language, "{second} against {first}", second=number(language, slope.second, 2),
                      first=number(language, slope.first, 2)) if slope else unsaid,
             met=low <= slope.second <= high or abs(slope.second - 1) <= abs(slope.first - 1) if slope else None,
             why=say(language, "What it says in percent must be so.")),
    ]


def _running(found: Comparison, rules: Rules, language: Language) -> list[Gate]:
    refused, share = found.refused, found.failed / found.pairs if found.pairs else None
    unsaid = say(language, UNSAID)
    return [
        Gate(name="refusals",
             required=say(language, "at most {points} points more refused", points=number(language, 100 * rules.refusals)),
             seen=say(language, "{second} against {first}", second=percent(language, refused.second, 1),
                       first=percent(language, refused.first, 1)) if refused else unsaid,
             met=refused.difference <= rules.refusals if refused else None, why=say(language, "What it declines helps nobody.")),
        Gate(name="failures", required=say(language, "at most {share} failed", share=percent(language, rules.failures)),
             seen=say(language, "{count} of {all}", count=found.failed, all=found.pairs),
             met=share <= rules.failures if share is not None else None,
             why=say(language, "A crash in shadow would be one in service.")),
        Gate(name="latency", required=say(language, "at most {times} times as slow", times=number(language, rules.times)),
             seen=say(language, "{times} times", times=number(language, found.times, 2)) if found.times is not None else unsaid,
             met=found.times <= rules.times if found.times is not None else None,
             why=say(language, "Urgent images must not wait for it.")),
    ]


def not_worse(sensitivity: Difference, rules: Rules) -> bool:
    """Tell whether a share is neither shown to be worse nor may be worse by more than the margin."""
    shown = sensitivity.difference < 0 and (sensitivity.p or 0.0) < WORSE_P
    return not shown and sensitivity.low > -rules.sensitivity_margin


def _points(one: Difference, language: Language) -> str:
    return say(language, "{difference} points ({low} to {high})", difference=number(language, 100 * one.difference, 1),
               low=number(language, 100 * one.low, 1), high=number(language, 100 * one.high, 1))


def _interval(one: Difference, language: Language) -> str:
    return say(language, "{difference} ({low} to {high})", difference=number(language, one.difference, 3),
               low=number(language, one.low, 3), high=number(language, one.high, 3))
