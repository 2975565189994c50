"""dcmtk as the modality: echoscu, storescu and dcmsend against our receiver, and storescp as the PACS we deliver to."""

from __future__ import annotations

import io
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from models.dicom_bytes import outline
from models.read_dicom import read_dicom
from service.dicom.client import Undelivered, deliver, echo
from service.dicom.storage import TRANSFER_SYNTAXES
from service.site import Peer, Site, Target
from tests.make import dicom_bytes, mr_series, needs_peer, radiograph_pixels
from tests.make_receiver import Receiving, certificates, radiograph, receiving, until, write_files

pytestmark = [needs_peer("storescu"), needs_peer("dcmsend"), needs_peer("echoscu"), needs_peer("storescp")]
# How storescu is asked to propose and send an uncompressed syntax. Not big endian: it offers both then, and we take little.
PROPOSE = {
    "1.2.840.10008.1.2.1": "-xe", "1.2.840.10008.1.2": "-xi", "1.2.840.10008.1.2.1.99": "-xd",
}
# Which program makes a compressed one from an uncompressed file, and which one that shares no code with us undoes it.
MAKE = {
    "1.2.840.10008.1.2.5": (("dcmcrle",), "dcmdrle"),
    "1.2.840.10008.1.2.4.50": (("dcmcjpeg", "+eb"), "dcmdjpeg"),
    "1.2.840.10008.1.2.4.57": (("dcmcjpeg", "+el"), "dcmdjpeg"),
    "1.2.840.10008.1.2.4.70": (("dcmcjpeg", "+e1"), "dcmdjpeg"),
    "1.2.840.10008.1.2.4.80": (("dcmcjpls", "+el"), "dcmdjpls"),
    "1.2.840.10008.1.2.4.81": (("dcmcjpls", "+en"), "dcmdjpls"),
    "1.2.840.10008.1.2.4.90": (("gdcmconv", "--j2k"), "gdcmconv --raw"),
    "1.2.840.10008.1.2.4.91": (("gdcmconv", "--j2k", "--lossy"), "gdcmconv --raw"),
}
LOSSY_MAY_DIFFER = 2.0  # grey levels of 255 between two decoders: their inverse cosine transforms round differently


