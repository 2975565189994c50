"""Gates: each thing that was required, what was seen, whether it is met, and what follows where it is not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.commissioned import Decision, Figure, Gate
from models.manifest import Output
from models.statistics.sample_size import for_lower_bound, for_share
from training import fairness
from training.commission import figures, lines
from training.commission.found import Found
from training.commission.requirements import Consequence
from training.commission.words import Language, count, number, percent, say, span

Follows = Literal["nothing", "condition", "no_go"]


@dataclass(frozen=True)
class Judged:
    """A gate with what follows from it. ``weight``: the order of reasons, the weightiest lowest."""

    gate: Gate
    follows: Follows
    weight: int


def judge(found: Found, language: Language) -> list[Judged]:
    """Return every gate, in the order of a report."""
    judged: list[Judged] = [_sound(found, language), *_population(found, language), _refusals(found, language), _failures(found,
        language),
              _truth(found, language)]
    for output in found.judged:
        main = output.shown_only_if is None
        for one in (_cases(found, output, language), _ranking(found, output, language), _sensitivity(found, output, language),
                    _calibration(found, output, language), _subgroups(found, output, language)):
            if one is not None:
                judged.append(one if main or one.follows == "nothing" else Judged(one.gate, "condition", one.weight + 10))
    return judged


def decide(judged: list[Judged], language: Language) -> tuple[Decision, tuple[str, ...]]:
    """Return the decision and its reasons, the weightiest first."""
    standing = sorted((one for one in judged if one.follows != "nothing"), key=lambda one: (one.follows != "no_go", one.weight))
    decision: Decision = "no_go" if any(one.follows == "no_go" for one in standing) else "go_with_conditions" if standing else "go"
    reasons = tuple(one.gate.why for one in standing if one.gate.why)
    return decision, reasons or (say(language, "Everything that was required was seen."),)


def advice_of(found: Found, language: Language) -> tuple[str, ...]:
    """Return how many cases more would make which interval narrow enough to decide by."""
    told = []
    for output in found.judged:
        if output.shown_only_if is not None:
            continue
        scored = found.outcomes[output.name].scored()
        called = figures.named(found.figures, "sensitivity", output.name)
        if called is not None and called.value is not None and 0 < called.value:
            for width in (0.05, 0.03):
                wanted = for_share(called.value, width)
                more = max(wanted - scored.positives, 0)
                told.append(say(
                    language, "{output}: for a sensitivity to within ±{width} it takes {wanted} cases with the finding (there are "
                              "{had}: {more} more, about {total} cases in all at the prevalence here).", output=_label(output,
                              language),
                    width=number(language, width, 2), wanted=wanted, had=scored.positives, more=more,
                    total=round(more / max(scored.positives / max(scored.n, 1), 1e-6))))
        fitted = found.fitted.get(output.name)
        if fitted is not None and not fitted.right_before and fitted.needed:
            told.append(say(language, "{output}: to show that probabilities are right it takes about {needed} cases of the rarer "
                                      "kind; there are {events}. To fit a new slope without overfitting: {fit}.",
                                      output=_label(output, language),
                            needed=fitted.needed, events=fitted.events, fit=fitted.needed_to_fit))
        rule = found.rule.threshold
        tuned = found.tuned.get(output.name)
        if tuned is not None and tuned.value is None:
            wanted_here = for_lower_bound(min(0.99, rule.target + 0.02), rule.target) or 0
            told.append(say(language, "{output}: no threshold could be tuned on {had} cases with the finding; with about {wanted} "
                                      "on the tuning half one can.", output=_label(output, language), had=tuned.positives,
                                      wanted=wanted_here))
    return tuple(told)


def _sound(found: Found, language: Language) -> Judged:
    why = say(language, "The release does not check out on this machine: {fault}", fault=found.sound) if found.sound else ""
    gate = Gate(name="sound", required=say(language, "Hashes, golden inputs and explanations check out on this machine."),
                seen=found.sound or say(language, "They do."), met=not found.sound, why=why)
    return Judged(gate, "no_go" if found.sound else "nothing", 0)


def _population(found: Found, language: Language) -> list[Judged]:
    rule, n, judged = found.rule.population, len(found.rows), []
    for one in found.population:
        what = say(language, f"the {one.what}")
        accepted = one.accepted.replace(".", ",") if language == "fr" else one.accepted
        outside = one.outside / one.stated if one.stated else 0.0
        stated = one.stated / n if n else 0.0
        met = False if one.stated and outside > rule.outside else None if stated < rule.stated else True
        if met is False:
            why = say(language, "The cases here are not those the release was made for: {outside} of {stated} that state {what} "
                                "lie outside {accepted}.", outside=one.outside, stated=one.stated, what=what, accepted=accepted)
        elif met is None:
            why = say(language, "For {share} of the cases nothing states {what}, and the release is made for {accepted} alone: "
                                "somebody must make sure that these are its people.", share=percent(language, 1 - stated), what=what,
                      accepted=accepted)
        else:
            why = ""
        gate = Gate(
            name=f"population {one.what}",
            required=say(language, "{what}: {accepted}; at most {outside} outside, stated for at least {stated}",
                         what=what[0].upper() + what[1:], accepted=accepted, outside=percent(language, rule.outside),
                         stated=percent(language, rule.stated)),
            seen=say(language, "{outside} outside, stated for {stated}", outside=percent(language, outside) if one.stated else "–",
                     stated=percent(language, stated)), met=met, why=why)
        judged.append(Judged(gate, _follows(met, rule.unmet, rule.unknown), 1 if met is False else 11))
    return judged


def _refusals(found: Found, language: Language) -> Judged:
    rule, one = found.rule.refusals, figures.named(found.figures, "refused")
    met = _at_most(one, rule.most)
    most = list(found.reasons("refused").items())[:3]
    words = ", ".join(f"{say(language, reason.replace('_', ' '))} {count(n)}" for reason, n in most)
    why = ""
    if met is None:
        why = say(language, "Too few cases to show that at most {most} are refused: {seen}.", most=percent(language, rule.most),
                  seen=_shares(one, language))
    elif one is not None and not met:
        why = say(language, "The release declines to score {share} of the cases here ({reasons}); at most {most} may be.",
                  share=percent(language, one.value), reasons=words or "–", most=percent(language, rule.most))
    gate = Gate(name="refusals", required=say(language, "At most {most} refused, upper end of the interval",
                                              most=percent(language, rule.most)),
                seen=_shares(one, language), met=met, why=why)
    return Judged(gate, _follows(met, rule.unmet, rule.unknown), 10 if met is None else 2)


def _failures(found: Found, language: Language) -> Judged:
    rule, one = found.rule.failures, figures.named(found.figures, "failed")
    met = _at_most(one, rule.most)
    why = ""
    if met is None:
        why = say(language, "Too few cases to show that at most {most} fail: {seen}.", most=percent(language, rule.most),
                  seen=_shares(one, language))
    elif one is not None and not met:
        words = ", ".join(f"{reason} {count(n)}" for reason, n in list(found.reasons("failed").items())[:3])
        why = say(language, "{share} of the cases could not be read or scored ({reasons}); at most {most} may fail. Mend the source.",
                  share=percent(language, one.value, 1), reasons=words or "–", most=percent(language, rule.most))
    gate = Gate(name="failures", required=say(language, "At most {most} failed, upper end of the interval",
                                              most=percent(language, rule.most)), seen=_shares(one, language), met=met, why=why)
    return Judged(gate, _follows(met, rule.unmet, rule.unknown), 10 if met is None else 3)


def _truth(found: Found, language: Language) -> Judged:
    rule, truth = found.rule.truth, found.truth
    wanted = [output for output in found.manifest.outputs if output.kind == "probability" and output.shown_only_if is None]
    without = [_label(output, language) for output in wanted if output.name not in found.outcomes]
    scored = max(found.of("scored"), 1)
    known = min((found.outcomes[o.name].scored().n / scored for o in wanted if o.name in found.outcomes), default=0.0)
    torn = max((truth.conflicting.get(o.name, 0) / max(len(found.rows), 1) for o in wanted), default=0.0)
    if not wanted or len(without) == len(wanted):
        met: bool | None = None
        why = say(language, "No truth is known of any case, so nothing can be said of how often the release is right here.")
    else:
        met = known >= rule.known and torn <= rule.conflicting and not without and truth.kind != "verdicts"
        parts = []
        if without:
            parts.append(say(language, "Nothing is known here of {names}: do not show it.", names=", ".join(without)))
        if found.of("scored") and known < rule.known:
            parts.append(say(language, "The truth of only {share} of the scored cases is known; the others may differ.",
                             share=percent(language, known)))
        if torn > rule.conflicting:
            parts.append(say(language, "The truth contradicts itself in {share} of the cases: look into its source.",
                             share=percent(language, torn, 1)))
        if truth.kind == "verdicts":
            parts.append(say(language, "The truth is what readers said who had seen the release's result: it agrees with it too "
                                       "often, and cases nobody looked at are not in it. Have a sample read blind."))
        why = " ".join(parts)
    if not found.of("scored") and met is False:
        met, why = None, say(language, "No case with a known truth was scored, so nothing can be said of how often it is right here.")
    gate = Gate(
        name="truth", required=say(language, "Truth known for at least {known} of the scored cases, contradictory in at most {torn}",
                                   known=percent(language, rule.known), torn=percent(language, rule.conflicting)),
        seen=say(language, "Known for {known}, contradictory in {torn}", known=percent(language, known), torn=percent(language, torn,
            1)),
        met=met, why=why)
    return Judged(gate, _follows(met, rule.unmet, rule.unknown), 4)


def _cases(found: Found, output: Output, language: Language) -> Judged:
    """Count persons, not cases: a hundred images of ten children are ten children."""
    rule, scored = found.rule.cases, found.outcomes[output.name].scored()
    ill, well = (len(set(scored.persons[(scored.y > 0.5) == there].tolist())) for there in (True, False))
    met = ill >= rule.positives and well >= rule.negatives
    told: dict[str, str | int] = {"output": _label(output, language), "positives": ill, "negatives": well, "least": rule.positives,
                                  "most": rule.negatives}
    why = "" if met or not scored.n else say(
        language, "Too few people to tell for {output}: {positives} with and {negatives} without it were scored; it takes {least} "
                  "and {most}.", **told)
    gate = Gate(name=f"cases {output.name}", met=met, why=why, seen=say(
        language, "{positives} with, {negatives} without", positives=ill, negatives=well), required=say(
        language, "{output}: at least {least} people with and {most} without it, scored", output=told["output"],
        least=rule.positives, most=rule.negatives))
    return Judged(gate, _follows(met, rule.unmet, rule.unknown), 7)


def _ranking(found: Found, output: Output, language: Language) -> Judged:
    rule, one = found.rule.ranking, figures.named(found.figures, "auroc", output.name)
    met = _at_least(one, rule.auroc)
    told = {"output": _label(output, language), "seen": span(language, one, 2), "least": number(language, rule.auroc, 2)}
    why = ""
    if one is None or one.value is None:  # said already: no case with a known truth was scored
        pass
    elif met is False:
        why = say(language, "{output}: it does not tell ill from well enough here: AUROC {seen}, at least {least} is asked for.",
                            **told)
    elif met is None:
        why = say(language, "{output}: it is not shown to tell ill from well enough here: AUROC {seen}, and the lower end of its "
                            "interval must reach {least}.", **told)
    gate = Gate(name=f"auroc {output.name}", required=say(language, "{output}: AUROC at least {least}, lower end of the interval", **{
        key: told[key] for key in ("output", "least")}), seen=told["seen"], met=met, why=why)
    return Judged(gate, _follows(met, rule.unmet, rule.unknown), 5)


def _sensitivity(found: Found, output: Output, language: Language) -> Judged | None:
    """Judge the release as it would be signed, at its own threshold. What the proposed one reaches mends it only in a new release."""
    rule, tuned = found.rule.threshold, found.tuned.get(output.name)
    if rule.least <= 0 or output.threshold is None or output.shown_only_if is not None:
        return None
    own = figures.named(found.figures, "sensitivity", output.name)
    mended = None
    if tuned is not None and tuned.value is not None:
        mended = figures.named(tuned.checked, "sensitivity")
    met, mends = _at_least(own, rule.least), _at_least(mended, rule.least) is True and tuned is not None and tuned.kept is not False
    told = {"output": _label(output, language), "seen": span(language, own), "least": percent(language, rule.least),
            "where": say(language, "at the release's own threshold"), "mended": span(language, mended)}
    seen, why, follows = f"{told['seen']}, {told['where']}", "", _follows(met, rule.unmet, rule.unknown)
    if mended is not None:
        seen += f"; {told['mended']}, {say(language, 'at the proposed threshold, on the check half')}"
    if own is not None and own.value is not None and not met:
        why = say(language, "{output}: sensitivity {where} is {seen}; the lower end of its interval must reach {least}.", **told)
        if mends:
            why += " " + say(language, "At the proposed threshold it does ({mended}): go live with that, not with the release as it "
                                       "is.", mended=told["mended"])
            follows = "condition"
    gate = Gate(name=f"sensitivity {output.name}", seen=seen,
                required=say(language, "{output}: sensitivity at least {least}, lower end of the interval", output=told["output"],
                             least=told["least"]), met=met, why=why)
    return Judged(gate, follows, 6)


def _calibration(found: Found, output: Output, language: Language) -> Judged | None:
    rule, fitted = found.rule.calibration, found.fitted.get(output.name)
    if fitted is None:
        return None
    slope = figures.named(fitted.before, "calibration_slope")
    ratio = figures.named(fitted.before, "observed_over_expected")
    level = figures.named(fitted.before, "calibration_in_the_large")
    met = True if fitted.right_before else False if lines.wrong(fitted.before, rule) else None
    ends = {"low": number(language, rule.slope[0], 2), "high": number(language, rule.slope[1], 2)}
    told = {"output": _label(output, language), "slope": span(language, slope, 2), "ratio": span(language, ratio, 2),
            "level": span(language, level, 2)}
    seen = say(language, "slope {slope}; observed over expected {ratio}; in the large {level}", **{
        key: told[key] for key in ("slope", "ratio", "level")})
    why, follows = "", _follows(met, rule.unmet, rule.unknown)
    if not met and fitted.repaired:
        why = say(language, "{output}: its probabilities do not hold here as they are (slope {slope}, observed over expected "
                            "{ratio}, in the large {level}); the proposed line repairs them: go live with it, not with the release "
                            "as it is.", **told)
        if any(one.figure == "calibration_in_the_large" and one.output == output.name for one in fairness.beyond(found.gaps)):
            why += " " + say(language, "On average only: within the groups that differ they stay off.")
        follows = "condition"
    elif not met:
        why = say(language, "{output}: its probabilities are wrong here (slope {slope}, observed over expected {ratio}, in the "
                            "large {level}) and no line was shown to repair them: do not read them as numbers.",
                            **told) if met is False else say(
            language, "{output}: its probabilities are not shown to be right here (slope {slope}, observed over expected {ratio}, "
                      "in the large {level}): do not read them as numbers yet.", **told)
    gate = Gate(name=f"calibration {output.name}", required=say(
        language, "{output}: calibration slope and observed over expected within {low} to {high}, in the large within ±{level}, "
                  "whole intervals, or repaired by a local line", output=told["output"], level=number(language, rule.in_the_large[1],
                  2), **ends),
        seen=seen, met=met, why=why)
    return Judged(gate, follows, 9)


def _subgroups(found: Found, output: Output, language: Language) -> Judged | None:
    mine = [one for one in found.gaps if one.output == output.name]
    if not mine:
        return None
    rule, tolerance = found.rule.subgroups, found.rule.tolerance()
    too_far = fairness.beyond(mine, tolerance)
    told = [one for one in mine if one.verdict != "too_few"]
    met: bool | None = False if too_far else True if told else None
    why = ""
    if too_far:
        names = "; ".join(say(
            language, "{by} {group}: {figure} {gap} away from the others ({low} to {high})", by=say(language, one.by),
            group=one.group or "–",
            figure=say(language, one.figure.replace("_", " ")), gap=number(language, one.gap, 2), low=number(language, one.low, 2),
            high=number(language, one.high, 2)) for one in too_far[:4])
        why = say(language, "{output}: it does worse for some than tolerated: {groups}.", output=_label(output, language),
                  groups=names)
    elif met is None:
        why = say(language, "{output}: every subgroup is too small to tell whether it does worse for some.", output=_label(output,
            language))
    gate = Gate(
        name=f"subgroups {output.name}", required=say(language, "{output}: no group shown to lie behind the others by more than the "
                                                                "tolerance", output=_label(output, language)),
        seen=say(language, "{beyond} shown to be beyond, {open} perhaps, of {judged} compared; {few} too few to say",
                 beyond=len(too_far), open=sum(one.verdict == "undecided" for one in told), judged=len(told),
                 few=len(mine) - len(told)), met=met, why=why)
    return Judged(gate, _follows(met, rule.unmet, rule.unknown), 8)


def _follows(met: bool | None, unmet: Consequence, unknown: Consequence) -> Follows:
    return "nothing" if met else unmet if met is False else unknown


def _at_most(one: Figure | None, limit: float) -> bool | None:
    """True when the whole interval lies at or below, False when all of it lies above, None between."""
    if one is None or one.low is None or one.high is None:
        return None
    return True if one.high <= limit else False if one.low > limit else None


def _at_least(one: Figure | None, limit: float) -> bool | None:
    """True when the whole interval lies at or above, False when all of it lies below, None between."""
    if one is None or one.low is None or one.high is None:
        return None
    return True if one.low >= limit else False if one.high < limit else None


def _shares(one: Figure | None, language: Language) -> str:
    if one is None or one.low is None or one.high is None:
        return "–"
    return say(language, "{value} ({low} to {high})", value=percent(language, one.value, 1), low=percent(language, one.low, 1),
               high=percent(language, one.high, 1))


def _label(output: Output, language: Language) -> str:
    return output.label_fr if language == "fr" else output.label
