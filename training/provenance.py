"""What made a model, for its manifest: versions, machine, commit. Nothing here identifies a person."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.manifest import Provenance
from training.recipe import Recipe

PACKAGES = ("torch", "torchvision", "monai", "onnx", "onnxruntime", "numpy", "scipy", "scikit-learn", "pillow")


def provenance(recipe: Recipe) -> Provenance:
    """Gather provenance of a release made here and now from ``recipe``."""
    return Provenance(
        recipe_sha256=recipe.sha256, seed=recipe.seed, git_commit=commit(), versions=versions(), machine=machine(),
        created=datetime.now(UTC).date().isoformat(),
    )


def versions() -> dict[str, str]:
    """Return Python's version and that of every package that decides numbers."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> str:
    """Name the processor and the number of cores, as far as the system tells."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        name = lines[0].split(":", 1)[1].strip() if lines else name
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def commit() -> str:
    """Return the commit the working tree stands on, or "unknown" outside a checkout."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True,  # noqa: S607
                              check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return done.stdout.strip()
