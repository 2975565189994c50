"""The commands tell what is wrong in a sentence, and look only at a store that is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def said(*command: str) -> tuple[int, str]:
    """Run a command to its end; return its exit status and what it says of errors."""
    done = subprocess.run([sys.executable, "-m", "service", *command], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


def test_a_misspelt_store_is_not_an_empty_one(tmp_path: Path) -> None:
    status, text = said("status", "--store", str(tmp_path / "misspelt"))
    assert (1, True, []) == (status, "found none there" in text, list(tmp_path.iterdir()))


def test_a_store_that_cannot_be_opened_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, text = said("listen", "--dicom-port", "0", "--store", str(tmp_path / "file"))
    assert (1, "The folder of the setting store cannot be made: File exists. Name a writable folder.") == (status, text.strip())
