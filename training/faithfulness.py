"""Are heat maps faithful to the model? Audits of any ``score(pixels) -> (logits, maps)``, with null maps beside them.

Deletion: removing what the map points at must lower the score faster than removing edges or random zones (Samek 2017,
doi:10.1109/TNNLS.2016.2599820). Randomisation: with random weights the map must change (Adebayo 2018). Outside: peaks
off the anatomy betray a shortcut. Completeness: the maps must sum to the logits. Insertion is left out on purpose: an
edge detector passes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, stats

from models.explain.cam import upsample
from models.prediction import Heatmap
from models.volume import Volume
from training import bootstrap
from training.registration import Score

Array = NDArray[np.float64]
Images = NDArray[np.float32]  # (n, 1, rows, columns), 0-255
FRACTIONS = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1.0])
MAX_OUTSIDE = 0.10  # a sound model's share of peaks off the lungs
SHORTCUT = 0.50  # from here on the model looks elsewhere than at lungs
MAX_RHO = 0.3


@dataclass(frozen=True)
class Placement:
    """Where maps lie on images: cell (r, c) at pixel (r * stride + offset), as the manifest states."""

    stride_px: float
    offset_px: tuple[float, float]


def drawn(maps: NDArray[np.floating], place: Placement, size: tuple[int, int]) -> Images:
    """Draw maps (n, rows, columns) on images of ``size`` as serving does, bicubic: (n, *size)."""
    onto = Volume(np.zeros((1, *size), np.float32))
    return np.stack([
        upsample(Heatmap("audit", m.astype(np.float32), place.stride_px, place.offset_px, size), onto) for m in maps
    ])


def outside(
    maps: NDArray[np.floating], masks: NDArray[np.bool_], place: Placement, *, margin_px: float = 0
) -> NDArray[np.bool_]:
    """Say for each image whether the drawn map peaks outside its lung mask (n, rows, columns), widened by a margin."""
    pictures = drawn(maps, place, (masks.shape[1], masks.shape[2]))
    off = []
    for picture, mask in zip(pictures, masks, strict=True):
        row, column = np.unravel_index(int(picture.argmax()), picture.shape)
        distance = 0.0 if mask[row, column] else float(ndimage.distance_transform_edt(~mask)[row, column])
        off.append(distance > margin_px)
    return np.array(off, dtype=bool)


def is_shortcut(share_outside: float) -> bool:
    """Say whether so many peaks off the anatomy mean that the model uses something else than the anatomy."""
    return share_outside >= SHORTCUT


def completeness(logits: NDArray[np.floating], maps: NDArray[np.floating], bias: Sequence[float]) -> float:
    """Return the largest |bias + mean(map) - logit| / (1 + |logit|) over images and findings."""
    parts = np.asarray(bias) + np.asarray(maps, dtype=np.float64).mean(axis=(2, 3))
    return float((np.abs(parts - logits) / (1 + np.abs(logits))).max())


def deletion(score: Score, pixels: Images, importance: NDArray[np.floating], channel: int) -> Array:
    """Return each image's area under probability against share deleted, most important pixels first. Lower is better.

    ``importance`` is (n, rows, columns). Deleted pixels get the image's mean, which a network that centres each image
    sees as nothing at all; a blurred copy would leave a diffuse opacity where it was.
    """
    n, _, rows, columns = pixels.shape
    rank = np.argsort(np.argsort(-importance.reshape(n, -1), axis=1), axis=1).reshape(n, 1, rows, columns)
    mean = pixels.mean(axis=(2, 3), keepdims=True)
    chances = []
    for fraction in FRACTIONS:
        remaining = np.where(rank < fraction * rows * columns, mean, pixels).astype(np.float32)
        chances.append(_chance(_logits(score, remaining)[:, channel]))
    return np.asarray(np.trapezoid(np.stack(chances), FRACTIONS, axis=0))


def null_maps(pixels: Images, place: Placement, cells: tuple[int, int], seed: int = 0) -> dict[str, Images]:
    """Return maps that know nothing of the model: image edges, and random cells as smooth as a real map."""
    rng = np.random.default_rng(seed)
    images = pixels[:, 0]
    slopes = [np.hypot(ndimage.sobel(image, axis=0), ndimage.sobel(image, axis=1)) for image in images]
    edges = np.stack([ndimage.gaussian_filter(slope, 2) for slope in slopes])
    random = drawn(rng.normal(size=(len(images), *cells)), place, (images.shape[1], images.shape[2]))
    return {"edges": edges.astype(np.float32), "random": random}


def deletion_audit(score: Score, pixels: Images, maps: NDArray[np.floating], *, channel: int, place: Placement,
                   patients: Sequence[str]) -> dict[str, object]:
    """Compare the map's deletion area with those of the null maps on the same images, paired, with intervals."""
    size = (pixels.shape[2], pixels.shape[3])
    areas = {"map": deletion(score, pixels, drawn(maps, place, size), channel)}
    for name, null in null_maps(pixels, place, (maps.shape[1], maps.shape[2])).items():
        areas[name] = deletion(score, pixels, null, channel)
    found: dict[str, object] = {
        name: bootstrap.figure(bootstrap.mean_of(area), list(patients)).as_json() for name, area in areas.items()
    }
    for name in ("edges", "random"):
        gap = bootstrap.figure(bootstrap.mean_of(areas["map"] - areas[name]), list(patients))
        found[f"map_less_{name}"] = gap.as_json()
    found["met"] = bool(areas["map"].mean() < min(areas["edges"].mean(), areas["random"].mean()))
    return found


def randomisation_rho(maps: NDArray[np.floating], scrambled: NDArray[np.floating]) -> Array:
    """Return Spearman's rho between each map (n, rows, columns) and that of the model with random weights."""
    pairs = zip(maps.reshape(len(maps), -1), scrambled.reshape(len(maps), -1), strict=True)
    return np.array([stats.spearmanr(a, b).statistic if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs])


def _logits(score: Score, pixels: Images, batch: int = 16) -> Array:
    return np.concatenate([np.asarray(score(pixels[i : i + batch])[0]) for i in range(0, len(pixels), batch)])


def _chance(logit: NDArray[np.floating]) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(logit.astype(np.float64), -40, 40))))
