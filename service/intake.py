"""Take a body apart into files in memory, within limits, before anything is decoded. Names that were sent are not used.

    bytes + content type → [Part(kind, data)]      kind: dicom | image; other content is counted and left out

A zip may not hold a zip, an encrypted member, a name that leaves its folder, more members or more bytes than allowed.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from typing import Literal

from service.problem import ProblemError
from service.settings import MIB, Settings

Kind = Literal["dicom", "image"]
ACCEPTED = (
    "application/dicom", "application/zip", "image/png", "image/jpeg", "application/octet-stream",
    "multipart/form-data", "multipart/related",
)
_ZIP_ALIASES = frozenset({"application/zip", "application/x-zip-compressed"})
_MAX_DIRECTORY_BYTES = 8 * MIB
_MAX_PART_HEADER_BYTES = 8 * 1024
_NO_BOMB_BYTES = 64 * MIB  # below this, an archive may be packed as tightly as it likes: blank images are


@dataclass(frozen=True)
class Part:
    """One file, in memory."""

    kind: Kind
    data: bytes


@dataclass(frozen=True)
class Parts:
    """What a body held: the files that may be images, and how many others were left out."""

    files: tuple[Part, ...]
    ignored: int = 0


def take_apart(body: bytes, content_type: str, settings: Settings) -> Parts:
    """Find the files of a body. Raises ProblemError saying which limit or rule was broken."""
    header = Message()
    header["content-type"] = content_type
    media_type = header.get_content_type() if content_type else "application/octet-stream"
    if media_type not in ACCEPTED and media_type not in _ZIP_ALIASES:
        raise ProblemError("unsupported_media_type", f"Send one of {', '.join(ACCEPTED)}.")
    if not body:
        raise ProblemError("empty_body", "Send a DICOM object, a zip of them, a PNG or a JPEG as the body.")
    if media_type.startswith("multipart/"):
        boundary = header.get_param("boundary", "")
        pieces = _multipart(body, boundary if isinstance(boundary, str) else "", settings.max_parts)
        declared_dicom = False
    else:
        pieces = iter([(body, media_type)])
        declared_dicom = media_type == "application/dicom"
    files: list[Part] = []
    ignored = 0
    room = settings.max_unpacked_mib * MIB
    for data, declared in pieces:
        kind = kind_of(data, declared)
        if kind == "zip":
            members, left_out = _unzip(data, settings, room)
            room -= sum(len(member.data) for member in members)
            files += members
            ignored += left_out
        elif kind == "other":
            ignored += 1
        else:
            files.append(Part(kind, data))
        if len(files) > settings.max_parts:
            raise _too_many(settings.max_parts)
    if not files:
        _raise_nothing(ignored, declared_dicom)
    return Parts(tuple(files), ignored)


def kind_of(data: bytes, declared: str = "") -> Literal["dicom", "image", "zip", "other"]:
    """Tell the kind of a file by its first bytes; ``declared`` only helps a DICOM object without a preamble."""
    if data[128:132] == b"DICM":
        return "dicom"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return "zip"
    if data[:8] == b"\x89PNG\r\n\x1a\n" or data[:3] == b"\xff\xd8\xff":
        return "image"
    return "dicom" if declared == "application/dicom" and data else "other"


def _multipart(body: bytes, boundary: str, most: int) -> Iterator[tuple[bytes, str]]:
    """Cut a multipart body (RFC 2046) into (content, content type). Part names and file names are not read."""
    if not boundary or len(boundary) > 70 or not boundary.isascii():
        raise ProblemError("bad_multipart", "A multipart content type needs a boundary of 1 to 70 characters.")
    mark = b"--" + boundary.encode()
    if not body.startswith(mark):
        start = body.find(b"\r\n" + mark, 0, _MAX_PART_HEADER_BYTES)
        if start < 0:
            raise ProblemError("bad_multipart", "The body must start with the boundary named in the content type.")
        position = start + 2 + len(mark)
    else:
        position = len(mark)
    mark = b"\r\n" + mark
    count = 0
    while not body.startswith(b"--", position):
        count += 1
        if count > most:
            raise _too_many(most)
        line_end = body.find(b"\r\n", position, position + 256)
        head_end = body.find(b"\r\n\r\n", position, position + _MAX_PART_HEADER_BYTES)
        if line_end < 0 or head_end < 0 or body[position:line_end].strip(b" \t"):
            raise ProblemError("bad_multipart", "A part must start with its headers and one empty line.")
        end = body.find(mark, head_end + 2)
        if end < 0:
            raise ProblemError("bad_multipart", "The last part must end with the boundary; the body is cut short.")
        head = body[line_end : head_end + 2]
        if re.search(rb"\r\ncontent-transfer-encoding:[ \t]*(base64|quoted-printable)", head, re.IGNORECASE):
            raise ProblemError("bad_multipart", "Parts must be sent as binary, found an encoded part.")
        declared = re.search(rb"\r\ncontent-type:[ \t]*([\w./+-]{1,100})", head, re.IGNORECASE)
        yield body[head_end + 4 : end], declared.group(1).decode().lower() if declared else ""
        position = end + len(mark)


def _unzip(data: bytes, settings: Settings, room: int) -> tuple[list[Part], int]:
    _check_directory(data, settings.max_parts)
    files: list[Part] = []
    ignored = 0
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_members(members, settings, room)
            for member in members:
                if member.filename.rsplit("/", 1)[-1].upper() == "DICOMDIR":
                    ignored += 1
                    continue
                with archive.open(member) as file:
                    content = file.read(member.file_size + 1)
                if len(content) > member.file_size:
                    raise ProblemError("bad_zip", "A member of the archive is larger than the archive says.")
                kind = kind_of(content)
                if kind == "zip":
                    raise ProblemError("bad_zip", "An archive may not hold another archive. Send the inner one.")
                if kind == "other":
                    ignored += 1
                else:
                    files.append(Part(kind, content))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError) as error:
        raise ProblemError("bad_zip", "The zip archive is damaged or of a kind that is not read here. "
                                      "Pack it again with deflate and no password.") from error
    return files, ignored


def _check_directory(data: bytes, most: int) -> None:
    """Look at the end record before the library reads the whole directory: its size is the sender's word."""
    end = data.rfind(b"PK\x05\x06", max(0, len(data) - 65_557))
    if end < 0 or len(data) < end + 22:
        raise ProblemError("bad_zip", "The zip archive is cut short: its directory is missing. Send it again.")
    if data[max(0, end - 20) : end].startswith(b"PK\x06\x07"):
        raise ProblemError("bad_zip", "Zip64 archives are not read here. Send fewer files in one archive.")
    count = int.from_bytes(data[end + 10 : end + 12], "little")
    size = int.from_bytes(data[end + 12 : end + 16], "little")
    if count > most or size > _MAX_DIRECTORY_BYTES:
        raise _too_many(most)


