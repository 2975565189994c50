"""Pixels of one picture, decoded in the process that may die of it, and kept as stored values: a window is then one table.

Everything kept together takes a bounded number of bytes; what was not looked at for longest goes first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset

from models.dicom_bytes import whole_number
from models.dicom_frames import frame_rescale
from models.dicom_pixels import MAX_LOOKED_AT, inverted, numbers, padding_of, rescaled, text, windowed, without_spare_bits
from models.errors import UnusableInput
from service.decode import Decoder
from service.review.image.geometry import Slice, group_of, read_header
from service.review.image.window import Preset, Window, grey, own_range, stated_presets
from service.store.objects import Objects

SIDES = (256, 512, 1024, 2048, 0)  # of the longer side in pixels; 0: as it is
_FRAME_KEYWORDS = ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction", "VOILUTSequence")


@dataclass(frozen=True)
class Pixels:
    """One picture. ``stored`` (rows, columns) are whole numbers that slope and intercept turn into the modality's values.

    Values that no whole number of 16 bits can stand for are float32 and already the modality's. Colour is (rows, columns, 3).
    ``padding`` is the range of stored values that are no image.
    """

    stored: NDArray[Any]
    slope: float
    intercept: float
    padding: tuple[float, float] | None
    is_inverted: bool
    header: FileDataset  # without pixels; windows of the frame in place of the object's
    size: tuple[int, int]  # rows, columns before it was made smaller

    @property
    def is_colour(self) -> bool:
        """Whether there is nothing to window."""
        return self.stored.ndim == 3

    @property
    def has_table(self) -> bool:
        """Whether the header states a table of greys (VOI LUT Sequence), which comes before its windows."""
        return "VOILUTSequence" in self.header

    @property
    def presets(self) -> list[Preset]:
        """The windows the header states, and the picture's own range."""
        return [] if self.is_colour else stated_presets(self.header)

    @property
    def own_range(self) -> Window:
        """The window of its own range."""
        return own_range(self._seen())

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest value of the modality that is image."""
        seen = self._seen()
        return float(seen.min()), float(seen.max())

    def first_window(self) -> Window | None:
        """Return what the picture is shown with when nobody asks for another; None for a table of greys and for colour."""
        if self.is_colour or self.has_table:
            return None
        stated = self.presets
        if stated:
            return stated[0].window
        if self.stored.dtype == np.uint8 and (self.slope, self.intercept) == (1.0, 0.0):
            return Window(128, 256)
        return self.own_range

    def value(self, row: int, column: int) -> float | None:
        """Return the modality's value of one pixel; None where there is no image, and for colour."""
        if self.is_colour:
            return None
        stored = float(self.stored[row, column])
        if self.padding is not None and self.padding[0] <= stored <= self.padding[1]:
            return None
        return stored * self.slope + self.intercept

    def smaller(self, side: int) -> Pixels:
        """Return the picture with ``side`` pixels on its longer side, each the mean of what it covers, edge on edge."""
        rows, columns = self.stored.shape[:2]
        share = side / max(rows, columns)
        if not side or share >= 1:
            return self
        size = (max(1, round(columns * share)), max(1, round(rows * share)))
        if self.is_colour:
            shrunk: NDArray[Any] = np.asarray(Image.fromarray(self.stored).resize(size, Image.Resampling.BOX))
        else:
            mean = np.asarray(Image.fromarray(self.stored.astype(np.float32)).resize(size, Image.Resampling.BOX))
            shrunk = mean if self.stored.dtype.kind == "f" else np.rint(mean).astype(self.stored.dtype)
        return replace(self, stored=shrunk)

    def shown(self, window: Window | None) -> NDArray[np.uint8]:
        """Return the picture as a screen shows it: by ``window``, else by what the header states."""
        if self.is_colour:
            return np.asarray(self.stored, dtype=np.uint8)
        window = window or self.first_window()
        if self.stored.dtype.kind == "f":
            values = np.asarray(self.stored, dtype=np.float64) * self.slope + self.intercept
            return self._final(self._grey(values, window), self.stored)
        kind = np.iinfo(self.stored.dtype)
        every = np.arange(kind.min, kind.max + 1, dtype=np.float64)
        table = self._final(self._grey(every * self.slope + self.intercept, window), every)
        if kind.min:  # a negative number is read as the whole number its bits are
            return np.asarray(np.roll(table, kind.min)[self.stored.view(f"u{self.stored.itemsize}")])
        return np.asarray(table[self.stored])

    def _grey(self, values: NDArray[np.float64], window: Window | None) -> NDArray[np.float64]:
        if window is not None:
            return grey(values, window)
        single = values.astype(np.float32)
        return np.asarray(windowed(self.header, single, single, None), dtype=np.float64)

    def _final(self, shades: NDArray[np.float64], stored: NDArray[Any]) -> NDArray[np.uint8]:
        shades = 255 - shades if self.is_inverted else shades
        if self.padding is not None:
            shades = np.where((stored >= self.padding[0]) & (stored <= self.padding[1]), 0, shades)
        return np.asarray(np.rint(shades), dtype=np.uint8)

    def _seen(self) -> NDArray[np.float64]:
        """Return a regular sample of the values that are image."""
        flat = self.stored.ravel()
        flat = flat[:: max(1, flat.size // MAX_LOOKED_AT)]
        if self.padding is not None:
            image = flat[(flat < self.padding[0]) | (flat > self.padding[1])]
            flat = image if image.size else flat
        return np.asarray(flat.astype(np.float64) * self.slope + self.intercept)


def read_pixels(objects: Objects, place: Slice, decoder: Decoder) -> Pixels:
    """Decode one picture. Raises UnusableInput, DecoderFailed and StoreError."""
    data = objects.get(place.sha256)  # what its hash says, or an error: no reader looks at a pixel that a disk spoilt
    header = read_header(data)
    source = objects.path(place.sha256) or data
    number = place.frame or 1
    if text(header, "PhotometricInterpretation") == "PALETTE COLOR":
        colour = decoder.rendered(source, number)
        return Pixels(colour, 1.0, 0.0, None, False, header, (colour.shape[0], colour.shape[1]))
    frames = decoder.frames(source, [number])
    if frames.values.ndim == 4:
        colour = decoder.rendered(source, number)
        return Pixels(colour, 1.0, 0.0, None, False, header, (colour.shape[0], colour.shape[1]))
    group = group_of(header, place.frame)
    for keyword in _FRAME_KEYWORDS:
        if keyword in group:
            header[keyword] = group[keyword]
    raw = without_spare_bits(header, frames.values)
    padding = padding_of(header, raw)
    span = (float(raw[padding].min()), float(raw[padding].max())) if padding is not None else None
    stored, slope, intercept = _as_stored(header, raw, group)
    if slope is None:
        values = rescaled(header, raw, None)[0]
        values[~np.isfinite(values)] = 0
        if padding is not None:  # a table may send it among values of the image
            below = float(np.floor(values.min())) - 1
            values[padding[0]], span = below, (below, below)
        stored, slope, intercept = values, 1.0, 0.0
    return Pixels(stored, slope, intercept, span, inverted(header), header, (stored.shape[0], stored.shape[1]))


def _as_stored(header: FileDataset, raw: NDArray[Any], group: Dataset) -> tuple[NDArray[Any], float | None, float]:
    """Return whole numbers of at most 16 bits with slope and intercept; without a slope where that cannot be."""
    if raw.dtype.kind not in "iu" or raw.dtype.itemsize > 2 or "ModalityLUTSequence" in header:
        return raw[0], None, 0.0
    framed = frame_rescale([group])
    if framed is not None:
        slope, intercept = framed[0]
    else:
        slope = (numbers(header, "RescaleSlope") or [1.0])[0]
        intercept = (numbers(header, "RescaleIntercept") or [0.0])[0]
    if slope == 0:
        raise UnusableInput("RescaleSlope must not be 0. Correct the header.", code="bad_number")
    small = raw[0]
    if whole_number(header, "BitsStored", 16) <= 8 and small.dtype == np.uint16:
        small = small.astype(np.uint8)
    return small, slope, intercept


class _Sized(Protocol):
    @property
    def stored(self) -> NDArray[Any]: ...


V = TypeVar("V", bound=_Sized)
K = TypeVar("K", bound=Hashable)


class Kept(Generic[K, V]):
    """What was decoded last, in at most ``most_bytes``. One that two ask for at once is made once."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes, self.bytes = most_bytes, 0
        self._held: OrderedDict[K, V] = OrderedDict()
        self._making: dict[K, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept, else make it. What ``make`` raises is raised, and nothing is kept."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._held:
                    return self._held[key]
            try:
                made = make()
            finally:
                with self._lock:
                    self._making.pop(key, None)
            self._keep(key, made)
            return made

    def _keep(self, key: K, made: V) -> None:
        with self._lock:
            if key in self._held or made.stored.nbytes > self.most_bytes:
                return
            self._held[key] = made
            self.bytes += made.stored.nbytes
            while self.bytes > self.most_bytes:
                _, oldest = self._held.popitem(last=False)
                self.bytes -= oldest.stored.nbytes
