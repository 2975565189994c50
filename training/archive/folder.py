"""A folder, or a zip: DICOM at any depth, zips within, PNG and JPEG with a table, FHIR Bundles and bulk exports."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from models.dicom_bytes import MAX_FILE_BYTES
from models.errors import UnusableInput
from models.read_any import kind_of
from models.read_image import read_nifti, read_raster
from models.volume import Header, Volume
from training.archive import dicom, fhir_files
from training.archive.cases import Found, Json, Opened
from training.archive.plan import Plan
from training.archive.scored import Names
from training.archive.table import Line, Table, read_attributes, told_age

TABLE = "metadata.csv"
ZIP_RATIO = 400  # of what a member unpacks to
INSIDE = "!/"  # between a zip and its member, in the place of a file


class Folder:
    """The source of files. A place is a path below the folder, or that of a zip, "!/" and the member."""

    def __init__(self, plan: Plan, naming: Names) -> None:
        self.plan, self.naming = plan, naming
        self.root = Path(plan.archive)
        self.left_out: Counter[str] = Counter()
        self._zips: dict[str, zipfile.ZipFile] = {}
        self._export: fhir_files.Export | None = None

    def find(self, told: Callable[[int], None]) -> Iterator[Found]:
        """Yield every case; ``told`` hears the number of files looked at."""
        table = self._table()
        if table is not None and table.lines and "file" in table.lines[0].ids:
            yield from self._listed(table, told)
            return
        heads, rows, bundles, exports = [], [], [], []
        for number, (place, kind) in enumerate(self._places(), start=1):
            told(number)
            if kind == "dicom":
                heads.append(place)
            elif kind in ("raster", "nifti"):
                rows.append(place)
            elif kind == "json" and place.endswith(".ndjson"):
                exports.append(place)
            elif kind == "json":
                bundles.append(place)
            else:
                self.left_out[f"{kind}_file"] += 1
        for found in (*self._dicom(heads), *(Found(one, {"image": one}, {"file": one}) for one in rows)):
            more = table.attributes_of(found.ids) if table else {}
            yield replace(found, attributes=found.attributes | self._told(more))
        needs = self._needs()
        for place in bundles:
            yield from fhir_files.cases_of_bundle(place, partial(self.read, place), needs, self.left_out)
        if exports:
            yield from fhir_files.Export(self.plan, self.root).find(exports, needs, self.left_out)

    def open(self, where: Json) -> Opened:
        """Read one case. Raises UnusableInput when it cannot be read."""
        if "files" in where:
            return dicom.open_case([self._part(place) for place in where["files"]], self.naming)
        if "image" in where:
            return self._image(where)
        if "export" in where:
            self._export = self._export or fhir_files.Export(self.plan, self.root)
            return self._export.open(where, self._needs())
        return fhir_files.open_bundle(self.read(where["bundle"]), where, self._needs())

    def close(self) -> None:
        """Let go of zips and of the index of an export."""
        for one in self._zips.values():
            one.close()
        self._zips.clear()
        if self._export is not None:
            self._export.close()

    def read(self, place: str) -> bytes:
        """Return the bytes of a file, from a zip or not. Raises UnusableInput."""
        if INSIDE not in place:
            path = self.root if self.root.is_file() else self.root / place
            try:
                if path.stat().st_size > MAX_FILE_BYTES:
                    raise _too_large()
                return path.read_bytes()
            except OSError as error:
                raise UnusableInput("A file of the archive must be there and readable, it is not. Check the folder and its "
                                    "permissions.", code="unreadable_file") from error
        return self._member(place, None)

    def _table(self) -> Table | None:
        path = Path(self.plan.attributes) if self.plan.attributes else self.root / TABLE
        if not self.plan.attributes and not path.is_file():
            if self.plan.where or self.plan.keep or self.plan.columns:
                raise UnusableInput(f"--where, --keep and --column speak of a table, found no {TABLE} in the folder. "
                                    "Name it with --attributes.", code="bad_table")
            return None
        return read_attributes(path, self.plan.columns, self.plan.where, self.plan.keep)

    def _listed(self, table: Table, told: Callable[[int], None]) -> Iterator[Found]:
        """Yield one case a line of a table of files: pictures as they are, DICOM files gathered."""
        heads: list[str] = []
        lines: dict[str, Line] = {}
        for number, line in enumerate(table.lines, start=1):
            told(number)
            place = Path(line.ids["file"]).as_posix()
            try:
                kind = kind_of(self._inside(place))
            except UnusableInput as error:
                yield Found(place, {}, line.ids, self._told(line.attributes), error.code)
                continue
            if kind == "dicom":
                heads.append(place)
                lines[place] = line
            elif kind in ("raster", "nifti"):
                yield Found(place, {"image": place, "stated": _stated(line)}, line.ids, self._told(line.attributes))
            else:
                yield Found(place, {}, line.ids, self._told(line.attributes), "not_an_image")
        for found in self._dicom(heads):
            line = lines[found.where["files"][0]]
            yield replace(found, ids=found.ids | line.ids, attributes=found.attributes | self._told(line.attributes))

    def _inside(self, place: str) -> Path:
        """Return the path of a file named in a table. Raises UnusableInput when it leads out of the archive."""
        path = self.root / place
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise UnusableInput("A file of a table must lie below the archive's folder, found one outside.", code="outside_archive")
        return path

    def _places(self) -> Iterator[tuple[str, str]]:
        """Yield (place, kind) of every file, by name; hidden ones are passed over."""
        paths = [self.root] if self.root.is_file() else sorted(
            one for one in self.root.rglob("*") if one.is_file() and one.name[0] != ".")
        for path in paths:
            place = path.name if self.root.is_file() else path.relative_to(self.root).as_posix()
            kind = _kind(path)
            if kind == "other" and zipfile.is_zipfile(path):
                yield from self._members(place, path)
            elif place != TABLE:
                yield place, kind

    def _members(self, place: str, path: Path) -> Iterator[tuple[str, str]]:
        try:
            names = [one for one in self._zip(place, path).infolist() if not one.is_dir()]
        except (zipfile.BadZipFile, OSError, NotImplementedError):
            self.left_out["damaged_zip"] += 1
            return
        for member in names:
            inside = f"{place}{INSIDE}{member.filename}"
            try:
                start = self._member(inside, 512)
            except UnusableInput:
                self.left_out["unreadable_member"] += 1
                continue
            yield inside, _kind_of_bytes(start)

    def _zip(self, place: str, path: Path) -> zipfile.ZipFile:
        if place not in self._zips:
            if len(self._zips) >= 32:  # open files are few
                self._zips.pop(next(iter(self._zips))).close()
            self._zips[place] = zipfile.ZipFile(path)
        return self._zips[place]

    def _member(self, place: str, at_most: int | None) -> bytes:
        outer, _, name = place.partition(INSIDE)
        try:
            archive = self._zip(outer, self.root if self.root.is_file() else self.root / outer)
            info = archive.getinfo(name)
            if info.file_size > MAX_FILE_BYTES or info.file_size > ZIP_RATIO * max(info.compress_size, 4096):
                raise _too_large()
            with archive.open(info) as file:
                return file.read(info.file_size if at_most is None else at_most)
        except UnusableInput:
            raise
        except Exception as error:  # zipfile raises many unrelated classes on damaged and encrypted members
            raise UnusableInput("A member of a zip must be whole and not encrypted, it cannot be read. Unpack it first.",
                                code="unreadable_file") from error

    def _part(self, place: str) -> Path | bytes:
        return self.read(place) if INSIDE in place or self.root.is_file() else self.root / place

    def _dicom(self, places: list[str]) -> Iterator[Found]:
        heads = []
        for place in places:
            head = dicom.read_head(self._head(place), place, partial(self.read, place))
            if head is None:
                yield Found(place, {"files": [place]}, {"file": place})
            elif not head.is_image:
                self.left_out["not_an_image"] += 1
            elif self.plan.modalities and head.modality not in self.plan.modalities:
                self.left_out["other_modality"] += 1
            elif not within(head.day, self.plan):
                self.left_out["other_period"] += 1
            else:
                heads.append(head)
        yield from dicom.gather(heads, self.read, self.left_out)

    def _head(self, place: str) -> bytes:
        if INSIDE in place:
            return self._member(place, dicom.HEAD_BYTES)
        with (self.root if self.root.is_file() else self.root / place).open("rb") as file:
            return file.read(dicom.HEAD_BYTES)

    def _image(self, where: Json) -> Opened:
        place = where["image"]
        if INSIDE in place:
            volume = read_raster(self.read(place))
        else:
            path = self.root if self.root.is_file() else self.root / place
            volume = read_nifti(path) if kind_of(path) == "nifti" else read_raster(path)
        return Opened(with_header(volume, where.get("stated", {})))

    def _told(self, attributes: Json) -> Json:
        """Return attributes of a table as rows tell them: the oldest as one group, places by words of the key."""
        told = dict(attributes)
        if "age_years" in told:
            told["age_years"] = told_age(told["age_years"])
        for name in ("station", "institution"):
            if name in told:
                told[name] = dicom.coded(name, told[name], self.naming)
        return {name: value for name, value in told.items() if value is not None}

    def _needs(self) -> fhir_files.Needs:
        return fhir_files.needs_of(self.plan)


def with_header(volume: Volume, stated: Json) -> Volume:
    """Return a picture with what its table states, so that a release can refuse by it as by a DICOM header."""
    names = ("modality", "body_part", "view", "age_years", "sex", "manufacturer")
    return replace(volume, header=replace(volume.header, **{name: stated[name] for name in names if name in stated}))


def within(day: str, plan: Plan) -> bool:
    """Tell whether a day (YYYYMMDD) is in the period asked for; one that is not stated is not."""
    if not (plan.since or plan.until):
        return True
    known = day[:8].isdecimal() and len(day) >= 8
    return known and plan.since.replace("-", "") <= day[:8] <= (plan.until.replace("-", "") or "99991231")


def _stated(line: Line) -> Json:
    return {name: value for name, value in line.attributes.items() if hasattr(Header(), name)}


def _kind(path: Path) -> str:
    try:
        return kind_of(path)
    except UnusableInput as error:
        return "unreadable" if error.code == "unreadable_file" else "other"


def _kind_of_bytes(start: bytes) -> str:
    """Tell the kind of a zip's member; text is told by how it begins."""
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "raster"
    return "json" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) else "other"


def _too_large() -> UnusableInput:
    return UnusableInput(f"A file may hold {MAX_FILE_BYTES:,} bytes, found one that holds or unpacks to more. Leave it out.",
                         code="too_large")


