"""CARD.md: what a person must know of a release, generated from manifest and evaluation, never written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from models.describe import describe
from models.manifest import Manifest
from training.report import interval, label, number

TEMPLATES = Path(__file__).parent
HASHED = ("model.onnx", "golden.npz")  # evaluation.json and the card itself are written together: see the manifest


def write_card(folder: Path, manifest: Manifest, figures: dict[str, Any]) -> None:
    """Write ``folder/CARD.md``."""
    (folder / "CARD.md").write_text(card(manifest, figures), encoding="utf-8")


def card(manifest: Manifest, figures: dict[str, Any]) -> str:
    """Return the card as Markdown. It quotes ``describe(manifest)`` word for word.

    Raises ValueError when the figures are of another model.
    """
    if figures["model"] != manifest.id or figures["onnx_sha256"] != manifest.files["model.onnx"]:
        raise ValueError(f"A card needs figures of {manifest.id} as it is now, found those of {figures['model']}. "
                         "Evaluate again.")
    environment = Environment(loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True,  # noqa: S701
                              lstrip_blocks=True, keep_trailing_newline=True)  # Markdown, not HTML
    environment.filters.update(number=number, interval=interval, label=label, cell=_cell)
    return environment.get_template("card.md.j2").render(
        m=manifest, e=figures, described=describe(manifest).strip(), main=figures["rows"][0],
        others=figures["rows"][1:], missed=[b for b in figures["bars"] if not b["met"]],
        hashes={name: manifest.files[name] for name in HASHED if name in manifest.files},
        brief=[name for name in BRIEF if any(name in r["figures"] for r in figures["rows"])],
    )


BRIEF = ("auroc", "sensitivity", "specificity", "ppv", "observed_over_expected", "dice_anterior", "dice_posterior",
         "volume_error_median_whole", "mean_absolute_error", "within_20_percent", "coverage")


def _cell(text: str) -> str:
    """Keep a text inside one cell of a Markdown table."""
    return " ".join(text.replace("|", "/").split())
