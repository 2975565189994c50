"""A card leads to the page of what it tells of, and the risk is kept shortly after it was shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from service.cds_hooks.page_link import study_links
from service.store import entries, risks
from service.store.entries import NewEntry
from service.store.errors import StoreError
from tests.service.cds_hooks.cds_house import PLACE, CdsHouse, call, cds_house, only, prefetch_of, sample
from tests.service.monitoring.home import with_empty_database

BASE = "https://diaphane.example.org"


@contextmanager
def paged(folder: Path, **told: Any) -> Iterator[CdsHouse]:
    """Open a house whose page is on, without the gate before it."""
    with_empty_database(folder / "store")
    with cds_house(folder, only(folder, "readmission_30d"), **told) as house:
        house.house.settings.__dict__["review"] = True  # frozen otherwise
        yield house



def chart(house: CdsHouse, name: str = "readmission_30d/high-risk.json",
          instance: str = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea") -> list[dict[str, Any]]:
    service = next(one for one in house.discover() if one["id"] == "readmission-30d" and one["hook"] == "encounter-discharge")
    bundle = sample(name)
    told = call("encounter-discharge", PLACE, prefetch_of(bundle, service, PLACE))
    return house.cards("readmission-30d", {**told, "hookInstance": instance})


def page_of(card: dict[str, Any]) -> str:
    [link] = [one for one in card["links"] if one["label"] == "Open in Diaphane"]
    return urlsplit(link["url"]).path


def test_the_link_of_a_card_leads_to_the_risk_it_told(tmp_path: Path) -> None:
    with paged(tmp_path, public_url=BASE) as house:
        [card] = chart(house)
        assert card["links"][0]["url"].startswith(f"{BASE}/review/risks/")
        key = page_of(card).rpartition("/")[2]
        assert risks.by_key(house.house.store, key) is None  # nobody waits for the disk
        house.flush()
        kept = risks.by_key(house.house.store, key)
        assert kept is not None
        assert (kept.card, kept.source) == (card["uuid"], "hook:encounter-discharge")
        assert kept.value == pytest.approx(0.649, abs=1e-3)
        line = entries.by_target(house.house.store, "risk", key)
        assert line is not None
        assert (line.state, line.department) == ("new", kept.department)


def test_the_chart_opened_again_is_the_same_risk_with_the_latest_card(tmp_path: Path) -> None:
    with paged(tmp_path, public_url=BASE) as house:
        [first] = chart(house)
        house.flush()
        [second] = chart(house, instance="8f5b0d6e-54d5-4c5e-9f0b-2b1c6a1a0a11")
        house.flush()
        assert page_of(first) == page_of(second)
        assert first["uuid"] != second["uuid"]
        kept = risks.by_key(house.house.store, page_of(first).rpartition("/")[2])
        assert kept is not None
        assert kept.card == second["uuid"]


def test_a_refusal_is_kept_and_needs_no_line(tmp_path: Path) -> None:
    with paged(tmp_path, public_url=BASE) as house:
        [card] = chart(house, "readmission_30d/no-diabetes.json")
        house.flush()
        key = page_of(card).rpartition("/")[2]
        kept = risks.by_key(house.house.store, key)
        assert kept is not None
        assert kept.status == "refused"
        assert entries.by_target(house.house.store, "risk", key) is None


def test_without_the_page_a_card_is_as_before_and_nothing_is_kept(tmp_path: Path) -> None:
    with cds_house(tmp_path, only(tmp_path, "readmission_30d"), public_url=BASE) as house:
        [card] = chart(house)
        house.flush()
        assert "Open in Diaphane" not in str(card)
        assert house.hooks._keeping._risks == []


def test_without_a_public_address_there_is_no_link_and_the_risk_is_kept(tmp_path: Path) -> None:
    with paged(tmp_path) as house:
        [card] = chart(house)
        assert "Open in Diaphane" not in str(card)
        [waiting] = house.hooks._keeping._risks
        house.flush()
        assert risks.by_key(house.house.store, waiting.key) is not None


def test_a_store_that_stays_away_loses_no_risk_and_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with paged(tmp_path) as house:
        chart(house)

        def away(*_: object) -> None:
            raise StoreError("away", code="unreachable")

        with monkeypatch.context() as patch:
            patch.setattr("service.cds_hooks.keeping.write", away)
            house.flush()
            assert len(house.hooks._keeping._risks) == 1
            house.hooks._keeping.add((), house.hooks._keeping._risks * 5000)
            assert len(house.hooks._keeping._risks) == 1000
        house.hooks._keeping._risks = house.hooks._keeping._risks[:1]
        house.flush()
        assert house.hooks._keeping._risks == []


def test_a_study_that_is_listed_has_its_page(tmp_path: Path) -> None:
    with paged(tmp_path, public_url=BASE) as house:
        asked: Any = SimpleNamespace(house=house.house, language="en")
        assert study_links(asked, "1.2.3") == []
        with house.house.store.session() as session:
            key = entries.put(session, NewEntry("study", "1.2.3", 1, 0.0, "1", {}))
        assert [one["url"] for one in study_links(asked, "1.2.3")] == [f"{BASE}/review/studies/{key}"]
