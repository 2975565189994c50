"""Figures of a volume segmentation: overlap, surface distance, volume agreement, refusal and rejected pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Refusal
from models.read_dicom import read_dicom
from models.steps import apply_steps
from models.volume import Volume
from training import bootstrap, measures
from training.data import hippocampus
from training.findings import Assessment, Picture, bar
from training.outsiders import OutsiderSet, volume_outsiders

LIMITS = {"anterior": 0.89, "posterior": 0.87}
MAX_HD95_MM, MAX_VOLUME_ERROR = 1.5, 0.05


@dataclass(frozen=True)
class Outlined:
    """One test volume with the reference and the model's labels on its own grid, uint8 (z, y, x)."""

    case: hippocampus.VolumeCase
    image: Volume
    reference: NDArray[np.uint8]
    found: NDArray[np.uint8]
    reason: str

    def measure(self) -> dict[str, dict[str, float]]:
        """Return Dice, HD95 (mm), reference and found volume (mL) and relative error, for each part and the whole.

        A part that was not found at all is as far off as the volume is wide: HD95 is then its diagonal.
        """
        rows = {}
        widest_mm = float(np.linalg.norm(np.multiply(self.image.shape, self.image.spacing_mm)))
        for part, inside in (*((name, (label,)) for label, name in hippocampus.LABELS.items()), ("whole", (1, 2))):
            a, b = np.isin(self.reference, inside), np.isin(self.found, inside)
            ml = self.image.voxel_ml
            rows[part] = {
                "dice": measures.dice(a, b),
                "hd95_mm": min(measures.hausdorff_95_mm(a, b, self.image.spacing_mm), widest_mm),
                "reference_ml": float(a.sum()) * ml,
                "found_ml": float(b.sum()) * ml,
                "volume_error": abs(float(b.sum()) / max(float(a.sum()), 1.0) - 1),
            }
        return rows


def evaluate_volumes(model: Model, root: Path, *, quick: bool, say: Callable[[str], None]) -> Assessment:
    """Outline every test volume, measure it, then try what must be refused or rejected."""
    every = 6 if quick else 1
    resamples = 100 if quick else bootstrap.RESAMPLES
    cases = hippocampus.load(root, "test")[::every]
    say(f"{len(cases)} test volumes")
    outlined = [outline(model, case) for case in cases]
    measured = [one.measure() for one in outlined]
    subjects = [case.subject for case in cases]
    row = {"by": "population", "group": "test", "what": "all test volumes, one MR scanner type and protocol",
           "n": len(cases), "patients": len(set(subjects)), "events": None,
           "figures": _figures(measured, subjects, resamples)}
    say("outsiders")
    images = [one.image for one in outlined]
    members = OutsiderSet("members", "test volumes: these should be scored", False, images, subjects)
    refusals = [_refusal_row(members, [o.reason for o in outlined])]
    for outsiders in volume_outsiders(root, members.volumes, subjects, every=max(1, every)):
        refusals.append(_refusal_row(outsiders, [reason_of(model, v) for v in outsiders.volumes]))
    rejected = planted(root)
    return Assessment(
        title="Anterior and posterior hippocampus on the test volumes",
        rows=[row, *_by_size(measured, subjects, resamples)],
        bars=_bars(row["figures"], refusals, rejected),
        curves={"agreement": _agreement(measured), "dice": {
            part: sorted(round(m[part]["dice"], 4) for m in measured) for part in ("anterior", "posterior", "whole")}},
        refusals=refusals,
        rejected=rejected,
        references=external(model, root),
        unknown=["age band, sex, scanner: none of them is in the data"],
        pictures=_worst(outlined, measured),
    )


def outline(model: Model, case: hippocampus.VolumeCase) -> Outlined:
    """Run one pair; a volume the model refuses is outlined all the same, from the graph, and marked."""
    image, label = hippocampus.read_pair(case)
    result = model.predict(image)
    reference = np.rint(label.voxels).astype(np.uint8)
    if not isinstance(result, Refusal) and result.explanation.mask is not None:
        return Outlined(case, image, reference, result.explanation.mask.labels, "")
    prepared = apply_steps(image, [(step.name, step.params) for step in model.manifest.steps])
    labels = model.session.run(model.prepare(image), ("labels",))["labels"][0]
    found = prepared.with_voxels(labels.astype(np.float32)).back_onto(image, order=0)
    reason = result.reason.value if isinstance(result, Refusal) else ""
    return Outlined(case, image, reference, np.rint(found).astype(np.uint8), reason)


def reason_of(model: Model, volume: Volume) -> str:
    """Return why the model refuses a volume, "" when it does not."""
    result = model.predict(volume)
    return result.reason.value if isinstance(result, Refusal) else ""


def planted(root: Path) -> list[dict[str, str]]:
    """Read the pairs planted to be rejected; return for each what came of it ("accepted" would be a fault)."""
    folder = root / "hippocampus" / "planted-bad"
    names = sorted({p.name for p in folder.glob("*/*.nii.gz")})
    found = []
    for name in names:
        case = hippocampus.VolumeCase(folder / "images" / name, folder / "labels" / name, name)
        try:
            hippocampus.read_pair(case)
            found.append({"pair": case.name, "verdict": "accepted", "reason": ""})
        except UnusableInput as error:
            found.append({"pair": case.name, "verdict": f"rejected: {error.code}", "reason": str(error)})
    return found


