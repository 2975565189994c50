"""What a model drew, read back from the objects that were stored and sent: heat maps and segmentations, on the picture's grid."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import matplotlib
import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileDataset

from models.explain.picture import LABEL_STYLES
from service.dicom.zone import outline
from service.review.image.geometry import Geometry, Sides
from service.review.image.outline import Polygon, outlines
from service.store.objects import Objects
from service.store.studies import HeldObject, HeldResult
from service.words import Language, marked, say

PALETTE = "viridis"  # perceptually even and the same to colour-blind readers
EDGE = 1 / 3  # of the picture's height: upper, middle and lower part
MIDDLE = (0.42, 0.58)  # of the picture's width: neither side
LINES = {"solid": "", "dashed": "5 3", "dotted": "1.5 3"}  # stroke-dasharray, so that labels are told apart without colour
_ROWS = (marked("upper part"), marked("middle part"), marked("lower part"))
_SIDES = {"L": marked("on the patient's left"), "R": marked("on the patient's right"), "A": marked("in front"),
          "P": marked("behind"), "H": marked("towards the head"), "F": marked("towards the feet")}


@dataclass(frozen=True)
class Map:
    """A heat map: ``values`` float32 over the whole field of the picture, edge on edge. ``top`` is its largest value."""

    finding: str
    values: NDArray[np.float32]
    rows: int  # of the picture it lies on
    columns: int

    @property
    def top(self) -> float:
        """The largest contribution."""
        return float(self.values.max())

    @property
    def outline(self) -> list[list[float]]:
        """The line at half of the peak, around the peak, in pixels of the picture: that of the report that was sent."""
        if self.top <= 0:
            return []
        return [[float(x), float(y)] for x, y in outline(self.values, self.rows, self.columns)]

    def png(self) -> bytes:
        """Draw it as a transparent layer: the colour says how much, and so does how much of the picture it hides."""
        strength = np.clip(self.values / max(self.top, 1e-6), 0, 1)
        pixels = colours()[np.rint(strength * 255).astype(np.uint8)]
        alpha = np.rint(strength * 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(np.dstack([pixels, alpha])).save(file, "PNG", compress_level=1)
        return file.getvalue()

    def words(self, sides: Sides, language: Language) -> str:
        """Say where the strongest place lies, for who does not see it."""
        row, column = (int(n) for n in np.unravel_index(int(self.values.argmax()), self.values.shape))
        down, along = (row + 0.5) / self.values.shape[0], (column + 0.5) / self.values.shape[1]
        part = say(language, _ROWS[min(2, int(down / EDGE))])
        if MIDDLE[0] <= along <= MIDDLE[1]:
            return say(language, "Strongest in the {part} of the picture, in the middle.", part=part)
        side = sides.left if along < MIDDLE[0] else sides.right
        if side[:1] in _SIDES:
            return say(language, "Strongest in the {part} of the picture, {side}.", part=part, side=say(language, _SIDES[side[0]]))
        half = say(language, "left half of the picture") if along < MIDDLE[0] else say(language, "right half of the picture")
        return say(language, "Strongest in the {part}, {half}.", part=part, half=half)


@dataclass(frozen=True)
class Mask:
    """One segment: its polygons by slice (from 1), and how many voxels it has."""

    finding: str
    label: str
    colour: str
    dashes: str
    slices: dict[int, list[Polygon]] = field(repr=False)
    voxels: int = 0

    def words(self, language: Language) -> str:
        """Say on which slices it lies, for who does not see it."""
        if not self.slices:
            return say(language, "No voxel was outlined.")
        first, last = min(self.slices), max(self.slices)
        if first == last:
            return say(language, "Outlined on slice {first}, {voxels} voxels.", first=first, voxels=self.voxels)
        return say(language, "Outlined on slices {first} to {last}, {voxels} voxels.", first=first, last=last, voxels=self.voxels)


@dataclass(frozen=True)
class Layers:
    """All that one result drew."""

    maps: tuple[Map, ...] = ()
    masks: tuple[Mask, ...] = ()


def has_layers(result: HeldResult) -> bool:
    """Tell whether a result drew anything that was kept."""
    return any(one.kind in ("map", "seg") for one in result.objects)


def read_layers(objects: Objects, result: HeldResult, geometry: Geometry) -> Layers:
    """Read what one result drew. Its objects were made here and are checked against their hash. Raises StoreError."""
    named = [str(one["finding"]) for one in result.summary.get("explanation", {}).get("heatmaps", [])]
    stored = [one for one in result.objects if one.kind == "map"]
    place = geometry.slices[0]
    maps = tuple(
        Map(finding, _map_values(_read(objects, one)), place.rows, place.columns)
        for finding, one in zip(named, stored, strict=False)
    )
    masks = tuple(mask for one in result.objects if one.kind == "seg" for mask in _masks(objects, one, result, geometry))
    return Layers(maps, masks)


@cache
def colours() -> NDArray[np.uint8]:
    """Return the palette: uint8 (256, 3)."""
    palette: Any = matplotlib.colormaps[PALETTE]
    return np.asarray(np.rint(palette(np.arange(256))[:, :3] * 255), dtype=np.uint8)


def _read(objects: Objects, one: HeldObject) -> FileDataset:
    return pydicom.dcmread(io.BytesIO(objects.get(one.sha256)))


def _map_values(dataset: FileDataset) -> NDArray[np.float32]:
    return np.frombuffer(dataset.FloatPixelData, "<f4")[: dataset.Rows * dataset.Columns].reshape(dataset.Rows, dataset.Columns)


def _masks(objects: Objects, one: HeldObject, result: HeldResult, geometry: Geometry) -> list[Mask]:
    """Read a segmentation: each of its frames lies on the picture that it names as its source."""
    dataset = _read(objects, one)
    places = {(slice_.sop_uid, slice_.frame): number for number, slice_ in enumerate(geometry.slices, start=1)}
    names = list(_labels(result, len(dataset.SegmentSequence)))
    found: list[dict[int, list[Polygon]]] = [{} for _ in names]
    voxels = [0] * len(names)
    for frame, pixels in zip(_frames(dataset), _planes(dataset), strict=True):
        segment, source = frame
        number = places.get(source)
        if number is not None and pixels.any():
            found[segment - 1].setdefault(number, []).extend(outlines(pixels))
            voxels[segment - 1] += int(np.count_nonzero(pixels))
    made = []
    for place, (name, label) in enumerate(names):
        colour, line = LABEL_STYLES[place % len(LABEL_STYLES)]
        shown = label or str(dataset.SegmentSequence[place].SegmentLabel)
        made.append(Mask(name, shown, colour, LINES[line], found[place], voxels[place]))
    return made


def _labels(result: HeldResult, count: int) -> Sequence[tuple[str, str]]:
    """Return name and label of each segment: those of the mask in the result, in its order."""
    mask = result.summary.get("explanation", {}).get("mask") or {}
    names = [str(name) for name in mask.get("names", [])]
    return [(names[place] if place < len(names) else "", "") for place in range(count)]


def _frames(dataset: FileDataset) -> list[tuple[int, tuple[str, int | None]]]:
    """Return segment number and source picture of each frame; highdicom puts what all frames share in the shared group."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    made = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        segment = (group.get("SegmentIdentificationSequence") or shared.SegmentIdentificationSequence)[0]
        made.append((int(segment.ReferencedSegmentNumber), _source(group, shared)))
    return made


def _source(group: Dataset, shared: Dataset) -> tuple[str, int | None]:
    for derivation in group.get("DerivationImageSequence") or shared.get("DerivationImageSequence") or ():
        for image in derivation.get("SourceImageSequence") or ():
            number = image.get("ReferencedFrameNumber")
            return str(image.ReferencedSOPInstanceUID), None if number is None else int(number)
    return "", None


def _planes(dataset: FileDataset) -> NDArray[np.bool_]:
    """Unpack binary frames: bool (frames, rows, columns)."""
    count, rows, columns = int(dataset.NumberOfFrames), int(dataset.Rows), int(dataset.Columns)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[: count * rows * columns]
    return bits.reshape(count, rows, columns).astype(bool)
