"""Kill test: what was acknowledged ends in exactly one result, whichever process dies at whichever moment.

    pytest tests/peers/test_kill.py                              5 kills
    pytest tests/peers/test_kill.py --kills 20                   a minute or two
    pytest tests/peers/test_kill.py --kills 250 --kill-seed 7    a quarter of an hour

SIGKILL ends a process; it does not cut the power: that files and rows are synced first is tested with the store.
"""

from __future__ import annotations

import gc
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from service.store.tables import Delivery, Job
from tests.make import needs_peer, tiny_release
from tests.peers.modality import CStoring, Sending, Stowing
from tests.peers.pacs import Pacs
from tests.peers.reckoning import Reckoning, reckon
from tests.peers.running import Node

VICTIMS = {"listen": 8, "start": 4, "work": 8, "deliver": 4, "decode": 3, "Orthanc": 1}  # how often, out of their sum
WAYS = {"listen": "C-STORE", "start": "STOW"}
AHEAD = 15  # cases that may wait to be scored before the senders pause: the machine's speed sets the pace
AIMED, AIM_S = 0.75, 15.0  # how many of the kills wait for work, and how long
SETTLE_S = 240.0


class Killer:
    """Kills one process after another: sometimes whatever it does, more often in the middle of its work."""

    def __init__(self, node: Node, pacs: Pacs, sending: Sending, seed: int) -> None:
        self.node, self.pacs, self.sending = node, pacs, sending
        self.random = random.Random(seed)
        self.killed: Counter[str] = Counter()
        self.at_work: Counter[str] = Counter()  # of those, how many held a job, a delivery or a transfer

    def strike(self) -> None:
        """Kill one process that lives."""
        self._pace(time.monotonic() + self.random.uniform(0.2, 2.0))
        victim = self.random.choices(list(VICTIMS), list(VICTIMS.values()))[0]
        living = self.node.pids(victim)
        pid = self.random.choice(living) if living else 0  # Orthanc is not of the node
        if self.random.random() < AIMED:
            self._aim(victim, pid)
        if victim == "Orthanc":
            self.pacs.stop(kill=True)
            self._count(victim, self._works(victim, pid))
            time.sleep(self.random.uniform(0, 2))
            self.pacs.start()
        elif pid:
            under_way = self._works(victim, pid)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it ended by itself in between
                return
            # What it had claimed it holds still, a moment after its death; a transfer is known to the sender only.
            self._count(victim, under_way if victim in WAYS else self._works(victim, pid))

    def _count(self, victim: str, at_work: bool) -> None:
        self.killed[victim] += 1
        self.at_work[victim] += at_work

    def _pace(self, until: float) -> None:
        """Wait, and meanwhile let the senders run only as far ahead as the workers follow."""
        while time.monotonic() < until:
            self._gate(AHEAD)
            time.sleep(0.1)

    def _aim(self, victim: str, pid: int) -> None:
        """Wait until it is at work, and then a moment of up to 20 ms; not for ever."""
        until = time.monotonic() + AIM_S
        looks = 0
        while time.monotonic() < until and not self._works(victim, pid):
            if looks % 40 == 0:
                self._gate(3 * AHEAD if victim in WAYS else AHEAD)
            looks += 1
            time.sleep(0.005)
        time.sleep(self.random.choice((0, 0, self.random.uniform(0, 0.02))))

    def _gate(self, ahead: int) -> None:
        waiting = self.node.waiting()
        (self.sending.open.set if waiting["jobs"] + waiting["cases"] < ahead else self.sending.open.clear)()

    def _works(self, victim: str, pid: int) -> bool:
        """Tell whether it holds a transfer, a job or a delivery that is not finished."""
        if victim in WAYS:
            return self.sending.under_way[WAYS[victim]] > 0
        table = Job if victim in ("work", "decode") else Delivery
        with self.node.store.reading() as session:
            holders = session.scalars(select(table.claimed_by).where(table.state == "running")).all()
        if victim in ("decode", "Orthanc"):  # neither has a name in the store: what they do is done for a worker or deliverer
            return bool(holders)
        return any(f":{pid}:" in holder for holder in holders)


# pynetdicom 3.0.4 lets go of the socket of a refused connection without closing it (transport.py, connect).
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@needs_peer("Orthanc")
def test_what_was_acknowledged_ends_in_exactly_one_result(
    tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    kills, seed = request.config.getoption("--kills"), request.config.getoption("--kill-seed")
    released = tmp_path / "released"
    for task in ("image_classification", "volume_segmentation"):
        tiny_release(released, task)  # type: ignore[arg-type]
    began = time.monotonic()
    with (Pacs(tmp_path / "pacs") as pacs, Node(
        tmp_path / "node", supervisor="test", released=released, workers=2, lease_s=2.5, quiet_s=2,
        site=pacs.as_target(),
    ) as node):
        sending = Sending(seed)
        modalities = [*(CStoring(sending, f"MODALITY{n}", node.dicom_port) for n in range(3)), Stowing(sending, node.dicomweb)]
        killer = Killer(node, pacs, sending, seed)
        for modality in modalities:
            modality.start()
        try:
            while killer.killed.total() < kills:
                killer.strike()
        finally:
            sending.open.set()
            sending.finish()
            for modality in modalities:
                modality.join(SETTLE_S)
            gc.collect()  # the sockets that pynetdicom let go of go here, where the mark above holds
        settled = time.monotonic()
        node.wait_until_ready()
        node.settle(SETTLE_S)
        found = reckon(sending, node.store, {one["SOPInstanceUID"]: pacs.file(one["ID"]) for one in pacs.find("Instance")})
        status, waiting = node.status(), node.waiting()
    with capsys.disabled():
        _print(killer, sending, found, settled - began, time.monotonic() - settled)
    assert [] == found.faults
    assert {} == sending.refused
    assert kills == killer.killed.total()
    assert len(sending.acknowledged) > kills, "images must stream in while processes die"
    assert {"cases": 0, "jobs": 0, "deliveries": 0} == waiting, status


def _print(killer: Killer, sending: Sending, found: Reckoning, killing_s: float, settling_s: float) -> None:
    """Say what was done and found, for the log of a long run."""
    again = sum(n - 1 for n in sending.acknowledged.values())
    table = Table("process", "killed", "in the middle of work", title=f"{killer.killed.total()} kills in {killing_s:.0f} s")
    for victim, times in sorted(killer.killed.items()):
        table.add_row(victim, str(times), str(killer.at_work[victim]))
    console = Console()
    console.print(table)
    console.print(
        f"images acknowledged {found.promised} of {len(sending.images)}, sent {sending.sent.total()} times, "
        f"acknowledged again {again}, given up {len(sending.abandoned)}\n"
        f"answers {dict(sorted(sending.answers.items()))}\n"
        f"revisions {found.revisions} (of which late {found.late_revisions}), results {dict(found.results)}, "
        f"quarantined {found.quarantined}\n"
        f"objects in the PACS {found.objects}, the same bytes {found.objects_same_bytes}; settled after {settling_s:.0f} s\n"
        f"faults {len(found.faults)}: {Counter(found.faults).most_common(10)}"
    )