def _check_members(members: list[zipfile.ZipInfo], settings: Settings, room: int) -> None:
    if len(members) > settings.max_parts:
        raise _too_many(settings.max_parts)
    unpacked = sum(member.file_size for member in members)
    if unpacked > room:
        raise ProblemError("unpacked_too_large", f"An archive may unpack to {settings.max_unpacked_mib} MiB. "
                                                 "Send one series at a time.")
    packed = sum(member.compress_size for member in members)
    if unpacked > max(_NO_BOMB_BYTES, packed * settings.max_zip_ratio):
        raise ProblemError("unpacked_too_large", f"An archive may unpack to {settings.max_zip_ratio} times its size, "
                                                 "found more. Send the files themselves.")
    for member in members:
        name = member.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or ":" in name.split("/")[0]:
            raise ProblemError("bad_zip", "Names in an archive may not lead out of it, found one that does.")
        if member.flag_bits & 0x1:
            raise ProblemError("bad_zip", "The archive is encrypted. Send it without a password.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ProblemError("bad_zip", "Members must be stored or deflated. Pack the archive again.")


def _too_many(most: int) -> ProblemError:
    return ProblemError("too_many_parts", f"One request may hold {most} files, found more. Send one series at a time.")


def _raise_nothing(ignored: int, declared_dicom: bool) -> None:
    if declared_dicom:
        raise ProblemError("not_dicom", "The body must be a DICOM object.")
    if ignored:
        raise ProblemError("unknown_format", "DICOM, PNG and JPEG are read here, alone, in parts or in a zip; "
                                             "found something else.")
    raise ProblemError("nothing_to_score", "The body holds no file. Send at least one image.")
