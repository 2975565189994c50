"""Pruning: finished studies go whole, with their files; nothing unfinished goes, and no file that another row names."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, text

from service.store import queue
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import save_result
from service.store.query import find_studies
from service.store.retention import ORPHAN_S, prune
from service.store.store import Store
from service.store.tables import Delivery, Job, Leftover
from service.store.workitems import add_workitem, search_workitems
from tests.make_store import ROOT_UID, MadeArrival, image_of, object_of, slice_of

OLD_S = 10 * 86_400.0


def finish_study(store: Store, study: int, *, deliver: bool = True) -> MadeArrival:
    """Take a radiograph all the way to its delivered result."""
    arrival = image_of(study)
    receive(store, [arrival], quiet_s=0)
    seal_due(store)
    row = queue.claim(store, Job, worker="w", lease_s=60)
    assert row is not None
    with store.session() as session:
        save_result(session, row.revision_id, model="m", status="scored", reason="", summary={}, objects=[object_of(study, 1)],
                    targets=["pacs"], priority=0)
        queue.finish(session, Job, queue.claim_of(row))
    if deliver:
        delivery = queue.claim(store, Delivery, worker="d", lease_s=60)
        assert delivery is not None
        with store.session() as session:
            queue.finish(session, Delivery, queue.claim_of(delivery))
    return arrival


def age(store: Store) -> None:
    """Make everything received so far old."""
    with store.session() as session:
        for table, column in (("studies", "received_at"), ("instances", "received_at"), ("cases", "last_received_at")):
            session.execute(text(f"UPDATE {table} SET {column} = {column} - {2 * OLD_S}"))


def studies(store: Store) -> set[str]:
    return {study["0020000D"]["Value"][0] for study in find_studies(store)}


def kept(store: Store, arrival: MadeArrival) -> bool:
    path = store.objects.path(arrival.sha256)
    return path is not None and path.exists()


def test_old_finished_study_goes_with_its_files(store: Store) -> None:
    arrival = finish_study(store, 1)
    age(store)
    young = finish_study(store, 2)
    assert 1 == prune(store, OLD_S)
    assert {young.study_uid} == studies(store)
    assert (False, True) == (kept(store, arrival), kept(store, young))
    with store.reading() as session:
        assert [] == list(session.scalars(select(Leftover)))


def test_study_that_waits_for_anything_stays(store: Store) -> None:
    receive(store, [slice_of(1, 1, study=1)], quiet_s=1e6)  # to be sealed
    receive(store, [image_of(2)], quiet_s=0)
    seal_due(store)  # to be scored
    row = queue.claim(store, Job, worker="w", lease_s=60)
    assert row is not None
    queue.fail(store, Job, queue.claim_of(row), "decoder_killed", max_attempts=1)  # quarantined
    finish_study(store, 3, deliver=False)
    age(store)
    assert 0 == prune(store, OLD_S)


def test_study_with_a_young_image_stays(store: Store) -> None:
    finish_study(store, 1)
    age(store)
    receive(store, [replace(image_of(1, 2), priority=0)], quiet_s=0)
    assert 0 == prune(store, OLD_S)


def test_file_that_another_study_names_stays(store: Store) -> None:
    arrival = finish_study(store, 1)
    age(store)
    receive(store, [replace(image_of(2), data=arrival.data, sha256=arrival.sha256)], quiet_s=0)
    assert 1 == prune(store, OLD_S)
    assert kept(store, arrival)


def test_study_sent_again_after_a_prune_is_new_and_its_result_still_ours(store: Store) -> None:
    arrival = finish_study(store, 1)
    age(store)
    prune(store, OLD_S)
    assert ["stored"] == receive(store, [arrival], quiet_s=0)
    assert arrival.data == store.objects.get(arrival.sha256)
    back = replace(image_of(1), sop_uid=object_of(1, 1).sop_uid)
    assert ["own"] == receive(store, [back], quiet_s=0)


def test_another_process_that_knew_the_study_does_not_lose_an_image(store: Store) -> None:
    arrival = finish_study(store, 1)
    age(store)
    knew = set(store.known)
    prune(store, OLD_S)
    store.known |= knew  # what a receiver in another process still believes
    assert ["stored"] == receive(store, [arrival], quiet_s=0)
    assert {arrival.study_uid} == studies(store)


def test_files_listed_by_a_prune_that_died_go_with_the_next(store: Store) -> None:
    sha256 = store.objects.put(b"left")
    with store.session() as session:
        session.add(Leftover(sha256=sha256))
    prune(store, OLD_S)
    path = store.objects.path(sha256)
    assert path is not None
    assert not path.exists()


def test_file_that_never_got_a_row_goes_after_a_day(store: Store) -> None:
    paths = []
    for content in (b"orphan", b"just written"):
        path = store.objects.path(store.objects.put(content))
        assert isinstance(path, Path)
        paths.append(path)
    arrival = finish_study(store, 1)
    mine = store.objects.path(arrival.sha256)
    assert mine is not None
    for path in (paths[0], mine):
        os.utime(path, times=(0, time.time() - ORPHAN_S - 60))
    prune(store, OLD_S)
    assert [False, True, True] == [path.exists() for path in (*paths, mine)]


def test_ended_workitems_of_a_pruned_study_go(store: Store) -> None:
    finish_study(store, 1)
    for uid, state in (("1.2.1", "COMPLETED"), ("1.2.2", "SCHEDULED")):
        add_workitem(store, uid, state=state, study_uid=f"{ROOT_UID}.1", priority=0, attributes={})
    age(store)
    prune(store, OLD_S)
    assert ["1.2.2"] == [one.uid for one in search_workitems(store)]


def test_file_that_is_taken_up_again_is_not_removed_under_its_new_row(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    arrival = image_of(1)
    store.objects.put(arrival.data)
    with store.session() as session:
        session.add(Leftover(sha256=arrival.sha256))
    keep, pruning = store.objects.put_many, threading.Thread(target=prune, args=(store, OLD_S))
    calls = []

    def keep_and_let_prune(contents: Sequence[bytes], sha256s: Sequence[str] | None = None) -> set[str]:
        there = keep(contents, sha256s)
        calls.append(len(there))
        if len(calls) == 2:  # it was there, and is looked at again before the rows are written
            pruning.start()
            pruning.join(1.0)
        return there

    monkeypatch.setattr(store.objects, "put_many", keep_and_let_prune)
    receive(store, [arrival], quiet_s=0)
    pruning.join(60)
    assert [1, 1] == calls
    assert arrival.data == store.objects.get(arrival.sha256)
