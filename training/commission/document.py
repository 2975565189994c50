"""The report as parts in order, in one language: what page.py draws as HTML and pdf.py as PDF. Nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure as Drawing

from models.commissioned import Commissioning, Figure
from models.manifest import Output
from training.commission import figures, pictures
from training.commission.found import Found
from training.commission.words import Language, count, number, percent, say, span

DECIDED = {"go": "May go live here", "go_with_conditions": "May go live here, with conditions", "no_go": "Do not go live here"}
MET = {True: "met", False: "not met", None: "cannot be judged"}
FORESTS = (("sensitivity", "Sensitivity by group"), ("specificity", "Specificity by group"), ("auroc", "AUROC by group"))
SHARES = ("prevalence", "sensitivity", "specificity", "ppv", "npv", "sensitivity_unscored_as_negative",
          "sensitivity_unscored_as_positive",
          "specificity_unscored_as_negative", "specificity_unscored_as_positive", "ppv_at_stated_prevalence",
          "npv_at_stated_prevalence",
          "observed_in_negligible", "observed_in_low", "observed_in_moderate", "observed_in_high")
LABELS = {
    "prevalence": "Prevalence in the truth set", "sensitivity": "Sensitivity", "specificity": "Specificity",
    "ppv": "Positive predictive value", "npv": "Negative predictive value",
    "sensitivity_unscored_as_negative": "Sensitivity, cases without a score counted as not called",
    "sensitivity_unscored_as_positive": "Sensitivity, cases without a score counted as called",
    "specificity_unscored_as_negative": "Specificity, cases without a score counted as not called",
    "specificity_unscored_as_positive": "Specificity, cases without a score counted as called",
    "ppv_at_stated_prevalence": "Positive predictive value at the stated prevalence",
    "npv_at_stated_prevalence": "Negative predictive value at the stated prevalence",
    "auroc": "AUROC", "brier": "Brier score", "calibration_slope": "Calibration slope (1 is right)",
    "calibration_in_the_large": "Calibration in the large (0 is right)", "observed_over_expected": "Observed over expected (1 is "
        "right)",
    "ece": "Expected calibration error",
    "observed_in_negligible": "Observed in the band negligible", "observed_in_low": "Observed in the band low",
    "observed_in_moderate": "Observed in the band moderate", "observed_in_high": "Observed in the band high",
    "unscored": "Not scored",
}


@dataclass(frozen=True)
class Table:
    """Rows under a header; columns from ``right`` on hold figures. ``marks``: row → met, not met or cannot be judged."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: int = 1
    marks: tuple[bool | None, ...] = ()
    widths: tuple[float, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A drawing with what it shows in words; ``wide``: it needs the whole width."""

    drawing: Drawing
    alt: str
    wide: bool = False


@dataclass(frozen=True)
class Part:
    """A heading with what stands below it."""

    heading: str
    texts: tuple[str, ...] = ()
    points: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    after: str = ""


@dataclass(frozen=True)
class Document:
    """The whole report."""

    language: Language
    title: str
    lead: str
    decision: Literal["go", "go_with_conditions", "no_go"]
    decided: str
    reasons: tuple[str, ...]
    tiles: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    footer: str
    notice: str = ""
    headings: dict[str, str] = field(default_factory=dict)


def document(found: Found, told: Commissioning, language: Language, site: str = "") -> Document:
    """Lay the report out. ``told``: the finding in the same language; ``site``: a name that the hospital gave."""
    manifest = found.manifest
    title = manifest.title_fr if language == "fr" else manifest.title
    where = say(language, "at {site}", site=site) if site else say(language, "at this site")
    regulatory = say(language, "Research and evaluation only. Not a medical device, not CE-marked.") if (
        manifest.intended_use.regulatory.startswith("Research and evaluation only")) else manifest.intended_use.regulatory
    return Document(
        language, say(language, "Commissioning: {title}", title=title),
        say(language, "{release}, {where}, {day}. Is this model good here?", release=manifest.id, where=where, day=told.made_at[:10]),
        told.decision, say(language, DECIDED[told.decision]), told.reasons, tuple(_tiles(found, language)), tuple(_parts(found, told,
            language)),
        say(language, "{release} · manifest.json sha256 {manifest} · model.onnx sha256 {onnx} · made {day}", release=manifest.id,
            manifest=found.manifest_sha256, onnx=found.onnx_sha256, day=told.made_at), regulatory,
        {key: say(language, text) for key, text in (("why", "Why"), ("sign", "This report advises. A named person decides, and "
            "signs."))},
    )


def _parts(found: Found, told: Commissioning, language: Language) -> Iterator[Part]:
    yield Part(say(language, "What was required and what was seen"), tables=(Table(
        tuple(say(language, word) for word in ("Required", "Seen", "")),
        tuple((gate.required, gate.seen, say(language, MET[gate.met])) for gate in told.gates), right=9,
        marks=tuple(gate.met for gate in told.gates), widths=(0.47, 0.36, 0.17)),))
    yield _cases(found, told, language)
    for output in found.judged:
        yield _output(found, told, output, language)
    if found.subgroups:
        yield _groups(found, language)
    yield _refused(found, language)
    if told.advice:
        yield Part(say(language, "How many cases more"), points=told.advice)
    yield Part(say(language, "What this cannot tell"), points=tuple(told.truth["limits"]))
    yield Part(say(language, "Sign-off"), texts=(
        say(language, "The release goes live here only when a named person has signed this finding: python -m service release sign "
                      "{release} --report FOLDER", release=found.manifest.id),),
        tables=(Table(tuple(say(language, word) for word in ("Name and function", "Decision", "Date and signature")), (("\u00a0", "",
            ""),),
                      right=9, widths=(0.4, 0.25, 0.35)),))


def _tiles(found: Found, language: Language) -> Iterator[tuple[str, str]]:
    yield count(len(found.rows)), say(language, "cases of {persons} persons", persons=len({row.group for row in found.rows}))
    for name, words in (("refused", "refused"), ("failed", "failed")):
        one = figures.named(found.figures, name)
        yield percent(language, one.value if one else None, 1), say(language, words)
    if found.judged:
        main = found.judged[0]
        for name in ("auroc", "sensitivity", "specificity"):
            one = figures.named(found.figures, name, main.name)
            if one is not None and one.value is not None:
                shown = percent(language, one.value, 1) if name != "auroc" else number(language, one.value, 2)
                yield shown, say(language, LABELS[name])


def _cases(found: Found, told: Commissioning, language: Language) -> Part:
    truth = told.truth
    rows = [(label_of(output, language), count(one["known"]), count(one["with_the_finding"]), count(one["scored"]),
             count(one["missing"]),
             count(one["conflicting"]))
            for output in found.judged for one in (truth["outputs"][output.name],)]
    kinds = {"table": "a table of labels", "codes": "codes of diagnoses", "reports": "reports, read by simple rules",
             "verdicts": "verdicts of readers who had seen the result", "data": "outcomes of a public data set"}
    period = found.about.get("period") or ""
    texts = [say(language, "{n} cases of {persons} persons were scored with the release as it would serve here: {scored} scored, "
                           "{refused} refused, {failed} failed.", n=told.n, persons=told.archive["persons"], scored=told.scored,
                           refused=told.refused,
                 failed=told.failed),
             say(language, "The truth comes from {kind}.", kind=say(language, kinds[found.truth.kind]))]
    if period:
        words = " – ".join(str(one) for one in period) if isinstance(period, list | tuple) else str(period)
        texts.append(say(language, "Period: {period}.", period=words))
    if found.truth.said:
        texts.append(found.truth.said)
    header = ("", "Truth known", "with the finding", "of them scored", "truth missing", "contradictory")
    return Part(say(language, "Cases and truth"), tuple(texts), tables=(
        Table(tuple(say(language, word) if word else "" for word in header), tuple(rows)),) if rows else ())


def _output(found: Found, told: Commissioning, output: Output, language: Language) -> Part:
    outcome = found.outcomes[output.name]
    tuned, fitted = found.tuned.get(output.name), found.fitted.get(output.name)
    mine = [one for one in found.figures if one.output == output.name]
    texts = []
    if output.shown_only_if is not None:
        texts.append(say(language, "Shown only where {other} is called: these are figures of such cases alone.",
                         other=label_of(found.manifest.output(output.shown_only_if), language)))
    if output.threshold is not None:
        texts.append(say(language, "At the release's own threshold of {threshold}. Shares: Wilson's interval, allowing for several "
                                   "cases of one person; the rest: bootstrap over persons. All intervals are of 95 %.",
                         threshold=number(language, output.threshold, 3)))
    tables = [Table((say(language, "Figure"), say(language, "Value (95 % interval)"), "n"),
                    tuple((say(language, LABELS.get(one.name, one.name)), shown(one, language), count(one.n)) for one in mine),
                    widths=(0.55, 0.33, 0.12))]
    for proposal in told.thresholds:
        if proposal.output == output.name:
            texts.append(f"{say(language, 'Proposed threshold: {value}.', value=number(language, proposal.proposed, 4))} "
                         f"{proposal.reason}")
    for line in told.lines:
        if line.output == output.name:
            texts.append(say(language, "Proposed line: logit × {slope} + {intercept}.", slope=number(language, line.slope),
                             intercept=number(language, line.intercept)) + " " + line.said)
            after = {one.name: one for one in line.after}
            tables.append(Table(tuple(say(language, word) for word in ("Calibration", "As it is", "With the line, on other persons")
                ), tuple(
                (say(language, LABELS[one.name]), span(language, one, 2), span(language, after.get(one.name),
                                                                               2)) for one in line.before)))
    drawn = []
    if min(outcome.scored().positives, outcome.scored().negatives) > 1:
        drawn = [Picture(pictures.calibration(outcome, fitted, language, found.truth.prevalences.get(output.name)),
                         say(language, "Calibration curve")),
                 Picture(pictures.trade_off(outcome, tuned, language), say(language, "Trade-off curve of the threshold"))]
    return Part(label_of(output, language), tuple(texts), tables=tuple(tables), pictures=tuple(drawn))


def _groups(found: Found, language: Language) -> Part:
    drawn = []
    for output in found.judged:
        if output.shown_only_if is not None:
            continue
        for name, heading in FORESTS:
            title = say(language, "{output}: {what}", output=label_of(output, language), what=say(language, heading))
            whole = _in_force(found, output)
            drawing = pictures.forest(found.subgroups, whole, name, output.name, title, language)
            if drawing is not None:
                drawn.append(Picture(drawing, title, wide=True))
    rows = []
    for one in found.subgroups:
        of = {figure.name: figure for figure in one.figures}
        output = found.manifest.output(one.figures[0].output) if one.figures else None
        rows.append((label_of(output, language) if output else "", say(language, one.by),
                     say(language, one.group) if one.group == "not stated" else one.group, count(one.n),
                     *(shown(of[name], language) if name in of and of[name].value is not None else say(language, "too few")
                       for name in ("unscored", "sensitivity", "specificity", "auroc"))))
    header = ("", "by", "group", "n", "Not scored", "Sensitivity", "Specificity", "AUROC")
    return Part(say(language, "Subgroups"), (say(
        language, "Sensitivity and specificity are those at the release's own threshold, or at the proposed one where it has none. A "
                  "figure needs at least {few} cases of its kind in the group.", few=found.rule.subgroups.few),),
                  pictures=tuple(drawn), tables=(Table(
            tuple(say(language, word) if word else "" for word in header), tuple(rows), right=3,
            widths=(0.12, 0.1, 0.14, 0.05, 0.15, 0.15, 0.15, 0.14)),))


def _in_force(found: Found, output: Output) -> list[Figure]:
    tuned = found.tuned.get(output.name)
    if output.threshold is not None or tuned is None or tuned.value is None:
        return list(found.figures)
    return [*figures.called(found.outcomes[output.name].scored(), tuned.value),
            *(one for one in found.figures if one.name not in ("sensitivity", "specificity"))]


def _refused(found: Found, language: Language) -> Part:
    refused, failed = found.reasons("refused"), found.reasons("failed")
    n = max(len(found.rows), 1)
    drawing = pictures.reasons(refused, n, language)
    rows = [(say(language, "refused"), say(language, reason.replace("_", " ")), count(number_), percent(language, number_ / n, 1))
            for reason, number_ in refused.items()]
    rows += [(say(language, "failed"), reason, count(number_), percent(language, number_ / n, 1)) for reason,
             number_ in failed.items()]
    texts = () if rows else (say(language, "No case was refused and none failed."),)
    return Part(say(language, "Refused and failed"), texts, pictures=(
        (Picture(drawing, say(language, "Refused, by reason"), wide=True),) if drawing is not None else ()), tables=(Table(
            tuple(say(language, word) if word else "" for word in ("", "Reason", "Cases", "Share")), tuple(rows), right=2),
            ) if rows else ())


def shown(one: Figure, language: Language) -> str:
    """Write a figure as its kind is read: shares in percent."""
    if one.name not in (*SHARES, "unscored", "refused", "failed") or one.value is None:
        return span(language, one)
    if one.low is None or one.high is None:
        return percent(language, one.value, 1)
    return say(language, "{value} ({low} to {high})", value=percent(language, one.value, 1), low=number(language, 100 * one.low, 1),
               high=number(language, 100 * one.high, 1))


def label_of(output: Output, language: Language) -> str:
    """Return the output's own words."""
    return output.label_fr if language == "fr" else output.label
