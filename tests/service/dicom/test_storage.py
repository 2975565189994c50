"""What we say we take: images and nothing else, and no transfer syntax that is not decoded."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import UID

from models.read_dicom import read_dicom
from service.dicom.storage import IMAGE_CLASSES, TRANSFER_SYNTAXES
from tests.make import dicom_bytes
from tests.make_receiver import radiograph

# 16 x 16 pixels of value 16 x + y as High-Throughput JPEG 2000 by OpenJPH 0.26, which we have no encoder of: reversible, and not.
LOSSLESS = (
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABBwEB/1AACAACAAAAAv9SAAwAAgABAAUEBEAB/1wAEyBIUFBQUFBQUFBQUFBQSEhI"
    "/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAF4AAf+TwCXjAId0AADAEsASgCIBh3QA8ADHdADAE0ASABDIAQJ0AIgTUwDAFRAEoIZhGKpwgnUA"
    "4sfstADAKyATgO7u7u7nwKenp8J4AAD9g666lgD/2Q=="
)
LOSSY = (
    "/0//UQApQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAABBwEB/1AACAACAAAAIP9SAAwAAgABAAUEBEAA/1wAIyJhqWGLYYthblmZWZlZhlHL"
    "UctR2kpCSkJKlkIgQiBB2P9kABcAAU9wZW5KUEggVmVyIDAuMjYuMy7/kAAKAAAAAABlAAH/k8AEwGn8Aod0AADACaAEoOb+Agd0AOwAB3QAwBUQBICDgdH4"
    "AIK0AKoTUwDAK6ASgPYcltnnMPZDJLAKm3cA8MA6lADAWiAkAAlAApAAXBJdkuyXUVkaAP/Z"
)


@pytest.mark.parametrize(("syntax", "stream", "off_by"), [("201", LOSSLESS, 0), ("202", LOSSLESS, 0), ("203", LOSSY, 1)])
def test_high_throughput_jpeg_2000_is_decoded(syntax: str, stream: str, off_by: int) -> None:
    pixels = encapsulate([base64.b64decode(stream)])
    dataset = radiograph(Rows=16, Columns=16, PixelData=pixels)
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    voxels = read_dicom([dicom_bytes(dataset, syntax=UID(f"1.2.840.10008.1.2.4.{syntax}"))]).voxels
    y, x = np.mgrid[0:16, 0:16]
    assert np.abs(voxels[0] - (16 * x + y)).max() <= off_by


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES, ids=TRANSFER_SYNTAXES.get)
def test_a_decoder_is_installed(syntax: str) -> None:
    assert get_decoder(UID(syntax)).is_available


def test_images_are_taken_and_reports_films_and_motion_pictures_are_not() -> None:
    names = set(IMAGE_CLASSES.values())
    others = ("SR", "Video", "Segmentation", "Presentation State", "Hardcopy")
    assert {"CT Image Storage", "Enhanced MR Image Storage", "Secondary Capture Image Storage"} <= names
    assert set() == {name for name in names if any(word in name for word in others)}
    assert "Ultrasound Image Storage (retired)" in names
    assert 50 < len(IMAGE_CLASSES) < 80
