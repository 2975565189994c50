"""Latecomers: releases whose folder came after this process began, opened once somebody decided that they serve or shadow.

A process opens the whole shelf when it starts; a candidate that is refitted and put in shadow months later must not ask for a
restart of every process. Until one is open and has reproduced its golden inputs it does not speak.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from pathlib import Path

from models.check import check_model
from models.errors import BrokenModel
from models.manifest import read_manifest
from models.model import Model
from models.shelf import Shelf, release_folders
from service.logs import where
from service.releases.state import Decided

log = logging.getLogger("diaphane")


class Latecomers:
    """Opens what is missing of a shelf, in a thread of its own, once for each decision."""

    def __init__(self) -> None:
        self._tried: set[tuple[str, int]] = set()
        self._threads: list[threading.Thread] = []

    def look(self, shelf: Shelf, decided: Mapping[str, Decided]) -> None:
        """Begin to open what was decided to serve or shadow and is not open; return at once."""
        wanted = {(name, one.id) for name, one in decided.items() if one.state in ("live", "shadow") and name not in shelf.models}
        if new := wanted - self._tried:
            self._tried |= new
            thread = threading.Thread(target=_open, args=(shelf, {name for name, _ in new}), name="open-release", daemon=True)
            self._threads = [*(one for one in self._threads if one.is_alive()), thread]
            thread.start()

    def wait(self, timeout_s: float) -> None:
        """Wait until everything that is being opened is open, or found wanting."""
        for one in self._threads:
            one.join(timeout_s)


def _open(shelf: Shelf, wanted: Collection[str]) -> None:
    for name in sorted(wanted):
        try:
            folder = _folder_of(shelf.folder, name)
            if folder is None:
                log.error("ALARM: %s was decided to serve or shadow, and its folder is not on this machine's shelf: it says nothing "
                          "here. Put its folder there, then start this process again.", name)
                continue
            model = Model(folder, shelf.options)
            check_model(model)
        except BrokenModel as error:
            log.error("ALARM: %s was decided to serve or shadow and did not pass its checks: it says nothing here. %s", name, error)
        except Exception as error:  # nobody waits for this thread
            log.error("ALARM: %s was decided to serve or shadow and could not be opened: %s", name, where(error))
        else:
            shelf.add(model)
            log.info("%s was opened: its folder came after this process had begun", name)


def _folder_of(shelf: Path, release: str) -> Path | None:
    for folder in release_folders(shelf):
        try:
            if read_manifest(folder).id == release:
                return folder
        except BrokenModel:  # a folder that is still being copied hides no other
            continue
    return None
