"""Model: a release, opened once, that turns one input into a Prediction or a Refusal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import gate
from models.errors import UnusableInput
from models.explain import METHODS
from models.explain.cam import sign_of
from models.explain.case import Case
from models.features import FEATURES
from models.input_statistics import image_statistics, record_statistics, with_scores
from models.manifest import Manifest, Output, Window, sha256_of
from models.outline import labels_of, volumes_of
from models.prediction import Explanation, Finding, Identity, Prediction, Reason, Refusal, Result
from models.record import Record, View
from models.release import read_release
from models.session import DEFAULT_OPTIONS, Session, SessionOptions
from models.sliding import blended
from models.steps import Taken, trace_steps
from models.volume import Volume

Arrays = dict[str, NDArray[Any]]

try:
    SOFTWARE = f"diaphane {version('diaphane')}"
except PackageNotFoundError:  # run from a source tree that was never installed
    SOFTWARE = "diaphane (not installed)"

# What each task needs from the graph: the rest is not computed into Python.
NEEDED = {
    "image_classification": ("probability", "logit", "map", "ood"),
    "volume_segmentation": ("labels", "volume_ml", "ood"),
    "risk": ("probability", "quantity", "interval", "logit", "contributions", "ood"),
    "department": ("probability",),
}


class Model:
    """A sound release. Safe to use from several threads."""

    def __init__(self, folder: Path, options: SessionOptions = DEFAULT_OPTIONS) -> None:
        """Check the folder and load its graph. Raises BrokenModel naming what is wrong."""
        self.folder = Path(folder)
        self.manifest: Manifest = read_release(self.folder)
        self.session = Session(self.folder, self.manifest, options)
        needed = NEEDED[self.manifest.task] if self.manifest.graph.window is None else ("class_scores",)
        self._roles = tuple(role for role in needed if role in self.manifest.graph.outputs)
        self._identity = Identity(
            model=self.manifest.name,
            version=self.manifest.version,
            manifest_sha256=sha256_of(self.folder / "manifest.json"),
            onnx_sha256=self.manifest.files["model.onnx"],
            input_sha256="",
            backend=self.session.backend,
            precision=self.session.precision,
            software=SOFTWARE,
        )

    @property
    def id(self) -> str:
        """``name-version``."""
        return self.manifest.id

    @property
    def identity(self) -> Identity:
        """What makes every result of this model; its ``input_sha256`` is empty."""
        return self._identity

    def predict(self, x: Volume | Record, *, moment_h: float | None = None) -> Result:
        """Score one image or record, or decline with the reason.

        ``moment_h``: for records, hours after the record's start that may be looked at; the manifest's own when None.
        Raises UnusableInput only for voxels that are not numbers.
        """
        return self._finish([self._admit(x, moment_h)])[0]

    def predict_many(
        self, xs: Sequence[Volume | Record], *, batch: int = 8, on_done: Callable[[int], None] | None = None
    ) -> list[Result]:
        """Score many inputs, ``batch`` of one shape at a time, in the order given. ``on_done`` gets the count so far.

        The same results as ``predict``, to the last digits of float32.
        """
        results: list[Result] = []
        for start in range(0, len(xs), batch):
            results += self._finish([self._admit(x, None) for x in xs[start : start + batch]])
            if on_done:
                on_done(len(results))
        return results

    def prepare(self, x: Volume | Record) -> NDArray[np.float32]:
        """Return the graph input of one case, batch axis included: (1, 1, rows, columns), (1, 1, z, y, x) or (1, F)."""
        if isinstance(x, Record):
            return self._features(self._view(x, None))
        return self._voxels(self._steps(x)[0])

    def score_features(self, features: NDArray[np.float32]) -> Arrays:
        """Score many feature rows (n, F) of a risk model at once, NaN where missing.

        Returns the graph's arrays by role, (n, outputs) or (n, terms) each, and ``completeness_error`` (n,): the largest
        relative difference between an output's logit and its bias + contributions. Nothing is refused here.
        """
        arrays = self.session.run(features, tuple(role for role in self._roles if role != "ood"))
        arrays["completeness_error"] = np.max([self._gap(arrays, output) for output in self._explained()], axis=0)
        return arrays

    def _explained(self) -> list[Output]:
        return [output for output in self.manifest.outputs if str(output.index) in self.manifest.explains.bias]

    def _gap(self, arrays: Arrays, output: Output) -> NDArray[np.float32]:
        first, logit = self.manifest.outputs[0].name, arrays["logit"][:, output.index]
        mine = [place for place, term in enumerate(self.manifest.terms) if (term.output or first) == output.name]
        bias = np.float32(self.manifest.explains.bias[str(output.index)])
        gap: NDArray[np.float32] = np.abs(arrays["contributions"][:, mine].sum(axis=1) + bias - logit) / (1 + np.abs(logit))
        return gap

    def refusal(self, decline: gate.Decline, flags: Iterable[str] = ()) -> Refusal:
        """Turn a reason found without running the graph into a result of this model."""
        return Refusal(self._identity, decline.reason, decline.message, decline.advice, flags=tuple(flags))

    # From the input to the graph ------------------------------------------------------------------------------------

    def _admit(self, x: Volume | Record, moment_h: float | None) -> Case | Refusal:
        started = perf_counter()
        admitted = self._admit_record(x, moment_h) if isinstance(x, Record) else self._admit_volume(x)
        elapsed_ms = 1000 * (perf_counter() - started)
        if isinstance(admitted, Refusal):
            return replace(admitted, timings_ms={"prepare": elapsed_ms, "total": elapsed_ms})
        digest = hashlib.sha256(str(admitted.graph_input.shape).encode())
        digest.update(np.ascontiguousarray(admitted.graph_input).data)
        return replace(admitted, input_sha256=digest.hexdigest(), prepare_ms=1000 * (perf_counter() - started))

    def _admit_volume(self, volume: Volume) -> Case | Refusal:
        manifest = self.manifest
        if manifest.task in ("risk", "department"):
            return self.refusal(
                gate.Decline(
                    Reason.WRONG_MODALITY,
                    "This model takes patient records, found an image.",
                    "Send the image to an imaging model.",
                )
            )
        flags = (*gate.header_flags(manifest.accepts, volume.header), *volume.warnings)
        decline = gate.decline_header(manifest.accepts, volume.header) or gate.decline_geometry(manifest, volume)
        if decline:
            return self.refusal(decline, flags)
        prepared, taken = self._steps(volume)
        decline = gate.decline_pixels(manifest, volume, prepared.voxels)
        if decline:
            return replace(self.refusal(decline, flags), input_statistics=image_statistics(prepared, volume))
        return Case(self._voxels(prepared), volume, prepared, flags, taken=taken)

    def _admit_record(self, record: Record, moment_h: float | None) -> Case | Refusal:
        manifest = self.manifest
        if manifest.task != "risk":
            return self.refusal(
                gate.Decline(
                    Reason.WRONG_MODALITY,
                    "This model takes images, found a patient record.",
                    "Send the record to a risk model.",
                )
            )
        view = self._view(record, moment_h)
        flags = [f"impossible_value_left_out:{code}" for code in gate.impossible_codes(view.codes, view)]
        flags += [f"implausible_value:{code}" for code in gate.implausible_codes(manifest, view)]
        age_years = record.static.get("age_years")
        if age_years is None or np.isnan(age_years):
            flags.append("age_not_stated")
        if moment_h is not None and moment_h != manifest.moment_h:
            flags.append("other_moment_than_trained")
        decline = (
            gate.decline_age(manifest.accepts, age_years)
            or gate.decline_impossible(manifest, view)
            or gate.decline_beyond(manifest, view)
            or gate.decline_measurements(manifest, view)
        )
        if decline:
            return self.refusal(decline, flags)
        return Case(self._features(view), flags=tuple(flags))

    def _steps(self, volume: Volume) -> tuple[Volume, tuple[Taken, ...]]:
        if self.manifest.task == "image_classification" and volume.shape[0] != 1:
            raise UnusableInput(
                f"An image must have one slice, found {volume.shape[0]}. Send one image at a time.",
                code="not_one_image",
            )
        return trace_steps(volume, [(step.name, step.params) for step in self.manifest.steps])

    def _voxels(self, prepared: Volume) -> NDArray[np.float32]:
        one = prepared.voxels.astype(np.float32, copy=False)[None]
        return one if self.manifest.task == "image_classification" else one[None]

    def _view(self, record: Record, moment_h: float | None) -> View:
        hours = self.manifest.moment_h if moment_h is None else moment_h
        window_h = self.manifest.window_h
        moment = record.latest_minute if hours is None else 60 * hours
        return record.up_to(moment, float("inf") if window_h is None else 60 * window_h)

    def _features(self, view: View) -> NDArray[np.float32]:
        row = [FEATURES[feature.function](view, **feature.params) for feature in self.manifest.features]
        return np.array([row], dtype=np.float32)

    # From the graph to the result -----------------------------------------------------------------------------------

    def _finish(self, admitted: list[Case | Refusal]) -> list[Result]:
        """Run the cases of each shape as one batch; a refusal found earlier passes through in its place."""
        results: list[Result | None] = [one if isinstance(one, Refusal) else None for one in admitted]
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, one in enumerate(admitted):
            if isinstance(one, Case):
                shapes.setdefault(one.graph_input.shape, []).append(place)
        for places in shapes.values():
            cases = [one for place in places if isinstance(one := admitted[place], Case)]
            started = perf_counter()
            arrays = self._run(cases)
            graph_ms = 1000 * (perf_counter() - started) / len(cases)
            for place, case, mine in zip(places, cases, arrays, strict=True):
                results[place] = self._conclude(case, mine, graph_ms)
        return [result for result in results if result is not None]

    def _run(self, cases: list[Case]) -> list[Arrays]:
        """Return the arrays by role of each case of one shape, without the batch axis."""
        window = self.manifest.graph.window
        if window is not None:
            return [self._slid(case, window) for case in cases]
        batch = cases[0].graph_input if len(cases) == 1 else np.concatenate([one.graph_input for one in cases])
        arrays = self.session.run(batch, self._roles)
        return [{role: array[i] for role, array in arrays.items()} for i in range(len(cases))]

    def _slid(self, case: Case, window: Window) -> Arrays:
        """Let the window go over one volume; return its labels on the grid that was sent, and their volumes."""
        if case.prepared is None:
            raise ValueError("A window goes over a volume, found a record.")
        scores = blended(lambda batch: self.session.run(batch, self._roles)["class_scores"], case.prepared.voxels, window)
        labels = labels_of(scores, case.prepared, case.taken, window)
        volumes = volumes_of(labels, len(self.manifest.outputs))
        if not np.isfinite(scores).all():
            volumes[:] = np.nan  # which no count of voxels reaches: declined as incomplete
        return {"labels": labels, "volume_ml": volumes}

    def _conclude(self, case: Case, arrays: Arrays, graph_ms: float) -> Result:
        """Judge one case's arrays (no batch axis): outside what was learnt, incomplete, or a score."""
        started = perf_counter()
        identity = replace(self._identity, input_sha256=case.input_sha256)
        quality = gate.quality_of(self.manifest, arrays["ood"]) if self.manifest.refuses.ood else {}
        statistics = with_scores(self._watched(case), quality)
        outside = gate.decline_outsider(self.manifest, quality)
        if outside:
            refused = _refuse(identity, outside, quality, case, _timings(case, graph_ms, started))
            return replace(refused, input_statistics=statistics)
        findings = self._findings(case, arrays)
        explanation = METHODS[self.manifest.explains.method](self.manifest, findings, arrays, case)
        timings_ms = _timings(case, graph_ms, started)
        incomplete = _decline_incomplete(explanation)
        if incomplete:
            return replace(_refuse(identity, incomplete, quality, case, timings_ms), input_statistics=statistics)
        return Prediction(identity, findings, explanation, quality, case.flags, timings_ms, input_statistics=statistics)

    def _watched(self, case: Case) -> dict[str, float]:
        """Return what is watched of an input: of the image after the steps, or of the row of features."""
        if case.prepared is None or case.source is None:
            return record_statistics(self.manifest, case.graph_input)
        return image_statistics(case.prepared, case.source)

    def _findings(self, case: Case, arrays: Arrays) -> tuple[Finding, ...]:
        """Return the outputs that may be shown, in the manifest's order."""
        values = {output.name: self._value(output, case, arrays) for output in self.manifest.outputs}
        intervals = arrays.get("interval")
        above = {
            output.name: output.threshold is not None and values[output.name] >= output.threshold
            for output in self.manifest.outputs
        }
        return tuple(
            Finding(
                output.name,
                output.label,
                output.label_fr,
                output.code,
                output.kind,
                values[output.name],
                output.unit,
                output.threshold,
                above[output.name] if output.threshold is not None else None,
                self._logit(output, arrays),
                **_interval(output, intervals),
                risk=output.risk(values[output.name]) or "",
            )
            for output in self.manifest.outputs
            if output.shown_only_if is None or above[output.shown_only_if]
        )

    def _value(self, output: Output, case: Case, arrays: Arrays) -> float:
        if output.kind == "probability":
            return float(arrays["probability"][output.index])
        if output.kind == "quantity":
            return float(arrays["quantity"][output.index])
        # Voxels are counted as 1 mm³. A window's labels lie on the source's grid; else the prepared one, whose spacing was left
        # as it is within the tolerance of the resample step.
        grid = case.prepared if self.manifest.graph.window is None else case.source
        voxel_mm3 = 1000 * grid.voxel_ml if grid is not None else 1.0
        return float(arrays["volume_ml"][output.index]) * voxel_mm3

    def _logit(self, output: Output, arrays: Arrays) -> float | None:
        if output.kind == "volume" or (output.kind == "quantity" and output.index >= len(arrays["logit"])):
            return None
        if output.map_index is None:
            return float(arrays["logit"][output.index])
        return float(arrays["logit"][output.map_index]) * sign_of(self.manifest, output)


