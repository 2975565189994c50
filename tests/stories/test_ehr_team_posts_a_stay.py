"""As the EHR team I post a FHIR Bundle of a stay's first 48 h and get the risk, and what every measurement adds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.make import icu_bundle

FHIR = {"content-type": "application/fhir+json"}


def risk(client: TestClient, **stay: Any) -> dict[str, Any]:
    answer = client.post("/v1/records", content=json.dumps(icu_bundle(**stay)), headers=FHIR)
    assert 200 == answer.status_code, answer.text
    return dict(answer.json()["results"][0])


def test_ehr_team_posts_a_stay(client: TestClient) -> None:
    result = risk(client)

    death = result["findings"][0]
    assert "scored" == result["status"]
    assert 0 < death["value"] < 1
    parts = result["explanation"]["contributions"]
    assert death["logit"] == pytest.approx(sum(result["explanation"]["bias"].values()) + sum(p["logit"] for p in parts),
                                           abs=1e-4)
    assert all(part["label"] and part["odds_multiplier"] > 0 for part in parts)


def test_a_deeper_coma_raises_the_risk_and_the_answer_says_by_what(client: TestClient) -> None:
    awake, comatose = risk(client, gcs=15.0), risk(client, gcs=4.0)

    assert comatose["findings"][0]["value"] > awake["findings"][0]["value"]
    changed = {
        after["term"] for before, after in
        zip(awake["explanation"]["contributions"], comatose["explanation"]["contributions"], strict=True)
        if before["logit"] != after["logit"]
    }
    assert changed
    assert all("gcs" in term for term in changed)


def test_a_measurement_that_is_absent_is_said_to_be(client: TestClient) -> None:
    parts = risk(client, creatinine_mg_dl=None)["explanation"]["contributions"]

    assert 1 == sum(part["missing"] for part in parts)
