"""Pages of the worklist: by urgency or by latest change, filtered and searched, as fast at the last page as at the first.

A page begins behind a line (keyset paging), never after a number of lines. Filters are looked at in an index, and of that no more
than a bound at a time: a page that found too little says where it stopped, and the next goes on from there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, literal, or_, select, tuple_
from sqlalchemy.orm import Session

from service.store.entries import STEP, folded
from service.store.review_tables import Entry
from service.store.store import Store
from service.store.tables import Job

View = Literal["open", "done", "all", "mine"]
PAGE_LINES = 50
LOOKED_AT = 60_000  # lines of the index a page may look at
COUNTED = 1000  # beyond: "1000+"
COUNT_LOOKED_AT = 8_000
FOUND = 2_000  # lines that a search sorts; of more, it says to type more
SEARCH_LOOKED_AT = 10_000
LEAST_SHARE = 1_000
LEAST_TYPED = 2
_LAST = chr(0x10FFFF)
Position = tuple[float, int]  # place and id; or the number of the last change, and 0


@dataclass(frozen=True)
class Query:
    """What to list. An empty filter lets all through; ``departments`` also holds what the caller may see (None: all).

    ``after`` and ``before`` are positions of lines: of the last one of the page before, or of the first one of the page behind.
    """

    view: View = "open"
    kinds: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    urgencies: tuple[int, ...] = ()
    modalities: tuple[str, ...] = ()
    model: str = ""  # a name, without version
    models: frozenset[str] | None = None  # names that the caller may see; a line without a model is seen by all
    departments: frozenset[str] | None = None
    text: str = ""
    actor: str = ""  # whose lines the view "mine" holds
    keys: tuple[str, ...] | None = None  # only these
    after: Position | None = None
    before: Position | None = None
    size: int = PAGE_LINES

    @property
    def by_change(self) -> bool:
        """Tell whether the latest change comes first; else the most urgent that waits longest."""
        return self.view != "open"


@dataclass(frozen=True)
class Page:
    """One page. ``stopped`` is where the look through the filters ended before the page was full; None: it did not."""

    lines: tuple[Entry, ...]
    more_before: bool
    more_after: bool
    stopped: Position | None = None
    too_many: bool = False  # a search found more than it sorts


@dataclass(frozen=True)
class Count:
    """How many; ``more`` when counting stopped there."""

    number: int
    more: bool


def position_of(query: Query, line: Entry) -> Position:
    """Return where a line stands in the order of a query."""
    return (float(line.changed), 0) if query.by_change else (line.place, line.id)


def page(store: Store, query: Query) -> Page:
    """Return one page of lines, in order."""
    backwards = query.before is not None
    with store.reading() as session:
        if query.text or query.keys is not None:
            return _searched(session, query)
        branches = [_branch(session, query, one, backwards) for one in _branches(query)]
        found = sorted((one for branch in branches for one in branch.found), reverse=backwards != query.by_change)
        stops = [branch.stopped for branch in branches if branch.stopped is not None]
        stopped = (max(stops) if backwards != query.by_change else min(stops)) if stops else None
        if stopped is not None:  # behind it, a branch has not looked yet
            found = [one for one in found if (one >= stopped if backwards != query.by_change else one <= stopped)]
        full = len(found) > query.size
        lines = _lines(session, query, found[: query.size])
    onwards = full or stopped is not None
    if backwards:
        lines.reverse()
        return Page(tuple(lines), more_before=onwards, more_after=True, stopped=None if full else stopped)
    return Page(tuple(lines), more_before=query.after is not None, more_after=onwards, stopped=None if full else stopped)


def counts(store: Store, query: Query) -> dict[int, Count]:
    """Count the lines of a query by urgency, each to a bound. Those of a search, or of all that is done, are not counted."""
    found = {}
    with store.reading() as session:
        for urgency in (3, 2, 1, 0) if query.view == "open" and not query.text else ():
            if query.urgencies and urgency not in query.urgencies:
                continue
            asked = replace(query, urgencies=(urgency,), after=None, before=None)
            number, more = 0, False
            for one in _branches(asked):
                inner = _ordered(asked, one, backwards=False, limit=COUNT_LOOKED_AT).subquery()
                passes = case((_passes(inner.c, asked), 1), else_=0)
                row = session.execute(select(func.count(), func.coalesce(func.sum(passes), 0)).select_from(inner)).one()
                number, more = number + int(row[1]), more or row[0] >= COUNT_LOOKED_AT
            found[urgency] = Count(min(number, COUNTED), more or number > COUNTED)
    return found


def departments(store: Store, limit: int = 100) -> list[str]:
    """Return the departments there are lines of; each is one step in an index, however many lines it has."""
    found: list[str] = []
    with store.reading() as session:
        last = ""
        while len(found) < limit:
            following = session.scalar(select(func.min(Entry.department)).where(Entry.department > last))
            if following is None:
                return found
            found.append(following)
            last = following
    return found


@dataclass(frozen=True)
class _Looked:
    """What a branch gave: positions in order, and where it stopped looking before it had enough."""

    found: tuple[Position, ...]
    stopped: Position | None


def _branches(query: Query) -> list[dict[str, Any]]:
    """Return the parts of an index that a query reads: each holds its lines in order, and together they are merged."""
    if query.view == "mine":
        return [{"actor": query.actor}]
    opens = {"open": (True,), "done": (False,), "all": (True, False)}[query.view]
    if query.departments is None:
        return [{"open": one} for one in opens]
    return [{"department": name, "open": one} for name in sorted(query.departments) for one in opens]


def _branch(session: Session, query: Query, equal: dict[str, Any], backwards: bool) -> _Looked:
    share = max(LEAST_SHARE, LOOKED_AT // max(1, len(_branches(query))))
    inner = _ordered(query, equal, backwards, limit=share).subquery()
    order: tuple[Any, Any] = (inner.c.changed, literal(0)) if query.by_change else (inner.c.place, inner.c.id)
    passing = select(*order).where(_passes(inner.c, query)).limit(query.size + 1)
    found = tuple((float(first), int(second)) for first, second in session.execute(passing))
    if len(found) > query.size:
        return _Looked(found, None)
    last = session.execute(select(*order).offset(share - 1).limit(1)).first()  # lazily: the bound of the look, not of the table
    return _Looked(found, None if last is None else (float(last[0]), int(last[1])))


def _ordered(query: Query, equal: dict[str, Any], backwards: bool, *, limit: int) -> Select[Any]:
    """Read an index in the order of a query from its position on. All columns stand in that index."""
    filtered = (Entry.kind, Entry.state, Entry.department, Entry.modality, Entry.model)
    if query.by_change:
        columns: tuple[Any, ...] = (Entry.changed, *filtered, Entry.urgency)
        order: tuple[Any, ...] = (Entry.changed,)
        onward = Entry.changed > bindparam("first") if backwards else Entry.changed < bindparam("first")
    else:
        columns = (Entry.place, Entry.id, *filtered)
        order = (Entry.place, Entry.id)
        pair = tuple_(bindparam("first"), bindparam("second"))
        onward = tuple_(*order) < pair if backwards else tuple_(*order) > pair
    wanted = select(*columns).where(*(getattr(Entry, name) == literal(value) for name, value in equal.items()))
    position = query.before or query.after
    if position is not None:
        first, second = position
        wanted = wanted.where(onward).params(first=int(first) if query.by_change else first, second=second)
    if not query.by_change and query.urgencies:  # an urgency is a stretch of places
        low, high = (3 - max(query.urgencies)) * STEP, (4 - min(query.urgencies)) * STEP
        wanted = wanted.where(Entry.place >= low, Entry.place < high)
    descending = backwards != query.by_change
    return wanted.order_by(*(one.desc() if descending else one for one in order)).limit(limit)


def _passes(columns: Any, query: Query) -> ColumnElement[bool]:
    """Say what the lines of an index must meet besides their order."""
    wanted: list[ColumnElement[bool]] = [literal(1) == literal(1)]
    for name, values in (("kind", query.kinds), ("state", query.states), ("modality", query.modalities)):
        if values:
            wanted.append(columns[name].in_(values))
    if query.departments is not None:
        wanted.append(columns["department"].in_(sorted(query.departments)))
    named = (literal(" ") + columns["model"]).contains  # ids are name-version, with blanks between
    if query.model:
        wanted.append(named(f" {query.model}-", autoescape=True))
    if query.models is not None:
        wanted.append(or_(columns["model"] == "", *(named(f" {name}-", autoescape=True) for name in sorted(query.models))))
    if query.urgencies:
        if query.by_change:
            wanted.append(columns["urgency"].in_(query.urgencies))
        else:
            places = columns["place"]
            wanted.append(or_(*(and_(places >= (3 - one) * STEP, places < (4 - one) * STEP) for one in query.urgencies)))
    return and_(*wanted)


def _lines(session: Session, query: Query, positions: Sequence[Position]) -> list[Entry]:
    """Read whole lines, in the order of their positions."""
    column = Entry.changed if query.by_change else Entry.id
    names = [int(first) if query.by_change else second for first, second in positions]
    found = session.scalars(select(Entry).where(column.in_(names))).all()
    rows: dict[int, Entry] = {(row.changed if query.by_change else row.id): row for row in found}
    return [rows[name] for name in names if name in rows]


def _searched(session: Session, query: Query) -> Page:
    """Find lines by what was typed, or by their keys, and sort them: there are few, or more must be typed."""
    ids: set[Position] = set()
    too_many = False
    for one in _looks(query):
        inner = select(Entry.__table__).where(one).limit(SEARCH_LOOKED_AT).subquery()
        filters = [_passes(inner.c, query)]
        if query.view in ("open", "done"):
            filters.append(inner.c.open == literal(query.view == "open"))
        if query.view == "mine":
            filters.append(inner.c.actor == query.actor)
        order: tuple[Any, Any] = (inner.c.changed, literal(0)) if query.by_change else (inner.c.place, inner.c.id)
        found = session.execute(select(*order).where(*filters).limit(FOUND + 1)).all()
        too_many = too_many or len(found) > FOUND
        ids |= {(float(first), int(second)) for first, second in found}
    ordered = sorted(ids, reverse=query.by_change)
    start = _start(ordered, query)
    shown = ordered[start : start + query.size]
    return Page(tuple(_lines(session, query, shown)), more_before=start > 0, more_after=start + query.size < len(ordered),
                too_many=too_many)


def _looks(query: Query) -> list[ColumnElement[bool]]:
    """Return what each index is asked for."""
    if query.keys is not None:
        return [Entry.key.in_(query.keys)]
    name, number = folded(query.text), query.text.strip().casefold()
    if len(number) < LEAST_TYPED:
        return []
    looks: list[ColumnElement[bool]] = [_begins(Entry.patient_id, number), _begins(Entry.accession_number, number)]
    return [_begins(Entry.patient_name, name), *looks] if len(name) >= LEAST_TYPED else looks


def _begins(column: Any, text: str) -> ColumnElement[bool]:
    """Say that a column begins with a text; in the order of bytes this is a stretch of its index."""
    return and_(column >= text, column < text + _LAST)


def _start(ordered: Sequence[Position], query: Query) -> int:
    position = query.after or query.before
    if position is None:
        return 0
    passed: Collection[Position] = [one for one in ordered if (one >= position if query.by_change else one <= position)]
    if query.after is not None:
        return len(passed)
    return max(0, len(passed) - (position in ordered) - query.size)


def being_assessed(store: Store) -> Count:
    """Count the images that are here and not assessed yet, to a bound: series and lone images, of whatever department."""
    unfinished = select(Job.id).where(Job.state.in_(("queued", "running"))).limit(COUNTED + 1).subquery()
    with store.reading() as session:
        number = session.scalar(select(func.count()).select_from(unfinished)) or 0
    return Count(min(number, COUNTED), number > COUNTED)
