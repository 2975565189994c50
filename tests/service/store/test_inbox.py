"""Receiving: what each arrival is, that acknowledged means kept, and that one bad row costs its neighbours nothing."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from service.store.cases import seal_due
from service.store.errors import StoreError
from service.store.filing import Verdict
from service.store.inbox import Inbox, receive
from service.store.ledger import save_result
from service.store.store import Store
from service.store.tables import Case, Instance, Series, Study
from tests.make_store import MadeArrival, image_of, object_of, settings_for, slice_of


def verdicts(store: Store, *arrivals: MadeArrival) -> list[Verdict]:
    return receive(store, arrivals, quiet_s=20)


def rows(store: Store, table: type[Any]) -> int:
    with store.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_new_image_is_stored_with_its_file(store: Store) -> None:
    arrival = slice_of(1, 1)
    assert ["stored"] == verdicts(store, arrival)
    assert arrival.data == store.objects.get(arrival.sha256)


def test_same_image_again_is_a_duplicate(store: Store) -> None:
    assert ["stored", "duplicate"] == verdicts(store, slice_of(1, 1), slice_of(1, 1))
    assert ["duplicate"] == verdicts(store, slice_of(1, 1))
    assert 1 == rows(store, Instance)


def test_other_bytes_under_one_uid_replace_and_both_are_kept(store: Store) -> None:
    first, second = slice_of(1, 1), slice_of(1, 1, content="corrected")
    assert ["stored", "replaced", "replaced", "duplicate"] == verdicts(store, first, second, first, first)
    assert ["replaced"] == verdicts(store, second)
    with store.reading() as session:
        current = {row.sha256: row.current for row in session.scalars(select(Instance))}
    assert {first.sha256: False, second.sha256: True} == current


def test_corrected_patient_is_what_queries_show(store: Store) -> None:
    verdicts(store, slice_of(1, 1))
    verdicts(store, slice_of(1, 1, content="merged", patient_id="CANARI-0002", modality="PT"))
    with store.reading() as session:
        assert ["CANARI-0002"] == list(session.scalars(select(Study.patient_id)))
        assert ["PT"] == list(session.scalars(select(Series.modality)))


def test_object_made_here_starts_nothing_when_it_comes_back(store: Store) -> None:
    verdicts(store, image_of(1))
    seal_due(store)
    made = object_of(1, 1)
    with store.session() as session:
        save_result(session, 1, model="m", status="scored", reason="", summary={}, objects=[made], targets=[], priority=0)
    back = replace(image_of(1), sop_uid=made.sop_uid, case_key=made.sop_uid, series_uid=made.series_uid)
    assert ["own"] == verdicts(store, back)
    assert 1 == rows(store, Case)


def test_one_series_uid_in_two_studies_is_two_cases(store: Store) -> None:
    mine, other = slice_of(1, 1), slice_of(1, 2, study=2)
    assert ["stored", "stored"] == verdicts(store, mine, replace(other, series_uid=mine.series_uid, case_key=mine.case_key))
    assert 2 == rows(store, Case)


def test_case_has_the_highest_priority_of_its_images(store: Store) -> None:
    verdicts(store, slice_of(1, 1, priority=-1), slice_of(1, 2, priority=1), slice_of(1, 3))
    with store.reading() as session:
        assert [1] == list(session.scalars(select(Case.priority)))


def test_strings_no_column_holds_are_cut_not_refused(store: Store) -> None:
    odd = slice_of(1, 1, patient_name="CANARI\0" + "é" * 400, patient_id="\ud800" + "9" * 80, calling_ae="A" * 20)
    assert ["stored"] == verdicts(store, odd)
    with store.reading() as session:
        study = session.scalars(select(Study)).one()
    assert ("canari" + "é" * 318, "?" + "9" * 63) == (study.patient_name, study.patient_id)


def test_numbers_json_has_not_become_null(store: Store) -> None:
    verdicts(store, slice_of(1, 1, instance_attributes={"00181150": {"vr": "FD", "Value": [float("nan"), 1.5, "a\0b"]}}))
    with store.reading() as session:
        assert [{"00181150": {"vr": "FD", "Value": [None, 1.5, "a\0b"]}}] == list(session.scalars(select(Instance.attributes)))


def test_refused_row_costs_its_neighbours_nothing(store: Store) -> None:
    bad = replace(slice_of(1, 99), sop_class_uid=None)  # type: ignore[arg-type]
    arrivals = [slice_of(1, number) for number in range(8)] + [bad]
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    outcomes: list[str] = []

    def put(arrival: MadeArrival) -> None:
        try:
            outcomes.append(inbox.put(arrival))
        except StoreError as error:
            outcomes.append(error.code)

    run_in_threads(put, arrivals)
    inbox.close()
    assert Counter(stored=8, refused=1) == Counter(outcomes)
    assert 8 == rows(store, Instance)


def test_many_threads_put_at_once_and_every_file_has_its_row(store: Store) -> None:
    arrivals = [slice_of(series, number, study=series, association=f"a{series}") for number in range(12) for series in range(8)]
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    outcomes: list[str] = []
    run_in_threads(lambda arrival: outcomes.append(inbox.put(arrival)), arrivals + arrivals)
    inbox.close()
    assert Counter(stored=96, duplicate=96) == Counter(outcomes)
    with store.reading() as session:
        assert {one.sop_uid: one.sha256 for one in arrivals} == dict(session.execute(select(Instance.sop_uid, Instance.sha256)).all())


def test_closed_inbox_refuses(store: Store) -> None:
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    inbox.close()
    with pytest.raises(StoreError) as caught:
        inbox.put(slice_of(1, 1))
    assert "closed" == caught.value.code


def test_full_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    store = Store.open(settings_for(tmp_path), min_free_bytes=2**60)
    inbox = Inbox(store, quiet_s=20, release_quiet_s=3)
    with pytest.raises(StoreError, match=r"must keep \d+ MiB free, found \d+\.") as caught:
        inbox.put(slice_of(1, 1))
    inbox.close()
    assert ("full", 0, False) == (caught.value.code, rows(store, Instance), _is_kept(store, slice_of(1, 1)))
    store.close()


def test_database_that_is_gone_acknowledges_nothing(store: Store, database: str) -> None:
    with store.session() as session:
        session.connection().exec_driver_sql("DROP TABLE open_associations")
    with pytest.raises(StoreError):
        verdicts(store, slice_of(1, 1, association="a"))
    assert 0 == rows(store, Instance)


def test_message_of_a_refusal_names_no_value(store: Store) -> None:
    bad = replace(slice_of(1, 99), sop_class_uid=None)  # type: ignore[arg-type]
    with pytest.raises(StoreError) as caught:
        verdicts(store, bad)
    assert "CANARI" not in str(caught.value)
    assert bad.sop_uid not in str(caught.value)
    assert caught.value.__cause__ is None


def run_in_threads(do: Any, arrivals: list[MadeArrival], threads: int = 8) -> None:
    def run(first: int) -> None:
        for arrival in arrivals[first::threads]:
            do(arrival)

    running = [threading.Thread(target=run, args=(first,)) for first in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert not any(thread.is_alive() for thread in running)


def _is_kept(store: Store, arrival: MadeArrival) -> bool:
    path = store.objects.path(arrival.sha256)
    return path is not None and path.exists()
