"""The report of the bench: percentiles, bars, and what counts as lost, doubled or grown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.bench.ingest import Rates
from service.bench.path import Passage
from service.bench.report import Row, fifth, ingest_rows, path_rows, quantile, save, to_markdown

MACHINE = {"cpu": "a processor", "cores": 2, "versions": {"pydicom": "3.0.2"}, "others_share": {"ingest": 0.25}}


def passage(*, reports: dict[str, int], at: dict[str, float]) -> Passage:
    """Make two studies of two images each, sent at 0 and at 3 seconds."""
    found = Passage(study_of={"a": 0, "b": 0, "c": 1, "d": 1}, sent_at={"a": 0.0, "b": 0.0, "c": 3.0, "d": 3.0}, cpu_s=2.0)
    found.reports.update(reports)
    found.reported_at.update(at)
    return found


def row(rows: list[Row], name: str) -> Row:
    return next(one for one in rows if one.name == name)


def test_a_study_takes_until_the_last_of_its_reports() -> None:
    found = passage(reports={"a": 1, "b": 1, "c": 1, "d": 1}, at={"a": 1.0, "b": 4.0, "c": 3.5, "d": 3.25})
    assert [4.0, 0.5] == found.latencies_s
    rows = path_rows(found, studies_per_h=1200)
    assert 4.0 == row(rows, "95th percentile of it").value
    assert 500 == row(rows, "CPU an image, all our processes").value


def test_an_image_without_a_report_is_lost_and_its_study_has_no_time() -> None:
    found = passage(reports={"a": 1, "b": 1, "c": 1}, at={"a": 1.0, "b": 2.0, "c": 4.0})
    assert (1, [2.0]) == (found.lost, found.latencies_s)
    assert row(path_rows(found, studies_per_h=1200), "images without a report").reached is False


def test_an_image_in_two_reports_is_doubled() -> None:
    found = passage(reports={"a": 2, "b": 1, "c": 1, "d": 1}, at={"a": 1.0, "b": 1.0, "c": 4.0, "d": 4.0})
    assert (0, 1) == (found.lost, found.doubled)
    assert row(path_rows(found, studies_per_h=1200), "images with two reports").reached is False


@pytest.mark.parametrize(("last", "flat"), [(104.0, True), (120.0, False)])
def test_memory_is_flat_when_the_last_fifth_is_no_more_than_the_second(last: float, flat: bool) -> None:
    found = passage(reports={}, at={})
    found.memory |= {"work": [50.0, 100.0, 100.0, 100.0, last], "Orthanc": [10.0, 10.0, 10.0, 10.0, 900.0]}
    assert flat is row(path_rows(found, studies_per_h=1200), "memory of all of ours, end over start").reached


def test_ours_is_compared_with_another_within_each_round() -> None:
    rates = [Rates("Diaphane", "all", [200.0, 100.0, 150.0], [4.0, 4.0, 4.0], 30, 30),
             Rates("Orthanc", "files", [100.0, 100.0, 100.0], [4.0, 4.0, 4.0], 30, 29)]
    rows = ingest_rows(rates)
    ratio = row(rows, "Diaphane over Orthanc")
    assert (1.5, 1.0, 2.0, True) == (ratio.value, ratio.low, ratio.high, ratio.reached)
    assert row(rows, "Diaphane: CT images a second").reached is True
    assert row(rows, "Orthanc: images acknowledged and not there").reached is False


def test_a_short_run_judges_no_time_but_still_every_image() -> None:
    found = passage(reports={"a": 1}, at={"a": 99.0})
    bars = {one.name for one in path_rows(found, studies_per_h=1200, timed=False) if one.bar is not None}
    assert {"images without a report", "images with two reports", "reports of nothing that was sent",
            "studies that their sender did not get rid of", "unfinished in the end"} == bars


def test_percentiles_and_fifths_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(1, 21)]
    assert (1.0, 2.0, 19.0, 20.0) == (quantile(values, 0), quantile(values, 0.1), quantile(values, 0.95), quantile(values, 1))
    assert ([5.0, 6.0, 7.0, 8.0], [17.0, 18.0, 19.0, 20.0]) == (fifth(values, 1), fifth(values, 4))


def test_it_is_written_as_json_and_as_markdown(tmp_path: Path) -> None:
    rows = [Row("ingest", "images a second", 151.4, "1/s", 140.0, 160.0, bar=150.0), Row("full path", "longest", 0.5, "s")]
    save(rows, MACHINE, tmp_path / "made" / "bench.json")
    told = json.loads((tmp_path / "made" / "bench.json").read_text(encoding="utf-8"))
    assert [True, None] == [one["reached"] for one in told["rows"]]
    lines = (tmp_path / "made" / "bench.md").read_text(encoding="utf-8").splitlines()
    assert "a processor, 2 cores; pydicom 3.0.2. Cores kept busy by other programs: ingest: 25%." == lines[0]
    assert "| ingest | images a second | 151 1/s | 140-160 | ≥ 150 1/s | reached |  |" in lines
    assert to_markdown(rows, MACHINE).splitlines() == lines
