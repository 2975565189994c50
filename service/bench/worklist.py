"""Measure the worklist at a million lines: whole pages over HTTP as somebody logged in gets them, however far and filtered.

Beside it, on the same table, what a list costs that skips lines (OFFSET) instead of going on behind the last one.
"""

from __future__ import annotations

import random
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import httpx
from rich.console import Console

from service.access.links import new_link
from service.bench.machine import Others, describe_machine
from service.bench.report import Row, quantile, save, show
from service.bench.run import _bar
from service.bench.servers import NotMeasurable, end, free_port, spawn
from service.bench.worklist_rows import lines
from service.settings import Settings, read_settings
from service.site import Site
from service.store import entries_bulk, entries_page
from service.store.entries_page import PAGE_LINES, Query, position_of
from service.store.store import Store

RESULTS = Path(__file__).with_name("worklist.json")
P95_MS = 150.0
ROUNDS, WARM_UP = 40, 40  # requests of each kind, and requests before the clock runs
FULL = 1_000_000
START_S = 180.0
CHUNK = 20_000
DEPTHS = (0, 1_000, 10_000, 40_000, 400_000)  # lines that a page skips
SEARCHES = ("lo", "bace", "dife zoé", "T00123", "a00077", "nobody")
FILTERS = (
    ("open", ""), ("open, critical", "urgency=3"), ("open, one department", "department=P%C3%A9diatrie"),
    ("open, a department of few", "department=G%C3%A9riatrie"), ("open, one model and state", "model=hippocampus_mr&state=seen"),
    ("open, filters that little passes", "modality=MR&urgency=3"),
    ("done", "view=done"), ("done, rejected", "view=done&state=rejected"),
    ("done, a department of few", "view=done&department=G%C3%A9riatrie"), ("all, alerts", "view=all&kind=alert"),
    ("all, filters that nothing passes", "view=all&kind=alert&modality=MR"), ("mine", "view=mine"),
)


@dataclass(frozen=True)
class Timed:
    """One page that was asked for."""

    what: str
    ms: float
    status: int
    bytes: int


def fill(store: Store, count: int, progress: Callable[[float], None]) -> None:
    """Write made-up lines, and let the database count them, as it does by itself in time."""
    chunk: list[dict[str, Any]] = []
    for number, line in enumerate(lines(count, time.time()), start=1):
        chunk.append(line)
        if len(chunk) == CHUNK or number == count:
            entries_bulk.load(store, chunk)
            chunk = []
            progress(number / count)
    entries_bulk.loaded(store, count)


def measure(folder: Path, count: int, progress: Callable[[float], None]) -> tuple[list[Timed], dict[int, tuple[float, float]], float]:
    """Fill a store, start the service on it and ask for pages; return these, OFFSET against ours by depth in ms, and the share
    of the cores that others used. Raises NotMeasurable."""
    port = free_port()
    settings = read_settings({}, port=port, review=True, store=folder / "store", log_level="warning")
    store = Store.open(settings)
    try:
        fill(store, count, lambda done: progress(0.5 * done))
        depths = _depths(store, count)
    finally:
        store.close()
    process = spawn(["-m", "service", "start"], folder / "start.log", settings)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, headers={"accept": "text/html"}) as http:
            _wait(http, process.poll)
            csrf = _log_in(http, settings)
            asked = _asked(http, csrf)
            for what, path in asked[:WARM_UP]:
                _get(http, what, path)
            others = Others([process.pid])
            timed = []
            for number, (what, path) in enumerate(asked, start=1):
                timed.append(_get(http, what, path))
                progress(0.5 + 0.5 * number / len(asked))
            return timed, depths, others.share()
    finally:
        end(process)


def rows_of(timed: list[Timed], depths: dict[int, tuple[float, float]], *, count: int) -> list[Row]:
    """Turn what was measured into rows; times have their bar only at the full size."""
    part, bar = "worklist", P95_MS if count >= FULL else None
    times = [one.ms for one in timed]
    rows = [
        Row(part, "lines", count, ""),
        Row(part, "pages that were not answered", sum(one.status != 200 for one in timed), "", bar=0, better="less",
            note=f"of {len(timed)}"),
        Row(part, "median time to a page", statistics.median(times), "ms", quantile(times, 0.1), quantile(times, 0.9),
            note="whole pages over HTTP, logged in and audited, one after the other, of all kinds below"),
        Row(part, "95th percentile of it", quantile(times, 0.95), "ms", bar=bar, better="less"),
        Row(part, "longest", max(times), "ms"),
        Row(part, "largest page", max(one.bytes for one in timed) / 1024, "KiB", note="HTML as sent, without its scripts and styles"),
    ]
    for what in dict.fromkeys(one.what for one in timed):
        mine = [one.ms for one in timed if one.what == what]
        rows.append(Row(part, what, statistics.median(mine), "ms", quantile(mine, 0.1), quantile(mine, 0.95),
                        note=f"{len(mine)} pages; the range is to their 95th percentile"))
    for depth, (skipping, ours) in depths.items():
        rows.append(Row(part, f"OFFSET over ours, {depth} lines down", skipping / ours, "x",
                        note=f"in the database alone: {skipping:.1f} ms and {ours:.1f} ms"))
    return rows


