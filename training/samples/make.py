"""Make data-samples/ again: fit the generative models, draw, keep what is far from every patient and rightly scored.

The same seed, data, releases and kind of processor give the same bytes. README.md in the folder is written by hand and
left alone.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from threadpoolctl import threadpool_limits

from models.errors import DiaphaneError
from models.model import Model
from models.prediction import Prediction, Reason, Result
from models.read_dicom import read_dicom
from training.samples import (
    bundles,
    ed_triage,
    hippocampus,
    hypoglycaemia_60min,
    radiograph,
    readmission_30d,
    refused,
    warfarin_dose,
    wrap,
)
from training.samples.appearance import Appearance
from training.samples.distance import Floats, Neighbourhood, neighbourhood
from training.samples.hooks import make_calls
from training.samples.wrap import Patient

ROOT = Path(__file__).resolve().parents[2]
RELEASED = ROOT / "models" / "released"
CACHE = ROOT / ".cache" / "samples"
MOST_DRAWS = 300
SOURCES = {"radiograph": "radiograph", "mr": "hippocampus"}
KINDS = {radiograph.NORMAL: "normal", radiograph.BACTERIAL: "bacterial", radiograph.VIRAL: "viral"}


# Bundles whose expected results are stated in expected.json by hand, since they are written, not drawn.
DEPARTMENT = "ed_demand/department.json"
RECORDS: dict[str, Callable[[Path, int], list[Path]]] = {
    "ed_triage": ed_triage.make,
    "hypoglycaemia_60min": hypoglycaemia_60min.make,
    "readmission_30d": readmission_30d.make,
    "warfarin_dose": warfarin_dose.make,
}


@dataclass(frozen=True)
class Wanted:
    """One image to make: its class (radiographs), whose it is said to be, and how it is stored."""

    name: str
    patient: Patient
    syntax: UID
    kind: int = 0
    bits: int = 12
    inverse: bool = False


RADIOGRAPHS = (
    Wanted(
        "normal-1", Patient("TEST^MARGOT", "DIA-TEST-001", "20220903", "F", "2220999000001", "003Y"), JPEG2000Lossless
    ),
    Wanted(
        "normal-2", Patient("TEST^GASPARD", "DIA-TEST-002", "20210411", "M", "1210499000002", "004Y"),
        ExplicitVRLittleEndian, bits=8, inverse=True,
    ),
    Wanted(
        "bacterial-1", Patient("TEST^ELOISE", "DIA-TEST-003", "20231120", "F", "2231199000003", "002Y"),
        JPEGLSLossless, radiograph.BACTERIAL,
    ),
    Wanted(
        "bacterial-2", Patient("TEST^AUGUSTIN", "DIA-TEST-004", "20220128", "M", "1220199000004", "003Y"),
        RLELossless, radiograph.BACTERIAL, bits=8,
    ),
    Wanted(
        "viral-1", Patient("TEST^APOLLINE", "DIA-TEST-005", "20200730", "F", "2200799000005", "005Y"),
        JPEG2000Lossless, radiograph.VIRAL,
    ),
)
CROPS = (
    Wanted(
        "crop-1", Patient("TEST^LEONTINE", "DIA-TEST-011", "19850514", "F", "2850599000006", "040Y"), JPEGLSLossless
    ),
    Wanted(
        "crop-2", Patient("TEST^BAPTISTE", "DIA-TEST-012", "19720219", "M", "1720299000007", "053Y"),
        DeflatedExplicitVRLittleEndian,
    ),
)


@dataclass(frozen=True)
class Tray:
    """Where files go, and the two tables that grow with them."""

    out: Path
    seed: int
    quick: bool
    expected: dict[str, Any] = field(default_factory=dict)
    distances: dict[str, Any] = field(default_factory=dict)

    def put(self, path: str, content: bytes) -> None:
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def put_json(self, path: str, table: dict[str, Any]) -> None:
        self.put(path, (json.dumps(table, indent=1, ensure_ascii=False) + "\n").encode())


def make(root: Path, out: Path, seed: int, *, quick: bool = False) -> dict[str, Any]:
    """Write everything below ``out`` and return the table of expected results, which is also ``expected.json``.

    ``quick`` fits a poor model on few images and takes its first draws, for tests. Raises DiaphaneError when no draw is
    far enough from the training images and scored as its class should be.
    """
    tray = Tray(out, seed, quick)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with threadpool_limits(1), Progress(*columns, TimeElapsedColumn()) as progress:  # one thread: one order of sums
        for folder in ("radiograph", "mr", "stay", "refused"):
            shutil.rmtree(out / folder, ignore_errors=True)

        def steps_of(what: str, total: int) -> Callable[[str], None]:
            task = progress.add_task(what, total=total)
            return lambda text: progress.update(task, advance=1, description=f"{what}: {text}")

        normal = _radiographs(root, tray, steps_of("radiographs", 10 + len(RADIOGRAPHS)))
        crop = _crops(root, tray, steps_of("MR crops", 3 + len(CROPS)))
        step = steps_of("stays and refusals", 2)
        step("stays")
        _stays(tray)
        step("refusals")
        for one in refused.images(normal, crop, seed):
            for name, content in one.files.items():
                tray.put(f"{one.path}/{name}" if name else one.path, content)
            row = {"model": one.model, "status": "refused", "reason": one.reason.value, "note": one.note}
            tray.expected[one.path] = row
    for folder, records in RECORDS.items():
        stated = _stated(tray.out)
        for path in records(tray.out, seed):
            name = path.relative_to(tray.out).as_posix()
            if name in stated:
                tray.expected[name] = stated[name]
            elif path.parent.name == folder:
                raise DiaphaneError(f"{name} must have a row in expected.json, found none. State what it should give.")
    tray.put_json(DEPARTMENT, ed_triage.department(seed))
    tray.expected[DEPARTMENT] = {"model": "ed_demand", "status": "scored", "url": "/v1/department",
                                 "note": "Everyone in a made-up emergency department, and its last months"}
    make_calls(tray.out)
    tray.put_json("expected.json", tray.expected)
    tray.put_json("distances.json", tray.distances)
    return tray.expected


def _stated(out: Path) -> dict[str, Any]:
    """Return the rows of the expected.json beside the samples, or of the one that is kept, for another folder."""
    beside = out / "expected.json"
    kept = beside if beside.is_file() else ROOT / "data-samples" / "expected.json"
    found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def judge_of(name: str) -> Model | None:
    """Open the newest release of a model; None while there is none."""
    folders = sorted(RELEASED.glob(f"{name}-*/manifest.json"))
    return Model(folders[-1].parent) if folders else None


def _radiographs(root: Path, tray: Tray, step: Callable[[str], None]) -> Floats:
    """Draw, choose and write the radiographs; returns the first, a normal one, for the refusals made from it."""
    judge = None if tray.quick else judge_of("chest_xray_pediatric")
    drawn = {}
    for view in (radiograph.WIDE, radiograph.TIGHT):
        step("reading")
        frames = radiograph.load_frames(root, view, **({"most": 12} if tray.quick else {}))
        images, masks, classes, patients = frames
        effort = 0.1 if tray.quick else 1.0
        model = _kept("radiograph", tray, images, partial(radiograph.fit, images, masks, classes, step, effort=effort))
        near = neighbourhood(radiograph.view_of_training(images, view), patients, sigma=4.0)
        table: dict[str, Any] = {"training_images": len(images), **near.summary(), "samples": {}}
        tray.distances[f"radiograph, {view.name}"] = table
        for wanted in (one for one in RADIOGRAPHS if radiograph.FIELD_OF[one.kind] == view):
            step(wanted.name)
            path = f"radiograph/{wanted.name}.dcm"
            choice = Choice(
                partial(radiograph.draw, model, wanted.kind), radiograph.view_of_draw, partial(_wrapped, wanted), near,
                judge, partial(_rightly_scored, kind=wanted.kind), table["samples"],
            )
            drawn[path], (content,) = _choose(choice, tray, path)
            tray.put(path, content)
            tray.expected[path] = {
                "model": "chest_xray_pediatric", "status": "scored",
                "above_threshold": wanted.kind != radiograph.NORMAL,
                "note": f"Drawn from the class {KINDS[wanted.kind]}; {wanted.syntax.name}",
            }
    return drawn["radiograph/normal-1.dcm"]


def _wrapped(wanted: Wanted, pixels: Floats) -> list[bytes]:
    if pixels.ndim == 3:
        return [wrap.encode(one, wanted.syntax) for one in wrap.mr_slices(pixels, wanted.patient, wanted.name)]
    dataset = wrap.radiograph(pixels, wanted.patient, wanted.name, bits=wanted.bits, inverse=wanted.inverse)
    return [wrap.encode(dataset, wanted.syntax)]


def _crops(root: Path, tray: Tray, step: Callable[[str], None]) -> Floats:
    """Draw, choose and write the MR crops; returns the first."""
    judge = None if tray.quick else judge_of("hippocampus_mr")
    step("reading")
    volumes, masks, subjects = hippocampus.load_frames(root, most=10 if tray.quick else 160)
    effort = 0.1 if tray.quick else 1.0
    model = _kept("mr", tray, volumes, partial(hippocampus.fit, volumes, masks, step, effort=effort))
    near = neighbourhood(hippocampus.view_of_training(volumes), subjects, sigma=2.5)
    table: dict[str, Any] = {"training_images": len(volumes), **near.summary(), "samples": {}}
    tray.distances["mr"] = table
    drawn = {}
    for wanted in CROPS:
        step(wanted.name)
        path = f"mr/{wanted.name}"
        choice = Choice(
            partial(hippocampus.draw, model), hippocampus.view_of_draw, partial(_wrapped, wanted), near, judge,
            lambda result: isinstance(result, Prediction), table["samples"],
        )
        drawn[path], contents = _choose(choice, tray, path)
        for z, content in enumerate(contents):
            tray.put(f"{path}/{z:02d}.dcm", content)
        row = {"model": "hippocampus_mr", "status": "scored", "note": f"Drawn MR crop; {wanted.syntax.name}"}
        tray.expected[path] = row
    return drawn["mr/crop-1"]


def _kept(name: str, tray: Tray, images: NDArray[Any], fit: Callable[[], Appearance]) -> Appearance:
    """Return the model fitted before to the same images by the same code, or fit and keep it."""
    if tray.quick:
        return fit()
    digest = hashlib.sha256(np.ascontiguousarray(images))
    for source in ("align", "appearance", SOURCES[name]):
        digest.update((Path(__file__).parent / f"{source}.py").read_bytes())
    path = CACHE / f"{name}-{digest.hexdigest()[:16]}.npz"
    if not path.is_file():
        fit().save(path)
    return Appearance.load(path)


@dataclass(frozen=True)
class Choice:
    """How to draw, look at, wrap and judge candidates for one sample."""

    draw: Callable[[Generator], Floats]
    view: Callable[[Floats], Floats]
    files: Callable[[Floats], list[bytes]]
    near: Neighbourhood
    judge: Model | None
    right: Callable[[Result], bool]
    found: dict[str, Any]  # path → which draw it was and how far it is


def _choose(choice: Choice, tray: Tray, path: str) -> tuple[Floats, list[bytes]]:
    """Return the first draw that is far from every training image and, where there is a release, rightly scored."""
    for number in range(MOST_DRAWS):
        pixels = choice.draw(np.random.default_rng([tray.seed, *path.encode(), number]))
        found = choice.near.of(choice.view(pixels))
        if not (tray.quick or choice.near.allows(found)):
            continue
        files = choice.files(pixels)
        if choice.judge is None or choice.right(choice.judge.predict(read_dicom(files))):
            choice.found[path] = {"draw": number, **found}
            return pixels, files
    raise DiaphaneError(
        f"{path}: a draw must be far from every training image and scored as its class should be, "
        f"found none in {MOST_DRAWS}. Try another seed."
    )


def _rightly_scored(result: Result, kind: int) -> bool:
    if not isinstance(result, Prediction):
        return False
    if kind == radiograph.NORMAL:
        return not result.main.above_threshold
    values = {finding.name: finding.value for finding in result.findings}
    wrong = "viral" if kind == radiograph.BACTERIAL else "bacterial"
    return bool(result.main.above_threshold) and values[KINDS[kind]] > values[wrong]


def _stays(tray: Tray) -> None:
    scored = {"model": "icu_mortality", "status": "scored"}
    for stay, high in ((bundles.LOW_RISK, False), (bundles.HIGH_RISK, True)):
        path = f"stay/{stay.name}.json"
        tray.put(path, bundles.bundle(stay, tray.seed))
        tray.expected[path] = {**scored, "above_threshold": high, "note": "Made-up stay of 48 h in French units"}
    path = "stay/impossible-value.json"
    tray.put(path, bundles.bundle(bundles.LOW_RISK, tray.seed, impossible=True))
    tray.expected[path] = {
        **scored, "above_threshold": False, "flag": "impossible_value_left_out",
        "note": "The low-risk stay with a pH of 74 and a temperature of 3.7 °C, which are left out and flagged",
    }
    path = "refused/too_few_measurements.json"
    tray.put(path, bundles.bundle(bundles.TOO_FEW, tray.seed))
    tray.expected[path] = {
        "model": "icu_mortality", "status": "refused", "reason": Reason.TOO_FEW_MEASUREMENTS.value,
        "note": "Two temperatures and a weight",
    }
