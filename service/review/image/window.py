"""Windows: stored values → grey, by PS3.3 C.11.2.1.2 to the letter, and the presets a reader is offered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from models.dicom_pixels import numbers, text
from models.errors import UnusableInput
from service.problem import ProblemError
from service.words import marked

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
FUNCTIONS: tuple[Function, ...] = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
LARGEST = 1e7  # of a centre or a width that can be asked for
PERCENTILES = (0.5, 99.5)  # as models.dicom_pixels: what a picture without a stated window is shown with
MOST_STATED = 8  # windows of a header that are offered
# Hounsfield units: what readers of CT expect under a key
CT_PRESETS: tuple[tuple[str, float, float], ...] = (
    (marked("Lung"), -600, 1500), (marked("Mediastinum"), 40, 400), (marked("Bone"), 300, 1500), (marked("Brain"), 40, 80),
)


@dataclass(frozen=True)
class Window:
    """Centre and width in the units of the modality (after rescale), and the function between them."""

    centre: float
    width: float
    function: Function = "LINEAR"

    @property
    def written(self) -> str:
        """As an address asks for it."""
        return f"{self.centre:g},{self.width:g},{self.function.lower()}"


@dataclass(frozen=True)
class Preset:
    """A window with the name it is offered under; ``stated`` when the name comes from the header and is not ours."""

    name: str
    window: Window
    stated: bool = False


def read_window(written: str) -> Window | None:
    """Read "centre,width[,function]"; "" is none. Raises ProblemError without repeating what was sent."""
    if not written:
        return None
    parts = written.split(",")
    try:
        centre, width = float(parts[0]), float(parts[1])
        function = parts[2].upper() if len(parts) == 3 else "LINEAR"
        if len(parts) > 3 or function not in FUNCTIONS or not all(map(math.isfinite, (centre, width))):
            raise ValueError
        if abs(centre) > LARGEST or not (1 if function == "LINEAR" else 1e-6) <= width <= LARGEST:
            raise ValueError
    except (ValueError, IndexError):
        raise ProblemError("bad_query", "window is centre,width or centre,width,linear|linear_exact|sigmoid; the width of linear is "
                                        "at least 1.") from None
    return Window(centre, width, function)


def grey(values: NDArray[np.float64], window: Window) -> NDArray[np.float64]:
    """Map values onto 0-255 (PS3.3 C.11.2.1.2.1, C.11.2.1.3.1 and C.11.2.1.3.2)."""
    centre, width = window.centre, window.width
    if window.function == "SIGMOID":
        return np.asarray(255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -60, 60))))
    if window.function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1) * 255)
    if width == 1:  # below centre - 0.5 black, above white: nothing between
        return np.where(values <= centre - 0.5, 0.0, 255.0)
    return np.asarray(np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1) * 255)


def stated_presets(header: Dataset) -> list[Preset]:
    """Return the windows a header states, with the names it gives them."""
    try:
        centres, widths = numbers(header, "WindowCenter"), numbers(header, "WindowWidth")
    except UnusableInput:
        return []
    function = text(header, "VOILUTFunction").upper()
    known: Function = function if function in FUNCTIONS else "LINEAR"
    names = _names(header)
    made = []
    for place, (centre, width) in enumerate(zip(centres[:MOST_STATED], widths[:MOST_STATED], strict=False)):
        if width >= (1 if known == "LINEAR" else 1e-6):
            made.append(Preset(names[place] if place < len(names) else "", Window(centre, width, known), stated=True))
    return made


def own_range(values: NDArray[np.float64]) -> Window:
    """Return the window of a picture that states none: its own range without the last half percent at either end."""
    low, high = (float(one) for one in np.percentile(values, PERCENTILES))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    return Window((low + high) / 2, max(high - low, 1e-6), "LINEAR_EXACT")


def usual_presets(modality: str) -> list[Preset]:
    """Return the presets everybody expects of a modality."""
    return [Preset(name, Window(centre, width)) for name, centre, width in CT_PRESETS] if modality == "CT" else []


def _names(header: Dataset) -> Sequence[str]:
    try:
        value = header.get("WindowCenterWidthExplanation") or ()
        return [str(one).strip()[:64] for one in ([value] if isinstance(value, str) else value)]
    except Exception:  # lazily converted by pydicom: any class
        return ()
