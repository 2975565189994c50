"""What verdicts make of what was sent: their own objects, what is stopped, hidden and sent after it, in the verdict's transaction."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update
from sqlalchemy.orm import Session

from service.store import messages
from service.store.ehr_tables import Card, Message
from service.store.facts import Written
from service.store.ledger import add_own
from service.store.objects import Objects
from service.store.review_tables import Verdict, VerdictObject
from service.store.store import OBJECTS, Store
from service.store.tables import Delivery, Instance
from service.store.verdicts import WITHDRAWN, Sent

Json = dict[str, Any]
DICOM = "dicom"  # kind of a message that holds files for a PACS
SUPERSEDED, LATE = "superseded", "withdrawn_late"  # LATE: taken back after it was tried, so that some of it may have arrived
# Why a try failed before a byte of what was sent left this machine; after any other reason a part may have arrived.
BEFORE_SENDING = frozenset({"", "unreachable", "tls", "tls_files", WITHDRAWN, SUPERSEDED})
BEFORE_SENDING_TOO = ("store_", "rejected_", "not_dicom_")
_UNSYNCHRONISED = {"synchronize_session": False}


def objects_of(store: Store, verdict_ids: Collection[int]) -> list[Sent]:
    """Return the DICOM objects that verdicts made, the oldest first."""
    wanted = select(VerdictObject).where(VerdictObject.verdict_id.in_(verdict_ids))
    with store.reading() as session:
        rows = session.scalars(wanted.order_by(VerdictObject.verdict_id, VerdictObject.place))
        return [Sent(row.kind, row.sop_uid, row.sha256) for row in rows]


def keep_objects(session: Session, verdict: Verdict, objects: Sequence[Written]) -> list[str]:
    """Keep the objects of a verdict as objects of ours, the files first; return their hashes."""
    kept: Objects = session.info[OBJECTS]
    files = [hashlib.sha256(one.data).hexdigest() for one in objects]
    kept.put_many([one.data for one in objects], files)
    add_own(session, objects, files, verdict.made_at)
    if objects:
        session.execute(insert(VerdictObject), [
            {"verdict_id": verdict.id, "place": place, "kind": one.kind, "sop_uid": one.sop_uid, "sop_class_uid": one.sop_class_uid,
             "sha256": sha256, "size": len(one.data)}
            for place, (one, sha256) in enumerate(zip(objects, files, strict=True))
        ])  # fmt: skip
    return files


def targets_of(session: Session, result_id: int, earlier: Iterable[Verdict]) -> tuple[list[str], list[str]]:
    """Return where the objects of a result go, and which of these targets may have some of them already.

    Earlier verdicts remember the first, since what is taken back is no delivery any more.
    """
    rows = session.execute(
        select(Delivery.target, Delivery.state, Delivery.attempts, Delivery.reason).where(Delivery.result_id == result_id)
        .order_by(Delivery.id)).all()
    keys = [letter_key(one) for one in earlier]
    letters = session.execute(select(Message.target, Message.state, Message.attempts, Message.reason).where(
        Message.kind == DICOM, Message.key.in_(keys))).all()
    remembered = [str(name) for one in earlier for name in one.content.get("targets", ())]
    reached = [str(name) for one in earlier for name in one.content.get("reached", ())]
    reached += [target for target, *told in (*rows, *letters) if _may_have_arrived(told)]
    return list(dict.fromkeys([*(row[0] for row in rows), *remembered])), list(dict.fromkeys(reached))


def stop(session: Session, result_id: int, earlier: Iterable[Verdict], keys: Collection[str]) -> None:
    """Take back what has not arrived: deliveries of a result, files of earlier verdicts, and messages of these keys.

    What failed, or is on its way at this moment, is not tried again: it must not arrive after what takes it back. Its target
    is among those that are told.
    """
    session.execute(delete(Delivery).where(Delivery.result_id == result_id, Delivery.state != "done"),
                    execution_options=_UNSYNCHRONISED)
    _end(session, Message.key.in_([*(letter_key(one) for one in earlier), *keys]), WITHDRAWN)


def stop_letters(session: Session, earlier: Iterable[Verdict]) -> None:
    """Take back files of earlier verdicts that have not arrived: a later verdict takes their place."""
    _end(session, Message.key.in_([letter_key(one) for one in earlier]) & (Message.kind == DICOM), SUPERSEDED)


def _end(session: Session, which: ColumnElement[bool], reason: str) -> None:
    """End messages that are not done, so that nobody tries or retries them; whoever is sending one loses its lease."""
    rows = session.execute(select(Message.id, Message.state, Message.attempts, Message.reason).where(which, Message.state != "done"))
    tried = {number: _may_have_arrived(told) for number, *told in rows}
    for late in (False, True):
        ids = [number for number, was_tried in tried.items() if was_tried is late]
        session.execute(update(Message).where(Message.id.in_(ids)).values(
            state="done", reason=LATE if late else reason, finished_at=time.time(), lease_until=0.0, claimed_by=""),
            execution_options=_UNSYNCHRONISED)


def _may_have_arrived(row: Sequence[Any]) -> bool:
    """Tell by state, attempts and reason whether something of a delivery may be at its target.

    A try that is put back is not counted, but leaves its reason.
    """
    state, attempts, reason = row
    if state == "done":
        return reason not in (WITHDRAWN, SUPERSEDED)
    return attempts > 0 or not (reason in BEFORE_SENDING or reason.startswith(BEFORE_SENDING_TOO))


def unsent(session: Session, keys: Collection[str], earlier: Iterable[Verdict]) -> set[str]:
    """Return the targets that were never told of a result: neither by messages of these keys nor by those of verdicts."""
    wanted = select(Message.target, Message.state, Message.attempts, Message.reason).where(
        Message.kind == "fhir", Message.key.in_([*keys, *(letter_key(one) for one in earlier)]))
    told: dict[str, bool] = {}
    for target, *how in session.execute(wanted):
        told[target] = told.get(target, False) or _may_have_arrived(how)
    return {target for target, was_told in told.items() if not was_told}


def hide(session: Session, sop_uids: Collection[str]) -> None:
    """Leave objects of ours out of queries and retrievals from now on."""
    session.execute(update(Instance).where(Instance.sop_uid.in_(sop_uids), Instance.origin == "result").values(current=False),
                    execution_options=_UNSYNCHRONISED)


def send_files(session: Session, verdict: Verdict, targets: Iterable[str], files: Sequence[str], *, priority: int) -> None:
    """Put files into the outbox for every target, once a verdict."""
    for target in targets if files else ():
        messages.add(session, target=target, kind=DICOM, key=letter_key(verdict), content={"sha256": list(files)}, priority=priority)


def letter_key(verdict: Verdict) -> str:
    """Return the key of the messages that a verdict sets in motion."""
    return messages.key_of("verdict", verdict.key)


def letters(session: Session, keys: Collection[str]) -> list[tuple[str, Json]]:
    """Return target and content of FHIR messages by their keys, the oldest first."""
    wanted = select(Message.target, Message.content).where(Message.kind == "fhir", Message.key.in_(keys))
    return [(target, content) for target, content in session.execute(wanted.order_by(Message.id))]


def letters_near(session: Session, target: str, at: float, within_s: float = 120.0) -> list[Json]:
    """Return the FHIR messages that were made for a target about a moment."""
    wanted = select(Message.content).where(
        Message.target == target, Message.kind == "fhir", Message.created_at.between(at - within_s, at + within_s))
    return list(session.scalars(wanted.order_by(Message.id).limit(200)))


def cards_of(session: Session, model: str, input_sha256: str, uuid: str) -> list[Card]:
    """Return the cards that told a risk: the one it names, else those of the same release and input."""
    named = session.scalars(select(Card).where(Card.uuid == uuid)).all() if uuid else []
    if named or not input_sha256:
        return list(named)
    wanted = select(Card).where(Card.model == model, Card.input_sha256 == input_sha256).order_by(Card.shown_at.desc())
    return list(session.scalars(wanted.limit(1)))
