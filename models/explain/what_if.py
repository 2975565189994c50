"""What would change a score: the same graph asked again with one measurement moved into its reference range.

Arithmetic of the model and no effect of a treatment: nothing here says that moving the measurement helps, or can be done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isnan

import numpy as np

from models.codes import DESCRIBED, range_of, unit_of
from models.features import FEATURES, clean
from models.manifest import Manifest, Output, Range
from models.model import Model
from models.prediction import Prediction
from models.record import Series, View

MOST_TRIED = 5
# Two ways of measuring one thing, of which the features take the better one: both are moved.
MERGED: Mapping[str, tuple[str, ...]] = {
    "SBP": ("SysABP", "NISysABP"), "DBP": ("DiasABP", "NIDiasABP"), "MBP": ("MAP", "NIMAP"),
}


@dataclass(frozen=True)
class WhatIf:
    """One measurement moved: from its latest value to the nearest edge of its reference range, all earlier ones with it.

    ``result`` is the finding's value then; ``found`` the value as it is.
    """

    code: str  # ours
    label: str
    label_fr: str
    unit: str
    value: float
    moved_to: float
    found: float
    result: float


def what_if(model: Model, view: View, prediction: Prediction, *, finding: str = "", most: int = 3) -> tuple[WhatIf, ...]:
    """Return the measurements whose move changes a finding most; a probability only where it falls.

    ``view`` is what the prediction was made from; ``finding`` the name of an output, the first when empty.
    """
    manifest = model.manifest
    output = manifest.output(finding or prediction.main.name)
    found = next(one.value for one in prediction.findings if one.name == output.name)
    weights = _weights(prediction, manifest, output)
    tried = sorted((one for one in _outside(manifest, view) if weights.get(one[0], 0.0) > 0), key=lambda one: -weights[one[0]])
    tried = tried[:MOST_TRIED]
    if not tried:
        return ()
    rows = [_row(manifest, _moved(view, code)) for code, _, _ in tried]
    results = model.score_features(np.array(rows, dtype=np.float32))[output.kind][:, output.index]
    told = [
        WhatIf(code, DESCRIBED[code]["label"]["en"], DESCRIBED[code]["label"]["fr"], unit_of(code), value, edge, found, float(result))
        for (code, value, edge), result in zip(tried, results, strict=True)
    ]
    changing = [one for one in told if _matters(one, output)]
    return tuple(sorted(changing, key=lambda one: -abs(one.result - one.found))[:most])


def _outside(manifest: Manifest, view: View) -> Iterator[tuple[str, float, float]]:
    """Yield (code, latest value, nearest edge) of every measurement of the model that lies outside its reference range."""
    for code in dict.fromkeys(str(feature.params["code"]) for feature in manifest.features if "code" in feature.params):
        if code not in DESCRIBED:
            continue
        values = [view.static[code]] if code in view.static else clean(view, code).values
        reference = range_of(code, "reference")
        if not len(values) or isnan(values[-1]) or reference == Range() or not _can_move(view, code):
            continue
        edge = _edge(float(values[-1]), reference)
        if edge != values[-1]:
            yield code, float(values[-1]), edge


def _can_move(view: View, code: str) -> bool:
    """Tell whether a code stands in the record itself; a ratio of two others does not."""
    return code in view.static or any(one in view.codes for one in MERGED.get(code, (code,)))


def _moved(view: View, code: str) -> View:
    """Return the view with every value of a code put into its reference range."""
    reference = range_of(code, "reference")
    static = {**view.static, code: _edge(view.static[code], reference)} if code in view.static else view.static
    low = -np.inf if reference.low is None else reference.low
    high = np.inf if reference.high is None else reference.high
    series = {name: view.series(name) for name in view.codes}
    for name in MERGED.get(code, (code,)):
        if name in series:
            series[name] = Series(series[name].minutes, series[name].values.clip(low, high))
    return View(view.moment, view.window, static, series)


def _row(manifest: Manifest, view: View) -> list[float]:
    return [FEATURES[feature.function](view, **feature.params) for feature in manifest.features]


def _edge(value: float, reference: Range) -> float:
    if reference.low is not None and value < reference.low:
        return reference.low
    return reference.high if reference.high is not None and value > reference.high else value


def _weights(prediction: Prediction, manifest: Manifest, output: Output) -> dict[str, float]:
    """Return what the terms of each code add to a finding, a pair counted for both; of a quantity without its sign."""
    codes = {feature.name: str(feature.params.get("code")) for feature in manifest.features}
    added = {part.term: part.logit for part in prediction.explanation.contributions if part.finding in ("", output.name)}
    weights: dict[str, float] = {}
    for term in manifest.terms:
        for code in {codes[name] for name in term.features}:
            weights[code] = weights.get(code, 0.0) + added.get(term.name, 0.0)
    return {code: abs(weight) for code, weight in weights.items()} if output.kind == "quantity" else weights


def _matters(one: WhatIf, output: Output) -> bool:
    """Tell whether a change is worth a line: a probability that falls by a hundredth or a tenth, a quantity that moves by 2 %."""
    if output.kind == "quantity":
        return abs(one.result - one.found) >= 0.02 * one.found
    return one.found - one.result >= min(0.01, 0.1 * one.found)
