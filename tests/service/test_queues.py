"""The lengths of the queues in /metrics: what waits and how old it is, and no identifier."""

from __future__ import annotations

from pathlib import Path

from service.queues import text
from service.store.cases import seal_due
from tests.make import radiograph_dataset
from tests.service.dicom.web_house import opened

FOUND = {
    "instances": 3, "cases_waiting": 1, "jobs": {"queued": 2, "quarantined": 1}, "results": {"scored": 4},
    "deliveries": {"pacs": {"queued": 5}}, "oldest_job_at": 940.0, "oldest_delivery_at": None,
}


def test_every_state_and_target_is_a_line_and_ages_are_seconds() -> None:
    lines = text(FOUND, now=1000.0).decode().splitlines()
    assert {
        "diaphane_cases_waiting 1.0", 'diaphane_jobs{state="queued"} 2.0', 'diaphane_jobs{state="quarantined"} 1.0',
        'diaphane_deliveries{state="queued",target="pacs"} 5.0', "diaphane_oldest_job_seconds 60.0",
        "diaphane_oldest_delivery_seconds 0.0",
    } <= set(lines)


def test_metrics_of_a_house_with_a_store_count_what_was_sealed(tmp_path: Path) -> None:
    with opened(tmp_path) as house:
        house.send([radiograph_dataset()])
        seal_due(house.store)
        counted = house.client.get("/metrics").text
    assert 'diaphane_jobs{state="queued"} 1.0' in counted
    assert "CANARI" not in counted
