"""A hospital's FHIR server, played by Medplum's own router, is scored as an archive: its stays give the figures of their Bundles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from models.errors import UnusableInput
from models.model import Model
from models.read_fhir import read_bundle
from tests.make import icu_bundle, tiny_release
from tests.peers.fhir_server import Medplum, medplum, needs_medplum
from training.archive.cases import case_of
from training.archive.score import plan_for
from training.archive.score_case import Scorer
from training.archive.scored import Names
from training.archive.source import source_of

pytestmark = needs_medplum
NAMES = Names(bytes(range(32)))
RATES = (70.0, 120.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Medplum]:
    """Two ended stays; the server gives identifiers of its own, as hospitals' do."""
    with medplum() as running:
        for rate in RATES:
            names: dict[str, str] = {}
            for entry in icu_bundle(heart_rate=rate, hours=49)["entry"]:
                resource = entry["resource"]
                for key in ("subject", "encounter"):
                    if key in resource:
                        resource[key] = {"reference": names[resource[key]["reference"]]}
                if resource["resourceType"] == "Encounter":
                    resource["status"], resource["period"]["end"] = "finished", "2026-03-20T08:00:00Z"
                own = f"{resource['resourceType']}/{resource.pop('id')}"
                answer = running.http.post(f"{running.url}/{resource['resourceType']}", json=resource)
                assert 201 == answer.status_code, answer.text
                names[own] = f"{resource['resourceType']}/{answer.json()['id']}"
        yield running


def test_stays_of_a_server_give_the_figures_of_their_bundles(server: Medplum, tmp_path: Path) -> None:
    release = tiny_release(tmp_path / "shelf", "risk")
    plan = plan_for(release, server.url, tmp_path / "rows", cohort="Encounter?status=finished")
    with closing(source_of(plan, NAMES)) as source, closing(Scorer(plan, NAMES)) as scorer:
        found = list(source.find(lambda _: None))
        rows = [scorer.score(case_of(one, NAMES)).row for one in found]
    assert len(RATES) == len(rows)
    model = Model(release)
    expected = []
    for rate in RATES:
        result = model.predict(read_bundle(icu_bundle(heart_rate=rate, hours=49)).record)
        expected.append({one.name: one.value for one in result.findings})
    assert sorted(expected, key=str) == sorted((row.values for row in rows if row), key=str)
    assert len(RATES) == len({row.group for row in rows if row})


def test_a_search_that_gives_less_than_it_says_is_no_archive(server: Medplum, tmp_path: Path) -> None:
    """Medplum's router counts all and writes no link to the next page: half of a hospital would be missing unseen."""
    release = tiny_release(tmp_path / "shelf", "risk")
    plan = plan_for(release, server.url, tmp_path / "rows", cohort="Encounter?status=finished&_count=1")
    with closing(source_of(plan, NAMES)) as source, pytest.raises(UnusableInput, match="said 2 and gave 1"):
        list(source.find(lambda _: None))
