"""Filing: what an arrival means for the rows. Same UID and same bytes: nothing; other bytes: replaced; ours: nothing.

This is run for every image received, so statements are built once, and one of each is run for a whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from service.store.facts import Arrival
from service.store.tables import Base, Case, Instance, OpenAssociation, OwnObject, Series, Study

Verdict = Literal["stored", "duplicate", "replaced", "own"]
KNOWN_MOST = 20_000
PATIENCE = 30  # images that are here already keep a case waiting for so many quiet times after the last new one
Table = type[Base]

_OWN = select(OwnObject.sop_uid).where(OwnObject.sop_uid.in_(bindparam("uids", expanding=True)))
_CONTENTS = select(Instance.id, Instance.sop_uid, Instance.sha256, Instance.current, Instance.case_id).where(
    Instance.sop_uid.in_(bindparam("uids", expanding=True))
)
_CASES = select(Case.id, Case.study_uid, Case.key, Case.due_at, Case.priority, Case.last_received_at).where(
    Case.key.in_(bindparam("keys", expanding=True)))
_ADD_CONTENT = insert(Instance.__table__)  # type: ignore[arg-type]
_SET_CURRENT = update(Instance.__table__).where(  # type: ignore[arg-type]
    Instance.id.in_(bindparam("ids", expanding=True))).values(current=bindparam("is_current"))
_TOUCH = update(Case.__table__).where(Case.id == bindparam("case")).values(  # type: ignore[arg-type]
    due_at=bindparam("due"), priority=bindparam("urgency"), last_received_at=bindparam("last"))
_LEFT = update(Case.__table__).where(  # type: ignore[arg-type]
    Case.id.in_(bindparam("cases", expanding=True)), Case.due_at.is_(None)).values(due_at=bindparam("due"))


@dataclass(frozen=True)
class _Content:
    """One content an instance UID had before."""

    id: int
    case_id: int | None


@dataclass
class _Contents:
    """The contents of one instance UID, by hash: those it had, those now added, and which is current, before and now."""

    had: dict[str, _Content] = field(default_factory=dict)
    added: dict[str, dict[str, Any]] = field(default_factory=dict)
    was: str = ""
    now: str = ""


@dataclass
class _Case:
    """A case the batch touches; ``changed`` when its row must be written."""

    id: int
    due_at: float | None
    priority: int
    last_at: float  # of an image that was not here yet
    changed: bool = False


def file_arrivals(
    connection: Connection, arrivals: Sequence[Arrival], *, known: set[tuple[str, str]], quiet_s: float, now: float
) -> list[Verdict]:
    """Write the rows of ``arrivals``, in order, and say what each was. The caller holds the store's lock.

    ``known`` are (study, series) whose rows are there. An image of a case that waits to be sealed keeps it waiting, a
    duplicate too, for a while: a sender that begins again after a broken association is not cut in two, and one that
    repeats an image for ever does not keep the others from their result.
    """
    own = set(connection.scalars(_OWN, {"uids": list({one.sop_uid for one in arrivals})}))
    foreign = [one for one in arrivals if one.sop_uid not in own]
    if not foreign:
        return ["own"] * len(arrivals)
    _add_studies(connection, [one for one in foreign if (one.study_uid, one.series_uid) not in known], now)
    contents = _contents_of(connection, foreign)
    cases = _cases_of(connection, foreign, now)
    associations: dict[tuple[str, int], None] = {}
    verdicts: list[Verdict] = []
    for one in arrivals:
        if one.sop_uid in own:
            verdicts.append("own")
            continue
        case = cases[one.study_uid, one.case_key]
        verdict = _take(contents[one.sop_uid], one, case.id, now)
        verdicts.append(verdict)
        if verdict != "duplicate":
            case.last_at = now
            case.due_at = now if one.kind == "image" else now + quiet_s
        elif case.due_at is not None and one.kind == "slices":
            case.due_at = max(case.due_at, min(now + quiet_s, case.last_at + PATIENCE * quiet_s))
        if case.due_at is not None:
            case.priority = max(case.priority, one.priority)
            case.changed = True
            if one.association and one.kind == "slices":
                associations[one.association, case.id] = None
    _write_contents(connection, contents.values(), now)
    _renew_studies(connection, [one for one, verdict in zip(arrivals, verdicts, strict=True) if verdict == "replaced"])
    touched = [{"case": one.id, "due": one.due_at, "urgency": one.priority, "last": one.last_at}
               for one in sorted(cases.values(), key=lambda one: one.id) if one.changed]
    if touched:
        connection.execute(_TOUCH, touched)
    if associations:
        connection.execute(_add_association(connection.dialect.name), [
            {"association": name, "case_id": case_id, "touched_at": now} for name, case_id in sorted(associations)
        ])
    return verdicts


def add_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert those rows that are not there yet."""
    if rows:
        connection.execute(_add_missing(connection.dialect.name, table), rows)


@cache
def _add_missing(dialect: str, table: Table) -> Any:
    return _insert(dialect, table).on_conflict_do_nothing()


@cache
def _add_association(dialect: str) -> Any:
    add = _insert(dialect, OpenAssociation)
    return add.on_conflict_do_update(index_elements=["association", "case_id"], set_={"touched_at": add.excluded.touched_at})


