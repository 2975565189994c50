"""Folders as archives: what is found in them, what becomes one case, what fails, and that nobody can be told from the rows."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from models.errors import UnusableInput
from models.model import Model
from models.read_any import read_any
from tests import hostile
from tests.make import dicom_bytes, mr_series, radiograph_pixels
from tests.training.archive.conftest import NAMES, SECRETS, Archive, fill, radiograph
from training.archive.score_case import Scorer

Make = Callable[..., Archive]


def test_a_case_is_scored_as_the_model_scores_it(tmp_path: Path, chest: Path, archive: Make) -> None:
    folder = fill(tmp_path / "pacs", 3)
    rows = {row.ids["sop"]: row for row in archive(chest, folder).rows()}
    for number in range(3):
        result = Model(chest).predict(read_any(folder / f"{number}/deep/{number}.dcm"))
        row = rows[NAMES.hash("sop", f"1.2.5.{number}")]
        assert ({one.name: one.value for one in result.findings}, "scored") == (row.values, row.status)
        assert result.quality == row.quality
        assert row.statistics


def test_rows_and_failures_name_nobody(tmp_path: Path, chest: Path, archive: Make) -> None:
    folder = fill(tmp_path / "SECRET PATIENT", 2)
    (folder / "SECRET.dcm").write_bytes(radiograph(7)[:-900])
    text = "".join(row.to_line() for row in archive(chest, folder).rows())
    assert text.count('"case"') == 3
    assert not [one for one in SECRETS if one in text]


def test_attributes_say_maker_device_and_year_and_hide_the_names_of_places(tmp_path: Path, chest: Path, archive: Make) -> None:
    row = archive(chest, fill(tmp_path / "pacs", 1)).rows()[0]
    places = {row.attributes.pop("station"), row.attributes.pop("institution")}
    assert {"age_years": 3.0, "body_part": "CHEST", "device": "Ysio Max", "manufacturer": "Siemens", "modality": "DX", "sex": "F",
            "view": "AP", "year": 2026} == row.attributes
    assert all(one.startswith(("station-", "institution-")) for one in places)


def test_a_device_named_after_the_patient_is_not_told(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "a.dcm").write_bytes(radiograph(1, ManufacturerModelName="Patient Test's plate", Manufacturer="Dr Secret"))
    row = archive(chest, tmp_path).rows()[0]
    assert ("", True) == (row.attributes.get("device", ""), row.attributes["manufacturer"].startswith("maker-"))


def test_files_in_zips_are_the_same_cases_as_outside(tmp_path: Path, chest: Path, archive: Make) -> None:
    folder = fill(tmp_path / "pacs", 4)
    (tmp_path / "zips/below").mkdir(parents=True)
    packed = tmp_path / "zips/below/all.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(folder.rglob("*.dcm")):
            file.write(path, path.name)

    def told(where: Path) -> list[tuple[str, dict[str, float]]]:
        return [(row.case, row.values) for row in archive(chest, where).rows()]

    assert told(folder) == told(tmp_path / "zips") == told(packed)


def test_a_bomb_in_a_zip_fails_and_takes_no_memory(tmp_path: Path, chest: Path, archive: Make) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.dcm", b"\0" * 128 + b"DICM" + b"\0" * 20_000_000)
        file.writestr("good.dcm", radiograph(1))
    made = archive(chest, tmp_path)
    assert ["scored"] == [row.status for row in made.rows()]
    assert 1 == made.source.left_out["unreadable_member"]


def test_slices_are_one_case_and_an_object_that_lies_there_twice_counts_once(tmp_path: Path, volume: Path, archive: Make) -> None:
    for number, one in enumerate(mr_series()):
        (tmp_path / f"{number}.dcm").write_bytes(dicom_bytes(one))
    (tmp_path / "again.dcm").write_bytes((tmp_path / "3.dcm").read_bytes())
    made = archive(volume, tmp_path)
    (row,) = made.rows()
    assert ("scored", 1) == (row.status, made.source.left_out["duplicate"])
    assert {"study", "patient"} <= set(row.ids)
    assert "sop" not in row.ids


def test_two_different_images_under_one_uid_fail(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "a.dcm").write_bytes(radiograph(1))
    (tmp_path / "b.dcm").write_bytes(radiograph(3, SOPInstanceUID="1.2.5.1"))
    assert [("failed", "uid_of_two_objects")] == [(row.status, row.reason) for row in archive(chest, tmp_path).rows()]


@pytest.mark.parametrize(("content", "reason"), [
    (radiograph(1)[:-900], "truncated"), (hostile.image(more=hostile.nested(40)), "too_deep"),
    (b"\x7fELF" + radiograph(1)[4:], "executable_preamble"),
])
def test_a_file_that_cannot_be_read_is_a_case_that_failed(
    tmp_path: Path, chest: Path, archive: Make, content: bytes, reason: str
) -> None:
    (tmp_path / "bad.dcm").write_bytes(content)
    assert [("failed", reason)] == [(row.status, row.reason) for row in archive(chest, tmp_path).rows()]


def test_a_failed_case_still_joins_to_the_truth(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "bad.dcm").write_bytes(radiograph(1)[:-900])
    (row,) = archive(chest, tmp_path).rows()
    assert ("failed", NAMES.hash("accession", "SECRETA1"), 2026) == (row.status, row.ids["accession"], row.attributes["year"])


def test_what_is_no_image_of_the_modality_or_period_is_left_out_and_counted(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "dx.dcm").write_bytes(radiograph(1))
    (tmp_path / "ct.dcm").write_bytes(radiograph(2, Modality="CT"))
    (tmp_path / "old.dcm").write_bytes(radiograph(3, StudyDate="20190101"))
    (tmp_path / "seg.dcm").write_bytes(radiograph(4, SOPClassUID="1.2.840.10008.5.1.4.1.1.66.4"))
    (tmp_path / "letter.txt").write_text("not an image")
    (tmp_path / ".hidden.dcm").write_bytes(radiograph(5))
    made = archive(chest, tmp_path, since="2026-01-01", until="2026-01-31")
    assert 1 == len(made.cases)
    assert {"other_modality": 1, "other_period": 1, "not_an_image": 1, "csv_file": 1} == dict(made.source.left_out)
    assert 2 == len(archive(chest, tmp_path, since="2026-01-01", modalities=("any",)).cases)


def test_a_deflated_header_is_read_within_its_bounds(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "bomb.dcm").write_bytes(hostile.bomb(400))
    assert [("failed", "too_large")] == [(row.status, row.reason) for row in archive(chest, tmp_path).rows()]


# Pictures with a table -------------------------------------------------------------------------------------------------


def pictures(folder: Path, rows: list[str]) -> Path:
    (folder / "images").mkdir(parents=True)
    for number in range(4):
        Image.fromarray(radiograph_pixels(seed=number)).save(folder / f"images/{number}.png")
    (folder / "metadata.csv").write_text("\n".join(["path,patient_id,age,sex,view,split", *rows]) + "\n")
    return folder


def test_a_picture_is_refused_by_the_age_its_table_states(tmp_path: Path, chest: Path, archive: Make) -> None:
    folder = pictures(tmp_path / "pictures", ["images/0.png,p0,3,F,AP,val",
                                              "images/1.png,p1,57,M,AP,val", "images/2.png,p1,57,M,AP,train"])
    found = {row.attributes["age_years"]: row for row in archive(chest, folder, where=(("split", "val"),), keep=("split",)).rows()}
    assert [("scored", ""), ("refused", "wrong_age")] == [(found[age].status, found[age].reason) for age in (3.0, 57.0)]
    assert "val" == found[3.0].attributes["split"]
    withheld = archive(chest, folder, columns=(("age_years", ""),)).rows()
    assert ["scored"] * 3 == [row.status for row in withheld]


def test_pictures_of_one_person_are_one_group(tmp_path: Path, chest: Path, archive: Make) -> None:
    folder = pictures(tmp_path / "pictures", ["images/0.png,p0,3,F,AP,a", "images/1.png,p1,3,M,AP,a", "images/2.png,p1,3,M,AP,a"])
    rows = archive(chest, folder).rows()
    assert [1, 2] == sorted(np.unique([row.group for row in rows], return_counts=True)[1].tolist())


def test_a_table_cannot_lead_out_of_the_archive_nor_to_what_is_not_there(tmp_path: Path, chest: Path, archive: Make) -> None:
    folder = pictures(tmp_path / "pictures", ["../secret.png,p0,3,F,AP,a", "images/9.png,p1,3,F,AP,a", "metadata.csv,p1,3,F,AP,a"])
    Image.fromarray(radiograph_pixels()).save(tmp_path / "secret.png")
    assert ["not_an_image", "outside_archive", "unreadable_file"] == sorted(row.reason for row in archive(chest, folder).rows())


def test_a_table_of_dicom_adds_what_headers_do_not_say(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "a.dcm").write_bytes(radiograph(1))
    (tmp_path / "b.dcm").write_bytes(radiograph(2))
    table = tmp_path / "../table.csv"
    table.write_text("accession,site,station\nSECRETA2,north,SECRET ROOM\n")
    rows = archive(chest, tmp_path, attributes=str(table)).rows()
    assert ["", "north"] == sorted(row.attributes.get("site", "") for row in rows)
    assert not [row for row in rows if "SECRET" in row.to_line()]


def test_a_table_that_corrects_who_it_is_about_is_believed(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "a.dcm").write_bytes(radiograph(1))
    (tmp_path / "metadata.csv").write_text("path,patient_id\na.dcm,CORRECTED\n")
    (row,) = archive(chest, tmp_path).rows()
    assert NAMES.hash("patient", "CORRECTED") == row.ids["patient"] == row.group


def test_conditions_without_a_table_are_an_error(tmp_path: Path, chest: Path, archive: Make) -> None:
    (tmp_path / "a.dcm").write_bytes(radiograph(1))
    with pytest.raises(UnusableInput, match="speak of a table"):
        archive(chest, tmp_path, where=(("split", "val"),))


# Copies ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "kept"), [({}, "kept"), ({"BurnedInAnnotation": "YES"}, "held_back")])
def test_copies_are_de_identified_and_what_may_bear_a_name_is_held_back(
    tmp_path: Path, chest: Path, archive: Make, changes: dict[str, Any], kept: str
) -> None:
    folder = tmp_path / "pacs"
    folder.mkdir()
    (folder / "a.dcm").write_bytes(radiograph(1, **changes))
    made = archive(chest, folder, keep_images=True)
    with closing(Scorer(made.plan, NAMES)) as scorer:
        outcome = scorer.score(made.cases[0])
    copies = list((tmp_path / "rows/images").rglob("*.dcm"))
    assert (kept, 1 if kept == "kept" else 0) == (outcome.kept, len(copies))
    for path in copies:
        copy = pydicom.dcmread(path)
        assert "YES" == copy.PatientIdentityRemoved
        assert not [one for one in SECRETS if one.encode() in path.read_bytes()]
