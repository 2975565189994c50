"""Any file or folder a person may hold → Volume or Record, told by its content and never by its name."""

from __future__ import annotations

from pathlib import Path

from models.errors import UnusableInput
from models.read_dicom import group_instances, read_dicom
from models.read_fhir import parse, read_bundle, record_of
from models.read_image import read_nifti, read_raster
from models.read_table import read_table
from models.record import Record
from models.volume import Volume

Input = Volume | Record
MAX_TEXT_BYTES = 64_000_000
MAX_FILES = 20_000


def read_any(path: Path) -> Input | list[Input]:
    """Read a DICOM, NIfTI, PNG, JPEG, FHIR JSON or CSV file as one case, a folder as the list of its cases.

    In a folder, DICOM files are grouped into series first; hidden files are passed over. Raises UnusableInput for a
    file that is none of these.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    kind = kind_of(path)
    if kind == "dicom":
        return read_dicom([path])
    if kind == "nifti":
        return read_nifti(path)
    if kind == "raster":
        return read_raster(path)
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise UnusableInput(
            f"A text file may hold {MAX_TEXT_BYTES:,} bytes, found more. Send one stay a file.", code="too_large"
        )
    return _read_json(path.read_bytes()) if kind == "json" else read_table(path.read_bytes())


def _read_json(content: bytes) -> Record:
    """Read a Bundle about one stay; or about nobody's stay, as from home, when it holds no Encounter."""
    bundle = parse(content)
    try:
        return record_of(bundle)
    except UnusableInput as error:
        if error.code != "no_single_stay" or read_bundle(bundle).stay:
            raise
    return read_bundle(bundle, encounter=None, strict=True).record


def read_folder(folder: Path) -> list[Input]:
    """Read every case of a folder and its folders, in the order of file names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    if len(files) > MAX_FILES:
        raise UnusableInput(
            f"A folder may hold {MAX_FILES:,} files, found more. Send fewer series at once.", code="too_many_files"
        )
    dicom = [path for path in files if kind_of(path) == "dicom"]
    cases: list[Input] = [read_dicom(group) for group in group_instances(dicom)]
    for path in files:
        if path not in dicom:
            one = read_any(path)
            cases += one if isinstance(one, list) else [one]
    return cases


def kind_of(path: Path) -> str:
    """Return dicom, nifti, raster, json or csv, by the first bytes. Raises UnusableInput for anything else."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise UnusableInput(
            "The file could not be read from disk. Check that it exists and may be read.", code="unreadable_file"
        ) from error
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith((b"\x89PNG", b"\xff\xd8\xff")):
        return "raster"
    if start.startswith(b"\x1f\x8b") or start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2"):
        return "nifti"
    words = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if words.startswith((b"{", b"[")):
        return "json"
    if words and b"\0" not in start:
        return "csv"
    raise UnusableInput(
        "The file must be DICOM, NIfTI, PNG, JPEG, FHIR JSON or CSV, found none of these.", code="unknown_kind"
    )
