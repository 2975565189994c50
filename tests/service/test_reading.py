"""Reading of a request's images: compressed ones elsewhere, so that what kills a decoder does not kill the service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from pydicom.uid import RLELossless

from models.errors import UnusableInput
from models.read_dicom import read_dicom
from models.volume import Volume
from service.decode import Decoder, DecoderFailed
from service.reading import Reading
from service.settings import read_settings
from tests.make import dicom_bytes, radiograph_dataset
from tests.syntaxes import in_syntax


@pytest.fixture
def reading() -> Iterator[Reading]:
    opened = Reading(read_settings({}))
    yield opened
    opened.close()


@pytest.fixture
def compressed() -> bytes:
    return in_syntax(radiograph_dataset(), RLELossless)


def test_what_is_not_compressed_is_read_here(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Decoder, "read", None)
    assert reading.read([dicom_bytes(radiograph_dataset())]).shape == (1, 256, 256)


def test_compressed_images_are_the_same_image_and_one_process_serves_the_next(reading: Reading, compressed: bytes) -> None:
    for _ in range(2):
        volume = reading.read([compressed])
        assert (volume.voxels == read_dicom([compressed]).voxels).all()
    assert len(reading._idle) == 1


def test_what_kills_the_decoder_is_an_input_that_cannot_be_used(
    reading: Reading, compressed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(_: Decoder, __: Sequence[bytes]) -> Volume:
        raise DecoderFailed("was killed by SIGABRT")

    monkeypatch.setattr(Decoder, "read", dies)
    with pytest.raises(UnusableInput, match="killed by SIGABRT") as caught:
        reading.read([compressed])
    assert caught.value.code == "undecodable_pixels"
