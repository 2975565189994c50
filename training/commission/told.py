"""From what was found to commissioning.json: figures as they are, gates, decision and reasons in the language of the reader."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from models.commissioned import Commissioning
from training.commission import gates, lines, thresholds
from training.commission.found import Found
from training.commission.report_rules import examples, measure
from training.commission.words import Language, percent, say


def commissioning_of(found: Found, language: Language = "en") -> Commissioning:
    """Return the whole finding in words of one language."""
    judged = gates.judge(found, language)
    decision, reasons = gates.decide(judged, language)
    proposals = (thresholds.told(one, language) for one in found.tuned.values())
    fits = (lines.told(one, found.rule.calibration, language) for one in found.fitted.values())
    return Commissioning(
        release=found.manifest.id, manifest_sha256=found.manifest_sha256, onnx_sha256=found.onnx_sha256,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"), archive=_archive(found), truth=_truth(found, language),
        n=len(found.rows), scored=found.of("scored"), refused=found.of("refused"), failed=found.of("failed"),
        refusals=found.reasons("refused"), failures=found.reasons("failed"), figures=found.figures, subgroups=found.subgroups,
        gates=tuple(one.gate for one in judged), thresholds=tuple(one for one in proposals if one is not None),
        lines=tuple(one for one in fits if one is not None), advice=gates.advice_of(found, language), decision=decision,
        reasons=reasons, reference=found.reference,
    )


def limits_of(found: Found, language: Language) -> list[str]:
    """Return what this report cannot tell, in words."""
    told = [say(language, "Whether any of these cases was used to make the release: its maker must say so. Never commission on "
                          "training cases.")]
    if found.truth.kind == "codes":
        told.append(say(language, "What the image or record shows: codes say what was treated and billed, often from other "
                                  "findings, and leave things out. Errors of the codes count against the release, or for it."))
    if found.truth.kind == "reports":
        told.append(say(language, "What the image shows: reports were read by simple rules. On the sentences written to measure "
                                  "them they find {sensitivity} of what is stated and are right about {specificity} of what is "
                                  "not; have a hundred of your own reports read by a person before relying on it.",
                                  **_rules_figures(language)))
    if found.truth.kind == "verdicts":
        told.append(say(language, "How it does on cases nobody judged: only those that a reader looked at and answered are in the "
                                  "truth (verification bias), and the reader had seen the result."))
    if found.truth.prevalences:
        told.append(say(language, "Predictive values of practice directly: the truth set does not have the prevalence of practice, "
                                  "so they are worked out at the stated one; calibration and the line are corrected for it, "
                                  "which is right where the ill were chosen by nothing but being ill."))
    if archived := [one for name, one in found.outcomes.items()
                    if name not in found.truth.prevalences and one.output.shown_only_if is None]:
        told.append(say(language, "Predictive values and probabilities in practice, unless the cases are all those of a period: "
                                  "they, and a proposed line, hold at the prevalence of this archive ({shares}) alone. Where ill "
                                  "people were sought out for it, state the prevalence of practice in the truth file.",
                        shares=", ".join(percent(language, one.positives / one.n) for one in archived)))
    told += [
        say(language, "Whether it helps: figures of a model are not those of a reader with it, and none is about what patients had "
                      "of it."),
        say(language, "What comes: new scanners, protocols and patients can change every figure. It is watched once it is live."),
        say(language, "Rare kinds of cases and small groups: where a group is too few to say, nothing is known of it, good or bad."),
    ]
    told += [say(language, note) for note in found.notes]
    return told


def _rules_figures(language: Language) -> dict[str, str]:
    measured = measure(examples())
    return {"sensitivity": percent(language, measured.sensitivity), "specificity": percent(language, measured.specificity)}


def _archive(found: Found) -> dict[str, Any]:
    """Return what was scored: counts and hashes, never a place or a name."""
    kept = {key: found.about[key] for key in ("kind", "cases", "period", "cases_sha256", "left_out") if key in found.about}
    return {**kept, "cases": len(found.rows), "persons": len({row.group for row in found.rows}),
            "studies": len({row.ids["study"] for row in found.rows if row.ids.get("study")})}


def _truth(found: Found, language: Language) -> dict[str, Any]:
    truth = found.truth
    return {
        "kind": truth.kind, "joined_by": truth.id, "lines": truth.lines, "cases_with_a_line": truth.joined,
        "outputs": {
            name: {"known": one.n, "with_the_finding": one.positives, "scored": one.scored().n, "missing": truth.missing.get(name, 0),
                   "conflicting": truth.conflicting.get(name, 0),
                   **({"stated_prevalence": truth.prevalences[name]} if name in truth.prevalences else {})}
            for name, one in found.outcomes.items()
        },
        "said": truth.said, "limits": limits_of(found, language),
    }
