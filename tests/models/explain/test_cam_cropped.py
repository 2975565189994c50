"""A map of a cropped input is drawn where the crop lay on the image that was sent, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from models.explain.cam import _uncropped, upsample
from models.explain.case import Case
from models.prediction import Heatmap, to_json
from models.steps import apply_steps
from models.volume import Volume

Steps = list[tuple[str, dict[str, object]]]
XRV: Steps = [("center_square", {}), ("squash", {"rows": 224, "columns": 224})]
TORCHVISION: Steps = [("shorter_side", {"pixels": 256}), ("center_crop", {"rows": 224, "columns": 224})]


def uncropped(rows: int, columns: int, steps: Steps, values: np.ndarray, affine: np.ndarray | None = None) -> tuple[Heatmap, Volume]:
    source = Volume(np.zeros((1, rows, columns), np.float32), np.eye(4) if affine is None else affine)
    prepared = apply_steps(source, steps)
    size = prepared.shape[1:]
    stride = size[0] / values.shape[0]
    plain = Heatmap("f", values.astype(np.float32), stride, ((stride - 1) / 2,) * 2, (size[0], size[1]))
    return _uncropped(plain, Case(np.zeros((1, 1, *size), np.float32), source, prepared)), source


@pytest.mark.parametrize(("rows", "columns"), [(448, 700), (700, 448), (1001, 830), (224, 224)])
@pytest.mark.parametrize("steps", [XRV, TORCHVISION], ids=["square", "shorter_side"])
def test_a_bump_is_drawn_where_its_pixels_came_from(rows: int, columns: int, steps: Steps) -> None:
    for at in ((1, 1), (3, 5), (5, 2)):
        values = np.zeros((7, 7))
        values[at] = 1
        drawn, source = uncropped(rows, columns, steps, values)
        row, column = np.unravel_index(int(upsample(drawn, source).argmax()), (rows, columns))
        # the same place by the grid alone: the centre of the cell in the input, through both affines
        prepared = apply_steps(source, steps)
        centre = prepared.affine @ [32 * at[1] + 15.5, 32 * at[0] + 15.5, 0, 1]
        assert (column, row) == pytest.approx((centre[0], centre[1]), abs=2.5 * max(rows, columns) / 224 / 2)


def test_what_the_model_did_not_see_has_no_map() -> None:
    drawn, source = uncropped(448, 700, XRV, np.ones((7, 7)))
    picture = upsample(drawn, source)
    left = 700 // 2 - 448 // 2
    assert picture[:, :left].max() == 0
    assert picture[:, left + 448 :].max() == 0
    assert picture[:, left + 1 : left + 447].min() == pytest.approx(1)


def test_an_image_that_was_not_cropped_keeps_its_heatmap() -> None:
    for steps in ([("squash", {"rows": 224, "columns": 224})], XRV):
        drawn, _ = uncropped(512, 512, steps, np.ones((7, 7)), np.diag([0.143, 0.143, 1, 1]))
        assert drawn.seen_px is None
        assert drawn.input_shape == (224, 224)


def test_the_place_does_not_depend_on_where_the_patient_lay() -> None:
    turned = np.array([[0, 0.2, 0, 30], [0.2, 0, 0, -12], [0, 0, 1, 4], [0, 0, 0, 1.0]])
    values = np.random.default_rng(1).normal(size=(7, 7))
    one, source = uncropped(300, 500, XRV, values)
    other, _ = uncropped(300, 500, XRV, values, turned)
    np.testing.assert_allclose(upsample(one, source), upsample(other, source), atol=1e-5)


def test_answers_do_not_tell_what_was_seen() -> None:
    drawn, _ = uncropped(300, 500, XRV, np.ones((7, 7)))
    assert drawn.seen_px is not None
    assert "seen_px" not in to_json(drawn)