def _interval(output: Output, intervals: NDArray[np.float32] | None) -> dict[str, float]:
    """Return low, high and level of a quantity's interval: columns 2·index and 2·index + 1 of the graph's ``interval``."""
    if output.kind != "quantity" or intervals is None or output.interval_level is None:
        return {}
    low, high = intervals[2 * output.index : 2 * output.index + 2].tolist()
    return {"low": low, "high": high, "interval_level": output.interval_level}


def _timings(case: Case, graph_ms: float, started: float) -> dict[str, float]:
    judge_ms = 1000 * (perf_counter() - started)
    total_ms = case.prepare_ms + graph_ms + judge_ms
    return {"prepare": case.prepare_ms, "graph": graph_ms, "judge": judge_ms, "total": total_ms}


def _refuse(
    identity: Identity, decline: gate.Decline, quality: dict[str, float], case: Case, timings_ms: dict[str, float]
) -> Refusal:
    return Refusal(identity, decline.reason, decline.message, decline.advice, quality, case.flags, timings_ms)


def _decline_incomplete(explanation: Explanation) -> gate.Decline | None:
    error, allowed = explanation.completeness_error, explanation.completeness_tolerance
    if error <= allowed:  # false for NaN, which is incomplete
        return None
    return gate.Decline(
        Reason.INCOMPLETE_EXPLANATION,
        f"The parts must sum to the score within {allowed:.0e} (relative to 1 + |score|), found {error:.1e}.",
        "Do not use this score. Tell the people who run Diaphane: this machine or precision computes wrongly.",
    )
