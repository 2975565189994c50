"""The chain of the audit on SQLite and PostgreSQL: what is added stays, and whatever is done to it shows."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from service.store import audit, audit_cursor
from service.store.audit import Broken, End, NewLine, append, check
from service.store.audit_search import Query, about, actors, search
from service.store.store import Store

PERSON, OTHER = "a" * 32, "b" * 32


def add(store: Store, count: int = 1, **told: object) -> End:
    ends: list[End] = []
    with store.session() as session:
        usual: dict[str, Any] = {"actor": "rpps:1", "action": "view", "persons": (PERSON,), **told}
        lines = [NewLine(at=1000.0 + n, **usual) for n in range(count)]
        append(session, store.secret, lines, ends.append)
    return ends[0]


def tamper(store: Store, *statements: str) -> None:
    """Do what somebody does who owns the database but not the secret: the triggers are no hindrance to them."""
    with store.session() as session:
        postgresql = session.get_bind().dialect.name == "postgresql"
        if postgresql:
            session.execute(text("SET LOCAL session_replication_role = replica"))
        else:
            session.execute(text("PRAGMA defer_foreign_keys=ON"))
            for name in ("audit_is_kept", "audit_is_pruned", "audit_persons_is_kept", "audit_persons_is_pruned"):
                session.execute(text(f"DROP TRIGGER IF EXISTS {name}"))
        for one in statements:
            session.execute(text(one))


def test_lines_are_numbered_without_holes_and_checked(store: Store) -> None:
    add(store, 3)
    end = add(store, 2, outcome="denied")
    assert 5 == end.number
    assert end == check(store, end) == check(store, End())
    assert end == check(store, End(2, _hash(store, 2))), "a head that lags behind is no fault"


def test_line_of_a_transaction_that_fails_is_not_there(store: Store) -> None:
    def fail() -> None:
        with store.session() as session:
            append(session, store.secret, [NewLine(at=1.0, actor="a", action="verdict")])
            session.execute(text("INSERT INTO leftovers VALUES ('x')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    end = add(store)
    assert (1, end) == (end.number, check(store, end))


def test_line_is_written_after_everything_else_of_its_transaction(store: Store) -> None:
    with store.session() as session:
        append(session, store.secret, [NewLine(at=1.0, actor="a", action="verdict")])
        append(session, store.secret, [NewLine(at=2.0, actor="a", action="validate")])
        assert 0 == audit.count(session)
        session.execute(text("INSERT INTO leftovers VALUES ('x')"))
    with store.reading() as session:
        assert ["verdict", "validate"] == [one.action for one in audit.lines(session)]


def test_many_who_write_at_once_make_one_chain(store: Store) -> None:
    threads = [threading.Thread(target=lambda: [add(store, 2) for _ in range(10)]) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = check(store, End())
    assert isinstance(found, End)
    assert 120 == found.number


@pytest.mark.parametrize("statement", [
    "UPDATE audit SET actor = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE id = 2", "UPDATE audit_persons SET line_id = 1",
    "DELETE FROM audit_persons",
])
def test_database_refuses_to_change_or_delete(store: Store, statement: str) -> None:
    add(store, 3)
    with Session(store.engine) as session, pytest.raises(DBAPIError, match="only ever added to"):
        session.execute(text(statement))


@pytest.mark.parametrize(("statements", "number", "what"), [
    (["UPDATE audit SET actor = 'rpps:2' WHERE id = 3"], 3, "not what was written"),
    (["UPDATE audit SET at = at + 1 WHERE id = 3"], 3, "not what was written"),
    (["UPDATE audit SET detail = '{\"count\": 1}' WHERE id = 3"], 3, "not what was written"),
    (["UPDATE audit SET hash = previous WHERE id = 3"], 3, "not what was written"),
    (["DELETE FROM audit_persons WHERE line_id = 3", "DELETE FROM audit WHERE id = 3"], 3, "line 3 is missing"),
    (["DELETE FROM audit_persons WHERE line_id < 3", "DELETE FROM audit WHERE id < 3"], 1, "before 3 are missing"),
    (["DELETE FROM audit_persons WHERE line_id > 3", "DELETE FROM audit WHERE id > 3"], 4, "lines 4 to 5 were there"),
    (["DELETE FROM audit_persons", "DELETE FROM audit"], 1, "lines 1 to 5 were there"),
    (["DELETE FROM audit_persons WHERE line_id = 3"], 3, "index of persons"),
    (["UPDATE audit_persons SET person = '" + OTHER + "' WHERE line_id = 3"], 3, "index of persons"),
    (["INSERT INTO audit SELECT 6, at, actor, actor_name, roles, action, kind, item, persons, outcome, detail, previous, hash "
      "FROM audit WHERE id = 5"], 6, "not what was written"),
    (["INSERT INTO audit_cursors (name, line_id, hash, holder, until, changed_at) VALUES ('start', 3, 'x', '', 0, 0)",
      "DELETE FROM audit_persons WHERE line_id < 3", "DELETE FROM audit WHERE id < 3"], 3, "does not begin where"),
])
def test_whatever_is_tampered_with_is_named(store: Store, statements: list[str], number: int, what: str) -> None:
    head = add(store, 5)
    tamper(store, *statements)
    found = check(store, head)
    assert isinstance(found, Broken)
    assert (number, True) == (found.number, what in found.what), found


def test_two_lines_exchanged_show(store: Store) -> None:
    head = add(store, 5)
    tamper(store, *(f"UPDATE audit SET id = {new} WHERE id = {old}" for new, old in ((99, 2), (2, 3), (3, 99))))
    found = check(store, head)
    assert isinstance(found, Broken)
    assert 2 == found.number


def test_chain_written_under_another_secret_is_not_this_one(store: Store) -> None:
    add(store, 2)
    store.secret = b"x" * 32
    found = check(store, End())
    assert isinstance(found, Broken)
    assert (1, True) == (found.number, "not the secret" in found.what)


def test_history_written_anew_by_who_holds_the_secret_is_betrayed_by_the_head_alone(store: Store) -> None:
    head = add(store, 4)
    tamper(store, "DELETE FROM audit_persons", "DELETE FROM audit")
    other = add(store, 4, actor="rpps:9")
    assert other == check(store, End()), "the chain itself is sound: that is the limit of a keyed chain"
    found = check(store, head)
    assert isinstance(found, Broken)
    assert "written down outside" in found.what


def test_pruned_chain_is_sound_and_begins_where_it_was_signed(store: Store) -> None:
    head = add(store, 5)
    assert 3 == audit.prune(store, 1003.0)
    with store.reading() as session:
        assert [4, 5] == [one.id for one in audit.lines(session)]
    assert head == check(store, head)
    assert 1 == audit.prune(store, 9e9), "the last line always stays"
    end = add(store)
    assert (6, end) == (end.number, check(store, head))


def test_who_looked_at_a_person_is_one_query_page_by_page(store: Store) -> None:
    add(store, 5)
    add(store, 5, persons=(OTHER,))
    add(store, 2, persons=(PERSON, OTHER))
    with store.reading() as session:
        first = about(session, [PERSON], limit=4)
        rest = about(session, [PERSON], before=first.older, limit=4)
        both = about(session, [PERSON, OTHER])
    assert [12, 11, 5, 4] == [one.id for one in first.lines]
    assert ([3, 2, 1], 0) == ([one.id for one in rest.lines], rest.older)
    assert list(range(12, 0, -1)) == [one.id for one in both.lines]


def test_search_filters_and_pages(store: Store) -> None:
    add(store, 3)
    add(store, 3, actor="rpps:2", actor_name="Alix Essai", action="verdict", outcome="denied")
    with store.reading() as session:
        def found(query: Query) -> list[int]:
            return [one.id for one in search(session, query).lines]

        assert [6, 5, 4] == found(Query(actor="rpps:2")) == found(Query(action="verdict")) == found(Query(outcome="denied"))
        assert [4, 1] == found(Query(until=1001.0))
        assert [6, 3] == found(Query(since=1002.0))
        assert [("rpps:1", ""), ("rpps:2", "Alix Essai")] == actors(session)
        assert ([6, 5], 5) == ([one.id for one in search(session, Query(), limit=2).lines], search(session, Query(), limit=2).older)


def test_pages_by_time_give_every_line_once_also_those_that_waited_for_the_store(store: Store) -> None:
    add(store, 5)  # at 1000 to 1004
    add(store, 5)  # the same times again, later: as after a time without the database
    seen: list[int] = []
    before = 0
    with store.reading() as session:
        while True:
            page = search(session, Query(since=1001.0, until=1004.0), before=before, limit=2)
            seen += [one.id for one in page.lines]
            before = page.older
            if not before:
                break
    assert [9, 4, 8, 3, 7, 2] == seen


def test_person_search_uses_the_index(store: Store) -> None:
    if store.engine.dialect.name != "sqlite":
        pytest.skip("a plan on empty PostgreSQL tables says nothing")
    with store.reading() as session:
        plan = session.execute(text(
            "EXPLAIN QUERY PLAN SELECT DISTINCT line_id FROM audit_persons WHERE person IN ('a', 'b') AND line_id < 9 "
            "ORDER BY line_id DESC LIMIT 101")).all()
    assert all("SCAN audit" not in str(one) for one in plan), plan


def test_one_process_sends_until_it_falls_silent(store: Store) -> None:
    add(store, 2)
    with store.reading() as session:
        last = audit.lines(session)[-1]
    assert 0 == audit_cursor.claim(store, "syslog", "one", 60)
    assert None is audit_cursor.claim(store, "syslog", "two", 60)
    assert audit_cursor.move(store, "syslog", "one", last, 60)
    assert not audit_cursor.move(store, "syslog", "two", last, 60)
    audit_cursor.release(store, "syslog", "one")
    assert (2, 2) == (audit_cursor.claim(store, "syslog", "two", 60), audit_cursor.sent(store, "syslog"))


def _hash(store: Store, number: int) -> str:
    with store.reading() as session:
        return audit.lines(session, after=number - 1, limit=1)[0].hash
