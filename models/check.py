"""A release is sound: files, hashes and names hold, the graph loads, golden inputs reproduce and explain themselves.

Run by export before a release counts, by start-up before a service is ready, and by CI.
"""

from __future__ import annotations

from pathlib import Path

from models.errors import BrokenModel
from models.golden import completeness_of, read_golden
from models.model import Model
from models.session import DEFAULT_OPTIONS, SessionOptions


def check(folder: Path, options: SessionOptions = DEFAULT_OPTIONS) -> list[str]:
    """Return what was checked and found good, in words. Raises BrokenModel naming the first thing that is not."""
    return check_model(Model(folder, options))


def check_model(model: Model) -> list[str]:
    """Do the same for a release that is already open: its folder was checked when it was opened."""
    manifest, session = model.manifest, model.session
    golden = read_golden(model.folder)
    faults = session.faults(golden)
    if faults:
        raise BrokenModel(f"{manifest.id}: golden inputs must reproduce on {session.backend}: {'; '.join(faults)}.")
    worst, allowed = completeness_of(session.run(golden["input"]), manifest)
    explained = f"explanations sum to their scores within {worst:.1e}, allowed {allowed:.0e}"
    if manifest.graph.window is not None:
        explained = "class scores are finite; volumes are counted when windows are blended, and checked on every result"
    return [
        f"{len(manifest.files)} files have the sha256 the manifest states",
        "the graph keeps no weights outside its file, and no file is unpickled",
        f"{len(manifest.steps)} steps and {len(manifest.features)} features are known",
        f"{len(golden['input'])} golden inputs reproduce on {session.backend} in {session.precision}",
        explained,
    ]
