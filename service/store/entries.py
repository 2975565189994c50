"""The lines of the worklist: written when something was assessed, changed when somebody opens or decides it. Reading them by
page is service/store/entries_page.py.

Every change gets the next number of the whole list, in the order of committing: who has seen up to a number asks for the rest.
"""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.orm import Session

from service.store.engine import lock
from service.store.filing import fit
from service.store.review_tables import Entry, EntryChange
from service.store.store import Store

Kind = Literal["study", "risk", "alert"]
State = Literal["new", "seen", "validated", "corrected", "rejected", "refused"]
CRITICAL, HIGH, ROUTINE, LOW = 3, 2, 1, 0
STEP = 1e11  # between the places of two urgencies: later than any time in seconds
DECIDED = frozenset(("validated", "corrected", "rejected"))
_FIRST = 1  # the id of the one row of EntryChange
_UNSYNCHRONISED = {"synchronize_session": False}
_NOT_A_WORD = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class NewEntry:
    """What is to be shown of something that was assessed. ``version`` names what it rests on: another one opens the line again."""

    kind: Kind
    target: str  # the study's UID, the key of the risk, the id of the alert
    urgency: int
    waiting_since: float
    version: str
    detail: dict[str, Any] = field(repr=False)
    state: Literal["new", "refused", "seen"] = "new"
    reason: str = ""
    open: bool = True
    person: str = ""
    patient_name: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    accession_number: str = field(default="", repr=False)
    department: str = ""
    models: tuple[str, ...] = ()
    modality: str = ""


@dataclass(frozen=True)
class Change:
    """That a line changed: enough to say who may know of it."""

    number: int
    key: str
    kind: str
    department: str
    models: tuple[str, ...]


@dataclass(frozen=True)
class Changes:
    """What changed after a number. ``gap`` says that a number has no line any more: one changed again, or was erased."""

    number: int
    lines: tuple[Change, ...]
    gap: bool


def put(session: Session, new: NewEntry, *, now: float | None = None) -> str:
    """Write a line, or bring the one of the same target up to date; return its key, which stays.

    The same content again changes nothing. Another ``version`` opens the line again, whatever was decided before.
    """
    lock(session)
    at = time.time() if now is None else now
    row = _entry(session, new.kind, new.target)
    values = _values(new)
    if row is None:
        key = secrets.token_urlsafe(16)
        session.add(Entry(
            key=key, kind=new.kind, target=new.target, state=new.state, open=new.open, actor="", created_at=at, changed_at=at,
            changed=_number(session), **values,
        ))
        session.flush()
        return key
    if row.detail.get("version") != new.version:
        values |= {"state": new.state, "open": new.open, "actor": ""}
    elif row.state in DECIDED or row.state == "seen":
        values["reason"] = row.reason
    else:
        values["state"] = new.state
    _change(session, row, values, at)
    return row.key


def set_state(
    session: Session, *, kind: Kind, target: str, state: State, reason: str = "", actor: str = "", reopen: bool = False,
    now: float | None = None,
) -> bool:
    """Say that a line was seen or decided; True when that changed it, False also when there is none.

    What was decided stays so when it is merely opened, unless it is to be decided again (``reopen``). A refusal, to which
    there is nothing to decide, is done once it was seen.
    """
    lock(session)
    row = _entry(session, kind, target)
    if row is None:
        return False
    values: dict[str, Any]
    if state == "seen":
        if row.state == "refused":
            values = {"open": False}
        elif row.state == "new" or (reopen and row.state in DECIDED):
            values = {"state": "seen", "open": not row.detail.get("ended", False)}
        else:
            return False
    else:
        values = {"state": state, "open": state not in DECIDED, "reason": fit(reason, 64)}
    if actor:
        values["actor"] = fit(actor, 255)
    return _change(session, row, values, time.time() if now is None else now)


def validate(session: Session, study_uid: str, *, actor: str = "", now: float | None = None) -> bool:
    """Say that the report of a study was validated. A verdict that corrected or rejected stays the state of its line."""
    row = _entry(session, "study", study_uid)
    if row is None or row.state in DECIDED:
        return False
    return set_state(session, kind="study", target=study_uid, state="validated", actor=actor, now=now)


def end(session: Session, *, kind: Kind, target: str, detail: dict[str, Any], now: float | None = None) -> bool:
    """Say that what a line warns of is over: it is routine from now on, and done when somebody has seen it."""
    lock(session)
    row = _entry(session, kind, target)
    if row is None:
        return False
    urgency = min(row.urgency, ROUTINE)
    values = {"urgency": urgency, "place": place_of(urgency, row.waiting_since), "open": row.open and row.state == "new",
              "detail": {**row.detail, **detail, "ended": True}}
    return _change(session, row, values, time.time() if now is None else now)


