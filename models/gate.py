"""When a model declines before it scores: what the sender stated, where the voxels are, what the pixels hold.

The checks come in the order of Reason. What contradicts is declined; what is merely not stated becomes a flag.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.codes import range_of, unit_of
from models.features import clean
from models.manifest import Accepts, Manifest, Range
from models.prediction import Reason
from models.record import View
from models.volume import Header, Volume

MAX_LOOKED_AT = 65_536  # pixels looked at for clipping: a regular sample of larger images is as good


@dataclass(frozen=True)
class Decline:
    """Why not: ``message`` states the rule and what was found, ``advice`` what the sender can do."""

    reason: Reason
    message: str
    advice: str


def decline_header(accepts: Accepts, header: Header) -> Decline | None:
    """Return why what the sender stated rules this model out, or None."""
    for stated, allowed, reason, attribute in (
        (header.modality, accepts.modalities, Reason.WRONG_MODALITY, "Modality"),
        (header.body_part, accepts.body_parts, Reason.WRONG_BODY_PART, "BodyPartExamined"),
        (header.view, accepts.views, Reason.WRONG_VIEW, "ViewPosition"),
    ):
        if stated and allowed and stated.upper() not in allowed:
            return Decline(
                reason,
                f"This model takes {attribute} {_or(allowed)}, found {_shown(stated)}.",
                "Send it to a model made for it; correct the header if it is wrong.",
            )
    return decline_age(accepts, header.age_years)


def decline_age(accepts: Accepts, age_years: float | None) -> Decline | None:
    """Return why the age rules this model out. The age itself is not repeated: it may identify."""
    if age_years is None or np.isnan(age_years) or accepts.age_years.holds(age_years):
        return None
    return Decline(
        Reason.WRONG_AGE,
        f"This model takes ages {_range(accepts.age_years, 'years')}, found another.",
        "Do not use this model for this person: it was never shown anyone of this age.",
    )


def header_flags(accepts: Accepts, header: Header) -> list[str]:
    """Return what was not stated though the model depends on it, and what was stated that lowers trust."""
    flags = [
        f"{name}_not_stated"
        for name, stated, allowed in (
            ("modality", header.modality, accepts.modalities),
            ("body_part", header.body_part, accepts.body_parts),
            ("view", header.view, accepts.views),
        )
        if allowed and not stated
    ]
    if header.age_years is None and accepts.age_years != Range():
        flags.append("age_not_stated")
    if header.burned_in_annotation.upper() == "YES":
        flags.append("burned_in_annotation")
    if header.lossy:
        flags.append("lossy_compression")
    return flags


def decline_geometry(manifest: Manifest, volume: Volume) -> Decline | None:
    """Return why the grid rules this model out: slices, spacing, field of view, then too few rows or columns."""
    accepts = manifest.accepts
    slices, rows, columns = volume.shape
    if not accepts.slices.holds(slices):
        return Decline(
            Reason.WRONG_GEOMETRY,
            f"This model takes {_range(accepts.slices, 'slices')}, found {slices}.",
            "Send one whole series of the kind the model was made for.",
        )
    if manifest.task == "volume_segmentation" and not volume.spacing_known:
        return Decline(
            Reason.WRONG_GEOMETRY,
            "Volumes in mL need a stated voxel spacing, found none.",
            "Send the DICOM series or a NIfTI file, which state it.",
        )
    if volume.spacing_known:
        spacing = volume.spacing_mm
        if not all(accepts.spacing_mm.holds(one) for one in spacing):
            return Decline(
                Reason.WRONG_GEOMETRY,
                f"This model takes voxel spacings {_range(accepts.spacing_mm, 'mm')}, "
                f"found {_by(spacing, 2)} mm (z, y, x).",
                "Send another reconstruction.",
            )
        extent = tuple(n * one for n, one in zip(volume.shape, spacing, strict=True))
        if not all(accepts.extent_mm.holds(one) for one in extent):
            return Decline(
                Reason.WRONG_GEOMETRY,
                f"This model takes a field of view {_range(accepts.extent_mm, 'mm')} on every axis, "
                f"found {_by(extent, 0)} mm (z, y, x).",
                "Crop the volume as the model card describes.",
            )
    if rows < accepts.min_rows or columns < accepts.min_columns:
        return Decline(
            Reason.TOO_SMALL,
            f"This model needs {accepts.min_rows} x {accepts.min_columns} pixels, found {rows} x {columns}.",
            "Send the original image, not a thumbnail.",
        )
    return None


def decline_pixels(manifest: Manifest, source: Volume, prepared: NDArray[np.float32]) -> Decline | None:
    """Return why the pixels hold too little: blank after the steps, or clipped in the source."""
    refuses = manifest.refuses
    spread = float(prepared.std())
    if spread < refuses.min_spread or spread == 0.0:
        return Decline(
            Reason.BLANK,
            f"The image must vary by {refuses.min_spread:g} grey levels, found {spread:.2g}.",
            "Check the exposure and that the pixels were sent.",
        )
    if refuses.max_clipped_share < 1.0:
        share = clipped_share(source)
        if share > refuses.max_clipped_share:
            return Decline(
                Reason.CLIPPED,
                f"At most {refuses.max_clipped_share:.0%} of pixels may lie at the ends of the range, "
                f"found {share:.0%}.",
                "Send the image with its full range of grey levels, or check the exposure and the window.",
            )
    return None


def clipped_share(source: Volume) -> float:
    """Return the share of source voxels that equal its smallest or its largest value; 1 for a constant image."""
    voxels = source.voxels
    step = max(1, int(np.sqrt(voxels.size / MAX_LOOKED_AT)))
    looked_at = voxels[:, ::step, ::step]
    low, high = looked_at.min(), looked_at.max()
    return float(np.count_nonzero((looked_at == low) | (looked_at == high)) / looked_at.size)


def decline_measurements(manifest: Manifest, view: View) -> Decline | None:
    """Return why the record holds too little: a code it cannot do without, or fewer core codes than the model needs."""
    refuses = manifest.refuses
    absent = [code for code in refuses.required if not _known(view, code)]
    if absent:
        return Decline(
            Reason.TOO_FEW_MEASUREMENTS,
            f"Too few measurements: {', '.join(absent)} missing. This model cannot do without.",
            "Send them, or score again when they are known.",
        )
    for code, (count, minutes) in refuses.recent.items():
        times = clean(view, code).minutes
        found = int((times >= view.moment - minutes).sum())
        if found < count:
            return Decline(
                Reason.TOO_FEW_MEASUREMENTS,
                f"Too few measurements: {code} needs {count} values in the last {minutes:g} min, found {found}.",
                "Score again when the sensor has sent more.",
            )
    for code, minutes in refuses.newest_min.items():
        times = clean(view, code).minutes
        if not len(times) or view.moment - times[-1] > minutes:
            return Decline(
                Reason.TOO_FEW_MEASUREMENTS,
                f"The latest {code} may be {minutes:g} min old, found an older one.",
                "Score again when a new value has come in.",
            )
    if not refuses.min_measured:
        return None
    absent = [code for code in refuses.core_codes if not _known(view, code)]
    found = len(refuses.core_codes) - len(absent)
    if found >= refuses.min_measured:
        return None
    return Decline(
        Reason.TOO_FEW_MEASUREMENTS,
        f"This model needs {refuses.min_measured} of {len(refuses.core_codes)} core measurements, found {found}.",
        f"Not found: {', '.join(absent)}. Score again when more are known.",
    )


def _known(view: View, code: str) -> bool:
    value = view.static.get(code)
    return (value is not None and not np.isnan(value)) or len(clean(view, code).values) > 0


def decline_impossible(manifest: Manifest, view: View) -> Decline | None:
    """Return why a value cannot be true, where the release refuses instead of leaving it out. The value is not repeated."""
    if not manifest.refuses.impossible_values:
        return None
    for code in _used(manifest):
        limits = range_of(code, "plausible")
        values = [*view.series(code).values.tolist(), view.static.get(code, np.nan)]
        if any(not limits.holds(value) for value in values if not np.isnan(value)):
            return Decline(
                Reason.IMPOSSIBLE_VALUE,
                f"{code} must be {_range(limits, unit_of(code))}, found a value outside.",
                "Correct the value or its unit at the source, then score again.",
            )
    return None


def decline_beyond(manifest: Manifest, view: View) -> Decline | None:
    """Return why a value rules this model out: it learnt from nobody with such a value. The value is not repeated."""
    for code, limits in manifest.refuses.within.items():
        values = clean(view, code).values
        value = float(values[-1]) if len(values) else view.static.get(code, np.nan)
        if not np.isnan(value) and not limits.holds(value):
            return Decline(
                Reason.OUT_OF_DISTRIBUTION,
                f"This model takes {code} {_range(limits, unit_of(code))}, found another value.",
                "Do not use this model here: it learnt from nobody with such a value. Judge by the value itself.",
            )
    return None


def implausible_codes(manifest: Manifest, view: View) -> list[str]:
    """Return the codes with a possible value outside their usual range: used, and worth a second look."""
    found = set()
    for feature in manifest.features:
        code = str(feature.params.get("code", ""))
        low, high = feature.usual.low, feature.usual.high
        if code and (low is not None or high is not None):
            values = [*clean(view, code).values.tolist(), view.static.get(code, np.nan)]
            if any((low is not None and value < low) or (high is not None and value > high) for value in values):
                found.add(code)
    return sorted(found)


def _used(manifest: Manifest) -> list[str]:
    return sorted({str(feature.params["code"]) for feature in manifest.features if "code" in feature.params})


def impossible_codes(codes: Iterable[str], view: View) -> list[str]:
    """Return the codes with values outside their plausible range, which the features leave out."""
    return [code for code in sorted(codes) if len(clean(view, code).values) < len(view.series(code).values)]


def quality_of(manifest: Manifest, scores: NDArray[np.float32]) -> dict[str, float]:
    """Return one case's out-of-distribution scores (K,) as shares of their limits: above 1 is outside.

    A limit that is not positive has no share; 1 + (score - limit) is given, which is above 1 in the same cases.
    """
    return {
        rule.name: float(score / rule.limit if rule.limit > 0 else 1 + score - rule.limit)
        for rule, score in zip(manifest.refuses.ood, scores.tolist(), strict=True)
    }


def decline_outsider(manifest: Manifest, quality: dict[str, float]) -> Decline | None:
    """Return why the graph itself finds the input unlike what the model learnt from."""
    for rule in manifest.refuses.ood:
        if not quality[rule.name] <= 1.0:  # NaN is outside too
            return Decline(
                Reason.OUT_OF_DISTRIBUTION,
                f"The input must resemble what the model learnt from; {rule.name} is {quality[rule.name]:.2f} times "
                f"its limit. {rule.meaning}",
                "Check orientation, inversion and content; if they are right, this model is not made for this input.",
            )
    return None


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(stated: str) -> str:
    """Repeat a header value only when it is a plain code word: free text could name someone."""
    word = stated.upper()
    return word if len(word) <= 16 and word.replace("_", "").replace(" ", "").isalnum() else "another value"


def _range(limits: Range, unit: str) -> str:
    low, high = limits.low, limits.high
    if low is not None and high is not None:
        return f"of {low:g} {unit}" if low == high else f"from {low:g} to {high:g} {unit}"
    return f"of at least {low:g} {unit}" if low is not None else f"up to {high:g} {unit}"


def _by(values: tuple[float, ...], digits: int) -> str:
    return " x ".join(f"{value:.{digits}f}" for value in values)
