"""As the integration engineer I see that a radiograph scores the same however its sender encodes it."""

from __future__ import annotations

import csv
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models.prediction import Prediction, Refusal
from models.shelf import Shelf
from service.decode import Decoder
from tests.make import data_root, needs_data, radiograph_dataset
from tests.syntaxes import LOSSLESS, in_syntax

CHEST = data_root() / "chest-xray"
SHEET = (CHEST / "metadata.csv").read_text("utf-8") if CHEST.is_dir() else ""
OFFICIAL = [row["path"] for row in csv.DictReader(SHEET.splitlines()) if row["official_split"] == "test"]
MAX_DIFFERENCE = 1e-3  # of a probability

pytestmark = needs_data


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(timeout_s=60, memory_mib=512)
    yield decoder
    decoder.close()


@pytest.fixture(scope="module")
def shelf() -> Shelf:
    return Shelf()


def ways(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    """Yield the file of every transfer syntax, straight and as a negative."""
    straight = radiograph_dataset(pixels)
    negative = radiograph_dataset(255 - pixels, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")
    for name, syntax in LOSSLESS.items():
        yield f"{name}, MONOCHROME2", in_syntax(straight, syntax)
        yield f"{name}, MONOCHROME1", in_syntax(negative, syntax)


def scores(path: str, decoder: Decoder, shelf: Shelf) -> dict[str, float | str]:
    """Return the probability of each way, or the reason for which it is not scored."""
    pixels = np.asarray(Image.open(CHEST / path).convert("L"))
    model = shelf.get("chest_xray_pediatric")
    found: dict[str, float | str] = {}
    for name, data in ways(pixels):
        result = model.predict(decoder.read([data]))
        found[name] = result.main.value if isinstance(result, Prediction) else result.reason
        assert isinstance(result, Prediction | Refusal)
    return found


def check(paths: list[str], decoder: Decoder, shelf: Shelf) -> None:
    scored = []
    for path in paths:
        found = scores(path, decoder, shelf)
        assert len(found) == 16
        if all(isinstance(value, float) for value in found.values()):
            values = np.array(list(found.values()), dtype=float)
            assert np.ptp(values) <= MAX_DIFFERENCE
            scored.append(values[0])
        else:
            assert len(set(found.values())) == 1  # refused, and for one reason
    assert len(scored) >= 0.8 * len(paths)
    assert max(scored) - min(scored) > 0.3  # the images are not all the same to the model


def test_an_official_image_scores_the_same_in_eight_syntaxes_and_both_polarities(decoder: Decoder, shelf: Shelf) -> None:
    check(OFFICIAL[:: len(OFFICIAL) // 5][:4], decoder, shelf)


@pytest.mark.slow
def test_so_do_sixty_official_images(decoder: Decoder, shelf: Shelf) -> None:
    check(OFFICIAL[::10][:60], decoder, shelf)
