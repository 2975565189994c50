"""The slow referee and the map of the graph point at the same place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.explain.cam import peak
from models.explain.occlusion import occlusion
from models.model import Model
from models.volume import Header, Volume
from tests.make import radiograph_pixels, tiny_release

CHILD = Header(modality="DX", body_part="CHEST", view="AP", age_years=3.0)


def test_covering_the_patch_lowers_the_score_most(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    source = Volume(radiograph_pixels(384, 288, pneumonia=True).astype(np.float32)[None], units="display", header=CHILD)
    referee = occlusion(model, source, "pneumonia")
    assert referee.values.shape == (11, 11)
    mapped = model.predict(source).explanation.heatmaps[0]
    rows, columns = peak(referee, source), peak(mapped, source)
    assert abs(rows[0] - columns[0]) < 384 / 12
    assert abs(rows[1] - columns[1]) < 288 / 12
    assert abs(rows[0] - 0.6 * 384) < 384 / 12


def test_the_other_side_of_a_shared_map_has_the_other_sign(tmp_path: Path) -> None:
    model = Model(tiny_release(tmp_path, "image_classification"))
    source = Volume(radiograph_pixels(pneumonia=True).astype(np.float32)[None], units="display", header=CHILD)
    bacterial, viral = (occlusion(model, source, name, stride_px=48).values for name in ("bacterial", "viral"))
    assert np.array_equal(bacterial, -viral)
