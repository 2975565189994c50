"""read_any tells files by their content: names and suffixes may lie."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from models import read_any as room
from models.errors import UnusableInput
from models.read_any import kind_of, read_any
from models.record import Record
from models.volume import Volume
from tests.make import dicom_bytes, icu_bundle, mr_series, mr_voxels, radiograph_dataset, radiograph_pixels

CSV = "minute,code,value,unit\n0,HR,80,/min\n60,HR,82,/min\n,age_years,70,a\n"


def write(path: Path, kind: str) -> Path:
    if kind == "dicom":
        path.write_bytes(dicom_bytes(radiograph_dataset()))
    elif kind == "raster":
        Image.fromarray(radiograph_pixels()).save(path, "PNG")
    elif kind == "nifti":
        image = nibabel.Nifti1Image(mr_voxels().transpose(2, 1, 0).astype(np.int16), np.eye(4))
        path.write_bytes(gzip.compress(image.to_bytes()) if path.suffix == ".gz" else image.to_bytes())
    elif kind == "json":
        path.write_text(json.dumps(icu_bundle()))
    else:
        path.write_text(CSV)
    return path


@pytest.mark.parametrize("kind", ["dicom", "raster", "nifti", "json", "csv"])
def test_kind_is_told_by_content_whatever_the_name(tmp_path: Path, kind: str) -> None:
    assert kind_of(write(tmp_path / "wrong.exe", kind)) == kind


@pytest.mark.parametrize(("kind", "noun"), [("dicom", Volume), ("raster", Volume), ("json", Record), ("csv", Record)])
def test_one_file_is_one_case(tmp_path: Path, kind: str, noun: type) -> None:
    assert isinstance(read_any(write(tmp_path / "file", kind)), noun)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_is_read_with_its_place_in_the_patient(tmp_path: Path, name: str) -> None:
    volume = read_any(write(tmp_path / name, "nifti"))
    assert np.array_equal(mr_voxels().astype(np.float32), volume.voxels)
    assert np.array_equal(np.diag([-1.0, -1.0, 1.0, 1.0]), volume.affine)  # RAS in the file, LPS in the house


def test_a_folder_is_the_list_of_its_cases_with_slices_together(tmp_path: Path) -> None:
    (tmp_path / "mr").mkdir()
    for place, dataset in enumerate(mr_series()):
        (tmp_path / "mr" / f"{place}").write_bytes(dicom_bytes(dataset))
    write(tmp_path / "chest", "dicom")
    write(tmp_path / "stay.json", "json")
    write(tmp_path / ".hidden", "csv")
    cases = read_any(tmp_path)
    assert [type(case).__name__ for case in cases] == ["Volume", "Volume", "Record"]
    assert sorted(case.shape[0] for case in cases[:2]) == [1, 12]


def test_what_is_none_of_these_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zip").write_bytes(b"PK\x03\x04\0\0")
    for path in (tmp_path / "zip", tmp_path / "absent"):
        with pytest.raises(UnusableInput):
            read_any(path)


def test_limits_hold_before_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MAX_TEXT_BYTES", 10)
    with pytest.raises(UnusableInput, match="may hold 10 bytes"):
        read_any(write(tmp_path / "a", "csv"))
    write(tmp_path / "b", "raster")
    monkeypatch.setattr(room, "MAX_FILES", 1)
    with pytest.raises(UnusableInput, match="may hold 1 files"):
        read_any(tmp_path)
