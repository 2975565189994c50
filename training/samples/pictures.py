"""The pictures the README shows: one explained sample of each kind, drawn by the releases."""

from __future__ import annotations

from pathlib import Path

from models.explain.picture import draw
from models.read_any import read_any
from models.record import Record
from models.shelf import Shelf

SHOWN = {
    "radiograph": ("chest_xray_pediatric", "radiograph/viral-1.dcm"),
    "mr": ("hippocampus_mr", "mr/crop-1"),
    "stay": ("icu_mortality", "stay/high-risk.json"),
}


def draw_pictures(out: Path, shelf: Path) -> list[Path]:
    """Write ``out/pictures/<kind>.png`` for every kind whose release is on the shelf."""
    models = Shelf(shelf).active
    written = []
    for kind, (name, path) in SHOWN.items():
        if name in models:
            found = read_any(out / path)
            source = found[0] if isinstance(found, list) else found
            result = models[name].predict(source)
            target = out / "pictures" / f"{kind}.png"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(draw(result, None if isinstance(source, Record) else source, language="en"))
            written.append(target)
    return written
