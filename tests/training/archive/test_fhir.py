"""FHIR as an archive: Bundles, bulk exports and servers give the same stays, as they were known when a release is scored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.model import Model
from models.read_fhir import read_bundle
from tests.make import icu_bundle
from tests.training.archive.conftest import NAMES, Archive
from tests.training.archive.servers import Fhir, Trouble, serving
from training.archive import web
from training.archive.cases import ArchiveAway

Make = Callable[..., Archive]


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "FIRST_PAUSE_S", 0.001)


def stay(number: int, *, end: str = "2026-03-09T08:00:00+00:00", **told: Any) -> list[dict[str, Any]]:
    """The resources of one person's stay that has ended."""
    text = json.dumps(icu_bundle(heart_rate=80.0 + number, hours=60, **told))
    text = text.replace("Patient/p1", f"Patient/SECRET{number}").replace('"id": "p1"', f'"id": "SECRET{number}"')
    text = text.replace("Encounter/e1", f"Encounter/e{number}").replace('"id": "e1"', f'"id": "e{number}"')
    text = text.replace('"id": "o', f'"id": "o{number}-')
    resources = [one["resource"] for one in json.loads(text)["entry"]]
    encounter = next(one for one in resources if one["resourceType"] == "Encounter")
    encounter["period"]["end"], encounter["status"] = end, "finished"
    return resources


def bundle(resources: list[dict[str, Any]]) -> str:
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in resources]})


def test_a_stay_is_scored_as_it_was_known_at_the_moment_of_the_release(tmp_path: Path, risk: Path, archive: Make) -> None:
    resources = stay(1)
    late = next(one for one in resources if one["resourceType"] == "Observation" and "9269-2" in json.dumps(one))
    late["issued"] = "2026-03-08T08:00:00+00:00"  # told after 48 h: nobody knew it
    (tmp_path / "one.json").write_text(bundle(resources))
    (row,) = archive(risk, tmp_path).rows()
    model = Model(risk)
    known = [one for one in resources if one is not late]
    expected = model.predict(read_bundle(json.loads(bundle(known)), encounter="Encounter/e1").record)
    assert {one.name: one.value for one in expected.findings} == row.values
    assert {"sex": "F", "age_years": 70.0, "year": 2026} == row.attributes
    assert NAMES.hash("patient", "SECRET1") == row.ids["patient"] == row.group
    assert "SECRET" not in row.to_line()


def test_the_age_of_the_oldest_is_told_nowhere(tmp_path: Path, risk: Path, archive: Make) -> None:
    (tmp_path / "old.json").write_text(bundle(stay(1, birth_date="1930-01-15")))
    (row,) = archive(risk, tmp_path).rows()
    assert 90 == row.attributes["age_years"]
    assert 90 == row.statistics["feature.age"]


def test_stays_that_ended_before_the_moment_or_never_began_are_no_cases(tmp_path: Path, risk: Path, archive: Make) -> None:
    (tmp_path / "short.json").write_text(bundle(stay(1, end="2026-03-02T08:00:00+00:00")))
    planned = stay(2)
    planned[1]["status"] = "planned"
    (tmp_path / "planned.json").write_text(bundle(planned))
    (tmp_path / "other.json").write_text('{"resourceType": "Organization", "id": "x"}')
    made = archive(risk, tmp_path)
    assert [] == made.cases
    assert {"stay_ended_before_moment": 1, "stay_not_held": 1, "no_record": 1} == dict(made.source.left_out)


def test_every_stay_of_a_bundle_is_a_case_of_one_person(tmp_path: Path, risk: Path, archive: Make) -> None:
    resources = stay(1)
    second = json.loads(json.dumps(resources[1])) | {"id": "again"}
    second["period"] = {"start": "2026-05-01T08:00:00+00:00", "end": "2026-05-09T08:00:00+00:00"}
    (tmp_path / "two.json").write_text(bundle([*resources, second]))
    rows = archive(risk, tmp_path).rows()
    assert 2 == len(rows) == len({row.ids["study"] for row in rows})
    assert 1 == len({row.group for row in rows})
    assert ["refused", "scored"] == sorted(row.status for row in rows)  # the second stay has no measurements


def test_json_that_is_damaged_has_failed(tmp_path: Path, risk: Path, archive: Make) -> None:
    (tmp_path / "bad.json").write_text('{"resourceType": "Bundle", ')
    assert [("failed", "not_json")] == [(row.status, row.reason) for row in archive(risk, tmp_path).rows()]


def figures(made: Archive) -> list[tuple[str, dict[str, float]]]:
    return sorted((row.ids["study"], row.values) for row in made.rows())


def test_a_bulk_export_gives_the_figures_of_the_bundles(tmp_path: Path, risk: Path, archive: Make) -> None:
    bundles, export = tmp_path / "bundles", tmp_path / "export"
    bundles.mkdir()
    export.mkdir()
    kinds: dict[str, list[str]] = {}
    for number in range(3):
        resources = stay(number)
        (bundles / f"{number}.json").write_text(bundle(resources))
        for one in resources:
            kinds.setdefault(one["resourceType"], []).append(json.dumps(one))
    for kind, lines in kinds.items():
        half = len(lines) // 2
        (export / f"{kind}.000.ndjson").write_text("\n".join(lines[:half]) + "\n")
        (export / f"{kind}.001.ndjson").write_text("\n".join(lines[half:]) + "\n{broken\n")
    made = archive(risk, export)
    assert figures(archive(risk, bundles)) == figures(made)
    assert 3 == made.source.left_out["damaged_line"]


@pytest.mark.parametrize("everything", [True, False])
def test_a_server_gives_the_figures_of_the_bundles(tmp_path: Path, risk: Path, archive: Make, everything: bool) -> None:
    people = [stay(number) for number in range(3)]
    for number, resources in enumerate(people):
        (tmp_path / f"{number}.json").write_text(bundle(resources))
    server = Fhir([one for resources in people for one in resources], most=25, everything=everything)
    with serving(server.answer, Trouble(times=1)) as root:
        assert figures(archive(risk, tmp_path)) == figures(archive(risk, f"{root}/fhir"))


def test_a_cohort_is_the_search_it_says_in_pages(risk: Path, archive: Make) -> None:
    server = Fhir([one for number in range(5) for one in stay(number)], most=2)
    trouble = Trouble()
    with serving(server.answer, trouble) as root:
        made = archive(risk, f"{root}/fhir", cohort="Encounter?class=IMP&date=ge2026-01-01")
    assert 5 == len(made.cases)
    assert "/fhir/Encounter?class=IMP&date=ge2026-01-01&_count=100" == trouble.asked[0]


def test_a_server_that_leads_in_a_circle_is_left(risk: Path, archive: Make) -> None:
    with serving(Fhir(stay(1), circle=True).answer, Trouble()) as root:
        assert {"Encounter/e1"} == {one.name for one in archive(risk, f"{root}/fhir").found}


def test_a_next_page_elsewhere_is_not_asked_for(risk: Path, archive: Make) -> None:
    told = {"resourceType": "Bundle", "entry": [], "link": [{"relation": "next", "url": "http://elsewhere.example.org/fhir?SECRET"}]}
    with serving(lambda *_: (200, "application/fhir+json", json.dumps(told).encode()), Trouble()) as root, \
            pytest.raises(ArchiveAway, match="same server") as found:
        archive(risk, f"{root}/fhir")
    assert "SECRET" not in str(found.value)
