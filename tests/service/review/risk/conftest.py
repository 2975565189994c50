"""The house of the risk page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.scoring import Scoring
from service.settings import Settings
from tests.service.review.risk.risk_house import RiskHouse, bands_release, risk_house


@pytest.fixture(scope="session")
def risk_scoring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scoring]:
    """The tiny release alone, opened once."""
    folder = tmp_path_factory.mktemp("risk-released")
    bands_release(folder)
    scoring = Scoring(Settings(released=folder))
    scoring.open()
    yield scoring
    scoring.stop()


@pytest.fixture
def at(tmp_path: Path, risk_scoring: Scoring) -> Iterator[RiskHouse]:
    """The house, empty."""
    with risk_house(tmp_path, risk_scoring) as opened:
        yield opened
