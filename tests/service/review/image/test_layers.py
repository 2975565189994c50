"""Layers lie on the picture to the pixel: they are read back from the objects that were sent, and say the same."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture
from pydicom.dataset import Dataset
from sqlalchemy import select

from service.review.image.geometry import Sides
from service.review.image.layers import Map, colours
from service.store.tables import ResultObject
from tests.make import radiograph_pixels
from tests.service.review.image.conftest import radiograph
from tests.service.review.image.image_house import Film
from tests.service.review.image.test_outline import filled


def stored(film: Film, kind: str, study_uid: str) -> list[Dataset]:
    with film.house.store.reading() as session:
        rows = session.scalars(select(ResultObject).where(ResultObject.kind == kind)).all()
    found = [pydicom.dcmread(io.BytesIO(film.house.store.objects.get(row.sha256))) for row in rows]
    return [one for one in found if one.StudyInstanceUID == study_uid]


_SCORED: dict[tuple[int, int], tuple[str, Dataset]] = {}


def scored(film: Film, rows: int, columns: int) -> tuple[str, Dataset]:
    """Return the key of a study of that size and its image; scored once for all tests, for that takes longest."""
    if (rows, columns) not in _SCORED:
        ill = radiograph(rows=rows, columns=columns)
        _SCORED[rows, columns] = film.arrive(ill), ill
    return _SCORED[rows, columns]


def drawn(film: Film, key: str, place: int = 1) -> Any:
    return film.get(f"{key}/layers/1/{place}.json").json()


@pytest.mark.parametrize(("rows", "columns"), [(300, 240), (1024, 512)])
def test_the_outline_is_the_region_of_the_report_that_was_sent(film: Film, rows: int, columns: int) -> None:
    key, ill = scored(film, rows, columns)
    told = drawn(film, key)["maps"]
    (report,) = stored(film, "sr-roi", ill.StudyInstanceUID)
    shown = [np.ravel(one["outline"]).round(2).tolist() for one in told]
    assert shown == [np.array(one).round(2).tolist() for one in scoords(report)]


def scoords(report: Dataset) -> list[list[float]]:
    found: list[list[float]] = []

    def look(item: Dataset) -> None:
        if item.get("ValueType") == "SCOORD":
            found.append([float(one) for one in item.GraphicData])
        for child in item.get("ContentSequence", []):
            look(child)

    look(report)
    return found


def test_the_strongest_place_of_the_layer_is_where_the_patch_is(film: Film) -> None:
    """The patch of the phantom is centred at 30 % of the width and 60 % of the height."""
    key, _ = scored(film, 300, 240)
    one = drawn(film, key)["maps"][0]
    layer = np.asarray(Picture.open(io.BytesIO(film.get(f"{key}/layers/1/1/1.png").content)))
    row, column = (int(n) for n in np.unravel_index(int(layer[..., 3].argmax()), layer.shape[:2]))
    assert abs((column + 0.5) / layer.shape[1] - 0.3) < 0.05
    assert abs((row + 0.5) / layer.shape[0] - 0.6) < 0.05
    assert layer[row, column].tolist()[:3] == colours()[255].tolist()
    xs, ys = np.array(one["outline"]).T
    assert xs.min() < 0.3 * 240 < xs.max()
    assert ys.min() < 0.6 * 300 < ys.max()


def test_the_layer_covers_the_field_of_the_picture_edge_on_edge(film: Film) -> None:
    """A pixel of the layer, stretched over the picture, lies where the map that was sent puts it."""
    key, ill = scored(film, 1024, 512)
    (sent,) = [one for one in stored(film, "map", ill.StudyInstanceUID) if "neumonia" in str(one.ContentDescription)][:1]
    values = np.frombuffer(sent.FloatPixelData, "<f4").reshape(sent.Rows, sent.Columns)
    layer = np.asarray(Picture.open(io.BytesIO(film.get(f"{key}/layers/1/1/1.png").content)))
    assert layer.shape[:2] == (sent.Rows, sent.Columns) == (512, 256)
    expected = np.rint(np.clip(values / values.max(), 0, 1) * 255)
    np.testing.assert_array_equal(layer[..., 3], expected)


def test_a_contour_holds_exactly_the_voxels_of_the_segmentation_that_was_sent(film: Film, brain: list[Dataset]) -> None:
    key = film.arrive(*reversed(brain))
    told = drawn(film, key)["masks"]
    (sent,) = stored(film, "seg", brain[0].StudyInstanceUID)
    frames = sent.pixel_array.astype(bool)
    order = {str(one.SOPInstanceUID): place for place, one in enumerate(brain, start=1)}
    seen = 0
    for frame, pixels in zip(sent.PerFrameFunctionalGroupsSequence, frames, strict=True):
        group = frame if "SegmentIdentificationSequence" in frame else sent.SharedFunctionalGroupsSequence[0]
        segment = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        polygons = told[segment - 1]["slices"].get(str(order[source]), [])
        np.testing.assert_array_equal(filled(polygons, pixels.shape), pixels)
        seen += int(pixels.any())
    assert seen == sum(len(one["slices"]) for one in told) > 3
    assert all(one["label"] for one in told)
    assert len({(one["colour"], one["dashes"]) for one in told}) == 2


def test_below_its_threshold_nothing_is_drawn(film: Film) -> None:
    healthy = radiograph()
    healthy.PixelData = radiograph_pixels(256, 256).tobytes()
    key = film.arrive(healthy)
    assert drawn(film, key) == {"maps": [], "masks": []}


def at(row: int, column: int) -> Map:
    values: NDArray[np.float32] = np.zeros((9, 9), np.float32)
    values[row, column] = 1
    return Map("one", values, 90, 90)


def test_where_a_map_is_strongest_is_said_with_the_patients_sides() -> None:
    sides = Sides("R", "L", "H", "F")
    assert at(8, 8).words(sides, "en") == "Strongest in the lower part of the picture, on the patient's left."
    assert at(0, 0).words(sides, "en") == "Strongest in the upper part of the picture, on the patient's right."
    assert at(4, 4).words(sides, "en") == "Strongest in the middle part of the picture, in the middle."


def test_without_stated_sides_only_the_picture_has_halves() -> None:
    assert at(8, 8).words(Sides(), "en") == "Strongest in the lower part, right half of the picture."
