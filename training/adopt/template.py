"""Write a describe.toml to fill in, with what is already known: of the weights, of the architecture, of the classes."""

from __future__ import annotations

import json
from math import isnan
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from training.adopt.description import NORMALISATIONS, UNKNOWN, word_of
from training.adopt.nets import XRV, xrv_row

TEMPLATES = Path(__file__).parent
_NOTHING: dict[str, Any] = {
    "version": "1.0.0", "title_fr": UNKNOWN, "summary": UNKNOWN, "licence": UNKNOWN, "source": UNKNOWN, "mean": [], "sd": [],
    "normalisation": "unit", "operating_points": [], "modalities": [], "body_parts": [], "views": [], "age_low": None,
    "use": dict.fromkeys(("purpose", "users", "population", "decision_role"), UNKNOWN) | {"must_not": [], "limits": []},
    "data": dict.fromkeys(("trained_by", "name", "description", "citation"), UNKNOWN) | {"cautions": []},
}
XRV_CITATION = "Cohen JP et al. TorchXRayVision: a library of chest X-ray datasets and models. MIDL 2022 (arXiv:2111.00595)"


def write_template(path: Path, known: dict[str, Any]) -> None:
    """Write the file. Raises FileExistsError: what somebody filled in is not written over."""
    if path.exists():
        raise FileExistsError(f"{path} exists. Remove it first, or name another file.")
    path.write_text(template(known), encoding="utf-8")


def template(known: dict[str, Any]) -> str:
    """Return the text of a description with what is known filled in."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True,  # noqa: S701
                              lstrip_blocks=True, keep_trailing_newline=True)  # TOML, not HTML; every text goes through toml
    environment.filters["toml"] = lambda value: json.dumps(value, ensure_ascii=False)  # its strings and lists are TOML's too
    return environment.get_template("describe.toml.j2").render({**_NOTHING, "normalisations": ", ".join(NORMALISATIONS), **known})


def of_xrv(name: str, *, published: bool = False) -> dict[str, Any]:
    """Return what is known of TorchXRayVision's weights ``name``.

    Its operating points become the thresholds of the probabilities as the network gives them. ``published``: the
    probabilities are stretched instead, as the package shows them, and the threshold is 0.5; the same films are positive.
    """
    row = xrv_row(name)
    outputs = []
    for column, (label, point) in enumerate(zip(row["labels"], row["operating_points"], strict=True)):
        if label and not isnan(point):
            outputs.append({
                "column": column, "name": word_of(label), **{"code": None, **XRV["findings"][label]},
                "threshold": 0.5 if published else point,
                "threshold_reason": "Operating point that TorchXRayVision publishes; chosen on its data, not here.",
            })
    return {
        "name": f"xrv_{word_of(name)}", "title": f"Findings on adult chest radiographs (TorchXRayVision {name})",
        "title_fr": f"Anomalies de la radiographie thoracique de l'adulte (TorchXRayVision {name})",
        "summary": f"Gives the probability of {len(outputs)} findings on an adult's frontal chest radiograph, each with the zones "
                   "that made it.",
        "licence": "Program: Apache-2.0. Weights: unknown, some of the data they learnt from allow research alone",
        "source": row["source"], "rows": row["pixels"], "columns": row["pixels"], "channels": 1, "normalisation": "xrv",
        "steps": [{"name": "center_square", "params": {}},
                  {"name": "squash", "params": {"rows": row["pixels"], "columns": row["pixels"]}}],
        "activation": "sigmoid", "operating_points": _points(row["operating_points"]) if published else [],
        "modalities": ["CR", "DX", "DR"], "body_parts": ["CHEST", "THORAX", "LUNG"], "views": ["PA", "AP"], "age_low": 18,
        "outputs": outputs,
        "use": {
            "purpose": "Draw attention to chest radiographs of adults that may show one of the findings.", "users": UNKNOWN,
            "population": "Adults, frontal chest radiograph, PA or AP.", "decision_role": "Informs. It rules nothing out.",
            "must_not": ["Do not use on children or lateral views.", "Do not take a low score for a normal radiograph."],
            "limits": ["Labels were mostly drawn from reports by programs, not given by readers.",
                       "The square cut from the centre may leave out the sides, the apices or the costophrenic angles."],
        },
        "data": {
            "trained_by": "The authors of TorchXRayVision", "name": row["data"], "description": "Public sets of chest radiographs",
            "citation": XRV_CITATION, "cautions": ["Weights of several sources mix several ways of labelling the same word."],
        },
    }


def of_classes(name: str, title: str, classes: list[str], size: tuple[int, int], *, channels: int, activation: str,
               prepared: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what is known of any classifier: its classes, the size it takes, and how images are prepared for it.

    ``prepared`` is timm's own table of a model (mean, std, input_size, crop_pct, interpolation). Without one, three channels
    are taken for a network that began with ImageNet's weights; change it where that is not so.
    """
    rows, columns = size
    steps: list[dict[str, Any]] = [{"name": "squash", "params": {"rows": rows, "columns": columns}}]
    known: dict[str, Any] = {"normalisation": "imagenet" if channels == 3 else "unit"}
    if prepared and rows == columns and prepared.get("crop_pct"):
        filters = {"bicubic": "bicubic", "bilinear": "bilinear"}
        steps = [
            {"name": "shorter_side", "params": {"pixels": int(rows / float(prepared["crop_pct"])),
                                                "interpolation": filters.get(str(prepared.get("interpolation")), "bilinear")}},
            {"name": "center_crop", "params": {"rows": rows, "columns": columns}},
        ]
    if prepared and channels == 3 and len(prepared.get("mean", ())) == 3:
        known = {"mean": list(prepared["mean"]), "sd": list(prepared["std"])}
    outputs = [{"column": column, "name": word_of(label), "label": label, "label_fr": UNKNOWN, "code": None, "threshold": None}
               for column, label in enumerate(classes)]
    return {"name": word_of(name), "title": title, "rows": rows, "columns": columns, "channels": channels, "steps": steps,
            "activation": activation, "outputs": outputs, **known}


def _points(values: list[float]) -> list[str]:
    return ["nan" if isnan(value) else repr(value) for value in values]
