"""Workitems: the rows of Unified Procedure Steps, changed by compare-and-set only. Their rules are the web's."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Any

from sqlalchemy import select, update

from service.store.filing import add_new
from service.store.store import Store
from service.store.tables import Workitem


def add_workitem(
    store: Store, uid: str, *, state: str, study_uid: str, priority: int, attributes: dict[str, Any], now: float | None = None
) -> bool:
    """Add a workitem; False when its UID is taken."""
    moment = time.time() if now is None else now
    with store.session() as session:
        if session.get(Workitem, uid) is not None:
            return False
        add_new(session.connection(), Workitem, [
            {"uid": uid, "state": state, "transaction_uid": "", "study_uid": study_uid, "priority": priority,
             "attributes": attributes, "cancel_requested": False, "created_at": moment, "changed_at": moment}
        ])  # fmt: skip
    return True


def get_workitem(store: Store, uid: str) -> Workitem | None:
    """Return a workitem as it is now."""
    with store.reading() as session:
        return session.get(Workitem, uid)


def put_workitem(store: Store, expected: Workitem, **changes: Any) -> bool:
    """Change columns of a workitem that is still as ``expected``, by state, holder and time; False when it is not."""
    unchanged = (
        Workitem.uid == expected.uid, Workitem.state == expected.state, Workitem.transaction_uid == expected.transaction_uid,
        Workitem.changed_at == expected.changed_at,
    )  # fmt: skip
    moment = max(time.time(), expected.changed_at + 1e-6)  # later than before even when the clock was put back
    with store.session() as session:
        done: Any = session.execute(update(Workitem).where(*unchanged).values(**changes, changed_at=moment),
                                    execution_options={"synchronize_session": False})
        return bool(done.rowcount == 1)


def search_workitems(
    store: Store, *, states: Collection[str] = (), study_uid: str = "", uid: str = "", limit: int = 100, offset: int = 0
) -> list[Workitem]:
    """Return workitems, the most urgent first, then the oldest."""
    wanted = select(Workitem)
    if states:
        wanted = wanted.where(Workitem.state.in_(states))
    if study_uid:
        wanted = wanted.where(Workitem.study_uid == study_uid)
    if uid:
        wanted = wanted.where(Workitem.uid == uid)
    ordered = wanted.order_by(Workitem.priority.desc(), Workitem.created_at, Workitem.uid)
    with store.reading() as session:
        return list(session.scalars(ordered.limit(limit).offset(offset)))
