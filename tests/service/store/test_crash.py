"""Acknowledged means kept: receivers killed in the middle of it, and two at once over one store."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from service.store.cases import instances_of, seal_due
from service.store.store import Store
from service.store.tables import Instance, Job
from tests.make import ROOT
from tests.make_store import store_for
from tests.service.store.keep_putting import THREADS

KILLS = 2


def start(folder: Path, database: str, first: int, last: int, content: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.service.store.keep_putting", str(folder), database, str(first), str(last), content]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def rows_of(store: Store) -> Counter[tuple[str, str]]:
    with store.reading() as session:
        return Counter((uid, sha256) for uid, sha256 in session.execute(select(Instance.sop_uid, Instance.sha256)))


def test_every_acknowledged_image_outlives_a_killed_receiver(database: str, tmp_path: Path) -> None:
    randomly = random.Random(20260301)
    acknowledged: Counter[tuple[str, str]] = Counter()
    for kill in range(KILLS):
        receiver = start(tmp_path, database, 1000 * kill, 1000 * kill + 1000, "k")
        assert receiver.stdout
        for _ in range(randomly.randrange(20, 120)):
            acknowledged[tuple(receiver.stdout.readline().split()[1:])] += 1  # type: ignore[index]
        receiver.kill()
        for line in receiver.stdout:  # said before it died
            acknowledged[tuple(line.split()[1:])] += 1  # type: ignore[index]
        receiver.stdout.close()
        assert -9 == receiver.wait(60)
    store = store_for(tmp_path, database=database)
    rows = rows_of(store)
    assert set() == set(acknowledged) - set(rows)
    assert {1} == set(rows.values())
    for _, sha256 in rows:
        assert b"slice" == store.objects.get(sha256)[:5]  # the hash is checked
    seal_due(store, now=2e9)
    with store.reading() as session:
        held = [one.sop_uid for revision in session.scalars(select(Job.revision_id)) for one in instances_of(store, revision)]
    assert sorted(uid for uid, _ in rows) == sorted(held)
    store.close()


def test_two_receivers_with_the_same_images_store_each_once(database: str, tmp_path: Path) -> None:
    both = [start(tmp_path, database, 0, 12, "same") for _ in range(2)]
    said: Counter[str] = Counter()
    for receiver in both:
        out, _ = receiver.communicate(timeout=120)
        assert 0 == receiver.returncode
        said.update(line.split()[0] for line in out.splitlines())
    assert Counter(stored=12 * THREADS, duplicate=12 * THREADS) == said
    store = store_for(tmp_path, database=database)
    assert ({1}, 12 * THREADS) == (set(rows_of(store).values()), len(rows_of(store)))
    store.close()


@pytest.mark.slow
def test_many_kills_lose_nothing(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "KILLS", 40)
    test_every_acknowledged_image_outlives_a_killed_receiver(database, tmp_path)
