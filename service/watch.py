"""Watch a folder: what is put there and stops growing is received, for people without a PACS.

    FOLDER/…           files, folders and zips, DICOM by content; names mean nothing
    FOLDER/.done/…     what was acknowledged (or deleted, when asked)
    FOLDER/.refused/…  what cannot be received, each with a .txt that says why and what to do

A file leaves the folder only after every image in it is on disk and in the database. Killed at any moment, the same file is
received again, which changes nothing. The folder is looked at, not listened to: network shares announce nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from models.errors import UnusableInput
from service.dicom.arrival import Arrival, arrive_file
from service.gather import DICOMDIR, Reader, Source, files_under, is_zip, zip_members
from service.links import NotSentError
from service.logs import where
from service.settings import MIB, Settings
from service.store.errors import StoreError
from service.way_in import WayIn, open_way_in

log = logging.getLogger("diaphane")
DONE, REFUSED = ".done", ".refused"
UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", ".swp")
SETTLED_S = 2.0  # a file whose size and time did not change for so long is whole
POLL_S, LONGEST_PAUSE_S = 0.5, 30.0
BATCH_IMAGES, BATCH_BYTES = 32, 64 * MIB
NOT_DICOM = "A file must be a DICOM image or a zip of them, found something else. Export DICOM files."


@dataclass(frozen=True)
class Seen:
    """How a file looked when it was last looked at, and since when it has looked so."""

    size: int
    changed_ns: int
    inode: int
    since: float

    def same(self, stat: os.stat_result) -> bool:
        """Tell whether the file has not changed."""
        return (self.size, self.changed_ns, self.inode) == (stat.st_size, stat.st_mtime_ns, stat.st_ino)


@dataclass
class Taken:
    """One file that was read: what became of its images."""

    path: Path
    seen: Seen
    reasons: Counter[str] = field(default_factory=Counter)
    kept: int = 0


class Watch:
    """Looks at the folder again and again; ``look`` is one round."""

    def __init__(self, folder: Path, way: WayIn, *, delete: bool = False, settled_s: float = SETTLED_S) -> None:
        self.folder, self._way, self._delete, self._settled_s = folder, way, delete, settled_s
        self._seen: dict[Path, Seen] = {}
        self._resting = True

    def look(self) -> bool:
        """Receive every file that is whole; True when there was one. What it raises leaves the files where they are."""
        now = time.monotonic()
        whole = []
        before, self._seen = self._seen, {}
        for path in files_under(self.folder):
            if not path.name.lower().endswith(UNFINISHED) and (seen := _look_at(path, before.get(path), now)):
                self._seen[path] = seen
                if path in before and seen is before[path] and now - seen.since >= self._settled_s and seen.size:
                    whole.append(path)
        self._resting = self._resting and not whole
        self._receive(whole)
        if not self._seen and not self._resting:  # nothing is left, nothing is growing
            self._way.rest()
            self._resting = True
        return bool(whole)

    def _receive(self, whole: list[Path]) -> None:
        """Receive files in batches; each is put away once all its images have their answer."""
        batch: list[tuple[Taken, Source, Arrival]] = []
        finished: list[Taken] = []
        for path in whole:
            taken = Taken(path, self._seen[path])
            for source, arrival in _arrivals(path, taken):
                batch.append((taken, source, arrival))
                if len(batch) >= BATCH_IMAGES or sum(len(one.data) for _, _, one in batch) >= BATCH_BYTES:
                    self._keep(batch, finished)
            finished.append(taken)
        self._keep(batch, finished)

    def _keep(self, batch: list[tuple[Taken, Source, Arrival]], finished: list[Taken]) -> None:
        answers = self._way.keep([(source, arrival) for _, source, arrival in batch]) if batch else []
        for (taken, _, _), reason in zip(batch, answers, strict=True):
            if reason:
                taken.reasons[reason] += 1
            else:
                taken.kept += 1
        batch.clear()
        for taken in finished:
            self._put_away(taken)
        finished.clear()

    def _put_away(self, taken: Taken) -> None:
        """Move or delete a file that was dealt with, unless it has changed since: then it is looked at anew."""
        path, reasons = taken.path, taken.reasons
        self._seen.pop(path, None)
        try:
            if not taken.seen.same(path.stat(follow_symlinks=False)):
                return
        except FileNotFoundError:
            return
        if reasons or not self._delete:
            place = self.folder / (REFUSED if reasons else DONE) / path.relative_to(self.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            place = _free(place)
            if reasons:  # the reason is there before the file is
                told = "".join(f"{count} refused: {reason}\n" for reason, count in reasons.items())
                _note(place).write_text(f"{taken.kept} images were received.\n{told}", encoding="utf-8")
            shutil.move(path, place)
        else:
            path.unlink(missing_ok=True)
        log.info("a file was %s: %d images kept, %d refused", "refused" if reasons else "received", taken.kept,
                 sum(reasons.values()))
        _remove_empty(path.parent, self.folder)


def run(
    folder: Path, settings: Settings, stop: threading.Event, *, delete: bool = False, to: str = "",
    settled_s: float = SETTLED_S,
) -> None:
    """Watch until stopped. Images go into the store of this machine, or by STOW-RS to ``to``."""
    folder = folder.resolve()
    try:
        for name in (DONE, REFUSED):
            (folder / name).mkdir(exist_ok=True)
    except OSError as error:
        raise SystemExit(f"The folder must be writable: received files are moved to {DONE} in it ({error.strerror}).") from None
    with open_way_in(settings, to) as way:
        watch = Watch(folder, way, delete=delete, settled_s=settled_s)
        print("Diaphane watches the folder", flush=True)  # noqa: T201  as the other processes say that they are ready
        pause_s = POLL_S
        while not stop.is_set():
            busy = False
            try:
                busy = watch.look()
                pause_s = POLL_S
            except (StoreError, NotSentError, OSError) as error:  # full, unreachable, no permission: it may pass
                pause_s = min(LONGEST_PAUSE_S, 2 * pause_s)
                log.warning("watching: %s; trying again in %.0f s", where(error), pause_s)
            if not busy:
                stop.wait(pause_s)


def _look_at(path: Path, before: Seen | None, now: float) -> Seen | None:
    try:
        stat = path.stat(follow_symlinks=False)
    except OSError:  # gone again
        return None
    if before and before.same(stat):
        return before
    return Seen(stat.st_size, stat.st_mtime_ns, stat.st_ino, now)


def _arrivals(path: Path, taken: Taken) -> Iterator[tuple[Source, Arrival]]:
    """Yield the images of a file; what is refused goes into ``taken.reasons``. A zip's other members are passed over."""
    some = False
    try:
        for source, data in _held(path):
            if data[128:132] != b"DICM":
                continue
            some = True
            if DICOMDIR in data[:1024]:  # a list of files: they are here themselves
                continue
            try:
                yield source, arrive_file(data)
            except UnusableInput as error:
                taken.reasons[str(error)] += 1
    except UnusableInput as error:
        taken.reasons[str(error)] += 1
        some = True
    if not some:
        taken.reasons[NOT_DICOM] += 1


def _held(path: Path) -> Iterator[tuple[Source, bytes]]:
    with path.open("rb") as file:
        start = file.read(132)
    if is_zip(start):
        yield from zip_members(path)
    elif start[128:132] == b"DICM":
        yield Source(path), Reader().read(Source(path))
    else:
        yield Source(path), start


def _note(place: Path) -> Path:
    return place.with_name(place.name + ".txt")


def _free(place: Path) -> Path:
    """Return a name that nothing has: place, or place with a number."""
    free, number = place, 1
    while os.path.lexists(free) or os.path.lexists(_note(free)):
        number += 1
        free = place.with_name(f"{place.stem}-{number}{place.suffix}")
    return free


def _remove_empty(folder: Path, root: Path) -> None:
    """Remove folders that were emptied, up to the watched one. One that is being filled is not empty."""
    while folder != root and folder.is_relative_to(root):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
