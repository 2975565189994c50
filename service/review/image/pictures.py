"""Pictures: slices of studies as PNG in the size and window asked for, from what was decoded last or from the store."""

from __future__ import annotations

import io
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset

from models.errors import UnusableInput
from service.decode import Decoder, DecoderFailed
from service.problem import ProblemError
from service.review.image.geometry import Geometry, Slice, geometry_of, read_header
from service.review.image.layers import Layers, read_layers
from service.review.image.pixels import Kept, Pixels, read_pixels
from service.review.image.window import Window
from service.settings import MIB, Settings
from service.store.store import Store
from service.store.studies import HeldCase, HeldResult, held_cases

K = TypeVar("K")
V = TypeVar("V")
MOST_BYTES = 192 * MIB  # of decoded pictures kept by a process
MOST_GEOMETRIES = 64
MOST_LAYERS = 16
FRESH_S = 2.0  # a study is read again after so long: scrolling asks for a picture every few milliseconds
RENDERING = "1"  # changes when the same files are to be shown in another way: browsers then ask again


@dataclass(frozen=True)
class Shown:
    """One case as it is shown: its files in order, where they lie, and what was said of them."""

    held: HeldCase
    geometry: Geometry


class Pictures:
    """One for each process. What it keeps is bounded; the decoding process is its own."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.decoder = Decoder(timeout_s=settings.decode_timeout_s, memory_mib=settings.decode_memory_mib)
        self._pixels: Kept[tuple[str, int | None, int], Pixels] = Kept(MOST_BYTES)
        self._geometries: OrderedDict[tuple[str, ...], Geometry] = OrderedDict()
        self._layers: OrderedDict[int, Layers] = OrderedDict()
        self._studies: OrderedDict[str, tuple[float, tuple[Shown, ...]]] = OrderedDict()
        self._lock = threading.Lock()

    def warm_up(self) -> None:
        """Start the decoding process, which takes a second that the first reader need not wait for."""
        with suppress(DecoderFailed, UnusableInput):
            self.decoder.frames(_dot(), [1])

    def close(self) -> None:
        """End the decoding process."""
        self.decoder.close()

    def study(self, study_uid: str, *, anew: bool = False) -> tuple[Shown, ...]:
        """Return the cases of a study as they are shown."""
        with self._lock:
            at, shown = self._studies.get(study_uid, (0.0, ()))
        if not anew and time.monotonic() - at < FRESH_S:
            return shown
        shown = tuple(Shown(case, self._geometry(case)) for case in held_cases(self.store, study_uid))
        with self._lock:
            self._studies[study_uid] = (time.monotonic(), shown)
            _shorten(self._studies, MOST_GEOMETRIES)
        return shown

    def tag(self, place: Slice) -> str:
        """Return what changes when the picture does: it stands in addresses and says nothing of the file."""
        return self.store.pseudonym(f"picture:{RENDERING}:{place.sha256}:{place.frame}")[:16]

    def pixels(self, place: Slice, side: int = 0) -> Pixels:
        """Return a picture in one of the sizes of ``pixels.SIDES``. Raises ProblemError when it cannot be decoded."""
        if not side or side >= max(place.rows, place.columns):
            return self._pixels.get((place.sha256, place.frame, 0), lambda: self._decoded(place))
        return self._pixels.get((place.sha256, place.frame, side), lambda: self.pixels(place).smaller(side))

    def png(self, place: Slice, side: int, window: Window | None) -> bytes:
        """Return a picture as a file."""
        try:
            shown = self.pixels(place, side).shown(window)
        except UnusableInput as error:
            raise _undecodable() from error
        file = io.BytesIO()
        Image.fromarray(shown).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def layers(self, result: HeldResult, geometry: Geometry) -> Layers:
        """Return what a result drew."""
        with self._lock:
            known = self._layers.get(result.id)
        if known is not None:
            return known
        made = read_layers(self.store.objects, result, geometry)
        with self._lock:
            self._layers[result.id] = made
            _shorten(self._layers, MOST_LAYERS)
        return made

    def _decoded(self, place: Slice) -> Pixels:
        try:
            return read_pixels(self.store.objects, place, self.decoder)
        except (DecoderFailed, UnusableInput) as error:
            raise _undecodable() from error

    def _geometry(self, case: HeldCase) -> Geometry:
        key = tuple(file.sha256 for file in case.files)
        with self._lock:
            known = self._geometries.get(key)
        if known is not None:
            return known
        objects = self.store.objects
        headers = [read_header(objects.path(sha256) or objects.get(sha256)) for sha256 in key]
        made = geometry_of(case.files, headers)
        with self._lock:
            self._geometries[key] = made
            _shorten(self._geometries, MOST_GEOMETRIES)
        return made


def _shorten(kept: OrderedDict[K, V], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)


def _undecodable() -> ProblemError:
    return ProblemError("undecodable_pixels", "The picture could not be decoded here. Look at it where the images are kept.")


def _dot() -> bytes:
    """Return the smallest image there is."""
    dataset = pydicom.Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "2.25.1"
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, "2.25.1"
    dataset.Rows = dataset.Columns = dataset.SamplesPerPixel = 1
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation, dataset.PhotometricInterpretation = 7, 0, "MONOCHROME2"
    dataset.PixelData = np.zeros(2, np.uint8).tobytes()
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return file.getvalue()
