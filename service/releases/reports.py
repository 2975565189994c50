"""Reports of commissioning that were handed in to be signed for on the page: one file for each release folder, beside the store."""

from __future__ import annotations

from pathlib import Path

from models.commissioned import Commissioning, read_commissioning, write_commissioning
from service.releases.errors import ReleaseError
from service.releases.releases import Releases
from service.releases.state import Installed
from service.settings import Settings

FOLDER = "commissioning"


def hand_in(settings: Settings, releases: Releases, release: str, report: Commissioning) -> Path:
    """Keep a report for who signs on the page. Raises ReleaseError when it is not of exactly this folder."""
    one = releases.installed.get(release)
    if one is None:
        raise ReleaseError("unknown")
    if (report.release, report.manifest_sha256) != (one.id, one.manifest_sha256):
        raise ReleaseError("other_release")
    path = _path(settings, one)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_commissioning(path, report)
    return path


def handed_in(settings: Settings, one: Installed) -> Commissioning | None:
    """Return the report that waits to be signed for a release as it is, None when there is none. Raises UnusableInput."""
    path = _path(settings, one)
    return read_commissioning(path) if path.is_file() else None


def _path(settings: Settings, one: Installed) -> Path:
    return settings.store / FOLDER / f"{one.id}-{one.manifest_sha256[:16]}.json"
