"""What a codestream says beside its pixels goes, and nothing of it moves."""

from __future__ import annotations

import io
import struct

from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from models.deidentify.pixels import scrub


def jpeg(comment: bytes, *, j2k: bool = False) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").save(out, "JPEG2000" if j2k else "JPEG", **({"no_jp2": True} if j2k else {}))
    data = out.getvalue()
    if j2k:  # after SIZ
        length = struct.unpack_from(">H", data, 4)[0]
        return data[: 4 + length] + b"\xff\x64" + struct.pack(">HH", 4 + len(comment), 1) + comment + data[4 + length :]
    marker = b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment
    exif = b"\xff\xe1" + struct.pack(">H", 8 + len(comment)) + b"Exif\0\0" + comment
    return data[:2] + marker + exif + data[2:]


def test_comments_of_jpeg_and_jpeg_2000_are_blanked_in_place() -> None:
    for j2k in (False, True):
        frame = jpeg(b"ESSAI^CAMILLE", j2k=j2k)
        made = Dataset()
        made.PixelData = encapsulate([frame, frame])
        made["PixelData"].VR = "OB"
        size = len(made.PixelData)
        assert scrub(made, big_endian=False, encapsulated=True)
        assert b"ESSAI" not in made.PixelData
        assert size == len(made.PixelData)
        start = made.PixelData.index(frame[:4])
        with Image.open(io.BytesIO(made.PixelData[start : start + len(frame)])) as left:
            assert Image.linear_gradient("L").getpixel((7, 9)) == left.getpixel((7, 9)) or not j2k
