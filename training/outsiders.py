"""Inputs a model must refuse: adults, other modalities, spoilt images.

Nothing of a header is kept, so the pixels decide. These are the test sets of refusal: real CT and MR pictures and
test patients. What a network was shown while fitting is in augment.outsiders_of.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from models.errors import UnusableInput
from models.read_dicom import read_dicom
from models.read_image import read_nifti
from models.steps import window
from models.volume import Header, Volume
from training.data import chest_xray, hippocampus

CT_WINDOWS_HU = {"lung": (-1350.0, 150.0), "soft tissue": (-160.0, 240.0), "bone": (-500.0, 1300.0)}
Image = NDArray[np.float32]


@dataclass(frozen=True)
class OutsiderSet:
    """Inputs of one kind and whose they are. ``gross`` sets must be refused almost always."""

    name: str
    what: str
    gross: bool
    volumes: list[Volume]
    patients: list[str]


def radiograph_outsiders(
    root: Path, children: list[Volume], patients: list[str], *, every: int = 1
) -> list[OutsiderSet]:
    """Return the outsider sets of a model for children's chest radiographs; ``children`` are test images to spoil.

    ``every`` keeps each n-th input of a set.
    """
    some = slice(None, None, 4 * every)
    spoilt, whose = children[some], patients[some]
    sets = [
        _grown(root, "nih-chestxray14", "adults_nih", "NIH ChestX-ray14, test patients of 18 years and over"),
        _grown(root, "hannover-covid19", "adults_hannover", "Hannover COVID-19, test patients, all adults"),
        _pictures("ct", "CT slices shown in lung, soft tissue and bone windows", True, ct_pictures(root)),
        _pictures("mr", "MR slices: hippocampus test crops, DICOM series of brains, one multi-frame", True,
                  mr_pictures(root)),
        _pictures("noise", "uniform, normal and salt-and-pepper noise, fine and coarse", True, noise_pictures()),
        _pictures("blank", "one grey level, with and without slight noise, and gradients", True, blank_pictures()),
    ]
    changes: dict[str, tuple[str, bool, Callable[[Image], Image]]] = {
        "inverted": ("test children with black and white exchanged", True, lambda x: 255 - x),
        "turned": ("test children turned by a quarter", False, lambda x: np.rot90(x).copy()),
        "upside_down": ("test children upside down", False, lambda x: x[::-1].copy()),
        "detail": ("the middle fifth of each side of test children, enlarged", False, _detail),
    }
    for name, (what, gross, change) in changes.items():
        volumes = [_picture(change(v.voxels[0])) for v in spoilt]
        sets.append(OutsiderSet(name, what, gross, volumes, list(whose)))
    keep = slice(None, None, every)
    return [OutsiderSet(s.name, s.what, s.gross, s.volumes[keep], s.patients[keep]) for s in sets]


def ct_pictures(root: Path) -> list[tuple[Image, str]]:
    """Return every readable CT of the DICOM zoo in three windows, with a key for whose it is."""
    found = []
    for folder in ("ct", "ct-syntax-matrix"):
        for path in sorted((root / "dicom-zoo" / folder).glob("*.dcm")):
            for volume in _read(path):
                key = path.name if folder == "ct" else folder  # the matrix is one slice in many encodings
                for low, high in CT_WINDOWS_HU.values():
                    found += [(s, key) for s in window(volume, low=low, high=high).voxels]
    return found


def mr_pictures(root: Path) -> list[tuple[Image, str]]:
    """Return middle planes of the MR test crops, slices of the DICOM series and of a multi-frame MR, enlarged."""
    found = []
    for case in hippocampus.load(root, "test"):
        voxels = read_nifti(case.image).voxels
        z, y, x = (n // 2 for n in voxels.shape)
        found += [(_shown(plane), case.subject) for plane in (voxels[z], voxels[:, y], voxels[:, :, x])]
    for series in sorted((root / "hippocampus" / "dicom").glob("*/*")):
        for volume in _read(*sorted(series.glob("*.dcm"))):
            found += [(_shown(plane), series.parent.name) for plane in volume.voxels[4:-4:4]]
    for volume in _read(root / "dicom-zoo" / "multiframe" / "emri_small_jpeg_2k_lossless.dcm"):
        found += [(_shown(plane), "multiframe") for plane in volume.voxels[::3]]
    return found


def noise_pictures(count: int = 20, size: int = 256, seed: int = 11) -> list[tuple[Image, str]]:
    """Return ``count`` images of each of six kinds of noise."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        white, even = rng.normal(size=(size, size)), rng.random((size, size))
        kinds = {
            "uniform": 255 * even,
            "normal": 128 + 40 * white,
            "pepper": np.where(even < 0.1, 0, np.where(even > 0.9, 255, 128)),
            "coarse": 255 * rng.random((size // 8, size // 8)).repeat(8, 0).repeat(8, 1),
            "soft": 128 + 60 * _unit(ndimage.gaussian_filter(white, 3)),
            "lines": 255 * rng.random((size, 1)) * np.ones((1, size)),
        }
        found += [(np.clip(v, 0, 255).astype(np.float32), f"{kind}-{i}") for kind, v in kinds.items()]
    return found


def blank_pictures(size: int = 256, seed: int = 12) -> list[tuple[Image, str]]:
    """Return flat images over the whole range, flat images with sensor noise, and gradients."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(-1, 1, size)
    found = []
    for i, level in enumerate(np.linspace(0, 255, 24)):
        flat = np.full((size, size), level)
        kinds = {
            "flat": flat,
            "flat with noise": flat + rng.normal(size=flat.shape) * 2,
            "gradient": flat + 30 * (ramp[None, :] if i % 2 else ramp[:, None]) * np.ones((size, size)),
        }
        found += [(np.clip(v, 0, 255).astype(np.float32), f"{kind}-{i}") for kind, v in kinds.items()]
    return found


def volume_outsiders(root: Path, members: list[Volume], patients: list[str], *, every: int = 1) -> list[OutsiderSet]:
    """Return what a model of hippocampus MR crops must refuse: no brain at all, or no longer one. All at 1 mm."""
    rng = np.random.default_rng(13)
    keep = slice(None, None, every)
    chests = [chest_xray.read_case(c) for c in chest_xray.load(root, "test")[:: 40 * every]]
    whose = patients[keep]

    def like(volume: Volume, voxels: NDArray[np.floating]) -> Volume:
        return Volume(np.ascontiguousarray(voxels, dtype=np.float32), volume.affine, spacing_known=True)

    def shuffled(v: Volume) -> Volume:
        return like(v, rng.permutation(v.voxels.ravel()).reshape(v.shape))

    spoilt = {
        "noise": ("normal noise in the shape of test crops",
                  lambda v: like(v, np.abs(rng.normal(400, 150, v.shape)))),
        "blank": ("one grey level in the shape of test crops", lambda v: like(v, np.full(v.shape, 300.0))),
        "shuffled": ("test crops with their voxels shuffled", shuffled),
        "inverted": ("test crops with dark and bright exchanged", lambda v: like(v, v.voxels.max() - v.voxels)),
        "upside_down": ("test crops turned over from head to foot", lambda v: like(v, v.voxels[::-1])),
    }
    sets = [OutsiderSet("chest", "children's chest radiographs, cut and stacked to the size of a crop", True,
                        [_stacked(v) for v in chests], [f"chest-{i}" for i in range(len(chests))])]
    for name, (what, change) in spoilt.items():
        gross = name in ("noise", "blank", "shuffled")
        sets.append(OutsiderSet(name, what, gross, [change(v) for v in members[keep]], list(whose)))
    return sets


def _grown(root: Path, source: str, name: str, what: str) -> OutsiderSet:
    cases = chest_xray.adults_of(chest_xray.load(root, "test", sources=(source,)))
    return OutsiderSet(name, what, False, [chest_xray.read_case(c) for c in cases], [c.patient for c in cases])


def _pictures(name: str, what: str, gross: bool, pictures: list[tuple[Image, str]]) -> OutsiderSet:
    return OutsiderSet(name, what, gross, [_picture(image) for image, _ in pictures], [key for _, key in pictures])


def _picture(image: NDArray[np.floating]) -> Volume:
    """Wrap a 0-255 picture as if it came as a bare image file: no header to refuse by."""
    return Volume(np.ascontiguousarray(image, dtype=np.float32)[None], units="display", header=Header(source="image"))


def _read(*paths: Path) -> list[Volume]:
    """Read one DICOM series, or nothing when it cannot be read: this set is about pictures, not about files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return [read_dicom(paths)]
    except UnusableInput:
        return []


def _shown(plane: NDArray[np.floating], size: int = 256) -> Image:
    """Scale a plane to 0-255 between its 0.5th and 99.5th percentile and enlarge its short side to ``size``."""
    low, high = np.percentile(plane, [0.5, 99.5])
    scaled = 255 * np.clip((plane - low) / max(high - low, 1e-6), 0, 1)
    factor = max(1.0, size / min(plane.shape))
    return np.clip(ndimage.zoom(scaled, factor, order=1), 0, 255).astype(np.float32)


def _detail(image: Image) -> Image:
    rows, columns = image.shape
    cut = image[2 * rows // 5 : 3 * rows // 5, 2 * columns // 5 : 3 * columns // 5]
    return ndimage.zoom(cut, 5, order=1).astype(np.float32)


def _stacked(chest: Volume) -> Volume:
    image = chest.voxels[0]
    row, column = (n // 2 for n in image.shape)
    cut = image[row - 25 : row + 25, column - 18 : column + 18]
    return Volume(np.repeat(cut[None], 36, axis=0).astype(np.float32), spacing_known=True)


def _unit(field: NDArray[np.floating]) -> NDArray[np.floating]:
    return field / field.std()
