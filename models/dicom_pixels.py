"""Pixels of one DICOM object → numbers with a meaning: display values 0-255, Hounsfield units, or arbitrary ones.

PS3.3 C.7.6.3 (image pixel), C.11.1 (modality LUT), C.11.2 (VOI LUT), C.11.6 (presentation LUT shape).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.multival import MultiValue
from pydicom.pixels import apply_color_lut, apply_modality_lut, get_decoder

from models.dicom_bytes import check_pixel_claims, whole_number
from models.errors import UnusableInput
from models.volume import Units

# Modalities whose values are a quantity of their own and not grey levels made for display.
QUANTITIES = frozenset(("CT", "MR", "PT", "NM", "SEG", "RTDOSE"))
PERCENTILES = (0.5, 99.5)  # without a stated window: what a viewer shows first, robust to markers and dead pixels
MAX_LOOKED_AT = 262_144  # pixels the percentiles are taken from: a regular sample of larger images is as good
LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
NATIVE = frozenset(("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"))
PADDING = (  # of whole numbers, of floating point ones
    ("PixelPaddingValue", "PixelPaddingRangeLimit"),
    ("FloatPixelPaddingValue", "FloatPixelPaddingRangeLimit"),
)
MAX_TABLE_ENTRIES = 65_536
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
    check_has_pixels(dataset)
    check_pixel_claims(dataset)
    raw = _raw(dataset)
    padding = padding_of(dataset, raw)
    values = rescaled(dataset, raw, rescale)
    if padding is not None and not padding.all():
        values[padding] = values[~padding].min()
    if not np.isfinite(values).all():
        raise UnusableInput(
            "Pixels must be finite numbers, found NaN or infinity. Check the rescale values.", code="not_finite"
        )
    if units_of(dataset) != "display":
        if inverted(dataset) and units_of(dataset) != "HU":  # a Hounsfield unit is one however it is shown
            values = values.max() + values.min() - values
        return values
    shown = windowed(dataset, raw, values, padding)
    if inverted(dataset):
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


def check_has_pixels(dataset: FileDataset) -> None:
    if not any(keyword in dataset for keyword in PIXEL_KEYWORDS):
        raise UnusableInput(
            f"The object must hold an image, found {text(dataset, 'Modality') or 'one'} without pixels. "
            "Send the images of the study.",
            code="no_pixels",
        )


def pixels_of(dataset: FileDataset, indices: Sequence[int] | None = None) -> NDArray[Any]:
    """Decode (frames, rows, columns[, samples]): all frames, or some by their index from 0. YBR becomes RGB.

    Bits that are not stored are still there: pydicom would drop those above BitsStored, wherever HighBit is.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            decoder = get_decoder(dataset.file_meta.TransferSyntaxUID)
            if indices is not None:
                return np.stack([frame for frame, _ in decoder.iter_array(dataset, indices=indices, correct_unused_bits=False)])
            pixels = np.asarray(decoder.as_array(dataset, correct_unused_bits=False)[0])
            return pixels if whole_number(dataset, "NumberOfFrames", 1) > 1 else pixels[None]
    except (MemoryError, UnusableInput):
        raise
    except Exception as error:  # every decoder has its own exception classes
        name = getattr(dataset.file_meta.TransferSyntaxUID, "name", "an unknown one")
        raise UnusableInput(
            f"Pixels must be whole and in a transfer syntax Diaphane decodes, found {name}. "
            "Send the image again, or uncompressed.",
            code="undecodable_pixels",
        ) from error


def _top_bit(dataset: FileDataset) -> int:
    """Return how many bits there are up to HighBit. Compressed values always start at the lowest bit."""
    stored = whole_number(dataset, "BitsStored")
    native = dataset.file_meta.TransferSyntaxUID in NATIVE and whole_number(dataset, "BitsAllocated") > 1
    return whole_number(dataset, "HighBit", stored - 1) + 1 if native else stored


def painted(dataset: FileDataset, pixels: NDArray[Any]) -> NDArray[Any]:
    """Look colours up in the palette: (..., 3)."""
    try:
        for colour in ("Red", "Green", "Blue"):
            _check_segments(dataset.get(f"Segmented{colour}PaletteColorLookupTableData") or b"")
        return np.asarray(apply_color_lut(pixels, dataset))
    except MemoryError:
        raise
    except Exception as error:  # a damaged table: any class
        raise UnusableInput("The palette must be whole tables of colours. Correct the header.", code="bad_lut") from error


