"""Messages: the outbox of what is not DICOM (FHIR bundles, HL7 v2, XDM archives), written with what they tell of.

A key is sent to a target once, however often it is added: what is done again after a crash adds nothing.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.store import queue
from service.store.ehr_tables import Message
from service.store.filing import add_new
from service.store.store import Store

Json = dict[str, Any]


@dataclass(frozen=True)
class Letter:
    """One message on its way to its target."""

    claim: queue.Claim
    kind: str  # which of the senders knows how
    content: Json = field(repr=False)
    table: ClassVar[type[Message]] = Message


def key_of(*parts: str) -> str:
    """Return the key of what a message is about: a hash, so that it names nobody. Equal parts give equal keys."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def add(session: Session, *, target: str, kind: str, key: str, content: Json, priority: int = 0) -> bool:
    """Put a message into the outbox inside the caller's transaction; False when its key is there already."""
    there = select(Message.id).where(Message.target == target, Message.key == key)
    if session.scalar(there) is not None:
        return False
    add_new(session.connection(), Message, [{  # two who add it at once: one row, and no error
        "target": target, "kind": kind, "key": key, "content": content, "priority": priority, "state": "queued",
        "attempts": 0, "not_before": 0.0, "claimed_by": "", "lease_until": 0.0, "reason": "", "created_at": time.time(),
        "finished_at": None,
    }])
    return True


def claim_letter(store: Store, target: str, *, worker: str, lease_s: float) -> Letter | None:
    """Claim the most urgent, then oldest, message to a target that may be tried now."""
    row = queue.claim(store, Message, worker=worker, lease_s=lease_s, where=Message.target == target)
    return None if row is None else Letter(queue.claim_of(row), row.kind, row.content)


def prune_messages(store: Store, older_than_s: float) -> int:
    """Remove messages that were delivered longer ago than that; return how many. What waits or failed stays."""
    old = (Message.state == "done", Message.finished_at < time.time() - older_than_s)
    with store.session() as session:
        done: Any = session.execute(delete(Message).where(*old), execution_options={"synchronize_session": False})
        return int(done.rowcount)
