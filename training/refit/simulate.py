"""Simulated verdicts: real cases of another hospital, judged by a reader who is right, or wrong as often as asked.

    python -m training.refit.simulate OUT --of eicu_demo --verdicts 300 --wrong 0.0

Risks: stays of eICU or SUPPORT2, which icu_mortality never saw. Radiographs: children's images of the test split, as another
scanner might give them (a soft, flat image, collimated elsewhere). OUT holds set/ in the form of a de-identified set, split as
a queue would have it (64 : 16 : 20), and rest/, everybody else with the true outcome, to see whether the gate decided well.
It is a drill: verdicts of people differ in more than chance.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track
from scipy import ndimage

from models.model import Model
from models.prediction import Prediction, Result
from models.read_image import read_raster
from models.record_json import record_to_json
from training.data import chest_xray
from training.recalibrate import DATA_SETS

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
SHELF = ROOT / "models" / "released"
SHARES = ((0.64, "train"), (0.80, "val"), (1.0, "test"))
RADIOGRAPHS = "radiographs"
app = typer.Typer(add_completion=False)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder to make.")],
    of: Annotated[str, typer.Option(help="eicu_demo, support2 or radiographs.")] = "eicu_demo",
    verdicts: Annotated[int, typer.Option(help="How many results are judged.")] = 300,
    wrong: Annotated[float, typer.Option(help="Share of verdicts that are wrong, at random.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed draws the same people.")] = 1,
    rest: Annotated[int, typer.Option(help="People beside them, at most; 0 for all.")] = 0,
    data: Annotated[Path, typer.Option(help="Folder with the data sets.", envvar="DIAPHANE_DATA")] = ROOT.parent / "shared" / "data",
) -> None:
    """Make a set of simulated verdicts, and the rest with the truth."""
    write(out, of=of, verdicts=verdicts, wrong=wrong, seed=seed, rest=rest, data=data)
    typer.echo(f"next: python -m training refit {RELEASES[of]} --from-verdicts {out / 'set'}")


RELEASES = {"eicu_demo": "icu_mortality-1.0.0", "support2": "icu_mortality-1.0.0", RADIOGRAPHS: "chest_xray_pediatric-1.0.0"}


def write(out: Path, *, of: str, verdicts: int = 300, wrong: float = 0.0, seed: int = 1, rest: int = 0, data: Path,
          release: Path | None = None) -> None:
    """Write ``out/set`` and ``out/rest``. ``wrong`` is the share of verdicts that are turned round in ``set``."""
    rng = np.random.default_rng(seed)
    model = Model(release or SHELF / RELEASES[of])
    cases = _radiographs(data, rng) if of == RADIOGRAPHS else _records(of, data, rng)
    lines: dict[str, list[Json]] = {"set": [], "rest": []}
    sides: dict[str, tuple[str, str]] = {}
    for name in lines:
        (out / name / "images").mkdir(parents=True, exist_ok=True)
    for number, (group, source, truths) in enumerate(track(cases, description=of, transient=True)):
        part = "set" if len(lines["set"]) < verdicts else "rest"
        if part == "rest" and rest and len(lines["rest"]) >= rest:
            break
        place = rng.random()
        if len(lines["set"]) >= verdicts and sides.get(group, ("", ""))[0] == "set":
            continue  # a person is in one part
        part, split = sides.setdefault(group, (part, next(side for below, side in SHARES if place < below)))
        turned = rng.random() < wrong and part == "set"
        line = _line(model, source, truths, out / part, number, turned=turned)
        if line is not None:
            lines[part].append({"group": group, "split": split if part == "set" else "test", "model": model.id, **line})
    for part, told in lines.items():
        images = of == RADIOGRAPHS
        for name, mine in (("labels.jsonl", images), ("records.jsonl", not images)):
            (out / part / name).write_text("".join(json.dumps(one) + "\n" for one in told if mine), encoding="utf-8")
        with (out / part / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "group", "split", "modality", "view", "sex", "age"])
            writer.writerows([one, line["group"], line["split"], "DX", "", "", ""] for line in told for one in line.get("files", ()))


def shifted(pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a radiograph (rows, columns) as a scanner elsewhere might give it: collimated, softer, flatter, with grain."""
    rows, columns = pixels.shape
    top, left = (int(rng.uniform(0, 0.08) * size) for size in (rows, columns))
    cut = pixels[top : rows - int(rng.uniform(0, 0.08) * rows), left : columns - int(rng.uniform(0, 0.08) * columns)]
    soft = ndimage.gaussian_filter(cut.astype(np.float32), 0.006 * rows) / 255
    flat = 0.12 + 0.7 * soft**1.35
    return np.clip(255 * (flat + rng.normal(0, 0.012, flat.shape)), 0, 255).astype(np.uint8)


def _records(of: str, data: Path, rng: np.random.Generator) -> list[tuple[str, Any, dict[str, float]]]:
    """Return stays, one a person, in a random order."""
    cases = [case for split in ("train", "val", "test") for case in DATA_SETS[of].records(split, data)]
    first = {case.group: case for case in cases}
    people = [first[group] for group in sorted(first)]
    return [(people[i].group, people[i].record, {"died": people[i].labels[0]}) for i in rng.permutation(len(people))]


def _radiographs(data: Path, rng: np.random.Generator) -> list[tuple[str, Any, dict[str, float]]]:
    """Return images of people in a random order, at most two of one: most have one, the ill more."""
    people: dict[str, list[chest_xray.RadiographCase]] = {}
    for case in chest_xray.load(data, "test"):
        people.setdefault(case.patient, []).append(case)
    names = sorted(people)
    cases = [case for i in rng.permutation(len(names)) for case in people[names[i]][:2]]
    return [(case.patient, (case, rng.spawn(1)[0]), dict(zip(("pneumonia", "bacterial"), case.targets, strict=True)))
            for case in cases]


def _line(model: Model, source: Any, truths: dict[str, float], folder: Path, number: int, *, turned: bool) -> Json | None:
    """Return what a reader says of one result; None where the model declines, which leaves nothing to judge."""
    if isinstance(source, tuple):
        case, rng = source
        path = folder / "images" / f"{number}.png"
        Image.fromarray(shifted(chest_xray.read_case(case).voxels[0].astype(np.uint8), rng)).save(path)
        result = model.predict(read_raster(path))
        told: Json = {"files": [f"images/{number}.png"]}
    else:
        result, told = model.predict(source), {"record": record_to_json(source), "moment_h": None}
    if not isinstance(result, Prediction):
        return None
    said = list(_said(model, result, truths, turned=turned))
    decision = "agree" if all(one["present"] == one["ai_present"] for one in said) else "correct"
    return {**told, "status": "scored", "decision": decision, "in_force": True, "picked": "", "reason_code": "", "assessed": said}


def _said(model: Model, result: Result, truths: dict[str, float], *, turned: bool) -> Iterator[Json]:
    """Yield what is said of each finding. A risk has one, by whatever name."""
    assert isinstance(result, Prediction)
    for finding in result.findings:
        truth = next(iter(truths.values())) if model.manifest.task == "risk" else truths.get(finding.name, float("nan"))
        if finding.name == "viral":
            truth = 1 - truths["bacterial"]
        if np.isnan(truth):
            continue
        yield {"name": finding.name, "kind": finding.kind, "ai_value": finding.value, "ai_present": finding.above_threshold,
               "present": bool(truth) != turned}


if __name__ == "__main__":
    app()
