"""Retention by the site's periods: what is old goes, but for what is under a legal hold."""

from __future__ import annotations

import time
from pathlib import Path

from sqlalchemy import text

from service.rights.retention import DAY_S, prune_by_site
from service.site import Site
from tests.service.rights.person_data import CANARY, DPO, fill, rights_of

YEAR = Site.model_validate({"retention": {"images_days": 365, "risks_days": 30}})


def test_old_studies_and_risks_go_but_for_those_that_are_held(tmp_path: Path) -> None:
    here = rights_of(tmp_path)
    for number in (1, 2):
        fill(here.store, number)
    here.hold(DPO, here.find(DPO, f"{CANARY}2-0001"), "RG 26/1")
    here.hold(DPO, here.find(DPO, f"Patient/{CANARY}2-12"), "RG 26/1")
    assert (0, 0) == (prune_by_site(here.store, YEAR).studies, prune_by_site(here.store, YEAR).risks)  # young
    with here.store.session() as session:
        for table, column in (("studies", "received_at"), ("instances", "received_at"), ("cases", "last_received_at")):
            session.execute(text(f"UPDATE {table} SET {column} = {column} - {400 * DAY_S}"))
    done = prune_by_site(here.store, YEAR, now=time.time() + 31 * DAY_S)
    assert (1, 1) == (done.studies, done.risks)
    assert not here.find(DPO, f"{CANARY}1-0001").is_held_here
    assert 1 == len(here.find(DPO, f"{CANARY}2-0001").studies)
    assert 1 == len(here.find(DPO, f"Patient/{CANARY}2-12").risks)


def test_without_periods_nothing_goes(tmp_path: Path) -> None:
    here = rights_of(tmp_path)
    fill(here.store, 1)
    done = prune_by_site(here.store, Site(), now=time.time() + 9999 * DAY_S)
    assert (0, 0, 0) == (done.studies, done.risks, done.audit_lines)
