"""What a model takes, does, gives and must not be used for: one text for terminal, card and review page."""

from __future__ import annotations

from models.manifest import Manifest, Output, Range
from models.prediction import Prediction

WHAT_IT_IS = {
    "image_classification": "classifies one image",
    "volume_segmentation": "outlines structures in one volume and measures them",
    "risk": "estimates a risk from a patient record",
    "department": "estimates what a department will need from the predictions of everyone in it",
}


def describe(manifest: Manifest) -> str:
    """Return the description as plain text, in Markdown that reads well unrendered."""
    sections = (
        ("Purpose", [manifest.intended_use.purpose]),
        ("Must not", manifest.intended_use.must_not),
        ("Takes", _takes(manifest)),
        ("Does", _does(manifest)),
        ("Gives", [_gives(output) for output in manifest.outputs]),
        ("Explains", _explains(manifest)),
        ("Declines", _declines(manifest)),
        ("Limits", [*manifest.intended_use.limits, *manifest.explains.known_limits]),
        ("Learnt from", _learnt(manifest)),
        ("Oversight", [manifest.intended_use.human_oversight, manifest.intended_use.regulatory]),
    )
    head = f"{manifest.title} ({manifest.id}) {WHAT_IT_IS[manifest.task]}. {manifest.summary}"
    parts = [f"{title}:\n" + "\n".join(f"- {line}" for line in lines) for title, lines in sections if lines]
    return "\n\n".join([head, *parts]) + "\n"


def main_reason(result: Prediction) -> str:
    """Return the strongest part of the explanation in a few words."""
    explanation = result.explanation
    if explanation.measurements:
        first = max(explanation.measurements, key=lambda c: abs(c.logit))
        what = "dose" if result.main.kind == "quantity" else "odds"
        return f"{first.label}: {what} x {first.odds_multiplier:.2g}"
    if explanation.mask is not None:
        return f"mask of {', '.join(explanation.mask.names)}"
    return f"heat map of {explanation.heatmaps[0].finding}" if explanation.heatmaps else "below the threshold: no map"


def _takes(manifest: Manifest) -> list[str]:
    accepts = manifest.accepts
    lines = [f"For: {manifest.intended_use.population}"]
    for name, words in (("Modality", accepts.modalities), ("Body part", accepts.body_parts), ("View", accepts.views)):
        if words:
            lines.append(f"{name}: {', '.join(words)}")
    for name, limits, unit in (
        ("Age", accepts.age_years, "years"),
        ("Voxel spacing", accepts.spacing_mm, "mm"),
        ("Field of view", accepts.extent_mm, "mm on every axis"),
    ):
        if limits != Range():
            lines.append(f"{name}: {_limits(limits)} {unit}")
    if manifest.task == "volume_segmentation":
        lines.append(f"Slices: {_limits(accepts.slices)}")
    if accepts.min_rows or accepts.min_columns:
        lines.append(f"Pixels: at least {accepts.min_rows} x {accepts.min_columns}")
    if manifest.features:
        codes = sorted({str(f.params["code"]) for f in manifest.features if "code" in f.params})
        needed = manifest.refuses.required
        optional = f"each optional but {', '.join(needed)}" if needed else "each optional"
        lines.append(f"Measurements ({len(codes)}), {optional}: {', '.join(codes)}")
    if manifest.moment:
        lines.append(f"Moment of prediction: {manifest.moment}")
    if manifest.moment_h is not None:
        lines.append(f"Only what was known up to {manifest.moment_h:g} h after the start of the record")
    return lines


def _does(manifest: Manifest) -> list[str]:
    steps = [f"{s.name}({', '.join(f'{k}={v}' for k, v in s.params.items())})" for s in manifest.steps]
    lines = [f"Prepares with {' then '.join(steps)}"] if steps else []
    if manifest.features:
        pairs = sum(len(term.features) == 2 for term in manifest.terms)
        lines.append(
            f"Computes {len(manifest.features)} features and adds {len(manifest.terms)} terms, {pairs} of them pairs"
        )
    window = manifest.graph.window
    if window is not None:
        lines.append(
            f"Scores windows of {' x '.join(map(str, window.roi))} voxels (z, y, x), overlapping by "
            f"{' x '.join(f'{share:.0%}' for share in window.overlap)} and blended with {window.mode} weights, in one ONNX graph "
            f"(opset {manifest.graph.opset}, sha256 {manifest.files['model.onnx'][:12]}…); draws the outline on the slices sent"
        )
        return lines
    adopted = not all(output.calibrated for output in manifest.outputs)
    lines.append(
        f"{'Scores and explains' if adopted else 'Scores, calibrates, explains and judges the input'} in one ONNX graph "
        f"(opset {manifest.graph.opset}, sha256 {manifest.files['model.onnx'][:12]}…)"
    )
    return lines


def _gives(output: Output) -> str:
    sure = "calibrated probability" if output.calibrated else "probability by the model's own account, calibration unknown"
    what = sure if output.kind == "probability" else f"{output.kind} in {output.unit}"
    if output.interval_level is not None:
        what += f", with an interval that holds {output.interval_level:.0%} of cases"
    text = f"{output.label} ({output.label_fr}): {what}"
    if output.threshold is not None:
        text += f", positive from {output.threshold:.3g}"
        text += f" ({output.threshold_reason})" if output.threshold_reason else ""
    if output.bands:
        text += ", " + ", ".join(f"{word} risk from {limit:.3g}" for word, limit in output.bands.items())
    return text + (f", only when {output.shown_only_if} is positive" if output.shown_only_if else "")


def _explains(manifest: Manifest) -> list[str]:
    explains = manifest.explains
    return [
        f"{explains.method.replace('_', ' ').capitalize()}, against {explains.baseline}; the parts sum to the score "
        f"within {explains.completeness_tolerance:.0e}, checked on every result",
        explains.note,
    ]


def _declines(manifest: Manifest) -> list[str]:
    refuses = manifest.refuses
    lines = ["When what is stated about the input contradicts what the model takes"]
    if refuses.min_measured:
        lines.append(f"When fewer than {refuses.min_measured} of {', '.join(refuses.core_codes)} were measured")
    if refuses.required:
        lines.append(f"When one of {', '.join(refuses.required)} is not known")
    lines += [
        f"When {code} has fewer than {count} values in the last {minutes:g} min" for code, (count, minutes) in refuses.recent.items()
    ]
    lines += [f"When the latest {code} is more than {minutes:g} min old" for code, minutes in refuses.newest_min.items()]
    lines += [f"When {code} is not {_limits(limits)}: it learnt from nobody beyond" for code, limits in refuses.within.items()]
    if refuses.impossible_values:
        lines.append("When a value lies outside what is possible")
    if refuses.min_spread or refuses.max_clipped_share < 1:
        lines.append("When the image is blank or clipped")
    lines += [f"When {rule.name} is over its limit: {rule.meaning}" for rule in refuses.ood]
    return [*lines, "When the explanation does not sum to the score"]


def _learnt(manifest: Manifest) -> list[str]:
    data = manifest.training_data
    counts = ", ".join(f"{name} {count:,}" for name, count in data.counts.items()) or "numbers unknown"
    return [f"{data.name}: {data.description} ({'; '.join(filter(None, (counts, data.licence)))})", *data.cautions]


def _limits(limits: Range) -> str:
    if limits.low is not None and limits.high is not None:
        return f"{limits.low:g}" if limits.low == limits.high else f"{limits.low:g} to {limits.high:g}"
    return f"{limits.low:g} or more" if limits.low is not None else f"up to {limits.high:g}"
