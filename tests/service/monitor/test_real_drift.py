"""The drill on real people: children's radiographs and intensive-care records the releases never saw, as they are and spoilt.

The test split stands for the people of a site: ordinary weeks and, anew every half year, a reference are drawn from it by patient, so
that images of one patient come together as they do in life.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage

from models.model import Model
from models.prediction import Prediction, Result
from models.record import Record, Series
from models.reference import Reference, shipped_reference
from models.reference_made import reference_of
from models.shelf import RELEASED
from models.volume import Volume
from service.monitor.judged import judge
from service.monitor.tally import Seen, tally_of
from service.monitor.weeks import Week
from tests.make import data_root, needs_data

log = logging.getLogger("diaphane")
pytestmark = [needs_data, pytest.mark.slow]
PER_WEEK, WEEKS, BEFORE, AFTER = 100, 200, 6, 8
BLOCK = 25
Pixels = np.ndarray
SCANNERS: dict[str, Callable[[Pixels], Pixels]] = {
    "contrast": lambda x: 128 + 0.6 * (x - 128),
    "blur": lambda x: ndimage.gaussian_filter(x, 2.0),
    "inversion": lambda x: 255 - x,
}


@dataclass(frozen=True)
class Cases:
    """Scored cases, by patient."""

    seen: tuple[Seen, ...]
    patients: tuple[str, ...]

    def week(self, rng: np.random.Generator, reference: Reference, number: int) -> Week:
        """Draw one week of about PER_WEEK cases, whole patients at a time."""
        by: dict[str, list[Seen]] = {}
        for one, patient in zip(self.seen, self.patients, strict=True):
            by.setdefault(patient, []).append(one)
        names, drawn = sorted(by), []
        while len(drawn) < PER_WEEK:
            drawn += by[names[rng.integers(len(names))]]
        return Week(f"{number:04d}", tally_of(drawn, reference))


def seen_of(model: Model, result: Result) -> Seen:
    findings = result.findings if isinstance(result, Prediction) else ()
    return Seen(result.status, str(getattr(result, "reason", "")), result.timings_ms["total"] / 1000,
                {one.name: one.value for one in findings},
                {one.name: one.above_threshold for one in findings if one.above_threshold is not None}, result.input_statistics, {})


def scored(model: Model, inputs: Sequence[Volume | Record], patients: Sequence[str]) -> Cases:
    return Cases(tuple(seen_of(model, one) for one in model.predict_many(inputs, batch=16)), tuple(patients))


def drawn(whole: Cases, seed: int) -> Cases:
    """Draw half as many cases, whole patients at a time and any of them again: what a site might have commissioned on."""
    by: dict[str, list[Seen]] = {}
    for one, patient in zip(whole.seen, whole.patients, strict=True):
        by.setdefault(patient, []).append(one)
    rng, names, found = np.random.default_rng(seed), sorted(by), []
    while len(found) < len(whole.seen) / 2:
        found += by[names[rng.integers(len(names))]]
    return Cases(tuple(found), ("",) * len(found))


def reference_from(model: Model, half: Cases) -> Reference:
    return reference_of([(one.status, one.statistics, one.values) for one in half.seen], model.manifest, "commissioning")


def false_alarms(model: Model, whole: Cases, reference: Reference | None = None, *, seed: int = 7) -> dict[str, int]:
    """Count how often an alarm begins in WEEKS ordinary weeks, each block of them against a reference drawn anew."""
    rng = np.random.default_rng(seed)
    found: dict[str, int] = {}
    for block in range(WEEKS // BLOCK):
        against = reference or reference_from(model, drawn(whole, (seed - 7) * 1000 + block))
        weeks: list[Week] = []
        before: set[tuple[str, str]] = set()
        for number in range(BLOCK):
            weeks.append(whole.week(rng, against, number))
            signals = judge(against, weeks, weeks[-1].tally)
            now: set[tuple[str, str]] = {(one.kind, one.stream) for one in signals if one.kind != "latency"}
            for kind in {kind for kind, _ in now} - {kind for kind, _ in before}:
                found[kind] = found.get(kind, 0) + 1
            before = now
    return found


def waited(reference: Reference, usual: Cases, spoilt: Cases, kinds: set[str]) -> int | None:
    """Return after how many weeks one of some alarms rings, None when it does not."""
    rng = np.random.default_rng(11)
    weeks = [usual.week(rng, reference, number) for number in range(BEFORE)]
    for number in range(1, AFTER + 1):
        weeks.append(spoilt.week(rng, reference, BEFORE + number))
        if kinds & {one.kind for one in judge(reference, weeks, weeks[-1].tally)}:
            return number
    return None


def test_children_of_ordinary_weeks_ring_seldom_and_every_other_scanner_rings() -> None:
    from training.data import chest_xray

    model = Model(RELEASED / "chest_xray_pediatric-1.0.0")
    cases = chest_xray.load(data_root(), "test")
    volumes = [chest_xray.read_case(one) for one in cases]
    whole = scored(model, volumes, [one.patient for one in cases])
    reference = reference_from(model, drawn(whole, 1))
    quiet = false_alarms(model, whole)
    log.info("%s: %s", "false alarms", quiet)
    log.info("%s: %s", "against the validation split", false_alarms(model, whole, _shipped(model.id)))
    some = list(zip(volumes, [one.patient for one in cases], strict=True))[::7]
    heard = {}
    for name, spoil in SCANNERS.items():
        spoilt = [replace(one, voxels=np.clip(spoil(one.voxels[0]), 0, 255).astype(np.float32)[None]) for one, _ in some]
        seen = tuple(seen_of(model, one) for one in model.predict_many(spoilt, batch=16))
        heard[name] = waited(reference, whole, Cases(seen, tuple(who for _, who in some)), {"input_drift", "refusals"})
    log.info("%s: %s", "heard after weeks", heard)
    assert None not in heard.values(), heard
    assert sum(quiet.values()) * 52 <= WEEKS, quiet


def test_intensive_care_of_ordinary_weeks_rings_seldom_and_a_changed_laboratory_rings() -> None:
    from training.data import challenge2012

    model = Model(RELEASED / "icu_mortality-1.0.0")
    cases = challenge2012.records("test", data_root())
    records = [one.record for one in cases]
    whole = scored(model, records, [one.group for one in cases])
    reference = reference_from(model, drawn(whole, 1))
    quiet = false_alarms(model, whole)
    log.info("%s: %s", "false alarms", quiet)
    log.info("%s: %s", "against the validation split", false_alarms(model, whole, _shipped(model.id)))
    some = list(zip(records, [one.group for one in cases], strict=True))[::5]
    heard = {}
    for name, change in {
        "glucose in mmol/L": lambda one: _changed(one, {"Glucose": 1 / 18.0}),
        "creatinine no longer comes": lambda one: _changed(one, {"Creatinine": None}),
        "ten years older": _older,
    }.items():
        seen = tuple(seen_of(model, one) for one in model.predict_many([change(record) for record, _ in some], batch=16))
        heard[name] = waited(reference, whole, Cases(seen, tuple(who for _, who in some)), {"input_drift", "refusals"})
    log.info("%s: %s", "heard after weeks", heard)
    assert None not in heard.values(), heard
    assert sum(quiet.values()) * 52 <= WEEKS, quiet


def _shipped(release: str) -> Reference:
    found = shipped_reference(release)
    assert found is not None
    return found


def _framed(pixels: Pixels) -> Pixels:
    found = pixels.copy()
    rows, columns = (max(1, size // 8) for size in pixels.shape)
    found[:rows], found[-rows:], found[:, :columns], found[:, -columns:] = 0, 0, 0, 0
    return found


SCANNERS["collimation"] = _framed


def _older(record: Record) -> Record:
    return Record(_series(record), {**record.static, "age_years": record.static.get("age_years", np.nan) + 10}, record.origin)


def _series(record: Record) -> dict[str, Series]:
    view = record.up_to(record.latest_minute)
    return {code: view.series(code) for code in view.codes}


def _changed(record: Record, by: Mapping[str, float | None]) -> Record:
    series = _series(record)
    for code, factor in by.items():
        one = series.pop(code, None)
        if one is not None and factor is not None:
            series[code] = Series(one.minutes, one.values * factor)
    return Record(series, record.static, record.origin)