def run(*command: str, expect: int | None = 0) -> str:
    """Run a program and return what it says."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert expect is None or expect == done.returncode, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def us(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiving]:
    with receiving(tmp_path_factory.mktemp("us")) as running:
        yield running


def dataset_of(file: bytes) -> bytes:
    return file[outline(file).start :]


def test_echoscu_is_answered(us: Receiving) -> None:
    assert "Received Echo Response (Success)" in run("echoscu", "-v", "-aec", "DIAPHANE", "127.0.0.1", str(us.port))


def test_echoscu_is_answered_whatever_it_proposes(us: Receiving) -> None:
    run("echoscu", "-aec", "DIAPHANE", "--propose-ts", "38", "--propose-pc", "128", "127.0.0.1", str(us.port))


def test_echoscu_by_the_wrong_name_is_told_why(us: Receiving) -> None:
    said = run("echoscu", "-aec", "OTHER", "127.0.0.1", str(us.port), expect=None)
    assert "Called AE Title Not Recognized" in said


@pytest.mark.parametrize("syntax", MAKE, ids=TRANSFER_SYNTAXES.get)
def test_a_compressed_image_arrives_untouched_and_is_decoded(tmp_path: Path, us: Receiving, syntax: str) -> None:
    (maker, *options), undo = MAKE[syntax]
    if shutil.which(maker) is None:
        pytest.skip(f"{maker} is not installed")
    plain, made, undone = (tmp_path / f"{name}.dcm" for name in ("plain", "made", "undone"))
    plain.write_bytes(dicom_bytes(drawn(100 + list(MAKE).index(syntax))))
    run(maker, *options, str(plain), str(made))
    run(*undo.split(), str(made), str(undone))
    assert syntax == pydicom.dcmread(made).file_meta.TransferSyntaxUID
    run("dcmsend", "-aec", "DIAPHANE", "--decompress-never", "127.0.0.1", str(us.port), str(made))
    kept = kept_of(us, made)
    assert pydicom.dcmread(made).PixelData == pydicom.dcmread(io.BytesIO(kept)).PixelData
    difference = np.abs(read_dicom([kept]).voxels - read_dicom([undone]).voxels)
    assert difference.max() <= (LOSSY_MAY_DIFFER if syntax[-2:] in ("50", "81", "91") else 0)


@pytest.mark.parametrize("syntax", PROPOSE, ids=TRANSFER_SYNTAXES.get)
def test_an_uncompressed_image_is_read_in_the_syntax_it_came_in(tmp_path: Path, us: Receiving, syntax: str) -> None:
    plain = tmp_path / "plain.dcm"
    plain.write_bytes(dicom_bytes(drawn(200 + list(PROPOSE).index(syntax))))
    run("storescu", PROPOSE[syntax], "-aec", "DIAPHANE", "127.0.0.1", str(us.port), str(plain))
    kept = kept_of(us, plain)
    assert syntax == outline(kept).syntax
    assert np.array_equal(read_dicom([kept]).voxels, read_dicom([plain]).voxels)


def drawn(serial: int) -> Dataset:
    dataset = radiograph(serial)
    dataset.Rows, dataset.Columns, dataset.PixelData = 64, 64, radiograph_pixels(64, 64).tobytes()
    return dataset


def kept_of(us: Receiving, path: Path) -> bytes:
    uid = str(pydicom.dcmread(path, stop_before_pixels=True).SOPInstanceUID)
    return next(file for row, file in zip(us.kept(), us.files(), strict=True) if row.sop_uid == uid)


@pytest.mark.parametrize("program", ["storescu", "dcmsend"])
def test_a_series_arrives_whole_and_twice_is_once(tmp_path: Path, program: str) -> None:
    paths = write_files(tmp_path / "in", mr_series())
    with receiving(tmp_path) as us:
        for _ in range(2):
            run(program, "-aec", "DIAPHANE", "127.0.0.1", str(us.port), *paths)
        assert sorted(dataset_of(Path(path).read_bytes()) for path in paths) == sorted(map(dataset_of, us.files()))


def test_storescu_is_refused_what_is_no_image(tmp_path: Path, us: Receiving) -> None:
    report = radiograph(70, SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33", PixelData=None)
    report.file_meta.MediaStorageSOPClassUID = report.SOPClassUID
    said = run("storescu", "-aec", "DIAPHANE", "127.0.0.1", str(us.port), *write_files(tmp_path, [report]), expect=None)
    assert "No presentation context" in said or "No Acceptable Presentation Contexts" in said


def test_dcmsend_tells_which_image_was_refused(tmp_path: Path, us: Receiving) -> None:
    paths = write_files(tmp_path, [radiograph(80), radiograph(81, SeriesInstanceUID=None), radiograph(82)])
    report = tmp_path / "report.txt"
    run("dcmsend", "-aec", "DIAPHANE", "+crf", str(report), "127.0.0.1", str(us.port), *paths, expect=None)
    text = report.read_text()
    assert text.count("0x0000") == 2
    assert "0xC002" in text.upper().replace("0XC", "0xC")


def test_dcmtk_speaks_tls_with_a_certificate(tmp_path: Path) -> None:
    files = certificates(tmp_path / "tls")
    with receiving(tmp_path, tls_cert=files["server.pem"], tls_key=files["server.key"], tls_ca=files["ca.pem"]) as us:
        tls = ("+tls", str(files["client.key"]), str(files["client.pem"]), "+cf", str(files["ca.pem"]), "-rc")
        run("storescu", *tls, "-aec", "DIAPHANE", "localhost", str(us.port), *write_files(tmp_path / "in", [radiograph()]))
        assert 1 == len(us.kept())
        run("echoscu", "+tla", "+cf", str(files["ca.pem"]), "-aec", "DIAPHANE", "localhost", str(us.port), expect=1)
        run("echoscu", "-aec", "DIAPHANE", "-to", "2", "localhost", str(us.port), expect=1)


def test_only_named_peers_may_send(tmp_path: Path) -> None:
    with receiving(tmp_path, site=Site(peers=[Peer(ae_title="CT1", addresses=["127.0.0.1"])])) as us:
        paths = write_files(tmp_path / "in", [radiograph()])
        run("storescu", "-aet", "CT1", "-aec", "DIAPHANE", "127.0.0.1", str(us.port), *paths)
        said = run("storescu", "-aet", "CT2", "-aec", "DIAPHANE", "127.0.0.1", str(us.port), *paths, expect=None)
        assert "Calling AE Title Not Recognized" in said
        assert 1 == len(us.kept())


def test_a_modality_that_aborts_leaves_what_was_acknowledged(tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", mr_series())
    with receiving(tmp_path) as us:
        run("storescu", "--abort", "-aec", "DIAPHANE", "127.0.0.1", str(us.port), *paths)
        assert 12 == len(us.kept())


def test_two_modalities_at_once_make_one_series(tmp_path: Path) -> None:
    paths = write_files(tmp_path / "in", mr_series(np.zeros((40, 8, 8), dtype=np.int16)))
    with receiving(tmp_path) as us:
        both = [subprocess.Popen(["storescu", "-aec", "DIAPHANE", "127.0.0.1", str(us.port), *half])
                for half in (paths[::2], paths[1::2])]
        assert [0, 0] == [one.wait(60) for one in both]
        assert (40, 1) == (len(us.kept()), len({one.case_id for one in us.kept()}))


@contextmanager
def storescp(folder: Path, *options: str) -> Iterator[Target]:
    """Run dcmtk's storage provider and wait until it answers."""
    folder.mkdir(exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(["storescp", *options, "-od", str(folder), str(port)], stderr=subprocess.DEVNULL)
    target = Target(name="pacs", kind="dimse", host="127.0.0.1", port=port, timeout_s=5)

    def answers() -> bool:
        try:
            echo(target)
        except Undelivered:
            return False
        return True

    try:
        assert until(answers)
        yield target
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("options", [("+xa",), ("+xi",), ("--max-pdu", "4096")])
def test_what_we_deliver_storescp_writes_unchanged(tmp_path: Path, options: tuple[str, ...]) -> None:
    objects: list[Dataset] = [radiograph(place, SOPClassUID=uid) for place, uid in enumerate((
        "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.88.34",
        "1.2.840.10008.5.1.4.1.1.7",
    ), start=1)]
    files = [dicom_bytes(one) for one in objects]
    with storescp(tmp_path / "pacs", *options) as target:
        deliver(target, files)
        deliver(target, files)
    written = sorted(pydicom.dcmread(path).SOPInstanceUID for path in (tmp_path / "pacs").iterdir())
    assert sorted(one.SOPInstanceUID for one in objects) == written
    for path in (tmp_path / "pacs").iterdir():
        came = pydicom.dcmread(path)
        sent = next(pydicom.dcmread(io.BytesIO(file)) for file in files if came.SOPInstanceUID.encode() in file)
        assert Dataset(sent) == Dataset(came)


def test_a_pacs_that_aborts_is_tried_again(tmp_path: Path) -> None:
    with storescp(tmp_path / "pacs", "--abort-after") as target:
        began = time.monotonic()
        with pytest.raises(Undelivered) as raised:
            deliver(target, [dicom_bytes(radiograph())])
    assert ("aborted", False) == (raised.value.reason, raised.value.permanent)
    assert time.monotonic() - began < 5
