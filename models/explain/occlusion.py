"""Occlusion: cover one patch after another and see how the logit falls. The slow referee of the maps, for audits.

It asks the model itself and trusts nothing inside the graph (Zeiler 2014, arXiv:1311.2901): hundreds of runs an image.
"""

from __future__ import annotations

import numpy as np

from models.explain.cam import sign_of
from models.model import Model
from models.prediction import Heatmap
from models.volume import Volume


def occlusion(
    model: Model, source: Volume, finding: str, *, patch_px: int = 32, stride_px: int = 16, batch: int = 16
) -> Heatmap:
    """Return how much the finding's logit falls when a patch of the model's input is replaced by the image's mean.

    The result is placed like a class activation map (its cells are the centres of the patches), so the same
    ``upsample`` and ``peak`` draw and compare both. Patches are ``patch_px`` wide and ``stride_px`` apart.
    """
    pixels = model.prepare(source)
    output = model.manifest.output(finding)
    rows, columns = pixels.shape[-2:]
    tops, lefts = (range(0, max(size - patch_px, 0) + 1, stride_px) for size in (rows, columns))
    covered = []
    for top in tops:
        for left in lefts:
            one = pixels.copy()
            one[..., top : top + patch_px, left : left + patch_px] = pixels.mean()
            covered.append(one)
    column = output.index if output.map_index is None else output.map_index
    logits = [
        model.session.run(np.concatenate(covered[i : i + batch]), ("logit",))["logit"][:, column]
        for i in range(0, len(covered), batch)
    ]
    whole = model.session.run(pixels, ("logit",))["logit"][0, column]
    fall = (whole - np.concatenate(logits)) * sign_of(model.manifest, output)
    middle = (patch_px - 1) / 2
    return Heatmap(
        finding,
        fall.reshape(len(tops), len(lefts)).astype(np.float32),
        float(stride_px),
        (middle, middle),
        (rows, columns),
    )
