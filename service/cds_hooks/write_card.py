"""Cards: one model's word on one patient as a clinician reads it: the figure first, then why, then what to mind.

https://cds-hooks.hl7.org, "Card Attributes". A card never holds who it is about.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from models.explain.additive import strongest
from models.explain.what_if import WhatIf
from models.manifest import Manifest, Output
from models.prediction import Contribution, Finding, Prediction, Refusal
from service.answers import NOTICE
from service.cds_hooks.ignored import ignored_lines
from service.cds_hooks.markdown import bullets, joined, one_line, plain, section, table
from service.fhir.assessed import Assessed
from service.fhir.datatypes import OURS
from service.fhir.write_contributions import direction_words, others_words, parts_of, range_words, value_words
from service.flags import flag_text
from service.refusals import advice_text, named, reason_in, reason_text
from service.store.hooks import Shown
from service.told_risks import Told
from service.words import Language, in_words, marked, number, of_release, percent, say, unit

SUMMARY = 139  # "<140-character summary"
ACUTE_H = 24.0  # a high risk of what comes within a day is critical; of what comes later it is a warning
MOST_UNKNOWN = 8
OVERRIDE_SYSTEM = "urn:diaphane:override-reasons"
OVERRIDE_REASONS = {
    "known": marked("Already known and acted upon"),
    "not-applicable": marked("Does not apply to this patient"),
    "wrong-data": marked("Rests on wrong or outdated data"),
    "disagree": marked("I judge otherwise"),
    "wishes": marked("Against the patient's wishes"),
    "later": marked("Not now"),
}
RISKS = {
    "negligible": marked("negligible risk"), "low": marked("low risk"), "moderate": marked("moderate risk"),
    "high": marked("high risk"),
}
_MISSING = re.compile(r"(?<=^Too few measurements: )[\w, ]+(?= missing\.)|(?<=^Not found: )[\w, ]+(?=\. )")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:diaphane:card")
Json = dict[str, Any]


@dataclass(frozen=True)
class Occasion:
    """When and where a card is shown. ``base`` is our public address, "" when cards hold no addresses."""

    hook: str
    hook_instance: str
    service: str
    language: Language
    base: str = ""


@dataclass(frozen=True)
class Made:
    """A card, and what is kept of it."""

    card: Json
    shown: Shown
    told: Told | None = None  # the risk it tells of, where risks are kept


def write(assessed: Assessed, occasion: Occasion, *, changes: Sequence[WhatIf] = (), untold: Iterable[str] = ()) -> Made:
    """Write the card of a result. ``untold``: prefetch keys that were not sent, or in part only."""
    result = assessed.result
    if isinstance(result, Refusal):
        return _refused(assessed, result, occasion)
    language, main = assessed.language, result.main
    detail = details(assessed, result, changes, untold)
    summary = summary_of(assessed.manifest, result.findings, language)
    return card(occasion, summary=summary, indicator=indicator(assessed.manifest, result.findings), detail=detail,
                manifest=assessed.manifest, status="scored", input_sha256=result.identity.input_sha256, value=main.value)


def details(assessed: Assessed, result: Prediction, changes: Sequence[WhatIf], untold: Iterable[str]) -> str:
    """Say why a result has its value, what would change it, what lowers trust in it, and its limits."""
    language = assessed.language
    return joined([
        *(_reasons(assessed, result, one) for one in result.findings if one is result.main or parts_of(result, one)),
        plain(in_words(language, result.explanation.note, result.explanation.note_fr)),
        section(say(language, "What would change the figure"), _changes(changes, result.main, language)),
        remarks(assessed, untold),
        limits(assessed.manifest, language),
    ])


def card(
    occasion: Occasion, *, summary: str, indicator: str, detail: str, status: str, manifest: Manifest | None = None,
    label: str = "", part: str = "", input_sha256: str = "", value: float | None = None, links: Sequence[Json] = (),
    suggestions: Sequence[Json] = (),
) -> Made:
    """Put a card together. ``part`` tells several cards of one service and model apart."""
    language, release = occasion.language, manifest.id if manifest else ""
    title = in_words(language, manifest.title, manifest.title_fr) if manifest else label
    source: Json = {"label": f"Diaphane: {title}" if title else "Diaphane"}
    about: list[Json] = []
    if manifest:
        source["topic"] = {"system": OURS, "code": manifest.name, "display": title}
        if occasion.base:
            source["url"] = f"{occasion.base}/v1/models/{manifest.id}/card"
            about = [{"label": say(language, "About this model: data, limits, evaluation"), "url": source["url"], "type": "absolute"}]
    told: Json = {
        "uuid": name_of(occasion, release, part), "summary": one_line(summary, SUMMARY), "detail": detail, "indicator": indicator,
        "source": source,
        "overrideReasons": [{"system": OVERRIDE_SYSTEM, "code": code, "display": say(language, reason)}
                            for code, reason in OVERRIDE_REASONS.items()],
    }
    if links or about:
        told["links"] = [*links, *about]
    if suggestions:
        told |= {"suggestions": list(suggestions), "selectionBehavior": "at-most-one"}
    shown = Shown(told["uuid"], occasion.service, occasion.hook, release, status, input_sha256, value,
                  tuple(str(one["uuid"]) for one in suggestions))
    return Made(told, shown)


def name_of(occasion: Occasion, *parts: str) -> str:
    """Return the UUID of a card or suggestion: the same call again names the same ones."""
    told = (occasion.hook_instance, occasion.hook, occasion.service, *parts)
    return str(uuid.uuid5(_NAMESPACE, "".join(f"{len(one)}:{one}" for one in told)))


def indicator(manifest: Manifest, findings: Sequence[Finding]) -> str:
    """Return how urgent the most urgent finding is. Without bands the threshold of the release decides."""
    grades = ["info", "warning", "critical"]
    return max((_grade(manifest.output(one.name), one) for one in findings), key=grades.index, default="info")


def _grade(output: Output, finding: Finding) -> str:
    if finding.kind != "probability":
        return "info"
    if not finding.risk:
        return "warning" if finding.above_threshold else "info"
    acute = output.horizon_h is not None and output.horizon_h <= ACUTE_H
    return {"moderate": "warning", "high": "critical" if acute else "warning"}.get(finding.risk, "info")


def summary_of(manifest: Manifest, findings: Sequence[Finding], language: Language) -> str:
    """Say all findings in one line, without frequencies where they would not leave room for the last one's risk."""
    joint = "\u00a0; " if language == "fr" else "; "
    told = joint.join(headline(manifest, finding, language) for finding in findings)
    return told if len(told) <= SUMMARY else joint.join(headline(manifest, finding, language, brief=True) for finding in findings)


