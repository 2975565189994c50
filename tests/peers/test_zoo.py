"""The zoo through the decoding process: 52 real files, each read as its manifest says or refused with a code, none fatal.

Stored values are compared with an independent decoder where there is one: gdcm's command line, or dcmtk's.
"""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from models.errors import UnusableInput
from service.decode import Decoder
from tests.make import data_root, needs_data, needs_peer

ZOO = data_root() / "dicom-zoo"
MANIFEST = ZOO / "manifest.csv"
ROWS = {row["file"]: row for row in csv.DictReader(MANIFEST.read_text("utf-8").splitlines())} if MANIFEST.is_file() else {}
REFUSED = {  # what the manifest's pydicom decoded or not, and the code we refuse it with
    "charset/chrJapMulti.dcm": "no_pixels",
    "charset/chrKoreanMulti.dcm": "no_pixels",
    # 12-bit JPEG Extended: its decoder for pydicom is GPL-3.0. The two syntaxes after it are retired.
    "ct-syntax-matrix/CT0012.fragmented_no_bot_jpeg_baseline.51.dcm": "undecodable_pixels",
    "ct-syntax-matrix/CTImage_JPEGProcess2_4TransferSyntaxdcm.dcm": "undecodable_pixels",
    "ct-syntax-matrix/CTImage_JPEGProcess10_12TransferSyntaxdcm.dcm": "unknown_transfer_syntax",
    "ct-syntax-matrix/CTImage_JPEGProcess6_8TransferSyntaxdcm.dcm": "unknown_transfer_syntax",
    "malformed/MR_truncated.dcm": "truncated",
    "malformed/badVR.dcm": "bad_pixel_description",
    "malformed/empty_charset_LEI.dcm": "no_pixels",
    "malformed/meta_missing_tsyntax.dcm": "no_transfer_syntax",
    "no-image/reportsi.dcm": "no_pixels",
    "no-image/rtstruct.dcm": "not_dicom",
    "no-image/waveform_ecg.dcm": "no_pixels",
}
LOSSY_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # decoders may round the cosine transform differently by 1

pytestmark = needs_data


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    decoder = Decoder(timeout_s=60, memory_mib=512)
    yield decoder
    decoder.close()


def test_every_file_is_decoded_as_its_manifest_says_or_refused_with_its_code(decoder: Decoder) -> None:
    wrong, table, pids = [], [], set()
    for file, row in ROWS.items():
        expected = REFUSED.get(file, "read")
        try:
            count = int(row["frames"]) if row["frames"].isdigit() else 1
            volume = decoder.read([ZOO / file])
            frames = decoder.frames(ZOO / file, list(range(1, count + 1)))
            shape = "x".join(str(n) for n in frames.values.shape[count == 1 :])
            found = "read"
            facts = (shape, str(frames.values.min()), str(frames.values.max()), volume.header.modality, len(volume.voxels))
            if facts != (row["decoded_shape"], row["pixel_min"], row["pixel_max"], row["modality"], count):
                wrong.append((file, facts))
        except UnusableInput as error:
            found, facts = error.code, ()
        if found != expected:
            wrong.append((file, found))
        assert decoder._child is not None
        pids.add(decoder._child.process.pid)
        table.append(f"{row['transfer_syntax_name'][:34]:34} {file[:70]:70} {found:22} {' '.join(map(str, facts))}")
    print("", *table, sep="\n")  # noqa: T201  shown with -s
    assert wrong == []
    assert len(table) == 52
    assert len(pids) == 1  # one process served them all


READ = [file for file in ROWS if file not in REFUSED]


@needs_peer("gdcmraw")
@pytest.mark.parametrize("file", [file for file in READ if ROWS[file]["samples"] == "1"], ids=lambda file: file[-50:])
def test_stored_values_are_those_of_another_decoder(file: str, decoder: Decoder, tmp_path: Path) -> None:
    row = ROWS[file]
    ours = decoder.frames(ZOO / file, list(range(1, int(row["frames"] or 1) + 1)))
    theirs = _by_dcmtk(file, tmp_path) if row["transfer_syntax"] not in _JPEG_2000 else _by_gdcm(file, tmp_path)
    if theirs is None:
        pytest.skip("neither decoder takes this syntax")
    packed = b"".join(ours.packed())
    if row["transfer_syntax"] in LOSSY_JPEG:
        difference = np.abs(ours.values.astype(int).ravel() - np.frombuffer(theirs[: len(packed)], ours.values.dtype).astype(int))
        assert difference.max() <= 1
    else:
        assert packed == theirs[: len(packed)]
        assert len(theirs) - len(packed) <= 1


_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_DCMTK = {  # transfer syntax → dcmtk's own decoder
    "1.2.840.10008.1.2.4.50": "dcmdjpeg", "1.2.840.10008.1.2.4.51": "dcmdjpeg", "1.2.840.10008.1.2.4.57": "dcmdjpeg",
    "1.2.840.10008.1.2.4.70": "dcmdjpeg", "1.2.840.10008.1.2.4.80": "dcmdjpls", "1.2.840.10008.1.2.4.81": "dcmdjpls",
    "1.2.840.10008.1.2.5": "dcmdrle",
}


def _by_dcmtk(file: str, folder: Path) -> bytes | None:
    """Return PixelData decoded by dcmtk, little endian."""
    program = _DCMTK.get(ROWS[file]["transfer_syntax"], "dcmconv")
    done = subprocess.run([program, "+te", str(ZOO / file), str(folder / "plain.dcm")] if program == "dcmconv"
                          else [program, str(ZOO / file), str(folder / "plain.dcm")], capture_output=True, check=False)
    return _raw(folder) if done.returncode == 0 else None


def _by_gdcm(file: str, folder: Path) -> bytes | None:
    """Return PixelData decoded by gdcm's command line."""
    done = subprocess.run(["gdcmconv", "--raw", str(ZOO / file), str(folder / "plain.dcm")], capture_output=True, check=False)
    return _raw(folder) if done.returncode == 0 else None


def _raw(folder: Path) -> bytes:
    subprocess.run(["gdcmraw", "-i", str(folder / "plain.dcm"), "-t", "7fe0,0010", "-o", str(folder / "raw")],
                   capture_output=True, check=True)
    return (folder / "raw").read_bytes()