def run(*, rows: int, out: Path, console: Console | None = None) -> int:
    """Do the bench; 0 when every bar is reached, 1 when one is not, 2 when the service does not start."""
    console = console or Console()
    machine = describe_machine()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=out.resolve(), prefix="bench-") as name, _bar(f"{rows} lines", console) as progress:
            timed, depths, share = measure(Path(name), rows, progress)
    except NotMeasurable as error:
        console.print(f"[red]{error}[/]")
        return 2
    machine["others_share"] = {"worklist": share}
    found = rows_of(timed, depths, count=rows)
    show(found, machine, console)
    save(found, machine, out / "bench-worklist.json")
    console.print(f"Written to {out / 'bench-worklist.json'} and .md")
    return int(any(row.reached is False for row in found))


def _asked(http: httpx.Client, csrf: str) -> list[tuple[str, str]]:
    """Return what is asked for: each filter, pages further and further down, and searches, mixed."""
    asked = [(f"filter: {what}", f"/review?{query}") for what, query in FILTERS] * ROUNDS
    asked += [(f"search: {typed!r}", _search(http, csrf, typed)) for typed in SEARCHES] * ROUNDS
    for view, pages in (("open", 12), ("done", 12)):
        path = f"/review?view={view}"
        for _ in range(pages):
            found = re.search(r'rel="next" href="([^"]+)"', http.get(path).text)
            if found is None:
                break
            path = found[1].replace("&amp;", "&")
            asked += [(f"pages 2 to {pages + 1} of {view}", path)] * (ROUNDS // 10)
    random.Random(1).shuffle(asked)  # noqa: S311  the same order each time
    return asked


def _depths(store: Store, count: int) -> dict[int, tuple[float, float]]:
    """Time one page in the database, at depths: skipping lines, and going on behind one."""
    found = {}
    for depth in (one for one in DEPTHS if one < count * (0.9 if one > 40_000 else 0.04)):
        view: Literal["open", "done"] = "open" if depth <= 40_000 else "done"
        query = Query(view=view)
        if depth:
            query = replace(query, after=position_of(query, entries_bulk.skipped(store, view, depth - 1, 1)[0]))
        skipping = _best(lambda: entries_bulk.skipped(store, view, depth, PAGE_LINES))  # noqa: B023  called at once
        found[depth] = (skipping, _best(lambda: entries_page.page(store, query)))  # noqa: B023  as above
    return found


def _best(work: Callable[[], Any]) -> float:
    """Return the median time of some calls, in ms."""
    times = []
    for _ in range(7):
        began = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def _get(http: httpx.Client, what: str, path: str) -> Timed:
    began = time.perf_counter()
    answer = http.get(path)
    return Timed(what, 1000 * (time.perf_counter() - began), answer.status_code, len(answer.content))


def _log_in(http: httpx.Client, settings: Settings) -> str:
    """Log in with a link as its reader would, and return the token that forms bring back."""
    store = Store.open(settings)  # the link that the service printed is void from here on
    try:
        link = new_link(store, settings, Site.model_validate({}), str(http.base_url).rstrip("/"))
    finally:
        store.close()
    http.get(link, follow_redirects=True)
    found = re.search(r'name="csrf-token" content="([^"]+)"', http.get("/review").text)
    if found is None:
        raise NotMeasurable("The login link does not log in; see start.log")
    return found[1]


def _search(http: httpx.Client, csrf: str, typed: str) -> str:
    origin = str(http.base_url).rstrip("/")
    answer = http.post("/review/search", data={"text": typed, "csrf": csrf, "view": "all"}, headers={"origin": origin})
    if answer.status_code != 303:
        raise NotMeasurable(f"A search is answered with status {answer.status_code}.")
    return answer.headers["location"]


def _wait(http: httpx.Client, ended: Callable[[], int | None]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and ended() is None:
        try:
            if http.get("/readyz").status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise NotMeasurable("The service does not become ready; see start.log")


