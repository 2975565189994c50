"""Facts: what the headers of a case state, as far as a routing rule may ask. Nothing here identifies a patient.

A case can hold many images. Every fact is the tuple of the distinct values they state; () means that none states it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from models.errors import UnusableInput
from models.read_dicom import header_of
from models.volume import Header

ORIENTATION_TOLERANCE_DEG = 30.0  # axial brains are tilted by 20-25 degrees to the skull base and still called axial
PLANES = ("sagittal", "coronal", "axial")  # whose normal is x, y, z of the patient (LPS)
NO_CONTRAST = frozenset(("no", "n", "none", "non", "without", "sans", "0"))  # found in ContrastBolusAgent
TEXTS = {  # fact → the attributes it is read from; the first that states something counts
    "station": ("StationName",),
    "institution": ("InstitutionName",),
    "department": ("InstitutionalDepartmentName",),
    "requesting_service": ("RequestingService",),
    "series_description": ("SeriesDescription",),
    "study_description": ("StudyDescription",),
    "protocol": ("ProtocolName",),
}
_OF_HEADER = ("Modality", "ViewPosition", "PatientSex", "PatientAge", "PatientBirthDate", "StudyDate", "Manufacturer")
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


@dataclass(frozen=True)
class Facts:
    """Distinct values by name: ``words`` folded by ``fold``, ``numbers`` in the unit of their name."""

    words: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    numbers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    contrast: bool | None = None


def facts_of(
    headers: Sequence[Dataset], *, calling_ae: str = "", called_ae: str = "", complete: bool = True
) -> Facts:
    """Read the facts of one case from the headers of its images, in any order.

    ``complete`` False says that more images may come: how many slices there will be is not known then. A damaged
    attribute counts as not stated.
    """
    words: dict[str, list[str]] = {"calling_ae": [calling_ae], "called_ae": [called_ae]}
    numbers: dict[str, list[float]] = {}
    contrast: set[bool | None] = set()
    for header in headers:
        stated = _stated(header)
        for name, found in _words_of(header, stated).items():
            words.setdefault(name, []).extend(found)
        for name, measured in _numbers_of(header, stated).items():
            numbers.setdefault(name, []).extend(measured)
        contrast.add(_contrast(header))
    if complete and headers:
        frames = _numbers(headers[0], "NumberOfFrames") if len(headers) == 1 else []
        numbers["slices"] = [frames[0] if frames else float(len(headers))]
    return Facts(
        {name: tuple(sorted({fold(one) for one in found if one.strip()})) for name, found in words.items()},
        {name: tuple(sorted(set(measured))) for name, measured in numbers.items()},
        True if True in contrast else None if None in contrast or not contrast else False,
    )


def fold(text: str) -> str:
    """Return text as rules compare it: without case, accents or doubled blanks.

    >>> fold(" Réanimation  PÉDIATRIQUE ")
    'reanimation pediatrique'
    """
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join("".join(one for one in folded if not unicodedata.combining(one)).split())


@lru_cache(maxsize=64)  # the slices of a series share theirs
def orientation_of(cosines: tuple[float, ...]) -> Literal["axial", "coronal", "sagittal", "oblique"] | None:
    """Name the plane of ImageOrientationPatient (PS3.3 C.7.6.2.1.1); oblique beyond ORIENTATION_TOLERANCE_DEG.

    >>> orientation_of((1, 0, 0, 0, 0, -1))
    'coronal'
    """
    if len(cosines) != 6:
        return None
    normal = np.cross(cosines[:3], cosines[3:])
    length = float(np.linalg.norm(normal))
    if not np.isfinite(length) or length < 0.5:  # no plane: the directions are parallel, or absent
        return None
    axis = int(np.argmax(np.abs(normal)))
    angle = float(np.degrees(np.arccos(min(1.0, abs(float(normal[axis])) / length))))
    return PLANES[axis] if angle <= ORIENTATION_TOLERANCE_DEG else "oblique"  # type: ignore[return-value]


def _stated(header: Dataset) -> Header:
    try:
        return header_of(header)
    except UnusableInput:  # its anatomic region is no sequence
        rest = Dataset()
        for keyword in _OF_HEADER:
            if keyword in header:
                rest[keyword] = header.get_item(keyword)  # raw: it is converted, or not, when it is asked for
        return header_of(rest)


def _words_of(header: Dataset, stated: Header) -> dict[str, list[str]]:
    words = {name: next(filter(None, (_texts(header, one) for one in sources)), []) for name, sources in TEXTS.items()}
    words |= {"modality": [stated.modality], "view": [stated.view]}
    words |= {"body_part": [stated.body_part], "sex": [stated.sex], "manufacturer": [stated.manufacturer]}
    words["image_type"] = _texts(header, "ImageType")
    if not words["requesting_service"]:
        words["requesting_service"] = [
            one for item in _items(header, "RequestAttributesSequence") for one in _texts(item, "RequestingService")
        ]
    planes = [_numbers(item, "ImageOrientationPatient") for item in _places(header, "PlaneOrientationSequence")]
    words["orientation"] = [plane for one in {tuple(each) for each in planes} if (plane := orientation_of(one))]
    return words


def _numbers_of(header: Dataset, stated: Header) -> dict[str, list[float]]:
    numbers = {"age_years": [] if stated.age_years is None else [stated.age_years]}
    numbers |= {"rows": _numbers(header, "Rows"), "columns": _numbers(header, "Columns")}
    measures = _places(header, "PixelMeasuresSequence")
    numbers["slice_thickness_mm"] = [one for item in measures for one in _numbers(item, "SliceThickness")]
    numbers["spacing_mm"] = [one for item in measures for one in _numbers(item, "PixelSpacing")] or _numbers(
        header, "ImagerPixelSpacing"
    )
    return numbers


def _contrast(header: Dataset) -> bool | None:
    """Tell whether contrast was given. An empty ContrastBolusAgent says nothing: many scanners always send it."""
    if any(len(_items(header, f"ContrastBolus{name}Sequence")) for name in ("Agent", "Usage")):
        return True
    stated = _texts(header, "ContrastBolusAgent")
    if stated:
        return fold(stated[0]) not in NO_CONTRAST
    return None if "ContrastBolusAgent" in header else False  # PS3.3 C.7.6.4: the module is there when it was given


def _places(header: Dataset, group: str) -> Iterable[Dataset]:
    """Return the header, and the items of a functional group of an enhanced object (PS3.3 C.7.6.16)."""
    found = [header]
    for where in _GROUPS:
        for frame in _items(header, where):
            found += _items(frame, group)[:1]
    return found


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(dataset.get(keyword) or [])
    except Exception:  # lazily converted by pydicom: any class
        return []


def _values(dataset: Dataset, keyword: str) -> list[Any]:
    try:
        value: Any = dataset.get(keyword)
        return [] if value is None else list(value) if isinstance(value, MultiValue | list) else [value]
    except Exception:  # lazily converted by pydicom: any class
        return []


def _texts(dataset: Dataset, keyword: str) -> list[str]:
    return [text for one in _values(dataset, keyword) if (text := str(one).strip())]


def _numbers(dataset: Dataset, keyword: str) -> list[float]:
    numbers = []
    for one in _values(dataset, keyword):
        try:
            number = float(one)
        except (TypeError, ValueError):
            continue
        if np.isfinite(number):
            numbers.append(number)
    return numbers
