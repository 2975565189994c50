"""`python -m service status`: counts, failures with reasons, and what to do, without a name in it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from service.site import Site, Target
from service.status import duration, retry_all, show
from service.store import queue
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.tables import Job
from tests.make_store import image_of, store_for

SITE = Site(targets=[Target(name="pacs", kind="dimse", host="127.0.0.1", port=104)])


def shown(folder: Path, *, as_json: bool = False) -> str:
    store, out = store_for(folder), io.StringIO()
    show(store, SITE, as_json=as_json, console=Console(file=out, width=160))
    store.close()
    return out.getvalue()


def test_an_empty_store_says_that_nothing_failed(tmp_path: Path) -> None:
    assert "Nothing has failed." in shown(tmp_path)


def test_a_quarantined_job_is_shown_with_its_reason_and_the_command_that_tries_again(tmp_path: Path) -> None:
    store = store_for(tmp_path)
    receive(store, [image_of(1)], quiet_s=0)
    seal_due(store)
    row = queue.claim(store, Job, worker="w", lease_s=60)
    assert row is not None
    queue.fail(store, Job, queue.claim_of(row), "the decoding process was killed by SIGSEGV", max_attempts=1)
    text = shown(tmp_path)
    assert "killed by SIGSEGV" in text
    assert "python -m service retry" in text
    assert "CANARI" not in text
    found = json.loads(shown(tmp_path, as_json=True))
    assert (found["jobs"], found["failures"][0]["state"]) == ({"quarantined": 1}, "quarantined")
    assert retry_all(store) == (1, 0)
    assert json.loads(shown(tmp_path, as_json=True))["jobs"] == {"done": 1, "queued": 1}
    store.close()


@pytest.mark.parametrize(("seconds", "said"), [(0, "0 s"), (59.9, "59 s"), (3600, "1 h"), (90_061, "1 d 1 h")])
def test_durations_are_said_in_two_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said
