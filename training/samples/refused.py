"""One input for each reason to decline: phantoms drawn by hand, and drawn images spoilt on purpose.

``incomplete_explanation`` is not here: no input can make a sum come out wrong, only a broken machine or precision can.
``impossible_value`` is among the stays: the value is left out with a flag, and the stay is scored.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from models.prediction import Reason
from training.samples.wrap import Patient, ct_slice, encode, mr_slices, radiograph

Floats = NDArray[np.floating]
CHEST, HIPPOCAMPUS = "chest_xray_pediatric", "hippocampus_mr"
CHILD = Patient("TEST^LILOU", "DIA-TEST-201", "20220817", "F", "2220899000021", "003Y")
ADULT = Patient("TEST^FIRMIN", "DIA-TEST-202", "19800603", "M", "1800699000022", "045Y")


@dataclass(frozen=True)
class Refused:
    """A file, or the files of a folder, with the model that is asked and the reason it must give."""

    path: str
    model: str
    reason: Reason
    note: str
    files: dict[str, bytes]  # name → content; one name "" is the file itself


def images(normal: Floats, crop: Floats, seed: int) -> Iterator[Refused]:
    """Make every refused image, from one drawn normal radiograph (rows, columns) and one drawn MR crop (z, y, x)."""
    rng = np.random.default_rng([seed, 7])
    half = _shrink(normal, 2)
    yield _one(
        Reason.WRONG_MODALITY,
        "CT slice of a drawn thorax phantom",
        encode(ct_slice(thorax_phantom(), CHILD, "wrong_modality")),
    )
    yield _dx(
        Reason.WRONG_BODY_PART,
        "Drawn hand, BodyPartExamined HAND",
        hand_phantom(),
        RLELossless,
        BodyPartExamined="HAND",
        ViewPosition="PA",
        StudyDescription="RADIO MAIN",
        SeriesDescription="Main de face",
    )
    yield _dx(
        Reason.WRONG_VIEW,
        "Drawn lateral thorax, ViewPosition LL",
        lateral_phantom(),
        RLELossless,
        ViewPosition="LL",
        SeriesDescription="Thorax de profil",
        PatientOrientation=["A", "F"],
    )
    yield _one(
        Reason.WRONG_AGE,
        "Drawn child's radiograph under an adult's name and age",
        encode(radiograph(half, ADULT, "wrong_age", bits=8, spacing_mm=1.0), JPEGLSLossless),
    )
    thick = crop[: len(crop) // 4 * 4].reshape(-1, 4, *crop.shape[1:]).mean(axis=1)
    slices = mr_slices(thick, ADULT, "wrong_geometry", spacing_mm=(4.0, 1.0, 1.0))
    yield Refused(
        "refused/wrong_geometry",
        HIPPOCAMPUS,
        Reason.WRONG_GEOMETRY,
        "Drawn MR crop in slices of 4 mm",
        {f"{z:02d}.dcm": encode(dataset) for z, dataset in enumerate(slices)},
    )
    yield _dx(Reason.TOO_SMALL, "Drawn radiograph as a thumbnail", _shrink(normal, 4)[:, :128])
    ramp = np.linspace(120, 122, half.shape[1])[None].repeat(half.shape[0], axis=0)
    yield _dx(Reason.BLANK, "Exposed without anybody: a flat field", ramp, RLELossless)
    low, high = np.percentile(half, (44, 56))
    yield _dx(
        Reason.CLIPPED,
        "Window so narrow that most pixels are black or white",
        np.clip((half - low) / (high - low), 0, 1) * 255,
        RLELossless,
    )
    yield _dx(
        Reason.OUT_OF_DISTRIBUTION,
        "Negative stored as MONOCHROME2: bones black",
        255 - half,
        JPEGLSLossless,
        name="inverted",
    )
    yield _dx(
        Reason.OUT_OF_DISTRIBUTION,
        "Lying on its side: turned by a quarter",
        np.rot90(half),
        JPEGLSLossless,
        name="turned",
    )
    static = _shrink(rng.uniform(0, 255, (432, 528)), 2)
    yield _dx(Reason.OUT_OF_DISTRIBUTION, "Noise under the header of a chest radiograph", static, name="noise")


def thorax_phantom(size: int = 128) -> Floats:
    """Draw Hounsfield units of an axial thorax: soft tissue, two lungs, a spine."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    field = np.full((size, size), -1000.0)
    field[(x / 0.9) ** 2 + (y / 0.65) ** 2 < 1] = 40
    for centre in (-0.42, 0.42):
        field[((x - centre) / 0.32) ** 2 + (y / 0.46) ** 2 < 1] = -820
    field[(x / 0.12) ** 2 + ((y - 0.42) / 0.13) ** 2 < 1] = 450
    return field


def hand_phantom(rows: int = 256, columns: int = 208) -> Floats:
    """Draw a hand: palm, fingers and their bones, display values 0-255."""
    picture = Image.new("L", (columns, rows), 12)
    draw = ImageDraw.Draw(picture)
    draw.ellipse((48, 120, 160, 250), fill=110)
    tips = ((20, 120), (60, 35), (95, 20), (130, 32), (165, 70))
    for (x, y), root in zip(tips, (62, 72, 98, 124, 146), strict=True):
        draw.line((x, y, root, 170), fill=110, width=24)
        draw.ellipse((x - 12, y - 12, x + 12, y + 12), fill=110)
    for (x, y), root in zip(tips, (62, 72, 98, 124, 146), strict=True):
        for a, b in ((0.05, 0.28), (0.34, 0.58), (0.64, 1.0)):
            draw.line((x + a * (root - x), y + a * (170 - y), x + b * (root - x), y + b * (170 - y)), fill=215, width=9)
    return np.asarray(picture.resize((columns, rows), Image.Resampling.BICUBIC), dtype=np.float64)


def lateral_phantom(rows: int = 240, columns: int = 208) -> Floats:
    """Draw a thorax from the side: body, lung field, heart in front, vertebrae behind; display values 0-255."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    field = 170 * np.exp(-(((x / 0.85) ** 2 + (y / 1.3) ** 2) ** 4))
    field -= 110 * np.exp(-((((x - 0.05) / 0.5) ** 2 + ((y + 0.05) / 0.7) ** 2) ** 3))
    field += 70 * np.exp(-((((x + 0.3) / 0.28) ** 2 + ((y - 0.2) / 0.3) ** 2) ** 2))
    field += 45 * np.exp(-(((x - 0.52) / 0.12) ** 4)) * (1 + 0.35 * np.sign(np.sin(22 * y)))
    return np.clip(field, 0, 255)


def _dx(
    reason: Reason,
    note: str,
    pixels: Floats,
    syntax: UID = ExplicitVRLittleEndian,
    *,
    name: str = "",
    **changes: Any,
) -> Refused:
    stem = f"{reason.value}_{name}" if name else reason.value
    return _one(
        reason, note, encode(radiograph(pixels, CHILD, stem, bits=8, spacing_mm=1.0, **changes), syntax), name=name
    )


def _one(reason: Reason, note: str, content: bytes, *, name: str = "") -> Refused:
    stem = f"{reason.value}_{name}" if name else reason.value
    return Refused(f"refused/{stem}.dcm", CHEST, reason, note, {"": content})


def _shrink(image: Floats, by: int) -> Floats:
    rows, columns = image.shape[0] // by * by, image.shape[1] // by * by
    small: Floats = image[:rows, :columns].reshape(rows // by, by, columns // by, by).mean(axis=(1, 3))
    return small
