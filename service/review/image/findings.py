"""What a result says, as a page says it: certainty in words and numbers, measurements with units, and what was refused and why."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.manifest import Manifest, Output
from service.flags import flag_text
from service.refusals import advice_in, message_in, reason_in
from service.store.studies import HeldResult
from service.words import Language, in_words, likely, marked, number, of_release, percent, say, unit

NEAR_ODDS = 0.7  # a probability whose logit is so near its threshold's may as well lie on the other side: odds within a factor of 2
NEAR_LIMIT = 0.8  # share of the limit beyond which a model declines: what comes near it looks unlike what the model learnt from
# Certainty in words: below this share, this is what it is called. The numbers stand beside them.
CERTAINTY: tuple[tuple[float, str], ...] = (
    (0.1, marked("unlikely")), (0.35, marked("less likely than not")), (0.65, marked("possible")), (0.9, marked("likely")),
    (1.01, marked("very likely")),
)
MM3_PER_ML = 1000


@dataclass(frozen=True)
class Scored:
    """One finding with a probability. Shares are of 1."""

    name: str
    label: str
    share: float
    shown: str
    words: str
    of_hundred: str
    threshold: float | None
    against: str  # on which side of its threshold, in words
    above: bool | None
    refines: bool  # says more of another finding and nothing by itself


@dataclass(frozen=True)
class Measured:
    """One quantity with its unit."""

    name: str
    label: str
    amount: str
    other: str  # the same in another unit, "" without
    interval: str


@dataclass(frozen=True)
class Declined:
    """Why a model did not say anything, and what to do."""

    who: str
    reason: str
    why: str
    advice: str


@dataclass(frozen=True)
class Said:
    """All that one result says to a reader in one language."""

    model: str  # release id, "none"
    title: str
    version: str
    status: str
    scored: tuple[Scored, ...] = ()
    measured: tuple[Measured, ...] = ()
    absent: tuple[str, ...] = ()  # what the model can say and did not, and why
    flags: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    declined: tuple[Declined, ...] = ()
    looked_for: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    note: str = ""  # what the layer means

    @property
    def is_clear(self) -> bool:
        """Whether nothing that was looked for reaches its threshold: which is not to say that nothing is there."""
        return bool(self.scored) and not any(one.above for one in self.scored)


def said_by(result: HeldResult, manifests: Mapping[str, Manifest], language: Language) -> Said:
    """Say a result."""
    manifest = manifests.get(result.model)
    title, version = _title(result.model, manifest, language)
    if result.status != "scored":
        return Said(result.model, title, version, result.status, declined=_declined(result, title, manifests, language),
                    limits=_limits(manifest, language), flags=_flags(result, language))
    findings = result.summary.get("findings", [])
    explanation = result.summary.get("explanation", {})
    refining = {one.name for one in manifest.outputs if one.shown_only_if} if manifest else set()
    scored = tuple(_scored(one, one["name"] in refining, language) for one in findings if one.get("kind") == "probability")
    return Said(
        result.model, title, version, "scored", scored=scored,
        measured=tuple(_measured(one, language) for one in findings if one.get("kind") != "probability"),
        absent=_absent(findings, manifest, language), flags=_flags(result, language),
        unsure=_unsure(result, scored, language),
        looked_for=tuple(_label(one, language) for one in (manifest.outputs if manifest else ()))
        or tuple(in_words(language, str(one["label"]), str(one.get("label_fr", ""))) for one in findings),
        limits=_limits(manifest, language),
        must_not=tuple(of_release(language, words) for words in manifest.intended_use.must_not) if manifest else (),
        note=in_words(language, str(explanation.get("note", "")), str(explanation.get("note_fr", ""))),
    )


def is_near(value: float, threshold: float | None) -> bool:
    """Tell whether a probability lies so near its threshold that little would put it on the other side."""
    if threshold is None:
        return False
    return abs(_logit(value) - _logit(threshold)) < NEAR_ODDS


def in_a_hundred(share: float, language: Language) -> str:
    """Say a probability as a count of people."""
    if share < 0.01:
        return say(language, "Of 100 patients scored like this, fewer than 1 has it.")
    if share > 0.99:
        return say(language, "Of 100 patients scored like this, more than 99 have it.")
    return say(language, "Of 100 patients scored like this, about {count} have it.", count=number(language, 100 * share))


def _scored(finding: Mapping[str, Any], refines: bool, language: Language) -> Scored:
    share, threshold = float(finding["value"]), finding.get("threshold")
    digits = _digits(share, threshold)
    against = ""
    if threshold is not None:
        limit = percent(language, float(threshold), digits)
        against = (say(language, "above its threshold of {threshold}", threshold=limit) if finding.get("above_threshold")
                   else say(language, "below its threshold of {threshold}: this does not rule it out", threshold=limit))
    words = next(word for below, word in CERTAINTY if share < below)
    return Scored(
        str(finding["name"]), in_words(language, str(finding["label"]), str(finding.get("label_fr", ""))), share,
        likely(language, share, digits), say(language, words), in_a_hundred(share, language),
        None if threshold is None else float(threshold), against, finding.get("above_threshold"), refines,
    )


def _measured(finding: Mapping[str, Any], language: Language) -> Measured:
    value, ucum = float(finding["value"]), str(finding.get("unit", ""))
    amount = f"{number(language, value, 2)}\u00a0{unit(language, ucum)}".strip()
    other = f"{number(language, value * MM3_PER_ML)}\u00a0mm³" if ucum == "mL" else ""
    interval = ""
    if finding.get("low") is not None and finding.get("high") is not None and finding.get("interval_level") is not None:
        interval = say(language, "{level} interval {low} to {high}", level=percent(language, float(finding["interval_level"])),
                       low=number(language, float(finding["low"]), 2), high=number(language, float(finding["high"]), 2))
    return Measured(str(finding["name"]), in_words(language, str(finding["label"]), str(finding.get("label_fr", ""))), amount, other,
                    interval)


def _absent(findings: list[dict[str, Any]], manifest: Manifest | None, language: Language) -> tuple[str, ...]:
    """Say what was not given, and on what it depends."""
    given, said = {one["name"] for one in findings}, []
    for output in manifest.outputs if manifest else ():
        if output.name in given:
            continue
        needed = next((one for one in manifest.outputs if one.name == output.shown_only_if), None) if manifest else None
        if needed is None:
            said.append(say(language, "{finding}: not given.", finding=_label(output, language)))
        else:
            first = _label(needed, language)
            said.append(say(language, "{finding}: not given, for {first} does not reach its threshold.",
                            finding=_label(output, language), first=first[:1].lower() + first[1:]))
    return tuple(said)


def _unsure(result: HeldResult, scored: tuple[Scored, ...], language: Language) -> tuple[str, ...]:
    """Say why a reader should trust this score less than another."""
    said = [say(language, "{finding} lies close to its threshold.", finding=one.label)
            for one in scored if not one.refines and is_near(one.share, one.threshold)]
    quality = [float(value) for value in result.summary.get("quality", {}).values() if isinstance(value, int | float)]
    if quality and max(quality) >= NEAR_LIMIT:
        said.append(say(language, "The image is unlike most that the model learnt from: at {share} of the limit where it declines.",
                        share=percent(language, min(1.0, max(quality)))))
    return tuple(said)


def _flags(result: HeldResult, language: Language) -> tuple[str, ...]:
    return tuple(flag_text(str(flag), language) for flag in result.summary.get("flags", []))


def _declined(result: HeldResult, title: str, manifests: Mapping[str, Manifest], language: Language) -> tuple[Declined, ...]:
    """Say why: a refusal of one model, or why none took the images, each with its reason."""
    if result.status == "refused":
        return (_decline(title, result.summary, language),)
    said = []
    for one in result.summary.get("reasons", []):
        model = str(one.get("model", ""))
        who = _title(model, manifests.get(model), language)[0] if model else ""
        said.append(_decline(who, one, language))
    return tuple(said)


def _decline(who: str, told: Mapping[str, Any], language: Language) -> Declined:
    reason = str(told.get("reason", ""))
    return Declined(who, reason_in(reason, language), message_in(str(told.get("message", "")), reason, language),
                    advice_in(str(told.get("advice", "")), reason, language))


def _limits(manifest: Manifest | None, language: Language) -> tuple[str, ...]:
    return tuple(of_release(language, words) for words in manifest.intended_use.limits) if manifest else ()


def _title(model: str, manifest: Manifest | None, language: Language) -> tuple[str, str]:
    if manifest is not None:
        return in_words(language, manifest.title, manifest.title_fr), manifest.version
    name, _, version = model.rpartition("-")
    return (name or model).replace("_", " "), version if name else ""


def _label(output: Output, language: Language) -> str:
    return in_words(language, output.label, output.label_fr)


def _logit(share: float) -> float:
    inside = min(1 - 1e-6, max(1e-6, share))
    return math.log(inside / (1 - inside))


def _digits(value: float, threshold: float | None) -> int:
    """Return how many decimals of a percentage tell a probability from its threshold: none, unless both round to the same."""
    if threshold is None:
        return 0
    return next((digits for digits in (0, 1, 2) if f"{100 * value:.{digits}f}" != f"{100 * threshold:.{digits}f}"), 0)
