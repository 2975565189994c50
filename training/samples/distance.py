"""How far a drawn image is from every training image, against how far training images are from each other.

Images are compared aligned, in one frame and at brightness 0 and spread 1, which brings them as near to each other as
they can be brought: whole, and by their detail alone (what a wide blur leaves). Distance is 1 - correlation; the
root-mean-square difference of such images is sqrt(2 x distance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
PERCENTILE = 5  # a draw must not be nearer to a training image than this percentile of different patients are


@dataclass(frozen=True)
class Neighbourhood:
    """Training images as unit vectors, whole and detail, and the distances to each one's nearest other patient."""

    whole: Floats
    detail: Floats
    near_whole: Floats
    near_detail: Floats
    sigma: float

    def of(self, image: Floats) -> dict[str, float]:
        """Return the distance of an image (*space) to its nearest training image, whole and detail."""
        whole, detail = _vectors(image[None], self.sigma)
        return {
            "whole": round(1 - float((self.whole @ whole[0]).max()), 4),
            "detail": round(1 - float((self.detail @ detail[0]).max()), 4),
            "rmse_whole": round(float(np.sqrt(max(0.0, 2 - 2 * (self.whole @ whole[0]).max()))), 4),
        }

    def limits(self) -> dict[str, float]:
        """Return how near a draw may come."""
        return {
            "whole": round(float(np.percentile(self.near_whole, PERCENTILE)), 4),
            "detail": round(float(np.percentile(self.near_detail, PERCENTILE)), 4),
        }

    def summary(self) -> dict[str, dict[str, float]]:
        """Return the spread of the distances between training images and their nearest other patient."""
        return {
            f"nearest_other_patient_{name}": {
                f"percentile_{p}": round(float(np.percentile(values, p)), 4) for p in (1, PERCENTILE, 50, 95)
            }
            for name, values in (("whole", self.near_whole), ("detail", self.near_detail))
        }

    def allows(self, found: dict[str, float]) -> bool:
        """Whether an image is no nearer than different patients are."""
        limits = self.limits()
        return found["whole"] >= limits["whole"] and found["detail"] >= limits["detail"]


def neighbourhood(images: Floats, patients: Sequence[str], *, sigma: float) -> Neighbourhood:
    """Measure training images (n, *space) of known patients; ``sigma`` is the blur that detail is left by."""
    names = np.asarray(patients)
    same = names[:, None] == names[None, :]
    whole, detail = _vectors(images, sigma)
    return Neighbourhood(whole, detail, _nearest(whole, same), _nearest(detail, same), sigma)


def _nearest(vectors: Floats, same: NDArray[np.bool_]) -> Floats:
    alike = vectors @ vectors.T
    alike[same] = -1
    nearest: Floats = 1 - alike.max(axis=1)
    return nearest


def _vectors(images: Floats, sigma: float) -> tuple[Floats, Floats]:
    detail = np.stack([one - ndimage.gaussian_filter(one, sigma) for one in images])
    return _unit(images), _unit(detail)


def _unit(images: Floats) -> Floats:
    flat = images.reshape(len(images), -1).astype(np.float32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    unit: Floats = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit
