"""A tiny department release for tests: the graph as it is released, with a trend fitted on made-up attendances."""

from __future__ import annotations

from pathlib import Path

from models.shelf import RELEASED
from training import fit_department, recipe
from training.release import manifest_of, seal


def tiny_department(shelf: Path) -> Path:
    """Build ``shelf/ed_demand-…`` without any data; return the folder."""
    read = recipe.read("ed_demand")
    checkpoint = fit_department.fit(read, shelf / ".fit", RELEASED, quick=True)
    folder = shelf / f"{read.name}-{read.version}"
    folder.mkdir()
    fields = fit_department.build(read, checkpoint, RELEASED, folder)
    (folder / "evaluation.json").write_text("{}\n", encoding="utf-8")
    (folder / "CARD.md").write_text("Made for tests.\n", encoding="utf-8")
    seal(folder, manifest_of(read, fields))
    return folder
