"""Trust without the EHR side: a site that asks for sign-offs is obeyed by a process that serves /v1 alone, and opens nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.errors import UnusableInput
from service.access.caller import Caller
from service.audit.audit import Audit
from service.dicom.routes import DicomWeb
from service.pipeline import named
from service.releases.releases import Releases
from service.releases.state import installed_in
from service.scoring import Scoring
from service.settings import Settings
from service.site import Site, read_site
from service.store.engine import SQLITE_FILE
from service.store.store import Store
from service.trust import Trust
from tests.make import tiny_release
from tests.make_commissioning import commissioning_of

CHEST = "tiny_chest-1.0.0"
STEWARD = Caller("local:test", name="Test STEWARD")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    tiny_release(tmp_path / "released", "image_classification")
    (tmp_path / "site.toml").write_text('[device]\nlanguage = "en"\n', encoding="utf-8")
    return Settings(store=tmp_path / "store", released=tmp_path / "released", site=tmp_path / "site.toml")


def test_v1_alone_says_nothing_until_somebody_signed(settings: Settings) -> None:
    scoring = Scoring(settings)
    trust = Trust(settings, scoring, None)
    trust.open()
    try:
        scoring.open()
        with pytest.raises(UnusableInput) as caught:
            named(scoring.shelf, "tiny_chest")
        assert caught.value.code == "not_live"
        beside, site = Store.open(settings), read_site(settings.site)
        found, active = installed_in(settings.released or Path())
        releases = Releases(beside, site, Audit(beside, site, settings), {one.id: one for one in found}, active)
        releases.sign(STEWARD, CHEST, commissioning_of(settings.released / CHEST), decision="accepted",  # type: ignore[operator]
                      statement="Read.", known_by="a test")
        releases.live(STEWARD, CHEST)
        beside.close()
        trust.close()
        trust.open()  # as a process that starts now
        assert named(scoring.shelf, "tiny_chest").id == CHEST
    finally:
        trust.close()
        scoring.stop()


@pytest.mark.parametrize("site", [None, "[commissioning]\nrequired = false\n"])
def test_where_nobody_is_asked_v1_alone_opens_no_store(settings: Settings, site: str | None) -> None:
    if site and settings.site:
        settings.site.write_text(site, encoding="utf-8")
    told = settings if site else settings.model_copy(update={"site": None})
    scoring = Scoring(told)
    trust = Trust(told, scoring, None)
    trust.open()
    scoring.open()
    assert named(scoring.shelf, "tiny_chest").id == CHEST
    assert not (told.store / SQLITE_FILE).exists()
    trust.close()
    scoring.stop()


def test_a_process_of_the_pacs_side_alone_watches_its_releases(settings: Settings) -> None:
    if settings.site:
        settings.site.write_text("[commissioning]\nrequired = false\n", encoding="utf-8")
    scoring, room = Scoring(settings), DicomWeb(settings)
    room.open()
    trust = Trust(settings, scoring, room)
    trust.open()
    try:
        assert b"diaphane_watch_age_seconds -1" in room.queues()
        scoring.open()
        assert trust._monitor is not None
        assert trust._monitor.step(datetime(2026, 3, 2, Site().watch.golden_hour, tzinfo=UTC))
        assert b"diaphane_watch_age_seconds -1" not in room.queues()
        assert b'diaphane_golden_checked{release="tiny_chest-1.0.0"}' in room.queues()
    finally:
        trust.close()
        room.close()
        scoring.stop()
