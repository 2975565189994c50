"""The look for text: letters on a line are found, a side mark and anatomy are not, and what is not certain is looked at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from models.deidentify.burned_in import lines_of, look_at
from models.dicom_bytes import parse
from tests.models.deidentify.made import plain_image

SAMPLES = Path(__file__).parents[3] / "data-samples"


def ground(level: float = 90.0) -> NDArray[np.uint8]:
    """Return something like tissue: slow waves and grain."""
    y, x = np.mgrid[:512, :512]
    waves = level + 60 * np.sin(x / 55) * np.cos(y / 70)
    grain = np.random.default_rng(3).normal(0, 4, waves.shape)
    return np.clip(waves + grain, 0, 255).astype(np.uint8)


def written_on(image: NDArray[np.uint8], words: str, *, size: int, at: tuple[int, int] = (60, 200), grey: int = 255,
               turned: bool = False) -> NDArray[np.uint8]:
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(at, words, fill=grey, font_size=size)
    made = np.asarray(picture)
    return np.rot90(made).copy() if turned else made


@pytest.mark.parametrize("size", [12, 20, 36])
@pytest.mark.parametrize(("grey", "turned"), [(255, False), (0, False), (255, True)])
def test_a_name_is_found_where_it_stands(size: int, grey: int, turned: bool) -> None:
    boxes = lines_of(written_on(ground(), "ESSAI CAMILLE", size=size, grey=grey, turned=turned))
    assert boxes
    if not turned:
        assert any(top < 200 + size and bottom > 200 and left < 200 for top, left, bottom, _ in boxes)


def test_a_date_and_a_number_are_found() -> None:
    assert lines_of(written_on(ground(), "12/03/1961", size=18))
    assert lines_of(written_on(ground(), "IPP 00417322", size=18))


def test_a_side_mark_is_no_name() -> None:
    assert [] == lines_of(written_on(ground(), "R", size=36))
    assert [] == lines_of(written_on(ground(), "L D", size=30))


def test_tissue_and_a_blank_image_bear_no_text() -> None:
    assert [] == lines_of(ground())
    assert [] == lines_of(np.zeros((64, 64), np.uint8))
    assert [] == lines_of(np.zeros((4, 4), np.uint8))


def test_a_radiograph_without_text_may_leave() -> None:
    assert "leave" == look_at(parse(SAMPLES / "radiograph/normal-1.dcm")).verdict


@pytest.mark.parametrize(("values", "reason"), [
    ({"BurnedInAnnotation": "YES"}, "stated"), ({"Modality": "US"}, "kind"), ({"ConversionType": "WSD"}, "kind"),
    ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "kind"), ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"}, "kind"),
    ({"PixelData": b"\0" * 6}, "undecided"),
])
def test_what_often_bears_names_or_cannot_be_looked_at_waits_for_a_person(values: dict[str, object], reason: str) -> None:
    found = look_at(plain_image(**values))
    assert ("look", reason) == (found.verdict, found.reason)


def test_text_that_the_window_hides_is_found_in_the_stored_values() -> None:
    image = plain_image(Rows=512, Columns=512, WindowCenter="50", WindowWidth="40")
    stored = ground().astype("<u2") + np.uint16(1000)  # all white through this window
    stored[written_on(np.zeros((512, 512), np.uint8), "ESSAI CAMILLE", size=20) > 128] = 1400
    image.PixelData = stored.tobytes()
    assert "marks" == look_at(image).reason
