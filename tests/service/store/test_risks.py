"""Risks in the store: one row a risk, one line a stay, and keys that nobody can guess."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from service.store import entries, risks
from service.store.entries import NewEntry
from service.store.risks import NewRisk
from service.store.store import Store
from tests.make_store import store_for
from tests.service.monitoring.home import with_empty_database


def risk(key: str, *, at: float = 100.0, entry: bool = True, **changes: object) -> NewRisk:
    one = NewRisk(
        key=key, subject="Patient/1", person="p" * 32, encounter="Encounter/1", department="Nord", model="icu_mortality-1.0.0",
        status="scored", reason="", value=0.4, answer={"findings": [{"name": "death", "kind": "probability", "value": 0.4}]},
        record={"ended_at": None}, patient={}, moment=at, source="predict", scored_at=at,
        entry=NewEntry("risk", key, 2, at, key, {}) if entry else None,
    )
    return replace(one, **changes)  # type: ignore[arg-type]


def save(store: Store, *told: NewRisk) -> None:
    with store.session() as session:
        risks.save(session, told)


def targets(store: Store) -> set[str]:
    return {key for key in ("a", "b", "c", "d") if entries.by_target(store, "risk", key)}


def test_a_repeat_is_one_row_and_the_latest_card_counts(store: Store) -> None:
    save(store, risk("a", card="1"), risk("a", card="1"))
    save(store, risk("a", card="2", value=0.9))
    found = risks.by_key(store, "a")
    assert found is not None
    assert (found.card, found.value) == ("2", 0.4)
    assert targets(store) == {"a"}


def test_a_later_risk_takes_the_line_of_an_earlier_one_of_its_stay_alone(store: Store) -> None:
    save(store, risk("a"), risk("b", encounter="Encounter/2"), risk("c", person="q" * 32))
    save(store, risk("d", at=200.0, model="icu_mortality-1.1.0"))
    assert targets(store) == {"b", "c", "d"}


def test_of_two_in_one_transaction_the_later_has_the_line(store: Store) -> None:
    save(store, risk("a"), risk("b", at=200.0))
    assert targets(store) == {"b"}


def test_a_line_that_was_decided_stays(store: Store) -> None:
    save(store, risk("a"))
    with store.session() as session:
        entries.set_state(session, kind="risk", target="a", state="validated")
    save(store, risk("b", at=200.0))
    assert targets(store) == {"a", "b"}


def test_a_trend_holds_one_stay_and_all_versions_in_order(store: Store) -> None:
    save(store, risk("b", at=300.0), risk("a", at=200.0, model="icu_mortality-0.9.0"), risk("c", model="icu_mortality_other-1.0.0"),
         risk("d", encounter="Encounter/2"))
    one = risks.by_key(store, "b")
    assert one is not None
    assert [point.key for point in risks.trend(store, one)] == ["a", "b"]


def test_without_a_person_the_reference_counts_and_nobody_else(store: Store) -> None:
    save(store, risk("a", person=""), risk("b", person="", subject="Patient/2"), risk("c", person="", at=200.0))
    one = risks.by_key(store, "c")
    assert one is not None
    assert [point.key for point in risks.trend(store, one)] == ["a", "c"]
    assert targets(store) == {"b", "c"}


def test_present_is_the_latest_of_everybody_whose_stay_is_under_way(store: Store) -> None:
    ids = ["icu_mortality-1.0.0"]
    save(store, risk("a"), risk("b", at=200.0), risk("c", person="q" * 32, department="Sud"),
         risk("d", person="r" * 32, record={"ended_at": 150.0}))
    assert [one.key for one in risks.present(store, ids, since=50)] == ["c", "b"]
    assert [one.key for one in risks.present(store, ids, since=50, departments=["Nord"])] == ["b"]
    assert [one.key for one in risks.present(store, ids, since=150)] == ["b"]
    assert risks.present(store, ["other-1.0.0"], since=0) == []
    assert risks.departments_of(store, ids, since=50) == ["Nord", "Sud"]
    assert risks.present(store, ids, since=50)[1].findings[0]["value"] == 0.4


def test_keys_depend_on_every_part_and_on_the_secret(store: Store, tmp_path: Path) -> None:
    with_empty_database(tmp_path / "other" / "store")
    other = store_for(tmp_path / "other")
    keys = {risks.key_of(store, "a", "bc"), risks.key_of(store, "ab", "c"), risks.key_of(store, "a", "b", "c"),
            risks.key_of(other, "a", "bc"), risks.key_of_alert(store, "a")}
    other.close()
    assert len(keys) == 5
    assert risks.key_of(store, "a", "bc") in keys
    assert all(len(key) == 32 for key in keys)
