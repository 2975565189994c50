"""Diaphane as the performer of a worklist (IHE AIW-I): it claims the steps whose images it holds, and completes them.

A step is ours when it is scheduled for us, or for nobody and of a kind we do. It waits until its images are here, then
until every one of them has its result. Whatever process does the next thing to it is the right one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from service.dicom import steps
from service.dicom.steps import CANCELED, COMPLETED, IN_PROGRESS, SCHEDULED, Attributes, code, value
from service.dicom.ups import OURS
from service.logs import where
from service.store.ledger import objects_of, results_of
from service.store.query import get_instances
from service.store.store import Store
from service.store.tables import Case, Result, Workitem
from service.store.workitems import put_workitem, search_workitems
from service.store.worklist import cases_named, hurry

log = logging.getLogger("diaphane")
STATION = "DIAPHANE"
KINDS = frozenset(("110001", "110003", "110004"))  # CID 9231: image processing, computer aided diagnosis and detection
_STATIONS, _WORK, _CODE, _SCHEME = "00404025", "00404018", "00080100", "00080102"
_REFERENCED, _SOP_CLASS, _SOP = "00081199", "00081150", "00081155"
_PAGE = 200


@dataclass(frozen=True)
class Input:
    """What one item of the Input Information Sequence names; nothing but the study: all of it."""

    study_uid: str
    series_uid: str
    sop_uids: tuple[str, ...]


def step(store: Store, *, station: str = STATION) -> bool:
    """Do what can be done for any workitem now: claim, cancel or complete. False when there was nothing."""
    return sum(_tried(store, item, station) for item in list(_open_items(store))) > 0


def _tried(store: Store, item: Workitem, station: str) -> bool:
    try:
        return _do(store, item, station)
    except Exception as error:  # one workitem's trouble must not stop the others, nor the work
        log.warning("a workitem could not be taken further: %s", where(error))
        return False


def _do(store: Store, item: Workitem, station: str) -> bool:
    if item.state == SCHEDULED:
        return _for_us(item.attributes, station) and _due(item.attributes) and _claim(store, item)
    if OURS not in item.attributes:
        return False
    if item.cancel_requested:
        return put_workitem(store, item, state=CANCELED, attributes=steps.cancelled(item.attributes))
    return _complete(store, item, station)


def _open_items(store: Store) -> Iterator[Workitem]:
    start = 0
    while True:
        page = search_workitems(store, states=(SCHEDULED, IN_PROGRESS), limit=_PAGE, offset=start)
        yield from page
        start += _PAGE
        if len(page) < _PAGE:
            return


def _for_us(attributes: Attributes, station: str) -> bool:
    named = {steps.text(item, _CODE).upper() for item in steps.items(attributes, _STATIONS)}
    if named:
        return station.upper() in named
    work = steps.items(attributes, _WORK)
    return not work or any(steps.text(item, _SCHEME) == "DCM" and steps.text(item, _CODE) in KINDS for item in work)


def _due(attributes: Attributes) -> bool:
    """Tell whether the step's inputs are said to be ready and its time has come. A time without zone is UTC."""
    if steps.text(attributes, steps.READINESS) != "READY":
        return False
    told = re.fullmatch(r"(\d{4,14})(?:\.\d{1,6})?([+-]\d{4})?", steps.text(attributes, steps.START), re.ASCII)
    if told is None:
        return True  # a time that cannot be read is no reason never to begin
    digits, zone = told[1] + "00000101000000"[len(told[1]) :], told[2] or "+0000"
    try:
        start = datetime.strptime(digits + zone, "%Y%m%d%H%M%S%z")
    except ValueError:
        return True
    return start <= datetime.now(UTC)


def _inputs(attributes: Attributes) -> list[Input]:
    found = []
    for item in steps.items(attributes, steps.INPUTS):
        sops = tuple(steps.text(one, _SOP) for one in steps.items(item, _REFERENCED))
        found.append(Input(steps.text(item, steps.STUDY), steps.text(item, steps.SERIES), sops))
    return [one for one in found if one.study_uid]


def _claim(store: Store, item: Workitem) -> bool:
    cases = [_cases(store, one) for one in _inputs(item.attributes)]
    if not cases or not all(cases):
        return False
    progress = value("SQ", {"00741004": value("DS", 0)})
    ours = item.attributes | {OURS: {"began": steps.now()}, steps.PROGRESS: progress}
    if not put_workitem(store, item, state=IN_PROGRESS, transaction_uid=steps.new_uid(), attributes=ours):
        return False  # somebody was faster
    hurry(store, [case.id for some in cases for case in some], item.priority)
    return True


def _cases(store: Store, asked: Input) -> list[Case]:
    return cases_named(store, asked.study_uid, asked.series_uid, asked.sop_uids)


def _complete(store: Store, item: Workitem, station: str) -> bool:
    results: list[tuple[str, Result]] = []
    for one in _inputs(item.attributes):
        found = _results(store, one)
        if found is None:
            return False
        results += [(one.study_uid, result) for result in found]
    work = steps.items(item.attributes, _WORK) or [code("110003", "DCM", "Computer Aided Diagnosis")]
    performed = {
        "00404028": value("SQ", code(station[:16], "99DIAPHANE", "Diaphane")),
        "00404050": value("DT", item.attributes[OURS]["began"]),
        "00404051": value("DT", steps.now()),
        "00404019": value("SQ", *work),
        steps.OUTPUT: value("SQ", *_output(store, results)),
    }
    done = item.attributes | {
        steps.PERFORMED: value("SQ", performed),
        steps.PROGRESS: value("SQ", {"00741004": value("DS", 100)}),
        steps.CHANGED: value("DT", steps.now()),
    }
    return put_workitem(store, item, state=COMPLETED, attributes=done)


def _results(store: Store, asked: Input) -> list[Result] | None:
    """Return the results of the newest revision of every case an input names; None while one is missing."""
    wanted = {case.id: case for case in _cases(store, asked)}
    if not wanted or any(case.due_at is not None for case in wanted.values()):
        return None
    found: list[Result] = []
    finished: set[int] = set()
    for case, revision, result in results_of(store, study_uid=asked.study_uid):
        if case.id in wanted and revision.number == wanted[case.id].revision and result is not None:
            finished.add(case.id)
            found.append(result)
    return found if wanted.keys() == finished else None


def _output(store: Store, results: list[tuple[str, Result]]) -> Iterator[Attributes]:
    """Yield one item a series that was made, with an address relative to that of the workitem."""
    series: dict[tuple[str, str], dict[str, str]] = {}
    for study_uid, result in {result.id: (study_uid, result) for study_uid, result in results}.values():
        for made in objects_of(store, result.id):
            for row in get_instances(store, study_uid, None, made.sop_uid):
                series.setdefault((study_uid, row.series_uid), {})[made.sop_uid] = made.sop_class_uid
    for (study_uid, series_uid), objects in series.items():
        references = [{_SOP_CLASS: value("UI", sop_class), _SOP: value("UI", uid)} for uid, sop_class in objects.items()]
        address = {"00081190": value("UR", f"../studies/{study_uid}/series/{series_uid}")}
        yield {"0040E020": value("CS", "DICOM"), steps.STUDY: value("UI", study_uid), steps.SERIES: value("UI", series_uid),
               _REFERENCED: value("SQ", *references), "0040E025": value("SQ", address)}
