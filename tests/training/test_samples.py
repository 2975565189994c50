"""data-samples/: made again byte for byte, sound as files, far from every patient, and judged as expected.json says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from models.model import Model
from models.prediction import Prediction, Reason, Refusal
from models.read_any import read_any
from models.read_dicom import read_dicom
from models.read_fhir import read_fhir
from tests.make import data_root, needs_data, needs_peer
from training.samples import appearance, bundles, refused, wrap
from training.samples.align import Stage, align, warp
from training.samples.appearance import Draw, Sizes
from training.samples.distance import neighbourhood
from training.samples.make import make

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "data-samples"
RELEASED = ROOT / "models" / "released"
EXPECTED: dict[str, Any] = json.loads((SAMPLES / "expected.json").read_text("utf-8"))
PATIENT = wrap.Patient("TEST^ZOE", "DIA-TEST-999", "20220903", "F", "2220999000099", "003Y")


def pictures(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (432, 528)), rng.uniform(0, 2000, (34, 48, 34))


def files_of(path: str) -> list[Path]:
    place = SAMPLES / path
    return sorted(place.glob("*.dcm")) if place.is_dir() else [place]


def test_expected_json_names_every_file_and_no_other() -> None:
    sent = (path for path in SAMPLES.rglob("*") if path.is_file() and path.parent.name not in ("pictures", "orthanc", "cds-hooks"))
    found = {path.relative_to(SAMPLES).as_posix() for path in sent}
    named = {file.relative_to(SAMPLES).as_posix() for path in EXPECTED for file in files_of(path)}
    assert found == named | {"README.md", "expected.json", "distances.json", "site.toml", "site-ehr.toml", "site-review.toml"}


def test_every_reason_that_an_input_can_cause_has_a_file() -> None:
    reasons = {row["reason"] for row in EXPECTED.values() if row["status"] == "refused"}
    assert reasons == {str(reason) for reason in Reason} - {Reason.IMPOSSIBLE_VALUE, Reason.INCOMPLETE_EXPLANATION}


def test_the_folder_stays_below_six_megabytes() -> None:
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*") if path.is_file()) < 6e6


def test_no_drawn_image_is_nearer_to_a_patient_than_patients_are_to_each_other() -> None:
    tables = json.loads((SAMPLES / "distances.json").read_text("utf-8")).values()
    drawn = {path for path in EXPECTED if path.startswith(("radiograph/", "mr/"))}
    assert drawn == {path for table in tables for path in table["samples"]}
    for table in tables:
        for part in ("whole", "detail"):
            limit = table[f"nearest_other_patient_{part}"]["percentile_5"]
            assert all(found[part] >= limit for found in table["samples"].values())


def identities() -> Iterator[tuple[str, str]]:
    for path in EXPECTED:
        for file in files_of(path):
            if file.suffix == ".json":
                content = json.loads(file.read_text("utf-8"))
                if "entry" not in content:  # a whole department, whose people have no identifiers
                    assert not any("identifier" in entry["resource"] for one in content["present"] for entry in one["entry"])
                    continue
                patient = content["entry"][0]["resource"]
                yield patient["identifier"][0]["value"], patient["identifier"][0]["system"].removeprefix("urn:oid:")
            else:
                item = pydicom.dcmread(file, stop_before_pixels=True).OtherPatientIDsSequence[0]
                yield item.PatientID, item.IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID


def test_every_identity_is_of_the_test_domain_with_a_right_key_and_a_place_of_birth_that_does_not_exist() -> None:
    for matricule, domain in identities():
        assert domain == "1.2.250.1.213.1.4.10"
        assert matricule[13:] == wrap.ins_key(matricule[:13])
        assert matricule[5:10] == "99000"


def test_the_ins_key_agrees_with_published_test_matricules() -> None:
    for matricule in ("279035121518989", "277076322082910", "146026322000196"):
        assert matricule[13:] == wrap.ins_key(matricule[:13])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, JPEG2000Lossless,
                                    JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("bits", [8, 12])
def test_display_values_come_back_through_every_encoding(syntax: pydicom.uid.UID, inverse: bool, bits: int) -> None:
    pixels = pictures()[0][:96, :120]
    content = wrap.encode(wrap.radiograph(pixels, PATIENT, "trip", bits=bits, inverse=inverse), syntax)
    volume = read_dicom([content])
    assert np.abs(volume.voxels[0] - pixels).max() <= 0.5 * 255 / (2**bits - 1) + 1e-3
    assert (volume.header.modality, volume.header.view, volume.header.age_years) == ("DX", "AP", 3.0)


def test_mr_slices_come_back_as_one_volume_with_its_spacing() -> None:
    voxels = pictures()[1]
    files = [wrap.encode(one) for one in wrap.mr_slices(voxels, PATIENT, "mr", spacing_mm=(2.0, 1.0, 0.5))]
    volume = read_dicom(files[::-1])
    assert volume.shape == voxels.shape
    assert volume.spacing_mm == (2.0, 1.0, 0.5)
    assert np.abs(volume.voxels - voxels).max() <= 0.5


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others() -> None:
    def everything(seed: int) -> dict[str, bytes]:
        made = refused.images(*pictures(), seed)
        files = {f"{one.path}/{name}": content for one in made for name, content in one.files.items()}
        return {**files, "low": bundles.bundle(bundles.LOW_RISK, seed)}

    assert everything(1) == everything(1)
    assert everything(1) != everything(2)


def test_the_stays_are_in_french_units_and_read_into_ours() -> None:
    content = (SAMPLES / "stay/high-risk.json").read_bytes()
    assert '"code":"umol/L"' in content.decode()
    creatinine_mg_dl = read_fhir(content).up_to(2880).series("Creatinine").values
    assert 2.5 < creatinine_mg_dl.min() < creatinine_mg_dl.max() < 4.5


def test_alignment_finds_a_known_shift() -> None:
    y, x = np.mgrid[:48, :48]

    def blob(dy: float, dx: float) -> torch.Tensor:
        return torch.tensor(np.exp(-((y - 24 - dy) ** 2 + (x - 24 - dx) ** 2) / 50), dtype=torch.float32)

    moving = torch.stack([blob(3, 0), blob(-3, 0), blob(0, 3), blob(0, -3)])[:, None]
    field, _ = align(moving, torch.zeros(4, 2, 48, 48), Stage(2, 12, 3.0, 0.5))
    apart = (moving - moving.mean(0)).abs().max()
    assert (warp(moving, field) - warp(moving, field).mean(0)).abs().max() < 0.2 * apart
    assert field[0, 0, 24, 24] > 1.5 > -1.5 > field[1, 0, 24, 24]


def test_draws_follow_their_class() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :40] / 32
    kinds = np.repeat([0, 1], 20)
    noise = rng.normal(0, 0.02, (40, *x.shape))
    textures = ((0.4 + 0.3 * kinds[:, None, None]) * x + y * 0.3 + noise).astype(np.float32)
    fields = rng.normal(0, 0.05, (40, 2, 8, 10)).astype(np.float32)
    model = appearance.fit(textures, fields, kinds, Sizes(3, 3, 5, 4, 2.0))
    means = [np.mean([model.draw(kind, rng, Draw()) for _ in range(10)]) for kind in (0, 1)]
    assert means == pytest.approx([textures[kinds == kind].mean() for kind in (0, 1)], abs=0.05)


def test_a_copy_of_a_training_image_is_not_allowed_and_noise_is() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (20, 16, 20)).astype(np.float32)
    near = neighbourhood(images, [f"p{i // 2}" for i in range(20)], sigma=2.0)
    assert not near.allows(near.of(images[3] * 0.5 + 2))
    assert near.allows({"whole": 1.0, "detail": 1.0})


@needs_peer("dciodvfy")
def test_every_dicom_file_is_valid(tmp_path: Path) -> None:
    for path in (path for path in EXPECTED if not path.endswith(".json")):
        dataset = pydicom.dcmread(files_of(path)[0])  # the slices of a series differ in position alone
        if dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:  # Debian's dciodvfy cannot inflate
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(tmp_path / "one.dcm")
        done = subprocess.run(["dciodvfy", "-new", tmp_path / "one.dcm"], capture_output=True, text=True, check=False)
        assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == [], path


@pytest.mark.parametrize("path", sorted(path for path, row in EXPECTED.items() if row["model"] != "ed_demand"))  # is no record
def test_the_releases_say_what_is_expected(path: str) -> None:
    wanted = EXPECTED[path]
    folders = sorted(RELEASED.glob(f"{wanted['model']}-*/manifest.json"))
    case = read_any(SAMPLES / path)
    result = Model(folders[-1].parent).predict(case[0] if isinstance(case, list) else case)
    assert result.status == wanted["status"]
    if isinstance(result, Refusal):
        assert result.reason == wanted["reason"]
    if isinstance(result, Prediction) and "above_threshold" in wanted:
        assert result.main.above_threshold == wanted["above_threshold"]
        assert any(flag.startswith(wanted["flag"]) for flag in result.flags) if "flag" in wanted else True


@needs_data
@pytest.mark.slow
def test_everything_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    tables = [make(data_root(), tmp_path / name, 1, quick=True) for name in ("first", "second")]
    first, second = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (tmp_path / "first", tmp_path / "second")
    )
    assert tables[0] == tables[1]
    assert first == second
    assert set(tables[0]) == set(EXPECTED)
