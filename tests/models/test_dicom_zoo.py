"""The zoo: 52 real files in most transfer syntaxes and states of damage, each with the verdict its manifest expects."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pydicom
import pytest

from models.errors import UnusableInput
from models.prediction import Prediction
from models.read_dicom import read_dicom
from models.shelf import Shelf
from tests.make import data_root, needs_data

ZOO = data_root() / "dicom-zoo"
MANIFEST = ZOO / "manifest.csv"
ROWS = list(csv.DictReader(MANIFEST.read_text("utf-8").splitlines())) if MANIFEST.is_file() else [{"file": "absent"}]
# 12-bit JPEG Extended needs pylibjpeg-libjpeg, which is GPL-3.0; it is refused by name instead.
EXTENDED = "1.2.840.10008.1.2.4.51"

pytestmark = needs_data


@pytest.mark.parametrize("row", ROWS, ids=lambda row: Path(row["file"]).name[-60:])
def test_every_file_is_read_or_refused_as_the_manifest_expects(row: dict[str, str]) -> None:
    expected = row["decodes_pydicom3"] == "yes" and not (
        row["transfer_syntax"] == EXTENDED and row["bits_stored"] == "12"
    )
    if not expected:
        with pytest.raises(UnusableInput):
            read_dicom([ZOO / row["file"]])
        return
    volume = read_dicom([ZOO / row["file"]])
    shape = [int(n) for n in row["decoded_shape"].split("x")]
    rows_columns = shape[-3:-1] if row["samples"] == "3" or (shape[-1] == 3 and len(shape) == 3) else shape[-2:]
    assert list(volume.shape[1:]) == rows_columns
    assert np.isfinite(volume.voxels).all()
    assert volume.header.modality == row["modality"]


@pytest.mark.parametrize(
    "name",
    [
        "BigEndianExplicit",
        "DeflatedExplicitVRLittleEndian",
        "JPEG2000LosslessOnly",
        "JPEGLSLossless",
        "JPEGProcess14SV1",
        "JPEGProcess14",
        "LittleEndianExplicit",
        "RLELossless",
    ],
)
def test_every_lossless_syntax_decodes_to_the_same_hounsfield_units(name: str) -> None:
    reference = read_dicom([ZOO / "ct-syntax-matrix/CTImage.dcm"])
    other = read_dicom([ZOO / f"ct-syntax-matrix/CTImage_{name}TransferSyntaxdcm.dcm"])
    assert (reference.units, reference.spacing_known) == ("HU", True)
    assert np.array_equal(reference.voxels, other.voxels)
    assert np.array_equal(reference.affine, other.affine)


def test_three_lossless_syntaxes_of_one_radiograph_agree() -> None:
    volumes = [read_dicom([ZOO / f"cr-dx-mg/RG2_{name}.dcm"]).voxels for name in ("J2KR", "JLSL", "JPLL")]
    assert np.array_equal(volumes[0], volumes[1])
    assert np.array_equal(volumes[0], volumes[2])


def test_mr_series_of_the_hippocampus_crops_are_one_millimetre_grids() -> None:
    series = sorted(p for p in (data_root() / "hippocampus/dicom").glob("*/*") if p.is_dir())
    volumes = [read_dicom(sorted(folder.glob("*.dcm"))) for folder in series]
    assert [volume.spacing_mm for volume in volumes] == [(1.0, 1.0, 1.0)] * 3
    assert all(len(volume.sop_uids) == volume.shape[0] for volume in volumes)


def test_the_mask_of_a_real_mr_series_lands_on_the_slices_that_were_sent() -> None:
    model = Shelf().get("hippocampus_mr")
    seen = 0
    for folder in sorted(p for p in (data_root() / "hippocampus/dicom").glob("*/*") if p.is_dir()):
        files = sorted(folder.glob("*.dcm"))
        volume, backwards = read_dicom(files), read_dicom(files[::-1])
        by_uid = {str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID): pydicom.dcmread(file) for file in files}
        for z, uid in enumerate(volume.sop_uids):  # slice z of the volume is the file it says, where the file says it is
            assert np.allclose((volume.affine @ [0, 0, z, 1])[:3], [float(n) for n in by_uid[uid].ImagePositionPatient], atol=0.02)
            assert np.array_equal(volume.voxels[z], by_uid[uid].pixel_array.astype(np.float32))
        result, again = model.predict(volume), model.predict(backwards)
        if isinstance(result, Prediction):
            assert isinstance(again, Prediction)
            assert result.explanation.mask is not None
            assert again.explanation.mask is not None
            labels = result.explanation.mask.labels
            assert labels.shape == volume.shape
            assert set(np.unique(labels)) <= {0, 1, 2}
            assert labels.any()
            assert np.array_equal(labels, again.explanation.mask.labels)
            seen += 1
    assert seen >= 1
