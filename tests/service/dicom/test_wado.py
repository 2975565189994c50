"""WADO-RS: what was stored comes back as it was, described, frame by frame, and as a picture."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from tests.make import dicom_bytes, mr_series, radiograph_dataset, radiograph_pixels
from tests.service.dicom.web_house import RELATED, WebHouse, opened, related

STUDY = "1.2.826.0.1.3680043.8.498.2026.1"
MR = "1.2.826.0.1.3680043.8.498.2026.2.2"
SLICE = f"{STUDY}/series/{MR}/instances/1.2.826.0.1.3680043.8.498.2026.3.2.1"
EXPLICIT, IMPLICIT, RLE = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.2.5"
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'


def cine() -> Dataset:
    """A colour object of three frames, two rows of four pixels each."""
    dataset = radiograph_dataset(SOPInstanceUID="1.2.5.30", SeriesInstanceUID="1.2.4.30", StudyInstanceUID="1.2.3.30")
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7.4"
    dataset.Modality, dataset.NumberOfFrames, dataset.SamplesPerPixel, dataset.PlanarConfiguration = "OT", 3, 3, 0
    dataset.PhotometricInterpretation, dataset.Rows, dataset.Columns = "RGB", 2, 4
    dataset.PixelData = bytes(range(72))
    return dataset


def packed() -> bytes:
    """A radiograph in RLE."""
    dataset = radiograph_dataset(SOPInstanceUID="1.2.5.31", SeriesInstanceUID="1.2.4.31", StudyInstanceUID="1.2.3.31")
    dataset.compress(RLELossless, generate_instance_uid=False)
    return dicom_bytes(dataset, syntax=RLELossless)


def swapped() -> bytes:
    dataset = mr_series(SeriesInstanceUID="1.2.4.32", StudyInstanceUID="1.2.3.32", SOPInstanceUID="1.2.5.32")[3]
    little = np.frombuffer(dataset.PixelData, "<i2")
    dataset.PixelData = little.astype(">i2").tobytes()
    return dicom_bytes(dataset, syntax=ExplicitVRBigEndian)


def odd() -> Dataset:
    """An object with private, long, nested and impossible values."""
    dataset = radiograph_dataset(SOPInstanceUID="1.2.5.33", SeriesInstanceUID="1.2.4.33", StudyInstanceUID="1.2.3.33")
    dataset.add_new(0x00091010, "OB", bytes(2000))
    dataset.add_new(0x00091011, "UN", b"short")
    dataset.add_new(0x00189074, "DT", "CANARY-NO-DATE")
    item = Dataset()
    item.add_new(0x00091010, "OW", bytes(range(200)) * 10)
    dataset.IconImageSequence = [item]
    dataset.add_new(0x00189098, "FD", [float("nan")])
    return dataset


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHouse]:
    with opened(tmp_path_factory.mktemp("wado")) as house:
        house.send([*mr_series(), cine(), odd()])
        answer = house.client.post("/dicom-web/studies", content=related([packed(), swapped()]), headers=RELATED)
        assert 200 == answer.status_code, answer.text
        yield house


def parts_of(answer: Any) -> list[tuple[str, bytes]]:
    """The parts of a multipart answer: content type and content."""
    assert 200 == answer.status_code, answer.text
    mark = b"--" + answer.headers["content-type"].rsplit("boundary=", 1)[1].encode()
    first, *pieces, last = answer.content.split(mark)
    assert (b"", b"--\r\n") == (first, last)
    heads = [piece.removesuffix(b"\r\n").split(b"\r\n\r\n", 1) for piece in pieces]
    return [(head.split(b"Content-Type: ")[1].split(b"\r\n")[0].decode(), data) for head, data in heads]


def get(web: WebHouse, address: str, accept: str = "*/*") -> Any:
    return web.client.get(f"/dicom-web/studies/{address}", headers={"accept": accept})


@pytest.mark.parametrize(("address", "count"), [(STUDY, 12), (f"{STUDY}/series/{MR}", 12), (SLICE, 1)])
def test_objects_come_back_as_they_were_sent(web: WebHouse, address: str, count: int) -> None:
    parts = parts_of(get(web, address, AS_STORED))

    sent = {one.SOPInstanceUID: one for one in mr_series()}
    back = [pydicom.dcmread(io.BytesIO(data)) for _, data in parts]
    assert count == len(back)
    assert all(sent[one.SOPInstanceUID] == one for one in back)
    assert {f"application/dicom; transfer-syntax={EXPLICIT}"} == {kind for kind, _ in parts}


def test_one_object_comes_by_itself_when_asked_for(web: WebHouse) -> None:
    answer = get(web, SLICE, "application/dicom")

    assert f"application/dicom; transfer-syntax={EXPLICIT}" == answer.headers["content-type"]
    assert mr_series()[0] == pydicom.dcmread(io.BytesIO(answer.content))


def test_a_compressed_object_is_unpacked_unless_it_is_wanted_as_stored(web: WebHouse) -> None:
    (plain_kind, plain), = parts_of(get(web, "1.2.3.31", 'multipart/related; type="application/dicom"'))
    (stored_kind, stored), = parts_of(get(web, "1.2.3.31", AS_STORED))
    (named_kind, named), = parts_of(get(web, "1.2.3.31", AS_STORED.replace("*", RLE)))

    assert (EXPLICIT in plain_kind, RLE in stored_kind, RLE in named_kind) == (True, True, True)
    assert radiograph_pixels().tobytes() == pydicom.dcmread(io.BytesIO(plain)).PixelData
    assert stored == named
    assert pydicom.dcmread(io.BytesIO(packed())) == pydicom.dcmread(io.BytesIO(stored))


def test_big_endian_is_turned_round(web: WebHouse) -> None:
    (_, plain), = parts_of(get(web, "1.2.3.32", 'multipart/related; type="application/dicom"'))

    assert mr_series()[3].PixelData == pydicom.dcmread(io.BytesIO(plain)).PixelData


@pytest.mark.parametrize(("address", "accept"), [
    (SLICE, "text/html"), (SLICE, 'multipart/related; type="application/dicom+xml"'),
    (SLICE, f'multipart/related; type="application/dicom"; transfer-syntax={RLE}'), (STUDY, "application/dicom"),
    (f"{SLICE}/frames/1", "image/jls"),
    (f"{SLICE}/frames/1", f'multipart/related; type="application/octet-stream"; transfer-syntax={RLE}'),
    (f"{SLICE}/metadata", "application/dicom+xml"), (f"{SLICE}/rendered", "image/gif"), (f"{SLICE}/bulkdata/7FE00010", "image/png"),
])
def test_what_cannot_be_given_is_not_given(web: WebHouse, address: str, accept: str) -> None:
    assert (406, "not_acceptable") == ((answer := get(web, address, accept)).status_code, answer.json()["code"])


@pytest.mark.parametrize("address", [
    "1.2.99", f"{STUDY}/series/1.2.99", f"{STUDY}/series/{MR}/instances/1.2.99", "1.2.99/metadata", f"{SLICE}/frames/2",
    f"{SLICE}/frames/0", f"{SLICE}/bulkdata/00100010", f"{SLICE}/bulkdata/x", f"{SLICE}/bulkdata/00081140.5.00081150",
    f"1.2.3.30/series/{MR}/instances/1.2.826.0.1.3680043.8.498.2026.3.2.1",
])
def test_what_is_not_there_is_not_found(web: WebHouse, address: str) -> None:
    assert (404, "not_found") == ((answer := get(web, address)).status_code, answer.json()["code"])


@pytest.mark.parametrize("address", [
    f"{SLICE}/frames/x", f"{SLICE}/frames/1,,1", "1.2.x", "1" * 65, f"{SLICE}/frames/" + "1," * 1001 + "1",
    f"{SLICE}/rendered?window=1,2", f"{SLICE}/rendered?viewport=0,0", f"{SLICE}/rendered?nonsense=1",
    f"{SLICE}/rendered?quality=101", f"{SLICE}/rendered?window=nan,1,linear", f"{SLICE}/rendered?viewport=8,8,100,100,5,5",
])
def test_what_makes_no_sense_is_refused(web: WebHouse, address: str) -> None:
    assert 400 == get(web, address).status_code


def test_metadata_describes_every_instance(web: WebHouse) -> None:
    found = get(web, f"{STUDY}/metadata").json()

    assert {one.SOPInstanceUID for one in mr_series()} == {one["00080018"]["Value"][0] for one in found}
    first = next(one for one in found if one["00080018"]["Value"] == [SLICE.rsplit("/", 1)[1]])
    assert [24] == first["00280010"]["Value"]
    assert [EXPLICIT] == first["00083002"]["Value"]
    assert first["7FE00010"]["BulkDataURI"].endswith(f"{SLICE}/bulkdata/7FE00010")
    assert list(first) == sorted(first)


def test_metadata_leaves_long_values_behind_addresses_that_give_them(web: WebHouse) -> None:
    (found,) = get(web, "1.2.3.33/metadata").json()

    outer, inner = found["00091010"]["BulkDataURI"], found["00880200"]["Value"][0]["00091010"]["BulkDataURI"]
    assert bytes(2000) == web.client.get(outer, headers={"accept": "application/octet-stream"}).content
    assert bytes(range(200)) * 10 == parts_of(web.client.get(inner))[0][1]
    assert "InlineBinary" in found["00091011"]
    assert {"vr": "FD"} == found["00189098"]


@pytest.mark.parametrize("accept", [
    "*/*", 'multipart/related; type="application/octet-stream"', 'multipart/related; type="*/*", */*;q=0.1',
    f'multipart/related; type="application/octet-stream"; transfer-syntax={EXPLICIT}',
    "multipart/related; type=application/octet-stream; transfer-syntax=*",
])
def test_frames_are_the_stored_bytes(web: WebHouse, accept: str) -> None:
    ((kind, frame),) = parts_of(get(web, f"{SLICE}/frames/1", accept))

    assert mr_series()[0].PixelData == frame
    assert f"application/octet-stream; transfer-syntax={EXPLICIT}" == kind


def test_frames_come_in_the_order_asked_for(web: WebHouse) -> None:
    parts = parts_of(get(web, "1.2.3.30/series/1.2.4.30/instances/1.2.5.30/frames/3,1"))

    assert [bytes(range(48, 72)), bytes(range(24))] == [frame for _, frame in parts]


def test_one_frame_comes_by_itself_when_asked_for(web: WebHouse) -> None:
    assert mr_series()[0].PixelData == get(web, f"{SLICE}/frames/1", "application/octet-stream").content


def test_compressed_frames_come_unpacked_or_as_stored(web: WebHouse) -> None:
    address = "1.2.3.31/series/1.2.4.31/instances/1.2.5.31/frames/1"
    ((_, plain),) = parts_of(get(web, address))
    ((kind, stored),) = parts_of(get(web, address, f'multipart/related; type="image/dicom-rle"; transfer-syntax={RLE}'))

    assert radiograph_pixels().tobytes() == plain
    assert f"image/dicom-rle; transfer-syntax={RLE}" == kind
    sent = pydicom.dcmread(io.BytesIO(packed())).PixelData
    assert sent == encapsulate([stored], has_bot=True)


def test_big_endian_frames_come_little(web: WebHouse) -> None:
    ((_, frame),) = parts_of(get(web, "1.2.3.32/series/1.2.4.32/instances/1.2.5.32/frames/1"))

    assert mr_series()[3].PixelData == frame


def picture(answer: Any) -> Image.Image:
    assert 200 == answer.status_code, answer.text
    return Image.open(io.BytesIO(answer.content))


def test_a_rendered_image_is_a_jpeg_or_a_png(web: WebHouse) -> None:
    kinds = [picture(get(web, f"{SLICE}/rendered", accept)).format for accept in ("*/*", "image/png", "image/jpeg", "image/*")]

    assert ["JPEG", "PNG", "JPEG", "JPEG"] == kinds


def test_a_window_is_applied_to_the_values(web: WebHouse) -> None:
    image = np.asarray(picture(get(web, f"{SLICE}/rendered?window=40,80,linear-exact", "image/png")))

    values = np.frombuffer(mr_series()[0].PixelData, "<i2").reshape(24, 20)
    assert np.array_equal(np.rint(np.clip((values - 40) / 80 + 0.5, 0, 1) * 255), image)


def test_a_viewport_cuts_and_scales(web: WebHouse) -> None:
    asked = ("40,40", "10,100", "16,16,2,2,8,8", "20,24,,,,")
    sizes = [picture(get(web, f"{SLICE}/rendered?viewport={one}", "image/png")).size for one in asked]

    assert [(33, 40), (10, 12), (16, 16), (20, 24)] == sizes


def test_a_frame_of_colour_is_rendered_in_colour(web: WebHouse) -> None:
    image = picture(get(web, "1.2.3.30/series/1.2.4.30/instances/1.2.5.30/frames/2/rendered", "image/png"))

    assert np.array_equal(np.frombuffer(bytes(range(24, 48)), np.uint8).reshape(2, 4, 3), np.asarray(image))


def test_several_frames_are_rendered_as_several_parts(web: WebHouse) -> None:
    address = "1.2.3.30/series/1.2.4.30/instances/1.2.5.30/frames/3,1/rendered"
    parts = parts_of(get(web, address, 'multipart/related; type="image/png"'))

    assert ["image/png"] * 2 == [kind for kind, _ in parts]
    assert [48, 0] == [np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0] for _, data in parts]


@pytest.mark.parametrize("address", [STUDY, f"{STUDY}/series/{MR}", SLICE, f"{SLICE}/frames/1"])
def test_a_thumbnail_is_small(web: WebHouse, address: str) -> None:
    assert 128 == max(picture(get(web, f"{address}/thumbnail")).size)


def test_an_implicit_object_is_given_explicit(web: WebHouse) -> None:
    data = dicom_bytes(radiograph_dataset(SOPInstanceUID="1.2.5.40", StudyInstanceUID="1.2.3.40"), syntax=ImplicitVRLittleEndian)
    web.client.post("/dicom-web/studies", content=data, headers={"content-type": "application/dicom"})

    kinds = [parts_of(get(web, "1.2.3.40", accept))[0][0] for accept in ("*/*", AS_STORED)]

    assert [EXPLICIT, IMPLICIT] == [kind.rsplit("=", 1)[1] for kind in kinds]
