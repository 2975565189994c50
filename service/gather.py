"""Gather the DICOM images of files, folders, zips and DICOMDIRs, told by content. Names are never used or repeated.

Nothing is unpacked to disk, links are not followed, and a zip is read member by member within limits.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from models.dicom_bytes import MAX_FILE_BYTES
from models.errors import UnusableInput
from service.dicom.arrival import Arrival, arrive_file

MAX_MEMBERS = 100_000
MAX_RATIO = 200  # unpacked over packed size of a whole zip
MIN_UNPACKED_BYTES = 256 * 1024 * 1024  # below this, a zip may be packed as tightly as it likes: blank images are
HIDDEN = (".", "~$")
DAMAGED_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError)
DICOMDIR = b"1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class Source:
    """Where one file can be read from, again if need be: a path, and the place of a zip's member."""

    path: Path
    member: int | None = None


class Reader:
    """Reads sources again, keeping the last zip open: its directory may be long."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._archive: zipfile.ZipFile | None = None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._archive:
            self._archive.close()

    def read(self, source: Source) -> bytes:
        """Return the bytes. Raises UnusableInput when they cannot be read or are too many."""
        try:
            if source.member is None:
                return _read_file(source.path)
            if self._path != source.path or self._archive is None:
                self.__exit__()
                self._path, self._archive = source.path, zipfile.ZipFile(source.path)
            return read_member(self._archive, self._archive.infolist()[source.member])
        except (*DAMAGED_ZIP, IndexError) as error:
            raise UnusableInput("A file could not be read. Check the disk and that nothing else changes it.",
                                code="unreadable_file") from error


@dataclass(frozen=True)
class Image:
    """One image to be sent: where it is and the little that must be known of it."""

    source: Source
    size: int
    sop_uid: str
    series_uid: str
    study_uid: str
    case_key: str
    modality: str


@dataclass
class Gathered:
    """What was found: images, how many files were none, and why others would be refused, by code."""

    images: list[Image] = field(default_factory=list)
    others: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)  # code → the first message, for a person
    repeated: int = 0

    def refuse(self, error: UnusableInput) -> None:
        """Count something that cannot be used."""
        self.refused[error.code] += 1
        self.reasons.setdefault(error.code, str(error))


def gather(paths: Iterable[Path]) -> Iterator[Gathered]:
    """Look at everything under ``paths``; yields the same growing Gathered after each file, to show how far it is.

    What Diaphane would refuse is refused here already.
    """
    found = Gathered()
    seen: set[tuple[str, str]] = set()
    yield found
    for path in paths:
        for file in files_under(path):
            for source, data in _open(file, found):
                _look(source, data, found, seen)
                yield found


def files_under(path: Path) -> Iterator[Path]:
    """Yield the files of a folder, sorted, without hidden ones and links; a file itself, whatever its name."""
    if not path.is_dir():
        yield path.resolve()
        return
    folders = [path]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                inside = sorted(entries, key=lambda entry: entry.name)
        except OSError:  # no permission, or gone meanwhile
            continue
        folders += [Path(one.path) for one in reversed(inside) if one.is_dir(follow_symlinks=False) and not hidden(one.name)]
        yield from (Path(one.path) for one in inside if one.is_file(follow_symlinks=False) and not hidden(one.name))


def hidden(name: str) -> bool:
    """Tell whether a file or folder is not meant to be looked at."""
    return name.startswith(HIDDEN)


def is_zip(start: bytes) -> bool:
    """Tell a zip by its first bytes."""
    return start[:4] in (b"PK\x03\x04", b"PK\x05\x06")


def zip_members(path: Path) -> Iterator[tuple[Source, bytes]]:
    """Yield the files of a zip within limits. Raises UnusableInput; what came before it may be used."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_archive(members)
            for place, member in enumerate(members):
                if not member.is_dir() and not hidden(member.filename.rsplit("/", 1)[-1]):
                    yield Source(path, place), read_member(archive, member)
    except DAMAGED_ZIP as error:
        raise UnusableInput("The zip archive is damaged or of a kind that is not read here. "
                            "Pack it again with deflate and no password.", code="bad_zip") from error


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Read a member, never more than it declares. Raises UnusableInput."""
    if member.file_size > MAX_FILE_BYTES:
        raise _too_large()
    if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnusableInput("Members of a zip must be stored or deflated, without a password. Pack it again.", code="bad_zip")
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) > member.file_size:
        raise UnusableInput("A member of the zip is larger than the zip says. Pack it again.", code="bad_zip")
    return data


def _read_file(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:  # what became a link meanwhile is not followed
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise _too_large()
    return data


def _check_archive(members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise UnusableInput(f"A zip may hold {MAX_MEMBERS:,} files, found more. Pack fewer.", code="too_many_files")
    unpacked, packed = sum(one.file_size for one in members), sum(one.compress_size for one in members)
    if unpacked > max(MIN_UNPACKED_BYTES, packed * MAX_RATIO):
        raise UnusableInput(f"A zip may unpack to {MAX_RATIO} times its size, found more. Send the files themselves.",
                            code="bad_zip")


def _open(file: Path, found: Gathered) -> Iterator[tuple[Source, bytes]]:
    """Yield what a file holds: itself, the members of a zip, or the files a DICOMDIR lists."""
    try:
        with file.open("rb") as opened:
            start = opened.read(1024)
        if is_zip(start):
            yield from zip_members(file)
        elif start[128:132] == b"DICM" and DICOMDIR in start:
            for listed in _listed(file, found):
                yield Source(listed), Reader().read(Source(listed))
        else:
            yield Source(file), Reader().read(Source(file)) if start[128:132] == b"DICM" else start
    except UnusableInput as error:
        found.refuse(error)
    except OSError:
        found.refuse(UnusableInput("A file could not be read. Check that it exists and may be read.", code="unreadable_file"))


def _listed(directory: Path, found: Gathered) -> list[Path]:
    """Return the files a DICOMDIR lists (PS3.3 F.3) that are inside its folder; others are counted as unreadable."""
    try:
        records = list(pydicom.dcmread(directory).get("DirectoryRecordSequence") or [])
        named = [_file_id(record) for record in records if record.get("ReferencedFileID")]
    except Exception:  # pydicom on a damaged file: any class
        raise UnusableInput("The DICOMDIR cannot be read. Name the folder of the images instead.", code="damaged_dicom") from None
    inside = directory.parent.resolve()
    listed = []
    for parts in named:
        path = inside.joinpath(*parts)
        if path.is_file() and path.resolve().is_relative_to(inside):
            listed.append(path)
        else:
            found.refuse(UnusableInput("A file the DICOMDIR lists is missing. Copy the whole medium.", code="unreadable_file"))
    return listed


def _file_id(record: Dataset) -> list[str]:
    value = record.ReferencedFileID
    return [value] if isinstance(value, str) else [str(part) for part in value]


def _look(source: Source, data: bytes, found: Gathered, seen: set[tuple[str, str]]) -> None:
    if data[128:132] != b"DICM" or DICOMDIR in data[:1024]:
        found.others += 1
        return
    try:
        arrival = arrive_file(data)
    except UnusableInput as error:
        found.refuse(error)
        return
    if (arrival.sop_uid, arrival.sha256) in seen:
        found.repeated += 1
        return
    seen.add((arrival.sop_uid, arrival.sha256))
    found.images.append(image_of(source, len(data), arrival))


def image_of(source: Source, size: int, arrival: Arrival) -> Image:
    """Return what must be known of an image that can be received."""
    return Image(source, size, arrival.sop_uid, arrival.series_uid, arrival.study_uid, arrival.case_key, arrival.modality)


def _too_large() -> UnusableInput:
    return UnusableInput(f"A file may hold {MAX_FILE_BYTES:,} bytes, found more. Send fewer frames a file.", code="too_large")