def headline(manifest: Manifest, finding: Finding, language: Language, *, brief: bool = False) -> str:
    """Say one finding in a line: Death in hospital: 31% (about 3 in 10), moderate risk; ``brief``: without the frequency."""
    label = in_words(language, finding.label, finding.label_fr)
    if finding.kind != "probability":
        return say(language, "{label}: {value}", label=label, value=amount(finding, language))
    words = risk_words(manifest.output(finding.name), finding, language)
    told = percent(language, finding.value, _digits(finding.value))
    share = (say(language, "{label}: {value}", label=label, value=told) if brief else
             say(language, "{label}: {percent} ({about})", label=label, about=about(finding.value, language), percent=told))
    return f"{share}, {words}" if words else share


def about(share: float, language: Language) -> str:
    """Say a probability as a frequency of people: about 3 in 10.

    >>> about(0.31, "en")
    'about 3 in 10'
    """
    if share < 0.01:
        return say(language, "fewer than 1 in 100")
    if share > 0.99:
        return say(language, "more than 99 in 100")
    tenths = round(10 * share)
    if 0 < tenths < 10 and abs(share - tenths / 10) <= 0.02:
        return say(language, "about {count} in {of}", count=tenths, of=10)
    return say(language, "about {count} in {of}", count=round(100 * share), of=100)


def risk_words(output: Output, finding: Finding, language: Language) -> str:
    """Return the word for a risk; without bands, on which side of the threshold it lies."""
    if finding.risk:
        return say(language, RISKS[finding.risk])
    if output.threshold is None:
        return ""
    side = marked("above the release's threshold") if finding.above_threshold else marked("below the release's threshold")
    return say(language, side)


def amount(finding: Finding, language: Language) -> str:
    """Write a quantity with its interval: 35 mg/week (90% interval 24 to 50)."""
    told = f"{number(language, finding.value, 0 if finding.value >= 10 else 1)} {unit(language, finding.unit)}".strip()
    if finding.low is None or finding.high is None or finding.interval_level is None:
        return told
    return say(language, "{value} ({level} interval {low} to {high})", value=told, level=percent(language, finding.interval_level),
               low=number(language, finding.low, 0), high=number(language, finding.high, 0))


def limits(manifest: Manifest, language: Language) -> str:
    """Say what the model must not be used for, where it learnt, and that a person decides."""
    use = manifest.intended_use
    learnt = say(language, "Learnt from {data}, {period}. Recalibrate before use elsewhere.",
                 data=manifest.training_data.name, period=of_release(language, manifest.training_data.period))
    lines = [*(of_release(language, line) for line in (*use.must_not, *use.limits[:2])), learnt]
    return section(say(language, "Limits"), bullets(lines)) + f"\n\n{plain(NOTICE[language])} ({plain(manifest.id)})"


