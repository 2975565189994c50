"""Figures of a radiograph classifier: findings, calibration, refusal and the audits of its heat maps, by source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.model import Model
from models.prediction import Refusal
from models.volume import Volume
from training import binary_outcome, bootstrap, faithfulness
from training.data import chest_xray
from training.findings import Assessment, Picture, bar
from training.outsiders import OutsiderSet, radiograph_outsiders
from training.scramble import scrambled_session

Array = NDArray[np.float64]
PNEUMONIA, BACTERIAL = chest_xray.PNEUMONIA, chest_xray.BACTERIAL
DELETED, SCRAMBLED = 60, 30  # images per audit: enough for tight intervals, few enough for minutes


@dataclass(frozen=True)
class Scored:
    """Graph outputs of every case, refused or not, and why the model would have declined ("" when it would not).

    ``pixels`` (n, 1, rows, columns), ``probability`` (n, 3), ``logit`` (n, 2), ``maps`` (n, 2, rows, columns).
    """

    pixels: NDArray[np.float32]
    probability: NDArray[np.float32]
    logit: NDArray[np.float32]
    maps: NDArray[np.float32]
    reasons: list[str]


def evaluate_radiographs(model: Model, root: Path, *, quick: bool, say: Callable[[str], None]) -> Assessment:
    """Score the children's test images, then everything that must be refused, then audit the maps."""
    every = 12 if quick else 1
    resamples = 100 if quick else bootstrap.RESAMPLES
    cases = chest_xray.load(root, "test")[::every]
    say(f"{len(cases)} test radiographs of children")
    volumes = [chest_xray.read_case(c) for c in cases]
    scored = score(model, volumes)
    rows = _rows(model, cases, scored, resamples)
    say("outsiders")
    sets = radiograph_outsiders(root, volumes, [c.patient for c in cases], every=every)
    children = OutsiderSet("children", "test radiographs of children: these should be scored", False, volumes,
                           [c.patient for c in cases])
    refusals = [refusal_row(children, scored.reasons)]
    refusals += [refusal_row(s, reasons_of(model, s.volumes)) for s in sets]
    say("heat maps")
    audits = audit(model, cases, scored)
    official = np.array([c.official_split == "test" for c in cases])
    truth, p = np.array([c.targets[PNEUMONIA] for c in cases]), scored.probability[:, 0]
    threshold = float(model.manifest.output("pneumonia").threshold or 0.5)
    patients = [c.patient for c in cases]
    main = _kept(patients, official)
    return Assessment(
        title="Pneumonia on the official test images",
        rows=rows,
        bars=_bars(rows, refusals, audits),
        confusion=binary_outcome.confusion(truth[official], p[official], threshold),
        curves=binary_outcome.curves(truth[official], p[official], main),
        refusals=refusals,
        audits=audits,
        unknown=["age band", "sex", "scanner: none of them is in the data"],
        pictures=_worst(model, cases, volumes, scored, threshold=threshold),
    )


def score(model: Model, volumes: list[Volume], *, batch: int = 16) -> Scored:
    """Run the graph on every volume, and ask the model which it would refuse."""
    pixels = np.concatenate([model.prepare(v) for v in volumes])
    parts = [model.session.run(pixels[i : i + batch], ("probability", "logit", "map"))
             for i in range(0, len(pixels), batch)]
    joined = {role: np.concatenate([p[role] for p in parts]) for role in parts[0]}
    return Scored(pixels, joined["probability"], joined["logit"], joined["map"], reasons_of(model, volumes))


def reasons_of(model: Model, volumes: list[Volume]) -> list[str]:
    """Return the reason of refusal of each volume, "" for those that are scored."""
    results = model.predict_many(volumes, batch=16)
    return [r.reason.value if isinstance(r, Refusal) else "" for r in results]


def refusal_row(outsiders: OutsiderSet, reasons: list[str]) -> dict[str, Any]:
    """Count one set's refusals, with an interval over its patients."""
    refused = [bool(reason) for reason in reasons]
    return {"set": outsiders.name, "what": outsiders.what, "gross": outsiders.gross,
            "refused": bootstrap.share(refused, outsiders.patients).as_json(),
            "reasons": dict(Counter(reason for reason in reasons if reason))}


