"""Single frames of a DICOM object: as they are stored, as a screen shows them, and what an enhanced object says of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset

from models.dicom_bytes import check_pixel_claims, whole_number
from models.dicom_pixels import (
    check_has_pixels,
    inverted,
    numbers,
    padding_of,
    painted,
    pixels_of,
    rescaled,
    text,
    windowed,
    without_spare_bits,
)
from models.errors import UnusableInput

_MERGED = (
    "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence", "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
)


@dataclass(frozen=True)
class Frames:
    """Stored values of some frames, uncompressed: ``values`` (frames, rows, columns) or (frames, rows, columns, samples).

    One bit a pixel is given as 0 and 1. ``photometric`` is what the values mean now: YBR became RGB.
    """

    values: NDArray[Any]
    photometric: str
    bits_allocated: int
    bits_stored: int

    def packed(self) -> list[bytes]:
        """Return each frame as in uncompressed PixelData, little endian, colour by pixel; one bit a pixel packed."""
        if self.bits_allocated == 1:
            return [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in self.values]
        return [frame.astype(frame.dtype.newbyteorder("<"), copy=False).tobytes() for frame in self.values]


def stored_frames(dataset: FileDataset, numbers: Sequence[int]) -> Frames:
    """Decode frames by their number, from 1, in the order asked for. Raises UnusableInput as ``decode`` does."""
    _check_numbers(dataset, numbers)
    values = pixels_of(dataset, [number - 1 for number in numbers])
    photometric = text(dataset, "PhotometricInterpretation")
    if photometric.startswith("YBR") and values.ndim == 4:
        photometric = "RGB"
    bits = whole_number(dataset, "BitsAllocated")
    return Frames(values, photometric, bits, whole_number(dataset, "BitsStored", bits))


def rendered(dataset: FileDataset, number: int) -> NDArray[np.uint8]:
    """Return one frame, from 1, as a screen shows it: uint8 (rows, columns), or (rows, columns, 3) for colour.

    Grey by the first VOI LUT or window the object states, of the frame before the whole object's, else by its own
    range; MONOCHROME1 already inverted.
    """
    _check_numbers(dataset, [number])
    pixels = pixels_of(dataset, [number - 1])
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        pixels = painted(dataset, pixels)
    if pixels.ndim == 4:
        return np.asarray(pixels[0, ..., :3] >> (8 * pixels.itemsize - 8), dtype=np.uint8)
    groups = frame_groups(dataset, whole_number(dataset, "NumberOfFrames", 1))
    group = groups[number - 1] if groups else Dataset()
    for element in group:
        if element.keyword in ("WindowCenter", "WindowWidth", "VOILUTFunction", "VOILUTSequence"):
            dataset[element.tag] = element
    raw = without_spare_bits(dataset, pixels)
    padding = padding_of(dataset, raw)
    shown = windowed(dataset, raw, rescaled(dataset, raw, frame_rescale([group])), padding)[0]
    if inverted(dataset):
        shown = 255 - shown
    if padding is not None:
        shown[padding[0]] = 0
    return np.asarray(np.rint(shown), dtype=np.uint8)


def frame_groups(dataset: FileDataset, count: int) -> list[Dataset]:
    """Return what the functional groups of an enhanced object say of each frame, as one dataset a frame; [] without any.

    Of PS3.3 C.7.6.16: position, orientation, spacing, rescale and window; a frame's own before the shared.
    """
    frames, shared = (
        items_of(dataset, "PerFrameFunctionalGroupsSequence"),
        items_of(dataset, "SharedFunctionalGroupsSequence"),
    )
    if not frames:
        return []
    if len(frames) != count:
        raise UnusableInput(
            f"PerFrameFunctionalGroupsSequence must hold one item a frame, found {len(frames)} for {count}.",
            code="slices_not_a_grid",
        )
    groups = []
    for frame in frames:
        merged = Dataset()
        for name in _MERGED:
            for group in (*shared[:1], frame):
                for item in items_of(group, name)[:1]:
                    merged.update(item)
        groups.append(merged)
    return groups


def frame_rescale(groups: Sequence[Dataset]) -> list[tuple[float, float]] | None:
    """Return slope and intercept of every frame, None when not every frame states them."""
    rescale = []
    for group in groups:
        slope, intercept = numbers(group, "RescaleSlope"), numbers(group, "RescaleIntercept")
        if not slope or not intercept:
            return None
        rescale.append((slope[0], intercept[0]))
    return rescale or None


def items_of(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, [] when absent. Raises UnusableInput when it is damaged."""
    try:
        return list(dataset.get(keyword) or [])
    except Exception as error:  # lazily converted by pydicom: any class
        raise UnusableInput(f"{keyword} must be a whole sequence. Correct the header.", code="damaged_dicom") from error


def _check_numbers(dataset: FileDataset, numbers: Sequence[int]) -> None:
    check_has_pixels(dataset)
    check_pixel_claims(dataset)
    count = whole_number(dataset, "NumberOfFrames", 1)
    if not numbers or not all(1 <= number <= count for number in numbers):
        raise UnusableInput(f"Frames are numbered 1 to {count}, found another number. Ask for one of these.", code="no_such_frame")
