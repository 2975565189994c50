"""A MONAI Bundle on disk, a folder or a zip: which files are read, and what its metadata say of it.

The layout is MONAI's (https://docs.monai.io/en/stable/mb_specification.html): configs/metadata.json, configs/inference.json
or .yaml, models/model.pt. Nothing else is opened, and nothing of it is run.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from models.errors import BrokenModel
from models.manifest import sha256_of
from training.adopt_bundle.config import MAX_CONFIG_BYTES, Config, read_config

MAX_WEIGHT_BYTES = 4_000_000_000
INFERENCE = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
WEIGHTS = "models/model.pt"
METADATA = "configs/metadata.json"
LONGEST_LINE = 2_000
MODALITIES = {"CT": "CT", "MR": "MR", "MRI": "MR", "PT": "PT", "PET": "PT"}


@dataclass(frozen=True)
class Bundle:
    """``metadata`` as written, ``config`` of the inference, ``weights`` the file; ``sha256`` of all three together."""

    metadata: dict[str, Any]
    config: Config
    weights: Path
    sha256: str

    def told(self, name: str) -> str:
        """Return a line of the metadata; "" when it is not told."""
        value = self.metadata.get(name, "")
        return " ".join(str(value).split())[:LONGEST_LINE] if isinstance(value, str | int | float) else ""

    @property
    def image(self) -> dict[str, Any]:
        """What the metadata say of the image that goes in."""
        return self._format("inputs", "image")

    @property
    def labels(self) -> dict[int, str]:
        """The names of the network's channels, as far as they are told."""
        named = self._format("outputs", "pred").get("channel_def", {})
        return {int(key): str(name) for key, name in named.items() if str(key).isdigit()} if isinstance(named, dict) else {}

    @property
    def modality(self) -> str:
        """The DICOM word for the modality; "" when it is not told."""
        return MODALITIES.get(str(self.image.get("modality", "")).upper(), "")

    def _format(self, side: str, name: str) -> dict[str, Any]:
        found: Any = self.metadata.get("network_data_format", {})
        for key in (side, name):
            found = found.get(key, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, dict) else {}


@contextmanager
def opened(source: Path) -> Iterator[Bundle]:
    """Open a folder, or a zip unpacked for as long as it is looked at. Raises BrokenModel when it is no bundle."""
    if source.is_dir():
        yield read_bundle(source)
    elif zipfile.is_zipfile(source):
        with TemporaryDirectory(prefix="bundle-") as folder:
            yield read_bundle(_unpacked(source, Path(folder)))
    else:
        raise BrokenModel(f"{source.name}: a bundle must be a folder or a zip, found neither.")


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's metadata and inference config. Raises BrokenModel naming what is missing."""
    inference = next((folder / name for name in INFERENCE if (folder / name).is_file()), None)
    if inference is None or not (folder / METADATA).is_file():
        raise BrokenModel(f"{folder.name}: a bundle needs {METADATA} and {' or '.join(INFERENCE[:2])}, found "
                          f"{'no inference config' if inference is None else 'no metadata'}.")
    if not (folder / WEIGHTS).is_file():
        found = ", ".join(sorted(path.name for path in folder.glob("models/*")))[:200]
        raise BrokenModel(
            f"{folder.name}: a bundle needs the weights as {WEIGHTS}, found {found or 'no file in models/'}. A model.ts is a "
            "program (TorchScript) and is not run here: ask its makers for the state dict, or write it where the bundle is trusted "
            "with torch.save(network.state_dict(), 'models/model.pt')."
        )
    if (folder / METADATA).stat().st_size > MAX_CONFIG_BYTES:
        raise BrokenModel(f"{METADATA} may hold {MAX_CONFIG_BYTES:,} bytes, found more.")
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise BrokenModel(f"{METADATA} must be plain JSON; it could not be read.") from error
    if not isinstance(metadata, dict):
        raise BrokenModel(f"{METADATA} must hold named entries, found a {type(metadata).__name__}.")
    files = [folder / METADATA, inference, folder / WEIGHTS]
    together = hashlib.sha256("".join(sha256_of(path) for path in files).encode()).hexdigest()
    return Bundle(metadata, read_config(inference), folder / WEIGHTS, together)


def _unpacked(archive: Path, folder: Path) -> Path:
    """Write the files that are read, and no other, under names of ours."""
    with zipfile.ZipFile(archive) as opened_archive:
        members = {member.filename: member for member in opened_archive.infolist() if not member.is_dir()}
        roots = [name.removesuffix(METADATA) for name in members if name == METADATA or name.endswith(f"/{METADATA}")]
        if len(roots) != 1:
            raise BrokenModel(f"{archive.name}: a bundle needs {METADATA} once, found it {len(roots)} times.")
        for wanted in (METADATA, *INFERENCE, WEIGHTS):
            member = members.get(roots[0] + wanted)
            if member is None:
                continue
            limit = MAX_WEIGHT_BYTES if wanted == WEIGHTS else MAX_CONFIG_BYTES
            if member.file_size > limit:
                raise BrokenModel(f"{archive.name}: {wanted} may hold {limit:,} bytes, found {member.file_size:,}.")
            target = folder / PurePosixPath(wanted)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened_archive.open(member) as inside, target.open("wb") as file:
                shutil.copyfileobj(inside, file)
        (folder / "models").mkdir(exist_ok=True)
        for name in members:  # named, so that the message can say what is there instead of the weights
            if name.startswith(f"{roots[0]}models/") and name != roots[0] + WEIGHTS:
                (folder / "models" / PurePosixPath(name).name).touch()
    return folder
