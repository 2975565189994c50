"""Lines as they are shown: ages, waits, findings and refusals in words, in both languages."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from service.review.worklist.shown import Line, age, line_of, waited
from service.store.review_tables import Entry
from tests.service.review.worklist.listed import FINDING

NOW = 1_763_800_000.0  # 22 Nov 2025


def shown(language: str = "en", **changes: Any) -> Line:
    told: dict[str, Any] = {
        "key": "k", "kind": "study", "target": "1", "urgency": 2, "state": "new", "reason": "", "waiting_since": NOW - 600,
        "changed_at": NOW, "model": "chest-1.0.0",
        "modality": "DX", "department": "ED", "detail": {"findings": [FINDING], "procedure": "Chest"},
    }
    return line_of(Entry(**{**told, **changes}), language, lambda name, _: f"title of {name}", now=NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(("born", "said"), [
    ("20250301", "8 months"), ("2023-11-23", "23 months"), ("20231122", "2 years"), ("19440229", "81 years"), ("20251101", "21 days"),
    ("", ""), ("1950", ""), ("20260101", ""), ("20250230", ""),
])
def test_an_age_is_said_as_wards_do(born: str, said: str) -> None:
    assert age(born, date(2025, 11, 22), "en") == said


@pytest.mark.parametrize(("seconds", "said"), [
    (-5, "now"), (59, "now"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 00"), (172_799, "47 h 59"), (172_800, "2 d"),
    (864_000_000, "10,000 d"),
])
def test_a_wait_is_short(seconds: float, said: str) -> None:
    assert waited(NOW - seconds, NOW, "en") == said


def test_a_finding_is_said_in_words_and_number_and_drawn_only_as_probability() -> None:
    volume = {**FINDING, "kind": "volume", "value": 1.634, "unit": "mL", "threshold": None, "above_threshold": None}
    first, second = shown(detail={"findings": [FINDING, volume]}).findings
    assert (first.label, first.value, first.share, first.above) == ("Pneumonia", "83%", 0.83, True)
    assert (second.value, second.share) == ("1.6 mL", None)
    assert shown("fr").findings[0].label == "Pneumonie"
    assert shown("fr").findings[0].value == "83\u00a0%"


@pytest.mark.parametrize(("value", "said"), [(0.9998, ">\u00a099\u00a0%"), (0.0004, "<\u00a01\u00a0%"), (0.0, "<\u00a01\u00a0%")])
def test_a_probability_fits_its_column_in_french_too_and_is_never_certain(value: float, said: str) -> None:
    assert shown("fr", detail={"findings": [{**FINDING, "value": value}]}).findings[0].value == said


def test_what_does_not_fit_is_counted() -> None:
    line = shown(detail={"findings": [FINDING] * 5})
    assert (len(line.findings), line.more_findings) == (3, 2)


def test_a_refusal_says_which_model_and_why() -> None:
    declined = [{"model": "chest-1.0.0", "status": "refused", "reason": "blank", "message": "The image is blank.", "advice": ""}]
    line = shown(state="refused", reason="blank", detail={"declined": declined})
    assert line.declined == ("title of chest-1.0.0: The image is blank.",)
    assert line.reason


def test_that_no_model_is_meant_for_images_is_said_once() -> None:
    declined = [{"model": f"m{number}-1.0.0", "status": "unfit", "reason": "wrong_modality", "message": "No."} for number in range(3)]
    assert shown(detail={"declined": declined}).declined == ("No model here is meant for these images.",)


def test_silence_of_a_sensor_is_no_all_clear() -> None:
    line = shown(kind="alert", detail={"alert": {"kind": "no_data"}, "title": "Risk of low glucose"})
    assert line.declined == ("No usable measurements come any more: nothing can be assessed.",)
    assert line.what == "Risk of low glucose"


def test_a_line_without_anything_is_shown_all_the_same() -> None:
    line = shown(detail={}, model="", modality="", department="")
    assert (line.name, line.traits, line.what, line.findings, line.declined) == ("", (), "Imaging study", (), ())
