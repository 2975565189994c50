"""dicomweb-client, which nobody here wrote: it stores, searches and retrieves, and finds what it sent unchanged."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pydicom
import pytest
from dicomweb_client.api import DICOMwebClient
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels
from tests.service.dicom.web_house import listening, opened

PACKED = (RLELossless, JPEGLSLossless, JPEG2000Lossless)


def packed(number: int, syntax: Any) -> Dataset:
    """A radiograph in a study of its own, compressed."""
    dataset = radiograph_dataset(SOPInstanceUID=f"1.2.5.{number}", SeriesInstanceUID=f"1.2.4.{number}",
                                 StudyInstanceUID=f"1.2.3.{number}", PatientID=f"P{number}")
    dataset.compress(syntax, generate_instance_uid=False)
    return pydicom.dcmread(io.BytesIO(dicom_bytes(dataset, syntax=syntax)))


@pytest.fixture(scope="module")
def sent() -> list[Dataset]:
    plain = [pydicom.dcmread(io.BytesIO(dicom_bytes(one))) for one in (*mr_series(), radiograph_dataset())]
    return plain + [packed(number, syntax) for number, syntax in enumerate(PACKED)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, sent: list[Dataset]) -> Iterator[DICOMwebClient]:
    with opened(tmp_path_factory.mktemp("peer")) as house, listening(house) as address:
        client = DICOMwebClient(f"{address}/dicom-web")
        report = client.store_instances(sent)
        assert len(sent) == len(report.ReferencedSOPSequence)
        assert "FailedSOPSequence" not in report
        yield client


def names(one: Dataset) -> tuple[str, str, str]:
    return one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID


def test_every_object_comes_back_identical(client: DICOMwebClient, sent: list[Dataset]) -> None:
    back = [client.retrieve_instance(*names(one)) for one in sent]

    assert [one.file_meta.TransferSyntaxUID for one in sent] == [one.file_meta.TransferSyntaxUID for one in back]
    assert all(theirs == ours for theirs, ours in zip(sent, back, strict=True))


def test_a_series_and_a_study_come_back_whole(client: DICOMwebClient, sent: list[Dataset]) -> None:
    study, series, _ = names(sent[0])

    assert (12, 13) == (len(client.retrieve_series(study, series)), len(client.retrieve_study(study)))


def test_studies_series_and_instances_are_found(client: DICOMwebClient, sent: list[Dataset]) -> None:
    study = sent[0].StudyInstanceUID

    assert 1 + len(PACKED) == len(client.search_for_studies())
    assert ["CANARI-0001"] == [one["00100020"]["Value"][0] for one in client.search_for_studies(
        search_filters={"PatientID": "CANARI*", "PatientName": "canari^*"}, fields=["PatientName", "00100040"])]
    assert ["DX", "MR"] == sorted(one["00080060"]["Value"][0] for one in client.search_for_series(study))
    assert 12 == len(client.search_for_instances(search_filters={"Modality": "MR"}, limit=20))
    assert [] == client.search_for_studies(search_filters={"PatientID": "nobody"})


def test_metadata_is_the_header_and_leads_to_the_pixels(client: DICOMwebClient, sent: list[Dataset]) -> None:
    metadata = client.retrieve_instance_metadata(*names(sent[0]))

    header = Dataset.from_json({tag: value for tag, value in metadata.items() if "BulkDataURI" not in value})
    assert all(header[element.tag].value == element.value for element in sent[0] if element.keyword != "PixelData")
    path = urlsplit(metadata["7FE00010"]["BulkDataURI"]).path  # the client sends a Host without its port, and we answer with that
    (pixels,) = client.retrieve_bulkdata(client.base_url.removesuffix("/dicom-web") + path)
    assert sent[0].PixelData == pixels
    assert 13 == len(client.retrieve_study_metadata(sent[0].StudyInstanceUID))
    assert json.dumps(metadata, allow_nan=False)


@pytest.mark.parametrize("media_types", [None, (("application/octet-stream", "1.2.840.10008.1.2.1"),)])
def test_frames_are_the_pixels_whatever_they_were_stored_in(client: DICOMwebClient, sent: list[Dataset], media_types: Any) -> None:
    frames = [client.retrieve_instance_frames(*names(one), frame_numbers=[1], media_types=media_types)[0] for one in sent]

    assert [one.PixelData for one in sent[:13]] == frames[:13]
    assert {radiograph_pixels().tobytes()} == {bytes(frame) for frame in frames[13:]}


def test_frames_come_as_stored_when_asked_for(client: DICOMwebClient, sent: list[Dataset]) -> None:
    (frame,) = client.retrieve_instance_frames(*names(sent[14]), frame_numbers=[1], media_types=(("image/jls", str(JPEGLSLossless)),))

    assert frame in sent[14].PixelData
    assert frame.startswith(b"\xff\xd8\xff\xf7")


@pytest.mark.parametrize(("kind", "name"), [("image/png", "PNG"), ("image/jpeg", "JPEG")])
def test_pictures_are_what_was_drawn(client: DICOMwebClient, sent: list[Dataset], kind: str, name: str) -> None:
    whole = Image.open(io.BytesIO(client.retrieve_instance_rendered(*names(sent[15]), media_types=(kind,))))
    frame = Image.open(io.BytesIO(client.retrieve_instance_frames_rendered(*names(sent[12]), frame_numbers=[1], media_types=(kind,))))

    assert [name, name] == [whole.format, frame.format]
    for image in (whole, frame):
        assert np.abs(np.asarray(image).astype(int) - radiograph_pixels()).mean() < (0.01 if kind == "image/png" else 3)


def test_storing_again_is_harmless(client: DICOMwebClient, sent: list[Dataset]) -> None:
    report = client.store_instances(sent[:3], study_instance_uid=sent[0].StudyInstanceUID)

    assert 3 == len(report.ReferencedSOPSequence)
    assert 13 == len(client.search_for_instances(sent[0].StudyInstanceUID))
