"""Measure CDS Hooks as a clinician feels them: signed calls at a steady rate to a started service, whatever it answers.

Calls are sent when they are due, whether or not earlier ones were answered (an open loop), and timed from when they were due: a
service that falls behind cannot hide it. Two processes on two cores, over HTTP, with the made-up patients of data-samples.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console

from service.bench.machine import Others, describe_machine
from service.bench.report import Row, quantile, save, show
from service.bench.run import _bar
from service.bench.servers import NotMeasurable, end, free_port, spawn
from service.cds_hooks.record_system import Json, RecordSystem, call, chart_of, fill
from service.cds_hooks.services import OF_THE_STORE
from service.settings import read_settings

RESULTS = Path(__file__).with_name("hooks.json")
SAMPLES = Path(__file__).resolve().parents[2] / "data-samples"
ANYBODY = "icu-mortality"  # whose sample also stands for a patient whose chart is opened
START_S = 180.0
MOST_AT_ONCE = 64
WARM_UP = 40  # calls before the clock runs: graphs and connections are opened by the first
P95_MS, P99_MS = 200.0, 500.0
SECONDS, PER_S, PROCESSES = 60.0, 20.0, 2


@dataclass(frozen=True)
class Call:
    """One call to make: where, and the body without its hook instance."""

    service: str
    hook: str
    body: Json


@dataclass(frozen=True)
class Answered:
    """One call made: ms from when it was due, cards in the answer, HTTP status (0: none came)."""

    service: str
    ms: float
    cards: int
    status: int
    late_ms: float  # how late it was sent


def measure(
    folder: Path, *, seconds: float, per_s: float, processes: int, progress: Callable[[float], None]
) -> tuple[list[Answered], float]:
    """Start the service, call it, stop it; return the answers and the share of the cores that others used.

    Raises NotMeasurable.
    """
    client = RecordSystem()
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    (folder / "jwks.json").write_text(json.dumps(client.jwks()), encoding="utf-8")
    site = folder / "site.toml"
    site.write_text(f'[commissioning]\nrequired = false\n[[cds_clients]]\niss = "{client.iss}"\njwks = "{folder / "jwks.json"}"\n',
                    encoding="utf-8")
    settings = read_settings({}, port=port, public_url=base, ehr=True, workers=processes, store=folder / "store", site=site,
                             log_level="warning")
    process = spawn(["-m", "service", "start"], folder / "start.log", settings)
    try:
        _wait(base, process.poll)
        with httpx.Client(timeout=30, limits=httpx.Limits(max_connections=MOST_AT_ONCE)) as http:
            calls = _calls(http, client, base)
            _run(http, client, base, calls, WARM_UP, per_s, lambda _: None)
            others = Others([process.pid])
            answers = _run(http, client, base, calls, round(seconds * per_s), per_s, progress)
            return answers, others.share()
    finally:
        end(process)


def rows_of(answers: Sequence[Answered], *, per_s: float, timed: bool = True) -> list[Row]:
    """Turn answers into rows; times have their bars only when ``timed``."""
    part = "CDS Hooks"
    good = [one.ms for one in answers if one.status == 200]
    late = max((one.late_ms for one in answers), default=0.0)
    rows = [
        Row(part, "calls without an answer of cards", sum(one.status != 200 for one in answers), "", bar=0, better="less",
            note=f"of {len(answers)}, {per_s:g} a second, each with a signed token of its own; sent at most {late:.0f} ms late"),
    ]
    if good:
        rows += [
            Row(part, "median time to the cards", statistics.median(good), "ms", quantile(good, 0.1), quantile(good, 0.9),
                note="from when the call was due to the end of its answer"),
            Row(part, "95th percentile of it", quantile(good, 0.95), "ms", bar=P95_MS if timed else None, better="less"),
            Row(part, "99th percentile of it", quantile(good, 0.99), "ms", bar=P99_MS if timed else None, better="less"),
        ]
    for service in sorted({one.service for one in answers}):
        mine = [one.ms for one in answers if one.service == service and one.status == 200]
        if mine:
            cards = sum(one.cards for one in answers if one.service == service)
            rows.append(Row(part, f"median of {service}", statistics.median(mine), "ms", quantile(mine, 0.1), quantile(mine, 0.9),
                            note=f"{len(mine)} calls, {cards} cards"))
    return rows


def run(*, seconds: float, per_s: float, processes: int, out: Path, console: Console | None = None) -> int:
    """Do the bench; 0 when every bar is reached, 1 when one is not, 2 when the service does not start."""
    console = console or Console()
    machine = describe_machine()
    out.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=out.resolve(), prefix="bench-") as name, \
                _bar(f"{per_s:g} calls a second for {seconds:g} s", console) as progress:
            answers, share = measure(Path(name), seconds=seconds, per_s=per_s, processes=processes, progress=progress)
    except NotMeasurable as error:
        console.print(f"[red]{error}[/]")
        return 2
    machine["others_share"] = {"CDS Hooks": share}
    rows = rows_of(answers, per_s=per_s, timed=seconds >= SECONDS)
    show(rows, machine, console)
    save(rows, machine, out / "bench-hooks.json")
    console.print(f"Written to {out / 'bench-hooks.json'} and .md")
    return int(any(row.reached is False for row in rows))


def _calls(http: httpx.Client, client: RecordSystem, base: str) -> list[Call]:
    """Return a call for every service and sample that go together. Raises NotMeasurable when discovery answers nothing."""
    url = f"{base}/cds-services"
    answer = http.get(url, headers=client.headers(url))
    if answer.status_code != 200:
        raise NotMeasurable(f"Discovery answers with status {answer.status_code}.")
    expected = json.loads((SAMPLES / "expected.json").read_text(encoding="utf-8"))
    calls = []
    for service in answer.json()["services"]:
        for name in sorted(expected):
            row = expected[name]
            wanted = str(row.get("model", "")).replace("_", "-")
            goes = wanted == service["id"] or (service["id"] in OF_THE_STORE and wanted == ANYBODY)
            if name.endswith(".json") and row.get("status") == "scored" and goes:
                calls.append(_call(service, json.loads((SAMPLES / name).read_text(encoding="utf-8"))))
                break
    if not calls:
        raise NotMeasurable("No service goes with a sample of data-samples.")
    return calls


def _call(service: Json, bundle: Json) -> Call:
    resources = [entry["resource"] for entry in bundle["entry"]]
    place: dict[str, Any] = chart_of(resources)
    if service["hook"].startswith("order-"):
        draft = {"resourceType": "MedicationRequest", "id": "draft", "status": "draft", "intent": "order",
                 "subject": {"reference": f"Patient/{place['patientId']}"},
                 "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "B01AA03"}]}}
        place |= {"draftOrders": {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": draft}]}}
        place |= {"selections": ["MedicationRequest/draft"]} if service["hook"] == "order-select" else {}
    return Call(service["id"], service["hook"], call(service["hook"], place, fill(service.get("prefetch", {}), resources, place)))


def _run(
    http: httpx.Client, client: RecordSystem, base: str, calls: Sequence[Call], count: int, per_s: float,
    progress: Callable[[float], None],
) -> list[Answered]:
    answers: list[Answered] = []
    lock = threading.Lock()
    bodies = [json.dumps(one.body).encode() for one in calls]
    # Signed beforehand: a record system has cores of its own.
    headers = [client.headers(f"{base}/cds-services/{calls[number % len(calls)].service}", valid_s=600) for number in range(count)]

    def one_call(number: int, due: float) -> None:
        what = calls[number % len(calls)]
        sent = time.perf_counter()
        try:
            answer = http.post(f"{base}/cds-services/{what.service}", content=bodies[number % len(calls)], headers=headers[number])
            status, cards = answer.status_code, len(answer.json().get("cards", ())) if answer.status_code == 200 else 0
        except httpx.HTTPError:
            status, cards = 0, 0
        done = time.perf_counter()
        with lock:
            answers.append(Answered(what.service, 1000 * (done - due), cards, status, 1000 * (sent - due)))
            progress(len(answers) / count)

    with ThreadPoolExecutor(MOST_AT_ONCE) as threads:
        began = time.perf_counter()
        for number in range(count):
            due = began + number / per_s
            time.sleep(max(0.0, due - time.perf_counter()))
            threads.submit(one_call, number, due)
    return answers


def _wait(base: str, ended: Callable[[], int | None]) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and ended() is None:
        try:
            if httpx.get(f"{base}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise NotMeasurable("The service does not become ready; see start.log")
