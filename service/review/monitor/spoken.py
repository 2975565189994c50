"""Spoken: streams, kinds of alarm and rules in words, for people who do not know what a PSI is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.manifest import Manifest
from service.monitor.judged import EMBEDDING
from service.words import Language, in_words, marked, number, percent, say

KINDS = {
    "input_drift": marked("What comes in"), "output_drift": marked("What it says"), "refusals": marked("What it refuses"),
    "agreement": marked("What professionals say of it"), "precision": marked("Alerts that are right"),
    "latency": marked("How long it takes"), "golden": marked("Golden numbers"),
}
ADVICE = {
    "input_drift": marked("Ask what changed: a machine, a protocol, a laboratory, a unit, who is sent here. Until it is known, read "
                          "its results as those of a model that was never tried here."),
    "output_drift": marked("Look whether patients changed, or what comes in. If neither did, take it out of service and "
                           "commission it again."),
    "refusals": marked("Look at the reasons below: they say which check fails. Nothing wrong was told, but results are missing."),
    "agreement": marked("Read some of what was contradicted. If readers are right, put the release in shadow or off; if one reader "
                        "judges otherwise than the others, talk it over."),
    "precision": marked("Too many alerts are wrong: they tire people, and true ones are missed. Commission it again here; its "
                        "threshold may need to move."),
    "latency": marked("Look at the load of the machine and at its disk. Results are right, but late."),
    "golden": marked("Do not trust its scores until it is known why. Look at what was updated on this machine; switch the release "
                     "off meanwhile."),
}
_INPUT = {
    "input.mean": marked("brightness"), "input.sd": marked("contrast"), "input.p05": marked("dark end"),
    "input.p50": marked("middle grey"), "input.p95": marked("bright end"), "input.black": marked("black share"),
    "input.saturated": marked("saturated share"), "input.border_black": marked("black border"), "input.edges": marked("edges"),
    "input.sharpness": marked("sharpness"), "input.levels": marked("grey levels"), "input.slices": marked("slices"),
    "input.rows": marked("rows of pixels"), "input.columns": marked("columns of pixels"),
    "input.spacing_mm": marked("pixel spacing"), EMBEDDING: marked("all inputs together"),
}
_OTHERS = {
    "refused": marked("share that is refused"), "all": marked("all verdicts"), "alerts": marked("raised alerts"),
    "seconds": marked("median time"), "golden": marked("golden inputs and studies"),
    "agreement": marked("share of verdicts that agree"), "precision": marked("share of alerts taken for right"),
}
SOURCES = {
    "commissioning": marked("what commissioning saw here"), "release": marked("its validation data"),
    "first_results": marked("its first 200 results here"), "none": marked("nothing yet: too few results"),
}
GROUPS = {"sex": marked("Sex"), "age": marked("Age"), "department": marked("Department"), "view": marked("View"),
          "manufacturer": marked("Manufacturer")}
REASONS = {  # of models.prediction.Reason
    "wrong_modality": marked("another modality"), "wrong_body_part": marked("another body part"),
    "wrong_view": marked("another view"), "wrong_age": marked("another age"),
    "wrong_geometry": marked("another geometry"), "too_small": marked("too small an image"),
    "blank": marked("a blank image"), "clipped": marked("a clipped image"),
    "out_of_distribution": marked("unlike what it learnt from"), "too_few_measurements": marked("too few measurements"),
    "impossible_value": marked("an impossible value"), "incomplete_explanation": marked("an incomplete explanation"),
}
SEXES = {"M": marked("male"), "F": marked("female")}


def stream_words(name: str, manifest: Manifest | None, language: Language) -> str:
    """Return what a stream is called."""
    if name in _INPUT or name in _OTHERS:
        return say(language, {**_INPUT, **_OTHERS}[name])
    kind, _, rest = name.partition(".")
    if kind == "mean":
        return stream_words(rest, manifest, language)
    if kind in ("output", "positive") and manifest is not None:
        output = next((one for one in manifest.outputs if one.name == rest), None)
        label = in_words(language, output.label, output.label_fr) if output else rest
        return say(language, "share above the threshold: {label}", label=label) if kind == "positive" else label
    if kind == "feature" and manifest is not None:
        feature = next((one for one in manifest.features if one.name == rest), None)
        return in_words(language, feature.label, feature.label_fr) if feature else rest
    if kind == "ood":
        return say(language, "distance from what it learnt ({name})", name=rest)
    by, colon, group = name.partition(": ")
    if not colon or by not in GROUPS:
        return name
    return say(language, "{by}: {group}", by=say(language, GROUPS[by]), group=say(language, SEXES.get(group, group)))


def rule_words(one: Mapping[str, Any], manifest: Manifest | None, language: Language) -> str:
    """Return why a signal stands out."""
    name = stream_words(str(one["stream"]), manifest, language)
    if "seen" in one:
        share = one.get("rule") in ("cumulative_sum", "far_beyond")
        then, now = ((percent(language, one[key], 1) if share else _figure(one[key], language)) for key in ("expected", "seen"))
        return say(language, "{name}: was {then}, is {now}.", name=name, then=then, now=now)
    size = number(language, one.get("psi", one.get("mmd", 0.0)), 2)
    if one.get("rule") == "two_windows":
        return say(language, "{name}: differs in two windows in a row (by {size}; from {limit} it counts).", name=name, size=size,
                   limit=number(language, one["limit"], 2))
    return say(language, "{name}: far beyond what was known (by {size}).", name=name, size=size)


def _figure(value: float, language: Language) -> str:
    return number(language, value, 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 3)
