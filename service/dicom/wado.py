"""WADO-RS (PS3.18, 10.4): objects, their metadata, frames and bulk data, as stored or as explicit little endian."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pydicom
from pydicom.dataset import FileDataset
from pydicom.encaps import generate_frames
from pydicom.uid import UID, ExplicitVRLittleEndian
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from models.dicom_bytes import BIG_ENDIAN
from models.errors import UnusableInput
from service.decode import Decoder
from service.dicom import accept
from service.dicom.dicomjson import bulk_value, json_of
from service.dicom.multipart import multipart_type, new_boundary, written
from service.dicom.rendered import THUMBNAIL, TYPES, Wish, read_wish, render
from service.dicom.stow import root_of
from service.logs import where
from service.problem import ProblemError
from service.store.query import get_instances
from service.store.store import Store
from service.store.tables import Instance

log = logging.getLogger("diaphane")
EXPLICIT = str(ExplicitVRLittleEndian)
NATIVE = frozenset((EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"))  # pixels lie there as the answer wants them
_WORDS = {"OW": "u2", "OF": "u4", "OL": "u4", "OD": "u8", "OV": "u8"}
# How frames of a transfer syntax travel as they are stored (PS3.18, table 8.7.3-5).
FRAME_TYPES: dict[str, str] = {
    "1.2.840.10008.1.2.4.50": "image/jpeg", "1.2.840.10008.1.2.4.57": "image/jpeg", "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls", "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2", "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc", "1.2.840.10008.1.2.4.202": "image/jphc", "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
MAX_FRAMES = 1_000  # in one request
HEADERS = {"cache-control": "no-store", "vary": "accept"}
T = TypeVar("T")


@dataclass(frozen=True)
class Wado:
    """The store and the process that decodes for it; ``decoding`` bounds how many threads wait for that."""

    store: Store
    decoder: Decoder
    decoding: asyncio.Semaphore

    async def retrieve(self, request: Request) -> Response:
        """Answer GET of a study, a series or an instance: multipart, or the one object by itself."""
        rows = await in_thread(self.rows, request)
        single, syntax = _objects_wanted(request, rows)
        if single:
            data, kind = await self._in_turn(self._object, rows[0], syntax)
            return Response(data, 200, HEADERS, kind)
        boundary = new_boundary()

        async def parts() -> AsyncIterator[tuple[str, bytes]]:
            for row in rows:
                data, kind = await self._in_turn(self._object, row, syntax)
                yield kind, data

        return StreamingResponse(written(parts(), boundary), 200, HEADERS, multipart_type(boundary, accept.DICOM))

    async def metadata(self, request: Request) -> Response:
        """Answer GET …/metadata: DICOM JSON, large values behind addresses."""
        accept.choose(request, (accept.JSON, accept.PLAIN_JSON))
        rows = await in_thread(self.rows, request)
        root = root_of(request)

        async def pieces() -> AsyncIterator[bytes]:
            for place, row in enumerate(rows):
                yield (b"," if place else b"[") + await in_thread(self._metadata, row, root)
            yield b"]"

        return StreamingResponse(pieces(), 200, HEADERS, accept.JSON)

    async def frames(self, request: Request) -> Response:
        """Answer GET …/frames/{list}: stored values, uncompressed or as they are stored."""
        row = (await in_thread(self.rows, request))[0]
        numbers = frame_numbers(request.path_params["frames"], row)
        single, stored = _frames_wanted(request, row, len(numbers))
        found = await self._in_turn(self._frames, row, numbers, stored)
        inner = FRAME_TYPES[row.transfer_syntax] if stored else accept.OCTETS
        syntax = row.transfer_syntax if stored else EXPLICIT
        return _several(found, f"{inner}; transfer-syntax={syntax}", inner, single)

    async def bulkdata(self, request: Request) -> Response:
        """Answer GET …/bulkdata/{path}: one value as it is stored."""
        row = (await in_thread(self.rows, request))[0]
        wish = accept.accepted(request)[0]
        if wish.inner not in ("*/*", "application/*", accept.OCTETS):
            raise accept.not_acceptable((accept.OCTETS,))
        data = await in_thread(self.store.objects.get, row.sha256)
        value = await in_thread(lambda: bulk_value(parsed(data), request.path_params["path"]))
        return _several([value], accept.OCTETS, accept.OCTETS, wish.name == accept.OCTETS)

    async def rendered(self, request: Request) -> Response:
        """Answer GET …/rendered of an instance, its first frame, or of frames: one by itself, several as a multipart."""
        row = (await in_thread(self.rows, request))[0]
        numbers = frame_numbers(request.path_params.get("frames", "1"), row)
        return await self._rendered(request, row, numbers, read_wish(request.query_params))

    async def thumbnail(self, request: Request) -> Response:
        """Answer GET …/thumbnail of a study, series, instance or frame: from its middle, small."""
        rows = await in_thread(self.rows, request)
        row = rows[len(rows) // 2]
        named, wish = request.path_params.get("frames"), read_wish(request.query_params)
        numbers = frame_numbers(named, row)[:1] if named else [(_frame_count(row) + 1) // 2]
        return await self._rendered(request, row, numbers, replace(wish, viewport=wish.viewport or (THUMBNAIL, THUMBNAIL)))

    async def _rendered(self, request: Request, row: Instance, numbers: list[int], wish: Wish) -> Response:
        kind = accept.choose(request, TYPES)

        def work(number: int) -> bytes:
            return render(self.store.objects.get(row.sha256), header(self.store, row), number, wish, kind, self.decoder)

        if len(numbers) == 1:
            return Response(await self._in_turn(work, numbers[0]), 200, HEADERS, kind)
        boundary = new_boundary()

        async def parts() -> AsyncIterator[tuple[str, bytes]]:
            for number in numbers:
                yield kind, await self._in_turn(work, number)

        return StreamingResponse(written(parts(), boundary), 200, HEADERS, multipart_type(boundary, kind))

    async def _in_turn(self, work: Callable[..., T], *given: Any) -> T:
        async with self.decoding:
            return await in_thread(work, *given)

    def rows(self, request: Request) -> list[Instance]:
        """Return what an address names. Raises ProblemError (404)."""
        named = request.path_params
        rows = get_instances(self.store, named["study"], named.get("series"), named.get("instance"))
        if not rows:
            raise ProblemError("not_found", "There is no such object here. GET /dicom-web/studies lists what there is.")
        return rows

    def _object(self, row: Instance, syntax: str) -> tuple[bytes, str]:
        """Return a file and its type; in explicit little endian when asked for and it can be decoded, else as stored."""
        data, now = self.store.objects.get(row.sha256), row.transfer_syntax
        if syntax == EXPLICIT and now != EXPLICIT:
            try:
                data, now = plain(data, self.decoder), EXPLICIT
            except Exception as error:  # pydicom raises many unrelated classes on damaged values
                log.info("an object is given as stored: %s", where(error))  # better than nothing, and the type says what it is
        return data, f"{accept.DICOM}; transfer-syntax={now}"

    def _metadata(self, row: Instance, root: str) -> bytes:
        address = f"{root}/studies/{row.study_uid}/series/{row.series_uid}/instances/{row.sop_uid}"
        found = json_of(header(self.store, row), f"{address}/bulkdata")
        found["00083002"] = {"vr": "UI", "Value": [row.transfer_syntax]}
        if row.transfer_syntax not in FRAME_TYPES:
            found["7FE00010"] = {"vr": "OW", "BulkDataURI": f"{address}/bulkdata/7FE00010"}
        return json.dumps(dict(sorted(found.items())), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def _frames(self, row: Instance, numbers: list[int], stored: bool) -> list[bytes]:
        """Return frames. Raises UnusableInput and ProblemError when they cannot be taken out."""
        data = self.store.objects.get(row.sha256)
        try:
            if stored:
                return _encapsulated(parsed(data), numbers)
            if row.transfer_syntax in NATIVE and (cut := _cut(parsed(data), numbers)):
                return cut
            return self.decoder.frames(data, numbers).packed()
        except UnusableInput:
            raise
        except Exception as error:  # pydicom raises many unrelated classes on damaged pixels
            raise ProblemError("undecodable_pixels", "The frames could not be taken out of the object. Retrieve the object "
                                                     "as stored, with transfer-syntax=*.") from error


def header(store: Store, row: Instance) -> FileDataset:
    """Parse a file up to its pixels. It was checked when it arrived, or made here."""
    path = store.objects.path(row.sha256)
    source: Any = path if path is not None else io.BytesIO(store.objects.get(row.sha256))
    return pydicom.dcmread(source, stop_before_pixels=True)


def parsed(data: bytes) -> FileDataset:
    """Parse a whole file of the store."""
    return pydicom.dcmread(io.BytesIO(data))


def plain(data: bytes, decoder: Decoder) -> bytes:
    """Return a file in explicit little endian. Raises UnusableInput and DecoderFailed when its pixels cannot be decoded."""
    dataset = parsed(data)
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    for element in dataset.iterall():  # looked at, values are no longer bytes in the order they were stored in
        if syntax == BIG_ENDIAN and element.VR in _WORDS and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, _WORDS[element.VR]).byteswap().tobytes()
    if "PixelData" in dataset and syntax not in NATIVE:
        count = int(dataset.get("NumberOfFrames") or 1)
        frames = decoder.frames(data, list(range(1, count + 1)))
        pixels = b"".join(frames.packed())
        dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
        dataset["PixelData"].VR = "OB" if frames.bits_allocated <= 8 else "OW"
        dataset["PixelData"].is_undefined_length = False
        if dataset.get("SamplesPerPixel", 1) > 1:
            dataset.PhotometricInterpretation, dataset.PlanarConfiguration = frames.photometric, 0
    dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, implicit_vr=False, little_endian=True, force_encoding=True)
    return file.getvalue()


def frame_numbers(text: str, row: Instance) -> list[int]:
    """Read a list of frames, from 1. Raises ProblemError for another form (400) and for frames that are not (404)."""
    words = text.split(",")
    if len(words) > MAX_FRAMES or not all(word.isascii() and word.isdigit() and len(word) <= 9 for word in words):
        raise ProblemError("bad_query", f"Frames are named by up to {MAX_FRAMES:,} numbers with commas between, from 1.")
    numbers = [int(word) for word in words]
    count = _frame_count(row)
    if min(numbers) < 1 or max(numbers) > count:
        raise ProblemError("not_found", f"The object has frames 1 to {count}; another was asked for.")
    return numbers


def _frame_count(row: Instance) -> int:
    return int((row.attributes.get("00280008", {}).get("Value") or [1])[0] or 1)


def _objects_wanted(request: Request, rows: list[Instance]) -> tuple[bool, str]:
    """Return whether one object is wanted by itself, and the transfer syntax: explicit, or "*" for as stored."""
    stored = {row.transfer_syntax for row in rows}
    for wish in accept.accepted(request):
        single = wish.name in (accept.DICOM, "application/*") and len(rows) == 1
        if not single and not (wish.name in (accept.MULTIPART, "multipart/*", "*/*") and wish.inner in (accept.DICOM, "*/*")):
            continue
        syntax = wish.transfer_syntax or EXPLICIT  # the standard's default (8.7.3.5.2)
        if syntax in ("*", EXPLICIT) or stored == {syntax}:
            return single, EXPLICIT if syntax == EXPLICIT else "*"
    raise accept.not_acceptable((f'{accept.MULTIPART}; type="{accept.DICOM}"; transfer-syntax=*',
                                 f'{accept.MULTIPART}; type="{accept.DICOM}"; transfer-syntax={EXPLICIT}'))


def _frames_wanted(request: Request, row: Instance, count: int) -> tuple[bool, bool]:
    """Return whether one frame is wanted by itself, and whether as it is stored."""
    stored = FRAME_TYPES.get(row.transfer_syntax, accept.OCTETS)
    for wish in accept.accepted(request):
        single = wish.name not in (accept.MULTIPART, "multipart/*", "*/*") and count == 1
        inner, syntax = ("*/*" if wish.name == "multipart/*" else wish.inner), wish.transfer_syntax
        if not single and wish.name not in (accept.MULTIPART, "multipart/*", "*/*"):
            continue
        if stored != accept.OCTETS and inner in (stored, "*/*", "image/*") and syntax in ("*", row.transfer_syntax):
            return single, True
        if inner in (accept.OCTETS, "application/*", "*/*") and syntax in ("", "*", EXPLICIT):
            return single, False
        if inner in (stored, "image/*") and stored != accept.OCTETS and syntax == "":
            return single, True
    raise accept.not_acceptable((f'{accept.MULTIPART}; type="{accept.OCTETS}"', f'{accept.MULTIPART}; type="{stored}"; '
                                                                              f"transfer-syntax={row.transfer_syntax}"))


def _several(found: list[bytes], kind: str, inner: str, single: bool) -> Response:
    if single:
        return Response(found[0], 200, HEADERS, kind)
    boundary = new_boundary()

    async def parts() -> AsyncIterator[tuple[str, bytes]]:
        for one in found:
            yield kind, one

    return StreamingResponse(written(parts(), boundary), 200, HEADERS, multipart_type(boundary, inner))


def _cut(dataset: FileDataset, numbers: list[int]) -> list[bytes]:
    """Return frames of native pixel data as they lie there; none when they do not begin on a byte or are not whole."""
    bits = dataset.Rows * dataset.Columns * dataset.get("SamplesPerPixel", 1) * dataset.BitsAllocated
    if str(dataset.get("PhotometricInterpretation", "")) == "YBR_FULL_422":
        bits = bits * 2 // 3
    pixels, size = dataset.get("PixelData") or b"", bits // 8
    if bits % 8 or len(pixels) < size * max(numbers):
        return []
    return [pixels[size * (number - 1) : size * number] for number in numbers]


def _encapsulated(dataset: FileDataset, numbers: list[int]) -> list[bytes]:
    """Return frames as their codestreams lie there. Raises KeyError when one is missing."""
    count, wanted = int(dataset.get("NumberOfFrames") or 1), set(numbers)
    frames = enumerate(generate_frames(dataset.PixelData, number_of_frames=count), 1)
    found = {number: frame for number, frame in frames if number in wanted}
    return [found[number] for number in numbers]


async def in_thread(work: Callable[..., T], *given: Any) -> T:
    """Run what blocks beside the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, partial(work, *given))
