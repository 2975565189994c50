"""A contact sheet of data-samples/, for a person to look at: every image that was written, as a reader decodes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from models.read_dicom import read_dicom
from models.volume import Volume

CELL = (440, 380)  # columns, rows


def contact_sheet(samples: Path, target: Path, *, across: int = 4) -> Path:
    """Read every DICOM file and series below ``samples`` and write one PNG."""
    single = [path for path in sorted(samples.rglob("*.dcm")) if path.parent.name in ("radiograph", "refused")]
    series = sorted({path.parent for path in samples.rglob("*.dcm")} - {path.parent for path in single})
    cells = [(path, read_dicom([path])) for path in single]
    cells += [(folder, read_dicom(sorted(folder.glob("*.dcm")))) for folder in series]
    rows = -(-len(cells) // across)
    sheet = Image.new("L", (across * CELL[0], rows * CELL[1]), 40)
    for index, (path, volume) in enumerate(cells):
        picture = _picture(volume)
        picture.thumbnail((CELL[0] - 6, CELL[1] - 22))
        left, top = index % across * CELL[0], index // across * CELL[1]
        sheet.paste(picture, (left, top + 18))
        ImageDraw.Draw(sheet).text((left + 3, top + 3), str(path.relative_to(samples)), fill=230)
    target.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(target)
    return target


def _picture(volume: Volume) -> Image.Image:
    """A radiograph as it is; of a volume, the three middle planes side by side, enlarged."""
    voxels = volume.voxels
    if voxels.shape[0] == 1:
        plane = voxels[0] if volume.units == "display" else _stretched(voxels[0])
        return Image.fromarray(np.uint8(np.clip(plane, 0, 255)))
    z, y, x = (size // 2 for size in voxels.shape)
    planes = [Image.fromarray(_stretched(p)) for p in (voxels[z], voxels[::-1, y], voxels[::-1, :, x])]
    planes = [p.resize((4 * p.width, 4 * p.height), Image.Resampling.BICUBIC) for p in planes]
    whole = Image.new("L", (sum(p.width for p in planes), max(p.height for p in planes)))
    for index, plane in enumerate(planes):
        whole.paste(plane, (sum(p.width for p in planes[:index]), 0))
    return whole


def _stretched(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, (0.5, 99.5))
    return np.uint8(np.clip((plane - low) / max(1e-6, high - low), 0, 1) * 255)