def _check_segments(data: bytes) -> None:
    """Raise ValueError when a segmented palette (PS3.3 C.7.9.2) would unfold to more than a table can hold, before it does."""
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2").tolist()
    at = entries = 0
    while at + 1 < len(words):
        kind, length = words[at : at + 2]
        entries += length
        at += 2 + (length if kind == 0 else 1)
        if kind > 1 or entries > MAX_TABLE_ENTRIES:  # kind 2 repeats others, and may repeat repetitions
            raise ValueError


def _raw(dataset: FileDataset) -> NDArray[Any]:
    """Decode to (frames, rows, columns), colour already reduced to luminance, unused bits gone."""
    pixels = pixels_of(dataset)
    if text(dataset, "PhotometricInterpretation") == "PALETTE COLOR":
        pixels = painted(dataset, pixels)
    if pixels.ndim == 3:
        return without_spare_bits(dataset, pixels)
    top = 255.0 / np.iinfo(pixels.dtype).max if pixels.dtype.kind == "u" and pixels.itemsize > 1 else 1.0
    luminance: NDArray[np.float32] = (pixels[..., :3].astype(np.float32) @ LUMINANCE) * np.float32(top)
    return luminance


def without_spare_bits(dataset: FileDataset, frames: NDArray[Any]) -> NDArray[Any]:
    """Return the BitsStored bits up to HighBit with their sign: some makers leave overlays or noise in the others.

    Compressed values always start at the lowest bit. Floating point comes back as float32.
    """
    if frames.dtype.kind not in "iu":
        return frames.astype(np.float32)
    width = frames.itemsize * 8
    stored = whole_number(dataset, "BitsStored", width)
    top = _top_bit(dataset) or stored
    spare = top - stored
    if not (1 <= stored <= width and stored <= top <= width) or (
        spare and not (frames >> stored).any() and (frames & ((1 << spare) - 1)).any()  # it lies: the values start at bit 0
    ):
        raise UnusableInput(
            f"BitsStored and HighBit must describe the values, found {stored} bits up to bit {top - 1} of {width}. "
            "Correct the header.",
            code="bad_pixel_description",
        )
    return (frames << (width - top)) >> (width - stored) if 1 < stored < width else frames


def padding_of(dataset: FileDataset, raw: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where the detector saw nothing (PixelPaddingValue, to PixelPaddingRangeLimit), None when nowhere."""
    stated = PADDING[raw.dtype.kind == "f"]
    ends = [dataset[keyword].value for keyword in stated if keyword in dataset]
    if not ends:
        return None
    try:
        low, high = sorted(_like(raw.dtype, value) for value in (ends[0], ends[-1]))
    except Exception as error:  # a value of the wrong kind
        raise UnusableInput("PixelPaddingValue must be a number. Correct the header.", code="bad_number") from error
    found: NDArray[np.bool_] = np.isnan(raw) if low != low else (raw >= low) & (raw <= high)  # noqa: PLR0124  NaN
    return found if found.any() else None


def _like(dtype: np.dtype[Any], value: Any) -> float:
    """Return a padding value as the pixels hold it. Makers write -2000 as 63536 when the attribute's VR is US."""
    if dtype.kind == "f":
        return float(np.float32(value))
    number = int(value)
    return number - (1 << 8 * dtype.itemsize) if dtype.kind == "i" and number > np.iinfo(dtype).max else number


def rescaled(
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


def inverted(dataset: Dataset) -> bool:
    shape = text(dataset, "PresentationLUTShape").upper()
    return text(dataset, "PhotometricInterpretation") == "MONOCHROME1" or shape == "INVERSE"


def windowed(
    dataset: FileDataset, raw: NDArray[Any], values: NDArray[np.float32], padding: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """Return values on 0-255 by the first VOI LUT or window the object states, else by its own range."""
    if text(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        return np.asarray(np.clip(values, 0, 255), dtype=np.float32)
    if "VOILUTSequence" in dataset:
        return _by_table(dataset, values)
    centre, width = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    function = text(dataset, "VOILUTFunction").upper()
    if centre and width and width[0] >= (1 if function not in ("LINEAR_EXACT", "SIGMOID") else 1e-6):
        return _by_window(values, centre[0], width[0], function)
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
        table = table[: count or MAX_TABLE_ENTRIES]
        if len(table) < (count or MAX_TABLE_ENTRIES) or not 8 <= bits <= 16:
            raise ValueError
        if first >= 32768 and values.min() < 0:  # PS3.3 C.11.2.1.1: signed, after a rescale below zero
            first -= 65536
        index = np.clip(np.rint(values).astype(np.int64) - first, 0, len(table) - 1)
        return np.asarray(np.clip(table[index] / float((1 << bits) - 1), 0, 1) * 255, dtype=np.float32)
    except Exception as error:  # a damaged table: any class
        raise UnusableInput("The VOILUTSequence must be a whole table. Correct the header.", code="bad_lut") from error
