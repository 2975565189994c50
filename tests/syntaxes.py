"""One dataset in any transfer syntax: what a sender makes of it, by encoders that are not ours."""

from __future__ import annotations

import copy
import io
import tempfile
from pathlib import Path

import gdcm
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import compress
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.make import dicom_bytes

LOSSLESS = {
    "explicit": ExplicitVRLittleEndian, "implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian, "JPEG lossless": JPEGLosslessSV1, "JPEG-LS": JPEGLSLossless,
    "JPEG 2000 lossless": JPEG2000Lossless, "RLE": RLELossless,
}


def in_syntax(dataset: Dataset, syntax: str) -> bytes:
    """Encode a dataset of uncompressed pixels as a file in another transfer syntax; the dataset stays as it was."""
    sent = copy.deepcopy(dataset)
    if syntax == JPEGLosslessSV1:
        return _by_gdcm(dicom_bytes(sent))
    if syntax == JPEGBaseline8Bit:
        picture = io.BytesIO()
        Image.fromarray(np.frombuffer(sent.PixelData, np.uint8)[: sent.Rows * sent.Columns].reshape(sent.Rows, sent.Columns)).save(
            picture, "JPEG", quality=95
        )
        sent.PixelData = encapsulate([picture.getvalue()])
        sent["PixelData"].is_undefined_length = True
    elif syntax in (JPEGLSLossless, JPEG2000Lossless, RLELossless):
        compress(sent, syntax, generate_instance_uid=False)
    elif syntax == ExplicitVRBigEndian and sent.BitsAllocated == 16:
        sent.PixelData = np.frombuffer(sent.PixelData, "<u2").astype(">u2").tobytes()
    return dicom_bytes(sent, syntax=syntax)


def _by_gdcm(data: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder, "a.dcm"), Path(folder, "b.dcm")
        there.write_bytes(data)
        reader = gdcm.ImageReader()
        reader.SetFileName(str(there))
        assert reader.Read()
        change = gdcm.ImageChangeTransferSyntax()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer = gdcm.ImageWriter()
        writer.SetFileName(str(back))
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        assert writer.Write()
        return back.read_bytes()
