"""The leash: held while the work goes on, let go by a process that hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sqlalchemy import select

from service.leash import Leash
from service.store import queue
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.store import Store
from service.store.tables import Job
from tests.make_store import image_of, store_for

HANGS = """
import sys, time
from pathlib import Path
from service.leash import Leash
from service.store import queue
from service.store.tables import Job
from tests.make_store import store_for

store = store_for(Path(sys.argv[1]))
row = queue.claim(store, Job, worker="hangs", lease_s=0.6)
with Leash(store, Job, queue.claim_of(row), 0.6, longest_s=1.0):
    time.sleep(120)
"""


def one_job(folder: Path) -> Store:
    store = store_for(folder)
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    return store


def test_a_lease_is_held_for_as_long_as_the_work_goes_on(tmp_path: Path) -> None:
    store = one_job(tmp_path)
    row = queue.claim(store, Job, worker="w", lease_s=0.6)
    assert row is not None
    with Leash(store, Job, queue.claim_of(row), 0.6):
        time.sleep(1.0)
        taken = queue.claim(store, Job, worker="other", lease_s=0.6)
    with store.session() as session:
        queue.finish(session, Job, queue.claim_of(row))
    store.close()
    assert taken is None


def test_a_process_that_hangs_ends_and_another_takes_its_job(tmp_path: Path) -> None:
    store = one_job(tmp_path)
    hung = subprocess.run([sys.executable, "-c", HANGS, str(tmp_path)], check=False, timeout=60, cwd=Path(__file__).parents[2],
                          env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 10
    while (row := queue.claim(store, Job, worker="other", lease_s=60)) is None and time.monotonic() < end:
        time.sleep(0.05)
    with store.reading() as session:
        tries = session.scalars(select(Job.attempts)).one()
    store.close()
    assert (-signal.SIGKILL, True, 2) == (hung.returncode, row is not None, tries)
