"""SOURCES: the `data` of a recipe → the module that reads it. Every module gives `records`, `cohort` and `data_sha256`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from models.manifest import Feature
from training.data import cgm, challenge2012, diabetes130, eicu_demo, iwpc, nhamcs, support2
from training.data.cohort import Case, Cohort
from training.recipe import Recipe


class Source(Protocol):
    """A module of training/data/ that reads patient records. ``root`` is the folder with all the data sets."""

    def records(self, split: str, root: Path) -> list[Case]:
        """Read one split (train, val or test), one Case for each prediction."""

    def cohort(self, split: str, features: list[Feature], root: Path) -> Cohort:
        """Read the same cases, in the same order, as arrays; ``counts`` is of this split."""

    def data_sha256(self, root: Path) -> str:
        """Return one hash of all files that are read."""


SOURCES: dict[str, Any] = {
    "challenge2012": challenge2012,
    "diabetes130": diabetes130,
    "iwpc": iwpc,
    "cgm": cgm,
    "nhamcs": nhamcs,
    "support2": support2,
    "eicu_demo": eicu_demo,
}


def source_of(recipe: Recipe) -> Source:
    """Return the source a recipe names. Raises ValueError naming those there are."""
    name = str(recipe.raw.get("data", ""))
    if name not in SOURCES:
        raise ValueError(f"A recipe's data must be one of {', '.join(SOURCES)}, found {name!r}.")
    source: Source = SOURCES[name]
    return source
