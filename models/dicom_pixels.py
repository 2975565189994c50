"""Pixels of one DICOM object → numbers with a meaning: display values 0-255, Hounsfield units, or arbitrary ones.

PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT), C.11.6 (presentation LUT shape).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

from models.dicom_bytes import check_pixel_claims, whole_number
from models.errors import UnusableInput
from models.volume import Units

# Modalities whose values are a quantity of their own and not grey levels made for display.
QUANTITIES = frozenset(("CT", "MR", "PT", "NM", "SEG", "RTDOSE"))
PERCENTILES = (0.5, 99.5)  # without a stated window: what a viewer shows first, robust to markers and dead pixels
MAX_LOOKED_AT = 262_144  # pixels the percentiles are taken from: a regular sample of larger images is as good
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def units_of(dataset: Dataset) -> Units:
    """Return what the values of this object mean."""
    modality = text(dataset, "Modality").upper()
    if modality == "CT":
        return "HU"
    return "arbitrary" if modality in QUANTITIES else "display"


def decode(dataset: FileDataset, *, rescale: list[tuple[float, float]] | None = None) -> NDArray[np.float32]:
    """Return float32 (frames, rows, columns) in the units of ``units_of``.

    In order: decode, colour to luminance, drop bits that are not stored, modality LUT (or ``rescale``, a slope and an
    intercept per frame), padding to the smallest real value, and for display values VOI LUT, polarity and 0-255.

    - Window: the first VOI LUT or window stated; 8-bit images without one as they are; others by PERCENTILES.
    - Inverted: MONOCHROME1, or PresentationLUTShape INVERSE. Padding stays black.

    Raises UnusableInput for objects without pixels, and for pixels that cannot be decoded here.
    """
    if not any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        raise UnusableInput(
            f"The object must hold an image, found {text(dataset, 'Modality') or 'one'} without pixels. "
            "Send the images of the study.",
            code="no_pixels",
        )
    check_pixel_claims(dataset)
    raw = _raw(dataset)
    padding = _padding(dataset, raw)
    values = _rescaled(dataset, raw, rescale)
    if not np.isfinite(values).all():
        raise UnusableInput(
            "Pixels must be finite numbers, found NaN or infinity. Check the rescale values.", code="not_finite"
        )
    if padding is not None and not padding.all():
        values[padding] = values[~padding].min()
    if units_of(dataset) != "display":
        if _inverted(dataset):
            values = values.max() + values.min() - values
        return values
    shown = _windowed(dataset, raw, values, padding)
    if _inverted(dataset):
        shown = 255 - shown
    if padding is not None:
        shown[padding] = 0
    return shown


def text(dataset: Dataset, keyword: str) -> str:
    """Return an attribute as stripped text, its first value when it has several, "" when absent or unreadable."""
    try:
        value: Any = dataset.get(keyword)
        if isinstance(value, MultiValue):
            value = value[0] if len(value) else None
        return "" if value is None else str(value).strip()
    except Exception:  # lazily converted by pydicom: any class
        return ""


def numbers(dataset: Dataset, keyword: str) -> list[float]:
    """Return an attribute as finite floats, [] when absent. Raises UnusableInput when it holds anything else."""
    try:
        value: Any = dataset.get(keyword)
        if value is None or value == "":
            return []
        found = [float(one) for one in (value if isinstance(value, MultiValue | list) else [value])]
    except Exception as error:  # lazily converted by pydicom: any class
        raise UnusableInput(
            f"{keyword} must hold numbers, found something else. Correct the header.", code="bad_number"
        ) from error
    if not np.isfinite(found).all():
        raise UnusableInput(f"{keyword} must hold finite numbers. Correct the header.", code="bad_number")
    return found


def _raw(dataset: FileDataset) -> NDArray[Any]:
    """Decode to (frames, rows, columns), colour already reduced to luminance, unused bits gone."""
    photometric = text(dataset, "PhotometricInterpretation")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels: NDArray[Any] = pixel_array(dataset)
            if photometric == "PALETTE COLOR":
                pixels = apply_color_lut(pixels, dataset)
    except Exception as error:  # every decoder has its own exception classes
        name = getattr(dataset.file_meta.TransferSyntaxUID, "name", "an unknown one")
        raise UnusableInput(
            f"Pixels must be whole and in a transfer syntax Diaphane decodes, found {name}. "
            "Send the image again, or uncompressed.",
            code="undecodable_pixels",
        ) from error
    colour = photometric == "PALETTE COLOR" or whole_number(dataset, "SamplesPerPixel", 1) > 1
    if colour:
        top = 255.0 / np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" and pixels.itemsize > 1 else 1.0
        pixels = (pixels[..., :3].astype(np.float32) @ LUMINANCE) * np.float32(top)
    frames = pixels[None] if pixels.ndim == 2 else pixels
    if colour or frames.dtype.kind not in "iu":
        return frames.astype(np.float32)
    stored, width = whole_number(dataset, "BitsStored", frames.itemsize * 8), frames.itemsize * 8
    if not 1 <= stored <= width:
        raise UnusableInput(
            f"BitsStored must be 1 to BitsAllocated, found {stored} of {width}. Correct the header.",
            code="bad_pixel_description",
        )
    if 1 < stored < width:  # some makers leave overlays or noise in the bits above
        frames = (frames << (width - stored)) >> (width - stored)
    return frames


def _padding(dataset: FileDataset, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where the detector saw nothing (PixelPaddingValue, to PixelPaddingRangeLimit), None when nowhere."""
    first, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if first is None or raw.dtype.kind not in "iu":
        return None
    try:
        low, high = sorted((int(first), int(first if limit is None else limit)))
    except Exception as error:  # a value of the wrong kind
        raise UnusableInput(
            "PixelPaddingValue must be a whole number. Correct the header.", code="bad_number"
        ) from error
    found: NDArray[np.bool_] = (raw >= low) & (raw <= high)
    return found if found.any() else None


