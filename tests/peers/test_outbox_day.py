"""A day without the PACS, on a clock of our own: nothing is lost, order and neighbours are kept, poison is put aside.

Store, deliverers, client and HTTP servers are real; only the time that passes is made up. With --slow it is 10,000 results.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from sqlalchemy import func, select

from service.deliver import Deliverer
from service.dicom.client import deliver
from service.settings import Settings
from service.site import Target
from service.store import queue
from service.store.again import deliveries_again
from service.store.cases import seal_due
from service.store.inbox import receive
from service.store.ledger import failures, save_result
from service.store.store import Store
from service.store.tables import Case, Delivery, Job, Revision
from tests.make_store import image_of, object_of, settings_for
from tests.peers.running import free_ports

DAY_S = 86_400.0
PRIORITIES = (0, 1, 0, -1, 0, 2)
BOTH = 5  # each fifth result goes to the archive too
POISON = 5  # the number of an urgent result that one PACS cannot understand: 0xA900


class Clock:
    """Stands for the module ``time`` where the outbox looks at it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@dataclass
class Dicomweb:
    """A server that takes what is posted to /studies and notes the numbers of the results, in order. Off until ``up``."""

    port: int
    poison: set[int] = field(default_factory=set)
    received: list[int] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    def up(self) -> None:
        """Begin to listen."""
        outer = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                number = int(re.search(rb"result (\d+) ", body)[1])  # type: ignore[index]
                if number in outer.poison:
                    failed = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xA900]}}]}}
                    self._say(409, json.dumps(failed).encode())
                else:
                    outer.received.append(number)
                    self._say(200, b"{}")

            def do_GET(self) -> None:
                self._say(200, b"[]")

            def _say(self, code: int, body: bytes) -> None:
                self.send_response(code)
                self.send_header("content-type", "application/dicom+json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Answer)
        threading.Thread(target=self._server.serve_forever, name="dicomweb", daemon=True).start()

    def down(self) -> None:
        """Stop listening."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def target(self, name: str) -> Target:
        """Describe it in a site file."""
        return Target(name=name, kind="stow", url=f"http://127.0.0.1:{self.port}/dicom-web")


@dataclass
class Hospital:
    """An outbox with two deliverers: ``archive`` answers all day, ``pacs`` is down."""

    store: Store
    settings: Settings
    clock: Clock
    archive: Dicomweb
    pacs: Dicomweb

    def queue(self, numbers: range) -> None:
        """Receive as many images and save a result of each, to be delivered to the PACS, some to the archive too."""
        receive(self.store, [image_of(n, priority=PRIORITIES[n % len(PRIORITIES)]) for n in numbers], quiet_s=0)
        while seal_due(self.store, limit=1000):
            pass
        with self.store.session() as session:
            jobs = session.execute(
                select(Job, Case).join(Revision, Job.revision_id == Revision.id).join(Case, Revision.case_id == Case.id)
                .where(Job.state == "queued").order_by(Case.id)
            ).all()
            for job, case in jobs:
                number = int(case.study_uid.rpartition(".")[2])
                save_result(
                    session, job.revision_id, model="none", status="scored", reason="", summary={}, priority=job.priority,
                    objects=[object_of(number, 1, content=f"result {number} ")],
                    targets=["archive", "pacs"] if number % BOTH == 0 else ["pacs"],
                )
                job.state = "done"

    def deliverers(self) -> dict[str, Deliverer]:
        """Return a fresh deliverer for each, as after a start."""
        return {name: Deliverer(self.store, server.target(name), self.settings)
                for name, server in (("archive", self.archive), ("pacs", self.pacs))}

    def states(self, target: str) -> dict[str, int]:
        """Count a target's deliveries by state."""
        asked = select(Delivery.state, func.count()).where(Delivery.target == target).group_by(Delivery.state)
        with self.store.reading() as session:
            return {row[0]: row[1] for row in session.execute(asked)}

    def pauses(self) -> list[float]:
        """Return when deliveries that wait by themselves may be tried again."""
        with self.store.reading() as session:
            return list(session.scalars(select(Delivery.not_before).where(Delivery.state == "queued", Delivery.not_before > 0)))


@pytest.fixture
def hospital(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hospital]:
    """A hospital whose archive is up and whose PACS is not."""
    memory = Path("/dev/shm")  # 10,000 synced files take minutes on a disk, and syncing is tested elsewhere
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as folder:
        settings, clock = settings_for(Path(folder), lease_s=600), Clock()
        monkeypatch.setattr(queue, "time", clock)
        store = Store.open(settings)
        archive, pacs = (Dicomweb(port) for port in free_ports(2))
        archive.up()
        try:
            yield Hospital(store, settings, clock, archive, pacs)
        finally:
            archive.down()
            pacs.down()
            store.close()


def run_until(hospital: Hospital, deliverers: dict[str, Deliverer], end: float) -> dict[str, int]:
    """Let both deliver until ``end`` on the clock, which leaps when neither has anything to do; return their steps."""
    steps = dict.fromkeys(deliverers, 0)
    while hospital.clock.now < end:
        busy = [name for name, one in deliverers.items() if one.step(hospital.clock.now)]
        for name in busy:
            steps[name] += 1
        if not busy:
            moments = [one.down_until for one in deliverers.values()] + hospital.pauses()
            hospital.clock.now = min([one for one in moments if one > hospital.clock.now] + [end])
    return steps


@pytest.mark.parametrize("results", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_results_wait_a_day_for_their_pacs_and_then_go_by_priority(hospital: Hospital, results: int) -> None:
    morning, noon = range(results * 9 // 10), range(results * 9 // 10, results)
    hospital.queue(morning)
    began = hospital.clock.now
    deliverers = hospital.deliverers()
    run_until(hospital, deliverers, began + DAY_S / 2)
    assert by_priority(morning[::BOTH]) == hospital.archive.received, "the PACS that is down held up the archive"

    hospital.queue(noon)
    steps = run_until(hospital, deliverers, began + DAY_S)
    assert by_priority(morning[::BOTH]) + by_priority(noon[::BOTH]) == hospital.archive.received
    assert {"queued": results} == hospital.states("pacs")
    assert 100 < steps["pacs"] < 400, "half a day of tries, a growing while apart"

    hospital.pacs.up()
    back = hospital.clock.now
    while not hospital.pacs.received:
        run_until(hospital, deliverers, hospital.clock.now + 10)
    assert hospital.clock.now - back < 2 * 300, "it was tried again minutes after it was back"
    run_until(hospital, deliverers, hospital.clock.now + 60)
    assert by_priority(range(results)) == hospital.pacs.received, "all of it, once, the urgent first"
    assert ({"done": results}, {"done": results // BOTH}) == (hospital.states("pacs"), hospital.states("archive"))


def test_poison_is_quarantined_with_its_reason_while_others_pass(hospital: Hospital) -> None:
    assert PRIORITIES[POISON] == max(PRIORITIES), "it stands before all others"
    hospital.pacs.poison.add(POISON)
    hospital.pacs.up()
    hospital.queue(range(60))
    deliverers = hospital.deliverers()
    run_until(hospital, deliverers, hospital.clock.now + 1)
    assert by_priority(set(range(60)) - {POISON}) == hospital.pacs.received, "one bad result held up the others"
    assert by_priority(range(0, 60, BOTH)) == hospital.archive.received

    run_until(hospital, deliverers, hospital.clock.now + 3600)
    quarantined = failures(hospital.store)
    assert [("delivery", "quarantined", "pacs", 5, "status_a900")] == [
        (one.table, one.state, one.target, one.attempts, one.reason) for one in quarantined
    ]
    hospital.pacs.poison.clear()
    assert 1 == deliveries_again(hospital.store, "pacs")
    run_until(hospital, deliverers, hospital.clock.now + 1)
    assert POISON == hospital.pacs.received[-1]
    assert [] == failures(hospital.store)


def test_a_deliverer_that_dies_between_sending_and_noting_sends_the_same_again(hospital: Hospital) -> None:
    hospital.queue(range(3))
    hospital.pacs.up()

    class Died(BaseException):
        """The process ended here."""

    def send_and_die(target: Target, files: Sequence[bytes]) -> None:
        deliver(target, files)
        raise Died

    first = Deliverer(hospital.store, hospital.pacs.target("pacs"), hospital.settings, send=send_and_die)
    with pytest.raises(Died):
        first.step(hospital.clock.now)
    second = hospital.deliverers()
    run_until(hospital, second, hospital.clock.now + 1)
    assert by_priority(range(3)) == hospital.pacs.received, "the lease of the first still holds its own"
    hospital.clock.now += hospital.settings.lease_s + 1
    run_until(hospital, second, hospital.clock.now + 1)
    assert [*by_priority(range(3)), by_priority(range(3))[0]] == hospital.pacs.received
    assert {"done": 3} == hospital.states("pacs")


def by_priority(numbers: Iterable[int]) -> list[int]:
    """Return numbers in the order in which their results are to be delivered."""
    return sorted(numbers, key=lambda number: (-PRIORITIES[number % len(PRIORITIES)], number))
