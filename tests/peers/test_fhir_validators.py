"""Everything we write in FHIR, through validators nobody here wrote: no fault. And they do find faults, where there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from models.errors import UnusableInput
from models.prediction import Refusal
from models.shelf import RELEASED, Shelf
from service.dicom.write import write
from service.fhir.exchange import Refused
from service.fhir.predict import Predictor, read_wish
from service.fhir.write_report import report_bundle
from service.identity import Person, Traits, ins_identity
from service.metrics import Metrics
from service.persons import write_patient
from service.site import Device, Site
from tests.make import ROOT, data_root, icu_bundle, needs_data, radiograph_dataset
from tests.peers.fhir_validators import by_invariants, faults, needs_validators, profile_constraints
from tests.service.dicom.tell import hospital, not_assessed, told_of_files
from tests.service.fhir.ehr_house import FHIR, NDJSON, fhir_room

pytestmark = [needs_data, needs_validators]
Json = dict[str, Any]
SAMPLES = ROOT / "data-samples"


@cache
def shelf() -> Shelf:
    return Shelf(RELEASED)


def no_faults(resources: dict[str, Json]) -> None:
    """Assert that no validator has a word against any, and say which it was."""
    assert resources
    assert {} == {name: told for name, told in zip(resources, faults(list(resources.values())), strict=True) if told}


def records() -> list[Path]:
    return sorted(path for path in SAMPLES.rglob("*.json") if b'"Bundle"' in path.read_bytes()[:200])


def test_validators_find_the_faults_of_broken_resources() -> None:
    folder = data_root() / "interop/fhir-samples"
    good, bad = ([json.loads(path.read_text("utf-8")) for path in sorted((folder / kind).glob("*.json"))] for kind in ("ok", "bad"))
    broken = [one for one in bad if one["resourceType"] not in ("Patient", "ImagingStudy")]  # FR Core's rules, and those of UIDs
    found = faults([*good, *broken])
    assert [[]] * 8 == found[:8]
    assert [] == [place for place, told in enumerate(found[8:]) if not told]


def test_scores_and_refusals_of_every_risk_release() -> None:
    predictor = Predictor(shelf(), Site(device=Device(language="fr")), Metrics())
    written: dict[str, Json] = {}
    seen: dict[str, set[str]] = {}
    for number, path in enumerate(records()):
        body = json.loads(path.read_text("utf-8"))
        try:
            told, results = predictor.answer(read_wish(body, {"language": ("en", "fr")[number % 2]}), "en")
        except (UnusableInput, Refused):  # a sample of what is refused at the door
            continue
        written[str(path.relative_to(SAMPLES))] = told
        for one in results:
            seen.setdefault(one.manifest.name, set()).add("refused" if isinstance(one.result, Refusal) else "scored")
    releases = {model.manifest.name for model in shelf().for_record()}
    assert releases == {name for name, kinds in seen.items() if kinds == {"scored", "refused"}}
    no_faults(written)


@pytest.mark.slow
def test_what_public_records_of_others_are_answered() -> None:
    predictor = Predictor(shelf(), Site(), Metrics())
    written: dict[str, Json] = {}
    for path in sorted((data_root() / "fhir").rglob("*.json"))[:12]:
        body = json.loads(path.read_text("utf-8"))
        if body.get("resourceType") == "Bundle":
            try:
                written[path.name], _ = predictor.answer(read_wish(body), "en")
            except (UnusableInput, Refused):
                continue
    no_faults(written)


def imaging() -> Iterator[tuple[str, list[bytes]]]:
    for path in sorted(SAMPLES.rglob("*.dcm")):
        if path.parent.name in ("radiograph", "refused"):
            yield "chest_xray_pediatric", [path.read_bytes()]
    for folder in sorted((SAMPLES / "mr").iterdir()):
        yield "hippocampus_mr", [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.mark.parametrize("every", [pytest.param(8, id="some"), pytest.param(1, id="all", marks=pytest.mark.slow)])
def test_imaging_results_of_samples(every: int) -> None:
    written = {}
    for number, (model, files) in enumerate(list(imaging())[::-every]):  # from the last: a series, refusals, radiographs
        told = told_of_files(shelf().get(model), files)
        written[f"{model} {number}"] = report_bundle(told, write(told) if number < 1 else (), accept="test")
    written["unfit"] = report_bundle(not_assessed(hospital(radiograph_dataset(Modality="MR"))))
    written["failed"] = report_bundle(not_assessed(radiograph_dataset(), status="failed", reasons=()), patient="Patient/1")
    no_faults(written)


def test_what_describes_us_and_every_kind_of_answer(tmp_path: Path) -> None:
    request = {"method": "POST", "url": "$predict"}
    entries = [{"request": request, "resource": one} for one in (icu_bundle(), {"resourceType": "Basic"})]
    batch = {"resourceType": "Bundle", "type": "batch", "entry": entries}
    with fhir_room(RELEASED, tmp_path) as room:
        asked = {path: room.client.get(path) for path in (
            "/fhir/metadata", "/fhir/OperationDefinition", "/fhir/CodeSystem", "/fhir/StructureDefinition", "/fhir/nothing",
            "/fhir/OperationDefinition/predict", "/fhir/CodeSystem/diaphane", "/fhir/StructureDefinition/contribution",
            "/fhir/$predict", "/fhir/CodeSystem?url=urn:other",
        )}
        asked["batch"] = room.client.post("/fhir", json=batch, headers=FHIR)
        asked["not json"] = room.client.post("/fhir/$predict", content=b"{", headers=FHIR)
        asked["taken"] = room.client.post("/fhir/$predict", content=json.dumps(icu_bundle()).encode(), headers=NDJSON)
        asked["waiting"] = room.client.get(asked["taken"].headers["content-location"].removeprefix("http://testserver"))
        no_faults({name: answer.json() for name, answer in asked.items()})


def test_patients_we_write_keep_the_invariants_of_fr_core() -> None:
    rules = [one for name in ("fr-core-patient", "fr-core-patient-ins")
             for one in profile_constraints(data_root() / f"interop/fr-core-2.2.0/package/StructureDefinition-{name}.json")]
    assert {"fr-core-1", "fr-core-2"} <= {key for key, _ in rules}
    traits = Traits(birth_name="CANARI", given="JEANNE", given_names="JEANNE MARIE", birth_date="19790315", sex="F",
                    birth_place="51215")
    qualified = ins_identity("279035121518989", "1.2.250.1.213.1.4.10", status="VALI")
    patients = {name: write_patient(person, accept="test")
                for name, person in (("qualified", Person(traits, (qualified,))), ("provisional", Person(traits)))}
    no_faults(patients)
    assert [[], []] == [by_invariants(patient, tuple(rules)) for patient in patients.values()]
    broken = {**write_patient(Person(traits, (qualified,)), accept="test"), "identifier": []}
    assert by_invariants(broken, tuple(rules))
