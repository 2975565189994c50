"""Rendered images and thumbnails (PS3.18, 10.4 and 8.3.5): one frame as JPEG or PNG, windowed, cut and scaled as asked.

Nothing is written over the image: annotations would show a name where none was asked to be shown.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_modality_lut

from models.errors import UnusableInput
from service.decode import Decoder, DecoderFailed
from service.problem import ProblemError

TYPES = ("image/jpeg", "image/png")  # the first is the standard's default for one frame
THUMBNAIL = 128  # pixels of the longer side
MAX_SIDE = 16_384
PARAMETERS = frozenset(("window", "viewport", "quality", "accept", "annotation", "iccprofile", "charset"))
FUNCTIONS = ("linear", "linear-exact", "sigmoid")


@dataclass(frozen=True)
class Wish:
    """How a frame is to be shown.

    ``window`` is centre, width and function; ``viewport`` width and height to fit into; ``region`` left, top, width and
    height of the part that is shown.
    """

    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int] | None = None
    region: tuple[int, int, int, int] | None = None
    quality: int = 90


def read_wish(query: Mapping[str, str]) -> Wish:
    """Read the query parameters. Raises ProblemError naming the parameter that is wrong, never its value."""
    if not PARAMETERS.issuperset(query):
        raise ProblemError("bad_query", f"Query parameters are {', '.join(sorted(PARAMETERS))}; found another.")
    try:
        quality = int(query.get("quality", "90"))
        window = viewport = region = None
        if "window" in query:
            centre, width, function = query["window"].split(",")
            window = float(centre), float(width), function.lower()
            if not (np.isfinite(window[:2]).all() and window[1] > 0 and window[2] in FUNCTIONS):
                raise ValueError
        if "viewport" in query:
            sides = [int(float(side)) if side else 0 for side in query["viewport"].split(",")]
            viewport = sides[0], sides[1]
            if len(sides) == 6:
                region = sides[2], sides[3], sides[4], sides[5]
            if len(sides) not in (2, 6) or not (1 <= min(viewport) and max(viewport) <= MAX_SIDE):
                raise ValueError
        if not 1 <= quality <= 100:
            raise ValueError
    except (ValueError, OverflowError):
        raise ProblemError("bad_query", "window is centre,width,linear|linear-exact|sigmoid; viewport is width,height or "
                                        f"width,height,left,top,width,height up to {MAX_SIDE:,}; quality is 1 to 100.") from None
    return Wish(window, viewport, region, quality)


def render(data: bytes, dataset: FileDataset, number: int, wish: Wish, kind: str, decoder: Decoder) -> bytes:
    """Return one frame, from 1, as a file of type ``kind``. Raises UnusableInput and ProblemError."""
    try:
        shown = decoder.rendered(data, number) if wish.window is None else _windowed(data, dataset, number, wish.window, decoder)
    except DecoderFailed:
        raise ProblemError("undecodable_pixels", "The image could not be decoded here. Retrieve the object as stored.") from None
    image = Image.fromarray(shown)
    if wish.region:
        left, top, width, height = wish.region
        box = (left, top, left + (width or image.width), top + (height or image.height))
        box = (max(0, box[0]), max(0, box[1]), min(image.width, box[2]), min(image.height, box[3]))
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ProblemError("bad_query", "The region of the viewport must lie on the image.")
        image = image.crop(box)
    if wish.viewport:
        scale = min(wish.viewport[0] / image.width, wish.viewport[1] / image.height)
        image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    file = io.BytesIO()
    image.save(file, kind.removeprefix("image/").upper(), **({"quality": wish.quality} if kind == "image/jpeg" else {}))
    return file.getvalue()


def _windowed(
    data: bytes, dataset: FileDataset, number: int, window: tuple[float, float, str], decoder: Decoder
) -> NDArray[np.uint8]:
    """Apply a window that was asked for (PS3.3, C.11.2.1.2) to the modality's values. Colour is shown as it is."""
    frames = decoder.frames(data, [number])
    if frames.values.ndim == 4:
        return decoder.rendered(data, number)
    try:
        values = np.asarray(apply_modality_lut(frames.values[0], dataset), dtype=np.float64)
    except Exception as error:  # a damaged table: any class
        raise UnusableInput("The modality LUT must be whole. Correct the header.", code="bad_lut") from error
    centre, width, function = window
    if function == "sigmoid":
        shown = 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -60, 60)))
    else:
        if function == "linear":
            centre, width = centre - 0.5, max(width - 1, 1e-6)
        shown = np.clip((values - centre) / width + 0.5, 0, 1) * 255
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE":
        shown = 255 - shown
    return np.asarray(np.rint(shown), dtype=np.uint8)