def _rescaled(
    dataset: FileDataset, raw: NDArray[Any], rescale: list[tuple[float, float]] | None
) -> NDArray[np.float32]:
    if rescale is not None:
        _check_slope(min(abs(slope) for slope, _ in rescale))
        slopes, intercepts = np.array(rescale, dtype=np.float32).T
        scaled: NDArray[np.float32] = raw.astype(np.float32) * slopes[:, None, None] + intercepts[:, None, None]
        return scaled
    if "ModalityLUTSequence" in dataset:
        try:
            return np.asarray(apply_modality_lut(raw, dataset), dtype=np.float32)
        except Exception as error:  # a damaged table: any class
            raise UnusableInput(
                "The ModalityLUTSequence must be a whole table. Correct the header.", code="bad_lut"
            ) from error
    slope, intercept = numbers(dataset, "RescaleSlope") or [1.0], numbers(dataset, "RescaleIntercept") or [0.0]
    _check_slope(slope[0])
    values = raw.astype(np.float32)
    if (slope[0], intercept[0]) != (1.0, 0.0):
        values *= np.float32(slope[0])
        values += np.float32(intercept[0])
    return values


def _check_slope(slope: float) -> None:
    if slope == 0:
        raise UnusableInput("RescaleSlope must not be 0. Correct the header.", code="bad_number")


def _inverted(dataset: Dataset) -> bool:
    shape = text(dataset, "PresentationLUTShape").upper()
    return text(dataset, "PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def _windowed(
    dataset: FileDataset, raw: NDArray[Any], values: NDArray[np.float32], padding: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Return values on 0-255 by the first VOI LUT or window the object states, else by its own range."""
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        return np.asarray(np.clip(values, 0, 255), dtype=np.float32)
    if "VOILUTSequence" in dataset:
        return _by_table(dataset, values)
    centre, width = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if centre and width and width[0] >= 1:
        return _by_window(values, centre[0], width[0], text(dataset, "VOILUTFunction").upper())
    if whole_number(dataset, "BitsStored", 8) == 8 and raw.dtype == np.uint8:
        return np.asarray(np.clip(values, 0, 255), dtype=np.float32)
    seen = values if padding is None or padding.all() else values[~padding]
    low, high = np.percentile(seen.ravel()[:: max(1, seen.size // MAX_LOOKED_AT)], PERCENTILES)
    if high <= low:
        low, high = float(seen.min()), float(seen.max())
    return np.asarray(np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255, dtype=np.float32)


def _by_window(values: NDArray[np.float32], centre: float, width: float, function: str) -> NDArray[np.float32]:
    """Apply PS3.3 C.11.2.1.2: LINEAR by default, LINEAR_EXACT or SIGMOID when stated."""
    if function == "SIGMOID":
        steps = np.clip(-4 * (values - centre) / width, -60, 60)
        return np.asarray(255 / (1 + np.exp(steps)), dtype=np.float32)
    if function != "LINEAR_EXACT":
        centre, width = centre - 0.5, max(width - 1, 1e-6)
    return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1) * 255, dtype=np.float32)


def _by_table(dataset: FileDataset, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply the first table of VOILUTSequence (PS3.3 C.11.2.1.1). pydicom's own wraps around for tables of 8 bits."""
    try:
        item = dataset.VOILUTSequence[0]
        count, first, bits = (int(value) for value in item.LUTDescriptor)
        data = item.LUTData
        table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.asarray(data, dtype=np.int64)
        if bits == 8 and len(table) * 2 == (count or 65536):  # two entries a word
            table = np.frombuffer(table.astype("<u2").tobytes(), np.uint8)
        index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
        return np.asarray(np.clip(table[index] / float((1 << bits) - 1), 0, 1) * 255, dtype=np.float32)
    except Exception as error:  # a damaged table: any class
        raise UnusableInput("The VOILUTSequence must be a whole table. Correct the header.", code="bad_lut") from error