def audit(model: Model, cases: list[chest_xray.RadiographCase], scored: Scored) -> dict[str, Any]:
    """Run the audits of faithfulness on called cases; the masked ones for peaks outside the lungs."""
    explains = model.manifest.explains
    place = faithfulness.Placement(float(explains.stride_px or 0), explains.offset_px or (0.0, 0.0))
    threshold = float(model.manifest.output("pneumonia").threshold or 0.5)
    called = np.flatnonzero(scored.probability[:, 0] >= threshold)
    bias = [explains.bias[str(k)] for k in range(scored.maps.shape[1])]

    def run(pixels: NDArray[np.float32]) -> tuple[Array, Array]:
        arrays = model.session.run(pixels, ("logit", "map"))
        return arrays["logit"], arrays["map"]

    true = [i for i in called if cases[i].targets[PNEUMONIA] == 1]
    some = np.array(true[:: max(1, len(true) // DELETED)][:DELETED], dtype=int)
    found: dict[str, Any] = {
        "completeness_max_error": faithfulness.completeness(scored.logit, scored.maps, bias),
        "peaks_outside_lungs": _peaks(cases, scored, called, place),
    }
    if len(some):
        found["deletion"] = faithfulness.deletion_audit(
            run, scored.pixels[some], scored.maps[some, PNEUMONIA], channel=PNEUMONIA, place=place,
            patients=[cases[i].patient for i in some],
        )
        found["randomised_weights"] = _randomised(model, scored, some[:SCRAMBLED])
    return found


def _peaks(cases: list[chest_xray.RadiographCase], scored: Scored, called: NDArray[np.intp],
           place: faithfulness.Placement) -> dict[str, Any]:
    masked = [int(i) for i in called if cases[i].lung_mask is not None]
    size = (scored.pixels.shape[2], scored.pixels.shape[3])
    if not masked:
        return {"n": 0}
    masks = chest_xray.prepare_masks([cases[i] for i in masked], size) > 200
    patients = [cases[i].patient for i in masked]
    maps = scored.maps[masked, PNEUMONIA]
    strict = bootstrap.share(faithfulness.outside(maps, masks, place), patients)
    near = bootstrap.share(faithfulness.outside(maps, masks, place, margin_px=place.stride_px / 2), patients)
    area = bootstrap.figure(bootstrap.mean_of(1 - masks.mean(axis=(1, 2))), patients)
    return {"what": "called pneumonia, with a lung mask, peak of the bicubic map against the mask", "n": len(masked),
            "outside": strict.as_json(), "outside_by_more_than_half_a_cell": near.as_json(),
            "outside_if_at_random": area.as_json()}


def _randomised(model: Model, scored: Scored, some: NDArray[np.intp], seeds: int = 5) -> dict[str, Any]:
    """Compare maps with those of graphs with random last stages, over several draws."""
    try:
        medians = []
        for seed in range(seeds):
            session = scrambled_session(model.folder, model.manifest, seed=seed)
            maps = np.concatenate([session.run(scored.pixels[i : i + 1], ("map",))["map"] for i in some])
            rho = faithfulness.randomisation_rho(scored.maps[some, PNEUMONIA], maps[:, PNEUMONIA])
            medians.append(float(np.median(rho)))
    except ValueError as error:
        return {"rho": None, "why": str(error)}
    return {"what": "Spearman's rho of each map with that of random weights in the last stage and head; median of "
            f"{len(some)} images a draw, mean size over {seeds} draws", "rho_of_draws": medians,
            "rho": float(np.mean(np.abs(medians))), "largest": float(np.max(np.abs(medians)))}


def _rows(model: Model, cases: list[chest_xray.RadiographCase], scored: Scored, resamples: int) -> list[dict[str, Any]]:
    truth, p = np.array([c.targets for c in cases]), scored.probability[:, 0].astype(np.float64)
    patients = [c.patient for c in cases]
    official = np.array([c.official_split == "test" for c in cases])
    large = np.array([c.tier == "320" for c in cases])
    scored_only = np.array([not reason for reason in scored.reasons])
    threshold = model.manifest.output("pneumonia").threshold
    kind_threshold = model.manifest.output("bacterial").threshold
    groups = [
        ("population", "official test", "official test images (224 px tier), all of them", official),
        ("population", "official test, not refused", "the same without refused ones", official & scored_only),
        ("source", "held-out 320 px", "own test split of the 320 px tier, official training images", large),
        ("source", "held-out 224 px", "own test split of the 224 px tier, official training images",
         ~large & ~official),
    ]
    rows = []
    for by, name, what, chosen in groups:
        brief = by != "population"
        y, q = truth[chosen, PNEUMONIA], p[chosen]
        rows.append(binary_outcome.row(
            by, f"{name}: pneumonia against normal", what, truth=y, patients=_kept(patients, chosen),
            found=binary_outcome.figures(y, q, threshold, _kept(patients, chosen), resamples=resamples, brief=brief)))
        ill = chosen & (truth[:, PNEUMONIA] == 1) & ~np.isnan(truth[:, BACTERIAL])
        y, q = truth[ill, BACTERIAL], _chance(scored.logit[ill, BACTERIAL])
        rows.append(binary_outcome.row(
            by, f"{name}: bacterial against viral", f"{what}; pneumonia only", truth=y, patients=_kept(patients, ill),
            found=binary_outcome.figures(y, q, kind_threshold, _kept(patients, ill), resamples=resamples, brief=brief)))
    return rows


def _bars(rows: list[dict[str, Any]], refusals: list[dict[str, Any]], audits: dict[str, Any]) -> list[dict[str, Any]]:
    main, kind = rows[0]["figures"], rows[1]["figures"]
    shares = {r["set"]: r["refused"] for r in refusals}
    found = [
        bar("AUROC pneumonia vs normal, official test images", ">=", 0.965, main["auroc"]),
        bar("AUROC bacterial vs viral, official test images", ">=", 0.90, kind["auroc"]),
        bar("Expected calibration error, pneumonia, official test images", "<=", 0.05, main["ece"]),
        bar("Children's test images refused", "<=", 0.05, shares["children"]),
        bar("Adults refused: NIH", ">=", 0.90, shares["adults_nih"]),
        bar("Adults refused: Hannover", ">=", 0.90, shares["adults_hannover"]),
    ]
    found += [bar(f"Gross outsiders refused: {r['set']}", ">=", 0.99, r["refused"]) for r in refusals if r["gross"]]
    peaks = audits["peaks_outside_lungs"]
    if "outside" in peaks:
        found.append(bar("Map peaks outside the lung mask", "<=", faithfulness.MAX_OUTSIDE, peaks["outside"]))
    if "randomised_weights" in audits:
        rho = audits["randomised_weights"]["rho"]
        size = {"value": rho}
        found.append(bar("Randomised weights: |rho|", "<=", faithfulness.MAX_RHO, size))
    if "deletion" in audits:
        areas = audits["deletion"]
        worst = max(areas["map_less_edges"]["value"], areas["map_less_random"]["value"])
        found.append(bar("Deletion area: map less the better null map", "<", 0.0, {"value": worst}))
    found.append(bar("Completeness, largest relative error", "<=", 1e-4, {"value": audits["completeness_max_error"]}))
    return found


def _worst(model: Model, cases: list[chest_xray.RadiographCase], volumes: list[Volume], scored: Scored, *,
           threshold: float, each: int = 6) -> list[Picture]:
    """Return the most confidently wrong cases, and refused children. These are real images: for the report only."""
    truth, p = np.array([c.targets[PNEUMONIA] for c in cases]), scored.probability[:, 0]
    explains = model.manifest.explains
    place = faithfulness.Placement(float(explains.stride_px or 0), explains.offset_px or (0.0, 0.0))
    missed = [i for i in np.argsort(p) if truth[i] == 1 and p[i] < threshold][:each]
    alarms = [i for i in np.argsort(-p) if truth[i] == 0 and p[i] >= threshold][:each]
    refused = [i for i, reason in enumerate(scored.reasons) if reason][:each]
    pictures = []
    for group, chosen in (("Missed pneumonia", missed), ("False alarm", alarms), ("Child refused", refused)):
        for i in chosen:
            size = (scored.pixels.shape[2], scored.pixels.shape[3])
            overlay = faithfulness.drawn(scored.maps[[i], PNEUMONIA], place, size)[0] if p[i] >= threshold else None
            told = ("normal", "pneumonia")[int(truth[i])]
            kind = {1.0: ", bacterial", 0.0: ", viral"}.get(cases[i].targets[BACTERIAL], "")
            caption = f"labelled {told}{kind}; estimated {p[i]:.2f}"
            pictures.append(Picture(group, caption + (f"; {scored.reasons[i]}" if scored.reasons[i] else ""),
                                    volumes[i].voxels[0], overlay))
    return pictures


def _kept(patients: list[str], chosen: NDArray[np.bool_]) -> list[str]:
    return [p for p, keep in zip(patients, chosen, strict=True) if keep]


def _chance(logit: NDArray[np.float32]) -> Array:
    return np.asarray(1 / (1 + np.exp(-logit.astype(np.float64))))