def _insert(dialect: str, table: Table) -> Any:
    return {"sqlite": sqlite, "postgresql": postgresql}[dialect].insert(table.__table__)


def _add_studies(connection: Connection, arrivals: Sequence[Arrival], now: float) -> None:
    fresh = {(one.study_uid, one.series_uid): one for one in reversed(arrivals)}
    studies = {one.study_uid: one for one in reversed(fresh.values())}
    add_new(connection, Study, [{"uid": uid, **_study(one), "received_at": now} for uid, one in sorted(studies.items())])
    add_new(connection, Series, [{"study_uid": study, "uid": uid, **_series(one)} for (study, uid), one in sorted(fresh.items())])


def _study(one: Arrival) -> dict[str, Any]:
    return {
        "patient_id": fit(one.patient_id, 64), "patient_name": fit(one.patient_name.lower(), 324),
        "study_date": fit(one.study_date, 8), "accession_number": fit(one.accession_number, 16), "attributes": one.study_attributes,
    }


def _series(one: Arrival) -> dict[str, Any]:
    return {"modality": fit(one.modality, 16), "attributes": one.series_attributes}


def _renew_studies(connection: Connection, replacing: Sequence[Arrival]) -> None:
    """Let queries show what a corrected object says of patient, study and series, as after a merge of patients."""
    studies = {one.study_uid: one for one in replacing}
    series = {(one.study_uid, one.series_uid): one for one in replacing}
    for _, one in sorted(studies.items()):
        connection.execute(update(Study).where(Study.uid == one.study_uid).values(_study(one)))
    for _, one in sorted(series.items()):
        is_it = (Series.study_uid == one.study_uid, Series.uid == one.series_uid)
        connection.execute(update(Series).where(*is_it).values(_series(one)))


def _contents_of(connection: Connection, arrivals: Sequence[Arrival]) -> dict[str, _Contents]:
    found = {one.sop_uid: _Contents() for one in arrivals}
    for row_id, sop_uid, sha256, current, case_id in connection.execute(_CONTENTS, {"uids": list(found)}):
        one = found[sop_uid]
        one.had[sha256] = _Content(row_id, case_id)
        if current:
            one.was = one.now = sha256
    return found


def _cases_of(connection: Connection, arrivals: Sequence[Arrival], now: float) -> dict[tuple[str, str], _Case]:
    firsts = {(one.study_uid, one.case_key): one for one in reversed(arrivals)}
    keys = {"keys": list({key for _, key in firsts})}
    found = _read_cases(connection, keys)
    missing = [one for pair, one in reversed(firsts.items()) if pair not in found]
    if missing:
        add_new(connection, Case, [
            {"key": one.case_key, "kind": one.kind, "study_uid": one.study_uid, "series_uid": one.series_uid,
             "calling_ae": fit(one.calling_ae, 16), "called_ae": fit(one.called_ae, 16), "priority": one.priority,
             "due_at": None, "revision": 0, "received_at": now, "last_received_at": now}
            for one in missing
        ])
        found = _read_cases(connection, keys)
    return found


def _read_cases(connection: Connection, keys: dict[str, list[str]]) -> dict[tuple[str, str], _Case]:
    rows = connection.execute(_CASES, keys)
    return {(study, key): _Case(row_id, due_at, priority, last_at)
            for row_id, study, key, due_at, priority, last_at in rows}


def _take(contents: _Contents, one: Arrival, case_id: int, now: float) -> Verdict:
    """Note one arrival among the contents of its UID."""
    if contents.now == one.sha256:
        return "duplicate"
    verdict: Verdict = "replaced" if contents.now else "stored"
    if one.sha256 not in contents.had and one.sha256 not in contents.added:
        contents.added[one.sha256] = {
            "sop_uid": one.sop_uid, "sop_class_uid": one.sop_class_uid, "series_uid": one.series_uid, "study_uid": one.study_uid,
            "case_id": case_id, "sha256": one.sha256, "size": len(one.data), "transfer_syntax": one.transfer_syntax,
            "attributes": one.instance_attributes, "origin": "received", "current": False, "received_at": now,
        }
    contents.now = one.sha256
    return verdict


def _write_contents(connection: Connection, contents: Iterable[_Contents], now: float) -> None:
    """Write new contents and which are current: demote before promoting, for one of a UID is current at a time."""
    added: list[dict[str, Any]] = []
    demoted: list[_Content] = []
    promoted: list[_Content] = []
    for one in contents:
        if one.was and one.was != one.now:
            demoted.append(one.had[one.was])
        if one.now in one.added:
            one.added[one.now]["current"] = True
        elif one.was != one.now:
            promoted.append(one.had[one.now])
        added += one.added.values()
    if demoted:
        connection.execute(_SET_CURRENT, {"ids": [one.id for one in demoted], "is_current": False})
        # The case an instance leaves has changed too, when it is not the one it comes to.
        connection.execute(_LEFT, {"cases": list({one.case_id for one in demoted}), "due": now})
    if promoted:
        connection.execute(_SET_CURRENT, {"ids": [one.id for one in promoted], "is_current": True})
    if added:
        connection.execute(_ADD_CONTENT, added)


def fit(text: str, length: int) -> str:
    """Cut to what a column holds; PostgreSQL takes no NUL and no lone surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")[:length]
