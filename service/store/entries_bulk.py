"""Many lines of the worklist at once, and pages of it by skipping lines: what measuring the list needs, and nothing else uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import insert, select, text

from service.store.review_tables import Entry, EntryChange
from service.store.store import Store


def load(store: Store, lines: Iterable[dict[str, Any]]) -> None:
    """Write lines as they are, in one transaction."""
    with store.session() as session:
        session.execute(insert(Entry), list(lines))


def loaded(store: Store, number: int) -> None:
    """Say the number of the last change, and let the database count its rows as it does by itself in time."""
    with store.session() as session:
        session.add(EntryChange(id=1, number=number))
        session.execute(text("ANALYZE"))


def skipped(store: Store, view: Literal["open", "done"], skip: int, count: int) -> list[Entry]:
    """Return a page behind ``skip`` lines, as lists do that are paged by OFFSET."""
    order: Any = (Entry.place, Entry.id) if view == "open" else (Entry.changed.desc(),)
    wanted = select(Entry).where(Entry.open == (view == "open")).order_by(*order).offset(skip).limit(count)
    with store.reading() as session:
        return list(session.scalars(wanted))
