"""Ordinary weeks are quiet, and each mishap is heard: the same judgement as in service, on weeks drawn from a reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.model import Model
from models.reference import Reference
from service.monitor.drill import golden_ring
from service.monitor.judged import EMBEDDING, judge, windows_of
from service.monitor.simulated import Ordinary, injected, week_drawn
from service.monitor.tally import Seen, Tally, added, quantile_of, tally_of, tally_of_json
from service.monitor.weeks import Said, Signal, Week
from tests.service.monitor.conftest import USUAL


def weeks_drawn(model: Model, reference: Reference, *kinds: tuple[Ordinary, int], seed: int = 1) -> list[Week]:
    rng = np.random.default_rng(seed)
    drawn = [week for week, count in kinds for _ in range(count)]
    return [week_drawn(model.manifest, reference, reference, one, number, rng)[0] for number, one in enumerate(drawn)]


def kinds_of(signals: list[Signal]) -> set[str]:
    return {one.kind for one in signals}


def test_ordinary_weeks_ring_nothing(model: Model, reference: Reference) -> None:
    weeks = weeks_drawn(model, reference, (USUAL, 40))
    rung = [one for end in range(1, 41) for one in judge(reference, weeks[:end], weeks[end - 1].tally)]
    assert rung == []


@pytest.mark.parametrize("mishap", [
    "refusals doubled", "one of three readers contradicts six in ten", "half as many alerts are right",
    "results take three times as long", "scores a standard deviation higher", "one laboratory value in another unit",
    "one laboratory value no longer comes", "an older population",
])
def test_a_mishap_rings_its_alarm(model: Model, reference: Reference, mishap: str) -> None:
    usual = replace(USUAL, refused=0.05)
    kind, changed = injected(model.manifest, reference, usual)[mishap]
    weeks = weeks_drawn(model, reference, (usual, 10), (changed, 14), seed=3)
    assert judge(reference, weeks[:10], weeks[9].tally) == []
    assert any(kind in kinds_of(judge(reference, weeks[:count], weeks[count - 1].tally)) for count in range(11, 25)), mishap


def test_a_golden_number_that_moved_by_a_thousandth_is_found(model: Model) -> None:
    ring = golden_ring(model)
    assert ring.rang == ring.tries > 0


def test_an_inverted_day_is_heard_at_once_and_names_its_streams(model: Model, reference: Reference) -> None:
    weeks = weeks_drawn(model, reference, (USUAL, 6))
    shifted = replace(USUAL, change=lambda columns: {
        name: values + (20 if name.startswith("feature.") else 0) for name, values in columns.items()})
    day = weeks_drawn(model, reference, (shifted, 1), seed=9)[0]
    signals = judge(reference, weeks, day.tally)
    assert {one.detail["rule"] for one in signals} == {"far_beyond"}
    assert EMBEDDING in {one.stream for one in signals}
    assert judge(reference, weeks, weeks[0].tally) == []


def test_few_results_make_one_window_of_several_weeks(model: Model, reference: Reference) -> None:
    weeks = weeks_drawn(model, reference, (replace(USUAL, per_week=20), 12))
    windows = windows_of(weeks, 100)
    assert 2 <= len(windows) < 12
    assert all(one.n >= 50 for one in windows)


def test_tallies_add_up_and_read_back(model: Model, reference: Reference) -> None:
    weeks = weeks_drawn(model, reference, (USUAL, 3))
    whole = added(week.tally for week in weeks)
    assert whole.n == sum(week.tally.n for week in weeks)
    again = tally_of_json(whole.to_json())
    assert again.n == whole.n
    assert again.positives == whole.positives
    assert again.latency == whole.latency
    for name, stream in whole.streams.items():
        assert again.streams[name].counts.tolist() == stream.counts.tolist()
        assert again.streams[name].mean == pytest.approx(stream.mean)
    assert again.embedding == pytest.approx(whole.embedding)
    assert (Tally() + whole).n == whole.n


def test_a_refused_case_without_pixels_is_missing_nowhere(model: Model, reference: Reference) -> None:
    early = Seen("refused", "wrong_age", 0.01, {}, {}, {}, {})
    tally = tally_of([early], reference)
    assert (tally.n, tally.refused, tally.reasons["wrong_age"]) == (1, 1, 1)
    assert all(stream.counts.sum() == 0 for stream in tally.streams.values())


def test_the_time_of_a_result_is_known_to_a_quarter_of_a_doubling() -> None:
    tally = tally_of([Seen("scored", "", seconds, {}, {}, {}, {}) for seconds in (0.1, 0.2, 0.4)], None)
    assert quantile_of(tally.latency, 0.5) == pytest.approx(0.2, rel=0.2)
    assert quantile_of({}, 0.5) is None


def test_people_who_said_too_little_are_not_judged(reference: Reference) -> None:
    weeks = [Week(str(number), Tally(), Said(5, 0 if number < 10 else 5, 0, 0, {})) for number in range(16)]
    assert judge(reference, weeks) == []
    more = [Week(str(number), Tally(), Said(20, 1 if number < 10 else 12, 0, 0, {})) for number in range(16)]
    assert kinds_of(judge(reference, more)) == {"agreement"}
