"""Sensors of the test subjects replayed through the application: the scores of the model card, and what a team would be told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from models.model import Model
from models.prediction import Prediction
from tests.make import ROOT, data_root, needs_data
from tests.service.monitoring.home import BEGAN, heart_rate, home

RELEASED = ROOT / "models" / "released"
NAME = "hypoglycaemia_60min"
SENSORS = 4  # of the test subjects, some 1,000 readings each
AHEAD_MIN = 60.0

pytestmark = [
    needs_data, pytest.mark.slow,
    pytest.mark.skipif(not any(RELEASED.glob(f"{NAME}-*")), reason=f"no release {NAME} is here"),
]


@dataclass
class Figures:
    """What a replay came to. ``compared``: moments whose score is that of the release on the training reader's record."""

    compared: int = 0
    episodes: int = 0
    told: int = 0
    alerts: int = 0
    false: int = 0
    days: float = 0.0


def test_a_replay_scores_as_the_card_does_and_tells_most_episodes_with_few_false_alerts(tmp_path: Path) -> None:
    found = Figures()
    for number in range(SENSORS):
        replay(number, tmp_path, found)
    assert found.compared > 500 * SENSORS
    assert found.told >= 0.5 * found.episodes
    assert found.false / found.days <= 1.0


def replay(number: int, folder: Path, found: Figures) -> None:
    """Send the readings of one test sensor one by one, as they were taken, and add to the figures."""
    from training.alerts import onsets_of
    from training.data import cgm

    model = Model(sorted(RELEASED.glob(f"{NAME}-*"))[-1])
    only = folder / f"released-{number}"
    only.mkdir()
    (only / model.folder.name).symlink_to(model.folder)
    sensor = cgm.wearings("test", data_root())[number]
    scored = {place: start for start, place, _ in cgm.moments(sensor)}
    with home(folder / str(number), released=only) as opened:
        for place, (minute, value) in enumerate(zip(sensor.minutes.tolist(), sensor.values.tolist(), strict=True)):
            opened.clock.minute = minute
            answer = opened.post(reading(minute, value))
            assert answer.status_code == 201, answer.text
            if place in scored:
                seen = slice(scored[place], place + 1)
                result = model.predict(cgm.Record({"GlucoseCGM": cgm.Series(sensor.minutes[seen], sensor.values[seen])}, {}))
                if isinstance(result, Prediction):
                    assert opened.watched(model=NAME).value == pytest.approx(result.main.value, abs=1e-5)
                    found.compared += 1
        alerts = [one for one in opened.alerts() if one.kind == "risk"]
    last = float(sensor.minutes[-1])
    spans = [(_minute(one.raised_at, last), _minute(one.cleared_at, last)) for one in alerts]
    onsets, lows = onsets_of(sensor), sensor.minutes[sensor.values < cgm.LIMIT_MG_DL].tolist()
    found.episodes += len(onsets)
    found.told += sum(any(begin < onset and end >= onset - AHEAD_MIN for begin, end in spans) for onset in onsets)
    found.alerts += len(spans)
    found.false += sum(not any(begin <= low <= end + AHEAD_MIN for low in lows) for begin, end in spans)
    found.days += last / 1440


def reading(minute: float, value: float) -> dict[str, Any]:
    """Make an Observation of a glucose sensor."""
    return {
        **heart_rate(minute, None), "code": {"coding": [{"system": "http://loinc.org", "code": "99504-3"}]},
        "valueQuantity": {"value": value, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
    }


def _minute(seconds: float | None, last: float) -> float:
    return last if seconds is None else (seconds - BEGAN.timestamp()) / 60
