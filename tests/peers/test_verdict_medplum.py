"""The hospital's FHIR server after a verdict: each resource there once, with the status it has now, and who verified it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from models.manifest import read_manifest, write_manifest
from service.deliver import Deliverer
from service.fhir.push import fhir_outlets
from service.settings import read_settings
from tests.make import radiograph_dataset, radiograph_pixels, tiny_release
from tests.peers.fhir_server import Medplum, medplum, needs_medplum
from tests.service.review.verdict.verdict_house import Place, verdict_place

pytestmark = needs_medplum


@pytest.fixture(scope="module")
def server() -> Iterator[Medplum]:
    with medplum() as running:
        yield running


@pytest.fixture(scope="module")
def place(server: Medplum, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    release = tiny_release(folder := tmp_path_factory.mktemp("released"), "image_classification")
    write_manifest(release, read_manifest(release).model_copy(update={"writes": ["sr"]}))
    address = {"url": server.url, "push": True, "timeout_s": 20}
    with verdict_place(folder, tmp_path_factory.mktemp("verdicts") / "store", fhir_server=address) as opened:
        yield opened


def _score(place: Place, number: int) -> int:
    made = radiograph_dataset(radiograph_pixels(pneumonia=True))
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(made, name, f"{getattr(made, name)}.7{number}")
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    return place.arrive(made)[0]


def _deliver(place: Place) -> None:
    for outlet in fhir_outlets(place.house.site):
        one = Deliverer(place.house.store, outlet, read_settings({}, lease_s=30))
        for _ in range(20):
            one.down_until = 0.0
            if not one.step(0.0):
                break



def _report(server: Medplum, before: set[str]) -> dict[str, Any]:
    [one] = [one for one in server.all("DiagnosticReport") if one["id"] not in before]
    return one


@pytest.mark.parametrize(("number", "decision", "fields", "expected"), [
    (1, "agree", {}, ("final", {"final"})),
    (2, "correct", {"present__pneumonia": "no"}, ("corrected", {"corrected"})),
    (3, "reject", {"reason_code": "false-positive"}, ("entered-in-error", {"entered-in-error"})),
])
def test_the_server_holds_each_resource_once_with_its_status_of_now(
    server: Medplum, place: Place, number: int, decision: str, fields: dict[str, Any], expected: tuple[str, set[str]],
) -> None:
    before = {one["id"] for one in server.all("DiagnosticReport")}
    result = _score(place, number)
    _deliver(place)
    sent = _report(server, before)
    assert "preliminary" == sent["status"]
    assert 303 == place.give(result, decision, **fields).status_code
    _deliver(place)
    now = _report(server, before)
    findings = [server.http.get(f"{server.url}/{one['reference']}").json() for one in now["result"]]
    assert (sent["id"], expected) == (now["id"], (now["status"], {one["status"] for one in findings}))
    [provenance] = [one for one in server.all("Provenance") if f"DiagnosticReport/{now['id']}" in str(one["target"])
                    and "verifier" in str(one["agent"])]
    assert "99700000001" == provenance["agent"][0]["who"]["identifier"]["value"]
    assert {f"Observation/{one['id']}" for one in findings} <= {one["reference"] for one in provenance["target"]}


def test_what_never_left_is_never_heard_of(server: Medplum, place: Place) -> None:
    before = {one["id"] for one in server.all("DiagnosticReport")}
    result = _score(place, 4)
    place.give(result, "reject", reason_code="not-meant")
    _deliver(place)
    assert before == {one["id"] for one in server.all("DiagnosticReport")}
    place.give(result, "agree")
    _deliver(place)
    assert "final" == _report(server, before)["status"]