def erase(session: Session, *, persons: Collection[str] = (), kind: Kind | None = None, targets: Collection[str] = ()) -> int:
    """Remove the lines of persons (their keys), and those of a kind with these targets; return how many there were."""
    lock(session)
    wanted: list[ColumnElement[bool]] = []
    if named := [one for one in persons if one]:
        wanted.append(Entry.person.in_(named))
    if kind is not None and targets:
        wanted.append((Entry.kind == kind) & Entry.target.in_(targets))
    if not wanted:
        return 0
    done: Any = session.execute(delete(Entry).where(or_(*wanted)), execution_options=_UNSYNCHRONISED)
    if done.rowcount:
        _number(session)  # a number without a line: whoever shows one of them looks again
    return int(done.rowcount)


def by_key(store: Store, key: str) -> Entry | None:
    """Return the line of a key."""
    with store.reading() as session:
        return session.scalars(select(Entry).where(Entry.key == key)).first()


def by_target(store: Store, kind: Kind, target: str) -> Entry | None:
    """Return the line of a study (its UID), a risk (its key) or an alert (its id)."""
    with store.reading() as session:
        return _entry(session, kind, target)


def last_number(store: Store) -> int:
    """Return the number of the last change."""
    with store.reading() as session:
        return session.scalar(select(EntryChange.number)) or 0


def changes(store: Store, after: int, *, limit: int = 500) -> Changes:
    """Return what changed after a number, the first first, at most ``limit`` lines; what is left out comes with the next call."""
    with store.reading() as session:
        number = session.scalar(select(EntryChange.number)) or 0
        if number <= after:
            return Changes(after, (), gap=False)
        rows = session.execute(
            select(Entry.changed, Entry.key, Entry.kind, Entry.department, Entry.model).where(Entry.changed > after)
            .order_by(Entry.changed).limit(limit)
        ).all()
    lines = tuple(Change(changed, key, kind, place, tuple(model.split())) for changed, key, kind, place, model in rows)
    last = lines[-1].number if lines else number
    upto = last if len(lines) == limit else max(number, last)
    return Changes(upto, lines, gap=upto - after != len(lines))


def folded(name: str) -> str:
    """Return a name as it is searched: the alphabetic form of a DICOM name, in lower case, without accents and signs.

    >>> folded("D'ÉSSAI^Zoé=…")
    'd essai zoe'
    """
    plain = unicodedata.normalize("NFKD", next((part for part in name.split("=") if part.strip("^ ")), ""))
    bare = "".join(one for one in plain if not unicodedata.combining(one)).casefold()
    return _NOT_A_WORD.sub(" ", bare).strip()


def place_of(urgency: int, waiting_since: float) -> float:
    """Return where a line stands: smaller is higher."""
    return (CRITICAL - urgency) * STEP + waiting_since


def _values(new: NewEntry) -> dict[str, Any]:
    return {
        "person": new.person, "patient_name": fit(folded(new.patient_name), 324), "patient_id": fit(new.patient_id.casefold(), 64),
        "accession_number": fit(new.accession_number.casefold(), 64), "department": fit(new.department, 64),
        "model": _joined(new.models), "modality": fit(new.modality, 32), "urgency": new.urgency, "waiting_since": new.waiting_since,
        "place": place_of(new.urgency, new.waiting_since), "reason": fit(new.reason, 64),
        "detail": {**new.detail, "version": new.version},
    }  # fmt: skip


def _joined(models: Sequence[str]) -> str:
    """Join ids with blanks, no more than the column holds and none cut in two."""
    joined = ""
    for one in dict.fromkeys(models):
        longer = f"{joined} {one}".strip()
        joined = longer if len(longer) <= 255 else joined
    return joined


def _entry(session: Session, kind: str, target: str) -> Entry | None:
    return session.scalars(select(Entry).where(Entry.kind == kind, Entry.target == target)).first()


def _change(session: Session, row: Entry, values: dict[str, Any], now: float) -> bool:
    """Write what is different; without a difference the line did not change."""
    different = {name: value for name, value in values.items() if getattr(row, name) != value}
    if not different:
        return False
    for name, value in {**different, "changed": _number(session), "changed_at": now}.items():
        setattr(row, name, value)
    session.flush()
    return True


def _number(session: Session) -> int:
    """Take the next number. Others who take one wait until this transaction ends: numbers come in the order of committing."""
    following = update(EntryChange).where(EntryChange.id == _FIRST).values(number=EntryChange.number + 1)
    number = session.scalar(following.returning(EntryChange.number), execution_options=_UNSYNCHRONISED)
    if number is None:
        session.add(EntryChange(id=_FIRST, number=1))
        session.flush()
        return 1
    return cast("int", number)