def external(model: Model, root: Path) -> list[dict[str, Any]]:
    """Run the DICOM series, which have no reference: what the model says of MR from elsewhere, nothing more."""
    found = []
    for number, folder in enumerate(sorted((root / "hippocampus" / "dicom").glob("*/*")), start=1):
        try:
            result = model.predict(read_dicom(sorted(folder.glob("*.dcm"))))
        except UnusableInput as error:
            found.append({"name": f"external series {number}", "said": f"unusable: {error.code}"})
            continue
        if isinstance(result, Refusal):
            found.append({"name": f"external series {number}", "said": f"refused: {result.reason.value}"})
        else:
            said = ", ".join(f"{f.label} {f.value:.2f} {f.unit}" for f in result.findings)
            found.append({"name": f"external series {number}", "said": said})
    return found


def _figures(measured: list[dict[str, dict[str, float]]], subjects: list[str], resamples: int) -> dict[str, Any]:
    found = {}
    for part in measured[0]:
        values = {key: np.array([m[part][key] for m in measured]) for key in measured[0][part]}
        statistics = {
            f"dice_{part}": bootstrap.mean_of(values["dice"]),
            f"hd95_mm_{part}": bootstrap.mean_of(values["hd95_mm"]),
            f"hd95_mm_median_{part}": bootstrap.median_of(values["hd95_mm"]),
            f"volume_error_median_{part}": bootstrap.median_of(values["volume_error"]),
            f"volume_bias_ml_{part}": bootstrap.mean_of(values["found_ml"] - values["reference_ml"]),
        }
        for name, statistic in statistics.items():
            found[name] = bootstrap.figure(statistic, subjects, resamples=resamples).as_json()
    return found


def _by_size(measured: list[dict[str, dict[str, float]]], subjects: list[str], resamples: int) -> list[dict[str, Any]]:
    """Split at the median reference volume: small hippocampi are the ones that matter."""
    ml = np.array([m["whole"]["reference_ml"] for m in measured])
    middle = float(np.median(ml))
    rows = []
    for name, chosen in ((f"up to {middle:.1f} mL", ml <= middle), (f"over {middle:.1f} mL", ml > middle)):
        some = [m for m, keep in zip(measured, chosen, strict=True) if keep]
        whose = [s for s, keep in zip(subjects, chosen, strict=True) if keep]
        if some:
            rows.append({"by": "reference volume", "group": name, "what": "", "n": len(some),
                         "patients": len(set(whose)), "events": None, "figures": _figures(some, whose, resamples)})
    return rows


def _agreement(measured: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Return the points and limits of Bland-Altman plots, in mL."""
    found = {}
    for part in ("anterior", "posterior", "whole"):
        reference = [round(m[part]["reference_ml"], 4) for m in measured]
        ours = [round(m[part]["found_ml"], 4) for m in measured]
        found[part] = {"reference_ml": reference, "found_ml": ours,
                       **(measures.bland_altman(reference, ours) if len(ours) > 1 else {})}
    return found


def _bars(
    figures: dict[str, Any], refusals: list[dict[str, Any]], rejected: list[dict[str, str]]
) -> list[dict[str, Any]]:
    found = [bar(f"Dice {part}, mean", ">=", limit, figures[f"dice_{part}"]) for part, limit in LIMITS.items()]
    found += [bar(f"95 % Hausdorff {part}, mean (mm)", "<=", MAX_HD95_MM, figures[f"hd95_mm_{part}"])
              for part in LIMITS]
    found += [bar(f"Volume error {part}, median", "<=", MAX_VOLUME_ERROR, figures[f"volume_error_median_{part}"])
              for part in LIMITS]
    share = sum(r["verdict"].startswith("rejected") for r in rejected) / max(len(rejected), 1)
    found.append(bar("Planted bad pairs rejected with the reason", ">=", 1.0, {"value": share if rejected else None}))
    shares = {r["set"]: r["refused"] for r in refusals}
    found.append(bar("Test volumes refused", "<=", 0.05, shares["members"]))
    found += [bar(f"Gross outsiders refused: {r['set']}", ">=", 0.99, r["refused"]) for r in refusals if r["gross"]]
    return found


def _refusal_row(outsiders: OutsiderSet, reasons: list[str]) -> dict[str, Any]:
    refused = bootstrap.share([bool(reason) for reason in reasons], outsiders.patients)
    return {"set": outsiders.name, "what": outsiders.what, "gross": outsiders.gross, "refused": refused.as_json(),
            "reasons": dict(Counter(reason for reason in reasons if reason))}


def _worst(outlined: list[Outlined], measured: list[dict[str, dict[str, float]]], each: int = 6) -> list[Picture]:
    """Return the lowest Dice, in the slice where reference and model differ most. Real images: for the report only."""
    order = np.argsort([m["anterior"]["dice"] + m["posterior"]["dice"] for m in measured])[:each]
    pictures = []
    for i in order:
        one, figures = outlined[i], measured[i]
        z = int((one.reference != one.found).sum(axis=(1, 2)).argmax())
        masks = tuple((labels[z] == k) for labels in (one.reference, one.found) for k in hippocampus.LABELS)
        caption = f"Dice {figures['anterior']['dice']:.3f} anterior, {figures['posterior']['dice']:.3f} posterior"
        pictures.append(Picture("Lowest overlap (reference dashed, model solid)", caption, one.image.voxels[z],
                                outlines=masks))
    return pictures
