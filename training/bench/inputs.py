"""What the bench scores: a sample of the project that a release accepts, else an image of the data sets if here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from models.errors import UnusableInput
from models.model import Model
from models.prediction import Prediction
from models.read_dicom import read_dicom
from models.read_image import read_nifti, read_raster
from models.volume import Volume

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data-samples"
Case = tuple[Volume, list[Path]]
TRIES = 60


def accepted(model: Model, samples: Path, data: Path) -> Case:
    """Return the first case that the model scores, one with a heat map before one without, and its files.

    Raises FileNotFoundError when nothing here is accepted.
    """
    plain: Case | None = None
    for tried, (read, paths) in enumerate(_candidates(model, samples, data)):
        if tried >= TRIES:
            break
        try:
            volume = read(paths)
            result = model.predict(volume)
        except UnusableInput:
            continue
        if not isinstance(result, Prediction):
            continue
        if result.explanation.heatmaps or result.explanation.mask is not None:
            return volume, paths
        plain = plain or (volume, paths)
    if plain is None:
        raise FileNotFoundError(f"{model.id} accepts none of the inputs under {samples} and {data}. "
                                "Make samples first: python -m training samples.")
    return plain


def _candidates(model: Model, samples: Path, data: Path) -> Iterator[tuple[Callable[[list[Path]], Volume], list[Path]]]:
    folders: dict[Path, list[Path]] = {}
    for path in sorted(samples.rglob("*.dcm")):
        folders.setdefault(path.parent, []).append(path)
    if model.manifest.task == "volume_segmentation":
        yield from ((read_dicom, paths) for paths in folders.values() if len(paths) > 1)
        yield from ((_nifti, [path]) for path in sorted((data / "hippocampus" / "images").glob("*.nii.gz")))
    else:
        few_first = sorted(folders.values(), key=len)  # many files in one folder are the slices of a volume
        yield from ((read_dicom, [path]) for paths in few_first for path in paths[:10])
        yield from ((_raster, [path]) for path in sorted((data / "chest-xray" / "images" / "kermany").glob("*.jp*g")))


def _nifti(paths: list[Path]) -> Volume:
    return read_nifti(paths[0])


def _raster(paths: list[Path]) -> Volume:
    return read_raster(paths[0])