def remarks(assessed: Assessed, untold: Iterable[str]) -> str:
    """Say what lowers trust in this result: flags, what was ignored while reading, what was not sent."""
    language = assessed.language
    lines = [flag_text(flag, language) for flag in assessed.result.flags]
    lines += ignored_lines(assessed.reading.ignored, language)
    lines += [say(language, "Not sent, or in part only: {what}.", what=key) for key in untold]
    return section(say(language, "Remarks"), bullets(lines))


def _reasons(assessed: Assessed, result: Prediction, finding: Finding) -> str:
    """Say one finding and its strongest reasons."""
    language, manifest = assessed.language, assessed.manifest
    output, parts = manifest.output(finding.name), parts_of(result, finding)
    told = f"**{plain(headline(manifest, finding, language))}**"
    moment = in_words(language, manifest.moment, manifest.moment_fr)
    if not moment and manifest.moment_h is not None:
        moment = say(language, "{hours} h after the beginning of the stay", hours=number(language, manifest.moment_h))
    if moment:
        told += "\n\n" + plain(say(language, "Moment: {moment}.", moment=moment))
    if output.bands:
        words = [f"{say(language, RISKS[word])} ≥ {percent(language, limit, _digits(limit))}" for word, limit in output.bands.items()]
        told += "\n\n" + plain(say(language, "Words for the risk: {words}.", words=", ".join(words)))
    shown, others = strongest(tuple(part for part in parts if part.value is not None or not part.missing))
    more = others_words([*others, *(part for part in parts if part.value is None and part.missing)], language)
    unknown = [in_words(language, part.label, part.label_fr) for part in parts if part.missing]
    if len(unknown) > MOST_UNKNOWN:
        unknown = [*unknown[:MOST_UNKNOWN], "…"]
    absent = say(language, "Not known: {what}.", what=", ".join(unknown)) if unknown else ""
    return joined([told, reasons_table(shown, language), plain(more), plain(absent)])


def reasons_table(parts: Sequence[Contribution], language: Language) -> str:
    """Write reasons as a table: value, usual range, and which way each moves the score; nothing when there are none."""
    rows = [[in_words(language, part.label, part.label_fr), value_words(part, language), range_words(part, language),
             direction_words(part, language)] for part in parts]
    head = [say(language, "Reason"), say(language, "Value"), say(language, "Usual range"), say(language, "Effect on the score")]
    return table(head, rows) if rows else ""


def _changes(changes: Sequence[WhatIf], finding: Finding, language: Language) -> str:
    if not changes:
        return ""
    lines = [
        say(language, "{label} in its usual range ({value} → {edge}): {result} instead of {found}",
            label=in_words(language, one.label, one.label_fr), value=_short(one.value, one.unit, language),
            edge=_short(one.moved_to, one.unit, language), result=_figure(one.result, finding, language),
            found=_figure(one.found, finding, language))
        for one in changes
    ]
    return bullets(lines) + "\n\n" + plain(say(language, "Arithmetic of the model, not the effect of a treatment."))


def _refused(assessed: Assessed, refusal: Refusal, occasion: Occasion) -> Made:
    language = assessed.language
    why = reason_in(str(refusal.reason), language)
    detail = joined([
        f"**{plain(say(language, 'No score is given'))}**", plain(_labelled(reason_text(refusal, language), language)),
        plain(_labelled(advice_text(refusal, language), language)), plain(say(language, "That is no all-clear.")),
        remarks(assessed, ()),
        limits(assessed.manifest, language),
    ])
    summary = say(language, "{title}: no score, {why}", title=assessed.title, why=why)
    return card(occasion, summary=summary, indicator="info", detail=detail, manifest=assessed.manifest, status="refused",
                input_sha256=refusal.identity.input_sha256)


def _labelled(text: str, language: Language) -> str:
    """Return the words of a refusal with what is missing called as people call it; in French they are so already."""
    return _MISSING.sub(lambda found: ", ".join(named(one, language) for one in found[0].split(", ")), text)


def _figure(value: float, finding: Finding, language: Language) -> str:
    if finding.kind == "probability":
        return percent(language, value, _digits(value))
    return f"{number(language, value, 0 if value >= 10 else 1)} {unit(language, finding.unit)}".strip()


def _short(value: float, ucum: str, language: Language) -> str:
    text = f"{value:.4g}"
    digits = 0 if "e" in text else len(text.partition(".")[2])
    return f"{number(language, value, digits)} {unit(language, ucum)}".strip()


def _digits(share: float) -> int:
    return 1 if share < 0.1 else 0
