"""QIDO-RS (PS3.18, 10.6): what is held, found by attributes of patient, study, series and instance."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.dicom import accept
from service.dicom.arrival import INSTANCE, SERIES, STUDY
from service.dicom.dicomjson import json_of
from service.dicom.matching import Attributes, Question, path_of, read_question
from service.dicom.wado import header
from service.store import query
from service.store.store import Store

Finder = Callable[..., list[Attributes]]
FINDERS: dict[str, Finder] = {
    "studies": query.find_studies, "series": query.find_series, "instances": query.find_instances,
}
KEYWORDS: dict[str, tuple[str, ...]] = {  # what can be matched at each level
    level: tuple(dict.fromkeys((*keywords, *sorted(query.KEYS))))
    for level, keywords in {"studies": STUDY, "series": (*STUDY, *SERIES), "instances": (*STUDY, *SERIES, *INSTANCE)}.items()
}
# Always there, if only without a value (PS3.18, tables 10.6.3-3 to -5).
REQUIRED: dict[str, dict[str, str]] = {
    "studies": {"00080020": "DA", "00080030": "TM", "00080050": "SH", "00080090": "PN", "00100010": "PN", "00100020": "LO",
                "00100030": "DA", "00100040": "CS", "00200010": "SH"},
    "series": {"00080060": "CS", "00200011": "IS"},
    "instances": {"00200013": "IS"},
}
HELD = {level: frozenset(path_of(keyword)[0] for keyword in keywords) for level, keywords in KEYWORDS.items()}
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID")
_PAGE = 1_000
MOST_READ = 200  # results whose file is looked into for attributes asked for by includefield
SERVICE = "Diaphane"
LITERAL = "The fuzzymatching parameter is not supported. Only literal matching has been performed."


def search(request: Request, store: Store, level: str, root: str) -> Response:
    """Answer a search. Blocks: call it in a thread. Raises ProblemError."""
    accept.choose(request, (accept.JSON, accept.PLAIN_JSON))
    question = read_question(request.query_params.multi_items(), HELD[level])
    within = {keyword: request.path_params[name] for keyword, name in zip(_UIDS, ("study", "series"), strict=True)
              if name in request.path_params}
    found, more = _find(store, level, question, within)
    warnings = []
    if question.fuzzy:
        warnings.append(LITERAL)
    if more:
        warnings.append("There are additional results that can be requested.")
    headers = {"cache-control": "no-store", "vary": "accept"}
    if warnings:
        headers["warning"] = ", ".join(f"299 {SERVICE}: {text}" for text in warnings)
    if not found:
        return Response(None, 204, headers)
    beyond = question.fields - HELD[level] - {tag for one in found for tag in one}
    if beyond:
        found = [one | _read(store, one, beyond) for one in found[:MOST_READ]] + found[MOST_READ:]
    shown = [_shown(one, level, root) for one in found]
    return Response(json.dumps(shown, ensure_ascii=False, separators=(",", ":")), 200, headers, accept.JSON)


def _find(store: Store, level: str, question: Question, within: Mapping[str, str]) -> tuple[list[Attributes], bool]:
    """Return one page, and whether there is more. The database does what it has columns for, we what it has not."""
    match = dict(within)
    rest = []
    for condition in question.conditions:
        if condition.keyword in query.KEYS and condition.keyword not in match:
            match[condition.keyword] = condition.value
        else:
            rest.append(condition)
    finder, wanted = FINDERS[level], question.limit + 1
    if not rest:
        found = finder(store, match, limit=wanted, offset=question.offset)
        return found[: question.limit], len(found) > question.limit
    kept: list[Attributes] = []
    start = 0
    while len(kept) < question.offset + wanted:
        page = finder(store, match, limit=_PAGE, offset=start)
        kept += [one for one in page if all(condition.holds(one) for condition in rest)]
        start += _PAGE
        if len(page) < _PAGE:
            break
    kept = kept[question.offset :]
    return kept[: question.limit], len(kept) > question.limit


def _read(store: Store, attributes: Attributes, tags: Collection[str]) -> Attributes:
    """Read attributes that are not kept for queries out of one file of a study, series or instance."""
    uids = [_uid(attributes, tag) or None for tag in ("0020000D", "0020000E", "00080018")]
    rows = query.get_instances(store, uids[0] or "", *uids[1:])
    if not rows:
        return {}
    dataset = header(store, rows[0])
    return json_of(dataset, "", only=tags)


def _shown(attributes: Attributes, level: str, root: str) -> Attributes:
    """Add where it can be retrieved, in the order of tags."""
    url = f"{root}/studies/{_uid(attributes, '0020000D')}"
    if level != "studies":
        url += f"/series/{_uid(attributes, '0020000E')}"
    if level == "instances":
        url += f"/instances/{_uid(attributes, '00080018')}"
    missing = {tag: {"vr": vr} for tag, vr in REQUIRED[level].items() if tag not in attributes}
    added: dict[str, Any] = missing | {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00081190": {"vr": "UR", "Value": [url]},
    }
    return dict(sorted((attributes | added).items()))


def _uid(attributes: Attributes, tag: str) -> str:
    return str((attributes.get(tag, {}).get("Value") or [""])[0])
